"""How full every buffer is at any time, told from the commands alone: what they write, who reads it, and until when.

A loaded tile is there from the start of its load to the finish of the last command that waits for it; partial sums from
the tile's first MACs to the finish of its drain; a staged ofmap tile from its drain to the finish of its store; a map
that stays on chip from its first drain to the finish of the last command that reads it; pinned weights always. (What
a vector command reads it has read when its occupancy ends; the latency is its pipeline's.) Of a batch a map is there
once per input, and behind a gather once per input that is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ceesim.hardware.model import Hardware
from ceesim.program.command import NO_COMMAND, Amount, Int64s, Program, Timeline, Unit
from ceesim.program.executor import execute
from ceesim.units import ceil_div
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, OpKind


@dataclass(frozen=True, slots=True)
class Stay:
    """`num_bytes` in a buffer from `begin` to `end`, in cycles."""

    buffer: str
    what: str
    num_bytes: int
    begin: int
    end: int


def fullest(
    program: Program, workload: Workload, hardware: Hardware, batch: Sequence[int] | None = None
) -> dict[str, tuple[int, list[Stay]]]:
    """For each buffer, the most bytes it ever holds, and what is in it then.

    Args:
        batch: [segments] inputs that run each segment; one by default.
    """
    sizes = batch or (1,) * (workload.num_exits + 1)
    timeline = execute(program)
    stays = [*_tiles(program, timeline, hardware), *_maps(program, timeline, workload, hardware, sizes)]
    stays += _pinned(program, timeline, workload, hardware)
    found = {}
    for buffer in ("weight", "head", "activation", "psum"):
        here = [stay for stay in stays if stay.buffer == buffer]
        moments = [[stay for stay in here if stay.begin <= now.begin < stay.end] for now in here]
        most = max(moments, key=lambda held: sum(stay.num_bytes for stay in held), default=[])
        found[buffer] = (sum(stay.num_bytes for stay in most), most)
    return found


_WRITTEN = {
    "weight": Amount.WEIGHT_BUFFER_WRITE_BYTES,
    "head": Amount.HEAD_BUFFER_WRITE_BYTES,
    "activation": Amount.ACTIVATION_BUFFER_WRITE_BYTES,
}


def _tiles(program: Program, timeline: Timeline, hardware: Hardware) -> Iterator[Stay]:
    """Tiles that commands hand to the commands that wait for them."""
    names = [layer.name for layer in program.layers]
    start, finish, has_read = timeline.start_cycles, timeline.finish_cycles, _has_read(program, timeline)
    readers: dict[int, list[int]] = {}
    for row in range(program.num_commands):
        for wait in program.waits[row][program.waits[row] != NO_COMMAND].tolist():
            readers.setdefault(wait, []).append(row)
    first_macs: dict[tuple[int, int], int] = {}
    for row in range(program.num_commands):
        layer, tile, amounts = int(program.layer[row]), int(program.tile[row]), program.amounts[row]
        label = f"{names[layer]} tile {tile}"
        same_layer = [reader for reader in readers.get(row, []) if program.layer[reader] == layer]
        if program.unit[row] == Unit.LOAD:
            end = max(int(has_read[reader]) for reader in same_layer)
            for buffer, amount in _WRITTEN.items():
                if amounts[amount]:
                    yield Stay(buffer, f"{label} loaded", int(amounts[amount]), int(start[row]), end)
        if amounts[Amount.MACS]:
            first_macs.setdefault((layer, tile), int(start[row]))
        if (layer, tile) in first_macs and not amounts[Amount.MACS] and amounts[Amount.PSUM_BUFFER_READ_BYTES]:
            num_bytes = ceil_div(int(amounts[Amount.DRAINED_PSUMS]) * hardware.precision.psum_bits, 8)
            yield Stay("psum", f"{label} psums", num_bytes, first_macs[layer, tile], int(finish[row]))
        if program.unit[row] == Unit.STORE:
            drains = [wait for wait in program.waits[row].tolist() if wait >= 0 and program.tile[wait] == tile]
            (drain,) = [wait for wait in drains if program.layer[wait] == layer]
            num_bytes = int(amounts[Amount.OFMAP_DRAM_BYTES])
            yield Stay("activation", f"{label} staged", num_bytes, int(start[drain]), int(finish[row]))


def _maps(
    program: Program, timeline: Timeline, workload: Workload, hardware: Hardware, batch: Sequence[int]
) -> Iterator[Stay]:
    """Maps that stay on chip between the layer that makes them and the layers that read them."""
    made_in = {op: i for i, layer in enumerate(program.layers) for op in layer.ops}
    readers: dict[str, set[int]] = {}
    for op in workload.ops:
        for source in op.inputs:
            while source != INPUT and workload.op(source).kind is OpKind.RESHAPE:
                source = workload.op(source).inputs[0]
            if source != INPUT and op.kind is not OpKind.RESHAPE and op.name in made_in:
                readers.setdefault(source, set()).add(made_in[op.name])
    heads = {name for exit_ in workload.exits for name in exit_.head}
    has_macs = {int(layer) for layer in program.layer[program.amounts[:, Amount.MACS] > 0]}
    stored = {int(layer) for layer in program.layer[program.unit == Unit.STORE]}
    gathers = {layer.segment: i for i, layer in enumerate(program.layers) if layer.kind == "gather"}
    for name, reading in readers.items():
        maker = made_in[name]
        is_side = name in heads and not program.layers[maker].is_head
        outside = reading - {maker}
        if not outside or (maker in stored and not is_side):
            continue
        compute = (program.unit != Unit.LOAD) & (program.unit != Unit.STORE)
        made = compute & (program.layer == maker) & (program.amounts[:, Amount.MACS] == 0)
        read = compute & np.isin(program.layer, list(outside))
        read &= (program.amounts[:, Amount.MACS] > 0) | ~np.isin(program.layer, list(has_macs))
        begin, end = int(timeline.start_cycles[made].min()), int(_has_read(program, timeline)[read].max())
        first, last = program.layers[maker].segment, max(program.layers[i].segment for i in outside)
        for segment in range(first, last + 1):
            leave = end
            if segment < last and batch[segment] < batch[segment - 1]:  # the map crosses on chip: it must be gathered
                leave = int(timeline.finish_cycles[program.layer == gathers[segment + 1]].max())
            elif segment < last:
                continue
            bits = batch[segment - 1] * prod(workload.op(name).output_shape) * hardware.precision.activation_bits
            yield Stay("activation", f"map {name} in segment {segment}", ceil_div(bits, 8), begin, leave)
            begin = leave


def _has_read(program: Program, timeline: Timeline) -> Int64s:
    """[commands] when each command needs its operands no more."""
    on_lanes = (program.unit == Unit.VECTOR) | (program.unit == Unit.EXIT)
    return np.where(on_lanes, timeline.start_cycles + program.occupancy_cycles, timeline.finish_cycles)


def _pinned(program: Program, timeline: Timeline, workload: Workload, hardware: Hardware) -> Iterator[Stay]:
    """Weights that no command loads."""
    loaded = program.amounts[:, [Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]].sum(axis=1) > 0
    for i, layer in enumerate(program.layers):
        op = workload.op(layer.ops[0]) if layer.ops else None
        if op is None or not op.num_weights or loaded[program.layer == i].any():
            continue
        bits = op.num_weights * hardware.precision.weight_bits + op.num_biases * hardware.precision.psum_bits
        yield Stay("head" if layer.is_head else "weight", f"{op.name} pinned", ceil_div(bits, 8), 0, timeline.end_cycle)
