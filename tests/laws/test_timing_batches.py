"""What a batch may cost: the same work per input, weights once or at most once per input, and never less time."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.model import ExitPlacement, Hardware
from ceesim.mapping.search import RESOLUTION
from ceesim.program.command import Amount, Program
from ceesim.sim.costs import price, price_by_events
from ceesim.units import ceil_div
from ceesim.workload.network import Workload
from tests.laws.test_timing_bounds import touched, weight_bytes
from tests.laws.test_timing_engines import assert_same
from tests.networks import accelerators, batches, compiled, networks

EXAMPLES = settings(max_examples=40)
WEIGHTS = [Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]
LOADS = [*WEIGHTS, Amount.IFMAP_DRAM_BYTES]


def per_segment(program: Program, amounts: list[Amount]) -> list[int]:
    """[segments] sum of some amounts over all commands of each segment."""
    return [
        int(program.amounts[program.segment == segment][:, amounts].sum())
        for segment in range(1, program.num_exits + 2)
    ]


@given(networks(), accelerators(), st.data())
@EXAMPLES
def test_every_member_does_all_the_work_of_its_segments(
    workload: Workload, hardware: Hardware, data: st.DataObject
) -> None:
    batch, compacted = data.draw(batches(workload, hardware))
    program = compiled(workload, hardware, batch=batch, compacted=compacted)
    one = compiled(workload, hardware)
    sizes = np.array(batch)
    for amount in (Amount.MACS, Amount.DECISIONS, Amount.COMPARES, Amount.EXPONENTIALS, Amount.DRAINED_PSUMS):
        assert per_segment(program, [amount]) == (sizes * per_segment(one, [amount])).tolist()
    gathered = [layer.kind == "gather" for layer in program.layers]
    own = ~np.array(gathered)[program.layer]
    for segment in range(1, len(batch) + 1):
        worked = program.amounts[own & (program.segment == segment), Amount.VECTOR_OPS].sum()
        assert worked == batch[segment - 1] * one.amounts[one.segment == segment, Amount.VECTOR_OPS].sum()
    expected = np.cumsum(sizes * [sum(op.macs for op in segment.ops) for segment in workload.segments])
    costs = price(program)
    if program.takes_exits:
        assert (costs.executed_macs - costs.wasted_macs).tolist() == expected.tolist()


@given(networks(), accelerators(), st.data())
@EXAMPLES
def test_bytes_are_at_least_compulsory(workload: Workload, hardware: Hardware, data: st.DataObject) -> None:
    batch, compacted = data.draw(batches(workload, hardware))
    program = compiled(workload, hardware, batch=batch, compacted=compacted)
    free = hardware.exit_unit.placement is ExitPlacement.FREE
    ops = [op for segment in workload.segments for op in (segment.backbone if free else segment.ops)]
    loaded = sum(per_segment(program, WEIGHTS))
    assert loaded + program.warm_up_dram_bytes >= sum(weight_bytes(op, hardware) for op in ops)
    bits, first, last = hardware.precision.activation_bits, batch[0], batch[-1]
    readers = [op for op in workload.segments[0].backbone if "input" in op.inputs and op.kind != "reshape"]
    needed = ceil_div(first * max((touched(op) for op in readers), default=0) * bits, 8)
    assert sum(per_segment(program, [Amount.IFMAP_DRAM_BYTES])) >= needed
    assert sum(per_segment(program, [Amount.OFMAP_DRAM_BYTES])) >= ceil_div(last * workload.num_classes * bits, 8)


@given(networks(), accelerators(), st.integers(2, 6))
@EXAMPLES
def test_a_batch_loads_no_more_weights_than_its_inputs_one_by_one(
    workload: Workload, hardware: Hardware, batch: int
) -> None:
    one, many = compiled(workload, hardware), compiled(workload, hardware, batch=batch)
    assert sum(per_segment(many, WEIGHTS)) <= batch * sum(per_segment(one, WEIGHTS))


@given(networks(), accelerators(), st.integers(2, 6))
@EXAMPLES
def test_a_batch_is_never_faster_than_one(workload: Workload, hardware: Hardware, batch: int) -> None:
    one, many = price(compiled(workload, hardware)), price(compiled(workload, hardware, batch=batch))
    assert (many.latency_cycles * (1 + 2 / RESOLUTION) >= one.latency_cycles).all()


LARGE = {"weight": "1 MiB", "activation": "8 MiB", "psum": "1 MiB", "head": "1 MiB"}


@given(networks(), accelerators(buffers=LARGE), st.integers(2, 6))
@EXAMPLES
def test_a_batch_that_fits_is_no_slower_than_its_inputs_one_by_one(
    workload: Workload, hardware: Hardware, batch: int
) -> None:
    """Up to the mapper's resolution. Where the maps of a batch fit no more, they go through DRAM: then it may be."""
    one, many = compiled(workload, hardware), compiled(workload, hardware, batch=batch)
    assert (price(many).latency_cycles <= batch * price(one).latency_cycles * (1 + 2 / RESOLUTION)).all()
    for segment, (alone, together) in enumerate(
        zip(per_segment(one, WEIGHTS), per_segment(many, WEIGHTS), strict=True), start=1
    ):
        assert together <= batch * alone, segment


@given(networks(), accelerators(), st.data())
@settings(max_examples=25)
def test_both_executors_agree(workload: Workload, hardware: Hardware, data: st.DataObject) -> None:
    batch, compacted = data.draw(batches(workload, hardware))
    program = compiled(workload, hardware, batch=batch, compacted=compacted)
    assert_same(price(program), price_by_events(program))
