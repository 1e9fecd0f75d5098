"""All tilings of a layer that fit the buffers, each with the bound that orders the search.

Candidates are the distinct tile *counts* per dimension (tiles of one count differ only in how uneven the last one
is), in both loop orders.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ceesim.mapping.bounds import bound_of, ifmap_loads, mac_cycles, weight_loads
from ceesim.mapping.stream import Machine, bytes_of, ceil_div, part_of
from ceesim.mapping.tiles import (
    MOST_COMMANDS,
    Nest,
    Tiling,
    maps_per_tile,
    max_rows,
    num_tiles,
    tile_channels,
    tile_depth,
    weight_bits,
)
from ceesim.program.command import Int64s
from ceesim.program.jit import jit

BOUND, BYTES, COMMANDS = 6, 7, 8
"""Columns of `candidates` behind the six fields of a tiling."""


class Capacity(NamedTuple):
    """Bytes a tiling may fill; both halves of the double buffers included."""

    weight_bytes: int
    psum_bytes: int
    activation_bytes: int


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
        size = nest.ofmap_bytes - part_of(nest.ofmap_bytes, total_outputs - outputs, total_outputs)  # rounded up
        needed += size if g_tiles * m_tiles * n_tiles == 1 else 2 * size
    return needed <= capacity.activation_bytes


@jit
def least_fits(nest: Nest, machine: Machine, capacity: Capacity) -> bool:
    """Whether the smallest tile fits, however many of it there are."""
    k, n = min(nest.k, machine.fold.rows), min(nest.n, machine.fold.cols)
    if not nest.has_macs:
        k, n = nest.k, nest.n
    return fits(nest, Tiling(1, 1, 1, k, n, 0), machine, capacity)


@jit
def most_needed(nest: Nest, machine: Machine) -> tuple[int, int, int]:
    """Bytes of weights, psums and activations beyond which more room admits no other tiling: every tile twice."""
    bits = nest.groups * nest.n * (nest.k * weight_bits(nest, machine) + nest.bias_bits)
    outputs = nest.groups * nest.images * nest.out_rows * nest.out_width * nest.n
    channels = nest.groups * ceil_div(nest.in_channels, nest.groups)
    ifmap = bytes_of(nest.images * nest.in_rows * nest.in_width * channels, machine.activation_bits)
    return 2 * ceil_div(bits, 8), 2 * bytes_of(outputs, machine.psum_bits), 2 * (ifmap + nest.ofmap_bytes)


@jit
def candidates(nest: Nest, machine: Machine, capacity: Capacity) -> Int64s:
    """[candidates, 9] all tilings that fit: the six fields of `Tiling`, lower bound, bytes loaded, commands at most.

    Tilings of more than `MOST_COMMANDS` are left out.
    """
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
                    if max_rows(nest, tiling) > MOST_COMMANDS or not fits(nest, tiling, machine, capacity):
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
