"""An input of a scenario: as it arrived, and under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ceesim.sim.scenarios.jobs import Bill


class Arrived(NamedTuple):
    """An input that has arrived.

    Args:
        number: in the order of arrivals, from 0.
        input_index: in the trace.
        row: exit that it will take, as a row of the network's prices.
    """

    number: int
    input_index: int
    row: int
    arrival_cycle: int


@dataclass(slots=True)
class UnderWay:
    """An input that is served in several steps: when it was first taken, and its share of what was spent so far."""

    item: Arrived
    begin_cycle: int
    energy_pj: float = 0.0
    dram_bytes: float = 0.0

    def pay(self, bill: Bill, num_members: int = 1) -> None:
        """Take its share of a bill that `num_members` share evenly."""
        self.energy_pj += bill.total_pj / num_members
        self.dram_bytes += bill.dram_bytes / num_members
