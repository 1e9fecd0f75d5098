"""The loop nest of one layer, lowered to commands: which tile is loaded, computed, drained and stored, after whom.

This is the only place that knows the order of tiles. The mapper times candidates with it and the compiler emits
programs with it, so what was chosen is what runs. All kernels are integer arithmetic on flat records, compiled
by numba.

Loop order: groups, then n outer / m inner or the reverse, k innermost; partial sums therefore never leave the chip. A
tile is loaded when it is not the one already held, into the other half of its double buffer.

A batch is more rows: its maps lie one after the other, and a tile is a piece of one map or a number of whole maps. No
tile crosses the border of a map half-way, so every band is that of a single map, and a batch can always be tiled as
its inputs one by one. Weights are the same for all maps.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from ceesim.hardware.profiles import Law
from ceesim.mapping.folds import FoldTiming, tile_timing
from ceesim.program.command import NO_COMMAND, NUM_AMOUNTS, Amount, Extent, Int64s, Unit
from ceesim.program.jit import jit

NUM_WAITS: Final = 5

# numba freezes module constants into the kernels; IntEnum members become plain ints
LOAD, STORE = int(Unit.LOAD), int(Unit.STORE)
IFMAP_DRAM = int(Amount.IFMAP_DRAM_BYTES)
OFMAP_DRAM = int(Amount.OFMAP_DRAM_BYTES)
HEAD_WEIGHT_DRAM = int(Amount.HEAD_WEIGHT_DRAM_BYTES)
MACS = int(Amount.MACS)
VECTOR_OPS = int(Amount.VECTOR_OPS)
FOLDS = int(Amount.FOLDS)
FOLD_PES = int(Amount.FOLD_PES)
ACTIVATION_READ = int(Amount.ACTIVATION_BUFFER_READ_BYTES)
ACTIVATION_WRITE = int(Amount.ACTIVATION_BUFFER_WRITE_BYTES)
PSUM_READ = int(Amount.PSUM_BUFFER_READ_BYTES)
PSUM_WRITE = int(Amount.PSUM_BUFFER_WRITE_BYTES)
DMA_BEATS = int(Amount.DMA_BEATS)
DMA_REQUESTS = int(Amount.DMA_REQUESTS)
DRAINED_PSUMS = int(Amount.DRAINED_PSUMS)
DRAM_READ_BURSTS = int(Amount.DRAM_READ_BURST_BYTES)
DRAM_WRITE_BURSTS = int(Amount.DRAM_WRITE_BURST_BYTES)
DRAM_ACTIVATES = int(Amount.DRAM_ACTIVATES)
IFMAP_HOPS = int(Amount.IFMAP_HOPS)
WEIGHT_HOPS = int(Amount.WEIGHT_HOPS)
PSUM_HOPS = int(Amount.PSUM_HOPS)
VECTOR_MULTIPLIES = int(Amount.VECTOR_MULTIPLIES)
EXPONENTIALS = int(Amount.EXPONENTIALS)
NONE: Final = NO_COMMAND

STATIONARY_OS, STATIONARY_WS, STATIONARY_IS = 0, 1, 2
IDEAL = int(Law.IDEAL)

tile_timing_kernel = jit(tile_timing)


class Machine(NamedTuple):
    """A Hardware as the kernels need it."""

    fold: FoldTiming
    weight_bits: int
    activation_bits: int
    psum_bits: int
    weight_access_bits: int
    """What the array's least access to a buffer takes from it; counts energy, not time."""
    activation_access_bits: int
    psum_access_bits: int
    layer_cycles: int
    beat_bytes: int
    request_bytes: int
    setup_cycles: int
    max_outstanding: int
    turnaround_cycles: int
    dram_latency_cycles: int
    cycles_numerator: int
    """Cycles per byte of one DMA queue, as a reduced fraction; 0 for unlimited bandwidth."""
    cycles_denominator: int
    shared_queue: int
    burst_bytes: int
    """Of one DRAM burst, all devices side by side; counts energy, not time."""
    row_bytes: int
    cycle_cost: int = 1
    """What the mapper minimises: this many units per cycle and `byte_cost` per byte loaded. Latency is 1 and 0."""
    byte_cost: int = 0


