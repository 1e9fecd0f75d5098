"""Silicon area: SRAM from CACTI, processing elements from one synthesised reference, scaled with node and width.

A PE of an int8 MAC with 32-bit accumulation is 990 µm² at 45 nm: 282 µm² of multiplier and 137 µm² of adder (Dally,
NIPS 2015 tutorial, synthesised in a 45 nm library), the rest registers and control, here per flip-flop bit. Logic
shrinks as Stillmaker and Baas tabulate. A vector lane is a 32-bit multiplier, adder and its registers. Routing and
control add `technology.area_overhead` to everything (30% unless set, assumed). Pads, PLLs and the DRAM interface are
not included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ceesim.hardware.energy.clock import lane_bits, pe_bits, vector_lanes
from ceesim.hardware.energy.memories import Memory
from ceesim.hardware.energy.sram import Sram
from ceesim.hardware.energy.technology import area_factor
from ceesim.hardware.model import ExitPlacement, Hardware

ROUTING: Final = "routing and control"

_PE_UM2: Final = 990.0
_MULTIPLIER_UM2: Final = 282.0
_ADDER_UM2: Final = 137.0
_PE_FLIP_FLOPS: Final = 56
"""8 of an activation, 2×8 of weights, 32 of a partial sum."""
_UM2_PER_FLIP_FLOP: Final = (_PE_UM2 - _MULTIPLIER_UM2 - _ADDER_UM2) / _PE_FLIP_FLOPS


@dataclass(frozen=True, slots=True)
class AreaTerm:
    """The area of one part of the chip."""

    what: str
    mm2: float
    source: str


def pe_um2(hardware: Hardware) -> float:
    """One processing element."""
    bits = hardware.precision
    at_45nm = (
        _MULTIPLIER_UM2 * bits.weight_bits * bits.activation_bits / 64
        + _ADDER_UM2 * bits.psum_bits / 32
        + _UM2_PER_FLIP_FLOP * pe_bits(hardware)
    )
    return at_45nm * area_factor(hardware.technology.node_nm)


def lane_um2(hardware: Hardware) -> float:
    """One vector lane."""
    bits = hardware.precision.psum_bits
    at_45nm = _MULTIPLIER_UM2 * bits * bits / 64 + _ADDER_UM2 * bits / 32 + _UM2_PER_FLIP_FLOP * lane_bits(hardware)
    return at_45nm * area_factor(hardware.technology.node_nm)


def area_terms(hardware: Hardware, arrays: dict[Memory, Sram]) -> tuple[AreaTerm, ...]:
    """Every part of `hardware`, whose buffers are made of `arrays`."""
    reference = f"{_PE_UM2:g} µm² per int8 PE at 45 nm, scaled"
    logic = [
        AreaTerm("array", hardware.array.num_pes * pe_um2(hardware) / 1e6, reference),
        AreaTerm("vector unit", vector_lanes(hardware) * lane_um2(hardware) / 1e6, reference),
    ]
    if hardware.exit_unit.placement is ExitPlacement.DEDICATED:
        logic.append(AreaTerm("exit unit", hardware.exit_unit.lanes * pe_um2(hardware) / 1e6, reference))
    buffers = [
        AreaTerm(f"{memory.name} buffer", memory.num_banks * sram.area_mm2, sram.how.value)
        for memory, sram in arrays.items()
    ]
    overhead = hardware.technology.area_overhead
    built = (*logic, *buffers)
    more = (overhead - 1) * sum(term.mm2 for term in built)
    return (*built, AreaTerm(ROUTING, more, f"{overhead - 1:.0%} of everything else (technology.area_overhead)"))
