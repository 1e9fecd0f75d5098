"""What is counted: one column per action, so that a program is a matrix of ints and a sum of commands is exact.

Counts carry three stories in the same columns: what the path taken did, what its exit heads did, and what was thrown
away after an exit. `Component` is what a result reports; `COMPONENT_OF` says where each action is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class Action(IntEnum):
    """A column of a count matrix. A hop is a bit written into the register of the next PE."""

    MACS = 0
    """multiply–accumulates whose operands are both non-zero"""
    GATED_MACS = 1
    """multiply–accumulates skipped because an operand is zero"""
    OPERAND_HOP_BITS = 2
    """bits of ifmaps or weights that move through the array"""
    PSUM_HOP_BITS = 3
    """bits of partial sums written in or between PEs"""
    WEIGHT_LOAD_BITS = 4
    """bits of stationary operands shifted into the array, one per register they pass"""
    WEIGHT_READ_BYTES = 5
    """bytes read from the weight buffer: by the array in whole accesses (`memories.Memory.access_bits`)"""
    WEIGHT_WRITE_BYTES = 6
    """bytes written to it"""
    ACTIVATION_READ_BYTES = 7
    """bytes read from the activation buffer, by the array in whole accesses"""
    ACTIVATION_WRITE_BYTES = 8
    """bytes written to it"""
    PSUM_READ_BYTES = 9
    """bytes read from the psum buffer, in whole accesses"""
    PSUM_WRITE_BYTES = 10
    """bytes written to it, likewise"""
    HEAD_READ_BYTES = 11
    """bytes read from the head buffer, in whole accesses"""
    HEAD_WRITE_BYTES = 12
    """bytes written to it"""
    ADDS = 13
    """element additions outside the array"""
    MULTIPLIES = 14
    """element multiplications outside the array"""
    COMPARES = 15
    """element comparisons outside the array"""
    SHIFTS = 16
    """element shifts outside the array"""
    EXPONENTIALS = 17
    """exponentials, and functions made of one"""
    DECISIONS = 18
    """decisions handed to the sequencer"""
    DMA_BEATS = 19
    """beats moved by the DMA"""
    DMA_DESCRIPTORS = 20
    """requests to DRAM, each with its address and length"""
    DRAM_READ_BYTES = 21
    """bytes read from DRAM, in whole bursts (`dram.DramSpec.burst_bytes`)"""
    DRAM_WRITE_BYTES = 22
    """bytes written to it, likewise"""
    DRAM_ACTIVATES = 23
    """rows opened (and closed again) in DRAM, each in all devices side by side"""
    PRODUCT_MACS = 24
    """multiply–accumulates of two activations, both non-zero"""


NUM_ACTIONS: Final = len(Action)


class Component(IntEnum):
    """A line of the breakdown; the lines sum to the total. `key` is its name in result files."""

    ARRAY = 0
    WEIGHT_BUFFER = 1
    ACTIVATION_BUFFER = 2
    PSUM_BUFFER = 3
    VECTOR = 4
    EXIT = 5
    DMA = 6
    DRAM = 7
    CLOCK = 8
    LEAKAGE = 9
    WASTED = 10

    @property
    def key(self) -> str:
        """The name in result files."""
        return self.name.lower()


NUM_COMPONENTS: Final = len(Component)


class Uncertainty(IntEnum):
    """What is wrong together: all prices of a kind are off by one common factor."""

    LOGIC = 0
    SRAM = 1
    DRAM = 2
    CLOCK = 3
    LEAKAGE = 4

    @property
    def key(self) -> str:
        """The name in result files."""
        return self.name.lower()


NUM_UNCERTAINTIES: Final = len(Uncertainty)


class State(IntEnum):
    """How a cycle passes. A transferring cycle is a running one too; waiting begins when an input is done."""

    RUNNING = 0
    """an input is being computed"""
    TRANSFERRING = 1
    """DRAM serves a burst: what that costs on top of running"""
    ASLEEP = 2
    """waiting for the next input with clock and power gated (race to sleep)"""
    AWAKE = 3
    """waiting for the next input with everything on (stay on)"""


NUM_STATES: Final = len(State)

COMPONENT_OF: Final[Mapping[Action, Component]] = {
    Action.MACS: Component.ARRAY,
    Action.GATED_MACS: Component.ARRAY,
    Action.PRODUCT_MACS: Component.ARRAY,
    Action.OPERAND_HOP_BITS: Component.ARRAY,
    Action.PSUM_HOP_BITS: Component.ARRAY,
    Action.WEIGHT_LOAD_BITS: Component.ARRAY,
    Action.WEIGHT_READ_BYTES: Component.WEIGHT_BUFFER,
    Action.WEIGHT_WRITE_BYTES: Component.WEIGHT_BUFFER,
    Action.ACTIVATION_READ_BYTES: Component.ACTIVATION_BUFFER,
    Action.ACTIVATION_WRITE_BYTES: Component.ACTIVATION_BUFFER,
    Action.PSUM_READ_BYTES: Component.PSUM_BUFFER,
    Action.PSUM_WRITE_BYTES: Component.PSUM_BUFFER,
    Action.HEAD_READ_BYTES: Component.EXIT,
    Action.HEAD_WRITE_BYTES: Component.EXIT,
    Action.ADDS: Component.VECTOR,
    Action.MULTIPLIES: Component.VECTOR,
    Action.COMPARES: Component.VECTOR,
    Action.SHIFTS: Component.VECTOR,
    Action.EXPONENTIALS: Component.VECTOR,
    Action.DECISIONS: Component.EXIT,
    Action.DMA_BEATS: Component.DMA,
    Action.DMA_DESCRIPTORS: Component.DMA,
    Action.DRAM_READ_BYTES: Component.DRAM,
    Action.DRAM_WRITE_BYTES: Component.DRAM,
    Action.DRAM_ACTIVATES: Component.DRAM,
}
"""Where an action of the path taken is reported."""

MEMORY_TRAFFIC: Final = frozenset({Component.DMA, Component.DRAM})
"""Lines that an exit head's transfers keep; everything else a head does is reported as `exit`."""


def component_of(action: Action, *, head: bool = False) -> Component:
    """The line on which an action of the path taken is reported, or of one of its exit heads."""
    component = COMPONENT_OF[action]
    return Component.EXIT if head and component not in MEMORY_TRAFFIC else component