class Nest(NamedTuple):
    """A layer's loop bounds, the geometry of its ifmap, and where its operands live."""

    has_macs: int
    mac_unit: int
    mac_lanes: int
    """MACs per cycle of a unit other than the array; 0 on the array."""
    drain_unit: int
    drain_lanes: int
    """Element-ops per cycle, 0 for unlimited."""
    drain_latency_cycles: int
    groups: int
    images: int
    """Maps of the batch; rows and widths are those of one map, sums over the layer (bytes, ops) those of all."""
    out_rows: int
    out_width: int
    k: int
    n: int
    in_rows: int
    in_width: int
    in_channels: int
    """Channels that come from DRAM, all groups together."""
    kernel_rows: int
    kernel_width: int
    stride_rows: int
    stride_width: int
    pad_rows: int
    pad_width: int
    ifmap_from_dram: int
    weight_from_dram: int
    weight_dram_amount: int
    """Which column the weight operand's bytes go to."""
    weight_read_amount: int
    weight_write_amount: int
    bias_bits: int
    """Of one output channel's bias, which travels with the weights of its first k tile."""
    ofmap_to_dram: int
    ofmap_bytes: int
    side_bytes: int
    """Of the small tensors made on the way, which always stay on chip."""
    vector_ops: int
    """Of the whole layer, drain passes and fused pooling included."""
    vector_multiplies: int
    """Multiplications among them; like exponentials, these count energy, not time."""
    exponentials: int
    vector_reads: int
    """Values a vector layer reads from the activation buffer."""


class Tiling(NamedTuple):
    """Extents of one tile: `rows` whole ofmap rows or a piece of one row. `m_outer` selects the loop order.

    More rows than a map has are whole maps of a batch, and nothing but whole maps.
    """

    groups: int
    rows: int
    width: int
    k: int
    n: int
    m_outer: int


# Columns of a stream: a Program under construction is one table of ints, which compiled code passes cheaply.
UNIT, OCCUPANCY, LATENCY, LAYER, SEGMENT, TILE, WAITS = 0, 1, 2, 3, 4, 5, 6
AMOUNTS: Final = WAITS + NUM_WAITS

# Where a DMA command's bytes lie, behind the amounts: an `Extent` that names the operand of the layer instead of the
# command, and counts from the operand's first byte. Of a batch, the same again in each of `MAPS` maps.
PLACE: Final = AMOUNTS + NUM_AMOUNTS
OPERAND, OFFSET, RUN_BYTES, RUNS, STRIDE, BANDS, BAND_STRIDE = (PLACE + int(column) for column in Extent)
MAPS: Final = PLACE + len(Extent)
MAP_STRIDE: Final = MAPS + 1
STREAM_LENGTH: Final = MAP_STRIDE + 1
SOURCE, WEIGHT, RESULT = 0, 1, 2


class Place(NamedTuple):
    """Where a layer stands in the program: its number, its segment, and the rows it must wait for."""

    layer: int
    segment: int
    gate: int
    """What all commands but loads wait for, a decision or the gather behind it, or NONE."""
    load_gate: int
    """The same for loads."""
    ready: int
    """Last drain among those that made the operands on chip: drains finish in order."""
    stored: int
    """Last store before this layer: only then are operands in DRAM complete, and staged tiles out of the way."""
    released: int
    """Last drain before this layer: only then is its share of the activation buffer free."""


# Cursor: what the next layer inherits from the one before.
ROW, WEIGHT_HALF, WEIGHT_USER, HEAD_HALF, HEAD_USER, IFMAP_HALF, IFMAP_USER = 0, 1, 2, 4, 5, 7, 8
DRAINED, STAGED, PENDING, PENDING_BYTES, PENDING_RUNS, PENDING_TILE = 10, 12, 14, 15, 16, 17
PENDING_LAYER, PENDING_SEGMENT, PENDING_GATE, LAST_STORE, LAST_VECTOR = 18, 19, 20, 21, 22
PENDING_OFFSET, PENDING_RUN_BYTES, PENDING_PIXELS, PENDING_STRIDE = 23, 24, 25, 26
CURSOR_LENGTH: Final = 27


@jit
def new_cursor() -> Int64s:
    """The state before the first command: nothing loaded, nobody to wait for."""
    cursor = np.full(CURSOR_LENGTH, NONE, np.int64)
    for counter in (ROW, WEIGHT_HALF, HEAD_HALF, IFMAP_HALF):
        cursor[counter] = 0
    return cursor


@jit
def new_stream(num_rows: int, accounted: bool) -> Int64s:
    """[rows, columns] room for commands; without the columns of their amounts and places if only time matters."""
    stream = np.zeros((num_rows, STREAM_LENGTH if accounted else AMOUNTS), np.int64)
    stream[:, WAITS:AMOUNTS] = NONE
    return stream


