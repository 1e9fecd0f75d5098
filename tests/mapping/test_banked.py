"""Banked DRAM as a memory: peak and bounds, what a command costs, and that nothing is lost between network and bank."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.errors import HardwareError, MappingError
from ceesim.hardware.dram_timing import TIMINGS, least_latency_ps, num_devices, peak_bytes_per_s
from ceesim.hardware.energy.actions import Action, Component
from ceesim.hardware.energy.dram import SPECS
from ceesim.hardware.energy.price import Activity, price
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import AddressMapping, Hardware
from ceesim.mapping import bank_machine as machine
from ceesim.mapping.banked import device, device_of, retimed
from ceesim.mapping.gemm_end_to_end import price_product
from ceesim.mapping.loops import emit
from ceesim.mapping.machine import machine_of
from ceesim.mapping.stream import (
    MAPS,
    NONE,
    OFFSET,
    OPERAND,
    RESULT,
    ROW,
    SOURCE,
    UNIT,
    WEIGHT,
    Place,
    flush_store,
    new_cursor,
    new_stream,
)
from ceesim.mapping.tiles import Tiling, max_rows
from ceesim.program.command import DRAM_AMOUNTS, Amount, Extent, Int64s, Program, Unit
from ceesim.program.executor import execute
from ceesim.sim.costs import price as exit_prices
from ceesim.sim.costs import price_by_events
from ceesim.sim.energy import actions
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Gemm, Op, conv, pool
from tests.laws.test_timing_engines import assert_same
from tests.lowering import chain, lowered, nest
from tests.networks import accelerators, compiled, hardware, networks, small_network

NO_REFRESH = 10**9
BANKED = {"dram__model": "banked", "dram__bandwidth": "6.4 GB/s"}


def dram(name: str, mapping: AddressMapping = AddressMapping.ROW_BANK_COLUMN, **changes: int) -> machine.Device:
    """As wide as systems have it: one LPDDR4 channel, eight DDR4 devices; sixteen requests of 64 bytes known ahead."""
    devices = 1 if name.startswith("lp") else 8
    timing, burst_bytes = replace(TIMINGS[name], **changes), devices * SPECS[name].burst_bytes
    return device(timing, burst_bytes, mapping, request_bytes=64, window=16)


def clocks(of: machine.Device, extents: list[tuple[int, int]], is_write: bool = False) -> tuple[int, int, int]:
    """(clocks, bursts, activates) of one DMA command over runs of (address, bytes)."""
    table = np.array([(0, address, size, 1, 0, 1, 0) for address, size in extents], np.int64)
    served = machine.serve_all(of, table, np.array([0, len(table)]), np.array([int(is_write)]))
    return int(served[0, 0]), int(served[0, 1]), int(served[0, 2])


@pytest.mark.parametrize("name", sorted(TIMINGS))
def test_streaming_reads_reach_nine_tenths_of_the_peak(name: str) -> None:
    of = dram(name)
    spent, bursts, activates = clocks(of, [(0, 2**22)])
    peak_clocks = bursts * of.burst_clocks
    assert 0.9 <= peak_clocks / spent <= 1
    refreshes = spent // of.tREFI
    rows = 2**22 // (of.bursts_per_row * of.burst_bytes)
    assert rows <= activates <= rows + of.banks * (refreshes + 1)
    # what is lost is refresh: the rest is within two percent
    spent_without, _, _ = clocks(dram(name, tREFI=NO_REFRESH), [(0, 2**22)])
    assert peak_clocks / spent_without > 0.98


def test_without_interleaved_groups_ddr4_streams_at_tccd_l() -> None:
    of = dram("ddr4-2400", AddressMapping.BANK_ROW_COLUMN, tREFI=NO_REFRESH)
    row_bytes = of.bursts_per_row * of.burst_bytes
    spent, bursts, activates = clocks(of, [(0, row_bytes)])
    assert (bursts, activates) == (128, 1)
    assert spent == 127 * of.tCCD_L + of.burst_clocks  # the first burst's data begin at clock 0


@pytest.mark.parametrize("name", sorted(TIMINGS))
def test_random_rows_of_one_bank_take_trc_each(name: str) -> None:
    of = dram(name, AddressMapping.BANK_ROW_COLUMN, tREFI=NO_REFRESH)
    rows = np.random.default_rng(3).permutation(of.rows)[:500]
    row_bytes = of.bursts_per_row * of.burst_bytes
    spent, bursts, activates = clocks(of, [(int(row) * row_bytes, of.burst_bytes) for row in rows])
    assert bursts == activates == 500
    assert spent == 499 * of.tRC + of.burst_clocks


@pytest.mark.parametrize("name", sorted(TIMINGS))
def test_random_rows_over_all_banks_take_a_quarter_of_tfaw_each(name: str) -> None:
    of = dram(name, tREFI=NO_REFRESH)
    rng, count = np.random.default_rng(4), 800
    stripe = of.bursts_per_row * of.banks * of.burst_bytes  # one row of every bank
    per_group = of.banks // of.bank_groups
    extents = []
    for i in range(count):
        group, bank = i % of.bank_groups, i // of.bank_groups % per_group
        burst = int(rng.integers(of.rows)) * of.bursts_per_row * of.banks
        burst += (bank * of.bursts_per_row + int(rng.integers(of.bursts_per_row))) * of.bank_groups + group
        extents.append((burst * of.burst_bytes, of.burst_bytes))
    assert max(address for address, _ in extents) < of.rows * stripe
    spent, bursts, activates = clocks(of, extents)
    assert bursts == count
    assert activates > 0.99 * count  # now and then the row is the one that is open
    ideal = Fraction(count * max(of.tFAW, 4 * of.tRRD_S), 4)
    assert ideal * Fraction(97, 100) <= spent <= ideal * Fraction(103, 100)


@given(
    st.sampled_from(sorted(TIMINGS)),
    st.sampled_from(list(AddressMapping)),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 300)), min_size=1, max_size=60),
    st.booleans(),
)
def test_never_faster_than_the_peak_and_no_burst_is_lost(
    name: str, mapping: AddressMapping, extents: list[tuple[int, int]], is_write: bool
) -> None:
    of = dram(name, mapping)
    spent, bursts, activates = clocks(of, extents, is_write)
    touched: list[int] = []
    for address, size in extents:
        for burst in range(address // of.burst_bytes, (address + size - 1) // of.burst_bytes + 1):
            if not touched or touched[-1] != burst:
                touched.append(burst)
    assert bursts == len(touched)
    assert spent >= bursts * of.burst_clocks
    assert len({machine.place_of(of, burst) for burst in touched}) <= activates <= bursts


def test_strided_runs_are_bands_of_runs() -> None:
    # 2 bands of 3 runs of 8 bytes, 40 apart: bytes 100, 140, 180 and 1100, 1140, 1180 on, in bursts of 32
    table = np.array([(0, 100, 8, 3, 40, 2, 1000)], np.int64)
    bursts, requests = np.empty((2, machine.num_bursts(table, 32)), np.int64)
    count = machine.list_bursts(table, 32, 64, bursts, requests)
    assert bursts[:count].tolist() == [3, 4, 5, 34, 35, 36, 37]  # 180…187 end in the burst that begins at 160
    assert requests[:count].tolist() == [0, 1, 2, 3, 4, 5, 5]


def test_a_command_waits_for_the_longer_of_link_and_dram() -> None:
    """One row of weights and its neighbours, on paper: 4096 bytes are 128 bursts of 8 clocks of 0.625 ns = 640 ns."""
    accelerator = hardware(**BANKED, clock="1 GHz", dram__latency="60 ns", dma__max_outstanding=64, dma__request=64,
                           dma__beat=64)  # fmt: skip
    program = one_load(4096)
    times = [retimed(program, changed, machine_of(changed)) for changed in (
        accelerator,
        hardware(**(BANKED | {"dram__bandwidth": "1 GB/s"}), clock="1 GHz", dram__latency="60 ns", dma__beat=64,
                 dma__max_outstanding=64, dma__request=64),
    )]  # fmt: skip
    assert int(times[0].occupancy_cycles[0]) == 640
    assert int(times[0].latency_cycles[0]) == 5 + 60 + 640  # setup, latency, data
    assert int(times[1].occupancy_cycles[0]) == 4096  # 1 byte per cycle on the link


@pytest.mark.parametrize(("name", "type_ns"), [("edge_npu.yaml", 39.375), ("gemmini_16.yaml", 26.656)])
def test_latency_below_that_of_the_banks_is_theirs_for_the_mapper_too(name: str, type_ns: float) -> None:
    """The same Program from 0 ns up to the closed bank, and none that takes longer than one of a farther memory."""
    bands = {"buffers.activation": "2 KiB", "dma.max_outstanding": 4, "dram.model": "banked", "clock": "2 GHz"}
    near, *others = (
        compiled(chain(conv("conv", INPUT, (32, 12, 12), 64, (3, 3), padding=(1, 1))), load_hardware(name, changes))
        for latency in (0, 5_000, int(1000 * type_ns), 60_000)
        for changes in [bands | {"dram.latency": latency}]
    )
    for same in others[:2]:
        assert [layer.tiling for layer in same.layers] == [layer.tiling for layer in near.layers]
        assert np.array_equal(same.latency_cycles, near.latency_cycles)
        assert np.array_equal(same.amounts, near.amounts)
    machines = [machine_of(load_hardware(name, bands | {"dram.latency": latency})) for latency in (0, 60_000)]
    assert [of.dram_latency_cycles for of in machines] == [ceil(2 * type_ns), 120]
    assert execute(near).end_cycle <= execute(others[2]).end_cycle


def test_latency_is_at_least_that_of_the_dram_itself() -> None:
    # tRCD + CL + tDQSCK = 63 clocks of 0.625 ns = 39.4 ns
    accelerator = hardware(**BANKED, clock="1 GHz", dram__latency="10 ns", dma__beat=64, dma__request=64,
                           dma__max_outstanding=64)  # fmt: skip
    program = retimed(one_load(4096), accelerator, machine_of(accelerator))
    assert int(program.latency_cycles[0]) == 5 + 40 + 640


def one_load(num_bytes: int) -> Program:
    amounts = np.zeros((1, len(Amount)), np.int64)
    amounts[0, [Amount.WEIGHT_DRAM_BYTES, Amount.DMA_BEATS, Amount.DMA_REQUESTS]] = num_bytes, num_bytes // 64, 64
    zero = np.zeros(1, np.int64)
    return Program(
        layers=(), unit=zero + Unit.LOAD, queue=np.array([0, 0, 2, 3, 4]), occupancy_cycles=zero, latency_cycles=zero,
        waits=np.full((1, 1), -1, np.int32), layer=zero, segment=zero + 1, tile=zero, amounts=amounts, decisions=(),
        extents=np.array([(0, 0, num_bytes, 1, 0, 1, 0)], np.int64),
    )  # fmt: skip


@given(networks(), accelerators(dram__model="banked"))
@settings(max_examples=40)
def test_both_executors_agree(workload: Workload, accelerator: Hardware) -> None:
    program = compiled(workload, accelerator)
    assert_same(exit_prices(program), price_by_events(program))


@given(networks(), accelerators(), st.sampled_from(("100 MB/s", "750 MB/s", "6.4 GB/s")))
@settings(max_examples=60)
def test_no_command_and_no_program_is_faster_than_under_the_flat_rule(
    workload: Workload, accelerator: Hardware, bandwidth: str
) -> None:
    """Of the same tiles, which a latency below that of the banks does not give."""
    flat, closed = (changed(accelerator, {"model": model, "bandwidth": bandwidth}) for model in ("flat", "banked"))
    near, far = compiled(workload, flat), compiled(workload, closed)
    if flat.dram.latency_ps >= least_latency_ps(closed.dram):
        assert_no_faster(far, near)
    assert_no_faster(retimed(near, closed, machine_of(closed)), near)


def test_a_short_load_of_uneven_requests_is_no_faster_than_under_the_flat_rule() -> None:
    """129 bytes are requests of 4, 4 and 1 beats, 3 in the mean; under a rule of its own it was a cycle sooner."""
    flat = hardware(
        clock="50 MHz", dma__beat=16, dma__request=64, dma__turnaround_cycles=60, dma__max_outstanding=4,
        dram__bandwidth="6.4 GB/s", dram__latency="40 ns",
    )  # fmt: skip
    closed = changed(flat, {"model": "banked"})
    loops = nest(flat, conv("conv", INPUT, (129, 1, 1), 1, (1, 1)))
    near = lowered(flat, loops, Tiling(1, 1, 1, 129, 1, 0))
    extents = np.array([(row, 0, 129, 1, 0, 1, 0) for row in np.flatnonzero(near.unit == Unit.LOAD)], np.int64)
    near = replace(near, extents=extents)
    far = retimed(near, closed, machine_of(closed))
    assert_no_faster(far, near)
    # L + d + c, whichever memory: less than half of L + data + 2c, rounded up, which two such loads could take
    assert {*near.occupancy_cycles[near.unit == Unit.LOAD].tolist()} == {2 + 3 + 60}


def assert_no_faster(banked: Program, flat: Program) -> None:
    assert np.array_equal(flat.waits, banked.waits)
    assert (banked.occupancy_cycles >= flat.occupancy_cycles).all()
    assert (banked.latency_cycles >= flat.latency_cycles).all()
    assert (execute(banked).finish_cycles >= execute(flat).finish_cycles).all()


@given(networks(), accelerators(dram__model="banked"))
@settings(max_examples=40)
def test_no_queue_beats_the_pins(workload: Workload, accelerator: Hardware) -> None:
    """All data of both directions, in whole bursts, in no less time than the pins need for them."""
    program = compiled(workload, accelerator)
    bursts = program.amounts[:, [Amount.DRAM_READ_BURST_BYTES, Amount.DRAM_WRITE_BURST_BYTES]].sum()
    seconds = Fraction(execute(program).end_cycle, accelerator.clock_hz)
    timing = TIMINGS[accelerator.dram.type]
    moved_per_s = Fraction(2 * num_devices(accelerator.dram) * SPECS[accelerator.dram.type].width_bits, 8)
    assert seconds >= bursts / (moved_per_s * Fraction(10**12, timing.tCK_ps))


@given(networks(), accelerators())
@settings(max_examples=80)
def test_every_byte_has_an_address(workload: Workload, accelerator: Hardware) -> None:
    """Extents hold the bytes of their commands, to the byte where values are whole bytes and maps are not pooled."""
    bits = accelerator.precision
    program = compiled(workload, accelerator)
    extents = program.extents
    assert (np.diff(extents[:, Extent.COMMAND]) >= 0).all()
    assert (extents[:, Extent.ADDRESS] >= 0).all()
    placed = np.zeros(program.num_commands, np.int64)
    np.add.at(placed, extents[:, Extent.COMMAND], bytes_in(extents))
    moved = program.amounts[:, list(DRAM_AMOUNTS)].sum(axis=1)
    assert ((moved > 0) <= (program.unit <= Unit.STORE)).all()
    loads = program.unit == Unit.LOAD
    runs = np.zeros_like(placed)
    np.add.at(runs, extents[:, Extent.COMMAND], extents[:, Extent.RUNS] * extents[:, Extent.BANDS])
    assert (placed[loads] >= moved[loads]).all()
    assert (placed[loads] < moved[loads] + np.maximum(runs[loads], 1)).all()
    if bits.activation_bits % 8 == 0 and bits.weight_bits % 8 == 0:
        assert np.array_equal(placed[loads], moved[loads])
        for layer in range(len(program.layers)):
            stored = (program.layer == layer) & (program.unit == Unit.STORE)
            assert placed[stored].sum() == moved[stored].sum()


def bytes_in(extents: Int64s) -> Int64s:
    return np.asarray(extents[:, Extent.RUN_BYTES] * extents[:, Extent.RUNS] * extents[:, Extent.BANDS], np.int64)


def bytes_of_commands(program: Program, rows: Int64s) -> list[int]:
    """Every byte's address, in the order in which it is moved."""
    addresses: list[int] = []
    for extent in program.extents[np.isin(program.extents[:, Extent.COMMAND], rows)].tolist():
        for band in range(extent[Extent.BANDS]):
            for run in range(extent[Extent.RUNS]):
                first = extent[Extent.ADDRESS] + band * extent[Extent.BAND_STRIDE] + run * extent[Extent.STRIDE]
                addresses += range(first, first + extent[Extent.RUN_BYTES])
    return addresses


