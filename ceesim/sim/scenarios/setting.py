"""What a scenario is played on: a hardware, and how networks (or their rests) are compiled and priced for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ceesim.exits.policy import DecisionCost
from ceesim.hardware.model import Hardware, Residency
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.cut import Transfer, cut, parking
from ceesim.mapping.pinning import pins_of
from ceesim.mapping.residency import Pins
from ceesim.program.command import Program
from ceesim.sim.costs import Priced, price
from ceesim.sim.scenarios.jobs import Jobs
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.sim.scenarios.pipeline import with_handover
from ceesim.sim.scenarios.stretches import Stretches
from ceesim.workload.network import Workload


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything that a scenario is played on.

    Args:
        exit_cost, exit_rates: what the network with exits was compiled with; rates also divide a pipeline.
        density: share of non-zero ifmap values by op name.
        batch: inputs that a unit takes together at most. What a unit has pinned is chosen for that many, once: whatever
            smaller batches and rests of the network it runs find the same weights on chip.
    """

    hardware: Hardware
    exit_cost: DecisionCost
    exit_rates: Sequence[float] | None
    density: Mapping[str, float]
    batch: int = 1

    def jobs(self, network: Priced, mode: BatchMode) -> Jobs:
        """The jobs of `network` in batches of that mode."""
        pins = self._pins(network.workload)
        if pins is not None:
            program = self._compiled(network.workload, pins)
            network = replace(network, program=program, costs=price(program))
        return self._jobs(network, mode, pins)

    def rest(self, network: Priced, first: int, last: int | None = None, pins: Pins | None = None) -> Priced:
        """The network from segment `first` on, or up to `last` and the store of what crosses from there.

        Args:
            pins: of the unit that runs it; None: chosen for these segments.

        Raises:
            WorkloadError: if more than one map crosses into or out of these segments.
        """
        workload = cut(network.workload, self.hardware, first)
        until = last - first + 1 if last is not None and last <= network.program.num_exits else None
        program = self._compiled(workload, pins, last=until)
        if last is not None and until is not None:
            program = with_handover(program.truncated(until), self.storing(network, last + 1, 1))
        return Priced(workload, program, price(program), ())

    def stretches(self, network: Priced) -> Stretches:
        """What a unit that refills its batches runs of `network`."""
        pins = self._pins(network.workload)
        return Stretches(
            self.hardware,
            lambda segment: self._jobs(self.rest(network, segment, pins=pins), BatchMode.COMPACTED, pins),
            lambda segment, images: self.storing(network, segment, images),
        )

    def storing(self, network: Priced, segment: int, images: int) -> Transfer:
        """What the store of so many maps takes that cross into `segment`.

        Raises:
            WorkloadError: if more than one map crosses.
        """
        return parking(network.workload, self.hardware, segment, images).store

    def rates(self, workload: Workload) -> tuple[float, ...] | None:
        """Of the inputs that get as far as `workload`, a rest of the network or its backbone: who leaves where."""
        if self.exit_rates is None:
            return None
        reach = self.exit_rates[len(self.exit_rates) - workload.num_exits - 1 :]
        total = sum(reach)
        return tuple(rate / total for rate in reach) if total else (*reach[:-1], 1.0)

    def _jobs(self, network: Priced, mode: BatchMode, pins: Pins | None) -> Jobs:
        def make(batch: tuple[int, ...], compacted: bool) -> Program:
            return self._compiled(network.workload, pins, batch=batch, compacted=compacted)

        return Jobs(network, self.hardware, self.density, mode, make)

    def _pins(self, workload: Workload) -> Pins | None:
        """What a unit that runs batches of `workload` has pinned; None if it pins nothing, or runs no batches."""
        if self.batch == 1 or self.hardware.residency is Residency.NONE:
            return None
        return pins_of(workload, self.hardware, self.rates(workload), self.batch)

    def _compiled(self, workload: Workload, pins: Pins | None, **how: Any) -> Program:
        rates = self.rates(workload)
        return compile_program(workload, self.hardware, exit_cost=self.exit_cost, exit_rates=rates, pins=pins, **how)
