"""Refilled batches: one at a time is no batch, nobody is lost, work is neither lost nor done twice, maps are parked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.errors import ScenarioError
from ceesim.program.command import Amount
from ceesim.sim.scenarios.load import load_scenario
from tests.sim.scenarios.toys import WORKLOAD, played, priced, some_rows

LAST = WORKLOAD.num_exits


def test_batch_one_is_one_input_after_another() -> None:
    rows = some_rows(200)
    one = played(rows, batch={"size": 1, "mode": "refill"}, inputs=200).dynamic
    costs = priced()[0].costs
    assert one.end_cycle == int(costs.occupancy_cycles[rows].sum())
    assert one.latency.mean == pytest.approx(costs.latency_cycles[rows].mean())
    assert np.array_equal(one.amounts, costs.amounts[rows].sum(axis=0))


def test_a_batch_in_which_all_leave_together_is_a_compacted_one() -> None:
    rows = np.full(12, 0)  # nobody is left over, so nobody is parked
    refill = played(rows, batch={"size": 4, "mode": "refill"}).dynamic
    compacted = played(rows, batch={"size": 4, "mode": "compacted"}).dynamic
    assert refill.end_cycle == compacted.end_cycle
    assert np.array_equal(refill.amounts, compacted.amounts)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, LAST), min_size=1, max_size=40), st.integers(1, 5))
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


def test_several_units_are_refused() -> None:
    with pytest.raises(ScenarioError, match="refill parks its inputs for one unit"):
        load_scenario("closed", {"batch": {"size": 4, "mode": "refill"}, "units": 2})
