"""What a stream of inputs adds up to, in memory that does not grow with it: means, intervals, percentiles, a queue.

Intervals are batch means (Law and Kelton, *Simulation Modeling and Analysis*): the stream is cut into a fixed number of
long stretches, whose means are nearly independent if they are long enough (`memory`): neighbours are joined until they
are, and where too few would be left there is no interval. Percentiles are nearest-rank from buckets 1/1024 of an octave
wide; a percentile that falls into a bucket is the largest value seen in it, so one that many inputs share is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any, Final

import numpy as np

from ceesim.program.command import Int64s
from ceesim.units import ceil_div

NUM_STRETCHES: Final = 30
_FEWEST: Final = 8
_FORGOTTEN: Final = 15
_BUCKET_BITS: Final = 10
MOST_SAMPLES: Final = 512


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95% interval; no interval where too few inputs were seen to tell.

    `stretches` are the means of the stream's stretches, empty where too few were seen; so many `joined` neighbours
    are as good as independent of the next.
    """

    mean: float
    ci95: tuple[float, float] | None
    stretches: tuple[float, ...] = ()
    joined: int = 1

    def within(self, least: float, most: float) -> Estimate:
        """The same of a quantity that cannot leave these bounds: nor does its interval."""
        if self.ci95 is None:
            return self
        return replace(self, ci95=(max(self.ci95[0], least), min(self.ci95[1], most)))

    def to_json(self) -> dict[str, Any]:
        """For result files."""
        return {"mean": self.mean, "ci95": None if self.ci95 is None else list(self.ci95)}


class BatchMeans:
    """The mean of a value over a stream of known length, with its interval by batch means."""

    def __init__(self, expected: int) -> None:
        self._length = max(ceil_div(expected, NUM_STRETCHES), 1)
        self._sums = [0] * NUM_STRETCHES
        self._counts = [0] * NUM_STRETCHES
        self._seen = 0

    def add(self, value: int) -> None:
        """The next value."""
        stretch = self._seen // self._length
        if stretch >= NUM_STRETCHES:
            stretch = NUM_STRETCHES - 1
        self._sums[stretch] += value
        self._counts[stretch] += 1
        self._seen += 1

    @property
    def total(self) -> int:
        """Sum of all values."""
        return sum(self._sums)

    def estimate(self, memory: float = 0.0) -> Estimate:
        """Mean and interval of what was seen.

        Args:
            memory: values after which what was before hardly shows any more (see `memory`).
        """
        mean = self.total / self._seen if self._seen else 0.0
        full = [total / count for total, count in zip(self._sums, self._counts, strict=True) if count == self._length]
        if self._length < 2 or len(full) < NUM_STRETCHES // 2:
            return Estimate(mean, None)
        joined = max(1, ceil(min(memory / self._length, NUM_STRETCHES)))
        half = _half_width(np.array(full), joined)
        return Estimate(mean, None if half is None else (mean - half, mean + half), tuple(full), joined)


def memory(load: float | None, queue: int | None) -> float:
    """Inputs after which a queue has forgotten how long it was; infinite where it grows for ever.

    A queue forgets in about 1/(1 − load)² inputs (the relaxation time of M/M/1 is a few times that in service times), a
    full or finite one in the square of its length; `_FORGOTTEN` times that makes 95% intervals hold in 19 of 20 runs,
    nearly (measured on M/D/1).

    Args:
        load: None where nobody queues.
        queue: inputs that may wait; None is unlimited.
    """
    if load is None:
        return 0.0
    slack = abs(1 - load) if queue is not None or load < 1 else 0.0
    if queue is not None:
        slack = max(slack, 1 / (queue + 1))
    return _FORGOTTEN / slack**2 if slack else inf


def saved(less: Estimate, more: Estimate) -> tuple[float, float] | None:
    """95% interval of 1 − less/more, two means over the same stream; None where one has no interval.

    The ratio of two means, linearised (Law and Kelton, §9.4): what both owe to the same arrivals cancels.
    """
    if not less.stretches or len(less.stretches) != len(more.stretches) or more.mean <= 0:
        return None
    ratio = less.mean / more.mean
    differences = np.array(less.stretches) - ratio * np.array(more.stretches)
    half = _half_width(differences, max(less.joined, more.joined))
    return None if half is None else (1 - ratio - half / more.mean, 1 - ratio + half / more.mean)


