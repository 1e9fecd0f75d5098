"""Tiny programs worked out on paper. The rules of timing.md §3 and §5, for the accelerator below:

* Array 2×2, ws, textbook: L = 2, S = T+2, I = max(T, 2). A tile of F folds: occupancy F·I, latency (F−1)·I + T + 4.
* Load or store of B bytes: d = ⌈B/2⌉ (2 bytes per cycle; no memory latency but where said), occupancy d, latency 5+d.
* Vector tile of v element-ops: occupancy ⌈v/4⌉, latency 2 more. Each layer pays 3 cycles, with its first computation.
* Decision over 2 classes: two passes of one cycle, 3 of latency, 7 to act on it: 12.

Rows are (unit, start, finish); → in a comment leads from start to finish, f is when the unit is free again.
"""

from typing import Any

import numpy as np
import pytest

from ceesim.exits.policy import DecisionCost
from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.tiles import Tiling
from ceesim.program.command import Amount, Program
from ceesim.sim.costs import price, price_by_events
from ceesim.sim.machine import simulate
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import INPUT, Function, Op, conv, elementwise, linear, pool, reshape
from tests.lowering import lowered, nest, timetable
from tests.networks import COST, hardware

PAPER: dict[str, Any] = {
    "array__rows": 2,
    "array__cols": 2,
    "dma": {
        "queues": "shared", "beat": 4, "request": 16, "setup_cycles": 5, "max_outstanding": 100, "turnaround_cycles": 0
    },
    "dram__latency": 0,
}  # fmt: skip

Rows = list[tuple[str, int, int]]


def paper(**changes: Any) -> Hardware:
    return hardware(**(PAPER | changes))


def assert_timeline(program: Program, expected: Rows) -> None:
    assert timetable(program) == expected
    timeline = simulate(program, program.num_exits + 1).timeline
    assert timeline.start_cycles.tolist() == [start for _, start, _ in expected]
    assert timeline.finish_cycles.tolist() == [finish for _, _, finish in expected]


def built(workload: Workload, **changes: Any) -> Program:
    return compile_program(workload, paper(**changes), exit_cost=COST)


def one(op: Op, *, classes: int = 2) -> Workload:
    return Workload("one", classes, op.input_shapes[0], (op,), (), op.name)


def test_one_linear_layer() -> None:
    expected = [
        ("load", 0, 6),  # ifmap, 2 bytes: d = 1, f 1
        ("load", 1, 8),  # weights, 4 bytes: d = 2, f 3
        ("array", 8, 16),  # F = 1, T = 1: 0 + 1 + 4, and 3 for the layer
        ("vector", 16, 19),  # 2 element-ops: 1 + 2
        ("store", 19, 25),  # 2 bytes: 1 + 5
    ]
    assert_timeline(built(one(linear("fc", INPUT, (2,), 2))), expected)


def in_two_k_tiles() -> Program:
    """A linear layer of 4 × 2 weights. The mapper would take it whole: the fewer commands are worth it to it."""
    accelerator = paper()
    loops = nest(accelerator, linear("one", INPUT, (4,), 2), stored=True)
    return lowered(accelerator, loops, Tiling(1, 1, 1, 2, 2, 0))


def test_a_linear_layer_in_two_k_tiles() -> None:
    """Whole (4×2), it would be done at 30: loads 0→7 and 2→11, array →21, vector →24, store →30. Halved, at 27."""
    expected = [
        ("load", 0, 6),  # f 1
        ("load", 1, 8),  # f 3
        ("array", 8, 16),  # occupancy 3 + 2: f 13
        ("load", 3, 9),  # f 4
        ("load", 4, 11),
        ("array", 13, 18),  # the layer's 3 cycles are paid
        ("vector", 18, 21),
        ("store", 21, 27),
    ]
    assert_timeline(in_two_k_tiles(), expected)


def test_a_convolution_with_bias_activation_and_pool() -> None:
    shape = (2, 2, 2)
    ops = (
        conv("conv", INPUT, shape, 2, (1, 1), bias=True),
        elementwise("relu", ("conv",), shape, Function.RELU),
        pool("pool", "relu", shape, (2, 2), (2, 2)),
    )
    accelerator = paper()
    expected = [
        ("load", 0, 9),  # 8 bytes: d = 4, f 4
        ("load", 4, 15),  # 4 weights and 2 biases of 4 bytes: d = 6
        ("array", 15, 26),  # T = 4: 3 + 8
        ("vector", 26, 32),  # 8 values drained, 2 windows of 3 comparisons: ⌈14/4⌉ + 2
        ("store", 32, 38),  # 2 bytes
    ]
    assert_timeline(lowered(accelerator, nest(accelerator, *ops, stored=True), Tiling(1, 2, 2, 2, 2, 0)), expected)


