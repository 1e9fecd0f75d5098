"""The training loop: seeded epochs, a checkpoint and a CSV row after each, exact resume, one or several processes.

Killed at any moment and started again, a run ends with the weights of an uninterrupted one (same device, same number
of threads): an epoch depends only on the checkpoint before it and on generators seeded by (seed, epoch, rank).
Validation accuracy in the CSV is a monitor: float32, on evenly spaced validation images.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import nn

from ceesim.errors import OptionError, TrainingError
from ceesim.files import replacing
from ceesim.frontend import distributed
from ceesim.frontend.amp import autocast
from ceesim.frontend.average import WeightAverage
from ceesim.frontend.checkpoint import Checkpoint
from ceesim.frontend.config import TrainConfig
from ceesim.frontend.data.images import ImagePart
from ceesim.frontend.data.preprocess import crop_and_flip, cutout
from ceesim.frontend.evaluate import accuracies, collect_logits
from ceesim.frontend.muon import Muon, normalised_weights
from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.recipes import Recipe
from ceesim.frontend.start import check_held_out, check_same_run, made_with, start_from, warn_of_changes

CHECKPOINT: Final = "checkpoint.pt"
EPOCHS_CSV: Final = "epochs.csv"
MONITORED: Final = 2000


class Progress(Protocol):
    """What a training run reports to: the terminal, a log, or nothing."""

    def start(self, epochs: int, images_per_epoch: int, done: int) -> None:
        """The run begins after `done` of its epochs."""

    def advance(self, num_images: int) -> None:
        """That many training images were seen."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch ended; `row` is its line of the CSV."""


def train(
    config: TrainConfig,
    parts: Mapping[str, ImagePart],
    out: Path,
    *,
    device: torch.device,
    progress: Progress,
    resume: bool = False,
    initial: Mapping[str, torch.Tensor] | None = None,
) -> Checkpoint:
    """Train to `config.epochs` and return the last checkpoint, which is also in `out`; only rank 0's is whole.

    Args:
        parts: "train" and "val", as `ImageData.split` returns them.
        out: directory of `checkpoint.pt` and `epochs.csv`; made if missing.
        resume: go on from the checkpoint in `out`, if there is one.
        initial: weights to start from, named as in an `ExitNetwork`; what is not among them is left as initialised.

    Raises:
        TrainingError: if `out` holds a checkpoint and `resume` is off, if it is another run's, or if the loss diverges.

    Warns:
        ResumeWarning: if the checkpoint was made with other versions, processes, threads, images or on another kind of
            device.
        InitialWeightsWarning: if only some of the backbone's weights are among the initial ones.
    """
    world, rank = distributed.world_size(), distributed.rank()
    out.mkdir(parents=True, exist_ok=True)
    path = out / CHECKPOINT
    if path.exists() and not resume:
        raise TrainingError(
            "a checkpoint is already there", where=str(path), fix="add --resume to go on, or choose another --out"
        )
    network = _placed(config, device)
    if initial is not None:
        start_from(network, initial)
    circumstances = made_with(device, parts["train"])
    optimizer = _optimizer(config.recipe, network)
    scaler = torch.amp.GradScaler(device.type, enabled=config.amp == "float16")
    history: list[Mapping[str, float]] = []
    averaged: Mapping[str, Any] | None = None
    if path.exists():
        before = Checkpoint.load(path)
        check_same_run(before.config, config, path)
        check_held_out(before.held_out, parts["val"], str(path))
        if before.epoch < config.epochs:
            warn_of_changes(before.made_with, circumstances, path)
        network.load_state_dict(dict(before.model))
        optimizer.load_state_dict(dict(before.optimizer))
        scaler.load_state_dict(dict(before.scaler))
        history = list(before.history)
        averaged = before.average
    parallel: nn.Module = network
    if world > 1:
        parallel = nn.parallel.DistributedDataParallel(
            network, device_ids=[device.index] if device.type == "cuda" else None
        )
    average = WeightAverage(network, averaged) if config.recipe.average and rank == 0 else None
    step = _Step(config, parallel, optimizer, scaler, device)
    part = parts["train"]
    images, labels = (torch.from_numpy(each).to(device) for each in (part.images, part.labels))
    monitor, held_out = parts["val"].spread(MONITORED), torch.from_numpy(parts["val"].brightness())
    steps = _steps_per_epoch(len(part), config.recipe, world)
    images_per_epoch = steps * (config.recipe.batch // world) * world
    progress.start(config.epochs, images_per_epoch, len(history))
    for epoch in range(len(history), config.epochs):
        started = time.monotonic()
        loss = _epoch(step, images, labels, epoch, rank, world, progress, average)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss diverged in epoch {epoch + 1}", where=str(out), got=loss, fix="lower --learning-rate"
            )
        if rank == 0:
            shown = network
            if average is not None and average.state is not None:
                average.measure_batch_norms(images, config.preprocessing, config.seed)
                shown = average.network
            right = accuracies(collect_logits(shown, monitor, config.preprocessing, device=device), monitor.labels)
            row: dict[str, float] = {
                "epoch": epoch + 1,
                "seconds": round(time.monotonic() - started, 1),
                "learning_rate": config.recipe.learning_rate_at(_done(config, epoch, steps - 1, steps)),
                "loss": loss,
                "val_images": len(monitor),
                "final_accuracy": right[-1],
                **{f"exit{number}_accuracy": value for number, value in enumerate(right[:-1], start=1)},
            }
            history.append(row)
            _write_csv(out / EPOCHS_CSV, history)  # first: a resumed run writes it again, a finished one would not
            _snapshot(config, network, optimizer, scaler, history, circumstances, held_out, average).save(path)
            progress.epoch(row)
    return _snapshot(config, network, optimizer, scaler, history, circumstances, held_out, average)


