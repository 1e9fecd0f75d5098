"""The training loss: cross entropy of the final classifier plus a weighted loss of every exit head.

    L = CE(final, y) + Σ_i w_i · mean[ −α·y·log σ(z_i) − (1−y)·log(1−σ(z_i)) ]

with w_i = 1/(N−i+2) (`code`) or 1/(N−i+1) (`paper`), i = 1..N. α is the weight of the one positive class, by default
4·(M−1): it decides how sure a head must be before a class is excluded. Confidence heads (BranchyNet) take softmax cross
entropy with the same w_i. Source: arXiv 2309.13443, Eq. 2–3, and its authors' published code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor
from torch.nn import functional

from ceesim.errors import OptionError

HEADS: Final = ("exclusion", "confidence", "none")
WEIGHTS: Final = ("code", "paper")
ALPHA_MODES: Final = ("pos_weight", "scale")
REDUCTIONS: Final = ("mean", "sum_classes")


@dataclass(frozen=True, slots=True)
class ExitLoss:
    """The loss of a tuple of logits.

    Args:
        heads: "exclusion" (binary cross entropy per class), "confidence" (softmax), "none" (final classifier alone).
        weights: the rule for w_i, "code" or "paper".
        alpha: weight of the positive class; None is 4·(M−1).
        alpha_mode: "pos_weight" weighs the positive term, "scale" both (Eq. 3 as printed).
        reduction: over classes, "mean" or "sum_classes"; over the batch always the mean.
        label_smoothing: of the final classifier's cross entropy.
    """

    heads: str = "exclusion"
    weights: str = "code"
    alpha: float | None = None
    alpha_mode: str = "pos_weight"
    reduction: str = "mean"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("heads", self.heads, HEADS),
            ("weights", self.weights, WEIGHTS),
            ("alpha_mode", self.alpha_mode, ALPHA_MODES),
            ("reduction", self.reduction, REDUCTIONS),
        ):
            if value not in known:
                raise OptionError(f"unknown {name}", got=value, expected=f"one of {', '.join(known)}")
        if self.alpha is not None and not 0 < self.alpha < math.inf:
            raise OptionError("alpha out of range", got=self.alpha, expected="a finite number above 0")
        if self.alpha is not None and self.heads != "exclusion":
            raise OptionError(f"heads {self.heads!r} have no use for alpha", got=self.alpha, fix="leave it out")

    def alpha_for(self, num_classes: int) -> float:
        """α with `num_classes` classes."""
        return 4.0 * (num_classes - 1) if self.alpha is None else self.alpha

    def positive_weight(self, num_classes: int) -> float | None:
        """What calibration has to undo: a positive's weight against a negative's; None unless the heads exclude."""
        if self.heads != "exclusion":
            return None
        return self.alpha_for(num_classes) if self.alpha_mode == "pos_weight" else 1.0

    def exit_weights(self, num_exits: int) -> tuple[float, ...]:
        """w_1 … w_N."""
        offset = 2 if self.weights == "code" else 1
        return tuple(1 / (num_exits - number + offset) for number in range(1, num_exits + 1))

    def __call__(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The scalar loss of logits ([batch, M] per exit, the final ones last) for labels [batch]."""
        *exits, final = (each.float() for each in logits)
        loss = functional.cross_entropy(final, labels, label_smoothing=self.label_smoothing)
        if self.heads == "none":
            return loss
        for weight, head in zip(self.exit_weights(len(exits)), exits, strict=True):
            loss = loss + weight * self._head_loss(head, labels)
        return loss

    def _head_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        num_classes = logits.shape[1]
        if self.heads == "confidence":
            return functional.cross_entropy(logits, labels)
        alpha = self.alpha_for(num_classes)
        targets = functional.one_hot(labels, num_classes).to(logits.dtype)
        if self.alpha_mode == "pos_weight":
            loss = functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=logits.new_tensor(alpha))
        else:
            loss = alpha * functional.binary_cross_entropy_with_logits(logits, targets)
        return loss * num_classes if self.reduction == "sum_classes" else loss
