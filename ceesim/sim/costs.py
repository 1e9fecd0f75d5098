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
from ceesim.sim.machine import NOT_STARTED, Inference, happened, simulate
from ceesim.workload.flops import Convention, path_flops
from ceesim.workload.network import Workload


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


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """A network compiled for a hardware, with the price of each of its exits.

    Args:
        workload: as compiled: exits that the policy does not keep are gone.
        exit_indices: the trace's number (1..N+1) of each row of `costs`.
    """

    workload: Workload
    program: Program
    costs: ExitCosts
    exit_indices: tuple[int, ...]

    @property
    def path_macs(self) -> Int64s:
        """[exits] multiply–accumulates of the path taken, heads on the way included."""
        return np.array(self.workload.path_macs())

    @property
    def path_flops(self) -> Int64s:
        """[exits] `std` FLOPs of the path taken, heads on the way included."""
        return np.array(path_flops(self.workload, Convention.STD))


def price(program: Program) -> ExitCosts:
    """Prices from one pass of the compiled executor."""
    timeline = execute(program)
    leave = [int(timeline.finish_cycles[row]) if program.takes_exits else None for row in program.decisions]
    masks = [
        np.ones(program.num_commands, np.bool_)
        if cycle is None
        else happened(program, timeline.start_cycles, exit_index, cycle)
        for exit_index, cycle in enumerate((*leave, None), start=1)
    ]
    ends = [int(timeline.finish_cycles[mask].max(initial=0)) for mask in masks]
    latency = [end if cycle is None else cycle for cycle, end in zip((*leave, None), ends, strict=True)]
    return _sum_up(program, timeline, masks, latency, ends)


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


def costs_of_inference(program: Program, inference: Inference, exit_index: int) -> ExitCosts:
    """What one inference came to, in the row of the exit at which it left; rows after it repeat it.

    In rows before it only the latency is meant: when that exit's decision was there, counted from the beginning.
    """
    nothing = np.zeros(program.num_commands, np.bool_)
    early = exit_index - 1
    begin, started = inference.begin_cycle, inference.started
    timeline = Timeline(
        np.where(started, inference.timeline.start_cycles - begin, NOT_STARTED),
        np.where(started, inference.timeline.finish_cycles - begin, NOT_STARTED),
    )
    answers = [int(timeline.finish_cycles[row]) for row in program.decisions[:early]]
    later = program.num_exits + 1 - early
    return _sum_up(
        program,
        timeline,
        [nothing] * early + [started] * later,
        answers + [inference.leave_cycle - begin] * later,
        [0] * early + [inference.end_cycle - begin] * later,
    )


def _sum_up(
    program: Program,
    timeline: Timeline,
    masks: list[npt.NDArray[np.bool_]],
    latency: list[int],
    ends: list[int],
) -> ExitCosts:
    num_exits, num_layers = len(masks), len(program.layers)
    # what has happened for an exit has happened for every later one: a command belongs to the first that it counts for
    first = num_exits - np.stack(masks).sum(axis=0)
    key = first * num_layers + program.layer
    order = np.argsort(key, kind="stable")
    order = order[: int((first < num_exits).sum())]  # the others never happened
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    layers = np.zeros((num_exits * num_layers, NUM_AMOUNTS), np.int64)
    if len(starts):
        layers[key[order][starts]] = np.add.reduceat(program.amounts[order], starts, axis=0)
    layers = layers.reshape(num_exits, num_layers, NUM_AMOUNTS).cumsum(axis=0)
    busy = np.zeros((num_exits, NUM_UNITS), np.int64)
    np.add.at(busy, (first[order], program.unit[order]), program.occupancy_cycles[order])
    late, in_head = program.late, program.in_head
    return ExitCosts(
        latency_cycles=np.array(latency),
        occupancy_cycles=np.array(ends),
        busy_cycles=busy.cumsum(axis=0),
        amounts=layers.sum(axis=1),
        wasted=(layers * late[:, :, None]).sum(axis=1),
        heads=(layers * (in_head & ~late)[:, :, None]).sum(axis=1),
        layer_macs=layers[:, :, Amount.MACS],
        timeline=timeline,
    )
