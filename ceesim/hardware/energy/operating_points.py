"""Another clock and supply for the same chip (dynamic voltage and frequency scaling).

An operating point is a hardware of its own: its clock changes what DRAM costs in cycles, so it is mapped again, and
its supply changes every price but DRAM's. Going from one to another takes the time the regulator needs.
"""

from __future__ import annotations

from typing import Final

from ceesim.hardware.energy.technology import delay_factor
from ceesim.hardware.model import Hardware, OperatingPoint

_CLOCK_TOLERANCE: Final = 1.001
_SLEW_MV_PER_S: Final = 10_000_000
"""Regulator slew rate (assumed; typical of power-management chips)."""


def at_operating_point(hardware: Hardware, point: OperatingPoint) -> Hardware:
    """`hardware` running at `point`, which leaves it no other points."""
    described = hardware.to_yaml_dict()
    made_in = hardware.technology.model_dump(by_alias=True, mode="json")
    described["clock"] = point.clock_hz
    described["technology"] = {**made_in, "voltage": point.voltage_mv, "operating_points": []}
    return Hardware.model_validate(described)


def fastest_clock_hz(hardware: Hardware, voltage_mv: int) -> int:
    """The clock that `voltage_mv` sustains if `hardware`'s own clock is the limit at its own supply."""
    made_in = hardware.technology
    slower = delay_factor(made_in.node_nm, made_in.device, voltage_mv, than_mv=made_in.voltage_mv)
    return int(hardware.clock_hz / slower)


def beyond_supply(before: Hardware, clock_hz: int, voltage_mv: int) -> str | None:
    """What is doubtful about another clock and supply for `before`, in words; None if the supply sustains the clock."""
    limit_hz = fastest_clock_hz(before, voltage_mv)
    if clock_hz <= limit_hz * _CLOCK_TOLERANCE:
        return None
    return (
        f"{clock_hz / 1e6:g} MHz at {voltage_mv / 1000:g} V: if {before.clock_hz / 1e6:g} MHz is the limit at "
        f"{before.technology.voltage_mv / 1000:g} V, {limit_hz / 1e6:.4g} MHz is the limit there"
    )


def transition_seconds(from_mv: int, to_mv: int) -> float:
    """Time to change the supply, in which nothing is computed."""
    return abs(to_mv - from_mv) / _SLEW_MV_PER_S
