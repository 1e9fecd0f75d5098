"""What a training run starts from: weights of another one, or its own checkpoint, which must be of the same run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ceesim import __version__
from ceesim.errors import DataError, TrainingError
from ceesim.frontend import distributed
from ceesim.frontend.checkpoint import FORMAT, Checkpoint, read_payload
from ceesim.frontend.config import TrainConfig
from ceesim.frontend.data.images import ImagePart
from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.widen import widened

_GREY_LEVEL: Final = 1.0


class ResumeWarning(UserWarning):
    """A run is resumed where it cannot go on exactly: with other versions, processes, threads, images or device."""


class InitialWeightsWarning(UserWarning):
    """The initial weights lack some of a network's, or were trained on images that are now held out."""


def read_weights(path: Path, config: TrainConfig, val: ImagePart) -> Mapping[str, torch.Tensor]:
    """Weights to start from, named as in an `ExitNetwork`: of a backbone's state dict (`.pth`) or a checkpoint.

    A checkpoint's heads are among them where they have learnt what this run's are to learn, at the same taps. A
    checkpoint of the same network at a smaller width is widened.

    Args:
        config: of the run that starts.
        val: the images it holds out.

    Raises:
        TrainingError: if the file is missing, damaged, or holds no named tensors; if it cannot be widened.

    Warns:
        InitialWeightsWarning: if a checkpoint of this data set held other images out.
    """
    payload = read_payload(path, fix="give a state dict saved with torch.save, or a checkpoint.pt")
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        return _of_backbone(payload, path)
    before = Checkpoint.of(payload, path)
    same_taps = before.config.options == config.options
    known = before.config.heads == config.heads != "none" and same_taps
    weights = {name: weight for name, weight in before.weights.items() if known or name.startswith("backbone.")}
    if before.config.dataset == config.dataset and not _same_images(before.held_out, val) and distributed.rank() == 0:
        warnings.warn(
            f"{path} was trained on images that are now held out: validation accuracy, and thresholds found with it, "
            f"will be too good; --val {before.config.num_val} --seed {before.config.seed} holds out the same",
            InitialWeightsWarning,
            stacklevel=2,
        )
    if config.same_network(before.config) and before.config.width < config.width:
        return widened(weights, before.config.build(), config.build(), config.seed)
    return weights


def _of_backbone(payload: object, path: Path) -> Mapping[str, torch.Tensor]:
    if not isinstance(payload, Mapping) or not all(isinstance(weight, torch.Tensor) for weight in payload.values()):
        raise TrainingError("not a state dict", where=str(path), got=type(payload).__name__, expected="named tensors")
    return {f"backbone.{name}": weight for name, weight in payload.items()}


def start_from(network: ExitNetwork, weights: Mapping[str, torch.Tensor]) -> None:
    """Load those of `weights` whose name and shape the network has; heads that are not among them start fresh.

    Raises:
        TrainingError: if fewer than a quarter of the backbone's fit: they are another network's.

    Warns:
        InitialWeightsWarning: if some start fresh.
    """
    own = network.state_dict()
    backbone = {name for name in own if name.startswith("backbone.")}
    chosen = {name: weight for name, weight in weights.items() if name in own and own[name].shape == weight.shape}
    fitting = backbone & chosen.keys()
    if 4 * len(fitting) < len(backbone) or not fitting:
        raise _unfit(own, weights, f"{len(fitting)} of {len(backbone)} that fit")
    network.load_state_dict(own | chosen)
    fresh = sorted(name.removeprefix("backbone.") for name in backbone - fitting)
    if fresh and distributed.rank() == 0:
        warnings.warn(
            f"{len(fitting)} of {len(backbone)} initial weights were taken; these start fresh: "
            + ", ".join(fresh[:6])
            + (", …" if len(fresh) > 6 else ""),
            InitialWeightsWarning,
            stacklevel=3,
        )


def _unfit(own: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], fitting: str) -> TrainingError:
    """What is wrong with weights too few of which fit: their sizes, or their names."""
    layers = [name for name in own if name.startswith("backbone.")]
    named_alike = [name for name in layers if name in weights]
    if 2 * len(named_alike) > len(layers):
        name = next(name for name in named_alike if weights[name].shape != own[name].shape)
        return TrainingError(
            "the initial weights are of another size",
            got=f"{fitting}; {name.removeprefix('backbone.')} is {list(weights[name].shape)}",
            expected=f"{list(own[name].shape)}",
            fix="choose the --width they were trained at, or a multiple of it, which widens them",
        )
    return TrainingError(
        "the initial weights are another network's",
        got=f"{fitting}; they have names such as {_first(weights)}",
        expected=f"names such as {_first(own)}",
        fix="give weights of this network, at this width or a smaller one",
    )


def _first(weights: Mapping[str, torch.Tensor]) -> str:
    return next(iter(weights), "none").removeprefix("backbone.")


def check_same_run(before: TrainConfig, now: TrainConfig, path: Path) -> None:
    """See that a checkpoint is of the run that is asked for.

    Raises:
        TrainingError: if not; names what differs.
    """
    ours, theirs = _flat(asdict(now)), _flat(asdict(before))
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if differing:
        raise TrainingError(
            "the checkpoint is of another run",
            where=str(path),
            got=", ".join(f"{name} {ours.get(name)}" for name in differing),
            expected=", ".join(f"{name} {theirs.get(name)}" for name in differing),
            fix="resume with the options of the first start, or choose another --out",
        )


def check_held_out(held_out: torch.Tensor | None, val: ImagePart, where: str) -> None:
    """See that the images held out are those of the run, so that none it was trained on is among them.

    Args:
        held_out: `brightness` of the run's; None if its checkpoint does not say.

    Raises:
        DataError: if they are others, or the same data set in another order.
    """
    if not _same_images(held_out, val):
        raise DataError(
            "other images are held out than in training, so some that were trained on would be among them",
            where=where,
            fix="give the copy of the data set that the network was trained on, with its files in the same order",
        )


def _same_images(held_out: torch.Tensor | None, val: ImagePart) -> bool:
    """Whether they may be the same, by brightness; None is not known."""
    if held_out is None:
        return True
    ours = torch.from_numpy(val.brightness())
    return ours.shape == held_out.shape and torch.allclose(ours, held_out, rtol=0, atol=_GREY_LEVEL)


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Its leaves by name; those of a recipe by their own."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        flat |= _flat(value) if isinstance(value, Mapping) and value else {name: value}
    return flat


def made_with(device: torch.device, part: ImagePart) -> dict[str, str]:
    """What beside the configuration decides the last bits of the weights."""
    return {
        "ceesim": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "device": device.type,
        "processes": str(distributed.world_size()),
        "threads": str(torch.get_num_threads()),
        "images": part.sha256()[:12],
    }


def warn_of_changes(before: Mapping[str, str], now: Mapping[str, str], path: Path) -> None:
    """Say where a run goes on otherwise than it began.

    Warns:
        ResumeWarning: names what differs.
    """
    differing = [name for name in now if before.get(name, now[name]) != now[name]]
    if differing and distributed.rank() == 0:
        warnings.warn(
            f"{path} was made with {', '.join(f'{name} {before.get(name)}' for name in differing)}, the run goes on "
            f"with {', '.join(f'{name} {now[name]}' for name in differing)}: "
            "the weights will not be those of a run that was never stopped",
            ResumeWarning,
            stacklevel=3,
        )
