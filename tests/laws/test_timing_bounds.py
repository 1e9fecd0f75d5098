"""What no schedule can beat, and what must add up: units, bytes, MACs, and the breakdown by layer."""

from math import prod

import numpy as np
from hypothesis import given, settings

from ceesim.hardware.model import DmaQueues, ExitPlacement, Hardware
from ceesim.mapping.fusion import vector_ops
from ceesim.program.command import Amount, Int64s, Program, Unit
from ceesim.program.executor import execute
from ceesim.results.tables import layers as layer_table
from ceesim.sim.costs import Priced, price
from ceesim.units import ceil_div
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Op, OpKind
from tests.networks import accelerators, compiled, networks

EXAMPLES = settings(max_examples=40)
LOADED = [Amount.IFMAP_DRAM_BYTES, Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]


def leave_cycles(program: Program) -> list[int]:
    finish = execute(program).finish_cycles
    decided = [int(finish[row]) for row in program.decisions] if program.takes_exits else []
    return [*decided, int(finish.max())]


@given(networks(), accelerators())
@EXAMPLES
def test_occupancies_of_a_queue_never_overlap(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    start = execute(program).start_cycles
    served_by = program.queue[program.unit]
    for queue in set(served_by.tolist()):
        rows = np.flatnonzero(served_by == queue)
        assert (np.diff(start[rows]) >= program.occupancy_cycles[rows][:-1]).all()


@given(networks(), accelerators())
@EXAMPLES
def test_nothing_outlasts_the_run(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    costs, timeline = price(program), execute(program)
    assert (costs.busy_cycles <= costs.occupancy_cycles[:, np.newaxis]).all()
    assert (costs.latency_cycles <= costs.occupancy_cycles).all()
    released = timeline.start_cycles + program.occupancy_cycles
    for leave in leave_cycles(program):
        clipped = np.maximum(np.minimum(released, leave) - timeline.start_cycles, 0)
        busy = np.bincount(program.queue[program.unit], clipped)
        assert (busy <= leave).all()


@given(networks(), accelerators())
@EXAMPLES
def test_a_layer_spans_its_bytes_over_the_bandwidth(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    timeline, bandwidth = execute(program), hardware.dram.bandwidth_bytes_per_s
    both_ways_at_once = hardware.dma.queues is DmaQueues.SPLIT and hardware.dram.duplex
    for i in range(len(program.layers)):
        own = program.layer == i
        loaded = int(program.amounts[own][:, LOADED].sum())
        stored = int(program.amounts[own, Amount.OFMAP_DRAM_BYTES].sum())
        moved = max(loaded, stored) if both_ways_at_once else loaded + stored
        span = int(timeline.finish_cycles[own].max() - timeline.start_cycles[own].min())
        assert bandwidth is None or span * bandwidth >= moved * hardware.clock_hz


@given(networks(), accelerators())
@EXAMPLES
def test_bytes_are_at_least_compulsory(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    costs = price(program)
    free = hardware.exit_unit.placement is ExitPlacement.FREE
    weights = 0
    for exit_index, segment in enumerate(workload.segments, start=1):
        ops = segment.backbone if free else segment.ops
        weights += sum(weight_bytes(op, hardware) for op in ops)
        loaded = costs.amounts[exit_index - 1, [Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]].sum()
        assert loaded + program.warm_up_dram_bytes >= weights
    bits = hardware.precision.activation_bits
    readers = [op for op in workload.ops if INPUT in op.inputs and op.kind is not OpKind.RESHAPE]
    constants = sum(op.num_constants for op in workload.ops)
    needed = ceil_div(max((touched(op) for op in readers), default=0) * bits, 8) + ceil_div(constants * bits, 8)
    assert costs.amounts[-1, Amount.IFMAP_DRAM_BYTES] >= needed
    assert costs.amounts[-1, Amount.OFMAP_DRAM_BYTES] >= ceil_div(workload.num_classes * bits, 8)


def weight_bytes(op: Op, hardware: Hardware) -> int:
    precision = hardware.precision
    return ceil_div(op.num_weights * precision.weight_bits + op.num_biases * precision.psum_bits, 8)


def touched(op: Op) -> int:
    """Elements of its first operand that `op` reads at least once: a stride may skip some."""
    shape = op.input_shapes[0]
    if op.window is None:
        return prod(shape)
    count = shape[0]
    for axis in (0, 1):
        starts = np.arange(op.output_shape[1 + axis]) * op.window.stride[axis] - op.window.padding[axis]
        reads = (starts[:, np.newaxis] + np.arange(op.window.kernel_size[axis]) * op.window.dilation[axis]).ravel()
        count *= len({read for read in reads.tolist() if 0 <= read < shape[1 + axis]})
    return count


@given(networks(), accelerators())
@EXAMPLES
def test_macs_are_conserved_from_graph_to_folds_to_commands(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    assert price(program).executed_macs[-1] == sum(op.macs for op in workload.ops)
    streamed_less = hardware.array.profile == "ideal"
    for i, layer in enumerate(program.layers):
        own = program.layer == i
        macs, pes = program.amounts[own, Amount.MACS], program.amounts[own, Amount.FOLD_PES]
        assert layer.is_decision or macs.sum() == workload.op(layer.ops[0]).macs
        if layer.unit is Unit.ARRAY and not streamed_less:  # each busy PE of a fold takes one MAC per streamed step
            assert (macs[pes > 0] % pes[pes > 0] == 0).all()
            assert (program.amounts[own, Amount.FOLDS] * hardware.array.num_pes >= pes).all()


@given(networks(), accelerators(exit_unit__placement="array"))
@EXAMPLES
def test_vector_ops_are_conserved(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    pools = {OpKind.MAX_POOL, OpKind.AVERAGE_POOL, OpKind.ADAPTIVE_AVERAGE_POOL}
    for i, layer in enumerate(program.layers):
        if layer.is_decision:
            continue
        main, *others = (workload.op(name) for name in layer.ops)
        expected = prod(main.output_shape) if main.gemm else vector_ops(main)
        expected += sum(vector_ops(op) for op in others if op.kind in pools)
        assert program.amounts[program.layer == i, Amount.VECTOR_OPS].sum() == expected
    computed = {name for layer in program.layers for name in layer.ops}
    assert computed == {op.name for op in workload.ops if op.kind is not OpKind.RESHAPE}


@given(networks(), accelerators(exit_unit__placement="array"))
@EXAMPLES
def test_what_is_stored_is_what_is_drained(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    for i, layer in enumerate(program.layers):
        own = program.layer == i
        stored = int(program.amounts[own, Amount.OFMAP_DRAM_BYTES].sum())
        drained = int(program.amounts[own & (program.unit == Unit.VECTOR), Amount.ACTIVATION_BUFFER_WRITE_BYTES].sum())
        assert stored in (0, drained) or len(layer.ops) > 1
        assert stored <= drained
        loads = program.amounts[own & (program.unit == Unit.LOAD)]
        written = loads[:, Amount.WEIGHT_BUFFER_WRITE_BYTES : Amount.ACTIVATION_BUFFER_WRITE_BYTES + 1 : 2].sum()
        assert written == loads[:, LOADED].sum()


@given(networks(), accelerators())
@EXAMPLES
def test_breakdowns_sum_to_totals(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    costs = price(program)
    priced = Priced(workload, program, costs, tuple(range(1, workload.num_exits + 2)))
    rows = layer_table(priced, hardware, {})

    def column(name: str) -> int:
        return sum(row[name] for row in rows)

    total: Int64s = program.amounts.sum(axis=0)
    assert column("cycles") == costs.latency_cycles[-1]
    assert column("macs") == total[Amount.MACS] == costs.executed_macs[-1]
    assert column("vector_ops") == total[Amount.VECTOR_OPS]
    assert column("folds") == total[Amount.FOLDS]
    moved = column("ifmap_dram_bytes") + column("weight_dram_bytes") + column("ofmap_dram_bytes")
    assert moved == costs.dram_bytes[-1]
    assert (costs.amounts[-1] == total).all()
