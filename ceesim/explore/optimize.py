"""Hardware and thresholds together: which designs are worth having in accuracy, latency, energy and area at once.

optuna proposes points of a design space (NSGA-II; Deb et al., IEEE Transactions on Evolutionary Computation 6(2),
2002); a point is replayed on validation data like one of a sweep. Thresholds are either knobs of the space
(`policy.beta.2`, null drops the exit), or, given tolerances, found for each hardware by the search of
`ceesim.exits.search` under that hardware's own prices, exits dropped where they do not pay. The study is kept in a file
and goes on where it was. What no other design beats on validation data is replayed once on test data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from ceesim.errors import CeesimError, MissingExtraError, OptionError, OutputError
from ceesim.exits.policy import ExitPolicy
from ceesim.exits.policy_file import policy_from_json
from ceesim.exits.search import SEARCHABLE, Method, search
from ceesim.exits.search import Space as Policies
from ceesim.exits.trace import ExitTrace
from ceesim.explore.codesign import HardwarePrices
from ceesim.explore.experiment import METRICS, Experiment
from ceesim.explore.knobs import policy_with
from ceesim.explore.pareto import MAXIMISED, OBJECTIVES, not_dominated
from ceesim.explore.reasons import Failure, Failures, in_one_line
from ceesim.explore.space import Point, Space, hardware_settings, policy_settings
from ceesim.explore.sweep import identity
from ceesim.hardware.load import override
from ceesim.hardware.model import Residency

TOLERANCE: Final = "tolerance"
"""The parameter of a trial that chooses among the tolerances."""
POLICY_COLUMN: Final = "policy"
VALIDATION: Final = "validation."
TEST: Final = "test."
"""How the columns of a table of designs begin, by the set that was measured."""
BESIDE: Final = ("accuracy.static", "reduction.latency", "reduction.energy")
"""What the table says of the test set besides: the same hardware running the network without exits."""
POPULATION: Final = 24
"""Designs per generation."""
MEASURED: Final = "point"
OUTSIDE: Final = "outside"
FAILED: Final = "reason"
"""What the first trial of a design holds, by what became of it; trials that repeat it hold none of them."""


class OutsideError(OptionError):
    """A design that was proposed, and that the constraints of the space leave out."""


@dataclass(frozen=True, slots=True)
class Design:
    """A hardware point with its policy, and what it does: the values of `OBJECTIVES`.

    Args:
        tolerance: the share of accuracy that the search for the policy might lose; None: it was not searched.
    """

    point: Point
    policy: ExitPolicy
    values: tuple[float, ...]
    tolerance: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is optimised.

    Args:
        experiment: on validation data.
        space: of the hardware, and of the thresholds unless there are tolerances.
        tolerances: shares of accuracy that a search for thresholds may lose; empty: thresholds are knobs.
        objective: what that search lowers: latency, energy or dram_bytes.

    Raises:
        OptionError: if thresholds are both searched and knobs, or the policy has none to search, or labels are missing,
            or a design would need exit rates, for which there is no third set of inputs.
        TraceError: if the trace holds decisions only.
    """

    experiment: Experiment
    space: Space
    tolerances: tuple[float, ...] = ()
    objective: str = "latency"

    def __post_init__(self) -> None:
        knobs = [knob.key for knob in self.space.knobs if policy_settings({knob.key: None})]
        if self.tolerances and knobs:
            raise OptionError("thresholds are both searched and knobs", got=", ".join(knobs), fix="drop --tolerance")
        if self.tolerances and self.experiment.trace.policy.name not in SEARCHABLE:
            got, expected = self.experiment.trace.policy.name, ", ".join(SEARCHABLE)
            raise OptionError("nothing to search in the policy of the trace", got=got, expected=expected)
        check_evidence(self.experiment.trace, "--trace")
        if Residency.AUTO in self._residencies:
            raise OptionError(
                "auto needs the exit rates of a third set of inputs: both traces are spent on choosing and reporting",
                where="residency",
                expected=" or ".join(one.value for one in Residency if one is not Residency.AUTO),
                fix="write residency: prefix, or try auto in `ceesim sweep --rates VAL`",
            )

    @property
    def _residencies(self) -> set[Any]:
        """What designs may have as `residency`."""
        for axis in self.space.axes:
            for i, knob in enumerate(axis.knobs):
                if knob.key == "residency":
                    return {step[i] for step in axis.steps}
        return {self.experiment.hardware.residency}

    @property
    def choices(self) -> dict[str, int]:
        """What a trial chooses, and among how many."""
        axes = {", ".join(knob.key for knob in axis.knobs): len(axis.steps) for axis in self.space.axes}
        return axes | ({TOLERANCE: len(self.tolerances)} if self.tolerances else {})

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it this task and no other, JSON-ready."""
        return identity(self.experiment, self.space) | {
            "tolerances": list(self.tolerances),
            "objective": self.objective,
        }

    def point(self, chosen: Mapping[str, int]) -> Point:
        """The hardware and the thresholds that a trial has chosen."""
        point: Point = {}
        for name, axis in zip(self.choices, self.space.axes, strict=False):
            step = axis.steps[chosen[name]]
            point |= {knob.key: value for knob, value in zip(axis.knobs, step, strict=True)}
        return point

    def design(self, chosen: Mapping[str, int]) -> Design:
        """The design that a trial has chosen, measured on validation data.

        Raises:
            OutsideError: if it does not meet the constraints.
            CeesimError: if it cannot be built or mapped.
        """
        point = self.point(chosen)
        if not self.space.allows(point):
            raise OutsideError("does not meet the constraints", got=str(point))
        trace = self.experiment.trace
        policy, tolerance = policy_with(trace.policy, policy_settings(point)), None
        if self.tolerances:
            policies = Policies(
                policy=trace.policy.name,
                alpha=getattr(trace.policy, "alpha", None),
                recovery=getattr(trace.policy, "recovery", True),
                masked_final=getattr(trace.policy, "masked_final", False),
                choose_exits=True,
            )
            prices = HardwarePrices(override(self.experiment.hardware, hardware_settings(point)), trace, policies)
            tolerance = self.tolerances[chosen[TOLERANCE]]
            policy = search(trace, policies, Method.BUDGETED, prices.under(self.objective), tolerance)
        return Design(point, policy, measured(self.experiment, point, policy), tolerance)


def check_evidence(trace: ExitTrace, option: str) -> None:
    """See that designs can be measured on `trace`, which `option` named.

    Raises:
        TraceError: if it holds decisions only.
        OptionError: if no input has a label.
    """
    trace.evidence()
    if trace.accuracy is None:
        raise OptionError("no input has a label, so accuracy cannot be measured", where=option)


def measured(
    experiment: Experiment, point: Point, policy: ExitPolicy, names: Sequence[str] = OBJECTIVES
) -> tuple[float, ...]:
    """The values of `names`, of `METRICS`, for the hardware of `point` under `policy`.

    Raises:
        CeesimError: if there is no such design, or the network does not fit it.
    """
    under = replace(experiment, trace=experiment.trace.under(policy))
    metrics: dict[str, Any] = dict(zip(METRICS, under.metrics(hardware_settings(point)), strict=False))
    return tuple(float(metrics[name]) for name in names)


def open_study(task: Task, storage: Path | None, seed: int) -> Any:
    """The optuna study of `task`: in memory, or in the SQLite file `storage`, where an earlier one goes on.

    Raises:
        MissingExtraError: if optuna is not installed.
        OutputError: if the file cannot be used, or holds the study of another task.
    """
    try:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        raise MissingExtraError.of("optuna", "search", "optimising") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions: Any = ["maximize" if name in MAXIMISED else "minimize" for name in OBJECTIVES]
    try:
        study = optuna.create_study(
            storage=None if storage is None else f"sqlite:///{storage}",
            study_name="ceesim",
            directions=directions,
            load_if_exists=True,
        )
        same = json.loads(json.dumps(task.identity))
        if not study.trials and "identity" not in study.user_attrs:
            study.set_user_attr("identity", same)
        there = study.user_attrs.get("identity")
    except SQLAlchemyError as problem:
        what = str(problem).splitlines()[0][:120]
        raise OutputError(f"not a study: {what}", where=str(storage), fix="choose another --storage") from None
    if there != same:
        raise OutputError("holds the study of another task", where=str(storage), fix="choose another --storage")
    # a continued study draws other numbers than its beginning did
    study.sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed + len(study.trials))
    return study


def optimise(task: Task, study: Any, num_trials: int, progress: Callable[[int, int, int], None] | None = None) -> None:
    """Go on until the study has `num_trials` finished trials; a design that was measured before is not measured again.

    If there are no more designs than that, each is tried once. An interrupt loses the design at hand alone. `progress`
    is told how many trials are finished, how many there will be, and how many designs failed.
    """
    from optuna.distributions import IntDistribution
    from optuna.trial import TrialState, create_trial

    ended = [trial for trial in study.trials if trial.state.is_finished()]
    ranges: dict[str, Any] = {name: IntDistribution(0, num - 1) for name, num in task.choices.items()}
    known = {tuple(trial.params[name] for name in ranges): trial.values for trial in ended if trial.params}
    num_failed = sum(FAILED in trial.user_attrs for trial in ended)
    left: list[tuple[int, ...]] = []
    if whole := prod(task.choices.values()) <= num_trials:
        left = [each for each in product(*map(range, task.choices.values())) if each not in known]
        num_trials = len(ended) + len(left)
    for done in range(len(ended), num_trials):
        # what is not sampled is not asked for either: a trial that was asked for outlives an interrupt, unmeasured
        trial = None if whole else study.ask(ranges)
        chosen = dict(zip(ranges, left[done - len(ended)], strict=True)) if trial is None else trial.params
        key = tuple(chosen[name] for name in ranges)
        held: dict[str, Any] = {}
        if key not in known:
            known[key], held = _tried(task, chosen)
        state = TrialState.FAIL if (values := known[key]) is None else TrialState.COMPLETE
        if trial is None:
            made = create_trial(state=state, values=values, params=chosen, distributions=ranges, user_attrs=held)
            study.add_trial(made)
        else:
            for name, value in held.items():
                trial.set_user_attr(name, value)
            study.tell(trial, values, state)
        num_failed += FAILED in held
        if progress is not None:
            progress(done + 1, num_trials, num_failed)


def _tried(task: Task, chosen: Mapping[str, int]) -> tuple[list[float] | None, dict[str, Any]]:
    """The values of a design, None if it cannot be had, and what its trial is to hold."""
    try:
        design = task.design(chosen)
    except OutsideError:
        return None, {OUTSIDE: True}
    except CeesimError as problem:
        return None, {FAILED: in_one_line(problem, task.point(chosen))}
    return list(design.values), {"policy": design.policy.to_json(), MEASURED: design.point, TOLERANCE: design.tolerance}


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the designs of a study, each counted once however often it was proposed.

    Args:
        num_measured: that were built and measured.
        num_repeated: proposals of a design that had been proposed before.
        num_outside: that the constraints leave out.
        failures: by reason; the first is the number of a trial, from 0 on.
    """

    num_measured: int
    num_repeated: int
    num_outside: int
    failures: tuple[Failure, ...]

    @property
    def num_failed(self) -> int:
        """Designs that could not be built or mapped."""
        return sum(failure.num_points for failure in self.failures)


