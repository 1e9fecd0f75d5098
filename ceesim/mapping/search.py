"""The mapper: of all tilings that fit the buffers, the one that is done first, moves fewest bytes, needs fewest
commands.

Candidates are the distinct tile *counts* per dimension (tiles of one count differ only in how uneven the last one
is), in both loop orders. A lower bound that no schedule can beat (array work, or bytes over bandwidth) orders them;
candidates are then timed one after the other, exactly, by lowering the layer alone and executing it, until the bound
of the next one is worse than the best time found. Nothing is lost by this pruning: the bound is never above the exact
time.

The objective is cycles, or energy: cycles × what passing time costs + bytes × what DRAM costs; the rest of a layer's
energy does not depend on its tiling, but for partial folds. Costs closer than one part in `RESOLUTION` of the lowest
bound count as equal. Otherwise tilings that reload their
weights six times over would win by the handful of cycles that a smaller first tile saves, which the previous layer
hides anyway.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from ceesim.mapping.loops import (
    AMOUNTS,
    LATENCY,
    NONE,
    OCCUPANCY,
    ROW,
    UNIT,
    WAITS,
    Machine,
    Nest,
    Place,
    Tiling,
    array_timing,
    bytes_of,
    ceil_div,
    emit,
    flush_store,
    ifmap_runs,
    maps_per_tile,
    max_rows,
    new_cursor,
    new_stream,
    num_tiles,
    span,
    tile_channels,
    transfer,
    weight_bits,
)
from ceesim.program.command import Int64s
from ceesim.program.executor import execute_rows
from ceesim.program.jit import jit

_FIELDS: Final = 6
BOUND, BYTES, COMMANDS = 6, 7, 8
RESOLUTION: Final = 128


class Capacity(NamedTuple):
    """Bytes a tiling may fill; both halves of the double buffers included."""

    weight_bytes: int
    psum_bytes: int
    activation_bytes: int


class Choice(NamedTuple):
    """A tiling and what it costs on its own."""

    tiling: Tiling
    cycles: int
    dram_bytes: int
    num_candidates: int
    num_timed: int


@jit
def distinct_extents(size: int, unit: int) -> Int64s:
    """Tile extents, in multiples of `unit`, that give each possible number of tiles once; largest first."""
    units = ceil_div(size, unit)
    extents = np.empty(2 * int(np.sqrt(units)) + 3, np.int64)
    found, tiles = 0, 1
    while tiles <= units:
        extent = ceil_div(units, tiles)
        extents[found] = min(extent * unit, size)
        found += 1
        if extent == 1:
            break
        tiles = ceil_div(units, extent - 1)
    return extents[:found]


@jit
def edge(size: int, extent: int) -> int:
    """Extent of the last tile along a dimension."""
    return size - (ceil_div(size, extent) - 1) * extent


@jit
def mac_cycles(nest: Nest, tiling: Tiling, machine: Machine) -> tuple[int, int, int]:
    """(occupancy of the MAC unit for the whole layer, latency of its first tile, latency of its last tile)."""
    if nest.mac_lanes:
        macs = nest.groups * nest.images * nest.out_rows * nest.out_width * nest.k * nest.n
        return ceil_div(macs, nest.mac_lanes), nest.drain_latency_cycles, nest.drain_latency_cycles
    total, first, last = 0, 0, 0
    most_maps, most_rows = maps_per_tile(nest, tiling), min(tiling.rows, nest.out_rows)
    for a in range(16 if nest.images % most_maps else 8):
        groups, group_count = tiling.groups, nest.groups // tiling.groups
        maps, map_count = most_maps, nest.images // most_maps
        rows, row_count = most_rows, nest.out_rows // most_rows
        width, width_count = tiling.width, nest.out_width // tiling.width
        if a & 1:
            groups, group_count = nest.groups % tiling.groups, 1
        if a & 2:
            rows, row_count = nest.out_rows % most_rows, 1
        if a & 4:
            width, width_count = nest.out_width % tiling.width, 1
        if a & 8:
            maps, map_count = nest.images % most_maps, 1
        count = group_count * map_count * row_count * width_count
        if groups * rows * width * count == 0:
            continue
        for b in range(4):
            k, k_count = tiling.k, nest.k // tiling.k
            n, n_count = tiling.n, nest.n // tiling.n
            if b & 1:
                k, k_count = nest.k % tiling.k, 1
            if b & 2:
                n, n_count = nest.n % tiling.n, 1
            if k * k_count * n * n_count == 0:
                continue
            _, _, occupancy, last = array_timing(machine.fold, groups, maps * rows * width, k, n)
            total += count * k_count * n_count * occupancy
            if first == 0:
                first = last
    return total, first, last


@jit
def load_traffic(nest: Nest, tiling: Tiling, machine: Machine) -> tuple[int, int, int, int]:
    """(DRAM bytes, occupancy of all loads, latency of the first tile's slower load, least latency beyond occupancy)."""
    g_tiles, m_tiles, k_tiles, n_tiles = num_tiles(nest, tiling)
    width_tiles = ceil_div(nest.out_width, tiling.width)
    total, busy, first, beyond = 0, 0, 0, 1 << 62
    if nest.ifmap_from_dram:
        passes = n_tiles
        if k_tiles == 1 and (tiling.m_outer or m_tiles == 1):
            passes = 1
        if g_tiles * m_tiles * k_tiles == 1:
            passes = 1
        most_maps = maps_per_tile(nest, tiling)
        for a in range(4 if nest.images % most_maps else 2):
            groups, group_count = tiling.groups, nest.groups // tiling.groups
            maps, map_count = most_maps, nest.images // most_maps
            if a & 1:
                groups, group_count = nest.groups % tiling.groups, 1
            if a & 2:
                maps, map_count = nest.images % most_maps, 1
            count = group_count * map_count * passes
            if groups * count == 0:
                continue
            for m_tile in range(width_tiles * ceil_div(nest.out_rows, tiling.rows)):  # of one map
                row_first, width_first = m_tile // width_tiles * tiling.rows, m_tile % width_tiles * tiling.width
                rows = min(tiling.rows, nest.out_rows - row_first)
                width = min(tiling.width, nest.out_width - width_first)
                in_rows = span(row_first, rows, nest.stride_rows, nest.kernel_rows, nest.pad_rows, nest.in_rows)
                in_width = span(width_first, width, nest.stride_width, nest.kernel_width, nest.pad_width, nest.in_width)
                for k_tile in range(k_tiles):
                    k_first = k_tile * tiling.k
                    k = min(tiling.k, nest.k - k_first)
                    channels = tile_channels(nest, groups, k_first, k)
                    size = max(bytes_of(maps * in_rows * in_width * channels, machine.activation_bits), 1)
                    runs = ifmap_runs(nest, maps, in_rows, in_width, channels)
                    occupancy, latency, _, _ = transfer(machine, size, runs, True)
                    total += count * size
                    busy += count * occupancy
                    beyond = min(beyond, latency - occupancy)
                    if first == 0:
                        first = latency
    if nest.weight_from_dram:
        passes = m_tiles
        if k_tiles == 1 and (not tiling.m_outer or n_tiles == 1):
            passes = 1
        if g_tiles * k_tiles * n_tiles == 1:
            passes = 1
        bits = weight_bits(nest, machine)
        first_weight = 0
        for a in range(8):
            groups, group_count = tiling.groups, nest.groups // tiling.groups
            k, k_count = tiling.k, nest.k // tiling.k
            n, n_count = tiling.n, nest.n // tiling.n
            if a & 1:
                groups, group_count = nest.groups % tiling.groups, 1
            if a & 2:
                k, k_count = nest.k % tiling.k, 1
            if a & 4:
                n, n_count = nest.n % tiling.n, 1
            count = group_count * k_count * n_count * passes
            if groups * k * n * count == 0:
                continue
            # one k tile of all carries the biases
            with_bias = group_count * n_count * passes if (a & 2) == 0 or k_tiles == 1 else 0
            for carries in range(2):
                times = with_bias if carries else count - with_bias
                if times == 0:
                    continue
                size = ceil_div(groups * k * n * bits + (groups * n * nest.bias_bits if carries else 0), 8)
                occupancy, latency, _, _ = transfer(machine, size, 1, True)
                total += times * size
                busy += times * occupancy
                beyond = min(beyond, latency - occupancy)
                if carries and first_weight == 0:
                    first_weight = latency
        first = max(first, first_weight)
    return total, busy, first, beyond if busy or first else 0


@jit
def lower_bound(nest: Nest, tiling: Tiling, machine: Machine) -> tuple[int, int]:
    """(cycles that no schedule of this tiling can beat, DRAM bytes of its loads).

    Whichever unit is the busiest must work off all it has to, after the first tile has reached it and before the last
    tile has passed the units behind it.
    """
    num_bytes, loading, first_load, beyond = load_traffic(nest, tiling, machine)
    outputs = nest.groups * nest.images * nest.out_rows * nest.out_width * nest.n
    last_outputs = edge(nest.groups, tiling.groups) * edge(nest.images, maps_per_tile(nest, tiling))
    last_outputs *= edge(nest.out_rows, min(tiling.rows, nest.out_rows))
    last_outputs *= edge(nest.out_width, tiling.width) * edge(nest.n, tiling.n)
    vector, last_vector = 0, 0
    if nest.drain_lanes:
        vector = ceil_div(nest.vector_ops, nest.drain_lanes)
        last_vector = nest.vector_ops * last_outputs // outputs // nest.drain_lanes
    macs, first_mac, last_mac = 0, 0, 0
    setup = machine.layer_cycles
    if nest.has_macs:
        macs, first_mac, last_mac = mac_cycles(nest, tiling, machine)
        setup += 0 if nest.mac_lanes else machine.fold.overhead_cycles
    last_drain = last_vector + nest.drain_latency_cycles
    behind_mac = last_drain
    if nest.has_macs and nest.mac_unit == nest.drain_unit:
        behind_mac += vector - last_vector
    bound = setup + first_load + max(macs + behind_mac, first_mac + vector + nest.drain_latency_cycles)
    if nest.has_macs and not nest.mac_lanes:
        bound = max(bound, loading + beyond + last_mac + min(setup, 0) + last_drain)
    elif loading:
        bound = max(bound, loading + beyond + last_drain)
    if nest.ofmap_to_dram and machine.shared_queue and machine.cycles_numerator:
        stored = ceil_div(nest.ofmap_bytes * machine.cycles_numerator, machine.cycles_denominator)
        bound = max(bound, loading + stored)
    return bound, num_bytes


@jit
def fits(nest: Nest, tiling: Tiling, machine: Machine, capacity: Capacity) -> bool:
    """Whether a tile and its double fit each buffer; an operand that is one single tile needs no double."""
    if nest.weight_from_dram:
        bits = weight_bits(nest, machine)
        biases = tiling.groups * tiling.n * nest.bias_bits
        if 2 * ceil_div(tiling.groups * tiling.k * tiling.n * bits + biases, 8) > capacity.weight_bytes:
            return False
    if nest.has_macs:
        outputs = tiling.groups * tiling.rows * tiling.width * tiling.n
        if 2 * bytes_of(outputs, machine.psum_bits) > capacity.psum_bytes:
            return False
    needed = 0
    g_tiles, m_tiles, k_tiles, n_tiles = num_tiles(nest, tiling)
    if nest.ifmap_from_dram:
        in_rows = (min(tiling.rows, nest.out_rows) - 1) * nest.stride_rows + nest.kernel_rows
        in_rows = maps_per_tile(nest, tiling) * min(in_rows, nest.in_rows)
        in_width = (tiling.width - 1) * nest.stride_width + nest.kernel_width
        channels = tile_channels(nest, tiling.groups, 0, tiling.k)
        for k_tile in range(1, k_tiles):  # a tile that begins in the middle of a channel may touch one more
            k_first = k_tile * tiling.k
            k = min(tiling.k, nest.k - k_first)
            channels = max(channels, tile_channels(nest, tiling.groups, k_first, k))
        size = bytes_of(in_rows * min(in_width, nest.in_width) * channels, machine.activation_bits)
        needed += size if g_tiles * m_tiles * k_tiles == 1 else 2 * size
    if nest.ofmap_to_dram:
        total_outputs = nest.groups * nest.images * nest.out_rows * nest.out_width * nest.n
        outputs = tiling.groups * tiling.rows * tiling.width * tiling.n
        size = ceil_div(nest.ofmap_bytes * outputs, total_outputs)
        needed += size if g_tiles * m_tiles * n_tiles == 1 else 2 * size
    return needed <= capacity.activation_bytes


@jit
def time_alone(nest: Nest, tiling: Tiling, machine: Machine, queue: Int64s) -> int:
    """Cycles of the layer lowered on its own, from its first command to its last finish."""
    stream = new_stream(max_rows(nest, tiling), False)
    cursor = new_cursor()
    emit(nest, tiling, machine, Place(0, 1, NONE, NONE, NONE, NONE, NONE), stream, cursor)
    flush_store(machine, stream, cursor)
    rows = cursor[ROW]
    return execute_rows(
        rows,
        queue,
        stream[:, UNIT],
        stream[:, OCCUPANCY],
        stream[:, LATENCY],
        stream[:, WAITS:AMOUNTS],
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
    )


@jit
def candidates(nest: Nest, machine: Machine, capacity: Capacity) -> Int64s:
    """[candidates, 9] all tilings that fit: the six fields of `Tiling`, lower bound, bytes loaded, commands at most."""
    k_extents = distinct_extents(nest.k, machine.fold.rows) if nest.has_macs else np.array([nest.k])
    n_extents = distinct_extents(nest.n, machine.fold.cols) if nest.has_macs else np.array([nest.n])
    row_extents = distinct_extents(nest.out_rows, 1)
    width_extents = distinct_extents(nest.out_width, 1)
    group_extents = distinct_extents(nest.groups, 1)
    map_extents = distinct_extents(nest.images, 1)
    num_spatial = len(row_extents) + len(width_extents) - 1
    found = np.empty((256, 9), np.int64)
    count = 0
    for g in group_extents:
        for k in k_extents:
            for n in n_extents:
                if g > 1 and (k < nest.k or n < nest.n):
                    continue
                for spatial in range(num_spatial + len(map_extents) - 1):
                    if spatial < len(row_extents):
                        rows, width = row_extents[spatial], nest.out_width
                    elif spatial >= num_spatial:
                        rows, width = map_extents[spatial - num_spatial] * nest.out_rows, nest.out_width
                    else:
                        rows, width = 1, width_extents[spatial - len(row_extents) + 1]
                    for m_outer in range(2):
                        tiling = Tiling(g, rows, width, k, n, m_outer)
                        if not fits(nest, tiling, machine, capacity):
                            break
                        _, m_tiles, _, n_tiles = num_tiles(nest, tiling)
                        if m_outer and (m_tiles == 1 or n_tiles == 1):
                            break
                        if count == len(found):
                            grown = np.empty((2 * count, 9), np.int64)
                            grown[:count] = found
                            found = grown
                        bound, bytes_loaded = lower_bound(nest, tiling, machine)
                        row = found[count]
                        row[0], row[1], row[2], row[3], row[4], row[5] = g, rows, width, k, n, m_outer
                        row[BOUND], row[BYTES], row[COMMANDS] = bound, bytes_loaded, max_rows(nest, tiling)
                        count += 1
    return found[:count]


@jit
def search(nest: Nest, machine: Machine, capacity: Capacity, queue: Int64s, prune: bool) -> Int64s:
    """[10] best tiling's six fields, its cycles (−1: none fits), its load bytes, candidates, candidates timed.

    What is minimised is a cost linear in cycles and bytes (`Machine.cycle_cost`, `Machine.byte_cost`).
    """
    table = candidates(nest, machine, capacity)
    best = np.full(10, -1, np.int64)
    best[8], best[9] = len(table), 0
    if len(table) == 0:
        return best
    least = table[:, BOUND] * machine.cycle_cost + table[:, BYTES] * machine.byte_cost
    resolution = max(1, least.min() // RESOLUTION)
    order = np.argsort(table[:, COMMANDS], kind="mergesort")
    order = order[np.argsort(table[order, BYTES], kind="mergesort")]
    order = order[np.argsort(least[order] // resolution, kind="mergesort")]
    best_step, best_commands = 0, 0
    for index in order:
        row = table[index]
        step = least[index] // resolution
        if prune and best[6] >= 0:
            if step > best_step:
                break
            if step == best_step and (row[BYTES], row[COMMANDS]) >= (best[7], best_commands):
                continue
        tiling = Tiling(row[0], row[1], row[2], row[3], row[4], row[5])
        cycles = time_alone(nest, tiling, machine, queue)
        best[9] += 1
        step = (cycles * machine.cycle_cost + row[BYTES] * machine.byte_cost) // resolution
        if best[6] < 0 or (step, row[BYTES], row[COMMANDS]) < (best_step, best[7], best_commands):
            best[:6] = row[:6]
            best[6], best[7], best_step, best_commands = cycles, row[BYTES], step, row[COMMANDS]
    return best


def choose(nest: Nest, machine: Machine, capacity: Capacity, queue: Int64s, *, prune: bool = True) -> Choice | None:
    """The best tiling of a layer, or None if none fits.

    Args:
        queue: [units] DMA queues as in `Program.queue`.
        prune: False times every candidate (for tests).
    """
    best = search(nest, machine, capacity, queue, prune)
    if best[6] < 0:
        return None
    values = [int(value) for value in best]
    return Choice(Tiling(*values[:_FIELDS]), values[6], values[7], values[8], values[9])
