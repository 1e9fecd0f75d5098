"""Training recipes: what the paper states, what its authors' code does, and one for few epochs on small machines.

The learning rate is a pure function of the step, so a resumed run needs no scheduler state. Milestones are fractions
of the run: 60, 120 and 160 of 200 epochs stay where they were meant when a run is shorter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from ceesim.errors import OptionError

_MILESTONES: Final = (0.3, 0.6, 0.8)
_WARMUP: Final = 0.2


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about a training run but network, data and seed.

    Attributes:
        learning_rate: its peak.
        optimizer: "sgd", "adamw" or "muon".
        matrix_scale, matrix_momentum: of `muon`, for the layers that a batch norm follows.
        schedule: "constant"; "steps" (× gamma at 30, 60 and 80 % of the run); "cosine" (to 0); "onecycle" (linear
            up over the first fifth, linear down to 0).
        augment: shift by up to 4 pixels, mirror; `cutout` is the side of a square that is blanked after that, 0 none.
        border: what a shift brings in, "black" or "reflect".
        mirror: "random", or "alternate": what is drawn for the first epoch turns with every epoch, so that two in
            succession show each image both ways (K. Jordan, arXiv 2404.00498).
        average: the last part of the run, 0 to 1, over whose steps the weights are averaged; 0: the last weights count.
        weights, alpha_mode, reduction: of the exit heads' loss, see `ExitLoss`.
    """

    name: str
    epochs: int
    learning_rate: float
    batch: int = 100
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    matrix_scale: float = 1.0
    matrix_momentum: float = 0.6
    weight_decay: float = 0.0
    schedule: str = "constant"
    gamma: float = 0.1
    augment: bool = False
    border: str = "black"
    mirror: str = "random"
    cutout: int = 0
    label_smoothing: float = 0.0
    average: float = 0.0
    weights: str = "code"
    alpha_mode: str = "pos_weight"
    reduction: str = "mean"

    def learning_rate_at(self, done: float) -> float:
        """The learning rate when the fraction `done` (0 to 1) of the run is behind."""
        if self.schedule == "steps":
            return self.learning_rate * self.gamma ** sum(done >= milestone for milestone in _MILESTONES)
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * done)) / 2
        if self.schedule == "onecycle":
            return self.learning_rate * min(done / _WARMUP, (1 - done) / (1 - _WARMUP))
        return self.learning_rate


def recipe(name: str, network: str, heads: str) -> Recipe:
    """The recipe `name` ("paper", "code" or "quick") for a network and its kind of heads.

    Raises:
        OptionError: if there is no such recipe.
    """
    if name == "paper":
        epochs = 50 if network == "alexnet" else 200
        return Recipe("paper", epochs, 0.001, weights="paper", reduction="sum_classes")
    if name == "code":
        return _code(network, plain=heads == "none")
    if name == "quick":
        return _quick(network)
    raise OptionError("unknown recipe", got=name, expected="one of paper, code, quick")


def _code(network: str, *, plain: bool) -> Recipe:
    if network == "alexnet":
        return Recipe("code", 50, 0.001, schedule="cosine", weight_decay=5e-4)
    full = Recipe("code", 200, 0.1, schedule="steps", gamma=0.2, weight_decay=5e-4, augment=True)
    # a VGG with heads starts five times lower; ResNet50 and other networks train as a plain VGG does
    return replace(full, learning_rate=0.02, gamma=0.1) if network == "vggsmall" and not plain else full


def _quick(network: str) -> Recipe:
    quick = Recipe(
        "quick",
        18,
        0.2,
        batch=250,
        optimizer="muon",
        matrix_scale=0.35,
        nesterov=True,
        weight_decay=5e-4,
        schedule="onecycle",
        augment=True,
        label_smoothing=0.05,
    )
    if network == "alexnet":  # no batch norm: none of its layers is Muon's, and it diverges at 0.05
        return replace(quick, optimizer="sgd", batch=125, learning_rate=0.02)
    if network == "vit":
        return replace(quick, optimizer="adamw", batch=125, learning_rate=0.001, weight_decay=0.05)
    return quick
