"""Workload × Hardware → Program: the whole network as one command stream, all exits included.

Program order is segment by segment: the backbone's layers, the head, the decision, then the next segment. `lookahead`
changes only who waits for a decision: under `stall` everything of the next segment, under `prefetch` everything but its
loads, under `speculate` and `static_npu` nothing. All that depends on an input's outcome is decided later, from the
timeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ceesim.exits.policy import DecisionCost
from ceesim.hardware.model import DramModel, ExitPlacement, Hardware, Lookahead, Pooling, Residency
from ceesim.mapping.addresses import Tensors, extents_of, tensors_of
from ceesim.mapping.banked import retimed
from ceesim.mapping.fusion import FusedLayer, fuse, vector_ops
from ceesim.mapping.loops import (
    AMOUNTS,
    LAST_STORE,
    LAST_VECTOR,
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
    Machine,
    Place,
    emit,
    flush_store,
    max_rows,
    new_cursor,
    new_stream,
)
from ceesim.mapping.machine import machine_of, queues_of
from ceesim.mapping.nests import compute_unit
from ceesim.mapping.plan import PlannedLayer, plan
from ceesim.mapping.residency import Pins, pin
from ceesim.program.command import Amount, Int64s, Layer, Program, Unit
from ceesim.units import ceil_div
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, OpKind


def compile_program(
    workload: Workload,
    hardware: Hardware,
    *,
    exit_cost: DecisionCost,
    exit_rates: Sequence[float] | None = None,
) -> Program:
    """The command stream of one inference.

    Args:
        exit_cost: what one decision of the exit policy costs.
        exit_rates: [N+1] share of inputs that leave at each exit and at the end, for `residency: auto`.

    Raises:
        MappingError: if a layer does not fit the buffers.
        OptionError: if `residency: auto` has no rates.
        HardwareError: if the array cannot do its dataflow.
    """
    machine, queue = machine_of(hardware), queues_of(hardware)
    layers = fuse(workload, fuse_head_pools=hardware.exit_unit.pooling is Pooling.FUSED)
    if hardware.exit_unit.placement is ExitPlacement.FREE:
        layers = tuple(layer for layer in layers if not layer.is_head)
        layers = tuple(_without_head_pools(layer, workload) for layer in layers)
    logits = _maker(workload, workload.output)
    output = next(layer.output for layer in reversed(layers) if logits in layer.ops)
    key = tuple(int(served_by) for served_by in queue)
    pins = pin(layers, hardware, None, {}) if hardware.residency is not Residency.AUTO else None
    if pins is None:
        unpinned = plan(layers, output, hardware, machine, key, _no_pins(hardware))
        pins = pin(layers, hardware, _reach(exit_rates), _weight_traffic(unpinned, machine))
    planned = plan(layers, output, hardware, machine, key, pins)
    program = _Emitter(workload, hardware, machine, queue, exit_cost).emit(planned, pins)
    return retimed(program, hardware, machine) if hardware.dram.model is DramModel.BANKED else program


def _maker(workload: Workload, name: str) -> str:
    """The op that made the values which `name` stands for: reshapes are no commands."""
    while name != INPUT and (op := workload.op(name)).kind is OpKind.RESHAPE:
        name = op.inputs[0]
    return name


def _reach(exit_rates: Sequence[float] | None) -> list[float] | None:
    """Share of inputs that get as far as each segment."""
    if exit_rates is None:
        return None
    return [sum(exit_rates[i:]) for i in range(len(exit_rates))]


def _no_pins(hardware: Hardware) -> Pins:
    return Pins(frozenset(), 0, hardware.buffers.weight_bytes, hardware.buffers.head_bytes)


def _without_head_pools(layer: FusedLayer, workload: Workload) -> FusedLayer:
    """The layer without what it does for heads that cost nothing."""
    side = {name for name, _ in layer.side_outputs}
    saved = sum(vector_ops(workload.op(name)) for name in side)
    kept = tuple(name for name in layer.ops if name not in side)
    return replace(layer, ops=kept, side_outputs=(), vector_ops=layer.vector_ops - saved)


def _weight_traffic(planned: Sequence[PlannedLayer], machine: Machine) -> dict[str, int]:
    """Weight bytes that each layer loads per input."""
    traffic = {}
    for part in planned:
        num_rows = max_rows(part.nest, part.choice.tiling)
        stream, cursor = new_stream(num_rows, True), new_cursor()
        emit(part.nest, part.choice.tiling, machine, Place(0, 1, NONE, 0, NONE, NONE, NONE), stream, cursor)
        traffic[part.layer.main.name] = int(stream[:, AMOUNTS + Amount.WEIGHT_DRAM_BYTES].sum())
    return traffic


class _Emitter:
    """Appends layers and decisions to one stream. Lives for one call of `emit`."""

    def __init__(
        self, workload: Workload, hardware: Hardware, machine: Machine, queue: Int64s, exit_cost: DecisionCost
    ) -> None:
        self._workload = workload
        self._hardware = hardware
        self._machine = machine
        self._queue = queue
        self._exit_cost = exit_cost

    def emit(self, planned: Sequence[PlannedLayer], pins: Pins) -> Program:
        num_rows = sum(max_rows(part.nest, part.choice.tiling) for part in planned) + 2 * self._workload.num_exits + 1
        stream, cursor = new_stream(num_rows, True), new_cursor()
        drains = {INPUT: NONE}  # the last drain of every op done so far
        layers: list[Layer] = []
        tensors: list[Tensors] = []
        decisions: list[int] = []
        gates_loads = int(self._hardware.control.lookahead is Lookahead.STALL)
        waits_for_decisions = self._hardware.control.lookahead in (Lookahead.STALL, Lookahead.PREFETCH)
        for segment in self._workload.segments:
            index = segment.exit_index
            gate = decisions[-1] if decisions and waits_for_decisions else NONE
            for part in (part for part in planned if part.layer.segment == index):
                sources = zip(part.layer.sources, part.from_dram, strict=True)
                if part.nest.ifmap_from_dram or any(part.from_dram):
                    # its loads wait for all stores so far: none may be held back behind them
                    flush_store(self._machine, stream, cursor)
                place = Place(
                    layer=len(layers),
                    segment=index,
                    gate=gate,
                    gates_loads=gates_loads,
                    ready=max((drains[source] for source, is_far in sources if not is_far), default=NONE),
                    stored=int(cursor[LAST_STORE]),
                    released=int(cursor[LAST_VECTOR]),
                )
                emit(part.nest, part.choice.tiling, self._machine, place, stream, cursor)
                drains.update((name, int(cursor[LAST_VECTOR])) for name in part.layer.ops)
                layers.append(self._layer(part))
                tensors.append(tensors_of(part, self._machine.activation_bits))
            if index <= self._workload.num_exits:
                flush_store(self._machine, stream, cursor)
                decisions.append(self._decide(index, stream, cursor, drains, len(layers), gate))
                layers.append(Layer(f"exit{index}.decision", "decision", Unit.EXIT, index, (), True, True))
                tensors.append(Tensors())
        flush_store(self._machine, stream, cursor)
        rows = int(cursor[ROW])
        columns = stream[:rows, :WAITS].T.copy()
        return Program(
            layers=tuple(layers),
            unit=columns[UNIT],
            queue=self._queue,
            occupancy_cycles=columns[OCCUPANCY],
            latency_cycles=columns[LATENCY],
            waits=stream[:rows, WAITS:AMOUNTS].astype(np.int32),
            layer=columns[LAYER],
            segment=columns[SEGMENT],
            tile=columns[TILE],
            amounts=stream[:rows, AMOUNTS:PLACE].copy(),
            decisions=tuple(decisions),
            takes_exits=self._hardware.control.lookahead is not Lookahead.STATIC_NPU,
            warm_up_dram_bytes=pins.pinned_bytes,
            extents=extents_of(stream[:rows], tensors),
        )

    def _layer(self, part: PlannedLayer) -> Layer:
        return Layer(
            name=part.layer.main.name,
            kind=part.layer.kind,
            unit=compute_unit(part.layer, self._hardware),
            segment=part.layer.segment,
            ops=part.layer.ops,
            is_head=part.layer.is_head,
            tiling=tuple(part.choice.tiling),
        )

    def _decide(self, index: int, stream: Int64s, cursor: Int64s, drains: dict[str, int], layer: int, gate: int) -> int:
        """Append the decision of exit `index`; returns its row."""
        exit_unit, control = self._hardware.exit_unit, self._hardware.control
        head = self._workload.segments[index - 1].head
        num_classes = self._workload.num_classes
        row = int(cursor[ROW])
        if exit_unit.placement is ExitPlacement.FREE:
            cycles = 0
            ready = drains[_maker(self._workload, self._workload.exits[index - 1].tap)]
            stream[row, AMOUNTS + Amount.MACS] = sum(op.macs for op in head)
        else:
            passes = 2 * ceil_div(num_classes, exit_unit.lanes)
            softmax = ceil_div(self._exit_cost.exponentials, exit_unit.lanes) * exit_unit.exp_cycles
            cycles = passes + exit_unit.latency_cycles + control.decision_cycles + softmax
            ready = int(cursor[LAST_VECTOR])
        stream[row, UNIT] = Unit.EXIT
        stream[row, OCCUPANCY] = stream[row, LATENCY] = cycles
        stream[row, WAITS : WAITS + 2] = gate, ready
        stream[row, LAYER] = layer
        stream[row, SEGMENT] = index
        stream[row, AMOUNTS + Amount.COMPARES] = self._exit_cost.compares
        stream[row, AMOUNTS + Amount.EXPONENTIALS] = self._exit_cost.exponentials
        stream[row, AMOUNTS + Amount.DECISIONS] = 1
        cursor[ROW] = row + 1
        return row
