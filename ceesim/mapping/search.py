"""The mapper: of all tilings that fit the buffers, the one that is done first, moves fewest bytes, needs fewest
commands.

A lower bound that no schedule can beat (`ceesim.mapping.bounds`) orders the candidates; they are then timed one after
the other, exactly, by lowering the layer alone and executing it, until the bound of the next one is worse than the
best time found. Nothing is lost by this pruning: the bound is never above the exact time.

The objective is time, or energy: what passing time costs, and every action of the layer alone but its arithmetic,
which no tiling changes. In the network a layer's first loads hide behind the layer before; so where passing time costs
most of the energy, the result may be dearer than what `latency` finds, commonly by a fraction of a percent.

Time is cycles, an eighth of those for which loads keep DRAM busy (`Machine.byte_cost`), and one per command. By cycles
alone, tilings that reload their weights six times over would win by the handful of cycles that a smaller first tile
saves, which the previous layer hides anyway; and were close ones simply called equal, what is close would turn on
cycles that do not matter. Costs closer than one part in `FINE_RESOLUTION` of the lowest bound count as equal.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from ceesim.mapping.candidates import BOUND, BYTES, COMMANDS, Capacity, candidates, least_fits, tiling_of
from ceesim.mapping.limits import beyond_commands, beyond_count, check
from ceesim.mapping.loops import emit
from ceesim.mapping.stream import (
    AMOUNTS,
    LATENCY,
    LOAD,
    NONE,
    OCCUPANCY,
    ROW,
    STORE,
    UNIT,
    WAITS,
    Machine,
    Place,
    flush_store,
    new_cursor,
    new_stream,
)
from ceesim.mapping.tiles import Nest, Tiling, max_rows
from ceesim.program.command import NUM_AMOUNTS, Int64s
from ceesim.program.executor import execute_rows
from ceesim.program.jit import jit

_FIELDS: Final = 6
RESOLUTION: Final = 128
"""Of whole plans: what is closer than one part in so many is not worth another."""
FINE_RESOLUTION: Final = 1 << 14
"""Of tilings."""
_MOST: Final = float(1 << 62)
NO_COSTS: Final = np.empty(0, np.int64)
"""Besides cycles, where latency is minimised."""
MOST_COST: Final = float(1 << 59)
"""Of a candidate by its bound: what it costs when timed, a few times that, still fits 64 bits. The cheapest must lie so
far below that none of those left out could be cheaper when timed."""


class Choice(NamedTuple):
    """A tiling and what it costs on its own: cycles, bytes loaded, and what the mapper minimises."""

    tiling: Tiling
    cycles: int
    dram_bytes: int
    cost: int
    num_candidates: int
    num_timed: int


@jit
def cost_alone(nest: Nest, tiling: Tiling, machine: Machine, queue: Int64s, costs: Int64s) -> tuple[int, int]:
    """(cycles, cost) of the layer lowered on its own, from its first command to its last finish.

    Args:
        costs: as from `action_costs`; without them it costs its cycles.
    """
    stream = new_stream(max_rows(nest, tiling), len(costs) > 0)
    cursor = new_cursor()
    emit(nest, tiling, machine, Place(0, 1, NONE, NONE, NONE, NONE, NONE, NONE), stream, cursor)
    flush_store(machine, stream, cursor)
    rows = cursor[ROW]
    cycles = execute_rows(
        rows,
        queue,
        stream[:, UNIT],
        stream[:, OCCUPANCY],
        stream[:, LATENCY],
        stream[:, WAITS:AMOUNTS],
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
    )
    if len(costs) == 0:
        return cycles, cycles * machine.cycle_cost
    cost = float(cycles) * machine.cycle_cost
    for row in range(rows):
        if stream[row, UNIT] in (LOAD, STORE):
            cost += float(stream[row, OCCUPANCY]) * costs[0]
        for amount in range(NUM_AMOUNTS):
            cost += float(stream[row, AMOUNTS + amount]) * costs[1 + amount]
    return cycles, int(min(cost, _MOST))


@jit
def foremost(table: Int64s, steps: Int64s) -> int:
    """The candidate that `in_order` puts first."""
    first = 0
    for i in range(1, len(table)):
        row, other = table[i], table[first]
        if (steps[i], row[BYTES], row[COMMANDS]) < (steps[first], other[BYTES], other[COMMANDS]):
            first = i
    return first


@jit
def in_order(table: Int64s, steps: Int64s, order: Int64s) -> Int64s:
    """The candidates of `order`: those of the least step first, then of the fewest bytes, then commands."""
    order = order[np.argsort(table[order, COMMANDS], kind="mergesort")]
    order = order[np.argsort(table[order, BYTES], kind="mergesort")]
    return order[np.argsort(steps[order], kind="mergesort")]


@jit
def search(nest: Nest, machine: Machine, capacity: Capacity, queue: Int64s, costs: Int64s, prune: bool) -> Int64s:
    """[11] best tiling's six fields, its cycles, its load bytes, candidates, candidates timed (0: there is none), cost.

    A cost is never below its bound, which counts cycles and bytes loaded (`Machine.cycle_cost`, `Machine.byte_cost`),
    and commands where latency is minimised. If the cheapest may cost more than can be counted, none is timed either.
    """
    table = candidates(nest, machine, capacity)
    best = np.full(11, -1, np.int64)
    best[8], best[9] = len(table), 0
    if len(table) == 0:
        return best
    estimate = (table[:, BOUND] + table[:, COMMANDS]) * float(machine.cycle_cost)
    estimate += table[:, BYTES] * float(machine.byte_cost)
    if estimate.min() > MOST_COST / 16:
        return best
    table = table[estimate <= MOST_COST]
    best[8] = len(table)
    bound, num_bytes, commands = table[:, BOUND], table[:, BYTES], table[:, COMMANDS]
    least, besides = bound * machine.cycle_cost + num_bytes * machine.byte_cost, np.zeros(len(table), np.int64)
    if len(costs) == 0:  # what cycles alone do not say
        besides = commands * machine.cycle_cost + num_bytes * machine.byte_cost
        least = bound * machine.cycle_cost + besides
    resolution = max(1, least.min() // FINE_RESOLUTION)
    steps = least // resolution
    order, first, first_cycles, first_cost = np.arange(len(table)), -1, 0, 0
    if prune:  # once the foremost is timed, only the few that may be as soon are worth putting in order
        first = foremost(table, steps)
        first_cycles, first_cost = cost_alone(nest, tiling_of(table[first]), machine, queue, costs)
        first_cost += besides[first]
        order = np.flatnonzero(steps <= first_cost // resolution)
    best_step, best_commands = 0, 0
    for index in in_order(table, steps, order):
        row, step = table[index], steps[index]
        if prune and best[9] > 0:
            if step > best_step:
                break
            if step == best_step and (row[BYTES], row[COMMANDS]) >= (best[7], best_commands):
                continue
        cycles, cost = first_cycles, first_cost
        if index != first:
            cycles, cost = cost_alone(nest, tiling_of(row), machine, queue, costs)
            cost += besides[index]
        best[9] += 1
        step = cost // resolution
        if best[9] == 1 or (step, row[BYTES], row[COMMANDS]) < (best_step, best[7], best_commands):
            best[:6] = row[:6]
            best[6], best[7], best_step, best_commands = cycles, row[BYTES], step, row[COMMANDS]
            best[10] = cost
    return best


def choose(
    nest: Nest, machine: Machine, capacity: Capacity, queue: Int64s, costs: tuple[int, ...] = (), *, prune: bool = True
) -> Choice | None:
    """The best tiling of a layer, or None if none fits.

    Args:
        queue: [units] DMA queues as in `Program.queue`.
        costs: as from `action_costs`; none where latency is minimised.
        prune: False times every candidate (for tests).

    Raises:
        MappingError: if the layer is beyond what can be counted or looked at (`ceesim.mapping.limits`).
        ValueError: if the costs are not those of the machine.
    """
    if bool(costs) != bool(machine.prices_actions):
        raise ValueError("a machine that minimises energy needs the costs of actions, and no other has them")
    check(nest, machine, capacity)
    best = search(nest, machine, capacity, queue, np.array(costs, np.int64), prune)
    if best[8] and not best[9]:
        raise beyond_count(nest)
    if not best[8] and least_fits(nest, machine, capacity):
        raise beyond_commands(nest)
    if not best[8]:
        return None
    values = [int(value) for value in best]
    return Choice(Tiling(*values[:_FIELDS]), values[6], values[7], values[10], values[8], values[9])
