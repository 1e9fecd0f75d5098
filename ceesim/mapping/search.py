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

from ceesim.mapping.loops import emit
from ceesim.mapping.macs import array_timing
from ceesim.mapping.stream import (
    AMOUNTS,
    LATENCY,
    NONE,
    OCCUPANCY,
    ROW,
    UNIT,
    WAITS,
    Machine,
    Place,
    bytes_of,
    ceil_div,
    flush_store,
    new_cursor,
    new_stream,
    transfer,
)
from ceesim.mapping.tiles import (
    Nest,
    Tiling,
    ifmap_runs,
    maps_per_tile,
    max_rows,
    num_tiles,
    span,
    tile_channels,
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
def alike(size: int, extent: int, is_edge: int) -> tuple[int, int]:
    """(extent, count) of the whole tiles along a dimension; with `is_edge` of the smaller last one, if there is one."""
    if is_edge:
        rest = size % extent
        return rest, min(rest, 1)
    return extent, size // extent


@jit
def mac_cycles(nest: Nest, tiling: Tiling, machine: Machine) -> tuple[int, int, int]:
    """(occupancy of the MAC unit for the whole layer, latency of its first tile, latency of its last tile)."""
    if not nest.has_macs:
        return 0, 0, 0
    if nest.mac_lanes:
        macs = nest.groups * nest.images * nest.out_rows * nest.out_width * nest.k * nest.n
        return ceil_div(macs, nest.mac_lanes), nest.drain_latency_cycles, nest.drain_latency_cycles
    total, first, last = 0, 0, 0
    most_maps, most_rows = maps_per_tile(nest, tiling), min(tiling.rows, nest.out_rows)
    for g_edge in range(2):
        groups, g_count = alike(nest.groups, tiling.groups, g_edge)
        for map_edge in range(2 if g_count else 0):
            maps, map_count = alike(nest.images, most_maps, map_edge)
            for row_edge in range(2 if map_count else 0):
                rows, row_count = alike(nest.out_rows, most_rows, row_edge)
                for width_edge in range(2 if row_count else 0):
                    width, width_count = alike(nest.out_width, tiling.width, width_edge)
                    m, m_count = maps * rows * width, map_count * row_count * width_count
                    for k_edge in range(2 if width_count else 0):
                        k, k_count = alike(nest.k, tiling.k, k_edge)
                        for n_edge in range(2 if k_count else 0):
                            n, n_count = alike(nest.n, tiling.n, n_edge)
                            if n_count:
                                _, _, occupancy, last = array_timing(machine.fold, groups, m, k, n)
                                total += g_count * m_count * k_count * n_count * occupancy
                                if first == 0:
                                    first = last
    return total, first, last


@jit
def tile_rows(nest: Nest, tiling: Tiling, tile: int) -> int:
    """Ifmap rows of one map that a tile loads, counted along the rows."""
    first = tile * tiling.rows
    rows = min(tiling.rows, nest.out_rows - first)
    return span(first, rows, nest.stride_rows, nest.kernel_rows, nest.pad_rows, nest.in_rows)


@jit
def tile_width(nest: Nest, tiling: Tiling, tile: int) -> int:
    """Ifmap columns that a tile loads, counted along the width."""
    first = tile * tiling.width
    width = min(tiling.width, nest.out_width - first)
    return span(first, width, nest.stride_width, nest.kernel_width, nest.pad_width, nest.in_width)


@jit
def tile_depth(nest: Nest, tiling: Tiling, groups: int, tile: int) -> int:
    """Channels of `groups` groups that a tile loads, counted along k."""
    first = tile * tiling.k
    return tile_channels(nest, groups, first, min(tiling.k, nest.k - first))


class Loads(NamedTuple):
    """What the loads of one operand cost if each of its tiles is loaded once."""

    num_bytes: int
    busy_cycles: int
    first_latency: int
    """Of the first tile."""
    beyond_cycles: int
    """The least by which a load's latency exceeds its occupancy."""


NO_LOADS: Final = Loads(0, 0, 0, 1 << 62)


@jit
def loads_of_maps(nest: Nest, tiling: Tiling, machine: Machine, groups: int, maps: int) -> Loads:
    """Of all ifmap tiles of `groups` and of `maps` maps that tiles take together.

    They are many, but alike but for padding and edges: a run of equal ones is priced once.
    """
    k_tiles = ceil_div(nest.k, tiling.k)
    row_tiles, width_tiles = ceil_div(nest.out_rows, tiling.rows), ceil_div(nest.out_width, tiling.width)
    total, busy, first, beyond = NO_LOADS
    row_tile = 0
    while row_tile < row_tiles:
        in_rows, next_row = tile_rows(nest, tiling, row_tile), row_tile + 1
        while next_row < row_tiles and tile_rows(nest, tiling, next_row) == in_rows:
            next_row += 1
        width_tile = 0
        while width_tile < width_tiles:
            in_width, next_width = tile_width(nest, tiling, width_tile), width_tile + 1
            while next_width < width_tiles and tile_width(nest, tiling, next_width) == in_width:
                next_width += 1
            k_tile = 0
            while k_tile < k_tiles:
                channels, next_k = tile_depth(nest, tiling, groups, k_tile), k_tile + 1
                while next_k < k_tiles and tile_depth(nest, tiling, groups, next_k) == channels:
                    next_k += 1
                size = max(bytes_of(maps * in_rows * in_width * channels, machine.activation_bits), 1)
                runs = ifmap_runs(nest, maps, in_rows, in_width, channels)
                occupancy, latency, _, _ = transfer(machine, size, runs, True)
                times = (next_row - row_tile) * (next_width - width_tile) * (next_k - k_tile)
                total += times * size
                busy += times * occupancy
                beyond = min(beyond, latency - occupancy)
                if first == 0:
                    first = latency
                k_tile = next_k
            width_tile = next_width
        row_tile = next_row
    return Loads(total, busy, first, beyond)


@jit
def ifmap_loads(nest: Nest, tiling: Tiling, machine: Machine) -> Loads:
    """Of the ifmap."""
    if not nest.ifmap_from_dram:
        return NO_LOADS
    total, busy, first, beyond = NO_LOADS
    most_maps = maps_per_tile(nest, tiling)
    for g_edge in range(2):
        groups, g_count = alike(nest.groups, tiling.groups, g_edge)
        for map_edge in range(2 if g_count else 0):
            maps, map_count = alike(nest.images, most_maps, map_edge)
            if map_count:
                each = loads_of_maps(nest, tiling, machine, groups, maps)
                total += g_count * map_count * each.num_bytes
                busy += g_count * map_count * each.busy_cycles
                beyond = min(beyond, each.beyond_cycles)
                first = each.first_latency if first == 0 else first
    return Loads(total, busy, first, beyond)


@jit
def weight_loads(nest: Nest, tiling: Tiling, machine: Machine) -> Loads:
    """Of the weights; it does not depend on rows and width."""
    if not nest.weight_from_dram:
        return NO_LOADS
    bits = weight_bits(nest, machine)
    total, busy, first, beyond = NO_LOADS
    for g_edge in range(2):
        groups, g_count = alike(nest.groups, tiling.groups, g_edge)
        for k_edge in range(2 if g_count else 0):
            k, k_count = alike(nest.k, tiling.k, k_edge)
            for n_edge in range(2 if k_count else 0):
                n, n_count = alike(nest.n, tiling.n, n_edge)
                # one k tile of all carries the biases
                with_bias = 0 if k_edge and tiling.k < nest.k else g_count * n_count
                for carries in range(2):
                    times = with_bias if carries else g_count * k_count * n_count - with_bias
                    if times == 0:
                        continue
                    size = ceil_div(groups * k * n * bits + (groups * n * nest.bias_bits if carries else 0), 8)
                    occupancy, latency, _, _ = transfer(machine, size, 1, True)
                    total += times * size
                    busy += times * occupancy
                    beyond = min(beyond, latency - occupancy)
                    if carries and first == 0:
                        first = latency
    return Loads(total, busy, first, beyond)


@jit
def passes(nest: Nest, tiling: Tiling) -> tuple[int, int]:
    """How often each tile of the ifmap and of the weights is loaded."""
    g_tiles, m_tiles, k_tiles, n_tiles = num_tiles(nest, tiling)
    ifmap, weight = n_tiles, m_tiles
    if (k_tiles == 1 and (tiling.m_outer or m_tiles == 1)) or g_tiles * m_tiles * k_tiles == 1:
        ifmap = 1
    if (k_tiles == 1 and (not tiling.m_outer or n_tiles == 1)) or g_tiles * k_tiles * n_tiles == 1:
        weight = 1
    return ifmap, weight


@jit
def lower_bound(nest: Nest, tiling: Tiling, machine: Machine) -> tuple[int, int]:
    """(cycles that no schedule of this tiling can beat, DRAM bytes of its loads).

    Whichever unit is the busiest must work off all it has to, after the first tile has reached it and before the last
    tile has passed the units behind it.
    """
    ifmap, weight = ifmap_loads(nest, tiling, machine), weight_loads(nest, tiling, machine)
    return bound_of(nest, tiling, machine, ifmap, weight, mac_cycles(nest, tiling, machine))


@jit
def bound_of(
    nest: Nest, tiling: Tiling, machine: Machine, ifmap: Loads, weight: Loads, mac_times: tuple[int, int, int]
) -> tuple[int, int]:
    """`lower_bound` of parts that many tilings have in common."""
    ifmap_passes, weight_passes = passes(nest, tiling)
    num_bytes = ifmap_passes * ifmap.num_bytes + weight_passes * weight.num_bytes
    loading = ifmap_passes * ifmap.busy_cycles + weight_passes * weight.busy_cycles
    first_load = max(ifmap.first_latency, weight.first_latency)
    beyond = min(ifmap.beyond_cycles, weight.beyond_cycles) if nest.ifmap_from_dram or nest.weight_from_dram else 0
    outputs = nest.groups * nest.images * nest.out_rows * nest.out_width * nest.n
    last_outputs = edge(nest.groups, tiling.groups) * edge(nest.images, maps_per_tile(nest, tiling))
    last_outputs *= edge(nest.out_rows, min(tiling.rows, nest.out_rows))
    last_outputs *= edge(nest.out_width, tiling.width) * edge(nest.n, tiling.n)
    vector, last_vector = 0, 0
    if nest.drain_lanes:
        vector = ceil_div(nest.vector_ops, nest.drain_lanes)
        last_vector = nest.vector_ops * last_outputs // outputs // nest.drain_lanes
    macs, first_mac, last_mac = mac_times
    setup = machine.layer_cycles
    if nest.has_macs:
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
def weights_fit(nest: Nest, groups: int, k: int, n: int, machine: Machine, capacity: Capacity) -> bool:
    """Whether weight tiles of `groups` × `k` × `n` fit, biases and the other half of the double buffer included."""
    if not nest.weight_from_dram:
        return True
    bits = groups * k * n * weight_bits(nest, machine) + groups * n * nest.bias_bits
    return 2 * ceil_div(bits, 8) <= capacity.weight_bytes


@jit
def fits(nest: Nest, tiling: Tiling, machine: Machine, capacity: Capacity) -> bool:
    """Whether a tile and its double fit each buffer; an operand that is one single tile needs no double."""
    if not weights_fit(nest, tiling.groups, tiling.k, tiling.n, machine, capacity):
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
            channels = max(channels, tile_depth(nest, tiling, tiling.groups, k_tile))
        size = bytes_of(in_rows * min(in_width, nest.in_width) * channels, machine.activation_bits)
        needed += size if g_tiles * m_tiles * k_tiles == 1 else 2 * size
    if nest.ofmap_to_dram:
        total_outputs = nest.groups * nest.images * nest.out_rows * nest.out_width * nest.n
        outputs = tiling.groups * tiling.rows * tiling.width * tiling.n
        size = ceil_div(nest.ofmap_bytes * outputs, total_outputs)
        needed += size if g_tiles * m_tiles * n_tiles == 1 else 2 * size
    return needed <= capacity.activation_bytes


@jit
def most_needed(nest: Nest, machine: Machine) -> tuple[int, int, int]:
    """Bytes of weights, psums and activations beyond which more room admits no other tiling: every tile twice."""
    bits = nest.groups * nest.n * (nest.k * weight_bits(nest, machine) + nest.bias_bits)
    outputs = nest.groups * nest.images * nest.out_rows * nest.out_width * nest.n
    channels = nest.groups * ceil_div(nest.in_channels, nest.groups)
    ifmap = bytes_of(nest.images * nest.in_rows * nest.in_width * channels, machine.activation_bits)
    return 2 * ceil_div(bits, 8), 2 * bytes_of(outputs, machine.psum_bits), 2 * (ifmap + nest.ofmap_bytes)


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
                if not weights_fit(nest, g, k, n, machine, capacity):
                    continue
                weight = weight_loads(nest, Tiling(g, 1, 1, k, n, 0), machine)
                for spatial in range(num_spatial + len(map_extents) - 1):
                    if spatial < len(row_extents):
                        rows, width = row_extents[spatial], nest.out_width
                    elif spatial >= num_spatial:
                        rows, width = map_extents[spatial - num_spatial] * nest.out_rows, nest.out_width
                    else:
                        rows, width = 1, width_extents[spatial - len(row_extents) + 1]
                    tiling = Tiling(g, rows, width, k, n, 0)
                    if not fits(nest, tiling, machine, capacity):
                        continue
                    ifmap, mac_times = ifmap_loads(nest, tiling, machine), mac_cycles(nest, tiling, machine)
                    _, m_tiles, _, n_tiles = num_tiles(nest, tiling)
                    for m_outer in range(2 if m_tiles > 1 and n_tiles > 1 else 1):
                        if count == len(found):
                            grown = np.empty((2 * count, 9), np.int64)
                            grown[:count] = found
                            found = grown
                        tiling = Tiling(g, rows, width, k, n, m_outer)
                        bound, bytes_loaded = bound_of(nest, tiling, machine, ifmap, weight, mac_times)
                        row = found[count]
                        row[0], row[1], row[2], row[3], row[4], row[5] = g, rows, width, k, n, m_outer
                        row[BOUND], row[BYTES], row[COMMANDS] = bound, bytes_loaded, max_rows(nest, tiling)
                        count += 1
    return found[:count]


@jit
def tiling_of(row: Int64s) -> Tiling:
    """The tiling that a row of `candidates` stands for."""
    return Tiling(row[0], row[1], row[2], row[3], row[4], row[5])


@jit
def foremost(table: Int64s, steps: Int64s) -> int:
    """The candidate that `in_order` puts first."""
    first = 0
    for i in range(1, len(table)):
        row, other = table[i], table[first]
        if (steps[i], row[BYTES], row[COMMANDS]) < (steps[first], other[BYTES], other[COMMANDS]):
            first = i
    return first


@jit
def in_order(table: Int64s, steps: Int64s, order: Int64s) -> Int64s:
    """The candidates of `order`: those of the least step first, then of the fewest bytes, then commands."""
    order = order[np.argsort(table[order, COMMANDS], kind="mergesort")]
    order = order[np.argsort(table[order, BYTES], kind="mergesort")]
    return order[np.argsort(steps[order], kind="mergesort")]


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
    steps = least // resolution
    order, first, first_cycles = np.arange(len(table)), -1, 0
    if prune:  # once the foremost is timed, only the few that may be as soon are worth putting in order
        first = foremost(table, steps)
        first_cycles = time_alone(nest, tiling_of(table[first]), machine, queue)
        latest = (first_cycles * machine.cycle_cost + table[first, BYTES] * machine.byte_cost) // resolution
        order = np.flatnonzero(steps <= latest)
    best_step, best_commands = 0, 0
    for index in in_order(table, steps, order):
        row, step = table[index], steps[index]
        if prune and best[6] >= 0:
            if step > best_step:
                break
            if step == best_step and (row[BYTES], row[COMMANDS]) >= (best[7], best_commands):
                continue
        cycles = first_cycles if index == first else time_alone(nest, tiling_of(row), machine, queue)
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