class _Step:
    """One optimiser step on a batch of uint8 images."""

    def __init__(
        self,
        config: TrainConfig,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        device: torch.device,
    ) -> None:
        self.config = config
        self.network = network
        self.optimizer = optimizer
        self.scaler = scaler
        self.device = device
        self.loss = config.loss

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, learning_rate: float) -> torch.Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with autocast(self.config.amp, self.device):
            logits = self.network(self.config.preprocessing(images))
        loss = self.loss(logits, labels)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        with autocast(self.config.amp, self.device):  # for Muon's matrix products, a quarter of a float32 step
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()


def _epoch(
    step: _Step,
    images: torch.Tensor,
    labels: torch.Tensor,
    epoch: int,
    rank: int,
    world: int,
    progress: Progress,
    average: WeightAverage | None,
) -> float:
    """Mean loss of one pass over a seeded permutation; an incomplete last batch is left out (batch norm).

    Args:
        images: uint8 [inputs, 3, height, width], all of them on the step's device, as `labels` [inputs] are.
    """
    config = step.config
    recipe = config.recipe
    order = torch.randperm(len(images), generator=_generator(config.seed, epoch, 0)).to(step.device)
    augmentation = _generator(config.seed, epoch, rank + 1)
    turned = _turned(config, epoch, len(images)).to(step.device) if recipe.mirror == "alternate" else None
    torch.manual_seed(_seed(config.seed, epoch, rank + 1))  # dropout
    step.network.train()
    steps = _steps_per_epoch(len(images), recipe, world)
    share = recipe.batch // world
    total = torch.zeros((), device=step.device)
    for number in range(steps):
        first = (number * world + rank) * share
        chosen = order[first : first + share]
        batch = images[chosen]
        if recipe.augment:
            mirrored = None if turned is None else turned[chosen]
            batch = crop_and_flip(batch, augmentation, border=recipe.border, mirrored=mirrored)
        if recipe.cutout:
            batch = cutout(batch, recipe.cutout, config.preprocessing.grey, augmentation)
        done = _done(config, epoch, number, steps)
        total += step(batch, labels[chosen], recipe.learning_rate_at(done))
        is_last = epoch + 1 == config.epochs and number + 1 == steps
        if average is not None and (is_last or done >= 1 - recipe.average):
            average.add()
        progress.advance(share * world)
    if world > 1:
        torch.distributed.all_reduce(total)
    return float(total) / steps / world


