"""Energy against deadline: what a run costs at each operating point of its hardware, and from which deadline on each is
the one to choose.

A lower supply makes every action cheaper and everything last longer, and what lasts longer leaks and clocks longer:
which point is cheapest is a matter of counting. Each point is a hardware of its own, mapped again, because its clock
changes what DRAM costs in cycles. Changing from the hardware's own supply to a point's takes time, in which nothing is
computed; it counts against a deadline, once, before the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ceesim.hardware.energy.operating_points import at_operating_point, transition_seconds
from ceesim.hardware.model import OperatingPoint
from ceesim.sim.result import RunResult
from ceesim.sim.run import on_hardware


@dataclass(frozen=True, slots=True)
class PointCost:
    """A trace at one operating point, for inputs that come alone, with exits as decided and for the static network.

    Args:
        mean_latency_s: over the inputs.
        worst_latency_s: of an input that runs to the end, past every exit.
        transition_s: from the hardware's own supply to this one.
        energy_pj: mean over the inputs, from the first command to the last that had started.
        static_latency_s: of the network without exits.
        static_energy_pj: likewise.
    """

    point: OperatingPoint
    mean_latency_s: float
    worst_latency_s: float
    transition_s: float
    energy_pj: float
    static_latency_s: float
    static_energy_pj: float

    @property
    def deadline_s(self) -> float:
        """The shortest deadline that every input keeps: one may run to the end, after the transition."""
        return self.transition_s + self.worst_latency_s


@lru_cache(maxsize=1)
def cost_of_points(result: RunResult) -> tuple[PointCost, ...]:
    """What the inputs of `result` cost at the hardware's own clock and supply, then at each of its
    `technology.operating_points`; nothing if it has no such points.

    Raises:
        HardwareError, MappingError: if a point of the hardware cannot run the network.
    """
    hardware = result.hardware
    others = hardware.technology.operating_points
    if not others:
        return ()
    own = OperatingPoint(clock=hardware.clock_hz, voltage=hardware.technology.voltage_mv)
    costs = [_cost(own, own, result)]
    costs += [_cost(point, own, on_hardware(result, at_operating_point(hardware, point))) for point in others]
    return tuple(costs)


def _cost(point: OperatingPoint, own: OperatingPoint, there: RunResult) -> PointCost:
    dynamic, static = there.dynamic.costs.latency_cycles, there.static.costs.latency_cycles
    return PointCost(
        point,
        mean_latency_s=there.mean(dynamic) / point.clock_hz,
        worst_latency_s=int(dynamic[-1]) / point.clock_hz,
        transition_s=transition_seconds(own.voltage_mv, point.voltage_mv),
        energy_pj=there.mean(there.energy(there.dynamic).total),
        static_latency_s=int(static[-1]) / point.clock_hz,
        static_energy_pj=float(there.energy(there.static).total[-1]),
    )


def is_cheapest(costs: Sequence[PointCost]) -> tuple[bool, ...]:
    """[points] whether this one takes the least mean energy of those at which every input is done `deadline_s` after it
    came; of equals the sooner, then the first.

    These are the points to choose from, each from its own `deadline_s` up to that of the next cheaper one.
    """
    ranks = [(cost.energy_pj, cost.deadline_s, i) for i, cost in enumerate(costs)]
    return tuple(min(rank for rank in ranks if rank[1] <= own_rank[1]) == own_rank for own_rank in ranks)
