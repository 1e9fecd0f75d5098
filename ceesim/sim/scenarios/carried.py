"""An accelerator that remembers: the next input begins with the answer of the last, on whatever that one left behind.

What is left behind is three things. Queues are still busy with commands that had started. Loads may not overwrite what
a command under way still reads, nor the array what is still being stored, so those wait for each other. And the two
halves of the weight buffer, and of the head buffer, hold the tiles that were loaded last: if those are the network's
first ones, they are not loaded again. All of it turns into a Program: a leading command on each queue that is busy,
and loads that take no time. So both executors can run it, and an input is priced once per exit and per legacy, of
which there are few: an input's legacy depends on its exit, hardly on its own past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ceesim.program.command import NO_COMMAND, NUM_UNITS, Amount, Extent, Int64s, Program, Unit
from ceesim.sim.costs import ExitCosts, price
from ceesim.sim.machine import happened
from ceesim.sim.scenarios.jobs import Bill, Job, Jobs, bill_of

_HALVES: Final = ((Amount.WEIGHT_BUFFER_WRITE_BYTES, Amount.WEIGHT_DRAM_BYTES),
                  (Amount.HEAD_BUFFER_WRITE_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Legacy:
    """What an input leaves behind, in cycles after its answer.

    Args:
        busy: (unit, cycles) of each queue that is still busy; one unit stands for a queue.
        resident: (row, cycles) of each load of the Program whose tile is, or will be after these cycles, in place.
    """

    busy: tuple[tuple[int, int], ...] = ()
    resident: tuple[tuple[int, int], ...] = ()

    @property
    def under_way(self) -> tuple[tuple[int, int], ...]:
        """(row, cycles) of resident tiles that are still to come."""
        return tuple((row, ready) for row, ready in self.resident if ready)

    @property
    def num_leading(self) -> int:
        """Rows that stand for it at the head of a Program."""
        return len(self.under_way) + len(self.busy)


NOTHING: Final = Legacy()


def inheriting(program: Program, legacy: Legacy) -> Program:
    """The Program of an input that begins with `legacy`; its first ``legacy.num_leading`` rows are what is under way.

    A resident tile that is still to come is a leading row without occupancy, for which its own row waits: it is there
    when it has come and its turn has, whichever is later.
    """
    coming, head = legacy.under_way, legacy.num_leading
    units = np.array([int(Unit.LOAD)] * len(coming) + [unit for unit, _ in legacy.busy], np.int64)
    held = np.array([0] * len(coming) + [cycles for _, cycles in legacy.busy], np.int64)
    done = np.array([cycles for _, cycles in (*coming, *legacy.busy)], np.int64)
    occupancy, latency = program.occupancy_cycles.copy(), program.latency_cycles.copy()
    amounts = program.amounts.copy()
    arrives = np.full((program.num_commands, 1), NO_COMMAND, np.int64)
    for row, _ in legacy.resident:
        occupancy[row], latency[row], amounts[row] = 0, 0, 0
    for leading, (row, _) in enumerate(coming):
        arrives[row] = leading
    resident = [row for row, _ in legacy.resident]
    extents = program.extents[~np.isin(program.extents[:, Extent.COMMAND], resident)]
    extents[:, Extent.COMMAND] += head
    zeros = np.zeros(head, np.int64)
    waits = np.where(program.waits == NO_COMMAND, NO_COMMAND, program.waits + head)
    waits = np.concatenate([waits, arrives], axis=1)
    return replace(
        program,
        unit=np.concatenate([units, program.unit]),
        occupancy_cycles=np.concatenate([held, occupancy]),
        latency_cycles=np.concatenate([done, latency]),
        waits=np.concatenate([np.full((head, waits.shape[1]), NO_COMMAND), waits]).astype(np.int32),
        layer=np.concatenate([zeros, program.layer]),
        segment=np.concatenate([zeros + 1, program.segment]),
        tile=np.concatenate([zeros, program.tile]),
        amounts=np.concatenate([np.zeros((head, amounts.shape[1]), np.int64), amounts]),
        decisions=tuple(row + head for row in program.decisions),
        extents=extents,
    )


def legacy_of(program: Program, before: Legacy, inherited: Program, costs: ExitCosts, exit_index: int) -> Legacy:
    """What is left behind by an input that left at an exit.

    Args:
        before: what it began with.
        inherited: `program`, as the input found it; `costs` are its prices.
    """
    head = inherited.num_commands - program.num_commands
    leave = int(costs.latency_cycles[exit_index - 1])
    timeline = costs.timeline
    start, finish = timeline.start_cycles[head:], timeline.finish_cycles[head:]
    if program.takes_exits and exit_index <= program.num_exits:
        started = happened(inherited, timeline.start_cycles, exit_index, leave)[head:]
    else:
        started = np.ones(program.num_commands, np.bool_)
    if not start.size:
        return NOTHING
    ready = dict(before.resident) | {int(row): int(finish[row]) for row in np.flatnonzero(started)}
    return Legacy(
        busy=_busy(inherited, timeline.start_cycles, timeline.finish_cycles, started, head, leave),
        resident=tuple(
            (row, max(ready[row] - leave, 0))
            for written, moved in _HALVES
            for row in _still_there(program, before, started, written, moved)
        ),
    )


def _busy(
    program: Program,
    start: Int64s,
    finish: Int64s,
    started: np.ndarray[tuple[int], np.dtype[np.bool_]],
    head: int,
    leave: int,
) -> tuple[tuple[int, int], ...]:
    happening = np.concatenate([np.ones(head, np.bool_), started])
    free_at = np.where(happening, start + program.occupancy_cycles, 0)
    done_at = np.where(happening, finish, 0)
    until = np.zeros(NUM_UNITS, np.int64)
    np.maximum.at(until, program.unit, free_at)
    computing = int(done_at[~program.moves].max(initial=0))
    storing = int(done_at[program.unit == Unit.STORE].max(initial=0))
    until[Unit.LOAD] = max(until[Unit.LOAD], computing)  # what is being read may not be overwritten
    until[Unit.ARRAY] = max(until[Unit.ARRAY], storing)
    until[Unit.VECTOR] = max(until[Unit.VECTOR], storing)
    by_queue: dict[int, tuple[int, int]] = {}
    for unit in range(NUM_UNITS):
        left = int(until[unit]) - leave
        queue = int(program.queue[unit])
        if left > 0 and left > by_queue.get(queue, (0, 0))[1]:
            by_queue[queue] = (unit, left)
    return tuple(by_queue[queue] for queue in sorted(by_queue))


def _still_there(
    program: Program,
    before: Legacy,
    started: np.ndarray[tuple[int], np.dtype[np.bool_]],
    written: Amount,
    moved: Amount,
) -> list[int]:
    """Of the first two loads into a pair of halves, those whose tile is there and not overwritten by a later load."""
    loads = np.flatnonzero((program.unit == Unit.LOAD) & (program.amounts[:, written] > 0))
    count, resident = int(started[loads].sum()), {row for row, _ in before.resident}
    first = enumerate(loads[:2].tolist())
    kept = [row for i, row in first if i < count <= i + 2 or (count <= i and row in resident)]
    return [row for row in kept if program.amounts[row, moved] > 0]  # not an activation in the place of weights


class Carried:
    """One unit that serves one input after another and starts each on what the last left behind."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._legacy = NOTHING
        self._known: dict[tuple[Legacy, int], tuple[Bill, Legacy]] = {}
        self._prices: dict[Legacy, ExitCosts] = {}

    def serve(self, _unit: int, rows: Sequence[int]) -> Bill:
        """The bill of the next input, which leaves at row ``rows[0]`` of the network."""
        key = self._legacy, rows[0] + 1
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._price(*key)
            self._jobs.patterns.add(key)
        bill, self._legacy = known
        return bill

    def _price(self, legacy: Legacy, exit_index: int) -> tuple[Bill, Legacy]:
        network = self._jobs.network
        program = inheriting(network.program, legacy)
        costs = self._prices.get(legacy)
        if costs is None:
            costs = self._prices[legacy] = price(program)
        next_legacy = legacy_of(network.program, legacy, program, costs, exit_index)
        inherited = np.zeros(NUM_UNITS, np.int64)
        for unit, cycles in legacy.busy:
            inherited[unit] += cycles
        until_answer = replace(costs, occupancy_cycles=costs.latency_cycles, busy_cycles=costs.busy_cycles - inherited)
        job = Job(program, exit_index, (exit_index,))
        return bill_of(job, until_answer, self._jobs.hardware, self._jobs.density), next_legacy
