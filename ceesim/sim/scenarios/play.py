"""Play a scenario: the network with exits and the backbone alone, under the same arrivals. Read this first.

    Scenario ──arrivals──▶ queue ──groups──▶ units ──Bill──▶ Record ──▶ Played

What a unit does with a group is a `Job` (`jobs.py`); undisturbed, its bill is looked up, behind a shared DRAM it is
simulated command by command (`shared.py`). Arrivals that cannot be served in the long run are refused with the
numbers, unless the queue is finite or a file says when they stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import simpy

from ceesim.errors import ScenarioError
from ceesim.exits.policy import DecisionCost
from ceesim.hardware.model import Hardware
from ceesim.program.command import Int64s
from ceesim.sim.costs import Priced
from ceesim.sim.scenarios.arrivals import arrival_blocks, check_span, input_blocks, played_inputs
from ceesim.sim.scenarios.carried import Carried
from ceesim.sim.scenarios.division import Stages, shifts, stages_of
from ceesim.sim.scenarios.inputs import Arrived
from ceesim.sim.scenarios.jobs import Jobs
from ceesim.sim.scenarios.kinds import BatchMode, Carry, Process
from ceesim.sim.scenarios.outcome import PipelineOutcome, Played, ScenarioResult, settle
from ceesim.sim.scenarios.pipeline import Line
from ceesim.sim.scenarios.record import Progress, Record
from ceesim.sim.scenarios.refill import Refill, saturated_cycles
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.sim.scenarios.setting import Setting
from ceesim.sim.scenarios.shared import SharedDram, channels_of, least_held_cycles
from ceesim.sim.scenarios.station import Serve, Station
from ceesim.sim.scenarios.stretches import Stretches
from ceesim.units import PICOSECONDS_PER_SECOND, picoseconds_to_cycles

_PROBED_GROUPS: Final = 32
_PROBED_INPUTS: Final = 4096


def play(
    scenario: Scenario,
    hardware: Hardware,
    dynamic: Priced,
    static: Priced,
    rows: Int64s,
    *,
    exit_cost: DecisionCost,
    exit_rates: Sequence[float] | None = None,
    density: Mapping[str, float] | None = None,
    detailed: bool = False,
    progress: Progress | None = None,
) -> ScenarioResult:
    """Both networks under `scenario`; of a pipeline the backbone runs on as many units, each on its own.

    Args:
        rows: [inputs] the row of `dynamic.costs` that each input of the trace takes.
        exit_cost, exit_rates: what the networks were compiled with; rates also divide a pipeline.
        density: share of non-zero ifmap values by op name.
        detailed: keep a row per input of the network with exits.
        progress: told as inputs are answered or dropped.

    Raises:
        ScenarioError: if arrivals come faster than they can be served, or cannot be read, or do not fit the network.
        MappingError: if a batch does not fit the hardware.
        WorkloadError: if the network cannot be cut where the scenario needs it.
    """
    recorded, num_inputs = played_inputs(scenario, len(rows), hardware.clock_hz)
    setting = Setting(hardware, exit_cost, exit_rates, density or {}, scenario.batch.size)
    if not dynamic.program.takes_exits:
        rows = np.full_like(rows, dynamic.program.num_exits)  # nobody leaves
    line = None
    if scenario.pipeline is not None:
        line = stages_of(setting, dynamic, scenario, scenario.pipeline, rows)
        scenario = scenario.model_copy(update={"units": sum(line.division.units)})
    rate = scenario.arrivals.rate
    if scenario.arrivals.load is not None:
        alone = float(dynamic.costs.occupancy_cycles[rows].mean())
        rate = scenario.arrivals.load * scenario.units * hardware.clock_hz / alone
    refilled = scenario.batch.mode is BatchMode.REFILL and scenario.batch.size > 1
    stretches = setting.stretches(dynamic) if refilled else None
    scene = _Scene(setting, scenario, rate, num_inputs, progress, stretches, recorded)
    exits = setting.jobs(dynamic, scenario.batch.mode)
    backbone, none = setting.jobs(static, BatchMode.STATIC), np.zeros(len(rows), np.int64)
    if line is None:
        load = scene.load(exits, rows)
    else:
        load = scene.load_of(line.busiest_cycles, least_held_cycles(line.moved, hardware))
    scene.check(load)
    static_load = scene.load(backbone, none)
    if progress is not None:
        progress.start(num_inputs * (2 if scene.is_stable(static_load) else 1))
    played = scene.play(exits, rows, load, line, detailed=detailed)
    fixed = scene.play(backbone, none, static_load, None) if scene.is_stable(static_load) else None
    return ScenarioResult(scenario, played, fixed, static_load)


@dataclass(frozen=True, slots=True)
class _Scene:
    """Where both networks are played: the same arrivals, queue and units.

    Args:
        stretches: of the network with exits, where its batches are refilled.
        recorded: [inputs or more] arrival times in cycles, where a file says them.
    """

    setting: Setting
    scenario: Scenario
    rate_per_s: float | None
    num_inputs: int
    progress: Progress | None
    stretches: Stretches | None = None
    recorded: Int64s | None = None

    def load(self, jobs: Jobs, rows: Int64s) -> float | None:
        """Arrival rate over service rate, of units in full batches or of their DRAM; None under closed arrivals."""
        size = self.scenario.batch.size
        if self._gap_cycles() is None:
            return None
        if jobs.mode is BatchMode.REFILL and self.stretches is not None:
            return self.load_of(self._refilling_cycles(self.stretches, jobs, rows), 0.0)
        if size == 1:
            costs = jobs.network.costs
            held = least_held_cycles(costs.amounts[rows].mean(axis=0), self.setting.hardware)
            return self.load_of(float(costs.occupancy_cycles[rows].mean()) / self.scenario.units, held)
        order = np.concatenate(list(input_blocks(self.scenario, len(rows), max(len(rows), size))))
        groups = np.sort(rows[order[: len(order) // size * size]].reshape(-1, size), axis=1)
        times = np.ones(len(groups))
        if jobs.mode is BatchMode.STATIC:  # which lasts as its last member does
            lasts, counts = np.unique(groups[:, -1], return_counts=True)
            groups, times = np.repeat(lasts[:, None], size, axis=1), counts.astype(np.float64)
        else:
            groups, times = (each[:: max(len(groups) // _PROBED_GROUPS, 1)] for each in (groups, times))
        bills = [jobs.bill(group) for group in groups.tolist()]
        occupancy = float(np.average([bill.occupancy_cycles for bill in bills], weights=times))
        held = least_held_cycles(
            np.average([bill.amounts for bill in bills], axis=0, weights=times), self.setting.hardware
        )
        return self.load_of(occupancy / size / self.scenario.units, held / size)

    def _refilling_cycles(self, stretches: Stretches, jobs: Jobs, rows: Int64s) -> float:
        """Occupancy per input when batches of new inputs are always full, from inputs that come as in the scenario."""
        batch = self.scenario.batch
        blocks = input_blocks(self.scenario, len(rows), max(_PROBED_INPUTS, _PROBED_GROUPS * batch.size))
        sample = rows[np.concatenate(list(blocks))].tolist()
        num_exits, max_wait_cycles = jobs.network.program.num_exits, self._cycles(batch.max_wait)
        return saturated_cycles(stretches, num_exits, sample, batch.size, max_wait_cycles)

    def load_of(self, cycles: float, held_cycles: float) -> float | None:
        """Load of something that is busy for so many cycles per input, which holds a shared DRAM for so many."""
        gap = self._gap_cycles()
        if not gap:
            return None
        return (max(cycles, held_cycles) if self.scenario.is_contended else cycles) / gap

    def _gap_cycles(self) -> float | None:
        """Mean cycles between arrivals; None under closed arrivals."""
        arrivals, clock_hz = self.scenario.arrivals, self.setting.hardware.clock_hz
        if arrivals.process is Process.PERIOD and arrivals.period is not None:
            return arrivals.period * clock_hz / PICOSECONDS_PER_SECOND
        if arrivals.process is Process.POISSON and self.rate_per_s is not None:
            return clock_hz / self.rate_per_s
        if self.recorded is not None:
            return float(self.recorded[self.num_inputs - 1]) / max(self.num_inputs - 1, 1)
        return None

    def is_stable(self, load: float | None) -> bool:
        """Whether the queue stays finite: it is by itself, or arrivals end, or they can be served."""
        endless = self.scenario.arrivals.process in (Process.POISSON, Process.PERIOD)
        return not endless or self.scenario.queue is not None or load is None or load < 1

    def check(self, load: float | None) -> None:
        """Refuse arrivals that cannot be served.

        Raises:
            ScenarioError: with the numbers.
        """
        gap = self._gap_cycles()
        if gap and self.scenario.arrivals.process is not Process.RECORDED:
            check_span(self.scenario, self.setting.hardware.clock_hz, gap, self.num_inputs)
        if load is None or not gap or self.is_stable(load):
            return
        per_s = self.setting.hardware.clock_hz / gap
        scenario = self.scenario
        raise ScenarioError(
            "inputs arrive faster than they can be served, so the queue would grow for ever",
            where=scenario.label,
            got=f"{per_s:.4g} arrivals/s, load {load:.3g}",
            expected=f"fewer than {per_s / load:.4g}/s on {self.setting.hardware.name}"
            + (f" with {scenario.units} units" if scenario.units > 1 else "")
            + (f" in batches of {scenario.batch.size}" if scenario.batch.size > 1 else ""),
            fix="lower the rate, add units or batches, or give the queue an end (queue: 64)",
        )

    def play(
        self, jobs: Jobs, rows: Int64s, load: float | None, line: Stages | None, *, detailed: bool = False
    ) -> Played:
        """One network under the scenario."""
        scenario, env = self.scenario, simpy.Environment()
        record = Record(
            self.num_inputs,
            scenario.units,
            jobs.network.program.num_exits,
            deadline_cycles=None if scenario.deadline is None else self._cycles(scenario.deadline),
            warm_up=scenario.warm_up,
            detailed=detailed,
            progress=self.progress,
        )
        inputs = self._inputs(rows)
        closed = scenario.arrivals.process is Process.CLOSED
        if line is not None:
            return self._flow(env, record, jobs, rows, load, line, inputs)
        station = self._station(env, record, jobs)
        for number in range(scenario.units):
            env.process(station.closed_unit(number, inputs) if closed else station.unit(number))
        if not closed:
            env.process(station.arrivals(inputs))
        env.run()
        num_patterns = station.num_patterns if isinstance(station, Refill) else jobs.num_patterns
        return settle(record, jobs, load, num_patterns, queue=scenario.queue, shared_dram=scenario.is_contended)

    def _station(self, env: simpy.Environment, record: Record, jobs: Jobs) -> Station | Refill:
        scenario = self.scenario
        capacity, size = scenario.queue, scenario.batch.size
        max_wait_cycles = self._cycles(scenario.batch.max_wait)
        if jobs.mode is BatchMode.REFILL and self.stretches is not None:
            return Refill(
                env,
                record,
                self.stretches,
                jobs.network.program.num_exits,
                capacity=capacity,
                batch_size=size,
                max_wait_cycles=max_wait_cycles,
            )
        return Station(
            env,
            record,
            self._serve(env, [jobs])[0],
            scenario.units,
            capacity=capacity,
            batch_size=size,
            max_wait_cycles=max_wait_cycles,
        )

    def _serve(self, env: simpy.Environment, each: Sequence[Jobs]) -> list[Serve]:
        """What units do with a group, for each network (or stage) that runs on some of them."""
        if self.scenario.is_contended:
            channels = channels_of(env, self.scenario.arbitration, self.scenario.units)
            return [SharedDram(env, jobs, channels).serve for jobs in each]
        if self.scenario.carry is Carry.CARRIED:
            return [Carried(jobs).serve for jobs in each]
        return [_look_up(jobs) for jobs in each]

    def _flow(
        self,
        env: simpy.Environment,
        record: Record,
        jobs: Jobs,
        rows: Int64s,
        load: float | None,
        line: Stages,
        inputs: Iterator[Arrived],
    ) -> Played:
        pipeline, scenario = self.scenario.pipeline, self.scenario
        flow = Line(
            env,
            record,
            line.division,
            self._serve(env, line.jobs),
            capacity=scenario.queue,
            buffer=None if pipeline is None else pipeline.buffer,
        )
        flow.start(inputs, closed=scenario.arrivals.process is Process.CLOSED)
        env.run()
        outcome = PipelineOutcome(flow.stages(line.work), shifts(line.division, line.jobs, jobs, rows))
        num_patterns = sum(each.num_patterns for each in line.jobs)
        return settle(
            record, jobs, load, num_patterns, outcome, queue=scenario.queue, shared_dram=scenario.is_contended
        )

    def _inputs(self, rows: Int64s) -> Iterator[Arrived]:
        scenario, clock_hz = self.scenario, self.setting.hardware.clock_hz
        blocks = arrival_blocks(scenario, clock_hz, self.num_inputs, rate_per_s=self.rate_per_s, recorded=self.recorded)
        times = chain.from_iterable(block.tolist() for block in blocks)
        orders = input_blocks(scenario, len(rows), self.num_inputs)
        indices = chain.from_iterable(block.tolist() for block in orders)
        row_of: list[int] = rows.tolist()
        return (
            Arrived(number, index, row_of[index], time)
            for number, (index, time) in enumerate(zip(indices, times, strict=True))
        )

    def _cycles(self, picoseconds: int) -> int:
        return picoseconds_to_cycles(picoseconds, self.setting.hardware.clock_hz)


def _look_up(jobs: Jobs) -> Serve:
    return lambda _, group: jobs.bill(group)
