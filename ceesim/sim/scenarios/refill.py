"""Batches that fill up again: who is left over at an exit is put aside until enough others are, or nobody will come.

The maps of survivors are parked in DRAM, segment by segment, and the unit turns to the deepest segment for which a full
batch waits, else to new inputs, else to the deepest segment that anybody waits for. A batch that is still full goes
straight on, and so does one that nobody could join. Deep segments, which few inputs reach and which have most of the
weights, then run full; the price is the parking, and time spent waiting for company.

With `max_wait`, new inputs that do not fill a batch wait for company as they do before a `Station`, and parked ones
wait with them; a pool whose oldest map has been parked for that long goes first, full or not.

A stretch between two parkings is one Program (`stretches.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import simpy

from ceesim.sim.scenarios.record import Record
from ceesim.sim.scenarios.station import Arrival, Process, Waiting
from ceesim.sim.scenarios.stretches import Stretches


@dataclass(slots=True)
class Member:
    """An input under way: when it was first taken, and its share of what has been spent."""

    item: Waiting
    begin_cycle: int
    parked_cycle: int = 0
    energy_pj: float = 0.0
    dram_bytes: float = 0.0


class Refill:
    """One unit with its parked maps; takes the place of `Station`.

    Args:
        stretches: what the unit runs.
        num_exits: of the whole network.
        capacity, batch_size, max_wait_cycles: as `Station`; inputs that have been parked for `max_wait_cycles` go
            before others, if it is not 0.
    """

    def __init__(
        self,
        env: simpy.Environment,
        record: Record,
        stretches: Stretches,
        num_exits: int,
        *,
        capacity: int | None = None,
        batch_size: int = 1,
        max_wait_cycles: int = 0,
    ) -> None:
        self._env = env
        self._record = record
        self._stretches = stretches
        self._capacity = capacity
        self._batch_size = batch_size
        self._max_wait = max_wait_cycles
        self._new: deque[Waiting] = deque()
        self._source: Iterator[Waiting] | None = None  # of closed arrivals
        self._parked: list[deque[Member]] = [deque() for _ in range(num_exits + 2)]
        self._idle: simpy.Event | None = None
        self._open = True

    @property
    def num_patterns(self) -> int:
        """Different stretches priced so far."""
        return self._stretches.num_patterns

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
                yield from self._nudged()
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
        """The segment to run, and for whom; nobody if nobody waits, or those who do wait for company."""
        self._top_up()
        segment = self._urgent()
        if segment is None and not self._new:
            segment = next((deep for deep in self._deepest() if self._parked[deep]), None)
        if segment is not None:
            pool = self._parked[segment]
            return segment, [pool.popleft() for _ in range(min(self._batch_size, len(pool)))]
        if not self._ready():
            return 1, []
        now = int(self._env.now)
        taken = [self._new.popleft() for _ in range(min(self._batch_size, len(self._new)))]
        if self._source is not None:
            return 1, [Member(item._replace(arrival_cycle=now), now) for item in taken]
        self._record.queue.change(now, -len(taken))
        return 1, [Member(item, now) for item in taken]

    def _deepest(self) -> range:
        return range(len(self._parked) - 1, 1, -1)

    def _urgent(self) -> int | None:
        """The deepest segment for which a full batch is parked, or anybody has been for as long as he may."""
        now, longest = int(self._env.now), self._max_wait
        for segment in self._deepest():
            pool = self._parked[segment]
            if len(pool) >= self._batch_size or (pool and longest and now - pool[0].parked_cycle >= longest):
                return segment
        return None

    def _ready(self) -> bool:
        """Whether new inputs may be taken: they fill a batch, or have waited long enough, or no more will come."""
        if not self._new:
            return False
        if not self._max_wait or not self._open or len(self._new) >= self._batch_size:
            return True
        return self._env.now >= self._new[0].arrival_cycle + self._max_wait

    def _nudged(self) -> Process:
        """Wait until something has come, or somebody has waited long enough."""
        self._idle = self._env.event()
        due = [self._new[0].arrival_cycle] if self._new else []
        due += [pool[0].parked_cycle for pool in self._parked if pool]
        if due:
            yield self._idle | self._env.timeout(min(due) + self._max_wait - int(self._env.now))
        else:
            yield self._idle
        self._idle = None

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
        rows = tuple(member.item.row - (segment - 1) for member in group)
        stretch = self._stretches.stretch(segment, rows)
        last = rows[-1] + 1
        stop, parks = last, False
        for exit_index in range(1, last):
            at = begin + int(stretch.costs.latency_cycles[exit_index - 1])
            yield env.timeout(at - int(env.now))
            left = sum(row >= exit_index for row in rows)
            if left < self._batch_size and self._others(segment + exit_index):
                stop, parks = exit_index, True
                break
        bill = self._stretches.bill(stretch, stop, parks)
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

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.triggered:
            self._idle.succeed()


def saturated_cycles(
    stretches: Stretches, num_exits: int, rows: Sequence[int], batch_size: int, max_wait_cycles: int = 0
) -> float:
    """Cycles per input of a unit that always finds a batch of new inputs, which take `rows`, until they end.

    The last maps run in batches that nobody fills any more, so this is high by about a batch in all of them.
    """
    env = simpy.Environment()
    record = Record(len(rows), 1, num_exits, deadline_cycles=None, warm_up=0, detailed=False)
    unit = Refill(env, record, stretches, num_exits, batch_size=batch_size, max_wait_cycles=max_wait_cycles)
    inputs = (Waiting(number, number, row, 0) for number, row in enumerate(rows))
    env.process(unit.closed_unit(0, inputs))
    env.run()
    return record.end_cycle / len(rows)
