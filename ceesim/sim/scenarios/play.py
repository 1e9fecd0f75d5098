"""Play a scenario: the network with exits and the backbone alone, under the same arrivals. Read this first.

    Scenario ──arrivals──▶ queue ──groups──▶ units ──Bill──▶ Record ──▶ Played

What a unit does with a group is a `Job` (`jobs.py`); undisturbed, its bill is looked up, behind a shared DRAM it is
simulated command by command (`shared.py`). Arrivals that cannot be served in the long run are refused with the
numbers, unless the queue is finite or a file says when they stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np
import simpy

from ceesim.errors import ScenarioError
from ceesim.exits.policy import DecisionCost
from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.program.command import Int64s, Program
from ceesim.sim.result import Priced
from ceesim.sim.scenarios.arrivals import arrival_blocks, input_blocks, recorded_cycles
from ceesim.sim.scenarios.carried import Carried
from ceesim.sim.scenarios.jobs import Jobs
from ceesim.sim.scenarios.outcome import Played, ScenarioResult, settle
from ceesim.sim.scenarios.record import Record
from ceesim.sim.scenarios.scenario import BatchMode, Carry, Process, Scenario
from ceesim.sim.scenarios.shared import SharedDram, least_held_cycles
from ceesim.sim.scenarios.station import Station, Waiting
from ceesim.units import picoseconds_to_cycles

_PROBED_GROUPS: Final = 32


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
) -> ScenarioResult:
    """Both networks under `scenario`.

    Args:
        rows: [inputs] the row of `dynamic.costs` that each input of the trace takes.
        exit_cost, exit_rates: what the networks were compiled with.
        density: share of non-zero ifmap values by op name.
        detailed: keep a row per input of the network with exits.

    Raises:
        ScenarioError: if arrivals come faster than they can be served, or cannot be read.
        MappingError: if a batch does not fit the hardware.
    """
    num_inputs = _num_inputs(scenario, hardware, len(rows))
    if scenario.warm_up >= num_inputs:
        raise ScenarioError(
            "every input is left out of the statistics",
            where=scenario.label,
            got=f"warm_up {scenario.warm_up} of {num_inputs} inputs",
            expected=f"a warm_up below {num_inputs}",
            fix="shorten warm_up, or play more inputs (inputs: …)",
        )
    takes = {"exits": (dynamic, rows), "backbone": (static, np.zeros(len(rows), np.int64))}
    jobs = {
        name: Jobs(
            network,
            hardware,
            density or {},
            scenario.batch.mode if name == "exits" else BatchMode.STATIC,
            _compiler(network, hardware, exit_cost, exit_rates if name == "exits" else exit_rates and (1.0,)),
        )
        for name, (network, _) in takes.items()
    }
    alone = {name: float(network.costs.occupancy_cycles[taken].mean()) for name, (network, taken) in takes.items()}
    rate = scenario.arrivals.rate
    if scenario.arrivals.load is not None:
        rate = scenario.arrivals.load * scenario.units * hardware.clock_hz / alone["exits"]
    loads = {name: _load(scenario, hardware, jobs[name], takes[name][1], rate) for name in takes}
    _check_stable(scenario, hardware, loads["exits"], rate)
    played = {
        name: _play(
            scenario,
            hardware,
            jobs[name],
            takes[name][1],
            num_inputs,
            rate,
            loads[name],
            detailed=detailed and name == "exits",
        )
        for name in takes
        if name == "exits" or _is_stable(scenario, loads[name])
    }
    return ScenarioResult(scenario, played["exits"], played.get("backbone"), loads["backbone"])


def _compiler(
    network: Priced, hardware: Hardware, exit_cost: DecisionCost, exit_rates: Sequence[float] | None
) -> Callable[[tuple[int, ...], bool], Program]:
    def make(batch: tuple[int, ...], compacted: bool) -> Program:
        return compile_program(
            network.workload, hardware, exit_cost=exit_cost, exit_rates=exit_rates, batch=batch, compacted=compacted
        )

    return make


def _num_inputs(scenario: Scenario, hardware: Hardware, trace_inputs: int) -> int:
    asked = scenario.inputs
    if scenario.arrivals.process is Process.RECORDED and scenario.arrivals.file is not None:
        recorded = len(recorded_cycles(scenario.arrivals.file, hardware.clock_hz))
        return recorded if asked is None else min(asked, recorded)
    return trace_inputs if asked is None else asked


def _load(scenario: Scenario, hardware: Hardware, jobs: Jobs, rows: Int64s, rate: float | None) -> float | None:
    """Arrival rate over service rate of undisturbed units with full batches; None under closed arrivals."""
    arrivals, size = scenario.arrivals, scenario.batch.size
    if arrivals.process is Process.PERIOD and arrivals.period is not None:
        gap = arrivals.period * hardware.clock_hz / 10**12
    elif arrivals.process is Process.POISSON and rate is not None:
        gap = hardware.clock_hz / rate
    elif arrivals.process is Process.RECORDED and arrivals.file is not None:
        times = recorded_cycles(arrivals.file, hardware.clock_hz)
        gap = float(times[-1]) / max(len(times) - 1, 1)
    else:
        return None
    if size == 1:
        costs = jobs.network.costs
        served, moved = float(costs.occupancy_cycles[rows].mean()), costs.amounts[rows].mean(axis=0)
    else:
        groups = [sorted(rows[first : first + size].tolist()) for first in range(0, len(rows) - size + 1, size)]
        probed = groups[:: max(len(groups) // _PROBED_GROUPS, 1)] or [sorted(np.resize(rows, size).tolist())]
        bills = [jobs.bill(group) for group in probed]
        served = float(np.mean([bill.occupancy_cycles for bill in bills])) / size
        moved = np.mean([bill.amounts for bill in bills], axis=0) / size
    load = served / scenario.units
    if contended(scenario):
        load = max(load, least_held_cycles(moved, hardware))
    return load / gap if gap else None


def contended(scenario: Scenario) -> bool:
    """Whether units wait for each other's transfers."""
    return scenario.units > 1 and scenario.contention


