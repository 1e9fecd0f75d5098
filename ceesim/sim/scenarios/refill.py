"""Batches that fill up again: who is left over at an exit is put aside until enough others are, or nobody will come.

The maps of survivors are parked in DRAM, segment by segment, and the unit turns to the deepest segment for which a full
batch waits, else to new inputs, else to the deepest segment that anybody waits for. A batch that is still full goes
straight on, and so does one that nobody could join. Deep segments, which few inputs reach and which have most of the
weights, then run full; the price is the parking, and time spent waiting for company.

A stretch between two parkings is one Program: the network from its first segment on, compacted (`jobs.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import simpy

from ceesim.hardware.model import Hardware
from ceesim.mapping.cut import Transfer
from ceesim.program.command import Unit
from ceesim.sim.costs import ExitCosts, price
from ceesim.sim.scenarios.jobs import Bill, Job, Jobs, bill_of
from ceesim.sim.scenarios.record import Record
from ceesim.sim.scenarios.station import Arrival, Process, Waiting

Suffix: TypeAlias = Callable[[int], Jobs]
"""The jobs of the network from a segment on."""
Store: TypeAlias = Callable[[int, int], Transfer]
"""What storing the maps of so many inputs takes, that cross into a segment."""


@dataclass(slots=True)
class Member:
    """An input under way: when it was first taken, and its share of what has been spent."""

    item: Waiting
    begin_cycle: int
    parked_cycle: int = 0
    energy_pj: float = 0.0
    dram_bytes: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A batch from one segment on: its prices, exit by exit, and who is left at each."""

    job: Job
    costs: ExitCosts


