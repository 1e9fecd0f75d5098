"""What a scenario may not say, although each of its values is legal; what needs a network is checked in play."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ceesim.hardware.problem import Problem
from ceesim.sim.scenarios.kinds import Arbitration, BatchMode, Carry, Process

if TYPE_CHECKING:
    from ceesim.sim.scenarios.scenario import Pipeline, Scenario

_NEEDED: Final = {
    Process.CLOSED: (),
    Process.POISSON: ("rate", "load"),
    Process.PERIOD: ("period",),
    Process.RECORDED: ("file",),
}


def contradictions(scenario: Scenario) -> tuple[Problem, ...]:
    """Every contradiction in `scenario`, none if it can be played."""
    problems: list[Problem] = []
    arrivals = scenario.arrivals
    needed = _NEEDED[arrivals.process]
    given = [name for name in ("rate", "load", "period", "file") if getattr(arrivals, name) is not None]
    if needed and len([name for name in given if name in needed]) != 1:
        one = " or ".join(needed)
        problems.append(
            Problem(
                ("arrivals",),
                f"{arrivals.process.value} arrivals need {one}",
                ", ".join(given) or "neither" if len(needed) > 1 else "none",
                f"one {one}",
                f"keep one of {', '.join(given)}" if len(given) > 1 else f"add {needed[0]}",
            )
        )
    problems += [
        Problem(
            ("arrivals", name),
            f"does not go with {arrivals.process.value} arrivals",
            name,
            f"{' or '.join(needed) or 'no such key'}",
            "remove it",
        )
        for name in given
        if name not in needed
    ]
    if arrivals.process is Process.PERIOD and arrivals.period == 0:
        problems.append(
            Problem(
                ("arrivals", "period"),
                "inputs cannot all come at once",
                "0",
                "more than 0",
                "write closed arrivals, or a period like 2 ms",
            )
        )
    if arrivals.process is Process.CLOSED:
        if scenario.queue is not None:
            problems.append(
                Problem(
                    ("queue",),
                    "nobody queues under closed arrivals",
                    str(scenario.queue),
                    "no such key",
                    "remove queue, or choose arrivals",
                )
            )
        if scenario.batch.max_wait:
            problems.append(
                Problem(
                    ("batch", "max_wait"),
                    "batches are always full under closed arrivals",
                    "a time",
                    "no such key",
                    "remove it, or choose arrivals",
                )
            )
    if scenario.queue is not None and scenario.queue < scenario.batch.size:
        problems.append(
            Problem(
                ("queue",),
                "the queue cannot hold a batch",
                str(scenario.queue),
                f"at least {scenario.batch.size}",
                "enlarge queue, or shrink batch.size",
            )
        )
    if scenario.carry is Carry.CARRIED and (
        scenario.arrivals.process is not Process.CLOSED or scenario.batch.size > 1 or scenario.units > 1
    ):
        problems.append(
            Problem(
                ("carry",),
                "carried needs one input directly after another on one unit",
                "carried",
                "closed arrivals, batch.size 1, units 1",
                "write carry: fresh",
            )
        )
    problems += _idle_settings(scenario)
    if scenario.batch.mode is BatchMode.REFILL and scenario.batch.size > 1 and scenario.units > 1:
        problems.append(
            Problem(
                ("batch", "mode"),
                "refill parks its inputs for one unit",
                "refill, and several units",
                "another mode, or units 1",
                "write mode: compacted, or units: 1",
            )
        )
    if scenario.pipeline is not None:
        problems += _pipeline_problems(scenario, scenario.pipeline)
    return tuple(problems)


def _idle_settings(scenario: Scenario) -> list[Problem]:
    """Settings that would do nothing, although they say something else than their defaults."""
    problems = []
    batch = scenario.batch
    if batch.size == 1 and batch.mode is not BatchMode.STATIC:
        problems.append(
            Problem(
                ("batch", "mode"),
                "an input alone is no batch",
                f"{batch.mode.value}, and batch.size 1",
                "batch.size 2 or more",
                "set batch.size (--batch), or remove mode (--batch-mode)",
            )
        )
    if batch.size == 1 and batch.max_wait and scenario.arrivals.process is not Process.CLOSED:
        problems.append(
            Problem(
                ("batch", "max_wait"),
                "an input alone waits for no batch to fill",
                "a time, and batch.size 1",
                "batch.size 2 or more",
                "set batch.size (--batch), or remove max_wait",
            )
        )
    if scenario.units > 1 or scenario.pipeline is not None:
        if scenario.arbitration is not Arbitration.FIRST_COME and not scenario.contention:
            problems.append(
                Problem(
                    ("arbitration",),
                    "nobody waits for the DRAM",
                    f"{scenario.arbitration.value}, and contention false",
                    "contention: true",
                    "remove contention, or arbitration",
                )
            )
        return problems
    if scenario.arbitration is not Arbitration.FIRST_COME:
        problems.append(
            Problem(
                ("arbitration",),
                "one unit has its DRAM to itself",
                f"{scenario.arbitration.value}, and one unit",
                "several units, or a pipeline",
                "set units (--units), or remove arbitration",
            )
        )
    if not scenario.contention:
        problems.append(
            Problem(
                ("contention",),
                "one unit has its DRAM to itself",
                "false, and one unit",
                "several units, or a pipeline",
                "set units (--units), or remove contention",
            )
        )
    return problems


def _pipeline_problems(scenario: Scenario, pipeline: Pipeline) -> list[Problem]:
    problems = []
    if scenario.batch.size > 1 or scenario.carry is Carry.CARRIED:
        problems.append(
            Problem(
                ("pipeline",),
                "a pipeline takes inputs one by one",
                "a batch or carried state",
                "batch.size 1, carry fresh",
                "remove batch and carry",
            )
        )
    if pipeline.cuts is not None and not pipeline.cuts:
        problems.append(
            Problem(
                ("pipeline", "cuts"),
                "a single stage is no pipeline",
                "[]",
                "one exit at least",
                "write cuts: [2], or remove pipeline",
            )
        )
    if pipeline.cuts is not None and list(pipeline.cuts) != sorted(set(pipeline.cuts)):
        problems.append(
            Problem(
                ("pipeline", "cuts"),
                "the cuts must ascend",
                str(list(pipeline.cuts)),
                "exit numbers, each once",
                "sort them",
            )
        )
    if pipeline.units is not None and sum(pipeline.units) != scenario.units and scenario.units != 1:
        problems.append(
            Problem(
                ("pipeline", "units"),
                "the stages use another number of units than there are",
                str(sum(pipeline.units)),
                str(scenario.units),
                "leave out one of the two",
            )
        )
    if pipeline.units is not None and (pipeline.cuts is None or len(pipeline.units) != len(pipeline.cuts) + 1):
        problems.append(
            Problem(
                ("pipeline", "units"),
                "one number of units per stage",
                str(list(pipeline.units)),
                "one more than cuts",
                "give cuts, and units for each stage",
            )
        )
    return problems
