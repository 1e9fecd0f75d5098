"""Refilled batches: one at a time is no batch, nobody is lost, work is neither lost nor done twice, maps are parked."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceesim.errors import ScenarioError
from ceesim.program.command import Amount
from ceesim.sim.scenarios import play
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.sim.scenarios.load import load_scenario
from ceesim.sim.scenarios.refill import Member, Refill
from tests.sim.scenarios.toys import (
    CLOCK_HZ,
    HARDWARE,
    WORKLOAD,
    arrival_times,
    begins,
    jobs_of,
    played,
    priced,
    recorded,
    some_rows,
)

LAST = WORKLOAD.num_exits


def test_a_batch_in_which_all_leave_together_is_a_compacted_one() -> None:
    rows = np.full(12, 0)  # nobody is left over, so nobody is parked
    refill = played(rows, batch={"size": 4, "mode": "refill"}).dynamic
    compacted = played(rows, batch={"size": 4, "mode": "compacted"}).dynamic
    assert refill.end_cycle == compacted.end_cycle
    assert np.array_equal(refill.amounts, compacted.amounts)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, LAST), min_size=1, max_size=40), st.integers(2, 5))
def test_everybody_is_answered_once_and_computed_once(rows: list[int], size: int) -> None:
    path = priced()[0].path_macs
    result = played(np.array(rows), batch={"size": size, "mode": "refill"}, inputs=len(rows)).dynamic
    assert result.rows is not None
    assert sorted(result.rows.number) == list(range(len(rows)))
    assert result.executed_macs == int(path[rows].sum())  # no more and no fewer, whoever ran with whom
    assert result.energy.total[0] == pytest.approx(sum(result.rows.energy_pj))
    assert result.dram_bytes == pytest.approx(sum(result.rows.dram_bytes))


def test_survivors_wait_for_company_and_run_full() -> None:
    # of four, two always go on: the deep segments then run for four at a time, where compacted runs them for two
    rows = np.array([0, LAST] * 32)
    refill = played(rows, batch={"size": 4, "mode": "refill"}).dynamic
    compacted = played(rows, batch={"size": 4, "mode": "compacted"}).dynamic
    assert refill.amounts[Amount.WEIGHT_DRAM_BYTES] < compacted.amounts[Amount.WEIGHT_DRAM_BYTES]
    assert refill.amounts[Amount.OFMAP_DRAM_BYTES] > compacted.amounts[Amount.OFMAP_DRAM_BYTES]  # maps put aside
    assert refill.latency.mean > compacted.latency.mean


def test_parked_inputs_wait_no_longer_than_they_must() -> None:
    # one survivor, and then arrivals far apart: nobody could join it, so it goes straight on
    rows = np.array([LAST, 0, 0, 0])
    keys = {"arrivals": {"process": "period", "period": "1 s"}, "batch": {"size": 4, "mode": "refill"}}
    result = played(rows, **keys).dynamic
    assert result.latency_max == int(priced()[0].costs.latency_cycles[LAST])


def test_an_overdue_pool_goes_before_new_inputs() -> None:
    rows = np.array([LAST] + [0] * 400)
    arrivals = {"process": "poisson", "load": 3.0}  # new inputs are always there
    patient = {"arrivals": arrivals, "queue": 400, "batch": {"size": 4, "mode": "refill"}}
    impatient = patient | {"batch": {"size": 4, "mode": "refill", "max_wait": "1 us"}}
    waits = []
    for keys in (patient, impatient):
        done = played(rows, **keys).dynamic.rows
        assert done is not None
        waits.append(dict(zip(done.number, done.answer_cycle, strict=True))[0])
    assert waits[1] < waits[0]


class Watched(Refill):
    """A unit that writes down what it found waiting, and what it turned to."""

    log: ClassVar[list[tuple[bool, int, list[int], int, int]]] = []

    def _next(self) -> tuple[int, list[Member]]:
        closing, new, parked = not self._new.is_open, len(self._new), [len(pool) for pool in self._parked]
        segment, group = super()._next()
        if self._source is None:
            self.log.append((closing, new, parked, segment, len(group)))
        return segment, group


@pytest.mark.parametrize("load", [0.5, 0.9, 1.5])
def test_the_deepest_full_batch_is_next_then_new_inputs_then_the_deepest(
    load: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, occupancy = 4, priced()[0].costs.occupancy_cycles
    monkeypatch.setattr(play, "Refill", Watched)
    monkeypatch.setattr(Watched, "log", [])
    arrivals = {"process": "poisson", "rate": load * CLOCK_HZ / float(occupancy.mean())}
    played(some_rows(600, 1), arrivals=arrivals, queue=600, batch={"size": size, "mode": "refill"})
    passed_over = 0
    for _, new, parked, segment, taken in Watched.log:
        deepest = [deep for deep in range(len(parked) - 1, 1, -1) if parked[deep]]
        full = [deep for deep in deepest if parked[deep] >= size]
        expected = (full or ([1] if new else deepest) or [1])[0]
        assert segment == expected
        assert taken == min(size, new if segment == 1 else parked[segment])
        passed_over += not new and bool(full) and full[0] != deepest[0]
    assert len(Watched.log) > 100
    if load < 1:
        assert passed_over  # it was not always the same pool


def test_new_inputs_wait_for_a_batch_to_fill_as_they_do_without_refilling(tmp_path: Path) -> None:
    wait = 1000
    for times in ([0, 100, 200, 300], [0, 10, wait - 1, wait, 10**6], [0, 10, wait + 1, 10**6, 10**6]):
        keys = {"size": 4, "max_wait": f"{wait * 10**12 // CLOCK_HZ} ps"}
        begun = [
            begins(played(np.zeros(len(times), np.int64), arrivals=recorded(tmp_path, times), batch=batch).dynamic)
            for batch in ({**keys, "mode": "refill"}, {**keys, "mode": "compacted"})
        ]
        assert begun[0] == begun[1]
    assert begun[0][0] == (0, wait)
    assert begun[0][2] == (wait + 1, 2 * wait + 1)
    at_once = played(
        np.zeros(4, np.int64), arrivals=recorded(tmp_path, [0, 1, 2, 3]), batch={"size": 4, "mode": "refill"}
    )
    assert begins(at_once.dynamic)[0] == (0, 0)


def test_who_is_parked_waits_with_new_inputs_and_no_longer_than_he_may(tmp_path: Path) -> None:
    """Two of four are parked, because others have come; these four leave at once, and a ninth waits for company."""
    rows = np.array([0, 0, LAST, LAST, 0, 0, 0, 0, 0, 0])
    first = jobs_of(priced()[0], HARDWARE, BatchMode.COMPACTED).bill((0, 0, 0, 0)).occupancy_cycles
    wait = 50 * first
    batch = {"size": 4, "mode": "refill", "max_wait": f"{wait * 10**12 // CLOCK_HZ} ps"}
    parked, begun_after = 2 * first, []
    for later in (0, 1, 8):
        times = [0] * 4 + [1] * 4 + [parked + later, 10 * wait]
        begun = begins(played(rows, arrivals=recorded(tmp_path, times), batch=batch).dynamic)
        assert begun[4] == begun[7]
        if not later:
            parked = begun[4][1]  # full batches wait for nobody: the second begins when the first is parked
        else:
            assert begun[8][1] > parked + later + wait  # the two are overdue before the ninth, and keep the unit busy
            begun_after.append(begun[8][1])
    assert begun_after[0] == begun_after[1]


@given(arrival_times(longest_gap=900), st.integers(2, 4), st.integers(0, 3), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_queue_with_an_end_drops_whom_it_cannot_hold(
    tmp_path: Path, times: list[int], size: int, spare: int, seed: int
) -> None:
    """Who is dropped found it full, and whoever is taken in that very cycle makes room for others; nobody else is."""
    rows, capacity = some_rows(len(times), seed), size + spare
    batch = {"size": size, "mode": "refill"}
    outcome = played(rows, arrivals=recorded(tmp_path, times), batch=batch, queue=capacity).dynamic
    taken = begins(outcome)
    assert outcome.num_dropped == len(times) - len(taken)
    assert outcome.queue_most <= capacity
    for number, time in enumerate(times):
        if number not in taken:
            assert sum(begin > time for other, (_, begin) in taken.items() if other < number) == capacity


def test_new_inputs_begin_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    arrivals, batch = recorded(tmp_path, list(range(40))), {"size": 3, "mode": "refill"}
    begun = begins(played(some_rows(40), arrivals=arrivals, batch=batch).dynamic)
    assert len({begin for _, begin in begun.values()}) > 10
    assert [begun[number][1] for number in range(40)] == sorted(begin for _, begin in begun.values())


def test_several_units_are_refused() -> None:
    with pytest.raises(ScenarioError, match="refill parks its inputs for one unit"):
        load_scenario("closed", {"batch": {"size": 4, "mode": "refill"}, "units": 2})
