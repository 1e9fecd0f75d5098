"""The rest of a network: the same layers and the same work as behind the exit, and one map that gets it there."""

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from ceesim.errors import WorkloadError
from ceesim.hardware.model import Hardware, Pooling
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.cut import Crossing, crossing, crossing_bytes, cut, parking
from ceesim.mapping.fusion import fuse
from ceesim.mapping.tiles import Tiling
from ceesim.program.command import Amount, Program, Unit
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import INPUT, Function, conv, elementwise, linear, pool, reshape
from tests.lowering import lowered, nest
from tests.networks import COST, accelerators, compiled, hardware, networks, small_network, vgg


def layers_of(program: Program, first_segment: int) -> list[tuple[str, str, tuple[str, ...], int, bool]]:
    return [
        (layer.name, layer.kind, layer.ops, layer.segment - first_segment, layer.is_head)
        for layer in program.layers
        if layer.segment >= first_segment and not layer.is_decision
    ]


@given(networks(max_exits=3), accelerators(), st.data())
@settings(max_examples=100)
def test_prefix_and_suffix_are_the_network(workload: Workload, accelerator: Hardware, data: st.DataObject) -> None:
    segment = data.draw(st.integers(1, workload.num_exits + 1))
    try:
        rest = cut(workload, accelerator, segment)
    except WorkloadError:
        reject()
    before = 0 if segment == 1 else workload.path_macs()[segment - 2]
    assert [before + macs for macs in rest.path_macs()] == list(workload.path_macs()[segment - 1 :])
    assert rest.num_exits == workload.num_exits + 1 - segment
    assert rest.output == workload.output
    fused = accelerator.exit_unit.pooling is Pooling.FUSED
    behind = [layer for layer in fuse(workload, fuse_head_pools=fused) if layer.segment >= segment]
    assert sum(layer.main.macs for layer in fuse(rest, fuse_head_pools=fused)) == sum(
        layer.main.macs for layer in behind
    )
    border = crossing(workload, accelerator, segment)
    assert rest.input_shape == border.shape
    made_before = {name for layer in fuse(workload, fuse_head_pools=fused) for name in layer.ops} - {
        name for layer in behind for name in layer.ops
    }
    assert border.name in made_before | {INPUT}
    compiled(rest, accelerator)


@pytest.mark.parametrize("workload", [small_network(), vgg(width=1 / 16)], ids=lambda workload: workload.name)
@pytest.mark.parametrize("pooling", ["fused", "separate"])
def test_the_rest_has_the_layers_behind_the_exit(workload: Workload, pooling: str) -> None:
    accelerator = hardware(exit_unit__pooling=pooling, buffers=dict.fromkeys(BUFFERS, "64 KiB"))
    whole = compile_program(workload, accelerator, exit_cost=COST)
    for segment in range(1, workload.num_exits + 2):
        rest = compile_program(cut(workload, accelerator, segment), accelerator, exit_cost=COST, batch=3)
        assert layers_of(rest, 1) == layers_of(whole, segment)
        for amount in (Amount.MACS, Amount.VECTOR_OPS, Amount.DECISIONS):
            assert rest.amounts[:, amount].sum() == 3 * whole.amounts[whole.segment >= segment, amount].sum()
        loaded = rest.amounts[rest.layer == 0, Amount.IFMAP_DRAM_BYTES].sum()
        assert loaded >= 3 * crossing_bytes(workload, accelerator, segment)


BUFFERS = ("weight", "activation", "psum", "head")


def test_a_pool_that_was_absorbed_before_the_exit_is_not_run_again() -> None:
    """The drain of the tapped convolution pools as well, so the pooled map crosses, and 4 times fewer bytes."""
    shape, small = (4, 8, 8), (4, 4, 4)
    ops = (
        conv("tap", INPUT, shape, 4, (1, 1)),
        pool("head.pool", "tap", shape, (8, 8), (8, 8), average=True),
        reshape("head.flat", "head.pool", (4, 1, 1), (4,)),
        linear("head", "head.flat", (4,), 2),
        pool("pool", "tap", shape, (2, 2), (2, 2)),
        conv("next", "pool", small, 4, (1, 1)),
        reshape("flat", "next", small, (64,)),
        linear("fc", "flat", (64,), 2),
    )
    workload = Workload("pooled", 2, shape, ops, (Exit("tap", ("head.pool", "head.flat", "head")),), "fc")
    # a pool with a fixed window is not fused into the drain: tap has two readers, and both read the whole map
    assert crossing(workload, hardware(), 2) == Crossing("tap", shape)
    fused = vgg(width=1 / 16)
    assert crossing(fused, hardware(), 3) == Crossing("pool2", (8, 16, 16))
    assert "pool2" in {op.name for op in fused.segments[2].backbone}
    rest = cut(fused, hardware(), 3)
    assert rest.ops[0] == reshape("pool2", INPUT, (8, 16, 16), (8, 16, 16))
    separate = hardware(exit_unit__pooling="separate")
    assert crossing(fused, separate, 3) == Crossing("relu2", (8, 32, 32))


