"""A batch in banked DRAM: every map has its own place, as long as one input's, and nothing is lost or moved twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.energy.actions import Action
from ceesim.hardware.energy.dram import SPECS
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.mapping.addresses import PAGE_BYTES, Products, Tensors, extents_of
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.cut import parking
from ceesim.mapping.loops import emit
from ceesim.mapping.machine import machine_of
from ceesim.mapping.stream import NONE, ROW, Place, flush_store, new_cursor, new_stream
from ceesim.mapping.tiles import Nest, Tiling, max_rows
from ceesim.program.command import DRAM_AMOUNTS, Amount, Extent, Int64s, Program, Unit
from ceesim.program.executor import execute
from ceesim.sim.costs import price, price_by_events
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Op, conv, matmul
from tests.laws.test_timing_engines import assert_same
from tests.lowering import nest
from tests.networks import COST, accelerators, batches, compiled, hardware, networks, small_network

ONE_MAP_PER_PLACE = {"precision__weight_bits": 8, "precision__activation_bits": 8}
BANKED = {"dram__model": "banked", "dram__bandwidth": "6.4 GB/s"}


def addresses(extents: Int64s) -> list[int]:
    """Every byte's address, in the order in which it is moved."""
    found: list[int] = []
    for extent in extents.tolist():
        for band in range(extent[Extent.BANDS]):
            for run in range(extent[Extent.RUNS]):
                first = extent[Extent.ADDRESS] + band * extent[Extent.BAND_STRIDE] + run * extent[Extent.STRIDE]
                found += range(first, first + extent[Extent.RUN_BYTES])
    return found


def moved(program: Program, rows: Int64s) -> list[int]:
    return addresses(program.extents[np.isin(program.extents[:, Extent.COMMAND], rows)])


@given(networks(), accelerators(dram__model="banked", **ONE_MAP_PER_PLACE), st.data())
@settings(max_examples=40)
def test_a_batch_by_banks(workload: Workload, accelerator: Hardware, data: st.DataObject) -> None:
    """Bytes are conserved, both executors agree, and no command is faster than under the flat rule."""
    batch, compacted = data.draw(batches(workload, accelerator))
    program = compiled(workload, accelerator, batch=batch, compacted=compacted)
    placed, extents = np.zeros(program.num_commands, np.int64), program.extents
    assert (np.diff(extents[:, Extent.COMMAND]) >= 0).all()
    sizes = extents[:, Extent.RUN_BYTES] * extents[:, Extent.RUNS] * extents[:, Extent.BANDS]
    np.add.at(placed, extents[:, Extent.COMMAND], sizes)
    bytes_of_commands = program.amounts[:, list(DRAM_AMOUNTS)].sum(axis=1)
    loads = program.unit == Unit.LOAD
    assert np.array_equal(placed[loads], bytes_of_commands[loads])
    for layer in range(len(program.layers)):
        stored = (program.layer == layer) & (program.unit == Unit.STORE)
        assert placed[stored].sum() == bytes_of_commands[stored].sum()
    assert_same(price(program), price_by_events(program))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Op, Tiling, int]:
    """A convolution, a tiling of it that may take several maps at once, and how many maps there are."""
    channels, out_channels = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    size, kernel = draw(st.integers(2, 6)), draw(st.integers(1, 2))
    op = conv("conv", INPUT, (channels, size, size), out_channels, (kernel, kernel), (draw(st.integers(1, 2)),) * 2)
    maps, rows = draw(st.integers(2, 4)), op.output_shape[1]
    extents = [*range(1, rows + 1), *(many * rows for many in range(2, maps + 1))]
    tile_rows = draw(st.sampled_from(extents))
    width = op.output_shape[2] if tile_rows > 1 else draw(st.integers(1, op.output_shape[2]))
    k = kernel * kernel * draw(st.integers(1, channels))
    n = draw(st.integers(1, out_channels))
    return op, Tiling(1, tile_rows, width, k, n, draw(st.integers(0, 1))), maps


@given(convolutions())
@settings(max_examples=200)
def test_the_maps_of_a_batch_are_those_of_one_input_one_after_the_other(case: tuple[Op, Tiling, int]) -> None:
    op, tiling, maps = case
    accelerator = hardware()
    source_bytes, result_bytes = int(np.prod(op.input_shapes[0])), int(np.prod(op.output_shape))
    together = _by_operand(accelerator, nest(accelerator, op, stored=True, images=maps), tiling)
    own = tiling._replace(rows=min(tiling.rows, op.output_shape[1]))
    alone = _by_operand(accelerator, nest(accelerator, op, stored=True), own)
    for operand, size in ((1, source_bytes), (2, result_bytes)):
        one = set(alone[operand])
        assert max(one) < size
        assert set(together[operand]) == {i * size + byte for i in range(maps) for byte in one}
    assert sorted(together[2]) == list(range(maps * result_bytes))  # written once
    assert set(together[0]) == set(alone[0])  # the weights are shared