def _turned(config: TrainConfig, epoch: int, num_images: int) -> torch.Tensor:
    """Which images an epoch shows mirrored, bool [inputs]: each in every other one."""
    generator = _generator(config.seed, config.epochs, 0)  # of an epoch that no run has: the same one for all of them
    return torch.randint(0, 2, (num_images,), generator=generator, dtype=torch.bool) ^ bool(epoch % 2)


def _done(config: TrainConfig, epoch: int, number: int, steps: int) -> float:
    """The fraction of the run that is behind at step `number` of an epoch: neither 0 nor 1, where a rate may be 0."""
    return (epoch + (number + 1) / (steps + 1)) / config.epochs


def epochs_within(minutes: float, config: TrainConfig, part: ImagePart, device: torch.device, *, steps: int = 4) -> int:
    """Epochs that fit into a wall-clock budget, from a few timed steps on a copy of the run; at least 1.

    Raises:
        OptionError: if the budget is not a finite number above 0.
    """
    if not 0 < minutes < math.inf:
        raise OptionError("the time budget is out of range", got=minutes, expected="a finite number of minutes above 0")
    network = _placed(config, device).train()
    step = _Step(config, network, _optimizer(config.recipe, network), torch.amp.GradScaler(enabled=False), device)
    world = distributed.world_size()
    batch = config.recipe.batch // world
    images = torch.from_numpy(part.images[:batch]).to(device)
    labels = torch.from_numpy(part.labels[:batch]).to(device)
    step(images, labels, 0.0)
    float(step(images, labels, 0.0))
    started = time.monotonic()
    for _ in range(steps):
        float(step(images, labels, 0.0))
    per_step = (time.monotonic() - started) / steps
    per_epoch = per_step * 1.15 * _steps_per_epoch(len(part), config.recipe, world)  # monitor, checkpoint, augmentation
    return max(1, int(minutes * 60 / per_epoch))


def _placed(config: TrainConfig, device: torch.device) -> ExitNetwork:
    network = config.build().to(device)
    if config.heads == "none":
        network.heads.requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _optimizer(recipe: Recipe, network: ExitNetwork) -> torch.optim.Optimizer:
    if recipe.optimizer == "muon":
        matrices = normalised_weights(network)
        others = [each for each in network.parameters() if all(each is not matrix for matrix in matrices)]
        return Muon(
            matrices,
            others,
            lr=recipe.learning_rate,
            matrix_scale=recipe.matrix_scale,
            momentum=recipe.momentum,
            matrix_momentum=recipe.matrix_momentum,
            weight_decay=recipe.weight_decay,
        )
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def _snapshot(
    config: TrainConfig,
    network: ExitNetwork,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    history: Sequence[Mapping[str, float]],
    circumstances: Mapping[str, str],
    held_out: torch.Tensor,
    average: WeightAverage | None,
) -> Checkpoint:
    return Checkpoint(
        config,
        network.state_dict(),
        optimizer.state_dict(),
        scaler.state_dict(),
        tuple(history),
        circumstances,
        held_out,
        None if average is None else average.state,
    )


def _steps_per_epoch(num_images: int, recipe: Recipe, world: int) -> int:
    share = recipe.batch // world
    if share < 2 or num_images < share * world:  # batch norm needs two images to tell a deviation
        raise OptionError(
            "the batch does not fit",
            where="--batch",
            got=recipe.batch,
            expected=f"{2 * world} to {num_images} images over {world} processes",
            fix="hold out fewer images" if num_images < 2 * world else "choose one of these",
        )
    return num_images // (share * world)


def _seed(seed: int, epoch: int, stream: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, stream)).generate_state(1, np.uint64)[0] >> 1)


def _generator(seed: int, epoch: int, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(seed, epoch, stream))


def _write_csv(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
    with replacing(path) as file:
        file.write(text.getvalue().encode())
