"""The rest of a network from one segment on, and what it takes to put its inputs aside until there are enough of them.

A batch that has shrunk can wait for others at the same exit: the map that crosses into the next segment is stored, and
later the rest of the network runs on many such maps at once. That rest is a network of its own, whose input is this
map. The border runs between layers, not between ops: a pool that the drain of a tapped convolution absorbs has been
done with it, although the exit does not need it. Where more than one map crosses (a branch around the tap) there is no
single input, and nothing is cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ceesim.errors import WorkloadError
from ceesim.hardware.model import DramModel, Hardware, Pooling
from ceesim.mapping.addresses import PAGE_BYTES
from ceesim.mapping.banked import retimed
from ceesim.mapping.fusion import fuse, maker
from ceesim.mapping.machine import machine_of, queues_of
from ceesim.mapping.stream import (
    AMOUNTS,
    LATENCY,
    LAYER,
    NONE,
    OCCUPANCY,
    PLACE,
    SEGMENT,
    TILE,
    UNIT,
    WAITS,
    Place,
    new_cursor,
    new_stream,
    put_transfer,
)
from ceesim.program.command import Amount, Int64s, Program
from ceesim.units import ceil_div
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Shape, reshape


@dataclass(frozen=True, slots=True)
class Crossing:
    """The one map that layers of a segment or of later ones read from earlier layers.

    Args:
        name: of the op that makes it, or ``INPUT``.
        shape: of one input's map.
    """

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """One DMA command: cycles its queue is busy, cycles until it is done, and [NUM_AMOUNTS] what it accounts for.

    Args:
        extents: where its bytes lie, from address 0 on (`program.command.Extent`).
    """

    occupancy_cycles: int
    latency_cycles: int
    amounts: Int64s
    extents: Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Parking:
    """What it takes to put maps aside in DRAM (`store`) and to fetch them again (`load`)."""

    store: Transfer
    load: Transfer


def crossing(workload: Workload, hardware: Hardware, segment: int) -> Crossing:
    """The map that crosses from the layers before `segment` (1..N+1) to those of it and behind.

    Raises:
        WorkloadError: if there is no such segment, if no layer is left to run from there, or if more than one map
            crosses (named).
    """
    later = _layers_behind(workload, hardware, segment)
    made = {name for layer in later for name in layer}
    sources = {maker(workload, source) for layer in later for name in layer for source in workload.op(name).inputs}
    sources.add(maker(workload, workload.output))
    found = sorted(sources - made)
    if not later:
        raise WorkloadError(f"no layer is left to run from segment {segment} on", where=workload.name)
    if len(found) > 1:
        raise WorkloadError(
            f"segment {segment} cannot be run on its own: more than one map crosses into it",
            where=workload.name,
            got=", ".join(found),
            expected="one map",
            fix="choose an exit that no branch of the network goes around",
        )
    (name,) = found
    return Crossing(name, workload.input_shape if name == INPUT else workload.op(name).output_shape)


def crossing_bytes(workload: Workload, hardware: Hardware, segment: int) -> int:
    """Bytes of the map, for one input, that crosses into `segment`; errors as `crossing`."""
    return _bytes(crossing(workload, hardware, segment), hardware, 1)


def cut(workload: Workload, hardware: Hardware, segment: int) -> Workload:
    """The network from `segment` (1..N+1) on: its input is the map that crosses, its exits are the later ones.

    Ops keep their names; the crossing map stands in it as a reshape of the input, which costs nothing.

    Raises:
        WorkloadError: as `crossing`.
    """
    border = crossing(workload, hardware, segment)
    if segment == 1:
        return workload
    exits = workload.exits[segment - 1 :]
    kept = {name for layer in _layers_behind(workload, hardware, segment) for name in layer}
    wanted = [source for name in kept for source in workload.op(name).inputs]
    wanted += [workload.output, *(exit_.tap for exit_ in exits)]
    while wanted:  # reshapes are no layers: take along those that lead from the border to what is kept
        name = wanted.pop()
        if name not in {*kept, border.name, INPUT}:
            kept.add(name)
            wanted += workload.op(name).inputs
    ops = tuple(op for op in workload.ops if op.name in kept)
    if border.name != INPUT:
        ops = (reshape(border.name, INPUT, border.shape, border.shape), *ops)
    name = f"{workload.name} from segment {segment}"
    return replace(workload, name=name, input_shape=border.shape, ops=ops, exits=exits)


def parking(workload: Workload, hardware: Hardware, segment: int, images: int) -> Parking:
    """What one DMA command each for the store and the load of `images` maps that cross into `segment` takes.

    Every map is a contiguous run of its own, from a page on: the maps of those that go on lie among those of others.
    Banked memory serves it as if nothing had gone before: all its banks are closed.

    Raises:
        WorkloadError: as `crossing`.
    """
    num_bytes = _bytes(crossing(workload, hardware, segment), hardware, images)
    return Parking(
        store=_transfer(hardware, num_bytes, images, is_load=False),
        load=_transfer(hardware, num_bytes, images, is_load=True),
    )


def _transfer(hardware: Hardware, num_bytes: int, runs: int, *, is_load: bool) -> Transfer:
    machine, stream, cursor = machine_of(hardware), new_stream(1, True), new_cursor()
    place = Place(0, 1, NONE, NONE, NONE, NONE, NONE, NONE)
    amount = int(Amount.IFMAP_DRAM_BYTES if is_load else Amount.OFMAP_DRAM_BYTES)
    put_transfer(machine, stream, cursor, place, is_load, 0, num_bytes, runs, amount)
    at_buffer = Amount.ACTIVATION_BUFFER_WRITE_BYTES if is_load else Amount.ACTIVATION_BUFFER_READ_BYTES
    stream[0, AMOUNTS + at_buffer] = num_bytes
    run_bytes = ceil_div(num_bytes, runs)
    program = Program(
        layers=(),
        unit=stream[:, UNIT],
        queue=queues_of(hardware),
        occupancy_cycles=stream[:, OCCUPANCY],
        latency_cycles=stream[:, LATENCY],
        waits=stream[:, WAITS:AMOUNTS].astype(np.int32),
        layer=stream[:, LAYER],
        segment=stream[:, SEGMENT],
        tile=stream[:, TILE],
        amounts=stream[:, AMOUNTS:PLACE],
        decisions=(),
        extents=np.array([(0, 0, run_bytes, runs, ceil_div(run_bytes, PAGE_BYTES) * PAGE_BYTES, 1, 0)], np.int64),
    )
    if hardware.dram.model is DramModel.BANKED:
        program = retimed(program, hardware, machine)
    occupancy_cycles, latency_cycles = int(program.occupancy_cycles[0]), int(program.latency_cycles[0])
    return Transfer(occupancy_cycles, latency_cycles, program.amounts[0], program.extents)


def _bytes(border: Crossing, hardware: Hardware, images: int) -> int:
    return ceil_div(images * prod(border.shape) * hardware.precision.activation_bits, 8)


def _layers_behind(workload: Workload, hardware: Hardware, segment: int) -> list[tuple[str, ...]]:
    """The ops of each layer of `segment` and of later ones."""
    if not 1 <= segment <= workload.num_exits + 1:
        raise WorkloadError(
            "no such segment", where=workload.name, got=segment, expected=f"1 to {workload.num_exits + 1}"
        )
    layers = fuse(workload, fuse_head_pools=hardware.exit_unit.pooling is Pooling.FUSED)
    return [layer.ops for layer in layers if layer.segment >= segment]
