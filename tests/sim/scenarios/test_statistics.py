"""Statistics that do not grow: histograms, stretches and the queue's length against lists that are kept whole."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ceesim.sim.scenarios.statistics import (
    MOST_SAMPLES,
    NUM_STRETCHES,
    BatchMeans,
    Histogram,
    QueueLength,
    memory,
    saved,
)

VALUES = st.lists(
    st.one_of(st.integers(0, 2**11), st.integers(0, 2**40), st.integers(2**61, 2**62)), min_size=1, max_size=200
)


def percentile(values: list[int], percent: int) -> int:
    """Nearest rank."""
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def histogram(values: list[int]) -> Histogram:
    seen = Histogram()
    for value in values:
        seen.add(value)
    return seen


@given(VALUES, st.sampled_from((1, 50, 95, 99, 100)))
@settings(max_examples=100)
def test_percentiles_are_right_to_a_thousandth_and_are_values_that_were_seen(values: list[int], percent: int) -> None:
    found, exact = histogram(values).percentile(percent), percentile(values, percent)
    assert exact <= found <= exact * (1 + 1 / 1000)
    assert found in values
    assert histogram(values).percentile(100) == histogram(values).largest == max(values)


@given(st.lists(st.integers(0, 2**50), min_size=1, max_size=7))
def test_a_few_different_values_far_apart_are_kept_exactly(drawn: list[int]) -> None:
    kinds = [kind for i, kind in enumerate(sorted(drawn)) if not i or kind > 1.01 * sorted(drawn)[i - 1]]
    values = [kind for i, kind in enumerate(kinds) for _ in range(3 * i + 1)]
    seen = histogram(values)
    assert [seen.percentile(percent) for percent in range(1, 101)] == [percentile(values, p) for p in range(1, 101)]
    points, counts = seen.points()
    assert points.tolist() == kinds
    assert counts.tolist() == [3 * i + 1 for i in range(len(kinds))]


def test_small_values_are_exact() -> None:
    seen = histogram(list(range(2048)))
    assert seen.points()[0].tolist() == list(range(2048))


def test_nothing_seen_is_zero() -> None:
    assert histogram([]).percentile(50) == histogram([]).largest == 0
    assert BatchMeans(10).estimate().mean == 0.0
    assert BatchMeans(10).estimate().ci95 is None


def test_stretches_are_means_of_equal_parts() -> None:
    values = np.random.default_rng(0).integers(0, 10**12, 3000)
    stream = BatchMeans(3000)
    for value in values.tolist():
        stream.add(value)
    estimate = stream.estimate()
    means = values.reshape(NUM_STRETCHES, -1).mean(axis=1)
    assert estimate.mean == pytest.approx(values.mean(), rel=1e-14)
    np.testing.assert_allclose(estimate.stretches, means, rtol=1e-14)
    half = stats.t.interval(0.95, NUM_STRETCHES - 1, means.mean(), stats.sem(means))
    assert estimate.ci95 == pytest.approx(half, rel=1e-9)


@pytest.mark.parametrize(("expected", "seen"), [(3000, 1400), (20, 20), (1, 1)])
def test_too_few_values_make_no_interval(expected: int, seen: int) -> None:
    stream = BatchMeans(expected)
    for value in range(seen):
        stream.add(value)
    assert stream.estimate().ci95 is None
    assert stream.estimate().mean == pytest.approx((seen - 1) / 2)


def test_more_values_than_expected_are_not_lost() -> None:
    stream = BatchMeans(100)
    for value in range(1000):
        stream.add(value)
    assert stream.estimate().mean == pytest.approx(499.5)


def test_intervals_cover_correlated_data() -> None:
    """First-order autoregressive streams whose correlation dies well within a stretch: 95% of 200 hits, roughly."""
    random = np.random.default_rng(1)
    tries, length, correlation = 200, 3000, 0.8
    noise = random.normal(0, 1000, (tries, length))
    values = np.zeros((tries, length))
    for i in range(1, length):
        values[:, i] = correlation * values[:, i - 1] + noise[:, i]
    hits = 0
    for one in np.rint(values + 10**6).astype(np.int64).tolist():
        stream = BatchMeans(length)
        for value in one:
            stream.add(value)
        low, high = stream.estimate().ci95 or (0.0, 0.0)
        hits += low <= 10**6 <= high
    assert stats.binom.ppf(0.001, tries, 0.93) <= hits <= stats.binom.ppf(0.999, tries, 0.97)


def test_common_arrivals_cancel_in_what_is_saved() -> None:
    """Both means double together in busy stretches; their ratio is known far better than either."""
    random = np.random.default_rng(2)
    busy = random.uniform(1, 2, 3000)
    less, more = BatchMeans(3000), BatchMeans(3000)
    for factor in busy:
        less.add(round(600 * factor))
        more.add(round(1000 * factor))
    low, high = saved(less.estimate(), more.estimate()) or (0.0, 0.0)
    assert low < 0.4 < high
    assert high - low < 0.001
    assert saved(BatchMeans(1).estimate(), more.estimate()) is None


CHANGES = st.lists(
    st.tuples(st.one_of(st.integers(0, 3), st.integers(0, 3000), st.integers(0, 10**7)), st.integers(-3, 3)),
    max_size=40,
)


@given(CHANGES, st.integers(0, 10**6))
@settings(max_examples=60)
def test_the_queue_over_time(changes: list[tuple[int, int]], after: int) -> None:
    """Area, maximum and samples against the list of all stretches of time."""
    queue = QueueLength()
    now, length, spans = 0, 0, []
    for gap, by in changes:
        by = max(by, -length)
        spans.append((now, now + gap, length))
        now += gap
        length += by
        queue.change(now, by)
    end = now + after
    spans.append((now, end, length))
    assert queue.area(end) == sum((stop - start) * held for start, stop, held in spans)
    assert queue.most == max((held for start, stop, held in spans if stop > start), default=0)
    ends, means, most = queue.samples(end)
    assert len(ends) <= MOST_SAMPLES
    if end:
        assert ends[-1] == end
        assert (np.diff(ends) > 0).all()
        widths = np.diff(np.r_[0, ends])
        assert float(means @ widths) == pytest.approx(queue.area(end), rel=1e-12)
        assert most.max(initial=0) == queue.most
        for stop, width, mean, largest in zip(ends, widths, means, most, strict=True):
            within = [
                (min(until, stop) - max(start, stop - width), held)
                for start, until, held in spans
                if min(until, stop) > max(start, stop - width)
            ]
            assert mean * width == pytest.approx(sum(time * held for time, held in within), abs=1e-3)
            assert largest == max(held for _, held in within)


@pytest.mark.parametrize(
    ("load", "queue", "inputs"),
    [(None, None, 0), (0.5, None, 60), (0.9, None, 1500), (1.0, None, inf), (1.3, None, inf), (1.0, 9, 1500)],
)
def test_a_queue_forgets_the_later_the_longer_it_is(load: float | None, queue: int | None, inputs: float) -> None:
    assert memory(load, queue) == pytest.approx(inputs)


@pytest.mark.parametrize(("inputs", "load", "told"), [(20_000, 0.5, True), (20_000, 0.8, True), (1000, 0.9, False)])
def test_intervals_of_a_queue_hold_or_are_not_given(inputs: int, load: float, told: bool) -> None:
    """M/D/1 by Lindley's recursion against Pollaczek and Khinchine: nine of ten intervals at least."""
    generator, holds, runs = np.random.default_rng(0), 0, 40
    for _ in range(runs):
        steps = np.cumsum(np.concatenate([[0], 1 - generator.exponential(1 / load, inputs - 1)]))
        means = BatchMeans(inputs)
        for value in ((steps - np.minimum.accumulate(steps)) * 1e6).astype(np.int64).tolist():
            means.add(value)
        found = means.estimate(memory(load, None))
        assert (found.ci95 is not None) == told
        if found.ci95 is not None:
            holds += found.ci95[0] <= 1e6 * load / (2 * (1 - load)) <= found.ci95[1]
    assert not told or holds >= 0.85 * runs
