"""What a layer's drain absorbs: activations and one pool that nobody else reads, head pools beside it, and no more."""

from math import prod

import pytest

from ceesim.mapping.compiler import compile_program
from ceesim.mapping.fusion import FusedLayer, fuse, vector_ops
from ceesim.program.command import Amount
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import (
    INPUT,
    Function,
    adaptive_average_pool,
    conv,
    elementwise,
    linear,
    pool,
    reshape,
    softmax,
)
from tests.lowering import chain
from tests.networks import COST, hardware, small_network

MAP = (2, 4, 4)
CONV = conv("conv", INPUT, MAP, 2, (1, 1))
RELU = elementwise("relu", ("conv",), MAP, Function.RELU)
POOL = pool("pool", "relu", MAP, (2, 2), (2, 2))


def names(layers: tuple[FusedLayer, ...]) -> list[tuple[str, ...]]:
    return [layer.ops for layer in layers]


def test_a_pool_behind_an_activation_behind_a_convolution() -> None:
    layers = fuse(chain(CONV, RELU, POOL), fuse_head_pools=True)
    assert names(layers) == [("conv", "relu", "pool"), ("fc",)]
    assert layers[0].kind == "conv+relu+max_pool"
    # one element-op per drained value, three comparisons per 2×2 window
    assert layers[0].vector_ops == 2 * 16 + 2 * 4 * 3
    assert (layers[0].output, layers[0].output_elements) == ("pool", 8)


def test_one_pool_only() -> None:
    again = pool("again", "pool", (2, 2, 2), (2, 2), (2, 2))
    assert names(fuse(chain(CONV, RELU, POOL, again), fuse_head_pools=True))[:2] == [
        ("conv", "relu", "pool"),
        ("again",),
    ]


def test_what_two_ops_read_is_written() -> None:
    other = elementwise("sum", ("conv", "relu"), MAP, Function.ADD)
    layers = fuse(chain(CONV, RELU, other), fuse_head_pools=True)
    assert names(layers)[:3] == [("conv",), ("relu",), ("sum",)]


def test_stored_values_are_a_layer_of_their_own() -> None:
    shift = elementwise("shift", ("conv",), MAP, Function.ADD, num_constants=2)
    workload = chain(CONV, shift)
    assert names(fuse(workload, fuse_head_pools=True))[:2] == [("conv",), ("shift",)]
    program = compile_program(workload, hardware(), exit_cost=COST)
    assert program.amounts[program.layer == 1, Amount.IFMAP_DRAM_BYTES].sum() >= 2


@pytest.mark.parametrize("fused", [True, False])
def test_a_head_pool_is_worked_off_beside_the_map_or_reads_it_again(fused: bool) -> None:
    layers = fuse(small_network(), fuse_head_pools=fused)
    stem = layers[0]
    if fused:
        assert stem.ops == ("stem", "stem.relu", "head1.pool")
        assert stem.side_outputs == (("head1.pool", 8),)
        assert stem.vector_ops == 8 * 144 + 8 * 144
    else:
        assert stem.ops == ("stem", "stem.relu")
        assert layers[1].ops == ("head1.pool",)
        assert layers[1].is_head
    assert stem.output == "stem.relu"


def test_every_op_is_computed_once_and_reads_what_was_made() -> None:
    for fused in (True, False):
        layers = fuse(small_network(), fuse_head_pools=fused)
        ops = [name for layer in layers for name in layer.ops]
        assert len(ops) == len(set(ops))
        made = {INPUT}
        for layer in layers:
            assert set(layer.sources) <= made
            made |= {layer.output, *(name for name, _ in layer.side_outputs)}


def test_the_final_logits_are_never_absorbed_away() -> None:
    ops = (linear("fc", INPUT, (4,), 2), elementwise("dead", ("fc",), (2,), Function.RELU))
    layers = fuse(Workload("end", 2, (4,), ops, (), "fc"), fuse_head_pools=True)
    assert layers[0].output == "fc"


@pytest.mark.parametrize("length", [1, 2])
def test_a_reshape_may_be_the_final_logits(length: int) -> None:
    ops = [conv("conv", INPUT, (4, 1, 1), 3, (1, 1))]
    for i in range(length):
        ops.append(reshape(f"flat{i}", ops[-1].name, ops[-1].output_shape, (3,)))
    program = compile_program(Workload("full", 3, (4, 1, 1), tuple(ops), (), ops[-1].name), hardware(), exit_cost=COST)
    assert program.amounts[:, Amount.OFMAP_DRAM_BYTES].sum() == 3


@pytest.mark.parametrize("placement", ["array", "vector", "dedicated", "free"])
def test_a_reshape_may_be_a_tap(placement: str) -> None:
    ops = (
        conv("conv", INPUT, (2, 2, 2), 2, (1, 1)),
        reshape("tap", "conv", (2, 2, 2), (8,)),
        linear("head", "tap", (8,), 2),
        linear("fc", "tap", (8,), 2),
    )
    workload = Workload("tapped", 2, (2, 2, 2), ops, (Exit("tap", ("head",)),), "fc")
    program = compile_program(workload, hardware(exit_unit__placement=placement), exit_cost=COST)
    assert program.num_exits == 1
    assert program.amounts[program.segment == 1, Amount.MACS].sum() == 16 + 16


def test_a_head_may_be_nothing_but_a_pool() -> None:
    ops = (
        conv("tap", INPUT, (2, 2, 2), 2, (1, 1)),
        adaptive_average_pool("head.pool", "tap", (2, 2, 2), (1, 1)),
        reshape("head.flat", "head.pool", (2, 1, 1), (2,)),
        conv("next", "tap", (2, 2, 2), 2, (2, 2)),
        reshape("flat", "next", (2, 1, 1), (2,)),
    )
    workload = Workload("pooled", 2, (2, 2, 2), ops, (Exit("tap", ("head.pool", "head.flat")),), "flat")
    for pooling in ("fused", "separate"):
        program = compile_program(workload, hardware(exit_unit__pooling=pooling), exit_cost=COST)
        assert program.amounts[program.segment == 1, Amount.VECTOR_OPS].sum() == 8 + 8
        assert program.decisions


def test_element_ops_of_what_runs_alone() -> None:
    assert vector_ops(POOL) == prod(POOL.output_shape) * 3
    assert vector_ops(pool("average", INPUT, MAP, (2, 2), (2, 2), average=True)) == 2 * 4 * 4
    assert vector_ops(adaptive_average_pool("adaptive", INPUT, (1, 5, 1), (2, 1))) == 3 + 3  # rows 0–2 and 2–4
    assert vector_ops(elementwise("add", (INPUT, INPUT), MAP, Function.ADD)) == 32
    assert vector_ops(softmax("softmax", INPUT, (3, 4))) == 4 * 12  # maximum, exponential, sum, division
    assert vector_ops(reshape("flat", INPUT, MAP, (32,))) == 0
