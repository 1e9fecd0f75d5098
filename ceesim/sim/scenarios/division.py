"""Which segments each stage of a pipeline runs, and on how many units: as written, or by exit rates.

Of all divisions of the units the one is chosen whose busiest stage is least busy, as ATHEENA sizes its stages (FPL
2023). Such a division fits one mix of easy and hard inputs; `shifts` says what is left of its throughput when the mix
changes, beside units that are not divided at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ceesim.errors import ScenarioError
from ceesim.program.command import NUM_AMOUNTS, Int64s
from ceesim.sim.costs import Priced
from ceesim.sim.scenarios.jobs import Jobs
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.sim.scenarios.pipeline import Division
from ceesim.sim.scenarios.scenario import Pipeline, Scenario
from ceesim.sim.scenarios.setting import Setting

SHIFTS: Final = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
_SAMPLED_RATES: Final = 10_000

StageMaker: TypeAlias = Callable[[int, int], Jobs]
"""The jobs of a stage, from its first and last segment."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Throughput, in inputs per cycle, when inputs that reach the last stage are `factor` times as frequent.

    Args:
        pipeline: of these stages, by the busiest of them.
        apart: of as many units that each run the whole network.
    """

    factor: float
    pipeline: float
    apart: float


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """A pipeline, divided and priced.

    Args:
        work: occupancy of each stage's units, in cycles per input of the stream.
        moved: [NUM_AMOUNTS] what all stages together account for, per input of the stream.
    """

    division: Division
    jobs: tuple[Jobs, ...]
    work: tuple[float, ...]
    moved: npt.NDArray[np.float64]

    @property
    def busiest_cycles(self) -> float:
        """Occupancy per input and unit of the busiest stage."""
        return max(work / units for work, units in zip(self.work, self.division.units, strict=True))


def undivided() -> ScenarioError:
    """The error of a pipeline that does not say where to cut, without the exit rates by which to decide it."""
    return ScenarioError(
        "a pipeline that divides itself needs to know how many inputs take each exit",
        where="pipeline",
        fix="pass --rates with the validation twin of the trace, or write pipeline.cuts",
    )


def stages_of(setting: Setting, network: Priced, scenario: Scenario, pipeline: Pipeline, rows: Int64s) -> Stages:
    """The stages that the scenario asks for, priced.

    Raises:
        ScenarioError: if it does not say enough, or not what fits the network.
        WorkloadError: if the network cannot be cut there.
    """
    num_exits = network.program.num_exits
    if not network.program.takes_exits:
        raise ScenarioError(
            "nobody leaves a static_npu early, so there is nothing to hand on",
            where="pipeline",
            fix="choose another control.lookahead",
        )
    made: dict[tuple[int, int], Jobs] = {}

    def make(first: int, last: int) -> Jobs:
        if (first, last) not in made:
            made[first, last] = setting.jobs(setting.rest(network, first, last), BatchMode.STATIC)
        return made[first, last]

    expected = None
    if setting.exit_rates is not None:
        counts = np.round(np.array(setting.exit_rates) * _SAMPLED_RATES).astype(np.int64)
        expected = np.repeat(np.arange(num_exits + 1), counts)
    if pipeline.cuts is not None:
        beyond = [cut_ for cut_ in pipeline.cuts if cut_ > num_exits]
        if beyond:
            raise ScenarioError(
                "no such exit to cut at", where="pipeline.cuts", got=beyond[0], expected=f"1 to {num_exits}"
            )
        segments = _segments(pipeline.cuts, num_exits)
        units = pipeline.units
        if units is None and scenario.units in (1, len(segments)):
            units = (1,) * len(segments)
        if units is None and expected is not None and scenario.units > len(segments):
            units = shares([work_cycles(make(*each), expected, *each) for each in segments], scenario.units)
        if units is None:
            raise ScenarioError(
                "how are the units divided over the stages?",
                where="pipeline",
                got=f"{scenario.units} units, {len(segments)} stages",
                fix="write pipeline.units, or pass --rates with the validation twin of the trace",
            )
        division = Division(segments, units)
    elif expected is not None:
        division = divide(make, expected, num_exits, max(scenario.units, 2))
    else:
        raise undivided()
    jobs = tuple(make(*each) for each in division.segments)
    work = tuple(work_cycles(each, rows, *own) for each, own in zip(jobs, division.segments, strict=True))
    moved = np.zeros(NUM_AMOUNTS)
    for each, own in zip(jobs, division.segments, strict=True):
        moved += each.network.costs.amounts[stage_rows(rows, *own)].sum(axis=0) / len(rows)
    return Stages(division, jobs, work, moved)


def stage_rows(rows: Int64s, first: int, last: int) -> Int64s:
    """[inputs that reach the stage] their rows in its prices: its exits in order, then being handed on."""
    reaching = rows[rows >= first - 1]
    return np.asarray(np.minimum(reaching - (first - 1), last - first + 1), np.int64)


def work_cycles(jobs: Jobs, rows: Int64s, first: int, last: int) -> float:
    """Mean occupancy of a stage's units per input of the stream `rows`."""
    own = stage_rows(rows, first, last)
    return float(jobs.network.costs.occupancy_cycles[own].sum()) / len(rows)


