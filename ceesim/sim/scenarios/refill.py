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

from ceesim.sim.scenarios.inputs import Arrived, UnderWay
from ceesim.sim.scenarios.intake import Intake, Steps, bring
from ceesim.sim.scenarios.record import Record
from ceesim.sim.scenarios.stretches import Stretches


@dataclass(slots=True)
class Member(UnderWay):
    """An input under way, and when it was parked last."""

    parked_cycle: int = 0


class Refill:
    """One unit with its parked maps; takes the place of `Station`.

    Args:
        stretches: what the unit runs.
        num_exits: of the whole network.
        capacity, batch_size, max_wait_cycles: see `Intake`; inputs that have been parked for `max_wait_cycles` go
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
        self._batch_size = batch_size
        self._max_wait = max_wait_cycles
        self._new = Intake(capacity=capacity, batch_size=batch_size, max_wait_cycles=max_wait_cycles)
        self._source: Iterator[Arrived] | None = None  # of closed arrivals
        self._parked: list[deque[Member]] = [deque() for _ in range(num_exits + 2)]
        self._idle: simpy.Event | None = None

    @property
    def num_patterns(self) -> int:
        """Different stretches priced so far."""
        return self._stretches.num_patterns

    def arrivals(self, inputs: Iterator[Arrived]) -> Steps:
        """Process that brings the inputs at their time."""
        yield from bring(
            self._env, self._record, inputs, lambda: self._new.has_room(int(self._idle is not None)), self._put
        )
        self._new.is_open = False
        self._wake()

    def unit(self, number: int) -> Steps:
        """Process of the unit under arrivals."""
        while True:
            segment, group = self._next()
            if group:
                yield from self._run(number, segment, group)
            elif self._new.is_open:
                yield from self._nudged()
            else:
                return

    def closed_unit(self, number: int, inputs: Iterator[Arrived]) -> Steps:
        """Process of the unit that always finds new inputs, until there are no more."""
        self._source = inputs
        self._new.is_open = False
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
        now = int(self._env.now)
        if not self._new.is_ready(now):
            return 1, []
        taken = self._new.take()
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

    def _nudged(self) -> Steps:
        """Wait until something has come, or somebody has waited long enough."""
        self._idle = self._env.event()
        due = [self._new.due_cycle] if self._new else []
        due += [pool[0].parked_cycle + self._max_wait for pool in self._parked if pool]
        if due:
            yield self._idle | self._env.timeout(min(due) - int(self._env.now))
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
            self._new.put(item)

    def _run(self, number: int, segment: int, group: list[Member]) -> Steps:
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
            member.pay(bill, len(group))
        end = begin + bill.occupancy_cycles
        if end > env.now:
            yield env.timeout(end - int(env.now))
        self._record.worked(number, begin, bill, len(group))
        for member, row in zip(group, rows, strict=True):
            if row < stop:
                leave = begin + int(stretch.costs.latency_cycles[row])
                self._record.left(member, member.item.row + 1, leave, number)
            else:
                member.parked_cycle = end
                self._parked[segment + stop].append(member)

    def _others(self, segment: int) -> bool:
        """Whether anybody may still join a batch that is about to run `segment`."""
        self._top_up()
        return bool(self._new) or any(self._parked[before] for before in range(2, segment + 1))

    def _put(self, item: Arrived) -> None:
        self._new.put(item)
        self._wake()

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
    inputs = (Arrived(number, number, row, 0) for number, row in enumerate(rows))
    env.process(unit.closed_unit(0, inputs))
    env.run()
    return record.end_cycle / len(rows)
