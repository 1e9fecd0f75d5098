"""Clocks and supplies that a design space combines: which of them the chip may not sustain."""

from __future__ import annotations

from contextlib import suppress
from itertools import product

from ceesim.errors import HardwareError
from ceesim.explore.space import Space
from ceesim.hardware.energy.operating_points import beyond_supply
from ceesim.hardware.load import override

_CLOCK, _VOLTAGE = "clock", "technology.voltage"


def doubtful_supplies(space: Space) -> list[str]:
    """What is doubtful about clocks at supplies other than the hardware's own, in words; constraints are not asked."""
    axes = [axis for axis in space.axes if any(knob.key in (_CLOCK, _VOLTAGE) for knob in axis.knobs)]
    if not any(knob.key == _VOLTAGE for axis in axes for knob in axis.knobs):
        return []
    doubts: dict[str | None, None] = {}
    before = space.hardware
    for steps in product(*(axis.steps for axis in axes)):
        keys = [knob.key for axis in axes for knob in axis.knobs]
        values = dict(zip(keys, (value for step in steps for value in step), strict=True))
        with suppress(HardwareError):  # the sweep says what cannot be built
            after = override(before, {key: values[key] for key in (_CLOCK, _VOLTAGE) if key in values})
            voltage_mv = after.technology.voltage_mv
            if voltage_mv != before.technology.voltage_mv:
                doubts[beyond_supply(before, after.clock_hz, voltage_mv)] = None
    return [doubt for doubt in doubts if doubt is not None]