BANDS = conv("conv", INPUT, (2, 2, 2), 2, (1, 1))
IN_TWO_BANDS = Tiling(1, 1, 2, 2, 2, 0)


def in_two_bands(**changes: Any) -> Program:
    accelerator = paper(**changes)
    return lowered(accelerator, nest(accelerator, BANDS, stored=True), IN_TWO_BANDS)


def test_two_bands_in_a_shared_queue() -> None:
    expected = [
        ("load", 0, 7),  # 4 bytes: d = 2, f 2
        ("load", 2, 9),  # weights, 4 bytes: f 4
        ("array", 9, 18),  # T = 2: 3 + 6; f 9 + 3 + 2 = 14
        ("vector", 18, 21),  # 4 element-ops: 1 + 2; f 19
        ("load", 4, 11),  # the next band goes before the store
        ("store", 21, 28),  # 4 bytes: d = 2, f 23
        ("array", 14, 20),
        ("vector", 20, 23),
        ("store", 23, 30),
    ]
    assert_timeline(in_two_bands(), expected)


def test_two_bands_in_split_queues_at_half_the_bandwidth_each() -> None:
    expected = [
        ("load", 0, 9),  # d = 4, f 4
        ("load", 4, 13),  # f 8
        ("array", 13, 22),  # f 18
        ("vector", 22, 25),
        ("load", 8, 17),
        ("store", 25, 34),  # d = 4, f 29
        ("array", 18, 24),
        ("vector", 24, 27),
        ("store", 29, 38),
    ]
    assert_timeline(in_two_bands(dma={**PAPER["dma"], "queues": "split"}), expected)


def test_two_bands_in_split_queues_of_a_duplex_memory() -> None:
    expected = in_two_bands()  # stores never waited for loads: the same times
    program = in_two_bands(dma={**PAPER["dma"], "queues": "split"}, dram__duplex=True)
    assert_timeline(program, timetable(expected))


def test_partial_sums_swap() -> None:
    accelerator = paper(vector__lanes=1)
    loops = nest(accelerator, conv("conv", INPUT, (2, 3, 2), 2, (1, 1)), far=False, pinned=True)
    expected = [
        ("array", 0, 9),  # T = 2: 3 + 6; f 5
        ("vector", 9, 15),  # 4 element-ops on one lane: 4 + 2; f 13
        ("array", 5, 11),  # f 7
        ("vector", 13, 19),  # f 17
        ("array", 15, 21),  # the first half of the psum buffer is free at 15
        ("vector", 21, 27),
    ]
    assert_timeline(lowered(accelerator, loops, IN_TWO_BANDS), expected)


def test_weight_tiles_swap() -> None:
    accelerator = paper()
    loops = nest(accelerator, linear("wide", INPUT, (2,), 6), far=False)
    expected = [
        ("load", 0, 7),  # f 2
        ("array", 7, 15),  # T = 1: 3 + 5; f 7 + 3 + 2 = 12
        ("vector", 15, 18),
        ("load", 2, 9),
        ("array", 12, 17),  # f 14
        ("vector", 17, 20),
        ("load", 15, 22),  # into the first tile's half, free at 15
        ("array", 22, 27),
        ("vector", 27, 30),
    ]
    assert_timeline(lowered(accelerator, loops, Tiling(1, 1, 1, 2, 2, 0)), expected)


def test_memory_latency_keeps_two_loads_in_flight() -> None:
    expected = [
        ("load", 0, 16),  # 5 + 10 + 1; f ⌈(10 + 1)/2⌉ = 6
        ("load", 6, 23),  # 5 + 10 + 2; f 12
        ("array", 23, 31),
        ("vector", 31, 34),
        ("store", 34, 40),  # posted: no latency
    ]
    assert_timeline(built(one(linear("fc", INPUT, (2,), 2)), dram__latency="20 ns"), expected)


