"""A Program under construction: a table of ints, one row per command, and what the next layer inherits.

Rows are appended by compiled code, which passes one table cheaply. A DMA command is timed and accounted for here, and a
store may be held back so that the next tile's loads go first.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from ceesim.mapping.folds import FoldTiming
from ceesim.program.command import NO_COMMAND, NUM_AMOUNTS, Amount, Extent, Int64s, Unit
from ceesim.program.jit import jit

NUM_WAITS: Final = 5

# numba freezes module constants into the kernels; IntEnum members become plain ints
LOAD, STORE = int(Unit.LOAD), int(Unit.STORE)
OFMAP_DRAM = int(Amount.OFMAP_DRAM_BYTES)
ACTIVATION_READ = int(Amount.ACTIVATION_BUFFER_READ_BYTES)
DMA_BEATS = int(Amount.DMA_BEATS)
DMA_REQUESTS = int(Amount.DMA_REQUESTS)
DRAM_READ_BURSTS = int(Amount.DRAM_READ_BURST_BYTES)
DRAM_WRITE_BURSTS = int(Amount.DRAM_WRITE_BURST_BYTES)
DRAM_ACTIVATES = int(Amount.DRAM_ACTIVATES)
NONE: Final = NO_COMMAND


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
    """What the mapper minimises: this many units per cycle, `byte_cost` or more per byte loaded."""
    byte_cost: int = 0
    prices_actions: int = 0
    """Whether the units are of energy, and every action has a price too; else commands and bytes stand for them."""


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
    """Last drain before this layer, on the backbone's own units if it belongs there: only then is its share of the
    activation buffer free."""
    cleared: int
    """Last drain of a head on a unit of its own that must be over too, for what it reads lies in that share."""


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
def part_of(total: int, part: int, whole: int) -> int:
    """The share total · part / whole, rounded down; products on the way exceed neither that nor whole²."""
    each, rest = total // whole, total % whole
    return each * part + (rest * part // whole if rest else 0)


@jit
def bytes_of(elements: int, bits: int) -> int:
    """Bytes that hold `elements` values of `bits` each, packed."""
    return ceil_div(elements * bits, 8)


@jit
def transfer(machine: Machine, num_bytes: int, runs: int, is_load: bool) -> tuple[int, int, int, int]:
    """(occupancy, latency, beats, requests) of one DMA command that moves `runs` contiguous runs.

    Its bytes flow at the pace of the bus, whose beats are whole, or of the bandwidth, whichever is slower. A run is
    split into requests of at most `request_bytes`; see `paced`.
    """
    run_bytes = ceil_div(num_bytes, runs)
    requests = runs * ceil_div(run_bytes, machine.request_bytes)
    beats = runs * ceil_div(run_bytes, machine.beat_bytes)
    if machine.cycles_numerator == 0:
        return 0, machine.setup_cycles + (machine.dram_latency_cycles if is_load else 0), beats, requests
    data = max(beats, ceil_div(num_bytes * machine.cycles_numerator, machine.cycles_denominator))
    occupancy, latency = paced(machine, data, beats, requests, is_load)
    return occupancy, latency, beats, requests


@jit
def paced(machine: Machine, data: int, beats: int, requests: int, is_load: bool) -> tuple[int, int]:
    """(occupancy, latency) of a DMA command whose bytes, in that many beats, take `data` cycles once they flow.

    `max_outstanding` = W requests are in flight, then the queue waits for the memory: a full window followed by another
    costs max(W·d, L+d+c), where d is what one request takes on average: its beats on the bus, in whole ones, or its
    share of the data, whichever is longer. A shorter load costs no more than that, but at least half of L+data+2c: two
    commands overlap at most. Stores are posted. Of the same beats, fewer cycles of data never take longer.
    """
    if not is_load:
        occupancy = data + machine.turnaround_cycles
        return occupancy, machine.setup_cycles + occupancy
    outstanding, beats_per_request = machine.max_outstanding, ceil_div(beats, requests)
    occupancy = data + waits(machine, requests // outstanding, data, requests, beats_per_request)
    if requests < outstanding:
        in_flight = ceil_div(machine.dram_latency_cycles + data + 2 * machine.turnaround_cycles, 2)
        each = max(beats_per_request, ceil_div(data, requests))
        round_trip = machine.dram_latency_cycles + each + machine.turnaround_cycles
        occupancy = max(data, min(in_flight, max(outstanding * each, round_trip)))
    latency = machine.setup_cycles + machine.dram_latency_cycles + data
    latency += waits(machine, ceil_div(requests, outstanding) - 1, data, requests, beats_per_request)
    return occupancy, max(latency, occupancy)


@jit
def waits(machine: Machine, windows: int, data: int, requests: int, beats_per_request: int) -> int:
    """Cycles without data over `windows` full windows of requests: of each L+d+c − W·d, if that is above 0.

    Rounded once, so that slower data never end sooner.
    """
    others = windows * (machine.max_outstanding - 1)
    hidden = max(others * beats_per_request, part_of(data, others, requests))
    return max(0, windows * (machine.dram_latency_cycles + machine.turnaround_cycles) - hidden)


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
    place = Place(cursor[PENDING_LAYER], cursor[PENDING_SEGMENT], cursor[PENDING_GATE], NONE, NONE, NONE, NONE, NONE)
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
