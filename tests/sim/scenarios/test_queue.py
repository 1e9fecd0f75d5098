"""Who waits how long: every input of every kind of queue against oracles that know nothing of events.

One unit is Lindley's recursion; several are a heap of the times at which they get free; drops, batches and waiting for
a batch to fill are a queue that is walked from moment to moment. All of them agree to the cycle, ties included.
"""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceesim.sim.scenarios.arrivals import arrival_blocks
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.sim.scenarios.scenario import Scenario
from tests.sim.scenarios.toys import (
    CLOCK_HZ,
    HARDWARE,
    apart,
    arrival_times,
    begins,
    came,
    flat,
    jobs_of,
    played,
    priced,
    recorded,
    repeated,
    served_naively,
    some_rows,
)

OCCUPANCY = priced()[0].costs.occupancy_cycles
MEAN = float(OCCUPANCY.mean())
FEW = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def lindley(arrivals: list[int], services: list[int]) -> list[int]:
    """W(n+1) = max(0, W(n) + S(n) − A(n+1))."""
    waits = [0]
    for gap, service in zip(np.diff(arrivals).tolist(), services[:-1], strict=True):
        waits.append(max(0, waits[-1] + service - gap))
    return waits


def waits_of(taken: dict[int, tuple[int, int]]) -> list[int]:
    return [taken[number][1] - taken[number][0] for number in sorted(taken)]


@pytest.mark.parametrize("load", [0.3, 0.9, 1.0 - 1e-3])
@pytest.mark.parametrize("process", ["poisson", "period"])
def test_one_unit_is_lindley(process: str, load: float) -> None:
    period = f"{MEAN / load * 1e12 / CLOCK_HZ:.0f} ps"
    arrivals = {"process": process, **({"load": load} if process == "poisson" else {"period": period})}
    rows = np.tile(np.arange(4), 100)  # each exit as often, so that the load is known
    result = played(rows, arrivals=arrivals, inputs=3000, order="shuffled", seed=3).dynamic
    scenario = Scenario.model_validate({"arrivals": arrivals, "order": "shuffled", "seed": 3})
    expected = came(rows, scenario, 3000, load * CLOCK_HZ / MEAN)
    assert [arrival for arrival, _ in begins(result).values()] == expected.time
    assert waits_of(begins(result)) == lindley(expected.time, OCCUPANCY[expected.row].tolist())
    assert result.rows is not None
    assert result.rows.index.tolist() == expected.index


@pytest.mark.parametrize("units", [2, 3, 7])
def test_several_units_that_share_nothing_are_a_heap(units: int) -> None:
    rows = np.tile(np.arange(4), 50)
    load = 0.95
    arrivals = {"process": "poisson", "load": load}
    result = played(rows, arrivals=arrivals, inputs=2000, units=units, contention=False).dynamic
    expected = came(rows, Scenario.model_validate({"arrivals": arrivals}), 2000, load * units * CLOCK_HZ / MEAN)
    free = [0] * units
    waits = []
    for time, row in zip(expected.time, expected.row, strict=True):
        begin = max(time, heapq.heappop(free))
        waits.append(begin - time)
        heapq.heappush(free, begin + int(OCCUPANCY[row]))
    assert waits_of(begins(result)) == waits
    assert sum(wait > 0 for wait in waits) > 100  # it was a queue


@given(arrival_times(longest_gap=900), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**16))
@FEW
def test_a_queue_with_an_end_drops_whom_it_cannot_hold(
    tmp_path: Path, times: list[int], units: int, capacity: int, seed: int
) -> None:
    rows = some_rows(len(times), seed)
    outcome = played(rows, arrivals=recorded(tmp_path, times), queue=capacity, **apart(units)).dynamic
    expected = served_naively(
        times, rows.tolist(), lambda group: int(OCCUPANCY[list(group)].sum()), units=units, capacity=capacity
    )
    assert begins(outcome) == expected
    assert outcome.num_dropped == len(times) - len(expected)
    assert outcome.queue_most <= capacity


def test_who_comes_when_a_unit_gets_free_finds_it_free(tmp_path: Path) -> None:
    """One place to wait, taken; the unit gets free at t: who comes at t takes that place, who came at t−1 did not."""
    first = int(OCCUPANCY[1])
    rows = np.array([1, 2, 3])
    for come, dropped in ((first - 1, 1), (first, 0)):
        outcome = played(rows, arrivals=recorded(tmp_path, [0, 0, come]), queue=1).dynamic
        assert outcome.num_dropped == dropped


@given(
    arrival_times(),
    st.integers(1, 3),
    st.sampled_from((1, 2, 3, 5)),
    st.sampled_from((0, 1, 500, 20_000)),
    st.sampled_from((None, 0, 3)),
    st.sampled_from(tuple(BatchMode)[:3]),
    st.integers(0, 2**16),
)
@settings(FEW, max_examples=50)
def test_batches_fill_wait_and_are_taken(
    tmp_path: Path,
    times: list[int],
    units: int,
    size: int,
    max_wait: int,
    spare: int | None,
    mode: BatchMode,
    seed: int,
) -> None:
    rows = some_rows(len(times), seed)
    keys: dict[str, Any] = {} if spare is None else {"queue": size + spare}
    if size > 1:
        keys["batch"] = {"size": size, "mode": mode.value, "max_wait": f"{max_wait * 10**12 // CLOCK_HZ} ps"}
    outcome = played(
        rows,
        arrivals=recorded(tmp_path, times),
        **apart(units),
        **keys,
    ).dynamic
    jobs = jobs_of(priced()[0], HARDWARE, mode)
    expected = served_naively(
        times,
        rows.tolist(),
        lambda group: jobs.bill(group).occupancy_cycles,
        units=units,
        capacity=keys.get("queue"),
        size=size,
        max_wait=max_wait if size > 1 else 0,
    )
    assert begins(outcome) == expected


