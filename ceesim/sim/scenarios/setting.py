"""What a scenario is played on: a hardware, and how networks (or their rests) are compiled and priced for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ceesim.exits.policy import DecisionCost
from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.cut import Transfer, cut, parking
from ceesim.program.command import Program
from ceesim.sim.costs import Priced, price
from ceesim.sim.scenarios.jobs import Compiler, Jobs
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.sim.scenarios.pipeline import with_handover
from ceesim.sim.scenarios.stretches import Stretches


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything that a scenario is played on.

    Args:
        exit_cost, exit_rates: what the network with exits was compiled with; rates also divide a pipeline.
        density: share of non-zero ifmap values by op name.
    """

    hardware: Hardware
    exit_cost: DecisionCost
    exit_rates: Sequence[float] | None
    density: Mapping[str, float]

    def compiler(self, network: Priced) -> Compiler:
        """Programs of `network` by batch."""
        rates = self.exit_rates
        if rates is not None and not network.program.num_exits:
            rates = (1.0,)

        def make(batch: tuple[int, ...], compacted: bool) -> Program:
            return compile_program(
                network.workload,
                self.hardware,
                exit_cost=self.exit_cost,
                exit_rates=rates,
                batch=batch,
                compacted=compacted,
            )

        return make

    def jobs(self, network: Priced, mode: BatchMode) -> Jobs:
        """The jobs of `network` in batches of that mode."""
        return Jobs(network, self.hardware, self.density, mode, self.compiler(network))

    def rest(self, network: Priced, first: int, last: int | None = None) -> Priced:
        """The network from segment `first` on, or up to `last` and the store of what crosses from there.

        Raises:
            WorkloadError: if more than one map crosses into or out of these segments.
        """
        workload = cut(network.workload, self.hardware, first)
        rates = self.exit_rates
        if rates is not None:
            left = sum(rates[first - 1 :]) or 1.0
            rates = [rate / left for rate in rates[first - 1 :]]
        stops = last is not None and last <= network.program.num_exits
        program = compile_program(
            workload,
            self.hardware,
            exit_cost=self.exit_cost,
            exit_rates=rates,
            last=last - first + 1 if last is not None and stops else None,
        )
        if last is not None and stops:
            program = with_handover(program.truncated(last - first + 1), self.storing(network, last + 1, 1))
        return Priced(workload, program, price(program), ())

    def stretches(self, network: Priced) -> Stretches:
        """What a unit that refills its batches runs of `network`."""
        return Stretches(
            self.hardware,
            lambda segment: self.jobs(self.rest(network, segment), BatchMode.COMPACTED),
            lambda segment, images: self.storing(network, segment, images),
        )

    def storing(self, network: Priced, segment: int, images: int) -> Transfer:
        """What the store of so many maps takes that cross into `segment`.

        Raises:
            WorkloadError: if more than one map crosses.
        """
        return parking(network.workload, self.hardware, segment, images).store
