"""What leaving at each exit costs: the idea that makes ten thousand inputs a table look-up.

Nothing that happens before a decision depends on its outcome. So one timeline of the whole network prices every exit:
an input that leaves when decision i finishes has caused exactly the commands that had started by then. `price` takes
the compiled timeline; `price_by_events` lets the SimPy machine take each exit in turn. Both give the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ceesim.program.command import DRAM_AMOUNTS, NUM_AMOUNTS, NUM_UNITS, Amount, Int64s, Program, Timeline
from ceesim.program.executor import execute
from ceesim.sim.machine import simulate


@dataclass(frozen=True, slots=True, eq=False)
class ExitCosts:
    """The price of leaving at each exit; one row per exit of the program, the last for running to the end.

    Args:
        latency_cycles: [exits] when the answer is there.
        occupancy_cycles: [exits] when the next input may begin.
        busy_cycles: [exits, NUM_UNITS] occupancy of each unit by the commands that happened.
        amounts: [exits, NUM_AMOUNTS] sums over the commands that happened, wasted ones included.
        wasted: [exits, NUM_AMOUNTS] the part of them that belongs to segments after the exit.
        heads: [exits, NUM_AMOUNTS] the part of them that heads and decisions on the path account for.
        layer_macs: [exits, layers] multiply–accumulates that happened, by layer of the program.
        timeline: of the whole network, no exit taken.
    """

    latency_cycles: Int64s
    occupancy_cycles: Int64s
    busy_cycles: Int64s
    amounts: Int64s
    wasted: Int64s
    heads: Int64s
    layer_macs: Int64s
    timeline: Timeline

    @property
    def dram_bytes(self) -> Int64s:
        """[exits] bytes moved to and from DRAM."""
        return np.asarray(self.amounts[:, list(DRAM_AMOUNTS)].sum(axis=1), np.int64)

    @property
    def wasted_dram_bytes(self) -> Int64s:
        """[exits] bytes moved for segments that were not run."""
        return np.asarray(self.wasted[:, list(DRAM_AMOUNTS)].sum(axis=1), np.int64)

    @property
    def executed_macs(self) -> Int64s:
        """[exits] multiply–accumulates of the commands that happened."""
        return self.amounts[:, Amount.MACS]

    @property
    def wasted_macs(self) -> Int64s:
        """[exits] multiply–accumulates done for segments that were not run."""
        return self.wasted[:, Amount.MACS]


def price(program: Program) -> ExitCosts:
    """Prices from one pass of the compiled executor."""
    timeline = execute(program)
    leave = [int(timeline.finish_cycles[row]) if program.takes_exits else None for row in program.decisions]
    happened = [
        np.ones(program.num_commands, np.bool_) if cycle is None else timeline.start_cycles < cycle
        for cycle in (*leave, None)
    ]
    ends = [int(timeline.finish_cycles[mask].max(initial=0)) for mask in happened]
    latency = [end if cycle is None else cycle for cycle, end in zip((*leave, None), ends, strict=True)]
    return _sum_up(program, timeline, happened, latency, ends)


def price_by_events(program: Program) -> ExitCosts:
    """Prices from the SimPy machine, one simulated inference per exit."""
    inferences = [simulate(program, exit_index) for exit_index in range(1, program.num_exits + 2)]
    return _sum_up(
        program,
        inferences[-1].timeline,
        [inference.started for inference in inferences],
        [inference.leave_cycle for inference in inferences],
        [inference.end_cycle for inference in inferences],
    )


def _sum_up(
    program: Program,
    timeline: Timeline,
    happened: list[npt.NDArray[np.bool_]],
    latency: list[int],
    ends: list[int],
) -> ExitCosts:
    amounts = np.zeros((len(happened), NUM_AMOUNTS), np.int64)
    wasted, heads = np.zeros_like(amounts), np.zeros_like(amounts)
    layer_macs = np.zeros((len(happened), len(program.layers)), np.int64)
    in_head = np.array([layer.is_head for layer in program.layers], np.bool_)[program.layer]
    busy = np.zeros((len(happened), NUM_UNITS), np.int64)
    for i, mask in enumerate(happened):
        amounts[i] = program.amounts[mask].sum(axis=0)
        late = program.segment > i + 1 if program.takes_exits else np.zeros(program.num_commands, np.bool_)
        wasted[i] = program.amounts[mask & late].sum(axis=0)
        heads[i] = program.amounts[mask & in_head & ~late].sum(axis=0)
        np.add.at(layer_macs[i], program.layer[mask], program.amounts[mask, Amount.MACS])
        np.add.at(busy[i], program.unit[mask], program.occupancy_cycles[mask])
    return ExitCosts(np.array(latency), np.array(ends), busy, amounts, wasted, heads, layer_macs, timeline)
