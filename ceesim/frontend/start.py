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
from ceesim.frontend.config import TrainConfig
from ceesim.frontend.data.images import ImagePart
from ceesim.frontend.network import ExitNetwork

_GREY_LEVEL: Final = 1.0


class ResumeWarning(UserWarning):
    """A run is resumed where it cannot go on exactly: with other versions, processes, threads, images or device."""


class InitialWeightsWarning(UserWarning):
    """Some of a network's weights start fresh, for the initial ones have none of their name and shape."""


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
        raise TrainingError(
            "the initial weights are another network's",
            got=f"{len(fitting)} of {len(backbone)} that fit; they have names such as {_first(weights)}",
            expected=f"names such as {_first(own)}",
            fix="give weights of this network, at this width",
        )
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
    if held_out is None:
        return
    ours = torch.from_numpy(val.brightness())
    if ours.shape == held_out.shape and torch.allclose(ours, held_out, rtol=0, atol=_GREY_LEVEL):
        return
    raise DataError(
        "other images are held out than in training, so some that were trained on would be among them",
        where=where,
        fix="give the copy of the data set that the network was trained on, with its files in the same order",
    )


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