class Refill:
    """One unit with its parked maps; takes the place of `Station`.

    Args:
        suffix: jobs of the network from each segment on, compacted.
        store: what parking takes.
        capacity, batch_size, max_wait_cycles: as `Station`; here parked inputs wait no longer than that either, if
            it is not 0.
    """

    def __init__(
        self,
        env: simpy.Environment,
        record: Record,
        hardware: Hardware,
        suffix: Suffix,
        store: Store,
        num_exits: int,
        *,
        capacity: int | None = None,
        batch_size: int = 1,
        max_wait_cycles: int = 0,
    ) -> None:
        self._env = env
        self._record = record
        self._hardware = hardware
        self._suffix = suffix
        self._store = store
        self._capacity = capacity
        self._batch_size = batch_size
        self._max_wait = max_wait_cycles
        self._new: deque[Waiting] = deque()
        self._source: Iterator[Waiting] | None = None  # of closed arrivals
        self._parked: list[deque[Member]] = [deque() for _ in range(num_exits + 2)]
        self._stretches: dict[tuple[int, tuple[int, ...]], Stretch] = {}
        self._bills: dict[tuple[int, tuple[int, ...], int, bool], Bill] = {}
        self._idle: simpy.Event | None = None
        self._open = True

    @property
    def num_patterns(self) -> int:
        """Different stretches priced so far."""
        return len(self._bills)

    def arrivals(self, inputs: Iterator[Waiting]) -> Process:
        """Process that brings the inputs at their time."""
        env = self._env
        for item in inputs:
            if item.arrival_cycle > env.now:
                yield Arrival(env, item.arrival_cycle - int(env.now))
            self._record.arrived()
            places = self._batch_size if self._idle is not None else 0
            if self._capacity is not None and len(self._new) >= self._capacity + places:
                self._record.dropped(item.number)
                continue
            self._new.append(item)
            self._record.queue.change(int(env.now), 1)
            self._wake()
        self._open = False
        self._wake()

    def unit(self, number: int) -> Process:
        """Process of the unit under arrivals."""
        while True:
            segment, group = self._next()
            if group:
                yield from self._run(number, segment, group)
            elif self._open:
                self._idle = self._env.event()
                yield self._idle
                self._idle = None
            else:
                return

    def closed_unit(self, number: int, inputs: Iterator[Waiting]) -> Process:
        """Process of the unit that always finds new inputs, until there are no more."""
        self._source = inputs
        self._open = False
        while True:
            segment, group = self._next()
            if not group:
                return
            yield from self._run(number, segment, group)

    def _next(self) -> tuple[int, list[Member]]:
        """The segment to run, and for whom; nobody if nobody waits."""
        self._top_up()
        now, size = int(self._env.now), self._batch_size
        deepest = [segment for segment in range(len(self._parked) - 1, 1, -1) if self._parked[segment]]
        for segment in deepest:
            pool = self._parked[segment]
            overdue = self._max_wait and now - pool[0].parked_cycle >= self._max_wait
            if len(pool) >= size or overdue or not self._new:
                return segment, [pool.popleft() for _ in range(min(size, len(pool)))]
        taken = [self._new.popleft() for _ in range(min(size, len(self._new)))]
        if self._source is not None:
            return 1, [Member(item._replace(arrival_cycle=now), now) for item in taken]
        self._record.queue.change(now, -len(taken))
        return 1, [Member(item, now) for item in taken]

    def _top_up(self) -> None:
        """Under closed arrivals a batch of new inputs is always at hand, and arrives when it is taken."""
        while self._source is not None and len(self._new) < self._batch_size:
            item = next(self._source, None)
            if item is None:
                return
            self._record.arrived()
            self._new.append(item)

    def _run(self, number: int, segment: int, group: list[Member]) -> Process:
        """One stretch: until all have left, or who is left is parked."""
        env = self._env
        begin = int(env.now)
        self._record.begun(begin)
        group.sort(key=lambda member: member.item.row)
        stretch, rows = self._stretch(segment, group)
        last = rows[-1] + 1
        stop, parks = last, False
        for exit_index in range(1, last):
            at = begin + int(stretch.costs.latency_cycles[exit_index - 1])
            yield env.timeout(at - int(env.now))
            left = sum(row >= exit_index for row in rows)
            if left < self._batch_size and self._others(segment + exit_index):
                stop, parks = exit_index, True
                break
        bill = self._bill(segment, rows, stretch, stop, parks)
        for member in group:
            member.energy_pj += bill.total_pj / len(group)
            member.dram_bytes += bill.dram_bytes / len(group)
        end = begin + bill.occupancy_cycles
        if end > env.now:
            yield env.timeout(end - int(env.now))
        self._record.worked(number, begin, bill)
        for member, row in zip(group, rows, strict=True):
            if row < stop:
                self._leave(number, member, begin + int(stretch.costs.latency_cycles[row]))
            else:
                member.parked_cycle = end
                self._parked[segment + stop].append(member)

    def _others(self, segment: int) -> bool:
        """Whether anybody may still join a batch that is about to run `segment`."""
        self._top_up()
        return bool(self._new) or any(self._parked[before] for before in range(2, segment + 1))

    def _leave(self, number: int, member: Member, leave: int) -> None:
        item = member.item
        self._record.answered(item, item.row + 1, member.begin_cycle, leave)
        if self._record.rows is not None:
            self._record.rows.add(item, member.begin_cycle, leave, number, member.energy_pj, member.dram_bytes)

    def _stretch(self, segment: int, group: Sequence[Member]) -> tuple[Stretch, tuple[int, ...]]:
        """The stretch of a group from `segment` on, and the rows of its exits in that rest of the network."""
        rows = tuple(member.item.row - (segment - 1) for member in group)
        stretch = self._stretches.get((segment, rows))
        if stretch is None:
            jobs = self._suffix(segment)
            job = jobs.job(rows)
            costs = jobs.network.costs if len(rows) == 1 else price(job.program)
            stretch = self._stretches[segment, rows] = Stretch(job, costs)
        return stretch, rows

    def _bill(self, segment: int, rows: tuple[int, ...], stretch: Stretch, stop: int, parks: bool) -> Bill:
        """What a stretch comes to that ends at exit `stop` of its Program, with the parking of those left over."""
        key = segment, rows, stop, parks
        bill = self._bills.get(key)
        if bill is not None:
            return bill
        costs, jobs = stretch.costs, self._suffix(segment)
        if parks:
            left = sum(row >= stop for row in rows)
            transfer = self._store(segment + stop, left)
            at = stop - 1
            amounts, busy, occupancy = costs.amounts.copy(), costs.busy_cycles.copy(), costs.occupancy_cycles.copy()
            amounts[at] += transfer.amounts
            busy[at, Unit.STORE] += transfer.occupancy_cycles
            occupancy[at] += transfer.latency_cycles
            costs = replace(costs, amounts=amounts, busy_cycles=busy, occupancy_cycles=occupancy)
        job = replace(stretch.job, exit_index=stop, answered_at=tuple(min(row + 1, stop) for row in rows))
        bill = self._bills[key] = bill_of(job, costs, self._hardware, jobs.density)
        return bill

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.triggered:
            self._idle.succeed()
