"""The mapper: of all tilings that fit the buffers, the one that is done first, moves fewest bytes, needs fewest
commands.

A lower bound that no schedule can beat (`ceesim.mapping.bounds`) orders the candidates; they are then timed one after
the other, exactly, by lowering the layer alone and executing it, until the bound of the next one is worse than the
best time found. Nothing is lost by this pruning: the bound is never above the exact time.

The objective is cycles, or energy: cycles × what passing time costs + bytes × what DRAM costs; the rest of a layer's
energy does not depend on its tiling, but for partial folds. Costs closer than one part in `RESOLUTION` of the lowest
bound count as equal. Otherwise tilings that reload their weights six times over would win by the handful of cycles
that a smaller first tile saves, which the previous layer hides anyway.
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
    NONE,
    OCCUPANCY,
    ROW,
    UNIT,
    WAITS,
    Machine,
    Place,
    flush_store,
    new_cursor,
    new_stream,
)
from ceesim.mapping.tiles import Nest, Tiling, max_rows
from ceesim.program.command import Int64s
from ceesim.program.executor import execute_rows
from ceesim.program.jit import jit

_FIELDS: Final = 6
RESOLUTION: Final = 128
MOST_COST: Final = float(1 << 59)
"""Of a candidate by its bound: what it costs when timed, a few times that, still fits 64 bits."""


class Choice(NamedTuple):
    """A tiling and what it costs on its own."""

    tiling: Tiling
    cycles: int
    dram_bytes: int
    num_candidates: int
    num_timed: int


@jit
def time_alone(nest: Nest, tiling: Tiling, machine: Machine, queue: Int64s) -> int:
    """Cycles of the layer lowered on its own, from its first command to its last finish."""
    stream = new_stream(max_rows(nest, tiling), False)
    cursor = new_cursor()
    emit(nest, tiling, machine, Place(0, 1, NONE, NONE, NONE, NONE, NONE), stream, cursor)
    flush_store(machine, stream, cursor)
    rows = cursor[ROW]
    return execute_rows(
        rows,
        queue,
        stream[:, UNIT],
        stream[:, OCCUPANCY],
        stream[:, LATENCY],
        stream[:, WAITS:AMOUNTS],
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
    )


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
def search(nest: Nest, machine: Machine, capacity: Capacity, queue: Int64s, prune: bool) -> Int64s:
    """[10] best tiling's six fields, its cycles, its load bytes, candidates, candidates timed (0: there is none).

    What is minimised is a cost linear in cycles and bytes (`Machine.cycle_cost`, `Machine.byte_cost`). If the dearest
    candidate costs more than can be counted, no candidate is timed either.
    """
    table = candidates(nest, machine, capacity)
    best = np.full(10, -1, np.int64)
    best[8], best[9] = len(table), 0
    if len(table) == 0:
        return best
    dearest = float(table[:, BOUND].max()) * machine.cycle_cost + float(table[:, BYTES].max()) * machine.byte_cost
    if dearest > MOST_COST:
        return best
    least = table[:, BOUND] * machine.cycle_cost + table[:, BYTES] * machine.byte_cost
    resolution = max(1, least.min() // RESOLUTION)
    steps = least // resolution
    order, first, first_cycles = np.arange(len(table)), -1, 0
    if prune:  # once the foremost is timed, only the few that may be as soon are worth putting in order
        first = foremost(table, steps)
        first_cycles = time_alone(nest, tiling_of(table[first]), machine, queue)
        latest = (first_cycles * machine.cycle_cost + table[first, BYTES] * machine.byte_cost) // resolution
        order = np.flatnonzero(steps <= latest)
    best_step, best_commands = 0, 0
    for index in in_order(table, steps, order):
        row, step = table[index], steps[index]
        if prune and best[9] > 0:
            if step > best_step:
                break
            if step == best_step and (row[BYTES], row[COMMANDS]) >= (best[7], best_commands):
                continue
        cycles = first_cycles if index == first else time_alone(nest, tiling_of(row), machine, queue)
        best[9] += 1
        step = (cycles * machine.cycle_cost + row[BYTES] * machine.byte_cost) // resolution
        if best[9] == 1 or (step, row[BYTES], row[COMMANDS]) < (best_step, best[7], best_commands):
            best[:6] = row[:6]
            best[6], best[7], best_step, best_commands = cycles, row[BYTES], step, row[COMMANDS]
    return best


def choose(nest: Nest, machine: Machine, capacity: Capacity, queue: Int64s, *, prune: bool = True) -> Choice | None:
    """The best tiling of a layer, or None if none fits.

    Args:
        queue: [units] DMA queues as in `Program.queue`.
        prune: False times every candidate (for tests).

    Raises:
        MappingError: if the layer is beyond what can be counted or looked at (`ceesim.mapping.limits`).
    """
    check(nest, machine, capacity)
    best = search(nest, machine, capacity, queue, prune)
    if best[8] and not best[9]:
        raise beyond_count(nest)
    if not best[8] and least_fits(nest, machine, capacity):
        raise beyond_commands(nest)
    if not best[8]:
        return None
    values = [int(value) for value in best]
    return Choice(Tiling(*values[:_FIELDS]), values[6], values[7], values[8], values[9])
