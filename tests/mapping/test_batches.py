"""A batch in the mapper: bands of several maps, the room they take, the gather behind an exit, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.errors import MappingError, OptionError
from ceesim.hardware.model import Hardware
from ceesim.mapping.candidates import Capacity, distinct_extents, fits
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.machine import machine_of
from ceesim.mapping.tiles import Tiling
from ceesim.program.command import Amount, Program, Unit
from ceesim.program.executor import execute
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, conv, linear, matmul
from tests.lowering import chain, lowered, nest
from tests.networks import COST, accelerators, compiled, hardware, networks, small_network

ROOMY = {"weight": 1 << 20, "activation": 1 << 20, "psum": 1 << 20, "head": 1 << 20}


@st.composite
def bands(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """(rows of a map, kernel, stride, padding, maps, rows of a tile) of a convolution along one axis."""
    size = draw(st.integers(1, 12))
    kernel = draw(st.integers(1, min(4, size)))
    stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, kernel // 2))
    maps = draw(st.integers(1, 5))
    out_rows = (size + 2 * padding - kernel) // stride + 1
    tiles = [*range(1, out_rows + 1), *(out_rows * many for many in range(2, maps + 1))]
    return size, kernel, stride, padding, maps, draw(st.sampled_from(tiles))


@given(bands())
@settings(max_examples=300)
def test_a_band_of_several_maps_is_the_rows_it_reads(case: tuple[int, int, int, int, int, int]) -> None:
    """Against sets of (map, row): exactly the rows between the first and last that a tile touches in each map."""
    size, kernel, stride, padding, maps, tile_rows = case
    accelerator = hardware(buffers=ROOMY, dma__request=1 << 16)
    op = conv("conv", INPUT, (1, size, 1), 1, (kernel, 1), stride=(stride, 1), padding=(padding, 0))
    loops = nest(accelerator, op, images=maps)
    program = lowered(accelerator, loops, Tiling(1, tile_rows, 1, kernel, 1, 0))
    loads = program.amounts[:, Amount.IFMAP_DRAM_BYTES] > 0
    expected, runs = [], []
    outputs = [(image, row) for image in range(maps) for row in range(op.output_shape[1])]
    pieces = []
    for image in range(0, maps, max(1, tile_rows // op.output_shape[1])):
        group = [place for place in outputs if image <= place[0] < image + max(1, tile_rows // op.output_shape[1])]
        pieces += [group[first : first + tile_rows] for first in range(0, len(group), tile_rows)]
    for piece in pieces:
        touched = set()
        for image in {image for image, _ in piece}:
            rows = [row * stride - padding + tap for i, row in piece if i == image for tap in range(kernel)]
            inside = [row for row in rows if 0 <= row < size]
            touched |= {(image, row) for row in range(min(inside), max(inside) + 1)}
        addresses = sorted(image * size + row for image, row in touched)
        expected.append(len(touched))
        runs.append(1 + sum(later != earlier + 1 for earlier, later in pairwise(addresses)))
    assert program.amounts[loads, Amount.IFMAP_DRAM_BYTES].tolist() == expected
    assert program.amounts[loads, Amount.DMA_REQUESTS].tolist() == runs  # a request takes a whole run here


def test_a_whole_map_has_no_halo_and_a_half_has() -> None:
    accelerator = hardware(buffers=ROOMY)
    loops = nest(accelerator, conv("conv", INPUT, (1, 6, 6), 1, (3, 3), padding=(1, 1)), images=3)

    def loads(rows: int) -> list[int]:
        amounts = lowered(accelerator, loops, Tiling(1, rows, 6, 9, 1, 0)).amounts[:, Amount.IFMAP_DRAM_BYTES]
        return amounts[amounts > 0].tolist()

    assert loads(3) == 6 * [24]  # rows 0–3 and 2–5 of each map
    assert loads(6) == 3 * [36]
    assert loads(12) == [72, 36]
    assert loads(18) == [108]


def test_a_batch_of_a_linear_layer_is_one_product() -> None:
    accelerator = hardware(buffers=ROOMY)
    op = linear("wide", INPUT, (8,), 4, bias=True)
    program = compile_program(chain(op), accelerator, exit_cost=COST, batch=5)
    own = program.layer == 0
    assert program.amounts[own, Amount.MACS].sum() == 5 * 32
    assert program.amounts[own, Amount.WEIGHT_DRAM_BYTES].sum() == 32 + 4 * 4
    whole = lowered(accelerator, nest(accelerator, op, images=5), Tiling(1, 5, 1, 8, 4, 0))
    assert whole.amounts[whole.unit == Unit.ARRAY, Amount.MACS].tolist() == [5 * 32]
    assert whole.amounts[:, Amount.FOLDS].sum() == 2  # 8 × 4 weights on 4 × 4 PEs, whatever the batch


def test_a_product_of_two_activations_shares_nothing() -> None:
    accelerator = hardware(buffers=ROOMY)
    shape = (2, 3, 3)
    ops = (conv("first", INPUT, shape, 2, (1, 1)), matmul("product", "first", INPUT, shape, shape))

    def amounts(batch: int) -> list[int]:
        program = compile_program(chain(*ops), accelerator, exit_cost=COST, batch=batch)
        which = [Amount.MACS, Amount.IFMAP_DRAM_BYTES, Amount.FOLDS]
        return program.amounts[program.layer == 1][:, which].sum(axis=0).tolist()

    assert amounts(3) == [3 * amount for amount in amounts(1)]
    assert amounts(1)[1] == 18  # the right operand of each of the two products


def test_one_map_of_a_batch_fits_where_two_tiles_of_one_map_do() -> None:
    """Room for tiles is counted in maps as well: 2 halves of the double buffer of `maps` × 36 bytes."""
    accelerator = hardware(buffers=ROOMY)
    machine = machine_of(accelerator)
    loops = nest(accelerator, conv("conv", INPUT, (1, 6, 6), 1, (1, 1)), images=4)
    for maps in (1, 2, 3):
        tiling = Tiling(1, 6 * maps, 6, 1, 1, 0)
        assert not fits(loops, tiling, machine, Capacity(1 << 20, 1 << 20, 72 * maps - 1))
        assert fits(loops, tiling, machine, Capacity(1 << 20, 1 << 20, 72 * maps))
    whole = Tiling(1, 24, 6, 1, 1, 0)  # a single tile needs no double
    assert not fits(loops, whole, machine, Capacity(1 << 20, 1 << 20, 143))
    assert fits(loops, whole, machine, Capacity(1 << 20, 1 << 20, 144))
    psums = Tiling(1, 12, 6, 1, 1, 0)
    assert not fits(loops, psums, machine, Capacity(1 << 20, 2 * 72 * 4 - 1, 1 << 20))
    assert fits(loops, psums, machine, Capacity(1 << 20, 2 * 72 * 4, 1 << 20))


def gathers(program: Program) -> dict[str, list[int]]:
    """(values, bytes read, bytes written, occupancy, latency) of each gather."""
    found = {}
    for i, layer in enumerate(program.layers):
        if layer.kind == "gather":
            (row,) = np.flatnonzero(program.layer == i)
            which = [Amount.VECTOR_OPS, Amount.ACTIVATION_BUFFER_READ_BYTES, Amount.ACTIVATION_BUFFER_WRITE_BYTES]
            amounts = program.amounts[row, which].tolist()
            assert program.amounts[row].sum() == sum(amounts)
            found[layer.name] = [*amounts, int(program.occupancy_cycles[row]), int(program.latency_cycles[row])]
    return found


MAP = 8 * 12 * 12  # of stem.relu and of add.relu in the small network


def test_survivors_on_chip_are_gathered() -> None:
    """4 lanes with 2 cycles of latency; only the tapped map crosses each exit."""
    program = compiled(small_network(), hardware(buffers=ROOMY), batch=(5, 3, 1), compacted=True)
    assert gathers(program) == {
        "exit1.gather": [3 * MAP, 3 * MAP, 3 * MAP, 3 * MAP // 4, 3 * MAP // 4 + 2],
        # the pool behind add.relu is a layer of its own: it reads the map behind the exit
        "exit2.gather": [MAP, MAP, MAP, MAP // 4, MAP // 4 + 2],
    }
    kinds = [(layer.name, layer.segment, layer.is_head, layer.is_decision) for layer in program.layers]
    assert kinds.index(("exit1.gather", 2, False, False)) == kinds.index(("exit1.decision", 1, True, True)) + 1


def test_nothing_is_gathered_that_lies_in_dram_or_when_nobody_leaves() -> None:
    workload = small_network()
    small = hardware(buffers=ROOMY | {"activation": MAP})
    program = compiled(workload, small, batch=(5, 3, 1), compacted=True)
    stored = {program.layers[i].name for i in program.layer[program.unit == Unit.STORE].tolist()}
    assert {"stem", "add"} <= stored
    assert gathers(program) == {}
    assert list(gathers(compiled(workload, hardware(buffers=ROOMY), batch=(3, 3, 1), compacted=True))) == [
        "exit2.gather"
    ]
    assert gathers(compiled(workload, hardware(buffers=ROOMY), batch=(3, 3, 3), compacted=True)) == {}


def test_those_that_are_left_have_the_room_of_those_that_are_not() -> None:
    workload = small_network()
    accelerator = hardware(buffers=ROOMY | {"activation": 4 * MAP})

    def moved(batch: tuple[int, ...]) -> int:
        program = compiled(workload, accelerator, batch=batch, compacted=True)
        amounts = [Amount.IFMAP_DRAM_BYTES, Amount.OFMAP_DRAM_BYTES]
        return int(program.amounts[program.segment == 2][:, amounts].sum())

    assert moved((1, 1, 1)) == moved((2, 1, 1)) == 0
    assert moved((2, 2, 1)) > 0


@pytest.mark.parametrize("lookahead", ["stall", "prefetch", "speculate"])
@given(networks(max_exits=3), st.data())
@settings(max_examples=15)
def test_nothing_behind_an_exit_starts_before_it_is_known_how_many_go_on(
    lookahead: str, workload: Workload, data: st.DataObject
) -> None:
    accelerator = data.draw(accelerators(control__lookahead=lookahead))
    num_segments = workload.num_exits + 1
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=num_segments, max_size=num_segments))
    batch = tuple(sorted(sizes, reverse=True))
    program = compiled(workload, accelerator, batch=batch, compacted=True)
    timeline = execute(program)
    for decision, members in zip(program.decisions, batch, strict=False):
        behind = program.segment > program.segment[decision]
        if members > 1:
            assert (timeline.start_cycles[behind] >= timeline.finish_cycles[decision]).all()
    for i in [i for i, layer in enumerate(program.layers) if layer.kind == "gather"]:
        (row,) = np.flatnonzero(program.layer == i)
        behind = np.arange(program.num_commands) > row
        assert (timeline.start_cycles[behind] >= timeline.finish_cycles[row]).all()


def test_a_single_survivor_looks_ahead_again() -> None:
    """Behind exit 1 one member of two is left; whether it takes exit 2 does not change what is loaded for it."""
    accelerator = hardware(control__lookahead="prefetch", buffers=ROOMY)
    program = compiled(small_network(), accelerator, batch=(2, 1, 1), compacted=True)
    timeline, decided = execute(program), [0, 0]
    for i, row in enumerate(program.decisions):
        decided[i] = int(timeline.finish_cycles[row])
    loads = program.unit == Unit.LOAD
    assert timeline.start_cycles[loads & (program.segment == 2)].min() >= decided[0]
    assert decided[0] <= timeline.start_cycles[loads & (program.segment == 3)].min() < decided[1]


def test_a_batch_that_keeps_its_members_looks_ahead_as_ever() -> None:
    accelerator = hardware(control__lookahead="prefetch", buffers=ROOMY)
    masked = compiled(small_network(), accelerator, batch=3)
    compacted = compiled(small_network(), accelerator, batch=3, compacted=True)
    loads = (masked.unit == Unit.LOAD) & (masked.segment == 2)
    decision = masked.decisions[0]
    for program, ahead in ((masked, True), (compacted, False)):
        timeline = execute(program)
        first = timeline.start_cycles[loads].min()
        assert (first < timeline.finish_cycles[decision]) == ahead
    assert (masked.amounts == compacted.amounts).all()


def test_a_decision_takes_all_members_one_after_the_other_and_acts_once() -> None:
    """10 classes on 4 lanes: 2 passes of 3; 3 of latency and 7 to act, once."""
    program = compiled(small_network(), hardware(), batch=4)
    assert program.latency_cycles[list(program.decisions)].tolist() == [4 * 6 + 10] * 2


@given(networks(), accelerators(), st.data())
@settings(max_examples=30)
def test_a_compacted_batch_of_one_is_one_input(workload: Workload, accelerator: Hardware, data: st.DataObject) -> None:
    one, batch = compiled(workload, accelerator), compiled(workload, accelerator, batch=1, compacted=True)
    assert_identical(one, batch)
    assert_identical(one, compiled(workload, accelerator, batch=(1,) * (workload.num_exits + 1)))


def assert_identical(one: Program, other: Program) -> None:
    assert repr(one.layers) == repr(other.layers)
    for name in ("unit", "occupancy_cycles", "latency_cycles", "waits", "layer", "segment", "tile", "amounts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert (one.decisions, one.warm_up_dram_bytes) == (other.decisions, other.warm_up_dram_bytes)


@pytest.mark.parametrize(
    ("batch", "compacted", "lookahead", "message"),
    [
        ((4, 2), True, "prefetch", r"one size per segment \(got \[4, 2\]; expected 3 sizes\)\n  fix: give one for"),
        ((4, 2, 0), True, "prefetch", r"run by at least one input \(got \[4, 2, 0\]\)\n  fix: leave out the exits"),
        (0, False, "prefetch", r"run by at least one input \(got 0\)\n  fix: "),
        ((2, 4, 1), True, "prefetch", r"grows on its way \(got \[2, 4, 1\]; expected .*\)\n  fix: inputs that join"),
        ((4, 2, 1), False, "prefetch", r"shrinks that is not compacted \(got \[4, 2, 1\]\)\n  fix: pass compacted"),
        ((4, 2, 1), True, "static_npu", r"edge: a batch shrinks on a hardware that acts on no decision .*\n  fix: wri"),
    ],
)
def test_what_is_no_batch(batch: tuple[int, ...] | int, compacted: bool, lookahead: str, message: str) -> None:
    accelerator = hardware(control__lookahead=lookahead)
    with pytest.raises(OptionError, match=message):
        compile_program(small_network(), accelerator, exit_cost=COST, batch=batch, compacted=compacted)


def test_a_batch_that_does_not_fit_says_that_it_is_one() -> None:
    """Pooled features of heads never leave the chip: those of 40 members fill the buffer, those of one do not."""
    accelerator = hardware(buffers=ROOMY | {"activation": 1000})
    compile_program(small_network(), accelerator, exit_cost=COST, batch=4)
    with pytest.raises(MappingError, match=r"under no tiling for a batch of 40 .*\n  fix: .* or run a smaller batch"):
        compile_program(small_network(), accelerator, exit_cost=COST, batch=40)


@pytest.mark.parametrize("images", [1, 2, 7, 16, 64])
def test_a_batch_is_tiled_by_whole_maps_or_pieces_of_one(images: int) -> None:
    accelerator = hardware(buffers=ROOMY | {"psum": 2048})
    op = conv("conv", INPUT, (3, 5, 4), 4, (3, 3), padding=(1, 1))
    program = compile_program(chain(op), accelerator, exit_cost=COST, batch=images)
    rows = program.layers[0].tiling[1]
    assert rows <= 5 or (rows % 5 == 0 and rows // 5 in distinct_extents(images, 1).tolist())
    assert program.amounts[program.layer == 0, Amount.MACS].sum() == images * op.macs