@given(networks(max_ops=4), accelerators(precision__weight_bits=8, precision__activation_bits=8, residency="none"))
@settings(max_examples=60)
def test_weights_lie_packed_and_maps_come_back_from_where_they_went(workload: Workload, accelerator: Hardware) -> None:
    program = compiled(workload, accelerator)
    taken: set[int] = set()
    written: set[int] = set()
    weights = np.isin(program.amounts[:, Amount.WEIGHT_DRAM_BYTES], [0], invert=True)
    weights |= program.amounts[:, Amount.HEAD_WEIGHT_DRAM_BYTES] > 0
    for number, layer in enumerate(program.layers):
        rows = np.flatnonzero((program.layer == number) & weights)
        if len(rows):
            op = workload.op(layer.ops[0])
            read = set(bytes_of_commands(program, rows))
            assert len(read) == op.num_weights + 4 * op.num_biases  # all of them …
            assert max(read) - min(read) == len(read) - 1  # … in one piece …
            assert read.isdisjoint(taken)  # … which is nobody else's
            taken |= read
    stores = np.flatnonzero(program.unit == Unit.STORE)
    loads = np.flatnonzero((program.unit == Unit.LOAD) & ~weights)
    for row in sorted([*stores.tolist(), *loads.tolist()]):
        moved = bytes_of_commands(program, np.array([row]))
        if row in stores:
            assert taken.isdisjoint(moved)
            written |= set(moved)
    inputs = set(bytes_of_commands(program, loads))
    assert taken.isdisjoint(inputs)