def _is_stable(scenario: Scenario, load: float | None) -> bool:
    endless = scenario.arrivals.process in (Process.POISSON, Process.PERIOD)
    return not endless or scenario.queue is not None or load is None or load < 1


def _check_stable(scenario: Scenario, hardware: Hardware, load: float | None, rate: float | None) -> None:
    if load is None or _is_stable(scenario, load):
        return
    per_s = rate if rate is not None else 10**12 / (scenario.arrivals.period or 1)
    raise ScenarioError(
        "inputs arrive faster than they can be served, so the queue would grow for ever",
        where=scenario.label,
        got=f"{per_s:.4g} arrivals/s, load {load:.3g}",
        expected=f"fewer than {per_s / load:.4g}/s on {hardware.name}"
        + (f" with {scenario.units} units" if scenario.units > 1 else "")
        + (f" in batches of {scenario.batch.size}" if scenario.batch.size > 1 else ""),
        fix="lower the rate, add units or batches, or give the queue an end (queue: 64)",
    )


def _play(
    scenario: Scenario,
    hardware: Hardware,
    jobs: Jobs,
    rows: Int64s,
    num_inputs: int,
    rate: float | None,
    load: float | None,
    *,
    detailed: bool,
) -> Played:
    def cycles(picoseconds: int) -> int:
        return picoseconds_to_cycles(picoseconds, hardware.clock_hz)

    env = simpy.Environment()
    record = Record(
        num_inputs,
        scenario.units,
        jobs.network.program.num_exits,
        deadline_cycles=None if scenario.deadline is None else cycles(scenario.deadline),
        warm_up=scenario.warm_up,
        detailed=detailed,
    )
    carried = Carried(jobs) if scenario.carry is Carry.CARRIED else None
    shared = SharedDram(env, jobs, scenario.units, scenario.arbitration) if contended(scenario) else None
    station = Station(
        env,
        record,
        shared.serve if shared else carried.serve if carried else lambda _, group: jobs.bill(group),
        scenario.units,
        capacity=scenario.queue,
        batch_size=scenario.batch.size,
        max_wait_cycles=cycles(scenario.batch.max_wait),
    )
    inputs = _inputs(scenario, hardware, rows, num_inputs, rate)
    for number in range(scenario.units):
        if scenario.arrivals.process is Process.CLOSED:
            env.process(station.closed_unit(number, inputs))
        else:
            env.process(station.unit(number))
    if scenario.arrivals.process is not Process.CLOSED:
        env.process(station.arrivals(inputs))
    env.run()
    return settle(record, jobs, load, carried.num_priced if carried else jobs.num_patterns)


def _inputs(
    scenario: Scenario, hardware: Hardware, rows: Int64s, num_inputs: int, rate: float | None
) -> Iterator[Waiting]:
    times = chain.from_iterable(
        block.tolist() for block in arrival_blocks(scenario, hardware.clock_hz, num_inputs, rate)
    )
    indices = chain.from_iterable(block.tolist() for block in input_blocks(scenario, len(rows), num_inputs))
    row_of: list[int] = rows.tolist()
    return (
        Waiting(number, index, row_of[index], time)
        for number, (index, time) in enumerate(zip(indices, times, strict=True))
    )
