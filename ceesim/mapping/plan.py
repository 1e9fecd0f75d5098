"""Where every map lives and how every layer is tiled.

Layers are planned in execution order. A layer's result stays in the activation buffer if there is room beside every
map that is still to be read (residual branches included), else it goes to DRAM and comes back in double-buffered
bands. If a layer then finds no tiling at all, the largest map that only waits there is sent to DRAM and planning
starts over.

Of a batch every map is there once per input; behind an exit only the maps of those that are left.

Tiles are chosen by the rule of the flat memory, under `dram.model: banked` as well: there the Program that comes of
them is timed again (`banked`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ceesim.errors import MappingError
from ceesim.hardware.model import Hardware
from ceesim.mapping.candidates import Capacity, most_needed
from ceesim.mapping.fusion import FusedLayer
from ceesim.mapping.nests import Operands, nest_of
from ceesim.mapping.residency import Pins
from ceesim.mapping.search import Choice, choose
from ceesim.mapping.stream import Machine
from ceesim.mapping.tiles import Nest
from ceesim.program.command import Amount
from ceesim.units import ceil_div, format_bytes


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """A layer with its loop nest, its tiling, and which of its sources come from DRAM."""

    layer: FusedLayer
    nest: Nest
    choice: Choice
    from_dram: tuple[bool, ...]


def plan(
    layers: Sequence[FusedLayer],
    output: str,
    hardware: Hardware,
    machine: Machine,
    queue: tuple[int, ...],
    pins: Pins,
    batch: Sequence[int],
) -> tuple[PlannedLayer, ...]:
    """Place and tile all `layers`.

    Args:
        output: the tensor that must end in DRAM, the final logits.
        batch: [segments] inputs that run each segment, never growing.

    Raises:
        MappingError: if a layer fits under no tiling, with what it needs and what there is.
    """
    sent_away: set[str] = set()
    while True:
        planned = _attempt(layers, output, hardware, machine, queue, pins, batch, sent_away)
        if isinstance(planned, tuple):
            return planned
        sent_away.add(planned)


def _attempt(
    layers: Sequence[FusedLayer],
    output: str,
    hardware: Hardware,
    machine: Machine,
    queue: tuple[int, ...],
    pins: Pins,
    batch: Sequence[int],
    sent_away: set[str],
) -> tuple[PlannedLayer, ...] | str:
    """The plan, or the map that must go to DRAM for one to exist."""
    bits = hardware.precision.activation_bits

    def bytes_of(elements: int) -> int:
        return ceil_div(images * elements * bits, 8)

    last_use = {source: i for i, layer in enumerate(layers) for source in layer.sources}
    held: dict[str, int] = {}  # elements of one input's map
    planned: list[PlannedLayer] = []
    for i, layer in enumerate(layers):
        images = batch[layer.segment - 1]
        from_dram = tuple(source not in held for source in layer.sources)
        ofmap_bytes = bytes_of(layer.output_elements)
        side_bytes = sum(bytes_of(size) for _, size in layer.side_outputs)
        free = hardware.buffers.activation_bytes - sum(map(bytes_of, held.values())) - side_bytes
        is_logits = layer.output not in last_use and layer.output != output  # read by the exit unit as they drain
        choice = None
        for to_dram in (False, True):
            if (to_dram and is_logits) or (not to_dram and (layer.output == output or layer.output in sent_away)):
                continue
            room = free if to_dram or is_logits else free - ofmap_bytes
            nest = nest_of(layer, hardware, Operands(from_dram, layer.main.name in pins.ops, to_dram), images)
            capacity = _capacity(nest, machine, hardware, pins, room)
            choice = _choose(nest, machine, capacity, queue) if room >= 0 else None
            if choice is not None:
                break
        if choice is None:
            idle = {name: size for name, size in held.items() if name not in layer.sources}
            victims = idle or {name: held[name] for name in layer.sources if name in held}
            victims = {name: size for name, size in victims.items() if name not in _side_names(layers)}
            if not victims:
                raise _does_not_fit(layer, hardware, pins, free, images)
            return max(victims, key=lambda name: (victims[name], name))
        planned.append(PlannedLayer(layer, nest, choice, from_dram))
        if not nest.ofmap_to_dram and not is_logits:
            held[layer.output] = layer.output_elements
        held.update(layer.side_outputs)
        held = {name: size for name, size in held.items() if last_use.get(name, -1) > i}
    return tuple(planned)


def _side_names(layers: Sequence[FusedLayer]) -> set[str]:
    return {name for layer in layers for name, _ in layer.side_outputs}


def _capacity(nest: Nest, machine: Machine, hardware: Hardware, pins: Pins, room: int) -> Capacity:
    """Bytes the layer's tiles may fill.

    Room that a nest has no use for is left out: buffers that differ in nothing else then give the same search.
    """
    is_head = nest.weight_dram_amount == Amount.HEAD_WEIGHT_DRAM_BYTES
    tile_bytes = pins.head_tile_bytes if is_head else pins.weight_tile_bytes
    weights, psums, activations = most_needed(nest, machine)
    return Capacity(
        weight_bytes=min(tile_bytes, weights) if nest.weight_from_dram else 0,
        psum_bytes=min(hardware.buffers.psum_bytes, psums) if nest.has_macs else 0,
        activation_bytes=min(room, activations) if nest.ifmap_from_dram or nest.ofmap_to_dram else 0,
    )


@lru_cache(maxsize=4096)
def _choose(nest: Nest, machine: Machine, capacity: Capacity, queue: tuple[int, ...]) -> Choice | None:
    return choose(nest, machine, capacity, np.array(queue, np.int64))


def _does_not_fit(layer: FusedLayer, hardware: Hardware, pins: Pins, free: int, images: int) -> MappingError:
    buffers, array = hardware.buffers, hardware.array
    tile_bytes = pins.head_tile_bytes if layer.is_head else pins.weight_tile_bytes
    which = "head" if layer.is_head else "weight"
    many = f" for a batch of {images}" if images > 1 else ""
    return MappingError(
        f"op {layer.main.name!r} ({layer.kind}) fits the buffers under no tiling{many}",
        where=hardware.name,
        got=f"{format_bytes(tile_bytes)} for {which} tiles, {format_bytes(buffers.psum_bytes)} for psums, "
        f"{format_bytes(max(free, 0))} of {format_bytes(buffers.activation_bytes)} for bands of maps",
        expected=f"room for two tiles of at least {array.rows} × {array.cols} weights and their biases, their psums, "
        "and two bands of the ifmap and ofmap",
        fix=f"enlarge buffers.{which}, buffers.psum or buffers.activation, "
        + ("shrink the array, or run a smaller batch" if images > 1 else "or shrink the array"),
    )
