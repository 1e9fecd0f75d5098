"""Pinned weights: the prefix in order, the knapsack against brute force, and always room for the tiles of the rest."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.errors import OptionError
from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.fusion import FusedLayer, fuse
from ceesim.mapping.residency import Pins, pin
from ceesim.mapping.search import RESOLUTION
from ceesim.program.command import Amount
from ceesim.program.executor import execute
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import INPUT, Op, conv, linear, matmul, reshape, softmax
from tests.networks import COST, hardware, small_network

LEAST = 2 * 4 * (4 + 4)
"""Two tiles of a 4 × 4 array: 16 weights, and 4 biases of 4 bytes each."""


def stack(*sizes: int) -> tuple[FusedLayer, ...]:
    """For each size a linear layer of that many weights and another back to 4 features, without biases."""
    return fuse(workload_of(*sizes), fuse_head_pools=True)


def workload_of(*sizes: int) -> Workload:
    ops: list[Op] = []
    for i, size in enumerate(sizes, start=1):
        ops.append(linear(f"fc{i}", ops[-1].name if ops else INPUT, (4,), size // 4))
        ops.append(linear(f"back{i}", f"fc{i}", (size // 4,), 4))
    return Workload("stack", 4, (4,), tuple(ops), (), ops[-1].name)


def pins(layers: tuple[FusedLayer, ...], accelerator: Hardware, traffic: dict[str, int] | None = None) -> Pins:
    return pin(layers, accelerator, [1.0], traffic or {})


def test_none_pins_nothing() -> None:
    accelerator = hardware()
    assert pins(stack(8, 8), accelerator) == Pins(frozenset(), 0, 1024, 1024)


@pytest.mark.parametrize(
    ("size", "pinned"),
    [
        # 8 + 8 + 28 + 28 weights; all but the last must leave LEAST bytes
        (8 + LEAST - 1, ()),
        (8 + LEAST, ("fc1",)),
        (16 + LEAST - 1, ("fc1",)),
        (16 + LEAST, ("fc1", "back1")),
        (44 + LEAST - 1, ("fc1", "back1")),  # the third would leave one byte less than two tiles need
        (44 + LEAST, ("fc1", "back1", "fc2", "back2")),  # the fourth leaves nobody who needs tiles
    ],
)
def test_a_prefix_is_pinned_in_order(size: int, pinned: tuple[str, ...]) -> None:
    layers = stack(8, 28)
    accelerator = hardware(residency="prefix", buffers__weight=size)
    held = pins(layers, accelerator)
    assert held.ops == frozenset(pinned)
    used = sum(layer.main.num_weights for layer in layers if layer.main.name in pinned)
    assert (held.pinned_bytes, held.weight_tile_bytes) == (used, size - used)


@given(
    sizes=st.lists(st.integers(1, 30).map(lambda quarter: 4 * quarter), min_size=2, max_size=4),
    rates=st.lists(st.floats(0, 1), min_size=8, max_size=8),
    room=st.integers(0, 500),
)
@settings(max_examples=100)
def test_auto_is_the_best_of_all_sets_that_fit(sizes: list[int], rates: list[float], room: int) -> None:
    layers = stack(*sizes)
    weights = {layer.main.name: layer.main.num_weights for layer in layers}
    traffic = {name: round(size * rate) for (name, size), rate in zip(weights.items(), rates, strict=False)}
    accelerator = hardware(residency="auto", buffers__weight=LEAST + room)
    held = pins(layers, accelerator, traffic)

    def saved(chosen: tuple[str, ...]) -> int:
        return sum(traffic[name] for name in chosen)

    subsets = [chosen for count in range(len(weights) + 1) for chosen in combinations(weights, count)]
    fitting = [chosen for chosen in subsets if sum(weights[name] for name in chosen) <= room]
    if sum(weights.values()) <= LEAST + room:
        fitting = [tuple(weights)]
    assert saved(tuple(held.ops)) == max(saved(chosen) for chosen in fitting)
    assert held.weight_tile_bytes >= LEAST or len(held.ops) == len(weights)


def test_auto_prefers_what_more_inputs_reach() -> None:
    ops = (
        linear("early", INPUT, (8,), 8), linear("head", "early", (8,), 2), linear("late", "early", (8,), 8),
        linear("fc", "late", (8,), 2),
    )  # fmt: skip
    workload = Workload("two", 2, (8,), ops, (Exit("early", ("head",)),), "fc")
    accelerator = hardware(residency="auto", buffers__weight=64 + LEAST)  # one of the two, not both
    program = compile_program(workload, accelerator, exit_cost=COST, exit_rates=(0.9, 0.1))
    loaded = [int(program.amounts[program.segment == i, Amount.WEIGHT_DRAM_BYTES].sum()) for i in (1, 2)]
    assert loaded == [0, 64 + 16]


@pytest.mark.parametrize("residency", ["prefix", "auto"])
def test_pins_that_would_leave_too_little_room_for_tiles_are_not_taken(residency: str) -> None:
    """Pinned, the first convolution leaves the second one tiles of 4 × 4, which load its ifmap again and again."""
    first = conv("first", INPUT, (16, 8, 8), 16, (3, 3), padding=(1, 1))
    second = conv("second", "first", first.output_shape, 64, (3, 3), padding=(1, 1))
    flat = reshape("flat", "second", second.output_shape, (64 * 64,))
    workload = Workload("two", 4, (16, 8, 8), (first, second, flat, linear("fc", "flat", (64 * 64,), 4)), (), "fc")
    none, pinned = (
        compile_program(
            workload,
            hardware(residency=how, buffers__weight=16 * 16 * 9 + LEAST, buffers__activation=2048),
            exit_cost=COST,
            exit_rates=(1.0,),
        )
        for how in ("none", residency)
    )
    cycles = [int(execute(program).finish_cycles.max()) for program in (none, pinned)]
    assert cycles[1] <= cycles[0] * (1 + 1 / RESOLUTION)


def test_heads_are_pinned_in_a_buffer_of_their_own() -> None:
    workload = small_network()
    accelerator = hardware(residency="prefix", buffers__head=410, buffers__weight=512)
    held = pins(fuse(workload, fuse_head_pools=True), accelerator)
    # head1.fc: 80 weights and 10 biases are 120 bytes; head2.fc would be 360 more
    assert "head1.fc" in held.ops
    assert "head2.fc" not in held.ops
    assert held.head_tile_bytes == 410 - 120
    assert held.weight_tile_bytes == 512 - sum(
        layer.main.num_weights + 4 * layer.main.num_biases
        for layer in fuse(workload, fuse_head_pools=True)
        if layer.main.name in held.ops and not layer.is_head
    )


def test_auto_without_rates_is_refused() -> None:
    with pytest.raises(OptionError, match="how many inputs take each exit") as caught:
        compile_program(small_network(), hardware(residency="auto"), exit_cost=COST)
    assert "--rates" in str(caught.value)


@pytest.mark.parametrize("residency", ["prefix", "auto"])
@pytest.mark.parametrize("bits", [(4, 8), (8, 16), (16, 4)])
def test_whatever_is_pinned_leaves_room_for_the_rest(residency: str, bits: tuple[int, int]) -> None:
    """At any size that can hold two tiles, pins make no network unmappable that fits without them."""
    workload = small_network()
    precision = {"weight_bits": bits[0], "activation_bits": bits[1], "psum_bits": 32}
    smallest = 2 * 4 * (4 * max(bits) + 32) // 8
    for size in range(smallest, 3000, 97):
        for residence in ("none", residency):
            accelerator = hardware(residency=residence, buffers__weight=size, buffers__head=size, precision=precision)
            program = compile_program(workload, accelerator, exit_cost=COST, exit_rates=(0.5, 0.3, 0.2))
            assert program.warm_up_dram_bytes <= 2 * size


@pytest.mark.parametrize("residency", ["prefix", "auto"])
def test_a_network_that_fits_without_pins_is_not_refused_for_them(residency: str) -> None:
    """All weights fit, and fill the buffer: nothing is left for an operand that comes from DRAM in a weight's place."""
    rows, columns = 32, 8
    grid, turned = (rows, columns), (columns, rows)
    ops = (
        reshape("tokens", INPUT, (columns, rows, 1), grid), linear("q", "tokens", grid, columns),
        linear("k", "tokens", grid, columns), linear("v", "tokens", grid, columns),
        reshape("k.turned", "k", grid, turned), matmul("scores", "q", "k.turned", grid, turned),
        softmax("shares", "scores", (rows, rows)), matmul("mixed", "shares", "v", (rows, rows), grid),
        reshape("flat", "mixed", grid, (rows * columns,)), linear("fc", "flat", (rows * columns,), 10),
    )  # fmt: skip
    workload = Workload("attention", 10, (columns, rows, 1), ops, (), "fc")
    buffers = {"buffers__weight": sum(op.num_weights + 4 * op.num_biases for op in ops), "buffers__activation": 512}
    none, pinned = (
        compile_program(workload, hardware(residency=how, **buffers), exit_cost=COST, exit_rates=(1.0,))
        for how in ("none", residency)
    )
    assert execute(pinned).end_cycle <= execute(none).end_cycle * (1 + 1 / RESOLUTION)


def test_pinned_weights_are_never_loaded() -> None:
    workload = small_network()
    for size in (256, 1024, 1700, 4096, 8192):
        program = compile_program(workload, hardware(residency="prefix", buffers__weight=size), exit_cost=COST)
        for i, layer in enumerate(program.layers):
            if layer.is_decision or not workload.op(layer.ops[0]).num_weights:
                continue
            op = workload.op(layer.ops[0])
            loaded = program.amounts[program.layer == i, Amount.WEIGHT_DRAM_BYTES].sum()
            loaded += program.amounts[program.layer == i, Amount.HEAD_WEIGHT_DRAM_BYTES].sum()
            assert loaded == 0 or loaded >= op.num_weights + 4 * op.num_biases
    assert program.warm_up_dram_bytes == sum(op.num_weights + 4 * op.num_biases for op in workload.ops)  # at 8 KiB, all
