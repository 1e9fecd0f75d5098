"""Capture: run a checkpoint over a split and keep what every exit said about every input, as a trace.

The network runs in float32, or as int8 hardware computes it (`quantize="int8"`, scales from validation images). Logits
are rounded to the stored type before the policy decides. An int8 trace also states how the float32 network does under
the same policy, so that accuracy and exits of both can be told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ceesim import provenance
from ceesim.errors import DataError, OptionError
from ceesim.exits.policy import ExitPolicy, replay
from ceesim.exits.references import Never
from ceesim.exits.trace import ExitTrace
from ceesim.frontend.checkpoint import Checkpoint
from ceesim.frontend.data.images import ImageData, ImagePart
from ceesim.frontend.data.preprocess import Preprocessing
from ceesim.frontend.density import Density, measuring
from ceesim.frontend.evaluate import collect_logits
from ceesim.frontend.export import export
from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.quantize import quantized
from ceesim.frontend.start import check_held_out
from ceesim.workload.network import Workload

CALIBRATION: Final = 1000


def capture(
    path: Path,
    data: ImageData,
    split: str,
    *,
    policy: ExitPolicy | None = None,
    quantize: str | None = None,
    density: bool = False,
    num_inputs: int | None = None,
    batch: int = 250,
    device: torch.device | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> ExitTrace:
    """The trace of the checkpoint `path` over `split` ("train", "val" or "test") of `data`.

    Heads that were not trained are left out: the trace of a plain network has no exits.

    Args:
        policy: who decides; by default nobody leaves early, and any policy can be replayed later.
        quantize: "int8", or None for float32.
        density: also measure the share of non-zero values in each op's ifmap.
        num_inputs: evenly spaced inputs of the split; None: all.
        batch: inputs per forward pass.
        advance: called after each batch with its number of inputs and that of all passes together.

    Raises:
        DataError: if the data set is not the one that the checkpoint was trained on.
        OptionError: if the precision is unknown.
        TrainingError: if the checkpoint cannot be read.
    """
    if quantize not in (None, "int8"):
        raise OptionError("unknown precision", got=quantize, expected="int8")
    checkpoint = Checkpoint.load(path)
    config = checkpoint.config
    if data.classes != config.classes:
        raise DataError(
            "not the data set of the checkpoint",
            where=data.name,
            got=f"{len(data.classes)} classes: {', '.join(data.classes[:4])}, …",
            expected=f"{config.dataset} with {len(config.classes)} classes: {', '.join(config.classes[:4])}, …",
        )
    policy = Never() if policy is None else policy
    parts = data.split(config.num_val, config.seed)
    part = parts[split] if num_inputs is None else parts[split].spread(num_inputs)
    if Preprocessing.of(parts["train"].images, config.preprocessing.image_size) != config.preprocessing:
        raise DataError(
            "not the images of the checkpoint: the mean or deviation of the training part differs",
            where=data.name,
            fix=f"give the copy of {config.dataset} that the network was trained on",
        )
    check_held_out(checkpoint.held_out, parts["val"], data.name)
    network = checkpoint.network()
    policy.kept(network.num_exits)  # a policy for another network fails before the long pass, not after it
    workload = export(
        network,
        network.input_shape,
        name=config.network,
        num_classes=config.num_classes,
        width=config.width,
    )
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def told(num_inputs: int) -> None:
        if advance is not None:
            advance(num_inputs, len(part) * (1 if quantize is None else 2))

    def run(module: ExitNetwork, *, kept: bool) -> tuple[npt.NDArray[np.float32], Density]:
        module.to(device)
        with measuring(module, workload) if density and kept else nullcontext(Density(workload)) as measured:
            logits = collect_logits(module, part, config.preprocessing, batch=batch, device=device, advance=told)
        return logits, measured

    captured: dict[str, Any] = {
        "precision": "float32",
        "num_inputs": len(part),
        "batch": batch,
        "images_sha256": part.sha256(),
    }
    logits, measured = run(network, kept=quantize is None)
    if quantize == "int8":
        exact = logits
        calibration = _batches(parts["val"], config.preprocessing, batch, device)
        logits, measured = run(quantized(network, calibration), kept=True)
        captured |= {
            "precision": "int8",
            "quantization": "weights int8 per output channel, activations int8 per tensor, symmetric; biases int32",
            "calibration_images": min(CALIBRATION, len(parts["val"])),
            "float32": _against(policy, exact, logits, part),
        }
    return ExitTrace.from_logits(
        workload,
        part.labels,
        logits[:, :-1],
        logits[:, -1],
        policy,
        dataset=data.name,
        split=split,
        density=measured.array() if density else None,
        preprocessing=asdict(config.preprocessing) | {"augmentation": "none"},
        training=_training_record(checkpoint, workload.num_exits),
        capture=captured,
        provenance=_provenance(path, workload),
    )


def identity(checkpoint: Checkpoint, path: Path) -> dict[str, Any]:
    """What thresholds for the checkpoint belong to: what `ceesim.exits.identity` tells of its traces."""
    config = checkpoint.config
    stated = {
        "network": config.network,
        "width": config.width,
        "num_classes": config.num_classes,
        "heads": config.heads,
        "alpha": config.loss.positive_weight(config.num_classes),
        "weights": provenance.SourceFile.of(path).sha256[:12],
    }
    return {name: value for name, value in stated.items() if value is not None}


def _training_record(checkpoint: Checkpoint, num_exits: int) -> dict[str, Any]:
    """What a trace says about how its network was trained.

    ``alpha`` is the weight of a positive against a negative example, what calibration undoes: 1 where α scales the
    whole loss of the heads (then ``scale``), null unless the heads exclude.
    """
    config = checkpoint.config
    loss = config.loss
    scale = {"scale": loss.alpha_for(config.num_classes)} if loss.alpha_mode == "scale" else {}
    return {
        "network": config.network,
        "width": config.width,
        "options": dict(config.options),
        "heads": config.heads,
        "alpha": loss.positive_weight(config.num_classes),
        "exit_weights": list(loss.exit_weights(num_exits)),
        "recipe": asdict(config.recipe),
        "epochs": checkpoint.epoch,
        "epochs_planned": config.epochs,
        "seed": config.seed,
        "dataset": config.dataset,
        "classes": list(config.classes),
        "num_val": config.num_val,
        "amp": config.amp,
        "initial": config.initial,
        "last_epoch": dict(checkpoint.history[-1]) if checkpoint.history else {},
        "made_with": dict(checkpoint.made_with),
    } | scale


def _against(
    policy: ExitPolicy, exact: npt.NDArray[np.float32], logits: npt.NDArray[np.float32], part: ImagePart
) -> Mapping[str, Any]:
    """How the float32 network does, and how many inputs int8 makes leave or end elsewhere."""
    ours, theirs = (
        replay(policy, each[:, :-1].astype(np.float16), each[:, -1].astype(np.float16), part.labels)
        for each in (logits, exact)
    )
    return {
        "accuracy": float(np.mean(theirs.predictions == part.labels)),
        "static_accuracy": float(np.mean(exact[:, -1].argmax(axis=1) == part.labels)),
        "exit_flips": int(np.count_nonzero(ours.exit_index != theirs.exit_index)),
        "prediction_flips": int(np.count_nonzero(ours.predictions != theirs.predictions)),
    }


def _batches(
    part: ImagePart, preprocessing: Preprocessing, batch: int, device: torch.device | None
) -> Iterator[Tensor]:
    chosen = part.spread(CALIBRATION).images
    for start in range(0, len(chosen), batch):
        yield preprocessing(torch.from_numpy(chosen[start : start + batch]).to(device))


def _provenance(path: Path, workload: Workload) -> dict[str, object]:
    record = provenance.record(
        {"network": workload.name, "width": workload.width}, [path], packages=("numpy", "torch", "pillow")
    ).to_dict()
    del record["created"]  # a trace has the same bytes whenever it is made
    return record
