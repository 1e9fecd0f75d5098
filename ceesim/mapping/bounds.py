"""What no schedule of a tiling can beat: array work, loads and drains, and the bytes that its loads move.

Many tilings have an operand's loads or the array work in common, so the parts are priced apart (`ifmap_loads`,
`weight_loads`, `mac_cycles`) and put together by `bound_of`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ceesim.mapping.macs import array_timing
from ceesim.mapping.stream import Machine, bytes_of, ceil_div, part_of, transfer
from ceesim.mapping.tiles import (
    Nest,
    Tiling,
    ifmap_runs,
    maps_per_tile,
    num_tiles,
    tile_depth,
    tile_rows,
    tile_width,
    weight_bits,
)
from ceesim.program.jit import jit


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
        last_vector = part_of(nest.vector_ops, last_outputs, outputs) // nest.drain_lanes
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
