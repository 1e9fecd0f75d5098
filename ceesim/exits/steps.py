"""Thresholds on a ladder of 101 steps, and what moving one exit along its ladder does: all 101 outcomes in one pass.

Step 0 of an exit releases nobody, step 100 everybody it can. With the other exits held, an input leaves at exit j once
the moving exit's step reaches some critical step, because a higher step never enlarges the set of remaining classes. So
one number in 0..255 per input and exit says it all, and a histogram of those numbers is the whole curve of accuracy and
departures. For exclusion the same holds class by class: with β = k/100, class c is struck out at an exit from step
K = ⌊100·σ(z_c)/σ(z_m)⌋ + 1 on, and a class is in the set at exit j until the smallest K on the way there.
Work is linear in inputs × exits × classes per curve, on bytes; arrays are class-major so that every pass is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ceesim.errors import TraceError
from ceesim.exits.exclusion import ODDS, Exclude, Ratio, exclusion_threshold
from ceesim.exits.policy import ExitPolicy, Logits
from ceesim.exits.scores import KINDS, Score, ScoreKind
from ceesim.exits.trace import ExitTrace

LAST_STEP: Final = 100
NEVER: Final = 255

Bytes: TypeAlias = NDArray[np.uint8]
Positions: TypeAlias = tuple[int | None, ...]
"""The step of every exit; None: exit not kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What each step 0..100 of one exit leads to.

    Args:
        correct: inputs predicted rightly [101].
        leaving: inputs that leave at each exit, 1..N+1 [101, N+1].
    """

    correct: NDArray[np.int64]
    leaving: NDArray[np.int64]


class Ladder(Protocol):
    """A family of policies with one threshold per exit, on the evidence of one trace."""

    num_exits: int
    num_inputs: int

    def policy(self, positions: Positions) -> ExitPolicy:
        """The policy at these steps."""
        ...

    def curve(self, exit_index: int, positions: Positions) -> Curve:
        """The outcome of every step of a kept exit, with the others where `positions` has them."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The part of a trace that has labels: logits, and where each head would be right [N+1, inputs]."""

    logits: Logits
    final_logits: Logits
    labels: NDArray[np.int64]
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, trace: ExitTrace) -> Evidence:
        """The evidence of a trace.

        Raises:
            TraceError: if it holds decisions only, or no label.
        """
        logits, final_logits = trace.evidence()
        known = trace.labels >= 0
        if not known.any():
            raise TraceError("no input has a label, so accuracy cannot be measured", where="labels")
        if not known.all():
            logits, final_logits = logits[known], final_logits[known]
        labels = trace.labels[known]
        heads = [logits[:, i].argmax(axis=1) == labels for i in range(logits.shape[1])]
        return cls(logits, final_logits, labels, np.stack([*heads, final_logits.argmax(axis=1) == labels]))


def _curve(critical: Sequence[Bytes], right: NDArray[np.bool_], correct_at_end: NDArray[np.int64] | None) -> Curve:
    """The curve of `critical` steps, one array [inputs] per exit; the number right at the end unless given [101]."""
    num_inputs = right.shape[1]
    left: Bytes = np.full(num_inputs, NEVER, np.uint8)  # the step from which on an input has left
    gone = np.zeros(LAST_STEP + 1, np.int64)
    correct = np.zeros(LAST_STEP + 1, np.int64)
    leaving = np.empty((LAST_STEP + 1, len(critical) + 1), np.int64)
    for i, steps in enumerate(critical):
        before = _reached(left[right[i]])
        left = np.minimum(left, steps)
        correct += _reached(left[right[i]]) - before
        now = _reached(left)
        leaving[:, i] = now - gone
        gone = now
    leaving[:, -1] = num_inputs - gone
    if correct_at_end is None:
        at_end = left[right[-1]]
        correct_at_end = len(at_end) - _reached(at_end)
    return Curve(correct + correct_at_end, leaving)


def _reached(steps: Bytes) -> NDArray[np.int64]:
    """How many of `steps` are at most k, for k = 0..100."""
    return np.asarray(np.bincount(steps, minlength=NEVER + 1)[: LAST_STEP + 1].cumsum(), np.int64)


def exclusion_steps(logits: Logits, alpha: float | None = None) -> Bytes:
    """From which step on each class is excluded at one exit, [classes, inputs]: 1..101, NEVER for the head's argmax.

    The thresholds of `exclusion_threshold` decide the few cases that are too close for the closed form in float64.
    """
    values = logits.astype(np.float32, copy=False)
    rows = np.arange(len(values))
    best = values.argmax(axis=1)
    likely = values.T.astype(np.float64)  # logarithms of what is compared
    if alpha != ODDS:
        likely = -np.logaddexp(0.0, (0.0 if alpha is None else log(alpha)) - likely)
    share = LAST_STEP * np.exp(likely - likely[best, rows])
    steps = np.minimum(np.floor(share) + 1, LAST_STEP + 1).astype(np.uint8)
    nearest = np.rint(share)
    close = (np.abs(share - nearest) < 1e-9) & (nearest >= 1)
    close[best, rows] = False
    for class_index, row in np.argwhere(close):
        step = int(nearest[class_index, row])
        threshold = exclusion_threshold(values[row, best[row], None], step / LAST_STEP, alpha)[0]
        steps[class_index, row] = step if values[row, class_index] < threshold else step + 1
    steps[best, rows] = NEVER
    return np.ascontiguousarray(steps)


