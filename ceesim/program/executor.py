"""The compiled executor: one rule, one pass over the Program.

A command starts when its unit is free and everything it waits for has finished; its unit is free again after the
occupancy, its result is usable after the latency. Rows wait only for earlier rows, so one pass of max and plus
suffices.
"""

from __future__ import annotations

import numpy as np

from ceesim.program.command import Int32s, Int64s, Program, Timeline
from ceesim.program.jit import jit


def execute(program: Program) -> Timeline:
    """Start and finish of every command."""
    start = np.empty(program.num_commands, np.int64)
    finish = np.empty(program.num_commands, np.int64)
    execute_rows(
        program.num_commands,
        program.queue,
        program.unit,
        program.occupancy_cycles,
        program.latency_cycles,
        program.waits,
        start,
        finish,
    )
    return Timeline(start, finish)


@jit
def execute_rows(
    num_commands: int,
    queue: Int64s,
    unit: Int64s,
    occupancy: Int64s,
    latency: Int64s,
    waits: Int32s | Int64s,
    start: Int64s,
    finish: Int64s,
) -> int:
    """Fill `start` and `finish` of the first `num_commands` rows; returns the last finish."""
    free = np.zeros(queue.max() + 1, np.int64)
    end = 0
    for row in range(num_commands):
        served_by = queue[unit[row]]
        ready = free[served_by]
        for column in range(waits.shape[1]):
            wait = waits[row, column]
            if wait >= 0 and finish[wait] > ready:
                ready = finish[wait]
        start[row] = ready
        free[served_by] = ready + occupancy[row]
        finish[row] = ready + latency[row]
        end = max(end, finish[row])
    return end
