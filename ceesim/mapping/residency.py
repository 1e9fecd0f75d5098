"""Which weights stay on chip between inputs, and what that leaves for tiles.

A pinned op's weights (biases included) are loaded once, before the first input, and take their size from the weight
buffer for good. Head weights have a buffer of their own and are pinned first. `auto` solves a knapsack: the DRAM
bytes an input is expected to save, which needs to know how many inputs get as far as each segment.

What is pinned is missing as room for the tiles of the others, which may cost more than it saves: small tiles load
ifmaps many times over. How much room to leave is not decided here: the compiler plans for each of `TILE_SHARES` and for
no pins at all, and keeps the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ceesim.errors import OptionError
from ceesim.hardware.model import Hardware, Residency
from ceesim.mapping.fusion import FusedLayer
from ceesim.mapping.nests import weight_bytes
from ceesim.units import ceil_div

TILE_SHARES: Final = (0, 1 / 16, 1 / 4, 1 / 2)
"""Parts of a buffer that may be left for tiles at least."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Ops whose weights are pinned, and the bytes left for the tiles of the others."""

    ops: frozenset[str]
    pinned_bytes: int
    weight_tile_bytes: int
    head_tile_bytes: int


def no_pins(hardware: Hardware) -> Pins:
    """Nothing stays: `residency: none`."""
    return Pins(frozenset(), 0, hardware.buffers.weight_bytes, hardware.buffers.head_bytes)


def pin(
    layers: Sequence[FusedLayer],
    hardware: Hardware,
    reach_rates: Sequence[float] | None,
    traffic_bytes: Mapping[str, int],
    tile_share: float = 0,
) -> Pins:
    """The pins of `hardware.residency`.

    Args:
        layers: all that are run, in execution order.
        reach_rates: [segments] share of inputs that get as far as each segment; needed by `auto` only.
        traffic_bytes: weight bytes that each main op loads per input while it is not pinned; needed by `auto` only.
        tile_share: part of each buffer to leave for tiles of what is not pinned; the smallest two tiles in any case.

    Raises:
        OptionError: if `auto` is asked for without rates.
    """
    buffers = hardware.buffers
    if hardware.residency is Residency.NONE:
        return no_pins(hardware)
    sizes = [(layer, weight_bytes(layer.main, hardware)) for layer in layers if layer.main.num_weights]
    array, precision = hardware.array, hardware.precision
    widest = max(precision.weight_bits, precision.activation_bits)  # an activation may stand in for a weight
    least = 2 * array.weight_tile_bytes(widest, precision.psum_bits)
    heads = [(layer.main.name, size) for layer, size in sizes if layer.is_head]
    backbone = [(layer.main.name, size) for layer, size in sizes if not layer.is_head]
    head_reserve, reserve = (max(least, int(tile_share * size)) for size in (buffers.head_bytes, buffers.weight_bytes))
    pinned_heads = _prefix(heads, buffers.head_bytes, head_reserve)
    if hardware.residency is Residency.PREFIX:
        pinned = _prefix(backbone, buffers.weight_bytes, reserve)
    elif reach_rates is None:
        raise OptionError(
            "residency: auto needs to know how many inputs take each exit",
            fix="pass --rates with the validation twin of the trace, or write residency: prefix",
        )
    else:
        segment_of = {layer.main.name: layer.segment for layer in layers}
        values = [reach_rates[segment_of[name] - 1] * traffic_bytes.get(name, 0) for name, _ in backbone]
        pinned = _knapsack(backbone, values, buffers.weight_bytes, reserve)
    weight_used = sum(size for name, size in backbone if name in pinned)
    head_used = sum(size for name, size in heads if name in pinned_heads)
    return Pins(
        ops=frozenset(pinned | pinned_heads),
        pinned_bytes=weight_used + head_used,
        weight_tile_bytes=buffers.weight_bytes - weight_used,
        head_tile_bytes=buffers.head_bytes - head_used,
    )


def _prefix(items: Sequence[tuple[str, int]], capacity: int, reserve: int) -> set[str]:
    """Items in order while they fit, leaving `reserve` bytes for tiles unless nothing is left over."""
    used, pinned = 0, set()
    for position, (name, size) in enumerate(items):
        left = 0 if position == len(items) - 1 else reserve
        if used + size + left > capacity:
            break
        used += size
        pinned.add(name)
    return pinned


def _knapsack(items: Sequence[tuple[str, int]], values: Sequence[float], capacity: int, reserve: int) -> set[str]:
    """The most valuable set of items that fits; exact on a grid of 4096 steps of the capacity, sizes rounded up."""
    if sum(size for _, size in items) <= capacity:
        return {name for name, _ in items}
    room = capacity - reserve
    if room <= 0:
        return set()
    step = ceil_div(room, 4096)
    slots = room // step
    best = np.zeros(slots + 1)
    taken = np.zeros((len(items), slots + 1), bool)
    for i, ((_, size), value) in enumerate(zip(items, values, strict=True)):
        weight = ceil_div(size, step)
        if weight > slots or value <= 0:
            continue
        with_item = best[: slots + 1 - weight] + value
        taken[i, weight:] = with_item > best[weight:]
        best[weight:] = np.maximum(best[weight:], with_item)
    pinned, left = set(), slots
    for i in range(len(items) - 1, -1, -1):
        if taken[i, left]:
            pinned.add(items[i][0])
            left -= ceil_div(items[i][1], step)
    return pinned