def tally(study: Any) -> Tally:
    """What became of the designs of the study; a trial that an interrupt left unfinished is none."""
    held = [(trial.number, trial.user_attrs) for trial in study.trials if trial.state.is_finished()]
    failures = Failures()
    for number, attributes in held:
        if FAILED in attributes:
            failures.add(attributes[FAILED], number)
    measured, outside = (sum(name in attributes for _, attributes in held) for name in (MEASURED, OUTSIDE))
    repeated = sum(not {MEASURED, OUTSIDE, FAILED} & attributes.keys() for _, attributes in held)
    return Tally(measured, repeated, outside, failures.by_reason())


def best_designs(study: Any) -> list[Design]:
    """The designs of the study that no other beats on validation data, fastest first, each once."""
    designs = [
        Design(
            trial.user_attrs[MEASURED],
            policy_from_json(trial.user_attrs["policy"]),
            tuple(trial.values),
            trial.user_attrs.get(TOLERANCE),
        )
        for trial in study.trials
        if MEASURED in trial.user_attrs and trial.values is not None
    ]
    if not designs:
        return []
    signs = np.array([-1.0 if name in MAXIMISED else 1.0 for name in OBJECTIVES])
    keep = not_dominated(np.array([design.values for design in designs]) * signs)
    return sorted((design for design, kept in zip(designs, keep, strict=True) if kept), key=lambda one: one.values)


def on_test(designs: list[Design], task: Task, test: ExitTrace) -> list[tuple[float, ...]]:
    """What `designs` do on test data: the values of `OBJECTIVES` and `BESIDE` of each."""
    experiment = replace(task.experiment, trace=test)
    return [measured(experiment, design.point, design.policy, (*OBJECTIVES, *BESIDE)) for design in designs]


def design_rows(designs: list[Design], task: Task, tested: list[tuple[float, ...]]) -> list[dict[str, Any]]:
    """The rows of the table: what was chosen, the policy as JSON, `OBJECTIVES` on both sets, `BESIDE` on the test set.

    Args:
        tested: as `on_test` returned it.
    """
    return [
        {
            **{knob.column: design.point[knob.key] for knob in task.space.knobs},
            **({TOLERANCE: design.tolerance} if task.tolerances else {}),
            POLICY_COLUMN: json.dumps(design.policy.to_json()),
            **{f"{VALIDATION}{name}": value for name, value in zip(OBJECTIVES, design.values, strict=True)},
            **{f"{TEST}{name}": value for name, value in zip((*OBJECTIVES, *BESIDE), values, strict=True)},
        }
        for design, values in zip(designs, tested, strict=True)
    ]
