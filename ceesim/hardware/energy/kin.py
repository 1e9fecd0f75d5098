"""What prices are drawn from, kind by kind: where two hardwares agree in it, both are wrong by the same factor."""

from __future__ import annotations

from typing import TypeAlias

from ceesim.hardware.energy.actions import Uncertainty
from ceesim.hardware.model import Hardware

Kin: TypeAlias = tuple[tuple[object, ...], ...]
"""[uncertainties] one source for each kind of price."""


def kin_of(hardware: Hardware) -> Kin:
    """[uncertainties] what the prices of `hardware` are drawn from: process and transistors, clock tree, DRAM."""
    made_in = hardware.technology
    process = (made_in.node_nm, made_in.device)
    drawn_from: dict[Uncertainty, tuple[object, ...]] = {
        Uncertainty.LOGIC: process,
        Uncertainty.SRAM: process,
        Uncertainty.DRAM: (hardware.dram.type,),
        Uncertainty.CLOCK: (*process, made_in.clock_profile),
        Uncertainty.LEAKAGE: process,
    }
    return tuple(drawn_from[kind] for kind in Uncertainty)