def test_a_strided_band_of_channels_on_paper() -> None:
    """A 3×3 convolution over 6×5 pixels of 8 channels, tiles of 2 rows and half the channels."""
    places = places_of(Tiling(1, 2, 5, 36, 8, 1), conv("conv", INPUT, (8, 6, 5), 8, (3, 3), padding=(1, 1)))
    # a pixel is 8 bytes, a row of the map 40; rows 0…2, 1…4 and 3…5, channels 0…3 and 4…7 of each
    assert places[SOURCE] == [
        [first * 40 + channel, 4, 5, 8, rows, 40] for first, rows in ((0, 3), (1, 4), (3, 3)) for channel in (0, 4)
    ]
    assert places[WEIGHT] == [[first, 36 * 8, 1, 0, 1, 0] for first in (0, 36 * 8)] * 3  # read again by every band
    assert places[RESULT] == [[band * 2 * 40, 2 * 40, 1, 0, 1, 0] for band in range(3)]


def test_channels_of_a_pooled_map_on_paper() -> None:
    """A 1×1 convolution over 4×4 pixels and a 2×2 pool, tiles of 2 rows and half of the 8 output channels."""
    ops = (conv("conv", INPUT, (3, 4, 4), 8, (1, 1)), pool("pool", "conv", (8, 4, 4), (2, 2), (2, 2)))
    places = places_of(Tiling(1, 2, 4, 3, 4, 1), *ops)
    # 2 pooled pixels of 8 bytes per band: 4 bytes of each, from byte 0 and from byte 4 on
    assert places[RESULT] == [[band * 16 + half, 4, 2, 8, 1, 0] for band in (0, 1) for half in (0, 4)]


