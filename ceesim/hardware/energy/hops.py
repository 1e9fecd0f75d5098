"""What moves inside the array: bits written from PE to PE for every multiply–accumulate and for every fold.

Each step of a systolic PE writes the operands that pass through it and its partial sum into registers:

    ws   the ifmap passes, the sum moves on
    is   the weight passes, the sum moves on
    os   both operands pass, the sum is written in place

What passes crosses the whole array, so a fold that fills part of it moves its operands through idle PEs too (a
broadcast is counted like that as well: its wires are as long). These hops are counted where folds are, in
`mapping.macs`; here is what a fold costs beside them.

In ws and is the stationary operand of a fold is shifted in row by row, so a weight for row r passes r registers,
(rows + 1)/2 on average (of a full fold); an array whose rows are addressed one by one (`load_cycles: 1`) writes each
once. In os the results leave through the rows, or columns, below them, or each through a register of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from ceesim.hardware.array import Dataflow, Drain
from ceesim.hardware.energy.clock import array_timing
from ceesim.hardware.model import Hardware
from ceesim.units import ceil_div


@dataclass(frozen=True, slots=True)
class Hops:
    """Bits written per PE that holds work in a fold (rounded up); `product_` where both operands are activations."""

    load_bits_per_fold_pe: int
    product_load_bits_per_fold_pe: int
    drain_bits_per_fold_pe: int


def hops(hardware: Hardware) -> Hops:
    """What `hardware`'s dataflow loads and drains."""
    array, bits = hardware.array, hardware.precision
    timing = array_timing(array)
    if array.dataflow is Dataflow.OS:
        passed = {Drain.ROWS: array.rows + 1, Drain.COLS: array.cols + 1, Drain.PARALLEL: 2}[timing.drain]
        return Hops(0, 0, drain_bits_per_fold_pe=ceil_div(bits.psum_bits * passed, 2))
    stays = bits.activation_bits if array.dataflow is Dataflow.IS else bits.weight_bits
    load, product_load = (
        held if timing.load_cycles == 1 else ceil_div(held * (array.rows + 1), 2)
        for held in (stays, bits.activation_bits)
    )
    return Hops(load, product_load, drain_bits_per_fold_pe=0)