def test_a_tapped_reshape_goes_along() -> None:
    """The exit taps a view of the map, and so does the rest of the network."""
    ops = (
        conv("conv", INPUT, (2, 1, 1), 2, (1, 1)),
        reshape("flat", "conv", (2, 1, 1), (2,)),
        linear("head", "flat", (2,), 2),
        linear("fc", "flat", (2,), 2),
    )
    workload = Workload("view", 2, (2, 1, 1), ops, (Exit("flat", ("head",)),), "fc")
    rest = cut(workload, hardware(), 2)
    assert [op.name for op in rest.ops] == ["conv", "flat", "fc"]
    assert rest.ops[0].macs == 0
    assert compile_program(rest, hardware(), exit_cost=COST).amounts[:, Amount.MACS].sum() == 4


def around_the_exit() -> Workload:
    shape = (2, 2, 2)
    ops = (
        conv("stem", INPUT, shape, 2, (1, 1)),
        conv("tap", "stem", shape, 2, (1, 1)),
        reshape("head.flat", "tap", shape, (8,)),
        linear("head", "head.flat", (8,), 2),
        elementwise("add", ("stem", "tap"), shape, Function.ADD),
        reshape("flat", "add", shape, (8,)),
        linear("fc", "flat", (8,), 2),
    )
    return Workload("around", 2, shape, ops, (Exit("tap", ("head.flat", "head")),), "fc")


def test_a_branch_around_the_exit_is_named() -> None:
    with pytest.raises(WorkloadError, match=r"around: segment 2 .* more than one map .*\(got stem, tap; .*\n  fix: "):
        cut(around_the_exit(), hardware(), 2)
    assert cut(around_the_exit(), hardware(), 1) == around_the_exit()


@pytest.mark.parametrize("segment", [0, 3])
def test_there_is_no_such_segment(segment: int) -> None:
    with pytest.raises(WorkloadError, match=rf"around: no such segment \(got {segment}; expected 1 to 2\)"):
        crossing(around_the_exit(), hardware(), segment)


@pytest.mark.parametrize("activation_bits", [4, 8, 16])
def test_parking_is_one_transfer_each_way(activation_bits: int) -> None:
    """A store of one tile of a layer that makes just this map, and a load of one that reads it, move the same."""
    accelerator = hardware(precision__activation_bits=activation_bits, buffers=dict.fromkeys(BUFFERS, "64 KiB"))
    workload = small_network()
    elements = 8 * 12 * 12
    assert crossing_bytes(workload, accelerator, 2) == elements * activation_bits // 8
    loops = nest(accelerator, conv("conv", INPUT, (8, 12, 12), 8, (1, 1)), stored=True)
    program = lowered(accelerator, loops, Tiling(1, 12, 12, 8, 8, 0))
    parked = parking(workload, accelerator, 2, 1)
    for transfer, unit in ((parked.store, Unit.STORE), (parked.load, Unit.LOAD)):
        (row, *_) = np.flatnonzero(program.unit == unit)
        assert transfer.occupancy_cycles == program.occupancy_cycles[row]
        assert transfer.latency_cycles == program.latency_cycles[row]
        np.testing.assert_array_equal(transfer.amounts, program.amounts[row])


def test_parking_many_maps_is_that_many_runs() -> None:
    accelerator = hardware()
    one, many = (parking(small_network(), accelerator, 2, images) for images in (1, 5))
    counted = [amount for amount in Amount if amount is not Amount.DRAM_ACTIVATES]  # each transfer opens its own rows
    for single, together in ((one.store, many.store), (one.load, many.load)):
        assert together.amounts[counted].tolist() == (5 * single.amounts[counted]).tolist()
    for transfer in (many.store, many.load):
        assert transfer.latency_cycles >= transfer.occupancy_cycles
    assert one.store.occupancy_cycles < many.store.occupancy_cycles <= 5 * one.store.occupancy_cycles
    assert one.load.latency_cycles < many.load.latency_cycles <= 5 * one.load.latency_cycles
