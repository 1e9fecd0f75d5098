"""Arrivals, a queue, and units that take inputs from it in groups: the event simulation of everything but pipelines.

One process brings the inputs, one process per unit takes them; within a cycle units get free before inputs come. A
unit that nobody disturbs needs one event per group, because its bill is known when it begins; units that share a DRAM
execute their commands event by event. Nothing kept here grows with the number of inputs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

import simpy
from simpy.events import EventPriority

from ceesim.sim.scenarios.jobs import Bill
from ceesim.sim.scenarios.record import Record

Process: TypeAlias = Generator[simpy.Event, Any, None]


class Waiting(NamedTuple):
    """An input that has arrived."""

    number: int
    input_index: int
    """In the trace."""
    row: int
    """Exit that it will take, as a row of the network's prices."""
    arrival_cycle: int


_exit_row: Final = attrgetter("row")
_LAST: Final = EventPriority(2)


class Arrival(simpy.Event):
    """The event that inputs come, after all else that happens in that cycle: a unit that gets free is free for them."""

    def __init__(self, env: simpy.Environment, cycles: int) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        env.schedule(self, priority=_LAST, delay=cycles)


Serve: TypeAlias = Callable[[int, Sequence[int]], "Bill | Generator[simpy.Event, Any, Bill]"]
"""What unit k does with a group of rows: its bill, or the process whose value is the bill."""


class Station:
    """The queue in front of the units.

    Args:
        capacity: how many may wait; None is unlimited.
        batch_size: how many a unit takes at most.
        max_wait_cycles: how long the oldest waits for a group to fill.
    """

    def __init__(
        self,
        env: simpy.Environment,
        record: Record,
        serve: Serve,
        num_units: int,
        *,
        capacity: int | None = None,
        batch_size: int = 1,
        max_wait_cycles: int = 0,
    ) -> None:
        self._env = env
        self._record = record
        self._serve = serve
        self._capacity = capacity
        self._batch_size = batch_size
        self._max_wait = max_wait_cycles
        self._waiting: deque[Waiting] = deque()
        self._free = num_units
        self._idle: deque[simpy.Event] = deque()
        self._open = True

    def arrivals(self, inputs: Iterator[Waiting]) -> Process:
        """Process that brings the inputs at their time; units go home when the last has come and gone."""
        env, record, waiting, capacity, now = self._env, self._record, self._waiting, self._capacity, 0
        for item in inputs:
            if item.arrival_cycle > now:
                yield Arrival(env, item.arrival_cycle - now)
                now = item.arrival_cycle
            record.arrived()
            # free units will take inputs in this very cycle
            if capacity is not None and len(waiting) >= capacity + self._free * self._batch_size:
                record.dropped(item.number)
                continue
            waiting.append(item)
            record.queue.change(now, 1)
            if self._idle:
                self._wake()
        self._open = False
        while self._idle:
            self._wake()

    def unit(self, number: int) -> Process:
        """Process of one unit."""
        env, queue, waiting, size = self._env, self._record.queue, self._waiting, self._batch_size
        while True:
            while not (waiting and self._ready()):
                if not waiting and not self._open:
                    return
                yield from self._nudged()
            group = [waiting.popleft()] if size == 1 else [waiting.popleft() for _ in range(min(size, len(waiting)))]
            begin = int(env.now)
            queue.change(begin, -len(group))
            self._free -= 1
            yield from self._serve_group(number, group, begin)
            self._free += 1

    def closed_unit(self, number: int, inputs: Iterator[Waiting]) -> Process:
        """Process of a unit that always finds inputs: each arrives when it is taken."""
        env = self._env
        while True:
            group = list(islice(inputs, self._batch_size))
            if not group:
                return
            begin = int(env.now)
            for _ in group:
                self._record.arrived()
            group = [item._replace(arrival_cycle=begin) for item in group]
            yield from self._serve_group(number, group, begin)

    def _serve_group(self, number: int, group: list[Waiting], begin: int) -> Process:
        """Have a group served, members in the order of their exits, and write it down."""
        self._record.begun(begin)
        if len(group) > 1:
            group.sort(key=_exit_row)
            served = self._serve(number, [item.row for item in group])
        else:
            served = self._serve(number, (group[0].row,))
        if isinstance(served, Bill):
            yield self._env.timeout(served.occupancy_cycles)
        else:
            served = yield self._env.process(served)
        self._record.served(number, group, begin, served)

    def _ready(self) -> bool:
        """Whether those who wait may be taken: they fill a group, or have waited long enough, or no more will come."""
        if not self._max_wait or not self._open or len(self._waiting) >= self._batch_size:
            return True
        return self._env.now >= self._waiting[0].arrival_cycle + self._max_wait

    def _nudged(self) -> Process:
        """Wait until something has changed for an idle unit."""
        changed = self._env.event()
        self._idle.append(changed)
        if self._waiting:
            due = self._waiting[0].arrival_cycle + self._max_wait
            yield changed | self._env.timeout(due - int(self._env.now))
        else:
            yield changed
        if not changed.triggered:  # nobody is to be woken by it any more
            self._idle.remove(changed)

    def _wake(self) -> None:
        self._idle.popleft().succeed()
