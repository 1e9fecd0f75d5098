"""Groups and their bills: a batch of one is an input, masked members cost no work, a bill is what events come to."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceesim.hardware.array import Dataflow
from ceesim.hardware.energy.actions import COMPONENT_OF, Action, Component
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import load_hardware, override
from ceesim.hardware.model import Hardware
from ceesim.program.command import Amount, Program
from ceesim.sim.energy import actions
from ceesim.sim.scenarios.jobs import Bill, Jobs
from ceesim.sim.scenarios.kinds import Arbitration, BatchMode
from ceesim.sim.scenarios.shared import SharedDram, channels_of
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import INPUT, adaptive_average_pool, conv, linear, matmul, reshape
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


FLOWS = {flow: override(HARDWARE, {"array.dataflow": flow.value}) for flow in Dataflow}
PASSES = [Amount.WEIGHT_BUFFER_READ_BYTES, Amount.WEIGHT_HOPS]


def wide(pixels: int) -> Workload:
    """A convolution with an exit, another one, and a classifier; maps have so many pixels."""
    shape = (4, pixels, 1)
    ops = (
        conv("one", INPUT, shape, 4, (1, 1)),
        adaptive_average_pool("head.pool", "one", shape, (1, 1)),
        reshape("head.flat", "head.pool", (4, 1, 1), (4,)),
        linear("head", "head.flat", (4,), 3),
        conv("two", "one", shape, 4, (1, 1)),
        adaptive_average_pool("pool", "two", shape, (1, 1)),
        reshape("flat", "pool", (4, 1, 1), (4,)),
        linear("fc", "flat", (4,), 3),
    )
    return Workload("wide", 3, shape, ops, (Exit("one", ("head.pool", "head.flat", "head")),), "fc")


def by_layer(program: Program) -> dict[str, NDArray[np.int64]]:
    """[NUM_AMOUNTS] what each layer accounts for when all of it is run."""
    return {layer.name: program.amounts[program.layer == i].sum(axis=0) for i, layer in enumerate(program.layers)}


@pytest.mark.parametrize("rows", [(0, 1), (0, 0, 0, 1), (1, 1, 1), (0, 0)])
@pytest.mark.parametrize("flow", list(Dataflow))
def test_who_has_left_fills_no_fold(flow: Dataflow, rows: tuple[int, ...]) -> None:
    """Weights that stay in the PEs are loaded and read once for all; maps that stay there are those of who is left."""
    network, _ = priced(wide(8), FLOWS[flow])  # two folds of this array for each input
    alone = by_layer(network.program)
    masked, static = (
        by_layer(jobs_of(network, FLOWS[flow], mode).job(rows).program) for mode in (BatchMode.MASKED, BatchMode.STATIC)
    )
    size, left = len(rows), sum(row >= 1 for row in rows)
    for name, members in (("one", size), ("two", left)):
        if flow is Dataflow.WS:
            assert masked[name][Amount.FOLD_PES] == static[name][Amount.FOLD_PES] > 0
            assert (masked[name][PASSES] == static[name][PASSES]).all()
        else:
            assert masked[name][Amount.FOLD_PES] == members * alone[name][Amount.FOLD_PES]
            assert (masked[name][PASSES] == members * alone[name][PASSES]).all()
        assert alone[name][[Amount.FOLD_PES, Amount.WEIGHT_BUFFER_READ_BYTES]].all()
        assert masked[name][Amount.MACS] == members * alone[name][Amount.MACS]
    for name, members in (("head", size), ("fc", left)):  # a pixel each, so that the whole batch is one fold
        expected = static[name][Amount.FOLD_PES] if flow is Dataflow.WS else members * alone[name][Amount.FOLD_PES]
        assert masked[name][Amount.FOLD_PES] == expected
        passes = [*PASSES, Amount.HEAD_BUFFER_READ_BYTES]
        assert (masked[name][passes] == static[name][passes]).all()
        assert static[name][passes].any()


@pytest.mark.parametrize("flow", list(Dataflow))
def test_products_of_activations_are_those_of_who_is_left(flow: Dataflow) -> None:
    ops = (
        linear("one", INPUT, (4, 4), 4),
        reshape("head.flat", "one", (4, 4), (16,)),
        linear("head", "head.flat", (16,), 3),
        matmul("product", "one", "one", (4, 4), (4, 4)),
        reshape("flat", "product", (4, 4), (16,)),
        linear("fc", "flat", (16,), 3),
    )
    workload = Workload("products", 3, (4, 4), ops, (Exit("one", ("head.flat", "head")),), "fc")
    hardware = override(FLOWS[flow], {"buffers.activation": "128 B"})
    network, _ = priced(workload, hardware)
    masked, static = (
        by_layer(jobs_of(network, hardware, mode).job((0, 0, 0, 1)).program)["product"]
        for mode in (BatchMode.MASKED, BatchMode.STATIC)
    )
    assert static[Amount.FOLD_PES] == static[Amount.PRODUCT_FOLD_PES] > 0
    assert (masked * 4 >= static).all()
    shared = [Amount.DMA_BEATS, Amount.DMA_REQUESTS, Amount.DRAM_ACTIVATES, Amount.FOLDS]
    counted = [amount for amount in Amount if amount not in shared]
    assert (np.abs(masked * 4 - static)[counted] < 4).all()


def test_weights_are_moved_whole_for_whoever_is_left() -> None:
    """With the bursts, requests and rows of each load, and so with its energy at the DRAM."""
    rows = (0, 0, 0, WORKLOAD.num_exits)
    masked, static = (STALLING[mode].job(rows).program for mode in (BatchMode.MASKED, BatchMode.STATIC))
    weights = static.amounts[:, [Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]].any(axis=1)
    assert (masked.amounts[weights] == static.amounts[weights]).all()
    for amount in (Amount.DMA_BEATS, Amount.DMA_REQUESTS, Amount.DRAM_READ_BURST_BYTES, Amount.DRAM_ACTIVATES):
        assert static.amounts[weights, amount].all()
    spared = (static.amounts - masked.amounts)[~weights].sum(axis=0)
    cheaper, dearer = (STALLING[mode].bill(rows).energy for mode in (BatchMode.MASKED, BatchMode.STATIC))
    in_dram = np.array([COMPONENT_OF[action] is Component.DRAM for action in Action])
    expected = float(energy_table(STALL).dynamic_pj(actions(spared, STALL) * in_dram))
    assert float((dearer.by_component - cheaper.by_component)[0, Component.DRAM]) == pytest.approx(expected)


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
