"""What an exit saves and what looking ahead wastes: the order of the lookaheads, and causality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.load import override
from ceesim.hardware.model import Hardware, Lookahead
from ceesim.program.command import Amount, Program, Unit
from ceesim.program.executor import execute
from ceesim.sim.costs import price
from ceesim.workload.network import Workload
from tests.networks import accelerators, compiled, networks

EXAMPLES = settings(max_examples=30)


def looking_ahead(workload: Workload, hardware: Hardware, lookahead: Lookahead) -> Program:
    return compiled(workload, override(hardware, {"control.lookahead": lookahead.value}))


@given(networks(), accelerators())
@EXAMPLES
def test_less_waiting_is_never_slower(workload: Workload, hardware: Hardware) -> None:
    order = (Lookahead.STALL, Lookahead.PREFETCH, Lookahead.SPECULATE)
    programs = [looking_ahead(workload, hardware, lookahead) for lookahead in order]
    latencies = [price(program).latency_cycles for program in programs]
    assert (latencies[0] >= latencies[1]).all()
    assert (latencies[1] >= latencies[2]).all()
    for program in programs[1:]:  # only the waits differ
        assert (program.amounts == programs[0].amounts).all()
        assert (program.occupancy_cycles == programs[0].occupancy_cycles).all()


@given(networks(), accelerators())
@EXAMPLES
def test_stall_wastes_nothing_and_prefetch_no_computation(workload: Workload, hardware: Hardware) -> None:
    assert not price(looking_ahead(workload, hardware, Lookahead.STALL)).wasted.any()
    prefetch = looking_ahead(workload, hardware, Lookahead.PREFETCH)
    wasted = price(prefetch).wasted
    computing = [Amount.MACS, Amount.VECTOR_OPS, Amount.FOLDS, Amount.DECISIONS, Amount.OFMAP_DRAM_BYTES]
    assert not wasted[:, computing].any()


@given(networks(), accelerators())
@EXAMPLES
def test_a_static_npu_runs_to_the_end_whatever_the_exit(workload: Workload, hardware: Hardware) -> None:
    static = price(looking_ahead(workload, hardware, Lookahead.STATIC_NPU))
    speculate = price(looking_ahead(workload, hardware, Lookahead.SPECULATE))
    assert (static.latency_cycles == speculate.latency_cycles[-1]).all()
    assert (static.amounts == speculate.amounts[-1]).all()
    assert not static.wasted.any()


@given(networks(), accelerators())
@EXAMPLES
def test_deeper_exits_cost_more(workload: Workload, hardware: Hardware) -> None:
    costs = price(compiled(workload, hardware))
    assert (np.diff(costs.latency_cycles) >= 0).all()
    assert (np.diff(costs.amounts, axis=0) >= 0).all()
    assert (np.diff(costs.busy_cycles, axis=0) >= 0).all()
    assert (costs.wasted <= costs.amounts).all()


@given(networks(), accelerators())
@EXAMPLES
def test_the_truncated_program_leaves_at_the_same_cycle(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    whole, timeline = price(program), execute(program)
    for exit_index in range(1, program.num_exits + 1):
        truncated = program.truncated(exit_index)
        assert (truncated.segment <= exit_index).all()
        kept = program.segment <= exit_index
        alone = execute(truncated)
        assert (alone.start_cycles == timeline.start_cycles[kept]).all()
        assert (alone.finish_cycles == timeline.finish_cycles[kept]).all()
        if program.takes_exits:
            part = price(truncated)
            row = exit_index - 1
            assert part.latency_cycles[row] == whole.latency_cycles[row]
            assert (part.amounts[row] == whole.amounts[row] - whole.wasted[row]).all()
            assert not part.wasted[row].any()


@given(networks(), accelerators(), st.data())
@EXAMPLES
def test_nothing_of_the_next_segment_overtakes_a_gate(
    workload: Workload, hardware: Hardware, data: st.DataObject
) -> None:
    lookahead = data.draw(st.sampled_from((Lookahead.STALL, Lookahead.PREFETCH)))
    program = looking_ahead(workload, hardware, lookahead)
    timeline = execute(program)
    for exit_index, decision in enumerate(program.decisions, start=1):
        behind = program.segment > exit_index
        if lookahead is Lookahead.PREFETCH:
            behind &= program.unit != Unit.LOAD
        assert (timeline.start_cycles[behind] >= timeline.finish_cycles[decision]).all()


@pytest.mark.parametrize("placement", ["array", "vector", "dedicated"])
@given(data=st.data())
@settings(max_examples=10)
def test_every_exit_pays_for_its_heads(placement: str, data: st.DataObject) -> None:
    workload = data.draw(networks())
    hardware = data.draw(accelerators(exit_unit__placement=placement, control__lookahead="stall"))
    costs = price(compiled(workload, hardware))
    assert costs.executed_macs.tolist() == list(workload.path_macs())
    assert costs.amounts[:, Amount.DECISIONS].tolist() == [*range(1, workload.num_exits + 1), workload.num_exits]
