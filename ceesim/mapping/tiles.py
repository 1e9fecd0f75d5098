"""A layer as a loop nest, a tile of it, and which bytes of its operands a tile touches.

A batch is more rows: its maps lie one after the other, and a tile is a piece of one map or a number of whole maps. No
tile crosses the border of a map half-way, so every band is that of a single map, and a batch can always be tiled as
its inputs one by one. Weights are the same for all maps.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ceesim.mapping.stream import (
    PENDING_OFFSET,
    PENDING_PIXELS,
    PENDING_RUN_BYTES,
    PENDING_STRIDE,
    SOURCE,
    Machine,
    bytes_of,
    ceil_div,
    locate,
    part_of,
)
from ceesim.program.command import Amount, Int64s
from ceesim.program.jit import jit

IFMAP_DRAM = int(Amount.IFMAP_DRAM_BYTES)
MOST_COMMANDS: Final = 1 << 22
"""Of one layer: tilings of more are not looked at, for they take gigabytes to write down and minutes to compare."""


class Nest(NamedTuple):
    """A layer's loop bounds, the geometry of its ifmap, and where its operands live."""

    has_macs: int
    mac_unit: int
    mac_lanes: int
    """MACs per cycle of a unit other than the array; 0 on the array."""
    own_sums: int
    """Whether the sums are one input's scores in the exit unit, which holds them until it has decided, and not in the
    psum buffer."""
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
def share(total: int, before: int, now: int, whole: int) -> int:
    """The part of `total` that belongs to `now` of `whole` units after `before`; the parts sum to `total` exactly."""
    return part_of(total, before + now, whole) - part_of(total, before, whole)


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
    first = part_of(kept, first_pixel, pixels)
    cursor[PENDING_OFFSET] = first * pixel_bytes + channel * machine.activation_bits // 8
    cursor[PENDING_RUN_BYTES] = bytes_of(channels, machine.activation_bits)
    cursor[PENDING_PIXELS] = part_of(kept, first_pixel + m, pixels) - first
    cursor[PENDING_STRIDE] = pixel_bytes


@jit
def weight_bits(nest: Nest, machine: Machine) -> int:
    """Bits of a value of the right operand, which is an activation in a product of two activations."""
    return machine.activation_bits if nest.weight_dram_amount == IFMAP_DRAM else machine.weight_bits
