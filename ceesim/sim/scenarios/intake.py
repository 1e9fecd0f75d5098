"""How inputs come in: they arrive at their time, find room to wait or are dropped, and go on when a group may."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, TypeAlias

import simpy
from simpy.events import EventPriority

from ceesim.sim.scenarios.inputs import Arrived
from ceesim.sim.scenarios.record import Record

Steps: TypeAlias = Generator[simpy.Event, Any, None]
"""A SimPy process."""

_LAST: Final = EventPriority(2)


class _Arrival(simpy.Event):
    """The event that inputs come, after all else that happens in that cycle: a unit that gets free is free for them."""

    def __init__(self, env: simpy.Environment, cycles: int) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        env.schedule(self, priority=_LAST, delay=cycles)


def bring(
    env: simpy.Environment,
    record: Record,
    inputs: Iterator[Arrived],
    has_room: Callable[[], bool],
    put: Callable[[Arrived], None],
) -> Steps:
    """Process that brings `inputs` at their time, puts them where they wait, and drops those that find no room."""
    now = 0
    for item in inputs:
        if item.arrival_cycle > now:
            yield _Arrival(env, item.arrival_cycle - now)
            now = item.arrival_cycle
        record.arrived()
        if has_room():
            record.queue.change(now, 1)
            put(item)
        else:
            record.dropped(item.number)


class Intake:
    """Inputs that wait to be taken up, in groups.

    Args:
        capacity: how many may wait; None is unlimited.
        batch_size: how many are taken at most.
        max_wait_cycles: how long the oldest waits for a group to fill.
    """

    def __init__(self, *, capacity: int | None, batch_size: int, max_wait_cycles: int) -> None:
        self._capacity = capacity
        self._batch_size = batch_size
        self._max_wait = max_wait_cycles
        self._waiting: deque[Arrived] = deque()
        self.is_open = True
        """Whether more may come."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Arrived) -> None:
        """One more waits."""
        self._waiting.append(item)

    def has_room(self, num_groups: int) -> bool:
        """Whether one more may wait, when so many groups will be taken in this very cycle."""
        return self._capacity is None or len(self._waiting) < self._capacity + num_groups * self._batch_size

    def is_ready(self, now: int) -> bool:
        """Whether a group may be taken: it is full, or has waited long enough, or no more will come."""
        waiting = self._waiting
        if not waiting:
            return False
        if not self._max_wait or not self.is_open or len(waiting) >= self._batch_size:
            return True
        return now >= waiting[0].arrival_cycle + self._max_wait

    @property
    def due_cycle(self) -> int:
        """When those who wait may be taken at the latest."""
        return self._waiting[0].arrival_cycle + self._max_wait

    def take(self) -> list[Arrived]:
        """The next group, oldest first; a single input if nobody else waits."""
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(self._batch_size, len(waiting)))]
