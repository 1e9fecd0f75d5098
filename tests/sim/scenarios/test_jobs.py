"""Groups and their bills: a batch of one is an input, masked members cost no work, a bill is what events come to."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.load import load_hardware, override
from ceesim.hardware.model import Hardware
from ceesim.program.command import Amount
from ceesim.sim.scenarios.jobs import Bill, Jobs
from ceesim.sim.scenarios.kinds import Arbitration, BatchMode
from ceesim.sim.scenarios.shared import SharedDram, channels_of
from tests.networks import small_network
from tests.sim.scenarios.toys import HARDWARE, WORKLOAD, jobs_of, played, priced, some_rows

SHIPPED = sorted(Path(__file__).parents[3].glob("hw_configs/*.yaml"))
MODES = (BatchMode.STATIC, BatchMode.MASKED, BatchMode.COMPACTED)
GROUPS = st.lists(st.integers(0, WORKLOAD.num_exits), min_size=1, max_size=5).map(lambda rows: tuple(sorted(rows)))
JOBS = {mode: jobs_of(priced()[0], HARDWARE, mode) for mode in MODES}
STALL = override(HARDWARE, {"control.lookahead": "stall"})
STALLING = {mode: jobs_of(priced(WORKLOAD, STALL)[0], STALL, mode) for mode in MODES}


def assert_same(one: Bill, other: Bill) -> None:
    assert one.answered_at == other.answered_at
    assert one.answer_cycles == other.answer_cycles
    assert one.occupancy_cycles == other.occupancy_cycles
    np.testing.assert_array_equal(one.busy_cycles, other.busy_cycles)
    np.testing.assert_array_equal(one.amounts, other.amounts)
    np.testing.assert_array_equal(one.wasted, other.wasted)
    np.testing.assert_array_equal(one.energy.pj, other.energy.pj)
    assert (one.dram_bytes, one.total_pj) == (other.dram_bytes, other.total_pj)


def by_events(jobs: Jobs, rows: tuple[int, ...], arbitration: Arbitration) -> list[Bill]:
    """The bills of a group that comes twice to a single unit, whose DRAM is asked before every transfer."""
    env = simpy.Environment()
    shared = SharedDram(env, jobs, channels_of(env, arbitration, 1))
    return [env.run(env.process(shared.serve(0, rows))) for _ in range(2)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("lookahead", ["stall", "prefetch", "speculate", "static_npu"])
def test_one_unit_behind_the_shared_dram_is_the_look_up(path: Path, lookahead: str) -> None:
    for queues, duplex in (("shared", False), ("split", False), ("split", True)):
        changes = {"control.lookahead": lookahead, "dma.queues": queues, "dram.duplex": duplex}
        hardware = override(load_hardware(path), changes)
        network, _ = priced(WORKLOAD, hardware)
        jobs = jobs_of(network, hardware, BatchMode.STATIC)
        for row, arbitration in product(range(network.program.num_exits + 1), Arbitration):
            for bill in by_events(jobs, (row,), arbitration):
                assert_same(bill, jobs.bill((row,)))


@given(GROUPS, st.sampled_from(MODES), st.sampled_from(tuple(Arbitration)))
@settings(max_examples=40)
def test_a_remembered_bill_is_what_events_come_to(
    rows: tuple[int, ...], mode: BatchMode, arbitration: Arbitration
) -> None:
    for bill in by_events(JOBS[mode], rows, arbitration):
        assert_same(bill, JOBS[mode].bill(rows))
    assert JOBS[mode].bill(rows) is JOBS[mode].bill(rows)


def test_a_residual_network_in_batches_is_what_events_come_to() -> None:
    hardware = override(HARDWARE, {"dma.queues": "split"})
    network, _ = priced(small_network(), hardware)
    for mode, rows in product(MODES, ((0, 0), (0, 2), (0, 1, 2), (2, 2))):
        jobs = jobs_of(network, hardware, mode)
        for bill in by_events(jobs, rows, Arbitration.FIRST_COME):
            assert_same(bill, jobs.bill(rows))


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_of_one_is_an_input(mode: BatchMode) -> None:
    costs = priced()[0].costs
    for row in range(WORKLOAD.num_exits + 1):
        bill = JOBS[mode].bill((row,))
        assert bill.answer_cycles == (costs.latency_cycles[row],)
        assert bill.occupancy_cycles == costs.occupancy_cycles[row]
        assert (bill.amounts == costs.amounts[row]).all()
    rows = some_rows(60)
    alone = played(rows, inputs=90).dynamic
    batched = played(rows, inputs=90, batch={"size": 1, "mode": mode.value}).dynamic
    assert batched.end_cycle == alone.end_cycle == costs.occupancy_cycles[np.resize(rows, 90)].sum()
    assert (batched.amounts == alone.amounts).all()
    assert batched.energy.total[0] == alone.energy.total[0]


@given(GROUPS)
def test_a_static_batch_answers_all_at_the_exit_of_the_last(rows: tuple[int, ...]) -> None:
    bill = JOBS[BatchMode.STATIC].bill(rows)
    assert {*bill.answered_at} == {rows[-1] + 1}
    assert len({*bill.answer_cycles}) == 1
    same = JOBS[BatchMode.STATIC].bill((rows[-1],) * len(rows))
    assert bill.occupancy_cycles == same.occupancy_cycles
    assert (bill.amounts == same.amounts).all()


@given(GROUPS)
def test_masked_members_cost_no_work_and_no_time(rows: tuple[int, ...]) -> None:
    static, masked = JOBS[BatchMode.STATIC].bill(rows), JOBS[BatchMode.MASKED].bill(rows)
    assert masked.answered_at == tuple(row + 1 for row in rows)
    assert masked.answer_cycles[-1] == static.answer_cycles[-1]
    assert masked.occupancy_cycles == static.occupancy_cycles
    assert (masked.busy_cycles == static.busy_cycles).all()
    path = priced()[0].path_macs
    assert (masked.amounts - masked.wasted)[Amount.MACS] == path[list(rows)].sum()
    assert (static.amounts - static.wasted)[Amount.MACS] == path[rows[-1]] * len(rows)
    weights = [Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]
    assert (masked.amounts[weights] == static.amounts[weights]).all()
    assert masked.dram_bytes <= static.dram_bytes
    assert list(masked.answer_cycles) == sorted(masked.answer_cycles)


@given(GROUPS)
def test_a_compacted_batch_does_the_work_of_its_members(rows: tuple[int, ...]) -> None:
    compacted, masked = JOBS[BatchMode.COMPACTED].bill(rows), JOBS[BatchMode.MASKED].bill(rows)
    assert compacted.answered_at == masked.answered_at
    assert (compacted.amounts - compacted.wasted)[Amount.MACS] == priced()[0].path_macs[list(rows)].sum()
    at_once = rows.count(0)  # until the first decision nobody can be missing
    assert compacted.answer_cycles[:at_once] == masked.answer_cycles[:at_once]


@given(GROUPS)
def test_without_looking_ahead_compacting_changes_nothing_until_somebody_leaves(rows: tuple[int, ...]) -> None:
    compacted, masked = STALLING[BatchMode.COMPACTED].bill(rows), STALLING[BatchMode.MASKED].bill(rows)
    first = rows.count(rows[0])
    assert compacted.answer_cycles[:first] == masked.answer_cycles[:first]


@given(st.lists(GROUPS, min_size=1, max_size=8), st.sampled_from(MODES))
@settings(max_examples=20)
def test_patterns_are_priced_once(groups: list[tuple[int, ...]], mode: BatchMode) -> None:
    jobs = jobs_of(priced()[0], HARDWARE, mode)
    for rows in [*groups, *groups]:
        jobs.bill(rows)
    assert jobs.num_patterns == len({*groups})


def test_nobody_leaves_where_no_exit_is_taken() -> None:
    """A static NPU computes its exits and takes none: whatever the trace says, batches run to the end."""
    hardware: Hardware = override(HARDWARE, {"control.lookahead": "static_npu"})
    network, _ = priced(WORKLOAD, hardware)
    for mode in MODES:
        outcome = played(some_rows(20), accelerator=hardware, inputs=20, batch={"size": 4, "mode": mode.value}).dynamic
        whole = jobs_of(network, hardware, mode).bill((WORKLOAD.num_exits,) * 4)
        assert outcome.end_cycle == 5 * whole.occupancy_cycles
        assert outcome.path_macs == 20 * network.path_macs[-1]