def test_a_pool_alone() -> None:
    accelerator = paper()
    loops = nest(accelerator, pool("pool", INPUT, (1, 2, 2), (2, 2), (2, 2)), stored=True)
    expected = [
        ("load", 0, 7),
        ("vector", 7, 13),  # 3 comparisons: 3 + 1 + 2
        ("store", 13, 19),
    ]
    assert_timeline(lowered(accelerator, loops, Tiling(1, 1, 1, 1, 1, 0)), expected)


def test_an_output_stationary_fold() -> None:
    accelerator = paper(array__dataflow="os")
    loops = nest(accelerator, conv("conv", INPUT, (3, 1, 2), 2, (1, 1)), far=False, pinned=True)
    expected = [
        ("array", 0, 9),  # T = k = 3: S = T+2 = 5, D = R−1 = 1, and 3 for the layer
        ("vector", 9, 12),
    ]
    program = lowered(accelerator, loops, Tiling(1, 1, 2, 3, 2, 0))
    assert_timeline(program, expected)
    assert program.occupancy_cycles[0] == 3 + 3


def test_a_depthwise_layer_is_one_product_after_the_other() -> None:
    accelerator = paper()
    loops = nest(accelerator, conv("depthwise", INPUT, (2, 1, 1), 2, (1, 1), groups=2), far=False, pinned=True)
    expected = [
        ("array", 0, 10),  # two folds of one PE, I = 2 apart: 3 + 2 + 5
        ("vector", 10, 13),
    ]
    assert_timeline(lowered(accelerator, loops, Tiling(2, 1, 1, 1, 1, 0)), expected)


def test_a_residual_block() -> None:
    shape = (2, 1, 1)
    ops = (
        conv("first", INPUT, shape, 2, (1, 1)),
        conv("second", "first", shape, 2, (1, 1)),
        elementwise("add", ("first", "second"), shape, Function.ADD),
        reshape("flat", "add", shape, (2,)),
        linear("fc", "flat", (2,), 2),
    )
    expected = [
        ("load", 0, 6),
        ("load", 1, 8),  # f 3
        ("array", 8, 16),  # f 13
        ("vector", 16, 19),  # f 17
        ("load", 3, 10),  # weights of second, f 5
        ("array", 19, 27),  # its ifmap is there at 19; f 24
        ("vector", 27, 30),
        ("vector", 30, 36),  # add, 2 element-ops: 3 + 1 + 2
        ("load", 16, 23),  # weights of fc, into the half that first has left at 16
        ("array", 36, 44),
        ("vector", 44, 47),
        ("store", 47, 53),
    ]
    assert_timeline(built(Workload("residual", 2, shape, ops, (), "fc")), expected)


WITH_EXIT = Workload(
    "exit",
    2,
    (2, 1, 1),
    (
        conv("tap", INPUT, (2, 1, 1), 2, (1, 1)),
        reshape("flat", "tap", (2, 1, 1), (2,)),
        linear("head", "flat", (2,), 2),
        linear("fc", "flat", (2,), 2),
    ),
    (Exit("flat", ("head",)),),
    "fc",
)
UP_TO_THE_TAP: Rows = [
    ("load", 0, 6),  # f 1
    ("load", 1, 8),  # weights of tap, f 3
    ("array", 8, 16),  # f 13
    ("vector", 16, 19),  # f 17
]
UP_TO_THE_DECISION: Rows = [
    *UP_TO_THE_TAP,
    ("load", 3, 10),  # weights of the head, f 5
    ("array", 19, 27),  # f 24
    ("vector", 27, 30),  # f 28
    ("exit", 30, 42),
]


@pytest.mark.parametrize(
    ("lookahead", "behind", "latencies", "wasted_bytes", "wasted_macs"),
    [
        # nothing may start before 42
        ("stall", [("load", 42, 49), ("array", 49, 57), ("vector", 57, 60), ("store", 60, 66)], [42, 66], 0, 0),
        # the weights come behind those of the head; 4 bytes for nothing if the input leaves
        ("prefetch", [("load", 5, 12), ("array", 42, 50), ("vector", 50, 53), ("store", 53, 59)], [42, 59], 4, 0),
        # the array is free at 24, long before the decision, which is the last to finish: 4 + 2 bytes and 4 MACs
        ("speculate", [("load", 5, 12), ("array", 24, 32), ("vector", 32, 35), ("store", 35, 41)], [42, 42], 6, 4),
        # the same, but nobody ever leaves
        ("static_npu", [("load", 5, 12), ("array", 24, 32), ("vector", 32, 35), ("store", 35, 41)], [42, 42], 0, 0),
    ],
)
def test_an_exit(lookahead: str, behind: Rows, latencies: list[int], wasted_bytes: int, wasted_macs: int) -> None:
    program = built(WITH_EXIT, control__lookahead=lookahead)
    assert_timeline(program, UP_TO_THE_DECISION + behind)
    for costs in (price(program), price_by_events(program)):
        assert costs.latency_cycles.tolist() == latencies
        assert costs.wasted_dram_bytes.tolist() == [wasted_bytes, 0]
        assert costs.wasted_macs.tolist() == [wasted_macs, 0]