def _by_operand(
    accelerator: Hardware, loops: Nest, tiling: Tiling, products: Products | None = None
) -> list[list[int]]:
    """Bytes of the weights, of the ifmap and of the ofmap, from the first byte of each on, as they are moved."""
    stream, cursor = new_stream(max_rows(loops, tiling), True), new_cursor()
    emit(loops, tiling, machine_of(accelerator), Place(0, 1, NONE, NONE, NONE, NONE, NONE, NONE), stream, cursor)
    flush_store(machine_of(accelerator), stream, cursor)
    extents = extents_of(stream[: cursor[ROW]], [Tensors(((INPUT, 1),), "weight", "result", products)])
    pages = [int(page) for page in np.unique(extents[:, Extent.ADDRESS] // PAGE_BYTES)]
    assert pages == [0, 1, 2]  # each of the three tensors is smaller than a page here
    found = addresses(extents)
    return [[byte % PAGE_BYTES for byte in found if byte // PAGE_BYTES == page] for page in pages]


@pytest.mark.parametrize("groups", range(1, 7))
def test_products_of_several_maps_on_paper(groups: int) -> None:
    """3 maps × 2 heads of 4×4 by 4×4: tiles of 1…6 products read and write whole heads of rows, map by map."""
    accelerator, shape = hardware(), (2, 4, 4)
    loops = nest(accelerator, matmul("product", INPUT, INPUT, shape, shape), stored=True, images=3)
    assert loops.groups == 6
    tiling = Tiling(groups, 4, 1, 4, 4, 0)
    weights, sources, results = _by_operand(accelerator, loops, tiling, Products(3, 4, 2 * 4, 2 * 4))
    assert weights == list(range(6 * 4 * 4))
    expected: list[int] = []
    for first in range(0, 6, groups):
        for image in range(3):
            heads = [group % 2 for group in range(first, min(first + groups, 6)) if group // 2 == image]
            for row in range(4):
                begins = [((image * 4 + row) * 2 + head) * 4 for head in heads]
                expected += [begin + byte for begin in begins for byte in range(4)]
    assert sources == results == expected


def test_maps_come_back_from_where_they_went() -> None:
    """Through buffers too small for any map: what a layer reads of another's batch is what that one wrote."""
    accelerator = hardware(**BANKED, buffers__activation="512")
    program = compile_program(small_network(), accelerator, exit_cost=COST, batch=3)
    stores = np.flatnonzero(program.unit == Unit.STORE)
    written = Counter(moved(program, stores))
    assert set(written.values()) == {1}
    far = [program.layers[int(layer)].ops[-1] for layer in np.unique(program.layer[stores])]
    assert len(far) > 2
    loads = program.unit == Unit.LOAD
    behind = loads & (program.layer > 0) & (program.amounts[:, Amount.IFMAP_DRAM_BYTES] > 0)
    assert set(moved(program, np.flatnonzero(behind))) <= set(written)


def test_eight_devices_pay_for_each_row_of_a_batch_once() -> None:
    accelerator = load_hardware("gemmini_16.yaml", {"dram.model": "banked"})
    opened = energy_table(accelerator).action_pj[Action.DRAM_ACTIVATES].sum()
    assert opened == pytest.approx(8 * SPECS["ddr4-2400"].activate_pj())
    one, four = (compile_program(small_network(), accelerator, exit_cost=COST, batch=size) for size in (1, 4))
    row_bytes = machine_of(accelerator).row_bytes
    for program in (one, four):
        bytes_moved, rows = program.amounts[:, list(DRAM_AMOUNTS)].sum(), program.amounts[:, Amount.DRAM_ACTIVATES]
        assert bytes_moved / row_bytes <= rows.sum() < 4 * len(rows)  # of all eight together, not eight times


def test_parking_by_banks_is_no_faster_and_counts_what_it_opens() -> None:
    flat, banked = hardware(dram__bandwidth="6.4 GB/s"), hardware(**BANKED)
    for images in (1, 5):
        by_rule, by_banks = (parking(small_network(), accelerator, 2, images) for accelerator in (flat, banked))
        for rule, banks in ((by_rule.store, by_banks.store), (by_rule.load, by_banks.load)):
            assert banks.occupancy_cycles >= rule.occupancy_cycles
            assert banks.latency_cycles >= rule.latency_cycles
            assert banks.amounts[Amount.DMA_BEATS] == rule.amounts[Amount.DMA_BEATS]
            assert banks.amounts[Amount.DRAM_ACTIVATES] == images  # a map of 1152 bytes from a page on: one row
            assert len(addresses(banks.extents)) == images * 1152


def test_a_batch_is_no_slower_than_its_members_one_by_one() -> None:
    accelerator = load_hardware("edge_npu.yaml", {"dram.model": "banked"})
    one, four = (compile_program(small_network(), accelerator, exit_cost=COST, batch=size) for size in (1, 4))
    assert execute(four).end_cycle < 4 * execute(one).end_cycle