def divide(make: StageMaker, rows: Int64s, num_exits: int, num_units: int) -> Division:
    """The division into two or more stages whose busiest stage is least busy on `rows`; of equals, the shortest.

    Raises:
        ScenarioError: if there are more units than make sense to enumerate (16).
    """
    if num_units > 16:
        raise ScenarioError(
            "too many units to divide by themselves", got=num_units, expected="at most 16", fix="write cuts and units"
        )
    best: tuple[float, Division] | None = None
    for stages in range(2, min(num_units, num_exits + 1) + 1):
        for cuts in combinations(range(1, num_exits + 1), stages - 1):
            segments = _segments(cuts, num_exits)
            work = [work_cycles(make(first, last), rows, first, last) for first, last in segments]
            units = shares(work, num_units)
            busiest = max(each / share for each, share in zip(work, units, strict=True))
            if best is None or busiest < best[0] * (1 - 1e-9):
                best = busiest, Division(segments, units)
    if best is None:
        raise ScenarioError(
            "a pipeline needs exits and units",
            got=f"{num_exits} exits, {num_units} units",
            expected="at least one exit and two units",
        )
    return best[1]


def shares(work: Sequence[float], num_units: int) -> tuple[int, ...]:
    """Units for each stage: one, then each further one to the busiest (optimal for the least largest quotient)."""
    units = [1] * len(work)
    for _ in range(num_units - len(work)):
        units[int(np.argmax([each / share for each, share in zip(work, units, strict=True)]))] += 1
    return tuple(units)


def shifts(division: Division, jobs: Sequence[Jobs], whole: Jobs, rows: Int64s) -> tuple[Shift, ...]:
    """Throughput of the division, and of the same units apart, as harder inputs become rarer or more frequent."""
    hard = rows >= division.segments[-1][0] - 1
    found = []
    for factor in SHIFTS:
        weights = np.where(hard, factor, 1.0)
        work = [
            _weighted(each.network.costs.occupancy_cycles, rows, weights, first, last)
            for each, (first, last) in zip(jobs, division.segments, strict=True)
        ]
        alone = float(weights @ whole.network.costs.occupancy_cycles[rows]) / float(weights.sum())
        busiest = max(each / share for each, share in zip(work, division.units, strict=True))
        found.append(Shift(factor, 1 / busiest if busiest else 0.0, sum(division.units) / alone))
    return tuple(found)


def _weighted(occupancy: Int64s, rows: Int64s, weights: npt.NDArray[np.float64], first: int, last: int) -> float:
    reached = rows >= first - 1
    return float(weights[reached] @ occupancy[stage_rows(rows, first, last)]) / float(weights.sum())


def _segments(cuts: Sequence[int], num_exits: int) -> tuple[tuple[int, int], ...]:
    """(first, last) segment of each stage."""
    return tuple(zip((1, *(cut + 1 for cut in cuts)), (*cuts, num_exits + 1), strict=True))
