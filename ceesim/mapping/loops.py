"""The loop nest of one layer, lowered to commands: which tile is loaded, computed, drained and stored, after whom.

This is the only place that knows the order of tiles. The mapper times candidates with it and the compiler emits
programs with it, so what was chosen is what runs. All kernels are integer arithmetic on flat records, compiled
by numba.

Loop order: groups, then n outer / m inner or the reverse, k innermost; partial sums therefore never leave the chip. A
tile is loaded when it is not the one already held, into the other half of its double buffer.
"""

from __future__ import annotations

from ceesim.mapping.macs import PSUM_READ, psum_bytes, put_macs
from ceesim.mapping.stream import (
    ACTIVATION_READ,
    DRAINED,
    HEAD_HALF,
    HEAD_USER,
    IFMAP_HALF,
    IFMAP_USER,
    LAST_STORE,
    LAST_VECTOR,
    NONE,
    PENDING,
    PENDING_BYTES,
    PENDING_GATE,
    PENDING_LAYER,
    PENDING_OFFSET,
    PENDING_PIXELS,
    PENDING_RUN_BYTES,
    PENDING_RUNS,
    PENDING_SEGMENT,
    PENDING_STRIDE,
    PENDING_TILE,
    STAGED,
    UNIT,
    WAITS,
    WEIGHT,
    WEIGHT_HALF,
    WEIGHT_USER,
    Machine,
    Place,
    account,
    bytes_of,
    ceil_div,
    flush_store,
    locate,
    part_of,
    put,
    put_transfer,
)
from ceesim.mapping.tiles import (
    IFMAP_DRAM,
    Nest,
    Tiling,
    first_channel,
    first_weight_byte,
    ifmap_runs,
    locate_ifmap,
    locate_ofmap,
    maps_per_tile,
    num_tiles,
    share,
    span,
    tile_channels,
    weight_bits,
)
from ceesim.program.command import Amount, Int64s
from ceesim.program.jit import jit

HEAD_WEIGHT_DRAM = int(Amount.HEAD_WEIGHT_DRAM_BYTES)
VECTOR_OPS = int(Amount.VECTOR_OPS)
ACTIVATION_WRITE = int(Amount.ACTIVATION_BUFFER_WRITE_BYTES)
DRAINED_PSUMS = int(Amount.DRAINED_PSUMS)
VECTOR_MULTIPLIES = int(Amount.VECTOR_MULTIPLIES)
EXPONENTIALS = int(Amount.EXPONENTIALS)


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
                stream[ifmap_row, WAITS + 4] = place.cleared
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
            if k_tile == 0 and not nest.own_sums:
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
            if place.cleared != NONE and stream[place.cleared, UNIT] != nest.drain_unit:
                stream[drain, WAITS + 3] = place.cleared
            elif place.released != NONE and stream[place.released, UNIT] != nest.drain_unit:
                stream[drain, WAITS + 3] = place.released
        elif nest.ofmap_to_dram:
            stream[drain, WAITS + 2] = cursor[STAGED]
        side_bytes = share(nest.side_bytes, outputs, now, total_outputs)
        account(stream, drain, ACTIVATION_WRITE, ofmap_bytes + side_bytes)
        if nest.has_macs and not nest.own_sums:
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
                cursor[PENDING_OFFSET] = part_of(nest.ofmap_bytes, outputs, total_outputs)
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
