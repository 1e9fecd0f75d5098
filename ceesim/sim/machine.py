"""The accelerator as SimPy processes: one per queue, one completion event per command.

A queue serves its commands in program order. It waits for what the command waits for, starts it, and is free again
after the occupancy. An exit that is taken ends the inference when its decision finishes: what has started finishes,
what has not never happens. Time is an int of cycles throughout; the compiled executor agrees with every start and
finish.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt
import simpy

from ceesim.program.command import NO_COMMAND, Int64s, Program, Timeline

NOT_STARTED: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """What one input did to the machine.

    Args:
        begin_cycle: when its first command could start.
        leave_cycle: when its answer was there.
        end_cycle: when the last command it had started was finished: the next input may begin.
        timeline: start and finish of every command; ``NOT_STARTED`` for those that never happened.
    """

    begin_cycle: int
    leave_cycle: int
    end_cycle: int
    timeline: Timeline

    @property
    def started(self) -> npt.NDArray[np.bool_]:
        """[commands] whether a command happened."""
        return np.not_equal(self.timeline.start_cycles, NOT_STARTED)


def happened(program: Program, start_cycles: Int64s, exit_index: int, leave_cycle: int) -> npt.NDArray[np.bool_]:
    """[commands] what an input that leaves at an exit has caused: the commands that started before it left.

    One that started in the very cycle in which it left, while the decision was not yet known, did not happen, unless
    the decision needed it: that took no time, like the decision itself.
    """
    mask = (start_cycles >= 0) & (start_cycles < leave_cycle)
    needed = list(program.decisions[:exit_index])
    for row in needed:
        if not mask[row]:
            mask[row] = True
            needed += [wait for wait in program.waits[row].tolist() if wait != NO_COMMAND]
    return mask


class DramPort(Protocol):
    """A DRAM that others use too: a command asks for it when it could start, and starts when it is granted."""

    def request(self, row: int) -> simpy.Event | None:
        """The event that command `row` may transfer, None if it may at once (or transfers nothing)."""

    def started(self, row: int) -> None:
        """Command `row` starts in this cycle."""

    def withdraw(self, row: int) -> None:
        """Command `row`, which had asked, will never start."""


class Machine:
    """An accelerator that executes one Program, one input at a time, in a SimPy environment.

    Args:
        dram: asked before each command, if others share it; without one, nobody waits for the DRAM.
    """

    def __init__(self, env: simpy.Environment, program: Program, dram: DramPort | None = None) -> None:
        self._env = env
        self._program = program
        self._dram = dram
        self._occupancy: list[int] = program.occupancy_cycles.tolist()
        self._latency: list[int] = program.latency_cycles.tolist()
        self._waits: list[list[int]] = [[wait for wait in row if wait != NO_COMMAND] for row in program.waits.tolist()]
        served_by = program.queue[program.unit]
        self._queues: list[list[int]] = [np.flatnonzero(served_by == queue).tolist() for queue in np.unique(served_by)]

    def inference(self, exit_index: int) -> Generator[simpy.Event, Any, Inference]:
        """Process of one input that takes exit `exit_index` of the program (N+1: none); its value is the `Inference`.

        A program that does not act on its decisions always runs to the end.
        """
        env, program = self._env, self._program
        takes_exit = program.takes_exits and exit_index <= program.num_exits
        flight = _Flight(env, program.num_commands, program.decisions[exit_index - 1] if takes_exit else NO_COMMAND)
        begin = int(env.now)
        flight.processes = [env.process(self._serve(queue, flight)) for queue in self._queues]
        yield env.all_of(flight.processes)
        start, finish = np.array(flight.start, np.int64), np.array(flight.finish, np.int64)
        if flight.leave_at is not None:
            never = ~happened(program, start - begin, exit_index, flight.leave_at - begin)
            start[never] = finish[never] = NOT_STARTED
        end = int(finish.max(initial=begin))
        if end > env.now:
            yield env.timeout(end - int(env.now))
        leave = end if flight.leave_at is None else flight.leave_at
        return Inference(begin, leave, end, Timeline(start, finish))

    def _serve(self, queue: list[int], flight: _Flight) -> Generator[simpy.Event, Any, None]:
        env, completions, waits, dram = self._env, flight.completions, self._waits, self._dram
        asking = NO_COMMAND
        try:
            for row in queue:
                for wait in waits[row]:
                    if not completions[wait].processed:
                        yield completions[wait]
                if dram is not None and (grant := dram.request(row)) is not None:
                    asking = row
                    yield grant
                now = int(env.now)
                if flight.leave_at is not None and now >= flight.leave_at:
                    if dram is not None:
                        dram.withdraw(row)
                    return
                if dram is not None:
                    asking = NO_COMMAND
                    dram.started(row)
                flight.start[row] = now
                flight.finish[row] = now + self._latency[row]
                completions[row].complete_in(self._latency[row])
                if row == flight.decision:
                    flight.leave_at = flight.finish[row]
                    env.process(flight.leave(self._latency[row]))
                if self._occupancy[row]:
                    yield env.timeout(self._occupancy[row])
        except simpy.Interrupt:  # the input has left
            if dram is not None and asking != NO_COMMAND:
                dram.withdraw(asking)


class _Completion(simpy.Event):
    """The event that a command's result is usable."""

    def complete_in(self, cycles: int) -> None:
        """Succeed after `cycles`, as `simpy.Timeout` does, but on an event others may be waiting for already."""
        self._ok = True
        self._value = None
        self.env.schedule(self, delay=cycles)


class _Flight:
    """The state of one inference under way."""

    __slots__ = ("completions", "decision", "env", "finish", "leave_at", "processes", "start")

    def __init__(self, env: simpy.Environment, num_commands: int, decision: int) -> None:
        self.env = env
        self.decision = decision
        self.completions = [_Completion(env) for _ in range(num_commands)]
        self.start = [NOT_STARTED] * num_commands
        self.finish = [NOT_STARTED] * num_commands
        self.leave_at: int | None = None
        self.processes: list[simpy.Process] = []

    def leave(self, cycles: int) -> Generator[simpy.Event, Any, None]:
        """Process that waits `cycles` for the decision to finish and sends everybody home."""
        yield self.env.timeout(cycles)
        for process in self.processes:
            if process.is_alive:
                process.interrupt()


def simulate(program: Program, exit_index: int) -> Inference:
    """One input alone on the machine, from cycle 0."""
    env = simpy.Environment()
    return cast(Inference, env.run(env.process(Machine(env, program).inference(exit_index))))


def simulate_closed(program: Program, exit_indices: Int64s) -> list[Inference]:
    """Inputs one after the other on one machine: each begins when the last command of the one before has finished."""
    env = simpy.Environment()
    machine = Machine(env, program)

    def inputs() -> Generator[simpy.Event, Any, list[Inference]]:
        done = []
        for exit_index in exit_indices.tolist():
            inference = yield env.process(machine.inference(exit_index))
            done.append(inference)
        return done

    return cast("list[Inference]", env.run(env.process(inputs())))