@jit
def ceil_div(numerator: int, denominator: int) -> int:
    """Rounded-up quotient of non-negative ints."""
    return (numerator + denominator - 1) // denominator


@jit
def maps_per_tile(nest: Nest, tiling: Tiling) -> int:
    """Whole maps that a tile holds; 1 for a piece of a map as well."""
    return max(1, tiling.rows // nest.out_rows)


@jit
def num_tiles(nest: Nest, tiling: Tiling) -> tuple[int, int, int, int]:
    """Tiles along groups, m, k and n."""
    map_tiles = ceil_div(nest.images, maps_per_tile(nest, tiling))
    m_tiles = map_tiles * ceil_div(nest.out_rows, tiling.rows) * ceil_div(nest.out_width, tiling.width)
    return ceil_div(nest.groups, tiling.groups), m_tiles, ceil_div(nest.k, tiling.k), ceil_div(nest.n, tiling.n)


@jit
def max_rows(nest: Nest, tiling: Tiling) -> int:
    """No layer emits more commands than this."""
    g_tiles, m_tiles, k_tiles, n_tiles = num_tiles(nest, tiling)
    return g_tiles * m_tiles * n_tiles * (3 * k_tiles + 2) + 2


@jit
def span(first: int, count: int, stride: int, kernel: int, pad: int, size: int) -> int:
    """Ifmap rows (or columns) of one map that `count` outputs from `first` on touch, padding apart."""
    low = max(first * stride - pad, 0)
    high = min((first + count - 1) * stride - pad + kernel, size)
    return max(high - low, 0)


@jit
def bytes_of(elements: int, bits: int) -> int:
    """Bytes that hold `elements` values of `bits` each, packed."""
    return ceil_div(elements * bits, 8)


@jit
def transfer(machine: Machine, num_bytes: int, runs: int, is_load: bool) -> tuple[int, int, int, int]:
    """(occupancy, latency, beats, requests) of one DMA command that moves `runs` contiguous runs.

    A run is split into requests of at most `request_bytes`; `max_outstanding` of them are in flight, then the queue
    waits for the memory: a full burst followed by another costs max(W·b, L+b+c). A shorter load costs no more than
    that, but at least half of L+data+2c: two commands overlap at most. Stores are posted.
    """
    run_bytes = ceil_div(num_bytes, runs)
    requests = runs * ceil_div(run_bytes, machine.request_bytes)
    beats = runs * ceil_div(run_bytes, machine.beat_bytes)
    if machine.cycles_numerator == 0:
        return 0, machine.setup_cycles + (machine.dram_latency_cycles if is_load else 0), beats, requests
    data = max(beats, ceil_div(num_bytes * machine.cycles_numerator, machine.cycles_denominator))
    beats_per_request = ceil_div(min(run_bytes, machine.request_bytes), machine.beat_bytes)
    occupancy, latency = paced(machine, data, requests, beats_per_request, is_load)
    return occupancy, latency, beats, requests


@jit
def paced(machine: Machine, data: int, requests: int, beats_per_request: int, is_load: bool) -> tuple[int, int]:
    """(occupancy, latency) of a DMA command whose bytes take `data` cycles once they flow."""
    if not is_load:
        occupancy = data + machine.turnaround_cycles
        return occupancy, machine.setup_cycles + occupancy
    outstanding = machine.max_outstanding
    round_trip = machine.dram_latency_cycles + beats_per_request + machine.turnaround_cycles
    gap = max(0, round_trip - outstanding * beats_per_request)
    occupancy = data + requests // outstanding * gap
    if requests < outstanding:
        in_flight = ceil_div(machine.dram_latency_cycles + data + 2 * machine.turnaround_cycles, 2)
        occupancy = max(data, min(in_flight, max(outstanding * beats_per_request, round_trip)))
    latency = machine.setup_cycles + machine.dram_latency_cycles + data + (ceil_div(requests, outstanding) - 1) * gap
    return occupancy, max(latency, occupancy)


@jit
def account(stream: Int64s, row: int, amount: int, value: int) -> None:
    """Add to what a command accounts for, where that is asked for."""
    if stream.shape[1] > AMOUNTS:
        stream[row, AMOUNTS + amount] += value


@jit
def locate(
    stream: Int64s,
    row: int,
    operand: int,
    offset: int,
    run_bytes: int,
    runs: int,
    stride: int,
    bands: int,
    skip: int,
    maps: int,
    map_bytes: int,
) -> None:
    """Say where in an operand the bytes of a DMA command lie, where that is asked for; `skip` is from band to band."""
    if stream.shape[1] > AMOUNTS:
        stream[row, OPERAND], stream[row, OFFSET], stream[row, RUN_BYTES] = operand, offset, run_bytes
        stream[row, RUNS], stream[row, STRIDE] = runs, stride
        stream[row, BANDS], stream[row, BAND_STRIDE] = bands, skip
        stream[row, MAPS], stream[row, MAP_STRIDE] = maps, map_bytes


@jit
def put(stream: Int64s, cursor: Int64s, place: Place, unit: int, tile: int, occupancy: int, latency: int) -> int:
    """Append a command; returns its row."""
    row = int(cursor[ROW])
    stream[row, UNIT] = unit
    stream[row, OCCUPANCY] = occupancy
    stream[row, LATENCY] = latency
    stream[row, LAYER] = place.layer
    stream[row, SEGMENT] = place.segment
    stream[row, TILE] = tile
    stream[row, WAITS] = place.load_gate if unit == LOAD else place.gate
    cursor[ROW] = row + 1
    return row


@jit
def put_transfer(
    machine: Machine,
    stream: Int64s,
    cursor: Int64s,
    place: Place,
    is_load: bool,
    tile: int,
    num_bytes: int,
    runs: int,
    amount: int,
) -> int:
    """Append a DMA command that moves `num_bytes` of the operand `amount`; returns its row."""
    occupancy, latency, beats, requests = transfer(machine, num_bytes, runs, is_load)
    row = put(stream, cursor, place, LOAD if is_load else STORE, tile, occupancy, latency)
    account(stream, row, amount, num_bytes)
    account(stream, row, DMA_BEATS, beats)
    account(stream, row, DMA_REQUESTS, requests)
    bursts = runs * ceil_div(ceil_div(num_bytes, runs), machine.burst_bytes)
    account(stream, row, DRAM_READ_BURSTS if is_load else DRAM_WRITE_BURSTS, bursts * machine.burst_bytes)
    account(stream, row, DRAM_ACTIVATES, ceil_div(num_bytes, machine.row_bytes))
    return row


@jit
def flush_store(machine: Machine, stream: Int64s, cursor: Int64s) -> None:
    """Append the store that was held back so that the next tile's loads could go first."""
    if cursor[PENDING] == NONE:
        return
    place = Place(cursor[PENDING_LAYER], cursor[PENDING_SEGMENT], cursor[PENDING_GATE], NONE, NONE, NONE, NONE)
    row = put_transfer(
        machine, stream, cursor, place, False,
        cursor[PENDING_TILE], cursor[PENDING_BYTES], cursor[PENDING_RUNS], OFMAP_DRAM,
    )  # fmt: skip
    stream[row, WAITS + 1] = cursor[PENDING]
    locate(
        stream, row, RESULT, cursor[PENDING_OFFSET], cursor[PENDING_RUN_BYTES],
        cursor[PENDING_PIXELS], cursor[PENDING_STRIDE], 1, 0, 1, 0,
    )  # fmt: skip
    account(stream, row, ACTIVATION_READ, cursor[PENDING_BYTES])
    cursor[STAGED] = cursor[STAGED + 1]
    cursor[STAGED + 1] = row
    cursor[LAST_STORE] = row
    cursor[PENDING] = NONE


@jit
def share(total: int, before: int, now: int, whole: int) -> int:
    """The part of `total` that belongs to `now` of `whole` units after `before`; the parts sum to `total` exactly."""
    return total * (before + now) // whole - total * before // whole


@jit
def emit(nest: Nest, tiling: Tiling, machine: Machine, place: Place, stream: Int64s, cursor: Int64s) -> None:
    """Append the commands of one layer. Each step is: its loads, the store held back, the array tile, the drain."""
    g_tiles, m_tiles, k_tiles, n_tiles = num_tiles(nest, tiling)
    width_tiles = ceil_div(nest.out_width, tiling.width)
    outer_tiles, inner_tiles = (m_tiles, n_tiles) if tiling.m_outer else (n_tiles, m_tiles)
    row_tiles, most_maps = ceil_div(nest.out_rows, tiling.rows), maps_per_tile(nest, tiling)
    total_outputs = nest.groups * nest.images * nest.out_rows * nest.out_width * nest.n
    half_of, user_of = (WEIGHT_HALF, WEIGHT_USER)
    if nest.weight_dram_amount == HEAD_WEIGHT_DRAM:
        half_of, user_of = (HEAD_HALF, HEAD_USER)
    held_ifmap, held_weight, ifmap_row, weight_row = NONE, NONE, NONE, NONE
    outputs, tile, first = 0, 0, True
    for step in range(g_tiles * outer_tiles * inner_tiles):
        g_tile = step // (outer_tiles * inner_tiles)
        outer, inner = step // inner_tiles % outer_tiles, step % inner_tiles
        m_tile, n_tile = (outer, inner) if tiling.m_outer else (inner, outer)
        groups = min(tiling.groups, nest.groups - g_tile * tiling.groups)
        row_tile, width_first = m_tile // width_tiles, m_tile % width_tiles * tiling.width
        first_map, row_first = row_tile // row_tiles * most_maps, row_tile % row_tiles * tiling.rows
        maps = min(most_maps, nest.images - first_map)
        rows, width = min(tiling.rows, nest.out_rows - row_first), min(tiling.width, nest.out_width - width_first)
        m, n = maps * rows * width, min(tiling.n, nest.n - n_tile * tiling.n)
        mac_row = NONE
        for k_tile in range(k_tiles):
            k_first = k_tile * tiling.k
            k = min(tiling.k, nest.k - k_first)
            wanted = (g_tile * m_tiles + m_tile) * k_tiles + k_tile
            if nest.ifmap_from_dram and wanted != held_ifmap:
                held_ifmap = wanted
                in_rows = span(row_first, rows, nest.stride_rows, nest.kernel_rows, nest.pad_rows, nest.in_rows)
                in_width = span(width_first, width, nest.stride_width, nest.kernel_width, nest.pad_width, nest.in_width)
                channels = tile_channels(nest, groups, k_first, k)
                runs = ifmap_runs(nest, maps, in_rows, in_width, channels)
                num_bytes = bytes_of(maps * in_rows * in_width * channels, machine.activation_bits)
                ifmap_row = put_transfer(
                    machine,
                    stream,
                    cursor,
                    place,
                    True,
                    tile,
                    max(num_bytes, 1),
                    runs,
                    IFMAP_DRAM,
                )
                locate_ifmap(
                    nest, machine, stream, ifmap_row, first_map, maps, row_first, width_first, in_rows,
                    first_channel(nest, g_tile * tiling.groups, k_first), max(num_bytes, 1), runs,
                )  # fmt: skip
                account(stream, ifmap_row, ACTIVATION_WRITE, num_bytes)
                cursor[IFMAP_HALF] = 1 - cursor[IFMAP_HALF]
                stream[ifmap_row, WAITS + 1] = cursor[IFMAP_USER + cursor[IFMAP_HALF]]
                stream[ifmap_row, WAITS + 2] = place.stored
                stream[ifmap_row, WAITS + 3] = place.released
            wanted = (g_tile * n_tiles + n_tile) * k_tiles + k_tile
            if nest.weight_from_dram and wanted != held_weight:
                held_weight = wanted
                biases = groups * n * nest.bias_bits if k_tile == 0 else 0
                num_bytes = ceil_div(groups * k * n * weight_bits(nest, machine) + biases, 8)
                weight_row = put_transfer(
                    machine,
                    stream,
                    cursor,
                    place,
                    True,
                    tile,
                    num_bytes,
                    1,
                    nest.weight_dram_amount,
                )
                offset = first_weight_byte(nest, machine, g_tile * tiling.groups, groups, n_tile * tiling.n, n, k_first)
                locate(stream, weight_row, WEIGHT, offset, num_bytes, 1, 0, 1, 0, 1, 0)
                account(stream, weight_row, nest.weight_write_amount, num_bytes)
                cursor[half_of] = 1 - cursor[half_of]
                stream[weight_row, WAITS + 1] = cursor[user_of + cursor[half_of]]
                if nest.weight_dram_amount == IFMAP_DRAM:
                    stream[weight_row, WAITS + 2] = place.stored
            flush_store(machine, stream, cursor)
            if not nest.has_macs:
                continue
            mac_row = put_macs(nest, machine, stream, cursor, place, tile, groups, m, k, n, k_tile == 0, first)
            stream[mac_row, WAITS + 1] = ifmap_row
            stream[mac_row, WAITS + 2] = weight_row
            if k_tile == 0:
                stream[mac_row, WAITS + 3] = cursor[DRAINED]
            if first:
                stream[mac_row, WAITS + 4] = place.ready
            if nest.ifmap_from_dram:
                cursor[IFMAP_USER + cursor[IFMAP_HALF]] = mac_row
            if nest.weight_from_dram:
                cursor[user_of + cursor[half_of]] = mac_row
            first = False
        now = groups * m * n
        vector_ops = share(nest.vector_ops, outputs, now, total_outputs)
        ofmap_bytes = share(nest.ofmap_bytes, outputs, now, total_outputs)
        occupancy = ceil_div(vector_ops, nest.drain_lanes) if nest.drain_lanes else 0
        overhead = machine.layer_cycles if first else 0
        drain = put(
            stream, cursor, place, nest.drain_unit, tile, overhead + occupancy,
            overhead + occupancy + nest.drain_latency_cycles,
        )  # fmt: skip
        account(stream, drain, VECTOR_OPS, vector_ops)
        account(stream, drain, VECTOR_MULTIPLIES, share(nest.vector_multiplies, outputs, now, total_outputs))
        account(stream, drain, EXPONENTIALS, share(nest.exponentials, outputs, now, total_outputs))
        if nest.has_macs:
            stream[drain, WAITS + 1] = mac_row
            account(stream, drain, PSUM_READ, groups * psum_bytes(nest, machine, m, n))
            account(stream, drain, DRAINED_PSUMS, now)
        else:
            stream[drain, WAITS + 1] = ifmap_row
            reads = share(nest.vector_reads, outputs, now, total_outputs)
            account(stream, drain, ACTIVATION_READ, bytes_of(reads, machine.activation_bits))
            if nest.ifmap_from_dram:
                cursor[IFMAP_USER + cursor[IFMAP_HALF]] = drain
            if first:
                stream[drain, WAITS + 4] = place.ready
        first = False
        if outputs == 0:  # the share of the activation buffer that this layer writes to may still be read
            stream[drain, WAITS + 2] = cursor[LAST_STORE]
            if place.released != NONE and stream[place.released, UNIT] != nest.drain_unit:
                stream[drain, WAITS + 3] = place.released
        elif nest.ofmap_to_dram:
            stream[drain, WAITS + 2] = cursor[STAGED]
        side_bytes = share(nest.side_bytes, outputs, now, total_outputs)
        account(stream, drain, ACTIVATION_WRITE, ofmap_bytes + side_bytes)
        cursor[DRAINED] = cursor[DRAINED + 1]
        cursor[DRAINED + 1] = drain
        cursor[LAST_VECTOR] = drain
        if nest.ofmap_to_dram and ofmap_bytes > 0:
            cursor[PENDING] = drain
            cursor[PENDING_BYTES] = ofmap_bytes
            cursor[PENDING_RUNS] = 1 if n_tiles * g_tiles == 1 else min(m, ofmap_bytes)
            first_pixel = (first_map * nest.out_rows + row_first) * nest.out_width + width_first
            channel = g_tile * tiling.groups * nest.n + n_tile * tiling.n
            if n_tiles * g_tiles == 1:
                cursor[PENDING_OFFSET] = nest.ofmap_bytes * outputs // total_outputs
                cursor[PENDING_RUN_BYTES] = ofmap_bytes
                cursor[PENDING_PIXELS], cursor[PENDING_STRIDE] = 1, 0
            else:
                locate_ofmap(nest, machine, cursor, first_pixel, m, channel, groups * n)
            cursor[PENDING_TILE] = tile
            cursor[PENDING_LAYER] = place.layer
            cursor[PENDING_SEGMENT] = place.segment
            cursor[PENDING_GATE] = place.gate
        outputs += now
        tile += 1


@jit
def tile_channels(nest: Nest, groups: int, k_first: int, k: int) -> int:
    """Channels that a k tile of `groups` groups reads from DRAM; k runs over (channel, kernel row, kernel column)."""
    if not nest.has_macs:
        return groups * ceil_div(nest.in_channels, nest.groups)
    per_channel = nest.kernel_rows * nest.kernel_width
    group_channels = nest.in_channels // nest.groups
    low = k_first * group_channels // nest.k
    high = ceil_div((k_first + k) * group_channels, nest.k)
    return groups * min(high - low, group_channels) if per_channel else 0


@jit
def ifmap_runs(nest: Nest, maps: int, in_rows: int, in_width: int, channels: int) -> int:
    """Contiguous runs of `maps` equal pieces of maps, one piece of each.

    Maps lie in DRAM one after the other, row by row, all channels of a pixel together.
    """
    if channels < nest.in_channels:
        return max(maps * in_rows * in_width, 1)
    if in_width < nest.in_width:
        return max(maps * in_rows, 1)
    return 1 if in_rows == nest.in_rows else maps


@jit
def first_channel(nest: Nest, group_first: int, k_first: int) -> int:
    """First channel of the ifmap that a k tile reads; see `tile_channels`."""
    if not nest.has_macs:
        return group_first * ceil_div(nest.in_channels, nest.groups)
    group_channels = nest.in_channels // nest.groups
    return group_first * group_channels + k_first * group_channels // nest.k


@jit
def locate_ifmap(
    nest: Nest,
    machine: Machine,
    stream: Int64s,
    row: int,
    first_map: int,
    maps: int,
    row_first: int,
    width_first: int,
    in_rows: int,
    channel: int,
    num_bytes: int,
    runs: int,
) -> None:
    """Say where an ifmap tile lies: map by map, and these row by row, pixel by pixel, each from a whole byte on."""
    pixel_bytes = bytes_of(nest.in_channels, machine.activation_bits)
    map_bytes = nest.in_rows * nest.in_width * pixel_bytes
    if runs == 1:
        maps = 1  # one map or part of it, or whole maps in one piece
    first_row = min(max(row_first * nest.stride_rows - nest.pad_rows, 0), nest.in_rows - 1)
    first_column = min(max(width_first * nest.stride_width - nest.pad_width, 0), nest.in_width - 1)
    offset = first_map * map_bytes + (first_row * nest.in_width + first_column) * pixel_bytes
    offset += channel * machine.activation_bits // 8
    bands = max(in_rows, 1) if runs > maps else 1
    run_bytes, skip = ceil_div(num_bytes, runs), nest.in_width * pixel_bytes
    locate(stream, row, SOURCE, offset, run_bytes, runs // maps // bands, pixel_bytes, bands, skip, maps, map_bytes)


@jit
def first_weight_byte(
    nest: Nest, machine: Machine, group_first: int, groups: int, n_first: int, n: int, k_first: int
) -> int:
    """Where a weight tile begins: tiles are stored in the order of groups, n and k, biases with their first k tile."""
    whole = group_first * nest.k * nest.n + groups * nest.k * n_first
    biases = group_first * nest.n + groups * (n_first + (n if k_first else 0))
    return ((whole + groups * k_first * n) * weight_bits(nest, machine) + biases * nest.bias_bits) // 8


@jit
def locate_ofmap(
    nest: Nest, machine: Machine, cursor: Int64s, first_pixel: int, m: int, channel: int, channels: int
) -> None:
    """Note where the held-back store will go: `m` pixels from `first_pixel` on, or what a fused pool makes of them.

    Pixels are counted over all maps of a batch, which lie one after the other. A pooled pixel is written by the tile
    that completes its share, so a small tile may have nothing to write yet.
    """
    outputs, pixels = nest.groups * nest.n, nest.images * nest.out_rows * nest.out_width
    kept = max(nest.ofmap_bytes * 8 // machine.activation_bits // outputs, 1)  # pixels behind a fused pool
    pixel_bytes = bytes_of(outputs, machine.activation_bits)
    first = kept * first_pixel // pixels
    cursor[PENDING_OFFSET] = first * pixel_bytes + channel * machine.activation_bits // 8
    cursor[PENDING_RUN_BYTES] = bytes_of(channels, machine.activation_bits)
    cursor[PENDING_PIXELS] = kept * (first_pixel + m) // pixels - first
    cursor[PENDING_STRIDE] = pixel_bytes


@jit
def weight_bits(nest: Nest, machine: Machine) -> int:
    """Bits of a value of the right operand, which is an activation in a product of two activations."""
    return machine.activation_bits if nest.weight_dram_amount == IFMAP_DRAM else machine.weight_bits


@jit
def array_timing(fold: FoldTiming, groups: int, m: int, k: int, n: int) -> tuple[int, int, int, int]:
    """(folds, busy PEs over folds, occupancy, latency) of `groups` products of m×k by k×n, one after the other."""
    num_folds, fold_pes, occupancy, latency = tile_timing_kernel(fold, m, k, n)
    if fold.law == IDEAL:  # rounded up once, not once per product
        cycles = ceil_div(groups * m * k * n, fold.rows * fold.cols)
        return groups * num_folds, groups * fold_pes, cycles, cycles
    latency = max((groups - 1) * occupancy + latency, groups * occupancy)
    return groups * num_folds, groups * fold_pes, groups * occupancy, latency


@jit
def accessed_bytes(times: int, extent: int, lanes: int, bits: int, access_bits: int) -> int:
    """Bytes of `times` passes over `extent` values of `bits`, `lanes` of them side by side in a port.

    An access in part costs as much as a whole one.
    """
    accesses = extent // lanes * ceil_div(lanes * bits, access_bits) + ceil_div(extent % lanes * bits, access_bits)
    return ceil_div(times * accesses * access_bits, 8)


@jit
def psum_bytes(nest: Nest, machine: Machine, m: int, n: int) -> int:
    """Bytes accessed in the psum buffer when m×n sums are written or read once, one row of the array at a time."""
    fold = machine.fold
    if nest.mac_lanes:
        return bytes_of(m * n, machine.psum_bits)
    rows, across = (n, m) if fold.stationary == STATIONARY_IS else (m, n)
    return accessed_bytes(rows, across, fold.cols, machine.psum_bits, machine.psum_access_bits)


@jit
def put_macs(
    nest: Nest,
    machine: Machine,
    stream: Int64s,
    cursor: Int64s,
    place: Place,
    tile: int,
    groups: int,
    m: int,
    k: int,
    n: int,
    first_k: bool,
    first: bool,
) -> int:
    """Append the MACs of one tile, on the array or on the lanes of another unit: `groups` products of m×k by k×n."""
    fold = machine.fold
    if nest.mac_lanes:
        num_folds, fold_pes = 0, 0
        occupancy = ceil_div(groups * m * k * n, nest.mac_lanes)
        latency = occupancy + nest.drain_latency_cycles
        overhead = machine.layer_cycles
    else:
        num_folds, fold_pes, occupancy, latency = array_timing(fold, groups, m, k, n)
        overhead = machine.layer_cycles + fold.overhead_cycles
    if first:
        occupancy += overhead
        latency += overhead
    row = put(stream, cursor, place, nest.mac_unit, tile, occupancy, latency)
    account(stream, row, MACS, groups * m * k * n)
    account(stream, row, FOLDS, num_folds)
    account(stream, row, FOLD_PES, fold_pes)
    # the operand that stays in the PEs is read once; the others once per pass over it, and those passes cross the
    # whole array: what enters a row leaves it at the far edge, whether or not the PEs on the way have work
    k_folds, m_folds, n_folds = ceil_div(k, fold.rows), ceil_div(m, fold.cols), ceil_div(n, fold.cols)
    bits, weight_access, access = weight_bits(nest, machine), machine.weight_access_bits, machine.activation_access_bits
    macs = groups * m * k * n
    if nest.mac_lanes:
        k_folds, ifmap_hops, weight_hops, psum_hops = 1, macs, macs, macs
        ifmap_read, weight_read = bytes_of(groups * m * k, machine.activation_bits), bytes_of(groups * k * n, bits)
    elif fold.stationary == STATIONARY_IS:
        ifmap_hops, weight_hops, psum_hops = 0, k * n * m_folds * fold.cols, m * n * k_folds * fold.rows
        ifmap_read = accessed_bytes(groups * k, m, fold.cols, machine.activation_bits, access)
        weight_read = accessed_bytes(groups * n * m_folds, k, fold.rows, bits, weight_access)
    elif fold.stationary == STATIONARY_OS:
        m_folds, k_folds = ceil_div(m, fold.rows), 1
        ifmap_hops, weight_hops, psum_hops = m * k * n_folds * fold.cols, k * n * m_folds * fold.rows, m * k * n
        ifmap_read = accessed_bytes(groups * k * n_folds, m, fold.rows, machine.activation_bits, access)
        weight_read = accessed_bytes(groups * k * m_folds, n, fold.cols, bits, weight_access)
    else:
        ifmap_hops, weight_hops, psum_hops = m * k * n_folds * fold.cols, 0, m * n * k_folds * fold.rows
        ifmap_read = accessed_bytes(groups * m * n_folds, k, fold.rows, machine.activation_bits, access)
        weight_read = accessed_bytes(groups * k, n, fold.cols, bits, weight_access)
    if not nest.mac_lanes:
        ifmap_hops, weight_hops, psum_hops = groups * ifmap_hops, groups * weight_hops, groups * psum_hops
    account(stream, row, IFMAP_HOPS, ifmap_hops)
    account(stream, row, WEIGHT_HOPS, weight_hops)
    account(stream, row, PSUM_HOPS, psum_hops)
    account(stream, row, ACTIVATION_READ, ifmap_read)
    account(stream, row, nest.weight_read_amount, weight_read)
    written = groups * psum_bytes(nest, machine, m, n)
    account(stream, row, PSUM_WRITE, written * k_folds)
    account(stream, row, PSUM_READ, written * (k_folds - (1 if first_k else 0)))
    return row
