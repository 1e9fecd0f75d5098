"""Segments on accelerators of their own, with room for a few maps between them (after ATHEENA, FPL 2023).

A stage runs a run of segments on one or more units; an input that its exits do not answer is handed on as a map in
DRAM, stored after the decision and loaded by whoever takes it up. A unit that finds no room for the map waits with it.
Each stage's Program is the rest of the network from its first segment, cut behind its last, and ends with that store;
weights pinned on chip (`residency`) are those of the stage alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import simpy

from ceesim.mapping.addresses import behind
from ceesim.mapping.cut import Transfer
from ceesim.program.command import NO_COMMAND, Layer, Program, Unit
from ceesim.sim.scenarios.inputs import Arrived, UnderWay
from ceesim.sim.scenarios.intake import Steps, bring
from ceesim.sim.scenarios.jobs import Bill
from ceesim.sim.scenarios.record import Record
from ceesim.sim.scenarios.station import Serve
from ceesim.sim.scenarios.statistics import QueueLength

CLOSED_BUFFER: Final = 4
"""Enough that the busiest stage hardly ever starves."""


@dataclass(frozen=True, slots=True)
class Division:
    """Which segments (first, last) each stage runs, and on how many units."""

    segments: tuple[tuple[int, int], ...]
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage came to.

    Args:
        work_cycles: mean occupancy of its units per input of the stream, those it never sees included.
        busy, blocked: share of its units' time spent on inputs, and on waiting for room behind.
        queue_mean, queue_most: maps that waited before it.
    """

    segments: tuple[int, int]
    units: int
    work_cycles: float
    busy: float
    blocked: float
    queue_mean: float
    queue_most: int


def with_handover(program: Program, transfer: Transfer) -> Program:
    """A stage's Program that ends with the store of its map, for inputs that its last exit does not answer."""
    row = np.full((1, program.waits.shape[1]), NO_COMMAND, np.int32)
    row[0, 0] = program.decisions[-1]
    last = int(program.segment.max())
    return replace(
        program,
        layers=(*program.layers, Layer("handover", "store", Unit.STORE, last, ())),
        unit=np.append(program.unit, Unit.STORE),
        occupancy_cycles=np.append(program.occupancy_cycles, transfer.occupancy_cycles),
        latency_cycles=np.append(program.latency_cycles, transfer.latency_cycles),
        waits=np.concatenate([program.waits, row]),
        layer=np.append(program.layer, len(program.layers)),
        segment=np.append(program.segment, last),
        tile=np.append(program.tile, 0),
        amounts=np.concatenate([program.amounts, transfer.amounts[None]]),
        extents=behind(program.extents, program.num_commands, transfer.extents),
    )


class Line:
    """The stages behind each other; takes the place of `Station`.

    Args:
        serve: of each stage: what a unit (numbered over all stages) does with one input.
        capacity: how many may wait before the first stage; None is unlimited.
        buffer: maps that may wait between two stages; if None, unlimited, or under closed arrivals, which would fill
            it for ever, `CLOSED_BUFFER` for each unit of the next stage.
    """

    def __init__(
        self,
        env: simpy.Environment,
        record: Record,
        division: Division,
        serve: Sequence[Serve],
        *,
        capacity: int | None = None,
        buffer: int | None = None,
    ) -> None:
        self._env = env
        self._record = record
        self._division = division
        self._serve = serve
        self._capacity = capacity
        self._buffer = buffer
        self._first = simpy.Store(env)
        self._between: list[simpy.Store] = []
        self._lengths = [QueueLength() for _ in division.segments]
        self._busy = [0] * len(division.segments)
        self._blocked = [0] * len(division.segments)
        self._free = division.units[0]
        self._source: Iterator[Arrived] | None = None

    def start(self, inputs: Iterator[Arrived], *, closed: bool) -> None:
        """Set all processes going."""
        for units in self._division.units[1:]:
            default = CLOSED_BUFFER * units if closed else float("inf")
            self._between.append(simpy.Store(self._env, self._buffer or default))
        if closed:
            self._source = inputs
        else:
            self._env.process(bring(self._env, self._record, inputs, self._has_room, self._put))
        number = 0
        for stage, units in enumerate(self._division.units):
            for _ in range(units):
                self._env.process(self._unit(number, stage))
                number += 1

    def stages(self, work: Sequence[float]) -> tuple[Stage, ...]:
        """What became of each stage, after the run."""
        end = max(self._record.end_cycle, 1)
        return tuple(
            Stage(
                segments,
                units,
                each,
                self._busy[i] / (end * units),
                self._blocked[i] / (end * units),
                self._lengths[i].area(end) / end,
                self._lengths[i].most,
            )
            for i, (segments, units, each) in enumerate(
                zip(self._division.segments, self._division.units, work, strict=True)
            )
        )

    def _has_room(self) -> bool:
        return self._capacity is None or len(self._first.items) < self._capacity + self._free

    def _put(self, item: Arrived) -> None:
        self._lengths[0].change(int(self._env.now), 1)
        self._first.put(item)

    def _take(self, stage: int) -> Generator[simpy.Event, Any, UnderWay | None]:
        env = self._env
        if stage == 0 and self._source is not None:
            item = next(self._source, None)
            if item is None:
                return None
            self._record.arrived()
            return UnderWay(item._replace(arrival_cycle=int(env.now)), int(env.now))
        flow = yield (self._between[stage - 1] if stage else self._first).get()
        now = int(env.now)
        self._lengths[stage].change(now, -1)
        if stage:
            return flow if isinstance(flow, UnderWay) else None
        self._record.queue.change(now, -1)
        return UnderWay(flow, now)

    def _unit(self, number: int, stage: int) -> Steps:
        env, record = self._env, self._record
        first, last = self._division.segments[stage]
        while (flow := (yield from self._take(stage))) is not None:
            self._free -= stage == 0
            begin = int(env.now)
            record.begun(begin)
            row = min(flow.item.row - (first - 1), last - first + 1)
            served = self._serve[stage](number, (row,))
            if isinstance(served, Bill):
                bill = served
                yield env.timeout(bill.occupancy_cycles)
            else:
                bill = yield env.process(served)
            record.worked(number, begin, bill, 1)
            self._busy[stage] += bill.occupancy_cycles
            flow.pay(bill)
            if flow.item.row < last:
                record.left(flow, flow.item.row + 1, begin + bill.answer_cycles[0], number)
            else:
                finished = int(env.now)
                yield self._between[stage].put(flow)
                self._blocked[stage] += int(env.now) - finished
                self._lengths[stage + 1].change(int(env.now), 1)
            self._free += stage == 0
