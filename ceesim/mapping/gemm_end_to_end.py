"""One matrix product on a whole hardware: its operands loaded from DRAM, multiplied, drained and stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ceesim.errors import MappingError
from ceesim.hardware.model import DramModel, Hardware
from ceesim.mapping.addresses import Tensors, extents_of
from ceesim.mapping.banked import retimed
from ceesim.mapping.candidates import Capacity
from ceesim.mapping.fusion import FusedLayer
from ceesim.mapping.loops import emit
from ceesim.mapping.machine import action_costs, machine_of, queues_of
from ceesim.mapping.nests import Operands, nest_of
from ceesim.mapping.search import choose
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
from ceesim.mapping.tiles import max_rows
from ceesim.program.command import DRAM_AMOUNTS, Layer, Program, Unit
from ceesim.program.executor import execute
from ceesim.units import format_bytes
from ceesim.workload.ops import INPUT, Gemm, linear


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """From the first command to the last store, with everything from and to DRAM.

    Args:
        tiling: rows of m, k and n of a tile.
    """

    total_cycles: int
    dram_bytes: int
    tiling: tuple[int, int, int]


def price_product(gemm: Gemm, hardware: Hardware) -> EndToEnd:
    """What an m×k by k×n product costs on `hardware`, under the mapper's best tiling.

    Raises:
        MappingError: if it fits the buffers under no tiling.
    """
    op = linear("product", INPUT, (gemm.m, gemm.k), gemm.n)
    layer = FusedLayer(op, ("product",), "linear", 1, False, (INPUT,), "product", gemm.m * gemm.n, (), gemm.m * gemm.n)
    machine, queue, buffers = machine_of(hardware), queues_of(hardware), hardware.buffers
    nest = nest_of(layer, hardware, Operands((True,), weights_pinned=False, ofmap_to_dram=True))
    capacity = Capacity(buffers.weight_bytes, buffers.psum_bytes, buffers.activation_bytes)
    choice = choose(nest, machine, capacity, queue, action_costs(hardware))
    if choice is None:
        raise MappingError(
            f"the product {gemm.m}×{gemm.k} by {gemm.k}×{gemm.n} fits the buffers under no tiling",
            where=hardware.name,
            got=f"weight {format_bytes(buffers.weight_bytes)}, psum {format_bytes(buffers.psum_bytes)}, "
            f"activation {format_bytes(buffers.activation_bytes)}",
            fix="enlarge the buffers, or shrink the array",
        )
    stream, cursor = new_stream(max_rows(nest, choice.tiling), True), new_cursor()
    emit(nest, choice.tiling, machine, Place(0, 1, NONE, NONE, NONE, NONE, NONE, NONE), stream, cursor)
    flush_store(machine, stream, cursor)
    rows = stream[: cursor[ROW]]
    program = Program(
        layers=(Layer("product", layer.kind, Unit.ARRAY, 1, layer.ops),),
        unit=rows[:, UNIT],
        queue=queue,
        occupancy_cycles=rows[:, OCCUPANCY],
        latency_cycles=rows[:, LATENCY],
        waits=rows[:, WAITS:AMOUNTS].astype(np.int32),
        layer=rows[:, LAYER],
        segment=rows[:, SEGMENT],
        tile=rows[:, TILE],
        amounts=rows[:, AMOUNTS:PLACE],
        decisions=(),
        extents=extents_of(rows, [Tensors(((INPUT, gemm.m * gemm.k),), "product.weight", "product")]),
    )
    if hardware.dram.model is DramModel.BANKED:
        program = retimed(program, hardware, machine)
    moved = program.amounts[:, list(DRAM_AMOUNTS)].sum()
    tiling = (choice.tiling.rows, choice.tiling.k, choice.tiling.n)
    return EndToEnd(execute(program).end_cycle, int(moved), tiling)
