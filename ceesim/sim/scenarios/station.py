"""A queue, and units that take inputs from it in groups: the event simulation of everything but pipelines and refill.

One process brings the inputs, one process per unit takes them; within a cycle units get free before inputs come. A
unit that nobody disturbs needs one event per group, because its bill is known when it begins; units that share a DRAM
execute their commands event by event. Nothing kept here grows with the number of inputs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final, TypeAlias

import simpy

from ceesim.sim.scenarios.inputs import Arrived
from ceesim.sim.scenarios.intake import Intake, Steps, bring
from ceesim.sim.scenarios.jobs import Bill
from ceesim.sim.scenarios.record import Record

_exit_row: Final = attrgetter("row")

Serve: TypeAlias = Callable[[int, Sequence[int]], "Bill | Generator[simpy.Event, Any, Bill]"]
"""What unit k does with a group of rows: its bill, or the process whose value is the bill."""


class Station:
    """The queue in front of the units.

    Args:
        capacity, batch_size, max_wait_cycles: see `Intake`.
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
        self._batch_size = batch_size
        self._intake = Intake(capacity=capacity, batch_size=batch_size, max_wait_cycles=max_wait_cycles)
        self._free = num_units
        self._idle: deque[simpy.Event] = deque()

    def arrivals(self, inputs: Iterator[Arrived]) -> Steps:
        """Process that brings the inputs at their time; units go home when the last has come and gone."""
        yield from bring(self._env, self._record, inputs, lambda: self._intake.has_room(self._free), self._put)
        self._intake.is_open = False
        while self._idle:
            self._wake()

    def unit(self, number: int) -> Steps:
        """Process of one unit."""
        env, queue, intake = self._env, self._record.queue, self._intake
        while True:
            while not intake.is_ready(int(env.now)):
                if not intake and not intake.is_open:
                    return
                yield from self._nudged()
            group, begin = intake.take(), int(env.now)
            queue.change(begin, -len(group))
            self._free -= 1
            yield from self._serve_group(number, group, begin)
            self._free += 1

    def closed_unit(self, number: int, inputs: Iterator[Arrived]) -> Steps:
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

    def _serve_group(self, number: int, group: list[Arrived], begin: int) -> Steps:
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

    def _put(self, item: Arrived) -> None:
        self._intake.put(item)
        if self._idle:
            self._wake()

    def _nudged(self) -> Steps:
        """Wait until something has changed for an idle unit."""
        changed = self._env.event()
        self._idle.append(changed)
        if self._intake:
            yield changed | self._env.timeout(self._intake.due_cycle - int(self._env.now))
        else:
            yield changed
        if not changed.triggered:  # nobody is to be woken by it any more
            self._idle.remove(changed)

    def _wake(self) -> None:
        self._idle.popleft().succeed()
