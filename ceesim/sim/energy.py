"""From what commands accounted for to joules: amounts become actions, exits become rows, the price list does the rest.

Energy is linear in what was counted, so each exit is priced once.
Zero gating takes the mean share of non-zero ifmap values of each op from the trace; without it every MAC toggles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ceesim.exits.trace import ExitTrace
from ceesim.hardware.energy.actions import Action
from ceesim.hardware.energy.price import Activity, Breakdown, Waiting, price
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.model import Hardware
from ceesim.program.actions import actions_of_amounts
from ceesim.program.command import NUM_AMOUNTS, Amount, Int64s, Program, Unit
from ceesim.sim.costs import ExitCosts
from ceesim.sim.machine import NOT_STARTED
from ceesim.workload.ops import OpKind


def actions(amounts: Int64s, hardware: Hardware, gated_macs: Int64s | None = None) -> Int64s:
    """Action counts [rows, NUM_ACTIONS] of amounts [rows, NUM_AMOUNTS].

    Args:
        gated_macs: [rows, 2] how many of the MACs with weights, and of those of two activations, are gated.
    """
    counts = amounts @ actions_of_amounts(hardware)
    if gated_macs is not None:
        counts[:, [Action.MACS, Action.PRODUCT_MACS]] -= gated_macs
        counts[:, Action.GATED_MACS] += gated_macs.sum(axis=1)
    return np.asarray(counts, np.int64)


def exit_energy(
    program: Program,
    costs: ExitCosts,
    hardware: Hardware,
    density: Mapping[str, float],
    *,
    waiting_cycles: Int64s | None = None,
    waiting: Waiting = Waiting.RACE_TO_SLEEP,
) -> Breakdown:
    """Energy of leaving at each exit, from the first command to the last that had started.

    Args:
        density: share of non-zero ifmap values by op name; an op that is missing has no zeros.
        waiting_cycles: [exits] from then to the next input; none by default.
        waiting: what the accelerator does meanwhile.
    """
    activity = exit_activity(program, costs, hardware, density)
    if waiting_cycles is not None:
        activity = replace(activity, waiting_cycles=waiting_cycles)
    return price(activity, energy_table(hardware), waiting)


def exit_activity(program: Program, costs: ExitCosts, hardware: Hardware, density: Mapping[str, float]) -> Activity:
    """What happens until each exit is left; see `exit_energy`."""
    gated = _gated(program, costs.layer_macs, density)
    in_head, late = program.in_head, program.late
    kinds = _kinds_of_macs(program)
    return Activity(
        path=actions(costs.amounts - costs.wasted - costs.heads, hardware, (gated * ~in_head * ~late) @ kinds),
        head=actions(costs.heads, hardware, (gated * in_head * ~late) @ kinds),
        wasted=actions(costs.wasted, hardware, (gated * late) @ kinds),
        running_cycles=costs.occupancy_cycles,
        transferring_cycles=transferring_cycles(program, costs),
        waiting_cycles=np.zeros_like(costs.occupancy_cycles),
    )


@lru_cache(maxsize=8)
def mean_density(trace: ExitTrace) -> Mapping[str, float]:
    """Mean share of non-zero ifmap values by op name; empty if the trace does not say."""
    if trace.density is None:
        return {}
    means = trace.density.mean(axis=0, dtype=np.float64)
    return {op.name: float(mean) for op, mean in zip(trace.workload.ops, means, strict=True)}


def transferring_cycles(program: Program, costs: ExitCosts) -> Int64s:
    """[exits] cycles in which DRAM served a load, a store, or both at once."""
    if program.has_one_dma_queue:  # it serves nobody twice
        moving = costs.busy_cycles[:, Unit.LOAD] + costs.busy_cycles[:, Unit.STORE]
    else:
        moving = np.array([_covered(*_transfers(program, costs, row)) for row in range(len(costs.latency_cycles))])
    return np.asarray(np.minimum(moving, costs.occupancy_cycles), np.int64)


def _transfers(program: Program, costs: ExitCosts, row: int) -> tuple[Int64s, Int64s]:
    """Begin and end of every transfer before leaving at exit `row`, in order of begin."""
    begin = costs.timeline.start_cycles
    moves = program.moves & (begin != NOT_STARTED)
    if row < program.num_exits and program.takes_exits:
        moves &= begin < costs.latency_cycles[row]  # what starts later and still happens takes no time
    order = np.argsort(begin[moves], kind="stable")
    return begin[moves][order], (begin + program.occupancy_cycles)[moves][order]


def _covered(begin: Int64s, end: Int64s) -> int:
    """Cycles that lie in at least one interval; `begin` ascends."""
    before = np.maximum.accumulate(np.concatenate(([0], end)))[:-1]
    return int(np.maximum(end - np.maximum(begin, before), 0).sum())


def layer_energy(
    program: Program, costs: ExitCosts, hardware: Hardware, density: Mapping[str, float], cycles: Int64s
) -> npt.NDArray[np.float64]:
    """Energy [layers] in pJ of an input that runs to the end; sums to its total.

    Args:
        cycles: [layers] each layer's advance of the critical path: its share of what passing time costs.
    """
    num_layers = len(program.layers)
    amounts = np.zeros((num_layers, NUM_AMOUNTS), np.int64)
    np.add.at(amounts, program.layer, program.amounts)
    gated = _gated(program, amounts[:, Amount.MACS][None], density)[0]
    in_head = program.in_head.astype(np.int64)
    counts = actions(amounts, hardware, gated[:, None] * _kinds_of_macs(program))
    moving = np.zeros(num_layers, np.int64)
    np.add.at(moving, program.layer[program.moves], program.occupancy_cycles[program.moves])
    transferring = int(transferring_cycles(program, costs)[-1])
    activity = Activity(
        path=counts * (1 - in_head)[:, None],
        head=counts * in_head[:, None],
        wasted=np.zeros_like(counts),
        running_cycles=cycles,
        transferring_cycles=_shares(transferring, moving),
        waiting_cycles=np.zeros_like(cycles),
    )
    return price(activity, energy_table(hardware)).total


def _shares(total: int, weights: Int64s) -> Int64s:
    """`total` split in proportion to `weights`, to the last unit."""
    whole = max(int(weights.sum()), 1)
    ends = (np.cumsum(weights).astype(object) * total // whole).astype(np.int64)  # the product may exceed 64 bits
    return np.asarray(np.diff(ends, prepend=0), np.int64)


def _kinds_of_macs(program: Program) -> Int64s:
    """[layers, 2] 1 where a layer's MACs are those with weights, or of two activations."""
    products = np.array([layer.kind.startswith(OpKind.MATMUL) for layer in program.layers], np.int64)
    return np.stack([1 - products, products], axis=1)


def _gated(program: Program, layer_macs: Int64s, density: Mapping[str, float]) -> Int64s:
    """Gated MACs [rows, layers] of MACs [rows, layers]."""
    zeros = np.array([1 - density.get(layer.name, 1.0) for layer in program.layers])
    return np.asarray(np.floor(layer_macs * zeros), np.int64)
