"""What runs between two parkings of a refilled batch, and what it comes to: priced once per group and end.

A stretch is one Program: the network from some segment on, compacted (`jobs.py`), for a group of inputs. It ends when
all have left, or at an exit after which the maps of those left over are stored in DRAM.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from ceesim.hardware.model import Hardware
from ceesim.mapping.cut import Transfer
from ceesim.program.command import Unit
from ceesim.sim.costs import ExitCosts, price
from ceesim.sim.scenarios.jobs import Bill, Job, Jobs, bill_of

Suffix: TypeAlias = Callable[[int], Jobs]
"""The jobs of the network from a segment on."""
Store: TypeAlias = Callable[[int, int], Transfer]
"""What storing the maps of so many inputs takes, that cross into a segment."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A batch from one segment on: its prices, exit by exit.

    Args:
        segment: the first it runs, 1..N+1.
        rows: of each member, ascending: how many exits of this rest of the network it passes.
    """

    segment: int
    rows: tuple[int, ...]
    job: Job
    costs: ExitCosts


class Stretches:
    """The stretches of one network on one hardware; all runs of it share their prices.

    Args:
        suffix: jobs of the network from each segment on, compacted.
        store: what parking takes.
    """

    def __init__(self, hardware: Hardware, suffix: Suffix, store: Store) -> None:
        self._hardware = hardware
        self._suffix = suffix
        self._store = store
        self._rests: dict[int, Jobs] = {}
        self._stretches: dict[tuple[int, tuple[int, ...]], Stretch] = {}
        self._bills: dict[tuple[Stretch, int, bool], Bill] = {}

    @property
    def num_patterns(self) -> int:
        """Different stretches priced so far."""
        return len(self._bills)

    def stretch(self, segment: int, rows: tuple[int, ...]) -> Stretch:
        """The stretch from `segment` on of a group whose members pass so many of its exits, in ascending order."""
        stretch = self._stretches.get((segment, rows))
        if stretch is None:
            jobs = self._rest(segment)
            job = jobs.job(rows)
            costs = jobs.network.costs if len(rows) == 1 else price(job.program)
            stretch = self._stretches[segment, rows] = Stretch(segment, rows, job, costs)
        return stretch

    def bill(self, stretch: Stretch, stop: int, parks: bool) -> Bill:
        """What a stretch comes to that ends at exit `stop` of its Program, with the parking of those left over."""
        key = stretch, stop, parks
        bill = self._bills.get(key)
        if bill is not None:
            return bill
        costs, segment, rows = stretch.costs, stretch.segment, stretch.rows
        if parks:
            transfer = self._store(segment + stop, sum(row >= stop for row in rows))
            at = stop - 1
            amounts, busy, occupancy = costs.amounts.copy(), costs.busy_cycles.copy(), costs.occupancy_cycles.copy()
            amounts[at] += transfer.amounts
            busy[at, Unit.STORE] += transfer.occupancy_cycles
            occupancy[at] += transfer.latency_cycles
            costs = replace(costs, amounts=amounts, busy_cycles=busy, occupancy_cycles=occupancy)
        job = replace(stretch.job, exit_index=stop, answered_at=tuple(min(row + 1, stop) for row in rows))
        bill = self._bills[key] = bill_of(job, costs, self._hardware, self._rest(segment).density)
        return bill

    def _rest(self, segment: int) -> Jobs:
        jobs = self._rests.get(segment)
        if jobs is None:
            jobs = self._rests[segment] = self._suffix(segment)
        return jobs
