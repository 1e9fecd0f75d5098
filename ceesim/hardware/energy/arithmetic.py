"""Energy of arithmetic and registers: two published anchors, 45 nm and 7 nm, and a power law of the node between them.

45 nm: Horowitz, "Computing's energy problem", ISSCC 2014, Figure 1.1.9, at 0.9 V. 7 nm: Jouppi et al., "Ten lessons
from three generations shaped Google's TPUv4i", ISCA 2021, Table 2. Above 45 nm the 45 nm value holds here and
`technology.logic_energy_factor` scales it. A register costs 9 fJ per bit that toggles at 40 nm (Aladdin's synthesised
tables, Shao et al., ISCA 2014) and scales as an 8-bit addition; half the bits of a written word toggle, as those of
uncorrelated data do. Shift: 0.417 pJ for 32 bits at 40 nm, from the same tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ceesim.hardware.energy.technology import ANCHOR_NM, SMALLEST_NM, log_log

TOGGLED_SHARE: Final = 0.5
"""Bits of a written word that change, for uncorrelated data."""

_REGISTERS_NM: Final = 40
_REGISTER_PJ: Final = 0.009
_SHIFT_PJ_PER_BIT: Final = 0.417 / 32


@dataclass(frozen=True, slots=True)
class Anchor:
    """Picojoules of one operation at 45 nm and at 7 nm."""

    at_45nm_pj: float
    at_7nm_pj: float

    def at(self, node_nm: int) -> float:
        """Picojoules at a node, held above 45 nm."""
        if node_nm >= ANCHOR_NM:
            return self.at_45nm_pj
        return log_log(node_nm, (SMALLEST_NM, self.at_7nm_pj), (ANCHOR_NM, self.at_45nm_pj))


INT8_ADD: Final = Anchor(0.03, 0.007)
INT32_ADD: Final = Anchor(0.1, 0.03)
INT8_MULTIPLY: Final = Anchor(0.2, 0.07)
INT32_MULTIPLY: Final = Anchor(3.1, 1.48)
FP16_ADD: Final = Anchor(0.4, 0.16)
FP16_MULTIPLY: Final = Anchor(1.1, 0.34)
FP32_ADD: Final = Anchor(0.9, 0.38)
FP32_MULTIPLY: Final = Anchor(3.7, 1.31)


def add_pj(node_nm: int, bits: int) -> float:
    """Integer addition: a straight line in the width through 8 and 32 bits."""
    narrow, wide = INT8_ADD.at(node_nm), INT32_ADD.at(node_nm)
    return narrow + (wide - narrow) * (bits - 8) / (32 - 8)


def multiply_pj(node_nm: int, bits: int, other_bits: int) -> float:
    """Integer multiplication: proportional to the product of the widths, from 8×8 bits, and from 32×32 bits upwards."""
    area = bits * other_bits
    return INT32_MULTIPLY.at(node_nm) * area / 1024 if area >= 1024 else INT8_MULTIPLY.at(node_nm) * area / 64


def toggle_pj(node_nm: int) -> float:
    """One register bit that changes."""
    return _REGISTER_PJ * INT8_ADD.at(node_nm) / INT8_ADD.at(_REGISTERS_NM)


def register_pj(node_nm: int) -> float:
    """One bit of a word written into a register."""
    return TOGGLED_SHARE * toggle_pj(node_nm)


def shift_pj(node_nm: int, bits: int) -> float:
    """Shift by a variable amount, scaled with node as an 8-bit addition."""
    return _SHIFT_PJ_PER_BIT * bits * INT8_ADD.at(node_nm) / INT8_ADD.at(_REGISTERS_NM)


def exponential_pj(node_nm: int) -> float:
    """Range reduction and a polynomial of degree two: three multiplications and three additions in fp16 (assumed)."""
    return 3 * (FP16_MULTIPLY.at(node_nm) + FP16_ADD.at(node_nm))
