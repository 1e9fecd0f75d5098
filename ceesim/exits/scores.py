"""Exits by a score of the softmax: leave when the head looks sure enough. For heads trained with cross-entropy.

Sources: `entropy` is the test of BranchyNet (Teerapittayanon, McDanel, Kung, ICPR 2016, arXiv 1709.01686);
`confidence` is the largest probability, `margin` its distance to the second largest. Probabilities are worked out in
float64, so that a threshold means the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ceesim.exits.policy import (
    DecisionCost,
    Logits,
    Memoryless,
    State,
    Thresholds,
    argmax,
    as_thresholds,
    kept_by,
    threshold_of,
)


class ScoreKind(StrEnum):
    """Which score; the value is the policy's name."""

    CONFIDENCE = "confidence"
    MARGIN = "margin"
    ENTROPY = "entropy"


def _exponentials(logits: Logits) -> NDArray[np.float64]:
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    return np.exp(values, out=values)


def confidence(logits: Logits) -> NDArray[np.float64]:
    """The largest softmax probability [inputs]."""
    return np.asarray(1.0 / _exponentials(logits).sum(axis=1))


def margin(logits: Logits) -> NDArray[np.float64]:
    """The largest softmax probability less the second largest [inputs]; the largest itself if there is one class."""
    weights = _exponentials(logits)
    second = np.partition(weights, -2, axis=1)[:, -2] if weights.shape[1] > 1 else np.zeros(len(weights))
    return np.asarray((1.0 - second) / weights.sum(axis=1))


def entropy(logits: Logits) -> NDArray[np.float64]:
    """Entropy of the softmax [inputs], in nats."""
    weights = _exponentials(logits)
    total = weights.sum(axis=1)
    logarithms = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
    return np.asarray(np.log(total) - (weights * logarithms).sum(axis=1) / total)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a score is read: `sign`·score ≥ `sign`·threshold leaves; thresholds that release nobody and everybody."""

    score: Callable[[Logits], NDArray[np.float64]]
    sign: int
    never: float
    always: float
    passes: int


KINDS: Final = {
    ScoreKind.CONFIDENCE: _Kind(confidence, 1, never=2, always=0, passes=2),
    ScoreKind.MARGIN: _Kind(margin, 1, never=2, always=0, passes=2),
    ScoreKind.ENTROPY: _Kind(entropy, -1, never=-1, always=100, passes=3),
}


@dataclass(frozen=True, slots=True)
class Score(Memoryless):
    """Leave when the head's score reaches the threshold: confidence and margin from below, entropy from above.

    Args:
        kind: which score.
        threshold: per exit; None: exit not kept. Confidence and margin above 1 and entropy below 0 release nobody.

    Raises:
        PolicyError: if a threshold is out of range.
    """

    kind: ScoreKind
    threshold: Thresholds
    excludes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        kind = KINDS[self.kind]
        lowest, highest = sorted((kind.never, kind.always))
        object.__setattr__(self, "threshold", as_thresholds(self.threshold, "threshold", lowest, highest))

    @property
    def name(self) -> str:
        """The name of the score."""
        return self.kind.value

    def kept(self, num_exits: int) -> tuple[int, ...]:
        """The exits that have a threshold."""
        return kept_by(self.threshold, num_exits, self.name)

    def decide(
        self, exit_index: int, logits: Logits, state: State
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], State]:
        """Compare the score with the threshold."""
        kind = KINDS[self.kind]
        leave = kind.sign * kind.score(logits) >= kind.sign * threshold_of(self.threshold, exit_index)
        return leave, argmax(logits), state

    def cost(self, num_classes: int) -> DecisionCost:
        """A pass for the largest logit, one that sums the exponentials, and for the entropy one that weighs them."""
        return DecisionCost(compares=KINDS[self.kind].passes * num_classes, exponentials=num_classes)

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {"name": self.name, "threshold": list(self.threshold)}