def places_of(tiling: Tiling, *ops: Op) -> dict[int, list[list[int]]]:
    """Of the commands that move an operand of the first layer: offset, bytes, runs, stride, bands, band stride."""
    machine_ints = machine_of(hardware())
    loops = nest(hardware(), *ops, stored=True)
    stream, cursor = new_stream(max_rows(loops, tiling), True), new_cursor()
    emit(loops, tiling, machine_ints, Place(0, 1, NONE, NONE, NONE, NONE, NONE, NONE), stream, cursor)
    flush_store(machine_ints, stream, cursor)
    moves = [row for row in stream[: cursor[ROW]].tolist() if row[UNIT] <= Unit.STORE]
    return {
        wanted: [row[OFFSET:MAPS] for row in moves if row[OPERAND] == wanted] for wanted in (SOURCE, WEIGHT, RESULT)
    }


def test_rows_and_energy_come_from_the_same_counts() -> None:
    accelerator = load_hardware("gemmini_16.yaml", {"dram.model": "banked"})
    program = compiled(small_network(), accelerator)
    of, devices = device_of(accelerator), num_devices(accelerator.dram)
    rows = np.flatnonzero(program.unit <= Unit.STORE)
    first = np.searchsorted(program.extents[:, Extent.COMMAND], np.append(rows, program.num_commands))
    served = machine.serve_all(of, program.extents, first, (program.unit[rows] == Unit.STORE).astype(np.int64))
    counts = actions(program.amounts.sum(axis=0, keepdims=True), accelerator)
    assert counts[0, Action.DRAM_ACTIVATES] == served[:, 2].sum()
    moved = counts[0, Action.DRAM_READ_BYTES] + counts[0, Action.DRAM_WRITE_BYTES]
    assert moved == served[:, 1].sum() * of.burst_bytes
    nothing = np.zeros(1, np.int64)
    activity = Activity(counts, 0 * counts, 0 * counts, nothing, nothing, nothing)
    dram_pj = price(activity, energy_table(accelerator)).by_component[0, Component.DRAM]
    spec = SPECS["ddr4-2400"]
    reads, writes = (
        counts[0, action] / spec.burst_bytes for action in (Action.DRAM_READ_BYTES, Action.DRAM_WRITE_BYTES)
    )
    by_hand = reads * (spec.read_pj(io=False) + spec.read_pj(io=True))
    by_hand += writes * (spec.write_pj(io=False) + spec.write_pj(io=True))
    by_hand += served[:, 2].sum() * devices * spec.activate_pj()  # all eight devices open the row
    assert dram_pj == pytest.approx(by_hand, rel=1e-12)