class ExclusionLadder:
    """`Exclude` with recovery, β = step/100."""

    def __init__(self, evidence: Evidence, alpha: float | None, masked_final: bool) -> None:
        self.num_inputs, self.num_exits, _ = evidence.logits.shape
        self._evidence, self._alpha, self._masked_final = evidence, alpha, masked_final
        self._steps = [exclusion_steps(evidence.logits[:, i], alpha) for i in range(self.num_exits)]
        self._is_best = [np.where(steps == NEVER, np.uint8(NEVER), np.uint8(0)) for steps in self._steps]

    def policy(self, positions: Positions) -> ExitPolicy:
        """`Exclude` at these steps."""
        return Exclude(betas_of(positions), masked_final=self._masked_final, alpha=self._alpha)

    def curve(self, exit_index: int, positions: Positions) -> Curve:
        """The outcome of every step of this exit."""
        remains = np.full_like(self._steps[0], NEVER)  # until which step each class remains [classes, inputs]
        critical = []
        for i, (steps, is_best, position) in enumerate(zip(self._steps, self._is_best, positions, strict=True), 1):
            if position is None:
                critical.append(np.full(self.num_inputs, NEVER, np.uint8))
                continue
            np.bitwise_or(remains, is_best, out=remains)  # recovery
            if i == exit_index:
                np.minimum(remains, steps, out=remains)
            elif position:
                remains *= steps > position
            critical.append((remains & ~is_best).max(axis=0))
        at_end = self._masked_end(remains, critical) if self._masked_final else None
        return _curve(critical, self._evidence.right, at_end)

    def _masked_end(self, remains: Bytes, critical: Sequence[Bytes]) -> NDArray[np.int64]:
        """How many are right at the end [101], where the argmax is taken among the classes that remain.

        The label wins from the step at which the last better class has gone until it goes itself.
        """
        final, labels = self._evidence.final_logits.T, self._evidence.labels
        rows = np.arange(self.num_inputs)
        own = final[labels, rows]
        better = (final > own) | ((final == own) & (np.arange(len(final))[:, None] < labels))
        wins = np.where(better, remains, 0).max(axis=0)
        until = np.minimum(remains[labels, rows], np.minimum.reduce(critical))
        return _reached(wins[wins < until]) - _reached(until[wins < until])


class MemorylessLadder:
    """Policies that look at one exit alone: the critical steps do not depend on the other exits."""

    def __init__(self, evidence: Evidence, critical: Sequence[Bytes]) -> None:
        self.num_inputs, self.num_exits, _ = evidence.logits.shape
        self._evidence, self._critical = evidence, critical

    def curve(self, exit_index: int, positions: Positions) -> Curve:
        """The outcome of every step of this exit."""
        critical = []
        for i, (steps, position) in enumerate(zip(self._critical, positions, strict=True), 1):
            if position is None:
                critical.append(np.full(self.num_inputs, NEVER, np.uint8))
            else:
                critical.append(steps if i == exit_index else np.where(steps <= position, 0, NEVER).astype(np.uint8))
        return _curve(critical, self._evidence.right, None)


class RatioLadder(MemorylessLadder):
    """`Ratio`, β = step/100."""

    def __init__(self, evidence: Evidence, alpha: float | None) -> None:
        self._alpha = alpha
        steps = (exclusion_steps(evidence.logits[:, i], alpha) for i in range(evidence.logits.shape[1]))
        super().__init__(evidence, [np.where(step == NEVER, 0, step).max(axis=0) for step in steps])

    def policy(self, positions: Positions) -> ExitPolicy:
        """`Ratio` at these steps."""
        return Ratio(betas_of(positions), self._alpha)


class ScoreLadder(MemorylessLadder):
    """`Score`: step k releases about k percent of all inputs at its exit, whatever the scale of the score.

    Thresholds lie halfway between neighbouring scores, so that they mean the same on another machine.
    """

    def __init__(self, evidence: Evidence, kind: ScoreKind) -> None:
        self._kind = kind
        self._thresholds, critical, sign = [], [], KINDS[kind].sign
        for i in range(evidence.logits.shape[1]):
            surety = sign * KINDS[kind].score(evidence.logits[:, i])
            thresholds = _percentiles(surety, sign * KINDS[kind].never, sign * KINDS[kind].always)
            self._thresholds.append(sign * thresholds)
            critical.append(np.searchsorted(-thresholds, -surety, side="left").astype(np.uint8))
        super().__init__(evidence, critical)

    def policy(self, positions: Positions) -> ExitPolicy:
        """`Score` at these steps."""
        pairs = zip(self._thresholds, positions, strict=True)
        return Score(self._kind, tuple(None if step is None else float(ladder[step]) for ladder, step in pairs))


def _percentiles(surety: NDArray[np.float64], never: float, always: float) -> NDArray[np.float64]:
    """Falling thresholds [101] from `never` to above `always`: the k-th lets about k percent of `surety` through."""
    levels = np.unique(surety)[::-1]
    counts = np.searchsorted(-np.sort(surety)[::-1], -levels, side="right")  # how many are at least this sure
    cut = np.searchsorted(counts, np.arange(1, LAST_STEP + 1) * len(surety) / LAST_STEP)
    below = np.append(levels[1:], always)
    return np.concatenate([[never], (levels[cut] + below[cut]) / 2])


def betas_of(positions: Positions) -> tuple[float | None, ...]:
    """The β of every exit."""
    return tuple(None if step is None else step / LAST_STEP for step in positions)