@pytest.mark.parametrize(
    ("placement", "head"),
    [
        # 4 MACs on 4 lanes: 3 + 1 + 2, then the drain on the same lanes
        ("vector", [("load", 3, 10), ("vector", 19, 25), ("vector", 25, 28), ("exit", 28, 40)]),
        # lanes of its own with 3 cycles of latency: 3 + 1 + 3, the drain 1 + 3
        ("dedicated", [("load", 3, 10), ("exit", 19, 26), ("exit", 26, 30), ("exit", 30, 42)]),
        # known the moment the tap is drained
        ("free", [("exit", 19, 19)]),
    ],
)
def test_where_the_head_runs(placement: str, head: Rows) -> None:
    program = built(WITH_EXIT, exit_unit__placement=placement, control__lookahead="stall")
    decided = head[-1][2]
    behind = [
        ("load", decided, decided + 7),
        ("array", decided + 7, decided + 15),
        ("vector", decided + 15, decided + 18),
        ("store", decided + 18, decided + 24),
    ]
    assert_timeline(program, UP_TO_THE_TAP + head + behind)
    assert price(program).latency_cycles.tolist() == [decided, decided + 24]
    assert price(program).executed_macs.tolist() == [8, 12]


def test_pinned_weights() -> None:
    program = built(WITH_EXIT, residency="prefix", control__lookahead="stall")
    expected = [
        ("load", 0, 6),
        ("array", 6, 14),
        ("vector", 14, 17),
        ("array", 17, 25),
        ("vector", 25, 28),
        ("exit", 28, 40),
        ("array", 40, 48),
        ("vector", 48, 51),
        ("store", 51, 57),
    ]
    assert_timeline(program, expected)
    assert program.warm_up_dram_bytes == 12


def test_two_inputs_of_a_linear_layer_share_its_weights() -> None:
    """One after the other they would take 2 × 25 cycles. As one tile they would be done at 28, as two at 27."""
    expected = [
        ("load", 0, 6),  # the first input's ifmap, 2 bytes: f 1
        ("load", 1, 8),  # weights, once: f 3
        ("array", 8, 16),  # T = 1: 3 + 5; f 8 + 3 + 2 = 13
        ("vector", 16, 19),
        ("load", 3, 9),  # the second input's
        ("store", 19, 25),  # f 20
        ("array", 13, 18),  # the layer's 3 cycles are paid, the weights are there
        ("vector", 18, 21),
        ("store", 21, 27),
    ]
    accelerator = paper()
    loops = nest(accelerator, linear("one", INPUT, (2,), 2), stored=True, images=2)
    assert_timeline(lowered(accelerator, loops, Tiling(1, 1, 1, 2, 2, 0)), expected)
    as_one_tile = [
        ("load", 0, 7),  # 4 bytes: d = 2, f 2
        ("load", 2, 9),
        ("array", 9, 18),  # T = 2: 3 + 6
        ("vector", 18, 21),  # 4 element-ops: 1 + 2
        ("store", 21, 28),  # 4 bytes
    ]
    assert_timeline(lowered(accelerator, loops, Tiling(1, 2, 1, 2, 2, 0)), as_one_tile)


