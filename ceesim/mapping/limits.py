"""What a layer may not exceed: counts that fit the 64 bits of the kernels, and a command stream that fits a computer.

A count is checked for the worst tiling there could be, each value loaded on its own and each MAC a fold of its own, so
that no kernel has to look at what it adds up. Commands are checked for the best: no tiling has fewer than the operands
fill the buffers.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Final

from ceesim.errors import MappingError
from ceesim.mapping.folds import one_step
from ceesim.mapping.tiles import MOST_COMMANDS, Nest
from ceesim.units import ceil_div

if TYPE_CHECKING:
    from ceesim.mapping.candidates import Capacity
    from ceesim.mapping.stream import Machine

LARGEST_COUNT: Final = (1 << 63) - (1 << 48)
"""Of anything that is counted in a layer, and of products on the way; the rest of 64 bits is for rounding up."""
MOST_TILINGS: Final = 1 << 28
"""More are not gone through."""


def check(nest: Nest, machine: Machine, capacity: Capacity) -> None:
    """Refuse a layer that no tiling could be found for in sound numbers and reasonable time.

    Raises:
        MappingError: if it takes more than `MOST_COMMANDS` under every tiling, if there are more than `MOST_TILINGS`
            to look at, or if its counts could exceed `LARGEST_COUNT`.
    """
    if _least_commands(nest, machine, capacity) > MOST_COMMANDS or _num_tilings(nest, machine) > MOST_TILINGS:
        raise beyond_commands(nest)
    if _largest_count(nest, machine, capacity) > LARGEST_COUNT:
        raise beyond_count(nest)


def beyond_count(nest: Nest, name: str | None = None) -> MappingError:
    """The refusal of a layer whose cycles, bytes or costs may not fit 64 bits."""
    return MappingError(
        f"{_named(name)} does more than can be counted in 64 bits",
        got=_size(nest),
        fix="run a smaller batch, split the layer, or write fewer cycles where the hardware waits",
    )


def beyond_commands(nest: Nest, name: str | None = None) -> MappingError:
    """The refusal of a layer that only too many tiles can be made of."""
    return MappingError(
        f"{_named(name)} needs too many tiles in these buffers",
        got=_size(nest),
        expected=f"at most {MOST_COMMANDS:,} commands, and {MOST_TILINGS:,} tilings to choose from",
        fix="enlarge the buffers, run a smaller batch, or split the layer",
    )


def _named(name: str | None) -> str:
    return "a layer" if name is None else f"op {name!r}"


def _size(nest: Nest) -> str:
    outputs = _pixels(nest) * nest.groups * nest.n
    many = f" in a batch of {nest.images:,}" if nest.images > 1 else ""
    return f"{outputs:,} results of {nest.k:,} MACs each{many}" if nest.has_macs else f"{outputs:,} results{many}"


def _pixels(nest: Nest) -> int:
    return nest.images * nest.out_rows * nest.out_width


def _largest_count(nest: Nest, machine: Machine, capacity: Capacity) -> int:
    """No less than any int that the kernels come across, whatever the tiling."""
    pixels, in_pixels = _pixels(nest), nest.images * nest.in_rows * nest.in_width
    outputs = nest.groups * pixels * nest.n
    macs = outputs * nest.k
    value_bits = max(machine.weight_bits, machine.activation_bits) + machine.psum_bits  # with a bias
    around = machine.setup_cycles + 2 * machine.dram_latency_cycles + 3 * machine.turnaround_cycles
    per_byte = ceil_div(machine.cycles_numerator, machine.cycles_denominator) + 1
    reach = max(nest.kernel_rows, nest.stride_rows) * max(nest.kernel_width, nest.stride_width)
    in_values = in_pixels * nest.in_channels
    loaded = (reach * (2 * macs + in_values) + nest.ofmap_bytes) * ceil_div(value_bits, 8)
    access_bits = max(machine.weight_access_bits, machine.activation_access_bits, machine.psum_access_bits)
    fold = machine.fold
    per_mac = max(one_step(fold), fold.rows, fold.cols, value_bits + access_bits)
    overhead = machine.layer_cycles + max(fold.overhead_cycles, 0) + MOST_COMMANDS * nest.drain_latency_cycles
    largest = max(in_values, nest.groups * nest.k * nest.n, outputs) * ceil_div(value_bits, 8)
    largest = min(largest, max(capacity.weight_bytes, capacity.activation_bytes))  # bytes of one command
    requests = min(in_pixels + pixels, 8 * largest) + ceil_div(largest, machine.request_bytes)
    totals = [nest.vector_ops, nest.vector_multiplies, nest.exponentials, nest.ofmap_bytes, nest.side_bytes]
    if not nest.has_macs:
        totals.append(nest.vector_reads)
    return max(
        macs * per_mac + loaded * (per_byte + around) + nest.vector_ops + overhead,  # cycles
        *(total % outputs * outputs for total in totals),  # of `part_of`
        *totals,
        pixels * pixels,
        requests * requests,
        machine.max_outstanding * largest * per_byte,
        nest.ofmap_bytes * max(machine.cycles_numerator, 8),
        nest.k * max(nest.in_channels, nest.n * value_bits) * nest.groups,
    )


def _least_commands(nest: Nest, machine: Machine, capacity: Capacity) -> int:
    """Commands that no tiling does without: each buffer is filled until all has passed through it."""
    needed = [(_pixels(nest) * nest.groups * nest.n * machine.psum_bits * nest.has_macs, capacity.psum_bytes)]
    if nest.weight_from_dram:
        bits = min(machine.activation_bits, machine.weight_bits)  # a product of two activations has no weights
        needed.append((nest.groups * nest.k * nest.n * bits, capacity.weight_bytes))
    if nest.ifmap_from_dram:  # a row or column of outputs reads at least one of the ifmap, if there is one
        read = nest.images * min(nest.in_rows, nest.out_rows) * min(nest.in_width, nest.out_width)
        needed.append((read * nest.in_channels * machine.activation_bits, capacity.activation_bytes))
    return max(bits // (8 * max(num_bytes, 1)) for bits, num_bytes in needed)


def _num_tilings(nest: Nest, machine: Machine) -> int:
    """About how many tilings `candidates` goes through."""

    def extents(size: int, unit: int = 1) -> int:
        return 2 * isqrt(ceil_div(size, unit)) + 1

    fold = machine.fold
    of_weights = extents(nest.k, fold.rows) * extents(nest.n, fold.cols) if nest.has_macs else 1
    spatial = extents(nest.out_rows) + extents(nest.out_width) + extents(nest.images)
    return (of_weights + extents(nest.groups)) * spatial
