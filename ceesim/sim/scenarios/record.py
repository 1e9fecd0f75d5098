"""What is kept of a scenario while it runs: statistics that do not grow, and, if asked for, a row per input."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np

from ceesim.program.command import NUM_AMOUNTS, NUM_UNITS, Int64s
from ceesim.sim.scenarios.inputs import Arrived, UnderWay
from ceesim.sim.scenarios.jobs import Bill
from ceesim.sim.scenarios.statistics import BatchMeans, Histogram, QueueLength

Float64s: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
_MOST_BILLS: Final = 256


class Progress(Protocol):
    """What a scenario reports to: a terminal, or nothing."""

    def start(self, total: int) -> None:
        """So many inputs are to come, both networks together."""

    def advance(self) -> None:
        """One more was answered or dropped."""


class Record:
    """The books of one run.

    Args:
        expected: how many inputs are to come.
        num_units: how many accelerators serve them.
        num_exits: early exits of the network.
        deadline_cycles: answers later than this after arrival are late; None: never.
        warm_up: first inputs left out of the statistics of times, not out of counts and sums.
        detailed: whether to keep a row per input.
        progress: told of every input.
    """

    def __init__(
        self,
        expected: int,
        num_units: int,
        num_exits: int,
        *,
        deadline_cycles: int | None,
        warm_up: int,
        detailed: bool,
        progress: Progress | None = None,
    ) -> None:
        counted = max(expected - warm_up, 1)
        self._deadline = deadline_cycles
        self._progress = progress
        self._warm_up = warm_up
        self.num_arrived = 0
        self.num_served = 0
        self.num_dropped = 0
        self.num_late = 0
        self.waiting = BatchMeans(counted)
        self.latency = BatchMeans(counted)
        self.missed = BatchMeans(counted)
        self.waiting_cycles = Histogram()
        self.latency_cycles = Histogram()
        self.queue = QueueLength()
        self.unit_busy_cycles = [0] * num_units
        self._busy_cycles: Int64s = np.zeros(NUM_UNITS, np.int64)
        self._amounts: Int64s = np.zeros(NUM_AMOUNTS, np.int64)
        self._wasted: Int64s = np.zeros(NUM_AMOUNTS, np.int64)
        self._energy_pj: Float64s | None = None
        self._bills: dict[Bill, int] = {}  # how often each came since they were added up last
        self._exit_counts = [0] * (num_exits + 1)
        self._leaving_counts = [0] * (num_exits + 1)
        self.num_groups = 0
        self.num_members = 0
        """Of all groups together; one that is served in several steps is in several groups."""
        self.end_cycle = 0
        self.transferring_cycles = 0
        self.any_busy_cycles = 0
        """In which at least one accelerator was at work."""
        self._at_work = 0
        self.rows: Rows | None = Rows() if detailed else None

    @property
    def has_deadline(self) -> bool:
        """Whether answers can be late."""
        return self._deadline is not None

    @property
    def busy_cycles(self) -> Int64s:
        """[NUM_UNITS] occupancy of the queues of all accelerators."""
        self._add_up()
        return self._busy_cycles

    @property
    def amounts(self) -> Int64s:
        """[NUM_AMOUNTS] of everything that happened."""
        self._add_up()
        return self._amounts

    @property
    def wasted(self) -> Int64s:
        """[NUM_AMOUNTS] the part for segments that were not run."""
        self._add_up()
        return self._wasted

    @property
    def energy_pj(self) -> Float64s | None:
        """Energy of everything that happened, as a row of a `Breakdown`; None if nothing did."""
        self._add_up()
        return self._energy_pj

    @property
    def exit_counts(self) -> Int64s:
        """[exits + 1] inputs whose answer came from each exit."""
        return np.array(self._exit_counts, np.int64)

    @property
    def leaving_counts(self) -> Int64s:
        """[exits + 1] inputs served, by the exit at which each would leave alone: a batch may go on with it."""
        return np.array(self._leaving_counts, np.int64)

    def arrived(self) -> None:
        """An input has come."""
        self.num_arrived += 1

    def dropped(self, number: int) -> None:
        """It found no place to wait."""
        self.num_dropped += 1
        if self._progress is not None:
            self._progress.advance()
        if number >= self._warm_up:
            self.missed.add(1)

    def served(self, unit: int, group: Sequence[Arrived], begin: int, bill: Bill) -> None:
        """A unit that took `group` at cycle `begin` is free again, and all members have their answers."""
        self.worked(unit, begin, bill, len(group))
        energy_pj, dram_bytes = bill.total_pj / len(group), bill.dram_bytes / len(group)
        for item, exit_index, answer in zip(group, bill.answered_at, bill.answer_cycles, strict=True):
            self._answered(item, exit_index, begin, begin + answer)
            if self.rows is not None:
                self.rows.add(item, begin, begin + answer, unit, energy_pj, dram_bytes)

    def left(self, flow: UnderWay, exit_index: int, leave: int, unit: int) -> None:
        """An input that was served in several steps had its answer at `leave` from `unit`, at exit `exit_index`."""
        self._answered(flow.item, exit_index, flow.begin_cycle, leave)
        if self.rows is not None:
            self.rows.add(flow.item, flow.begin_cycle, leave, unit, flow.energy_pj, flow.dram_bytes)

    def begun(self, now: int) -> None:
        """A unit has set to work."""
        if self._at_work == 0:
            self.any_busy_cycles -= now
        self._at_work += 1

    def worked(self, unit: int, begin: int, bill: Bill, members: int) -> None:
        """A unit has done what is on `bill` for so many inputs, from cycle `begin` to now."""
        self.num_groups += 1
        self.num_members += members
        self.unit_busy_cycles[unit] += bill.occupancy_cycles
        self.transferring_cycles += bill.transferring_cycles
        end = begin + bill.occupancy_cycles
        self._at_work -= 1
        if self._at_work == 0:
            self.any_busy_cycles += end
        if end > self.end_cycle:
            self.end_cycle = end
        self._bills[bill] = self._bills.get(bill, 0) + 1
        if len(self._bills) > _MOST_BILLS:
            self._add_up()

    def _add_up(self) -> None:
        """Bills repeat, so each is counted first, and added up once for as often as it came."""
        for bill, times in self._bills.items():
            self._busy_cycles += bill.busy_cycles * times
            self._amounts += bill.amounts * times
            self._wasted += bill.wasted * times
            spent = bill.energy.pj[0] * times
            self._energy_pj = spent if self._energy_pj is None else self._energy_pj + spent
        self._bills.clear()

    def _answered(self, item: Arrived, exit_index: int, begin: int, leave: int) -> None:
        """An input that was first taken at `begin` had its answer at `leave`, from exit `exit_index`."""
        self._exit_counts[exit_index - 1] += 1
        self._leaving_counts[item.row] += 1
        arrival = item.arrival_cycle
        waited, lasted = begin - arrival, leave - arrival
        self.num_served += 1
        if self._progress is not None:
            self._progress.advance()
        if self._deadline is not None:
            late = lasted > self._deadline
            self.num_late += late
            if item.number >= self._warm_up:
                self.missed.add(int(late))
        if item.number >= self._warm_up:
            self.waiting.add(waited)
            self.latency.add(lasted)
            self.waiting_cycles.add(waited)
            self.latency_cycles.add(lasted)


class Rows:
    """A row per input, as compact columns, in the order of service."""

    def __init__(self) -> None:
        self.number, self.index, self.unit = array("q"), array("q"), array("q")
        self.arrival_cycle, self.begin_cycle, self.answer_cycle = array("q"), array("q"), array("q")
        self.energy_pj, self.dram_bytes = array("d"), array("d")

    def add(self, item: Arrived, begin: int, leave: int, unit: int, energy_pj: float, dram_bytes: float) -> None:
        """One input; `unit` answered it, and the energy and bytes are its share of every group it was in."""
        self.number.append(item.number)
        self.index.append(item.input_index)
        self.unit.append(unit)
        self.arrival_cycle.append(item.arrival_cycle)
        self.begin_cycle.append(begin)
        self.answer_cycle.append(leave)
        self.energy_pj.append(energy_pj)
        self.dram_bytes.append(dram_bytes)

    def take_back(self, paid_pj: float) -> None:
        """Give energy that was paid twice for the same time back to all inputs, by their time of service."""
        served = np.array(self.answer_cycle) - np.array(self.begin_cycle)
        shares = served / max(served.sum(), 1)
        self.energy_pj = array("d", np.array(self.energy_pj) - paid_pj * shares)
