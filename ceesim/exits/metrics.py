"""What a trace shows: who leaves where, which classes go where, how right each head is, and how sure we can be of it.

Every share says what it is a share of. Inputs without a label count in departures and exclusions, not in accuracy.
Figures are those of Wang, Li, Zhang, arXiv 2309.13443 (Fig. 4: `inputs_per_exit`, 5: `exits_per_class`, 6:
`excluded_per_exit`, 7: `excluded_where`), and some that it does not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceesim.errors import TraceError
from ceesim.exits.trace import ExitTrace

Shares = NDArray[np.float64]


def inputs_per_exit(trace: ExitTrace) -> NDArray[np.int64]:
    """How many inputs left at each exit [N+1]."""
    return np.asarray(np.bincount(trace.exit_index, minlength=trace.workload.num_exits + 2)[1:], np.int64)


def exits_per_class(trace: ExitTrace) -> NDArray[np.int64]:
    """How many inputs of each class left at each exit [M, N+1]."""
    width = trace.workload.num_exits + 1
    known = trace.labels >= 0
    cells = trace.labels[known] * width + trace.exit_index[known] - 1
    counts = np.bincount(cells, minlength=trace.workload.num_classes * width)
    return np.asarray(counts.reshape(-1, width), np.int64)


def remaining_classes(trace: ExitTrace) -> NDArray[np.bool_]:
    """Whether a class remains [inputs, N, M] after an exit; all False after the input left.

    Raises:
        TraceError: if the trace does not say which classes remain.
    """
    if trace.remaining is None:
        raise TraceError("does not say which classes remain", where="remaining")
    return np.unpackbits(trace.remaining, axis=2, count=trace.workload.num_classes).astype(bool)


@dataclass(frozen=True, slots=True, eq=False)
class Exclusion:
    """Mean number of excluded classes after each exit [N].

    Args:
        of_all: over all inputs; one that left counts with the M − 1 classes it left behind.
        of_running: over the inputs that reached the exit; NaN where none did.
    """

    of_all: Shares
    of_running: Shares


def excluded_per_exit(trace: ExitTrace) -> Exclusion:
    """Mean number of excluded classes, over both denominators.

    Raises:
        TraceError: if the trace does not say which classes remain.
    """
    num_classes, reached = trace.workload.num_classes, _reached(trace)
    excluded = np.where(reached, num_classes - remaining_classes(trace).sum(axis=2), 0)
    gone = (num_classes - 1) * np.count_nonzero(~reached, axis=0)
    total, running = excluded.sum(axis=0), np.count_nonzero(reached, axis=0)
    return Exclusion(of_all=(total + gone) / trace.num_inputs, of_running=_share(total, running))


def excluded_where(trace: ExitTrace) -> Shares:
    """Of the inputs that reached an exit, the share for which a class is excluded after it [N, M]; NaN if none did.

    Raises:
        TraceError: if the trace does not say which classes remain.
    """
    reached = _reached(trace)[:, :, None]
    excluded = np.count_nonzero(~remaining_classes(trace) & reached, axis=0)
    return _share(excluded, np.count_nonzero(reached, axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class HeadAccuracy:
    """Accuracy of each head, the final classifier last [N+1].

    Args:
        on_all: on all inputs with a label; None if the trace holds decisions only.
        on_released: of the predictions it made for those that left there; NaN if nobody did.
    """

    on_all: Shares | None
    on_released: Shares


def head_accuracy(trace: ExitTrace) -> HeadAccuracy:
    """How right each head is, and how right it is where it was trusted."""
    known = trace.labels >= 0
    labels, exit_index = trace.labels[known], trace.exit_index[known]
    width = trace.workload.num_exits + 2
    right = np.bincount(exit_index[trace.predictions[known] == labels], minlength=width)[1:]
    released = _share(right, np.bincount(exit_index, minlength=width)[1:])
    if trace.logits is None or trace.final_logits is None or not known.any():
        return HeadAccuracy(None, released)
    heads = [trace.logits[known, i].argmax(axis=1) for i in range(trace.workload.num_exits)]
    on_all = [np.mean(head == labels) for head in (*heads, trace.final_logits[known].argmax(axis=1))]
    return HeadAccuracy(np.array(on_all), released)


@dataclass(frozen=True, slots=True, eq=False)
class TargetFate:
    """What becomes of the right class, of inputs with a label, after each exit [N]; NaN where none qualifies.

    Args:
        excluded: share of those that reached the exit for which the right class is excluded after it.
        recovered: share of those for which it was excluded before the exit and remains after it.
    """

    excluded: Shares
    recovered: Shares


def target_fate(trace: ExitTrace) -> TargetFate:
    """How often the right class is struck out, and how often it comes back.

    Raises:
        TraceError: if the trace does not say which classes remain.
    """
    known = np.flatnonzero(trace.labels >= 0)
    present = remaining_classes(trace)[known, :, trace.labels[known]]
    reached = _reached(trace)[known]
    before = np.concatenate([np.ones((len(known), 1), bool), present[:, :-1]], axis=1)
    lost, back = ~before & reached, ~before & present & reached
    return TargetFate(
        excluded=_share(np.count_nonzero(~present & reached, axis=0), np.count_nonzero(reached, axis=0)),
        recovered=_share(np.count_nonzero(back, axis=0), np.count_nonzero(lost, axis=0)),
    )


def mean_interval(
    counts: NDArray[np.int64], values: NDArray[Any], *, share: float = 0.95, num_resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval (percentile method) of the mean of a quantity that takes one of few values.

    Args:
        counts: how many inputs have each value; exits and their costs, or 1 and 0 for right and wrong.
        values: in the unit of the quantity.
        share: that the interval covers.

    Resampling inputs with replacement draws their counts from a multinomial, which is what is drawn here.
    Source: Efron, Tibshirani, An Introduction to the Bootstrap, 1993, Section 13.3.
    """
    total = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(total, counts / total, size=num_resamples)
    low, high = np.quantile(draws @ np.asarray(values, np.float64) / total, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _reached(trace: ExitTrace) -> NDArray[np.bool_]:
    return np.asarray(np.arange(1, trace.workload.num_exits + 1) <= trace.exit_index[:, None])


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Shares:
    part, whole = np.broadcast_arrays(part, whole)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0), np.float64)