def _half_width(means: np.ndarray[Any, np.dtype[np.float64]], joined: int) -> float | None:
    """Half the 95% interval of the mean of `means`, of which so many neighbours are taken together; None if too few."""
    from scipy import stats

    if len(means) // joined < _FEWEST:
        return None
    means = means[: len(means) // joined * joined].reshape(-1, joined).mean(axis=1)
    return float(stats.t.ppf(0.975, len(means) - 1) * np.std(means, ddof=1) / np.sqrt(len(means)))


class Histogram:
    """Counts of non-negative ints in buckets whose width is at most a thousandth of their value."""

    def __init__(self) -> None:
        self._seen: dict[int, list[int]] = {}  # bucket → how many, the largest

    def add(self, value: int) -> None:
        """One more value."""
        shift = value.bit_length() - _BUCKET_BITS - 1
        bucket = (shift << _BUCKET_BITS) + (value >> shift) if shift > 0 else value
        seen = self._seen.get(bucket)
        if seen is None:
            self._seen[bucket] = [1, value]
            return
        seen[0] += 1
        if value > seen[1]:
            seen[1] = value

    def percentile(self, percent: int) -> int:
        """Nearest-rank percentile; 0 if nothing was seen."""
        values, counts = self.points()
        if not len(values):
            return 0
        below = np.cumsum(counts)
        rank = ceil_div(percent * int(below[-1]), 100)
        return int(values[np.searchsorted(below, rank)])

    @property
    def largest(self) -> int:
        """The largest value seen."""
        return max((value for _, value in self._seen.values()), default=0)

    def points(self) -> tuple[Int64s, Int64s]:
        """Values (the largest of each bucket), ascending, and how often they were seen."""
        seen = [self._seen[bucket] for bucket in sorted(self._seen)]
        return np.array([value for _, value in seen], np.int64), np.array([count for count, _ in seen], np.int64)


class QueueLength:
    """How many wait, over time: the exact integral, the maximum, and samples that thin themselves out."""

    def __init__(self) -> None:
        self._length = 0
        self._since = 0
        self._area = 0
        self.most = 0
        self._width = 1024
        self._samples: list[list[int]] = []  # integral, maximum

    def change(self, now: int, by: int) -> None:
        """`by` more (or fewer) wait from cycle `now` on."""
        if now != self._since:
            self._advance(now)
        self._length += by

    def area(self, now: int) -> int:
        """Integral of the length from 0 to `now`, in input-cycles."""
        self._advance(now)
        return self._area

    def samples(self, now: int) -> tuple[Int64s, np.ndarray[Any, np.dtype[np.float64]], Int64s]:
        """(end of each stretch of time in cycles, mean length in it, largest length in it), at most `MOST_SAMPLES`."""
        self._advance(now)
        ends = [min((i + 1) * self._width, max(now, 1)) for i in range(len(self._samples))]
        widths = np.diff([0, *ends])
        means = np.array([area for area, _ in self._samples], np.float64) / np.maximum(widths, 1)
        return np.array(ends, np.int64), means, np.array([most for _, most in self._samples], np.int64)

    def _advance(self, now: int) -> None:
        if now == self._since:  # who is taken in the cycle of arrival has not waited
            return
        length, passed = self._length, now - self._since
        if length > self.most:
            self.most = length
        self._area += length * passed
        number = self._since // self._width
        if number < len(self._samples) and now <= (number + 1) * self._width:  # as nearly always
            sample = self._samples[number]
            sample[0] += length * passed
            if length > sample[1]:
                sample[1] = length
            self._since = now
            return
        while now > self._width * MOST_SAMPLES:
            self._width *= 2
            pairs: Sequence[Sequence[list[int]]] = [self._samples[i : i + 2] for i in range(0, len(self._samples), 2)]
            self._samples = [[sum(s[0] for s in pair), max(s[1] for s in pair)] for pair in pairs]
        at = self._since
        while at < now:
            number = at // self._width
            while len(self._samples) <= number:
                self._samples.append([0, self._length])
            end = min(now, (number + 1) * self._width)
            self._samples[number][0] += self._length * (end - at)
            self._samples[number][1] = max(self._samples[number][1], self._length)
            at = end
        self._since = now