def test_two_maps_of_a_convolution() -> None:
    accelerator = paper()
    expected = [
        ("load", 0, 9),  # the first map, 8 bytes: d = 4, f 4
        ("load", 4, 11),  # weights, once: f 6
        ("array", 11, 22),  # T = 4: 3 + 8; f 11 + 3 + 4 = 18
        ("vector", 22, 26),  # 8 element-ops: 2 + 2; f 24
        ("load", 6, 15),  # the second map: f 10
        ("store", 26, 35),  # f 30
        ("array", 18, 26),
        ("vector", 26, 30),
        ("store", 30, 39),
    ]
    program = lowered(accelerator, nest(accelerator, BANDS, stored=True, images=2), Tiling(1, 2, 2, 2, 2, 0))
    assert_timeline(program, expected)
    in_bands = lowered(accelerator, nest(accelerator, BANDS, stored=True, images=2), IN_TWO_BANDS)
    loads = in_bands.amounts[:, Amount.IFMAP_DRAM_BYTES]
    assert loads[loads > 0].tolist() == 4 * [4]
    assert in_bands.amounts[:, Amount.WEIGHT_DRAM_BYTES].sum() == 4


@pytest.mark.parametrize("lookahead", ["stall", "prefetch", "speculate"])
def test_two_inputs_of_which_one_leaves(lookahead: str) -> None:
    """Whatever the hardware could look ahead: which stream goes on is known at 47."""
    expected = [
        ("load", 0, 7),  # 2 inputs of 2 bytes: f 2
        ("load", 2, 9),  # weights of tap, f 4
        ("array", 9, 18),  # T = 2: 3 + 6; f 14
        ("vector", 18, 21),
        ("load", 4, 11),  # weights of the head
        ("array", 21, 30),
        ("vector", 30, 33),
        ("exit", 33, 47),  # 2 inputs of two passes of one cycle, 3 of latency, 7 to act on it
        ("vector", 47, 50),  # the 2 values of the one that is left move up: 1 + 2
        ("load", 50, 57),  # weights of fc
        ("array", 57, 65),  # T = 1: 3 + 5
        ("vector", 65, 68),
        ("store", 68, 74),
    ]
    program = compile_program(
        WITH_EXIT, paper(control__lookahead=lookahead), exit_cost=COST, batch=(2, 1), compacted=True
    )
    assert_timeline(program, expected)
    for costs in (price(program), price_by_events(program)):
        assert costs.latency_cycles.tolist() == [47, 74]
        assert costs.executed_macs.tolist() == [16, 20]
        assert costs.heads[:, Amount.MACS].tolist() == [8, 8]
        assert costs.amounts[:, Amount.DECISIONS].tolist() == [2, 2]
        assert costs.amounts[:, Amount.VECTOR_OPS].tolist() == [8, 8 + 2 + 2]
        assert not costs.wasted.any()


def test_a_softmax_policy_pays_for_its_exponentials() -> None:
    program = compile_program(WITH_EXIT, paper(), exit_cost=DecisionCost(compares=2, exponentials=5))
    (decision,) = program.decisions
    assert program.latency_cycles[decision] == 12 + 2 * 2  # ⌈5/4⌉ turns of 2 cycles
    assert program.amounts[decision, [Amount.COMPARES, Amount.EXPONENTIALS, Amount.DECISIONS]].tolist() == [2, 5, 1]


def test_what_one_linear_layer_accounts_for() -> None:
    amounts = in_two_k_tiles().amounts.sum(axis=0)
    expected = {
        Amount.IFMAP_DRAM_BYTES: 4,
        Amount.WEIGHT_DRAM_BYTES: 8,
        Amount.OFMAP_DRAM_BYTES: 2,
        Amount.MACS: 8,
        Amount.VECTOR_OPS: 2,
        Amount.FOLDS: 2,
        Amount.FOLD_PES: 8,
        Amount.WEIGHT_BUFFER_WRITE_BYTES: 8,
        Amount.WEIGHT_BUFFER_READ_BYTES: 8,
        Amount.ACTIVATION_BUFFER_WRITE_BYTES: 4 + 2,
        Amount.ACTIVATION_BUFFER_READ_BYTES: 4 + 2,
        Amount.PSUM_BUFFER_WRITE_BYTES: 2 * 8,  # two sums of 4 bytes, each written twice
        Amount.PSUM_BUFFER_READ_BYTES: 8 + 8,  # read once to add to, once to drain
        Amount.DMA_REQUESTS: 5,
        Amount.DMA_BEATS: 5,
    }
    assert {amount: int(amounts[amount]) for amount in expected} == expected
    assert not np.any(amounts[[Amount.HEAD_WEIGHT_DRAM_BYTES, Amount.EXPONENTIALS, Amount.DECISIONS]])
