"""What a run produces: two priced networks, and which exit each input took. What is reported is a look-up in these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ceesim.exits.trace import ExitTrace
from ceesim.hardware.energy.price import Band, Breakdown, Waiting, saved
from ceesim.hardware.model import Hardware
from ceesim.program.command import Int64s
from ceesim.sim.costs import Priced
from ceesim.sim.energy import exit_energy, mean_density

if TYPE_CHECKING:
    from ceesim.sim.scenarios.outcome import ScenarioResult


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunResult:
    """A trace replayed on a hardware: `dynamic` with exits as decided, `static` the backbone alone.

    Args:
        trace: under the policy that was run.
        rows: [inputs] row of `dynamic.costs` for each input.
        engine: ``simpy`` or ``compiled``; the numbers are the same.
        scenario: what became of the inputs where they met; None if each came alone, one after another.
        exit_rates: [kept exits + 1] what both networks were compiled for, where that was said.
    """

    hardware: Hardware
    trace: ExitTrace
    dynamic: Priced
    static: Priced
    rows: Int64s
    engine: str
    scenario: ScenarioResult | None = None
    exit_rates: tuple[float, ...] | None = None

    def __repr__(self) -> str:
        under = "" if self.scenario is None else f", {self.scenario.scenario.label}"
        return f"RunResult({self.trace.workload.name} on {self.hardware.name}, {len(self.rows):,} inputs{under})"

    @property
    def exit_counts(self) -> Int64s:
        """[exits] inputs that took each row of `dynamic.costs`."""
        return np.bincount(self.rows, minlength=len(self.dynamic.exit_indices))

    @property
    def latency_cycles(self) -> Int64s:
        """[inputs]."""
        return self.dynamic.costs.latency_cycles[self.rows]

    @property
    def dram_bytes(self) -> Int64s:
        """[inputs]."""
        return self.dynamic.costs.dram_bytes[self.rows]

    @property
    def density(self) -> Mapping[str, float]:
        """Mean share of non-zero ifmap values by op name; empty if the trace does not say."""
        return mean_density(self.trace)

    def energy(self, priced: Priced) -> Breakdown:
        """Energy of leaving at each exit of `priced`, from the first command to the last that had started."""
        return exit_energy(priced.program, priced.costs, self.hardware, self.density)

    def mean_energy(self) -> tuple[Breakdown, Breakdown]:
        """Of an input (dynamic, static), one row each, without what passes between inputs."""
        return self.energy(self.dynamic).mean(self.exit_counts), self.energy(self.static).mean(np.ones(1, np.int64))

    @property
    def keeps_static_rate(self) -> bool:
        """Whether inputs may come as fast as the static network takes them: exits save at least what heads cost."""
        return bool(self.dynamic.costs.occupancy_cycles[self.rows].mean() <= self.static.costs.occupancy_cycles[-1])

    def energy_at_static_rate(self, waiting: Waiting) -> tuple[float, float]:
        """Mean pJ per input (dynamic, static) if inputs come as fast as the static network can take them.

        The time that early exits save is then spent asleep or awake, until the next input; an input that takes longer
        than the static network, for its heads, uses up some of it. Where they take longer on the mean, there is no idle
        time, and the inputs come slower than they were meant to.
        """
        dynamic, static = self._spent_at_static_rate(waiting)
        return float(dynamic.total[0]), float(static.total[0])

    def saved_at_static_rate(self, waiting: Waiting) -> Band:
        """The share of the static network's energy that is saved under the same conditions, with its band."""
        dynamic, static = self._spent_at_static_rate(waiting)
        return saved(dynamic, 0, static, 0)

    def _spent_at_static_rate(self, waiting: Waiting) -> tuple[Breakdown, Breakdown]:
        period = int(self.static.costs.occupancy_cycles[-1])

        def mean(priced: Priced, counts: Int64s) -> Breakdown:
            idle = period - priced.costs.occupancy_cycles  # below 0 where heads take longer: the next input waits less
            each = exit_energy(
                priced.program, priced.costs, self.hardware, self.density, waiting_cycles=idle, waiting=waiting
            )
            if float(np.dot(idle, counts)) < 0:  # more than there is time for: never idle
                each = self.energy(priced)
            return each.mean(counts)

        return mean(self.dynamic, self.exit_counts), mean(self.static, np.ones(1, np.int64))

    def mean(self, per_exit: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> float:
        """Mean over inputs of a quantity that is known per exit."""
        counts = self.exit_counts
        return float(np.dot(per_exit.astype(np.float64), counts) / counts.sum())
