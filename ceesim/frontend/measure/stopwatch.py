"""Times of calls on a device: many samples of each, in turns, and their medians with intervals.

Calls take turns in a shuffled order, so that a clock that drifts or a neighbour that wakes up hits all of them alike. A
median's interval is that of order statistics: it assumes nothing about the distribution. On CUDA, events on the stream
bracket each call, waits of the host included. On a CPU that others use too, the thread's own processor time says what
an idle machine's clock would: the call must then run on one thread.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final, TypeVar

import torch

_Key = TypeVar("_Key", bound=Hashable)

CONFIDENCE: Final = 0.95
_WARM_UP_CALLS: Final = 3


@dataclass(frozen=True, slots=True)
class Samples:
    """Seconds of repeated calls, in the order in which they were taken."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle sample."""
        return median(self.seconds)

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the true median, from the samples at the binomial quantiles of their ranks."""
        from scipy.stats import binom

        ordered, num_samples = sorted(self.seconds), len(self.seconds)
        below = int(binom.ppf((1 - CONFIDENCE) / 2, num_samples, 0.5))
        return ordered[max(below - 1, 0)], ordered[min(num_samples - below, num_samples - 1)]


class Clock(StrEnum):
    """What is read before and after a call."""

    WALL = "wall"
    THREAD = "thread"
    CUDA = "cuda"


def time_in_turns(
    calls: Mapping[_Key, Callable[[], object]],
    *,
    clock: Clock,
    num_samples: int,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> dict[_Key, Samples]:
    """`num_samples` timings of each call, after warm-up; `advance` is called after each round."""
    seconds_of = _SECONDS_OF[clock]
    for call in calls.values():
        for _ in range(_WARM_UP_CALLS):
            call()
    order = list(calls)
    shuffle = random.Random(seed).shuffle  # noqa: S311 - an order, no secret
    taken: dict[_Key, list[float]] = {key: [] for key in calls}
    for _ in range(num_samples):
        shuffle(order)
        for key in order:
            taken[key].append(seconds_of(calls[key]))
        advance()
    return {key: Samples(tuple(seconds)) for key, seconds in taken.items()}


def _wall_seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) * 1e-9


def _thread_seconds(call: Callable[[], object]) -> float:
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) * 1e-9


def _cuda_seconds(call: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds * 1e-3


_SECONDS_OF: Final = {Clock.WALL: _wall_seconds, Clock.THREAD: _thread_seconds, Clock.CUDA: _cuda_seconds}
