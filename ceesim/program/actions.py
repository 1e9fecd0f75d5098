"""What commands account for, as actions that have a price.

A vector lane's pass over a drained partial sum is one addition (bias), one multiplication and one shift
(requantisation); every other element-op is one addition or compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np

from ceesim.hardware.energy.actions import NUM_ACTIONS, Action
from ceesim.hardware.energy.hops import hops
from ceesim.hardware.model import Hardware
from ceesim.program.command import NUM_AMOUNTS, Amount, Int64s

_SAME: Final[Mapping[Amount, Action]] = {
    Amount.WEIGHT_BUFFER_READ_BYTES: Action.WEIGHT_READ_BYTES,
    Amount.WEIGHT_BUFFER_WRITE_BYTES: Action.WEIGHT_WRITE_BYTES,
    Amount.HEAD_BUFFER_READ_BYTES: Action.HEAD_READ_BYTES,
    Amount.HEAD_BUFFER_WRITE_BYTES: Action.HEAD_WRITE_BYTES,
    Amount.ACTIVATION_BUFFER_READ_BYTES: Action.ACTIVATION_READ_BYTES,
    Amount.ACTIVATION_BUFFER_WRITE_BYTES: Action.ACTIVATION_WRITE_BYTES,
    Amount.PSUM_BUFFER_READ_BYTES: Action.PSUM_READ_BYTES,
    Amount.PSUM_BUFFER_WRITE_BYTES: Action.PSUM_WRITE_BYTES,
    Amount.COMPARES: Action.COMPARES,
    Amount.EXPONENTIALS: Action.EXPONENTIALS,
    Amount.DECISIONS: Action.DECISIONS,
    Amount.DMA_BEATS: Action.DMA_BEATS,
    Amount.DMA_REQUESTS: Action.DMA_DESCRIPTORS,
    Amount.DRAM_READ_BURST_BYTES: Action.DRAM_READ_BYTES,
    Amount.DRAM_WRITE_BURST_BYTES: Action.DRAM_WRITE_BYTES,
    Amount.DRAM_ACTIVATES: Action.DRAM_ACTIVATES,
    Amount.VECTOR_OPS: Action.ADDS,
    Amount.VECTOR_MULTIPLIES: Action.MULTIPLIES,
}


@lru_cache(maxsize=64)
def actions_of_amounts(hardware: Hardware) -> Int64s:
    """[NUM_AMOUNTS, NUM_ACTIONS] how often each action happens per unit of an amount."""
    moves, bits = hops(hardware), hardware.precision
    factors = np.zeros((NUM_AMOUNTS, NUM_ACTIONS), np.int64)
    for amount, action in _SAME.items():
        factors[amount, action] = 1
    factors[Amount.MACS, Action.MACS] = 1
    factors[Amount.PRODUCT_MACS, [Action.MACS, Action.PRODUCT_MACS]] = -1, 1
    factors[Amount.IFMAP_HOPS, Action.OPERAND_HOP_BITS] = bits.activation_bits
    factors[Amount.WEIGHT_HOPS, Action.OPERAND_HOP_BITS] = bits.weight_bits
    factors[Amount.PSUM_HOPS, Action.PSUM_HOP_BITS] = bits.psum_bits
    factors[Amount.FOLD_PES, Action.WEIGHT_LOAD_BITS] = moves.load_bits_per_fold_pe
    factors[Amount.PRODUCT_FOLD_PES, Action.WEIGHT_LOAD_BITS] = (
        moves.product_load_bits_per_fold_pe - moves.load_bits_per_fold_pe
    )
    factors[Amount.FOLD_PES, Action.PSUM_HOP_BITS] = moves.drain_bits_per_fold_pe
    factors[Amount.DRAINED_PSUMS, Action.MULTIPLIES] = 1
    factors[Amount.DRAINED_PSUMS, Action.SHIFTS] = 1
    return factors