def test_a_bad_address_mapping_costs_activates_and_time() -> None:
    """Two maps of one bank in turn: without interleave every change of map is a row conflict."""
    latencies, opened = {}, {}
    for mapping in AddressMapping:
        accelerator = hardware(
            **BANKED, dram__address_mapping=mapping.value, buffers__activation="512", dma__beat=16, dma__request=64
        )
        program = compiled(small_network(), accelerator)
        opened[mapping] = int(program.amounts[:, Amount.DRAM_ACTIVATES].sum())
        latencies[mapping] = execute(program).end_cycle
    best, worst = AddressMapping.ROW_BANK_COLUMN, AddressMapping.BANK_ROW_COLUMN
    assert opened[worst] > 2 * opened[best]
    assert latencies[worst] > latencies[best]


def test_a_product_end_to_end() -> None:
    accelerator = load_hardware("edge_npu.yaml")
    banked = load_hardware("edge_npu.yaml", {"dram.model": "banked"})
    for gemm in (Gemm(1, 16, 16), Gemm(1, 4096, 1024)):
        flat, priced = price_product(gemm, accelerator), price_product(gemm, banked)
        assert priced.dram_bytes == flat.dram_bytes
        assert flat.total_cycles <= priced.total_cycles < 1.15 * flat.total_cycles


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"dram.type": "ddr3-1600", "dram.bandwidth": "3.2 GB/s"},
            "dram.model: no timing table for the banks of ddr3-1600 (got banked; expected flat, or one of the types "
            "lpddr4-3200, ddr4-2400)\n  fix: write model: flat, or type: lpddr4-3200",
        ),
        (
            {"dram.bandwidth": "30 GB/s"},
            "dram.bandwidth: more than the pins of lpddr4-3200 move: 5 devices side by side (got 30 GB/s; expected at "
            "most 25.6 GB/s, which is 4 of 6.4 GB/s each)\n  fix: write bandwidth: 25.6 GB/s, or model: flat",
        ),
        ({"dram.model": "bank"}, "dram.model"),
        ({"dram.address_mapping": "rows"}, "dram.address_mapping"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix(settings: dict[str, str], said: str) -> None:
    with pytest.raises(HardwareError) as caught:
        load_hardware("edge_npu.yaml", {"dram.model": "banked"} | settings)
    assert said in str(caught.value)


def test_devices_side_by_side_are_a_power_of_two() -> None:
    for bandwidth, devices in (("6.4 GB/s", 1), ("6.5 GB/s", 2), ("13 GB/s", 4), ("unlimited", 1), ("25.6 GB/s", 4)):
        accelerator = load_hardware("edge_npu.yaml", {"dram.model": "banked", "dram.bandwidth": bandwidth})
        assert num_devices(accelerator.dram) == devices
        assert peak_bytes_per_s(accelerator.dram) == devices * 6_400_000_000
    assert num_devices(load_hardware("gemmini_16.yaml").dram) == 7  # flat energy is as it was
    assert num_devices(load_hardware("gemmini_16.yaml", {"dram.model": "banked"}).dram) == 8


@pytest.mark.parametrize(
    "far",
    [
        {Extent.ADDRESS: 2**40},
        {Extent.RUNS: 3, Extent.STRIDE: 2**39},
        {Extent.BANDS: 2, Extent.BAND_STRIDE: 2**40},
    ],
)
def test_a_network_larger_than_the_dram_is_refused(far: dict[Extent, int]) -> None:
    accelerator = hardware(**BANKED)
    program = compiled(chain(conv("conv", INPUT, (1, 1, 1), 1, (1, 1))), accelerator)
    extents = program.extents.copy()
    extents[-1, list(far)] = list(far.values())
    with pytest.raises(MappingError, match="do not fit the DRAM"):
        retimed(replace(program, extents=extents), accelerator, machine_of(accelerator))


def changed(accelerator: Hardware, dram: dict[str, str]) -> Hardware:
    document = accelerator.to_yaml_dict()
    return Hardware.model_validate(document | {"dram": document["dram"] | dram})  # type: ignore[operator]
