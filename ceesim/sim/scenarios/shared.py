"""Several accelerators behind one DRAM: every transfer asks for it, one is served at a time.

A transfer holds the DRAM for its bytes at full bandwidth; set-up, latency and whatever else makes its own queue slower
overlap with the transfers of others. A command that has to wait starts when it is granted. One accelerator alone never
waits, so it keeps its own times to the cycle. Load and store queues that each have half the bandwidth (or a direction
of their own) are two ports.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from ceesim.hardware.model import Hardware
from ceesim.mapping.machine import machine_of
from ceesim.program.command import DRAM_AMOUNTS, Amount, Int64s, Program, Unit
from ceesim.sim.costs import costs_of_inference
from ceesim.sim.machine import Inference, Machine
from ceesim.sim.scenarios.jobs import Bill, Job, Jobs, bill_of
from ceesim.sim.scenarios.kinds import Arbitration


class Channel:
    """One direction (or all) of a DRAM: grants transfers one after the other."""

    def __init__(self, env: simpy.Environment, arbitration: Arbitration, num_units: int) -> None:
        self._env = env
        self._in_turn = arbitration is Arbitration.ROUND_ROBIN
        self._num_units = num_units
        self._free_at = 0
        self._last = num_units - 1
        self._granted: int | None = None
        self._waiting: deque[tuple[int, simpy.Event]] = deque()
        self._due: int | None = None
        self.busy_cycles = 0

    def request(self, unit: int) -> simpy.Event | None:
        """Ask for a transfer: None if it may start now, else the event of its grant."""
        if not self._waiting and self._granted is None and self._free_at <= self._env.now:
            return None
        event = self._env.event()
        self._waiting.append((unit, event))
        self._schedule()
        return event

    def started(self, unit: int, cycles: int) -> None:
        """The transfer of `unit` starts now and holds the channel for `cycles`."""
        self._granted = None
        self._last = unit
        self._free_at = int(self._env.now) + cycles
        self.busy_cycles += cycles
        self._schedule()

    def withdraw(self, unit: int) -> None:
        """The request (or grant) of `unit` will not be used."""
        if self._granted == unit:
            self._granted = None
        self._waiting = deque(item for item in self._waiting if item[0] != unit)
        self._schedule()

    def _schedule(self) -> None:
        """See to it that the next grant is given as soon as the channel is free."""
        due = max(self._free_at, int(self._env.now))
        if self._waiting and self._granted is None and self._due != due:
            self._due = due
            timeout = self._env.timeout(due - int(self._env.now))
            timeout.callbacks.append(self._grant)

    def _grant(self, _event: simpy.Event) -> None:
        if self._due == self._env.now:
            self._due = None
        if not self._waiting or self._granted is not None or self._free_at > self._env.now:
            self._schedule()
            return
        chosen = 0
        if self._in_turn:
            turns = [(unit - self._last - 1) % self._num_units for unit, _ in self._waiting]
            chosen = turns.index(min(turns))
        unit, event = self._waiting[chosen]
        del self._waiting[chosen]
        self._granted = unit
        event.succeed()


class Port:
    """The channels as one accelerator's Program sees them."""

    def __init__(self, unit: int, channels: Sequence[Channel], program: Program, hardware: Hardware) -> None:
        self._unit = unit
        ports = [int(port) for port in np.unique(program.queue[[Unit.LOAD, Unit.STORE]])]
        served_by = program.queue[program.unit]
        moved = program.amounts[:, list(DRAM_AMOUNTS)].sum(axis=1)
        machine = machine_of(hardware)
        self._cycles: list[int] = (-(-moved * machine.cycles_numerator // machine.cycles_denominator)).tolist()
        self._channel = [
            channels[ports.index(queue)] if cycles else None
            for queue, cycles in zip(served_by.tolist(), self._cycles, strict=True)
        ]

    def request(self, row: int) -> simpy.Event | None:
        """See `DramPort`."""
        channel = self._channel[row]
        return None if channel is None else channel.request(self._unit)

    def started(self, row: int) -> None:
        """See `DramPort`."""
        channel = self._channel[row]
        if channel is not None:
            channel.started(self._unit, self._cycles[row])

    def withdraw(self, row: int) -> None:
        """See `DramPort`."""
        channel = self._channel[row]
        if channel is not None:
            channel.withdraw(self._unit)


def channels_of(env: simpy.Environment, arbitration: Arbitration, num_units: int) -> tuple[Channel, Channel]:
    """The channels of one DRAM; with a shared DMA queue only the first is used."""
    return Channel(env, arbitration, num_units), Channel(env, arbitration, num_units)


def least_held_cycles(amounts: Int64s | npt.NDArray[np.float64], hardware: Hardware) -> float:
    """How long transfers of `amounts` [NUM_AMOUNTS] hold the busier channel at least."""
    machine = machine_of(hardware)
    stored = float(amounts[Amount.OFMAP_DRAM_BYTES])
    loaded = float(amounts[list(DRAM_AMOUNTS)].sum()) - stored
    held = loaded + stored if machine.shared_queue else max(loaded, stored)
    return held * machine.cycles_numerator / machine.cycles_denominator


class SharedDram:
    """What units that share a DRAM do with a group: the job's Program, command by command, in one environment."""

    def __init__(self, env: simpy.Environment, jobs: Jobs, channels: tuple[Channel, Channel]) -> None:
        self._env = env
        self._jobs = jobs
        self.channels = channels
        self._machines: dict[tuple[int, Job], Machine] = {}

    def serve(self, unit: int, rows: Sequence[int]) -> Generator[simpy.Event, Any, Bill]:
        """Process of one group on one unit; its value is the bill."""
        job = self._jobs.job(rows)
        machine = self._machines.get((unit, job))
        if machine is None:
            port = Port(unit, self.channels, job.program, self._jobs.hardware)
            machine = self._machines[unit, job] = Machine(self._env, job.program, port)
        inference = yield self._env.process(machine.inference(job.exit_index))
        return self._bill(job, inference)

    def _bill(self, job: Job, inference: Inference) -> Bill:
        costs = costs_of_inference(job.program, inference, job.exit_index)
        return bill_of(job, costs, self._jobs.hardware, self._jobs.density)
