"""Energy against deadline: what a trace costs at each operating point of a hardware, and which point to choose.

A lower supply makes every action cheaper and everything last longer, and what lasts longer leaks and clocks longer:
which point is cheapest is a matter of counting. Each point is a hardware of its own, mapped again, because its clock
changes what DRAM costs in cycles. Changing from the hardware's own supply to a point's takes time, in which nothing is
computed; it counts against a deadline, once, before the input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ceesim.exits.trace import ExitTrace
from ceesim.hardware.energy.operating_points import at_operating_point, transition_seconds
from ceesim.hardware.model import Hardware, OperatingPoint
from ceesim.sim.run import replay


@dataclass(frozen=True, slots=True)
class PointCost:
    """A trace at one operating point, per input, with exits as decided and for the static network.

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


def cost_of_points(hardware: Hardware, inputs: ExitTrace) -> tuple[PointCost, ...]:
    """What `inputs` cost at the hardware's own clock and supply, then at each of `technology.operating_points`.

    Raises:
        HardwareError, MappingError: if the hardware or a point of it cannot run the network.
    """
    own = OperatingPoint(clock=hardware.clock_hz, voltage=hardware.technology.voltage_mv)
    costs = []
    for point in (own, *hardware.technology.operating_points):
        result = replay(at_operating_point(hardware, point), inputs)
        costs.append(
            PointCost(
                point,
                mean_latency_s=result.mean(result.dynamic.costs.latency_cycles) / point.clock_hz,
                worst_latency_s=int(result.dynamic.costs.latency_cycles[-1]) / point.clock_hz,
                transition_s=transition_seconds(own.voltage_mv, point.voltage_mv),
                energy_pj=result.mean(result.energy(result.dynamic).total),
                static_latency_s=int(result.static.costs.latency_cycles[-1]) / point.clock_hz,
                static_energy_pj=float(result.energy(result.static).total[-1]),
            )
        )
    return tuple(costs)


def cheapest_within(costs: Iterable[PointCost], deadline_s: float) -> PointCost | None:
    """The point of least mean energy at which every input is done `deadline_s` after it came; None if there is none.

    An input may run to the end, so the worst latency counts, and the transition before it.
    """
    in_time = [cost for cost in costs if cost.transition_s + cost.worst_latency_s <= deadline_s]
    return min(in_time, key=lambda cost: cost.energy_pj, default=None)