def test_an_oldest_member_waits_exactly_as_long_as_it_may(tmp_path: Path) -> None:
    """Two of three places taken: the unit begins at max_wait, not before; the third may come one cycle too late."""
    rows = np.array([0, 1, 2, 3])
    wait = 1000
    batch = {"size": 3, "max_wait": f"{wait * 10**12 // CLOCK_HZ} ps"}
    in_time = played(rows, arrivals=recorded(tmp_path, [0, 10, wait - 1, 10**6]), batch=batch).dynamic
    assert begins(in_time)[0] == (0, wait - 1)
    late = played(rows, arrivals=recorded(tmp_path, [0, 10, wait + 1, 10**6]), batch=batch).dynamic
    assert begins(late)[0] == (0, wait)
    assert begins(late)[2][1] > wait + 1


def test_a_unit_that_gave_up_waiting_is_still_woken(tmp_path: Path) -> None:
    """Batches that were not full when they had to begin do not cost later ones their beginning."""
    rows = np.zeros(5, np.int64)
    wait = 1000
    batch = {"size": 2, "max_wait": f"{wait * 10**12 // CLOCK_HZ} ps"}
    times = [0, 100_000, 200_000, 200_010, 10**6]
    outcome = played(rows, arrivals=recorded(tmp_path, times), batch=batch).dynamic
    assert [begin for _, begin in begins(outcome).values()] == [wait, 100_000 + wait, 200_010, 200_010, 10**6]


def test_no_input_waits_for_itself_under_closed_arrivals() -> None:
    rows = some_rows(50)
    outcome = played(rows, inputs=120, deadline="1 ms").dynamic
    starts = [begin for _, begin in begins(outcome).values()]
    ends = np.cumsum(OCCUPANCY[repeated(rows, 120)])
    assert starts == [0, *ends[:-1].tolist()]
    assert outcome.waiting_max == 0
    assert outcome.end_cycle == ends[-1]


def test_poisson_gaps_are_exponential_and_rates_are_kept() -> None:
    """Kolmogorov and Smirnov's test at the 1% level for three seeds, of which at most one may fail by chance."""
    from scipy import stats

    rate = 1000.0
    refused = 0
    for seed in range(3):
        scenario = Scenario.model_validate({"arrivals": {"process": "poisson", "rate": rate}, "seed": seed})
        times = np.array(flat(arrival_blocks(scenario, CLOCK_HZ, 20_000, rate_per_s=rate)))
        gaps = np.diff(times) * rate / CLOCK_HZ
        refused += stats.kstest(gaps, "expon").pvalue < 0.01
        assert stats.norm.sf(abs(gaps.mean() - 1) * np.sqrt(len(gaps))) > 1e-4
    assert refused <= 1


def test_periods_do_not_drift() -> None:
    """A third of a microsecond at 500 MHz is no whole number of cycles; the millionth arrival is still in time."""
    scenario = Scenario.model_validate({"arrivals": {"process": "period", "period": "333333 ps"}})
    times = flat(arrival_blocks(scenario, 500_000_000, 10_001))
    assert times[10_000] == 10_000 * 333_333 * 500_000_000 // 10**12
    assert {*np.diff(times).tolist()} == {166, 167}


def test_the_trace_repeats_in_its_order_or_shuffled_anew() -> None:
    scenario = {"arrivals": {"process": "period", "period": "1 ms"}}
    rows = np.arange(4)
    plain = came(rows, Scenario.model_validate(scenario), 10)
    assert plain.index == [0, 1, 2, 3, 0, 1, 2, 3, 0, 2]  # the last time spread over it
    rows = np.tile(rows, 10)
    shuffled = [
        came(rows, Scenario.model_validate(scenario | {"order": "shuffled", "seed": seed}), 100).index
        for seed in (0, 0, 1)
    ]
    assert shuffled[0] == shuffled[1] != shuffled[2]
    first, second, rest = shuffled[0][:40], shuffled[0][40:80], shuffled[0][80:]
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second
    assert len({*rest}) == 20


def test_a_few_of_the_trace_are_spread_over_it() -> None:
    scenario = Scenario.model_validate({"arrivals": {"process": "period", "period": "1 ms"}})
    assert came(np.arange(10), scenario, 4).index == [0, 2, 5, 7]
    everybody = came(np.arange(9000), scenario, 5000).index
    assert len({*everybody}) == 5000
    assert {*np.diff(everybody).tolist()} == {1, 2}


def test_arrivals_do_not_depend_on_what_serves_them() -> None:
    """The same seed brings the same inputs at the same times to one unit, to many, and to the backbone."""
    rows = some_rows(100)
    common = {"arrivals": {"process": "poisson", "rate": "50 kHz"}, "order": "shuffled", "seed": 9}
    outcomes = [played(rows, **common, **keys).dynamic for keys in ({}, {"units": 3}, {"batch": {"size": 4}})]
    seen = []
    for outcome in outcomes:
        kept = outcome.rows
        assert kept is not None
        order = np.argsort(np.array(kept.number))
        seen.append((np.array(kept.arrival_cycle)[order].tolist(), np.array(kept.index)[order].tolist()))
    assert seen[0] == seen[1] == seen[2]
