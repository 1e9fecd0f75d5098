"""One layer lowered under a tiling of the test's choosing, as a Program of its own."""

from __future__ import annotations

from math import prod

import numpy as np

from ceesim.hardware.model import Hardware
from ceesim.mapping.fusion import FusedLayer, fuse
from ceesim.mapping.loops import emit
from ceesim.mapping.machine import machine_of, queues_of
from ceesim.mapping.nests import Operands, nest_of
from ceesim.mapping.stream import (
    AMOUNTS,
    LATENCY,
    LAYER,
    NONE,
    OCCUPANCY,
    PLACE,
    ROW,
    SEGMENT,
    TILE,
    UNIT,
    WAITS,
    Place,
    flush_store,
    new_cursor,
    new_stream,
)
from ceesim.mapping.tiles import Nest, Tiling, max_rows
from ceesim.program.command import Layer, Program, Unit
from ceesim.program.executor import execute
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Op, linear, reshape


def chain(*ops: Op) -> Workload:
    """`ops` one after the other, and a classifier of two classes behind them."""
    shape = ops[-1].output_shape
    flat = reshape("flat", ops[-1].name, shape, (prod(shape),))
    shapes = {op.inputs[i]: op.input_shapes[i] for op in ops for i in range(len(op.inputs))}
    return Workload("chain", 2, shapes[INPUT], (*ops, flat, linear("fc", "flat", flat.output_shape, 2)), (), "fc")


def first_layer(*ops: Op) -> FusedLayer:
    """What the first of `ops` and those its drain absorbs become."""
    return fuse(chain(*ops), fuse_head_pools=True)[0]


def nest(
    hardware: Hardware, *ops: Op, far: bool = True, pinned: bool = False, stored: bool = False, images: int = 1
) -> Nest:
    """The loop nest of the first of `ops`: its ifmap from DRAM or not, its weights on chip or not, its ofmap stored."""
    layer = first_layer(*ops)
    return nest_of(layer, hardware, Operands((far,) * len(layer.sources), pinned, stored), images)


def lowered(hardware: Hardware, loops: Nest, tiling: Tiling) -> Program:
    """The commands of one nest under one tiling, nothing before it."""
    machine = machine_of(hardware)
    stream, cursor = new_stream(max_rows(loops, tiling), True), new_cursor()
    emit(loops, tiling, machine, Place(0, 1, NONE, NONE, NONE, NONE, NONE, NONE), stream, cursor)
    flush_store(machine, stream, cursor)
    table = stream[: cursor[ROW]]
    return Program(
        layers=(Layer("layer", "layer", Unit.ARRAY, 1, ()),),
        unit=table[:, UNIT],
        queue=queues_of(hardware),
        occupancy_cycles=table[:, OCCUPANCY],
        latency_cycles=table[:, LATENCY],
        waits=table[:, WAITS:AMOUNTS].astype(np.int32),
        layer=table[:, LAYER],
        segment=table[:, SEGMENT],
        tile=table[:, TILE],
        amounts=table[:, AMOUNTS:PLACE],
        decisions=(),
    )


def timetable(program: Program) -> list[tuple[str, int, int]]:
    """(unit, start, finish) of every command, in program order."""
    timeline = execute(program)
    units = [Unit(unit).name.lower() for unit in program.unit.tolist()]
    return list(zip(units, timeline.start_cycles.tolist(), timeline.finish_cycles.tolist(), strict=True))
