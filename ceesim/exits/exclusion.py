"""Class exclusion: each exit strikes out the classes that its head finds too unlikely; who has one class left leaves.

With σ the logistic function, class c goes at exit i when σ(z_c) < β_i·σ(z_m), m being the head's most likely class.
In logits that is z_c < t with t = logit(β_i·σ(z_m)) = ln β_i − ln(1 − β_i + exp(−z_m)): one scalar function of the
largest logit, then one compare per class; no softmax, no sigmoid. Exclusion is cumulative, and the argmax of the
current head is re-admitted before the compare (recovery), so nobody is ever left without a class.

Source: Wang, Li, Zhang, "Early-Exit with Class Exclusion for Efficient Inference of Neural Networks", AICAS 2024,
arXiv 2309.13443, Eq. 1. The logit form and the calibrations are ours. Heads trained with a positive-class weight α put
out αq/(αq + 1 − q) for a posterior q; calibrating by the prior subtracts ln α from every logit, which undoes that. The
larger α, the more σ(z − ln α) is like exp(z), until odds are compared instead of probabilities: z_c < z_m + ln β. That
limit needs no α, and no more than an addition in hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ceesim.errors import PolicyError
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

LARGEST_ALPHA: Final = 1e9
ODDS: Final = inf
"""For α: compare odds instead of probabilities."""


def exclusion_threshold(largest: NDArray[Any], beta: float, alpha: float | None = None) -> NDArray[np.float32]:
    """The logit t [inputs] under which a class is excluded, given each input's largest logit [inputs].

    Worked out in float64 and rounded up to float32, which leaves z ≥ t the same for every float16 and float32 z.
    β = 0 gives −∞ (nobody goes), β = 1 the largest logit itself (everybody else goes). `alpha`: undo this
    positive-class weight, or `ODDS`.
    """
    if beta == 0:
        return np.full(len(largest), -np.inf, np.float32)
    if beta == 1:
        return largest.astype(np.float32)
    exact = largest.astype(np.float64) + log(beta)
    if alpha != ODDS:
        shift = 0.0 if alpha is None else log(alpha)
        exact = shift + log(beta) - np.logaddexp(np.log1p(-beta), shift - largest.astype(np.float64))
    rounded = exact.astype(np.float32)
    low = rounded < exact
    rounded[low] = np.nextafter(rounded[low], np.float32(np.inf))
    return rounded


def _checked_alpha(alpha: float | None) -> float | None:
    if alpha is not None and alpha != ODDS and not 0 < alpha <= LARGEST_ALPHA:
        raise PolicyError(
            "calibration needs the α of the training", got=alpha, expected=f"above 0, to {LARGEST_ALPHA:g}"
        )
    return None if alpha is None else float(alpha)


def _calibration_record(alpha: float | None) -> dict[str, Any]:
    if alpha is None or alpha == ODDS:
        return {"calibration": "none" if alpha is None else "odds"}
    return {"calibration": "prior", "alpha": alpha}


@dataclass(frozen=True, slots=True)
class Exclude:
    """Cumulative class exclusion, the paper's policy.

    Args:
        beta: per exit, 0 to 1; None: exit not kept.
        recovery: re-admit the current head's argmax; without it the argmax is taken among the remaining classes.
        masked_final: take the final argmax among the remaining classes instead of all.
        alpha: calibrate: undo this positive-class weight before deciding; `ODDS`: compare odds; None: neither.

    Raises:
        PolicyError: if a β or α is out of range.
    """

    beta: Thresholds
    recovery: bool = True
    masked_final: bool = False
    alpha: float | None = None
    name: ClassVar[str] = "exclude"
    excludes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", as_thresholds(self.beta, "β", 0, 1))
        object.__setattr__(self, "alpha", _checked_alpha(self.alpha))

    def kept(self, num_exits: int) -> tuple[int, ...]:
        """The exits that have a β."""
        return kept_by(self.beta, num_exits, self.name)

    def start(self, labels: NDArray[np.int64], num_classes: int) -> State:
        """All classes remain: bool [inputs, classes]."""
        return np.ones((len(labels), num_classes), bool)

    def decide(
        self, exit_index: int, logits: Logits, state: State
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], State]:
        """Strike out, and leave with the one class that remains."""
        values = logits.astype(np.float32, copy=False)
        rows = np.arange(len(values))
        if not self.recovery:
            values = np.where(state, values, np.float32(-np.inf))
        best = argmax(values)
        threshold = exclusion_threshold(values[rows, best], threshold_of(self.beta, exit_index), self.alpha)
        remaining = state & (values >= threshold[:, None])
        remaining[rows, best] = True
        return np.count_nonzero(remaining, axis=1) == 1, best, remaining

    def finish(self, logits: Logits, state: State) -> NDArray[np.int64]:
        """The final argmax, over all classes or (`masked_final`) over those that remain."""
        return argmax(np.where(state, logits, np.asarray(-np.inf, logits.dtype)) if self.masked_final else logits)

    def cost(self, num_classes: int) -> DecisionCost:
        """One pass for the largest logit, one for the compares; one bit of state per class."""
        return DecisionCost(compares=2 * num_classes, state_bits=num_classes)

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {
            "name": self.name,
            "beta": list(self.beta),
            "recovery": self.recovery,
            "final": "masked" if self.masked_final else "unmasked",
            **_calibration_record(self.alpha),
        }


@dataclass(frozen=True, slots=True)
class Ratio(Memoryless):
    """Exclusion without memory: leave when every class but the head's argmax falls below t at this exit alone.

    That is one test on the second largest logit, z_2nd < t.

    Args:
        beta: per exit, 0 to 1; None: exit not kept.
        alpha: as in `Exclude`.

    Raises:
        PolicyError: if a β or α is out of range.
    """

    beta: Thresholds
    alpha: float | None = None
    name: ClassVar[str] = "ratio"
    excludes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", as_thresholds(self.beta, "β", 0, 1))
        object.__setattr__(self, "alpha", _checked_alpha(self.alpha))

    def kept(self, num_exits: int) -> tuple[int, ...]:
        """The exits that have a β."""
        return kept_by(self.beta, num_exits, self.name)

    def decide(
        self, exit_index: int, logits: Logits, state: State
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], State]:
        """Leave when only the argmax stands."""
        values = logits.astype(np.float32, copy=False)
        best = argmax(values)
        largest = values[np.arange(len(values)), best]
        threshold = exclusion_threshold(largest, threshold_of(self.beta, exit_index), self.alpha)
        standing = np.count_nonzero(values >= threshold[:, None], axis=1)
        return standing - (largest >= threshold) == 0, best, state

    def cost(self, num_classes: int) -> DecisionCost:
        """Two passes, nothing kept."""
        return DecisionCost(compares=2 * num_classes)

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {"name": self.name, "beta": list(self.beta), **_calibration_record(self.alpha)}
