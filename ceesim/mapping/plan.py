"""Where every map lives and how every layer is tiled.

Layers are planned in execution order. A layer's result stays in the activation buffer if there is room beside every
map that is still to be read (residual branches included), else it goes to DRAM and comes back in double-buffered
bands. If a layer then finds no tiling at all, the largest map that only waits there is sent to DRAM and planning
starts over.

A map that stays may leave others so little room that their weights or ifmaps are loaded many times over. Maps beside
which a layer is much dearer than it were alone are therefore sent away on trial, one after the other, and stay away
where that is cheaper for the whole network, by the rule of the mapper.

Of a batch every map is there once per input; behind an exit only the maps of those that are left.

Tiles are chosen by the rule of the flat memory, under `dram.model: banked` as well: there the Program that comes of
them is timed again (`banked`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ceesim.errors import MappingError
from ceesim.hardware.model import Hardware
from ceesim.mapping.candidates import Capacity, most_needed
from ceesim.mapping.fusion import FusedLayer
from ceesim.mapping.machine import action_costs
from ceesim.mapping.nests import Operands, nest_of
from ceesim.mapping.residency import Pins
from ceesim.mapping.search import RESOLUTION, Choice, choose
from ceesim.mapping.stream import Machine
from ceesim.mapping.tiles import Nest
from ceesim.program.command import Amount
from ceesim.units import ceil_div, format_bytes


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """A layer with its loop nest, its tiling, and which of its sources come from DRAM.

    Args:
        held: bytes of the maps that are in the activation buffer meanwhile, its own results that stay there included.
        bands_bytes: room there that its bands may take.
        beside: those of `held` that leave its bands less room than they could use.
        alone: the tiling it would have without them; `choice` if there are none.
    """

    layer: FusedLayer
    nest: Nest
    choice: Choice
    from_dram: tuple[bool, ...]
    held: Mapping[str, int]
    bands_bytes: int
    beside: tuple[str, ...]
    alone: Choice

    @property
    def dram_bytes(self) -> int:
        """Loaded and stored."""
        return self.choice.dram_bytes + (self.nest.ofmap_bytes if self.nest.ofmap_to_dram else 0)


def expected_cost(planned: Sequence[PlannedLayer], reach: Sequence[float]) -> float:
    """What an input pays on average, layer by layer, if it gets as far as segment i with probability `reach[i-1]`."""
    return sum(reach[part.layer.segment - 1] * part.choice.cost for part in planned)


def expected_bytes(planned: Sequence[PlannedLayer], reach: Sequence[float]) -> float:
    """Bytes from and to DRAM, likewise."""
    return sum(reach[part.layer.segment - 1] * part.dram_bytes for part in planned)


def plan(
    layers: Sequence[FusedLayer],
    output: str,
    hardware: Hardware,
    machine: Machine,
    queue: tuple[int, ...],
    pins: Pins,
    batch: Sequence[int],
    reach: Sequence[float],
) -> tuple[PlannedLayer, ...]:
    """Place and tile all `layers`.

    Args:
        output: the tensor that must end in DRAM, the final logits.
        batch: [segments] inputs that run each segment, never growing.
        reach: [segments] share of inputs that get as far.

    Raises:
        MappingError: if a layer fits under no tiling, with what it needs and what there is.
    """

    def placed(away: frozenset[str]) -> tuple[tuple[PlannedLayer, ...], frozenset[str]]:
        while True:
            planned = _attempt(layers, output, hardware, machine, queue, pins, batch, away)
            if isinstance(planned, tuple):
                return planned, away
            away |= {planned}

    planned, away = placed(frozenset())
    tried: set[str] = set()
    while (name := _most_in_the_way(planned, reach, expected_cost(planned, reach) / RESOLUTION, tried)) is not None:
        tried.add(name)
        try:
            others, also_away = placed(away | {name})
        except MappingError:  # what fits beside it on chip need not fit its bands
            continue
        if expected_cost(others, reach) < expected_cost(planned, reach) * (1 - 1 / RESOLUTION):
            planned, away = others, also_away
    return planned


def _most_in_the_way(
    planned: Sequence[PlannedLayer], reach: Sequence[float], least: float, tried: set[str]
) -> str | None:
    """The map beside which layers cost most more than alone; None if that is below `least` for all that are untried."""
    lost: dict[str, float] = {}
    for part in planned:
        loss = reach[part.layer.segment - 1] * (part.choice.cost - part.alone.cost)
        for name in part.beside:
            lost[name] = lost.get(name, 0) + loss
    worth = {name: loss for name, loss in lost.items() if name not in tried and loss > least}
    return max(worth, key=lambda name: worth[name], default=None)


def _attempt(
    layers: Sequence[FusedLayer],
    output: str,
    hardware: Hardware,
    machine: Machine,
    queue: tuple[int, ...],
    pins: Pins,
    batch: Sequence[int],
    sent_away: frozenset[str],
) -> tuple[PlannedLayer, ...] | str:
    """The plan, or the map that must go to DRAM for one to exist."""
    bits, costs = hardware.precision.activation_bits, action_costs(hardware)

    def bytes_of(elements: int) -> int:
        return ceil_div(images * elements * bits, 8)

    last_use = {source: i for i, layer in enumerate(layers) for source in layer.sources}
    pooled = _side_names(layers)
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
            nest = nest_of(
                layer, hardware, Operands(from_dram, layer.main.name in pins.ops, to_dram, is_logits), images
            )
            capacity = _capacity(nest, machine, hardware, pins, room)
            try:
                choice = _choose(nest, machine, capacity, queue, costs) if room >= 0 else None
            except MappingError as refusal:
                refusal.where = f"{hardware.name}: {layer.main.name}"
                raise
            if choice is not None:
                break
        if choice is None:
            idle = {name: size for name, size in held.items() if name not in layer.sources}
            victims = idle or {name: held[name] for name in layer.sources if name in held}
            victims = {name: size for name, size in victims.items() if name not in pooled}
            if not victims:
                raise _does_not_fit(layer, hardware, pins, free, images)
            return max(victims, key=lambda name: (victims[name], name))
        beside, alone = tuple(name for name in held if name not in pooled), choice
        stays = not nest.ofmap_to_dram and not is_logits
        if stays:
            held[layer.output] = layer.output_elements
            beside = (*beside, layer.output)
        whole = _capacity(nest, machine, hardware, pins, hardware.buffers.activation_bytes - side_bytes)
        if whole != capacity:
            alone = _choose(nest, machine, whole, queue, costs) or choice
        beside = beside if whole != capacity else ()
        held_bytes = {name: bytes_of(size) for name, size in (*held.items(), *layer.side_outputs)}
        room = capacity.activation_bytes
        planned.append(PlannedLayer(layer, nest, choice, from_dram, held_bytes, room, beside, alone))
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
def _choose(
    nest: Nest, machine: Machine, capacity: Capacity, queue: tuple[int, ...], costs: tuple[int, ...]
) -> Choice | None:
    return choose(nest, machine, capacity, np.array(queue, np.int64), costs)


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
