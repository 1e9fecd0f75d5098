"""The MACs of one tile as a command: how long the array, or the lanes of another unit, take, and what they access."""

from __future__ import annotations

from ceesim.hardware.profiles import Law
from ceesim.mapping.folds import FoldTiming, tile_timing
from ceesim.mapping.stream import ACTIVATION_READ, Machine, Place, account, bytes_of, ceil_div, put
from ceesim.mapping.tiles import IFMAP_DRAM, Nest, weight_bits
from ceesim.program.command import Amount, Int64s
from ceesim.program.jit import jit

MACS = int(Amount.MACS)
FOLDS = int(Amount.FOLDS)
FOLD_PES = int(Amount.FOLD_PES)
PSUM_READ = int(Amount.PSUM_BUFFER_READ_BYTES)
PSUM_WRITE = int(Amount.PSUM_BUFFER_WRITE_BYTES)
IFMAP_HOPS = int(Amount.IFMAP_HOPS)
WEIGHT_HOPS = int(Amount.WEIGHT_HOPS)
PSUM_HOPS = int(Amount.PSUM_HOPS)
PRODUCT_MACS = int(Amount.PRODUCT_MACS)
PRODUCT_FOLD_PES = int(Amount.PRODUCT_FOLD_PES)

STATIONARY_OS, STATIONARY_WS, STATIONARY_IS = 0, 1, 2
IDEAL = int(Law.IDEAL)

tile_timing_kernel = jit(tile_timing)


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
    if nest.own_sums:
        return 0
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
    is_product = nest.weight_dram_amount == IFMAP_DRAM
    if is_product:
        account(stream, row, PRODUCT_MACS, groups * m * k * n)
        account(stream, row, PRODUCT_FOLD_PES, fold_pes)
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
    account(stream, row, IFMAP_HOPS if is_product else WEIGHT_HOPS, weight_hops)
    account(stream, row, PSUM_HOPS, psum_hops)
    account(stream, row, ACTIVATION_READ, ifmap_read)
    account(stream, row, nest.weight_read_amount, weight_read)
    written = groups * psum_bytes(nest, machine, m, n)
    account(stream, row, PSUM_WRITE, written * k_folds)
    account(stream, row, PSUM_READ, written * (k_folds - (1 if first_k else 0)))
    return row
