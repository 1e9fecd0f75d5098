"""The ladder of exclusion without recovery, where a dropped class is gone for good.

A dropped argmax moves the thresholds of later exits, so an input that leaves early at one step may stay longer at a
higher one: there is no critical step as in `steps`. But at the moving exit an input's set of classes takes at most as
many values as there are classes, each for a range of steps, and every such set goes through the later exits once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ceesim.exits.exclusion import Exclude
from ceesim.exits.steps import LAST_STEP, NEVER, Curve, Evidence, Positions, betas_of, exclusion_steps

_BLOCK: Final = 1 << 21
"""Pairs of classes at a time: an input may be followed with as many sets as it has classes."""


class ShrinkingLadder:
    """`Exclude` without recovery, β = step/100."""

    def __init__(self, evidence: Evidence, alpha: float | None, masked_final: bool) -> None:
        self.num_inputs, self.num_exits, self._num_classes = evidence.logits.shape
        self._evidence = evidence
        self._family = Exclude((), recovery=False, masked_final=masked_final, alpha=alpha)

    def policy(self, positions: Positions) -> Exclude:
        """`Exclude` at these steps."""
        return replace(self._family, beta=betas_of(positions))

    def curve(self, exit_index: int, positions: Positions) -> Curve:
        """The outcome of every step of this exit."""
        tally = _Tally(self.num_exits + 1)
        policy = self.policy((*positions[: exit_index - 1], 0, *positions[exit_index:]))
        kept = [i for i, position in enumerate(positions, 1) if position is not None]
        block = max(_BLOCK // self._num_classes**2, 1)
        for start in range(0, self.num_inputs, block):
            rows = np.arange(start, min(start + block, self.num_inputs))
            everything = policy.start(self._evidence.labels[rows], self._num_classes)
            walk = _Walk(rows, np.zeros_like(rows), np.full_like(rows, LAST_STEP + 1), everything)
            for i in kept:
                walk = self._fork(walk, i, tally) if i == exit_index else self._pass(walk, i, policy, tally)
            predictions = policy.finish(self._evidence.final_logits[walk.rows], walk.state)
            tally.add(self.num_exits + 1, walk, predictions == self._evidence.labels[walk.rows])
        return Curve(tally.correct, tally.leaving)

    def _pass(self, walk: _Walk, exit_index: int, policy: Exclude, tally: _Tally) -> _Walk:
        """Those that stay at an exit that does not move; the others are counted."""
        logits = self._evidence.logits[walk.rows, exit_index - 1]
        leave, predictions, state = policy.decide(exit_index, logits, walk.state)
        right = predictions == self._evidence.labels[walk.rows]
        tally.add(exit_index, walk.where(leave), right[leave])
        return replace(walk, state=state).where(~leave)

    def _fork(self, walk: _Walk, exit_index: int, tally: _Tally) -> _Walk:
        """One row for every set of classes that some step of the moving exit leaves; those that leave are counted."""
        values = np.where(walk.state, self._evidence.logits[walk.rows, exit_index - 1], -np.inf)
        steps = exclusion_steps(values, self._family.alpha).T
        best = steps == NEVER
        others = np.sort(np.where(walk.state & ~best, steps, 0), axis=1)[:, 1:].astype(np.int64)  # [:, 0] is the best's
        alone = replace(walk, first=others[:, -1])  # from that step on only the best remains
        tally.add(exit_index, alone, best.argmax(axis=1) == self._evidence.labels[walk.rows])
        starts = np.concatenate([np.zeros((len(others), 1), np.int64), others[:, :-1]], axis=1)
        row, column = np.nonzero(starts < np.minimum(others, LAST_STEP + 1))
        first = starts[row, column]
        return _Walk(
            walk.rows[row],
            first,
            np.minimum(others[row, column], LAST_STEP + 1),
            walk.state[row] & (steps[row] > first[:, None]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """Inputs on their way: rows of the evidence, the steps `first` … `last` − 1 they stand for, and their classes."""

    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    state: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> _Walk:
        """Some of them."""
        return _Walk(self.rows[chosen], self.first[chosen], self.last[chosen], self.state[chosen])


class _Tally:
    """A curve under construction."""

    def __init__(self, num_ways: int) -> None:
        self.correct = np.zeros(LAST_STEP + 1, np.int64)
        self.leaving = np.zeros((LAST_STEP + 1, num_ways), np.int64)

    def add(self, exit_index: int, walk: _Walk, right: NDArray[np.bool_]) -> None:
        """Count inputs that leave at an exit, for all the steps they stand for."""
        self.leaving[:, exit_index - 1] += _covered(walk.first, walk.last)
        self.correct += _covered(walk.first[right], walk.last[right])


def _covered(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the ranges `first` … `last` − 1 hold k, for k = 0..100; none where `first` is not below `last`."""
    size = NEVER + 1
    begun = np.bincount(first, minlength=size) - np.bincount(np.maximum(first, last), minlength=size)
    return np.asarray(begun[: LAST_STEP + 1].cumsum(), np.int64)
