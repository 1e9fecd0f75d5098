"""Workload × Hardware → Program: the whole network as one command stream, all exits included.

Program order is segment by segment: the backbone's layers, the head, the decision, then the next segment. `lookahead`
changes only who waits for a decision: under `stall` everything of the next segment, under `prefetch` everything but its
loads, under `speculate` and `static_npu` nothing. All that depends on an input's outcome is decided later, from the
timeline.

A batch decides for all its members at once. If it is compacted, the maps of those that are left are moved together
behind the decision (the layer ``exitN.gather``), and everything behind waits for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ceesim.exits.policy import DecisionCost
from ceesim.hardware.model import DramModel, ExitPlacement, Hardware, Lookahead
from ceesim.mapping.addresses import Tensors, extents_of, tensors_of
from ceesim.mapping.banked import retimed
from ceesim.mapping.batches import batch_sizes
from ceesim.mapping.fusion import maker
from ceesim.mapping.lingering import Lingering
from ceesim.mapping.loops import emit
from ceesim.mapping.machine import machine_of, queues_of
from ceesim.mapping.nests import compute_unit
from ceesim.mapping.pinning import planned_for
from ceesim.mapping.plan import PlannedLayer
from ceesim.mapping.residency import Pins
from ceesim.mapping.stream import (
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
    flush_store,
    new_cursor,
    new_stream,
)
from ceesim.mapping.tiles import max_rows
from ceesim.program.command import Amount, Int64s, Layer, Program, Unit
from ceesim.units import ceil_div
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT


def compile_program(
    workload: Workload,
    hardware: Hardware,
    *,
    exit_cost: DecisionCost,
    exit_rates: Sequence[float] | None = None,
    batch: Sequence[int] | int = 1,
    compacted: bool = False,
    last: int | None = None,
    pins: Pins | None = None,
) -> Program:
    """The command stream of one inference, or of one batch.

    Args:
        exit_cost: what one decision of the exit policy costs.
        exit_rates: [N+1] share of inputs that leave at each exit and at the end, for `residency: auto`.
        batch: [N+1] inputs that run each segment together, never growing; one number for all of them.
        compacted: members that leave make the batch smaller. The sequencer then learns at each exit that more than
            one member reaches how the stream goes on: nothing behind starts before.
        last: segment behind which nothing is ever run: what lies there gets no pins, and its cost does not count.
        pins: what stays on chip; None: what `residency` says of this network in this batch.

    Raises:
        MappingError: if a layer does not fit the buffers.
        OptionError: if `residency: auto` has no rates, or the batch is not one (see `batch_sizes`).
        HardwareError: if the array cannot do its dataflow.
    """
    machine, queue = machine_of(hardware), queues_of(hardware)
    sizes = batch_sizes(batch, workload.num_exits + 1, hardware, compacted=compacted)
    planned, pins = planned_for(workload, hardware, exit_rates, sizes, last, pins)
    program = _Emitter(workload, hardware, machine, queue, exit_cost, sizes, compacted).emit(planned, pins)
    return retimed(program, hardware, machine) if hardware.dram.model is DramModel.BANKED else program


class _Emitter:
    """Appends layers and decisions to one stream. Lives for one call of `emit`."""

    def __init__(
        self,
        workload: Workload,
        hardware: Hardware,
        machine: Machine,
        queue: Int64s,
        exit_cost: DecisionCost,
        batch: tuple[int, ...],
        compacted: bool,
    ) -> None:
        self._workload = workload
        self._hardware = hardware
        self._machine = machine
        self._queue = queue
        self._exit_cost = exit_cost
        self._batch = batch
        self._compacted = compacted and hardware.control.lookahead is not Lookahead.STATIC_NPU

    def emit(self, planned: Sequence[PlannedLayer], pins: Pins) -> Program:
        num_rows = sum(max_rows(part.nest, part.choice.tiling) for part in planned) + 3 * self._workload.num_exits + 1
        stream, cursor = new_stream(num_rows, True), new_cursor()
        drains = {INPUT: NONE}  # the last drain of every op done so far
        layers: list[Layer] = []
        tensors: list[Tensors] = []
        decisions: list[int] = []
        lookahead = self._hardware.control.lookahead
        lingering, last_drain = Lingering(self._hardware.buffers.activation_bytes), NONE
        known = NONE  # since when it is known how many go on, where that can change
        for segment in self._workload.segments:
            index = segment.exit_index
            gate = load_gate = known
            if decisions and self._compacted and self._batch[index - 2] > 1:
                known = self._gather(index, planned, stream, cursor, drains, layers, decisions[-1])
                tensors += [Tensors()] * (len(layers) - len(tensors))
                gate = load_gate = known
            elif decisions and lookahead in (Lookahead.STALL, Lookahead.PREFETCH):
                gate = decisions[-1]
                load_gate = gate if lookahead is Lookahead.STALL else known
            for part in (part for part in planned if part.layer.segment == index):
                sources = zip(part.layer.sources, part.from_dram, strict=True)
                if part.nest.ifmap_from_dram or any(part.from_dram):
                    # its loads wait for all stores so far: none may be held back behind them
                    flush_store(self._machine, stream, cursor)
                is_beside = compute_unit(part.layer, self._hardware) is Unit.EXIT
                place = Place(
                    layer=len(layers),
                    segment=index,
                    gate=gate,
                    load_gate=load_gate,
                    ready=max((drains[source] for source, is_far in sources if not is_far), default=NONE),
                    stored=int(cursor[LAST_STORE]),
                    released=int(cursor[LAST_VECTOR]) if is_beside else last_drain,
                    cleared=lingering.cleared_for(part),
                )
                emit(part.nest, part.choice.tiling, self._machine, place, stream, cursor)
                drains.update((name, int(cursor[LAST_VECTOR])) for name in part.layer.ops)
                if is_beside:
                    lingering.keep(part, int(cursor[LAST_VECTOR]))
                else:
                    last_drain = int(cursor[LAST_VECTOR])
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
        """Append the decision of exit `index` for all inputs that reach it; returns its row."""
        exit_unit, control = self._hardware.exit_unit, self._hardware.control
        head = self._workload.segments[index - 1].head
        num_classes, images = self._workload.num_classes, self._batch[index - 1]
        row = int(cursor[ROW])
        if exit_unit.placement is ExitPlacement.FREE:
            cycles = 0
            ready = drains[maker(self._workload, self._workload.exits[index - 1].tap)]
            stream[row, AMOUNTS + Amount.MACS] = images * sum(op.macs for op in head)
        else:
            passes = images * 2 * ceil_div(num_classes, exit_unit.lanes)
            softmax = images * ceil_div(self._exit_cost.exponentials, exit_unit.lanes) * exit_unit.exp_cycles
            cycles = passes + exit_unit.latency_cycles + control.decision_cycles + softmax
            ready = int(cursor[LAST_VECTOR])
            stream[row, AMOUNTS + Amount.COMPARES] = images * self._exit_cost.compares
            stream[row, AMOUNTS + Amount.EXPONENTIALS] = images * self._exit_cost.exponentials
            stream[row, AMOUNTS + Amount.DECISIONS] = images
        stream[row, UNIT] = Unit.EXIT
        stream[row, OCCUPANCY] = stream[row, LATENCY] = cycles
        stream[row, WAITS : WAITS + 2] = gate, ready
        stream[row, LAYER] = layer
        stream[row, SEGMENT] = index
        cursor[ROW] = row + 1
        return row

    def _gather(
        self,
        segment: int,
        planned: Sequence[PlannedLayer],
        stream: Int64s,
        cursor: Int64s,
        drains: dict[str, int],
        layers: list[Layer],
        decision: int,
    ) -> int:
        """Move the on-chip maps of those that go on to `segment` together; returns the row that all behind waits for.

        Maps in DRAM stay where they are: descriptors skip those of members that left.
        """
        images = self._batch[segment - 1]
        behind = [part for part in planned if part.layer.segment >= segment]
        made_behind = {name for part in behind for name in part.layer.ops}
        crossing = {
            source
            for part in behind
            for source, is_far in zip(part.layer.sources, part.from_dram, strict=True)
            if not is_far and source not in made_behind
        }
        if not crossing or images == self._batch[segment - 2]:
            return decision
        vector = self._hardware.vector
        values = images * sum(prod(self._workload.op(name).output_shape) for name in crossing)
        num_bytes = ceil_div(values * self._hardware.precision.activation_bits, 8)
        row = int(cursor[ROW])
        stream[row, UNIT] = Unit.VECTOR
        stream[row, OCCUPANCY] = ceil_div(values, vector.lanes) if vector.lanes else 0
        stream[row, LATENCY] = stream[row, OCCUPANCY] + vector.latency_cycles
        stream[row, WAITS] = decision
        stream[row, LAYER] = len(layers)
        stream[row, SEGMENT] = segment
        stream[row, AMOUNTS + Amount.VECTOR_OPS] = values
        stream[row, AMOUNTS + Amount.ACTIVATION_BUFFER_READ_BYTES] = num_bytes
        stream[row, AMOUNTS + Amount.ACTIVATION_BUFFER_WRITE_BYTES] = num_bytes
        cursor[ROW] = row + 1
        cursor[LAST_VECTOR] = row
        drains.update(dict.fromkeys(crossing, row))
        layers.append(Layer(f"exit{segment - 1}.gather", "gather", Unit.VECTOR, segment, ()))
        return row
