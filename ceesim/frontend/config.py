"""What a training run is: network, data, recipe and seed, settled before the first step and kept in the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from ceesim.frontend.data.preprocess import Preprocessing
from ceesim.frontend.loss import ExitLoss
from ceesim.frontend.models import build_network
from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.recipes import Recipe


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Two runs of equal configuration on the same machine end with equal weights.

    Attributes:
        dataset: its name as results show it; `classes` in label order.
        num_val: images held out of the training set for validation.
        amp: dtype of autocast, "bfloat16", "float16" or "off"; part of the run, for it changes the weights.
        alpha: as in `ExitLoss`; None is 4·(M−1).
        options: of the network, beside its width.
        initial: what the network started from (file name and SHA-256); None: from fresh weights.
    """

    network: str
    width: float
    num_classes: int
    heads: str
    dataset: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    recipe: Recipe
    seed: int
    num_val: int
    amp: str
    alpha: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    initial: str | None = None

    @property
    def epochs(self) -> int:
        """Of the whole run: the schedule ends with them."""
        return self.recipe.epochs

    @property
    def loss(self) -> ExitLoss:
        """The loss of this run."""
        return ExitLoss(
            self.heads,
            self.recipe.weights,
            self.alpha,
            self.recipe.alpha_mode,
            self.recipe.reduction,
            self.recipe.label_smoothing,
        )

    def same_network(self, other: TrainConfig) -> bool:
        """Whether the two train one backbone for as many classes, be it at different widths."""
        return (self.network, self.num_classes) == (other.network, other.num_classes)

    def build(self) -> ExitNetwork:
        """The network, initialised from the run's seed."""
        torch.manual_seed(self.seed)
        return build_network(self.network, self.num_classes, width=self.width, **self.options)
