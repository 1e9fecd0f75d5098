"""A Hardware as the kernels of the mapper and the compiler see it: a flat tuple of ints."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np

from ceesim.hardware.array import Profile
from ceesim.hardware.dram_timing import num_devices
from ceesim.hardware.energy.actions import Action, State
from ceesim.hardware.energy.dram import SPECS
from ceesim.hardware.energy.memories import memories
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.link import cycles_per_byte
from ceesim.hardware.model import DmaQueues, Hardware, Objective
from ceesim.mapping.folds import fold_timing
from ceesim.mapping.stream import Machine
from ceesim.program.actions import actions_of_amounts
from ceesim.program.command import NUM_UNITS, Int64s, Unit

_FJ_PER_PJ: Final = 1000
CYCLE_PARTS: Final = 1024
"""Units of cost in a cycle, where latency is minimised."""
LOADING_CYCLES: Final = 8
"""As many cycles for which loads keep DRAM busy cost as much as one of latency."""
_UNCHANGED: Final = (
    Action.MACS,
    Action.PRODUCT_MACS,
    Action.ADDS,
    Action.MULTIPLIES,
    Action.COMPARES,
    Action.SHIFTS,
    Action.EXPONENTIALS,
)


def machine_of(hardware: Hardware) -> Machine:
    """The ints of `hardware`.

    Raises:
        HardwareError: if its array profile does not know its dataflow or size.
    """
    array, dma = hardware.array, hardware.dma
    dram = SPECS[hardware.dram.type]
    devices = num_devices(hardware.dram)
    access_bits = {name: memory.access_bits for name, memory in memories(hardware).items()}
    per_byte = cycles_per_byte(hardware)
    cycle_cost, byte_cost = _costs(hardware, float(max(per_byte, Fraction(1, dma.beat_bytes))))
    return Machine(
        fold=fold_timing(array.rows, array.cols, array.dataflow, array.profile or Profile.TEXTBOOK, array.timing),
        weight_bits=hardware.precision.weight_bits,
        activation_bits=hardware.precision.activation_bits,
        psum_bits=hardware.precision.psum_bits,
        weight_access_bits=access_bits["weight"],
        activation_access_bits=access_bits["activation"],
        psum_access_bits=access_bits["psum"],
        layer_cycles=hardware.control.layer_cycles,
        beat_bytes=dma.beat_bytes,
        request_bytes=dma.request_bytes,
        setup_cycles=dma.setup_cycles,
        max_outstanding=dma.max_outstanding,
        turnaround_cycles=dma.turnaround_cycles,
        dram_latency_cycles=hardware.dram_latency_cycles,
        cycles_numerator=per_byte.numerator,
        cycles_denominator=per_byte.denominator,
        shared_queue=int(dma.queues is DmaQueues.SHARED),
        burst_bytes=dram.burst_bytes * devices,
        row_bytes=dram.row_bytes * devices,
        cycle_cost=cycle_cost,
        byte_cost=byte_cost,
        prices_actions=int(hardware.mapping.objective is Objective.ENERGY),
    )


def _costs(hardware: Hardware, cycles_per_byte: float) -> tuple[int, int]:
    """What the mapper pays per cycle, and at least per byte loaded: parts of a cycle, or femtojoules."""
    if hardware.mapping.objective is Objective.LATENCY:
        return CYCLE_PARTS, round(CYCLE_PARTS * cycles_per_byte / LOADING_CYCLES)
    table = energy_table(hardware)
    passing = table.state_pj[State.RUNNING].sum()
    loaded = table.action_pj[Action.DRAM_READ_BYTES].sum()
    return round(_FJ_PER_PJ * passing), int(_FJ_PER_PJ * loaded)


@lru_cache(maxsize=64)
def action_costs(hardware: Hardware) -> tuple[int, ...]:
    """What the mapper pays besides cycles, in femtojoules: per cycle of a transfer, then per unit of each `Amount`.

    Nothing (an empty tuple) if it minimises latency. What no tiling changes, the arithmetic, is left out.
    """
    if hardware.mapping.objective is Objective.LATENCY:
        return ()
    table = energy_table(hardware)
    action_pj = table.action_pj.sum(axis=1)
    action_pj[list(_UNCHANGED)] = 0
    amount_pj = actions_of_amounts(hardware) @ action_pj
    transferring = table.state_pj[State.TRANSFERRING].sum()
    return tuple(round(_FJ_PER_PJ * pj) for pj in (transferring, *amount_pj.tolist()))


def queues_of(hardware: Hardware) -> Int64s:
    """[NUM_UNITS] the queue that serves each unit: load and store share one if the DMA has but one."""
    queue = np.arange(NUM_UNITS, dtype=np.int64)
    if hardware.dma.queues is DmaQueues.SHARED:
        queue[Unit.STORE] = queue[Unit.LOAD]
    return queue
