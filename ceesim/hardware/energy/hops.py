"""What moves inside the array: bits written from PE to PE for every multiply–accumulate and for every fold.

Each step of a systolic PE writes the operands that pass through it and its partial sum into registers:

    ws   the ifmap passes, the sum moves on
    is   the weight passes, the sum moves on
    os   both operands pass, the sum is written in place

In ws and is the stationary operand of a fold is shifted in row by row, so a weight for row r passes r registers,
(rows + 1)/2 on average; an array whose rows are addressed one by one (`load_cycles: 1`) writes each once. In os the
results leave through the same number of registers.
"""

from __future__ import annotations

from dataclasses import dataclass

from ceesim.hardware.array import Dataflow
from ceesim.hardware.energy.clock import array_timing
from ceesim.hardware.model import Hardware
from ceesim.units import ceil_div


@dataclass(frozen=True, slots=True)
class Hops:
    """Bits per unit of work: per multiply–accumulate, and per PE that holds work in a fold (rounded up)."""

    operand_bits_per_mac: int
    psum_bits_per_mac: int
    load_bits_per_fold_pe: int
    drain_bits_per_fold_pe: int


def hops(hardware: Hardware) -> Hops:
    """The hops of `hardware`'s dataflow."""
    array, bits = hardware.array, hardware.precision
    if array.dataflow is Dataflow.OS:
        return Hops(
            operand_bits_per_mac=bits.activation_bits + bits.weight_bits,
            psum_bits_per_mac=bits.psum_bits,
            load_bits_per_fold_pe=0,
            drain_bits_per_fold_pe=ceil_div(bits.psum_bits * (array.rows + 1), 2),
        )
    stays, passes = bits.weight_bits, bits.activation_bits
    if array.dataflow is Dataflow.IS:
        stays, passes = passes, stays
    addressed = array_timing(array).load_cycles == 1
    return Hops(
        operand_bits_per_mac=passes,
        psum_bits_per_mac=bits.psum_bits,
        load_bits_per_fold_pe=stays if addressed else ceil_div(stays * (array.rows + 1), 2),
        drain_bits_per_fold_pe=0,
    )
