"""Thresholds that save most at a given loss of accuracy, and which exits to keep; what saving means is the caller's.

`paper`: exit after exit, in descending order of the MACs of its segment, raise the step until the accuracy on
validation data falls below the goal; one tolerance, spent first come, first served. `budgeted`: again and again make
the one move (an exit, to a step) that saves most per input lost, until no move fits the goal. Moves may be as long as
they like, since the first steps of an over-confident head do nothing; it starts from nothing and from what `paper`
found, takes the cheaper, and then lets exits trade steps as long as that helps.

Source of `paper`: Wang, Li, Zhang, arXiv 2309.13443, Section III-C, with its published code's faults left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ceesim.errors import OptionError
from ceesim.exits.exclusion import Exclude, Ratio
from ceesim.exits.outcome import Prices, outcome_of, spread
from ceesim.exits.policy import ExitPolicy
from ceesim.exits.references import Fixed, Patience
from ceesim.exits.scores import KINDS, Score, ScoreKind
from ceesim.exits.shrinking import ShrinkingLadder
from ceesim.exits.steps import (
    LAST_STEP,
    Evidence,
    ExclusionLadder,
    Ladder,
    Positions,
    RatioLadder,
    ScoreLadder,
)
from ceesim.exits.trace import ExitTrace
from ceesim.workload.network import Workload


class Method(StrEnum):
    """How thresholds are found."""

    PAPER = "paper"
    BUDGETED = "budgeted"


_GIVE_BACK: Final = (LAST_STEP, 30, 10, 3, 1)
"""By how many steps an exit is lowered in a trade; large first, which leads out of more dead ends."""
_NOTHING: Final = 1e-9
"""A saving below this share of the cost is rounding."""

SEARCHABLE: Final = ("exclude", "ratio", "confidence", "margin", "entropy", "patience", "fixed")


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched: one policy family and its options.

    Args:
        policy: one of `SEARCHABLE`.
        alpha: of `exclude` and `ratio`: calibrate by this positive-class weight, or compare `ODDS`.
        recovery, masked_final: of `exclude`.
        kept: exits to use; None: all.
        choose_exits: drop an exit as long as the mean cost does not rise.
    """

    policy: str = "exclude"
    alpha: float | None = None
    recovery: bool = True
    masked_final: bool = False
    kept: tuple[int, ...] | None = None
    choose_exits: bool = False


def family(space: Space, num_exits: int) -> ExitPolicy:
    """A policy of the space that releases as few as it can: what its decisions cost does not depend on thresholds."""
    if space.policy == "exclude":
        return Exclude((0.0,) * num_exits, space.recovery, space.masked_final, space.alpha)
    if space.policy == "ratio":
        return Ratio((0.0,) * num_exits, space.alpha)
    if space.policy in ("patience", "fixed"):
        return Patience(num_exits + 1) if space.policy == "patience" else Fixed(num_exits + 1)
    kind = ScoreKind(space.policy)
    return Score(kind, (KINDS[kind].never,) * num_exits)


def search(
    trace: ExitTrace,
    space: Space,
    method: Method,
    prices: Prices,
    tolerance: float,
) -> ExitPolicy:
    """The policy of `space` that costs least on `trace` (validation data) and loses at most `tolerance` of accuracy.

    Args:
        trace: with logits and labels.
        tolerance: share of inputs, 0 to 1, below the accuracy of the plain network.

    Raises:
        OptionError: if the policy has no thresholds to search, or an option does not fit it.
        TraceError: if the trace holds decisions only, or no label.
    """
    if space.policy not in SEARCHABLE:
        raise OptionError("nothing to search in this policy", got=repr(space.policy), expected=", ".join(SEARCHABLE))
    if not 0 <= tolerance <= 1:
        raise OptionError("the tolerance is a share of the inputs", got=tolerance, expected="0 to 1")
    evidence = Evidence.of(trace)
    goal = int(evidence.right[-1].sum()) - int(tolerance * len(evidence.labels) + 1e-9)
    if space.policy in ("patience", "fixed"):
        if replace(space, policy="exclude") != Space():
            raise OptionError(
                "a policy without thresholds has neither exits to choose, nor recovery, nor a masked final layer, "
                "nor calibration",
                got=repr(space.policy),
            )
        return _best_of_few(space.policy, evidence, prices, goal)
    num_exits = trace.workload.num_exits
    kept = tuple(range(1, num_exits + 1)) if space.kept is None else space.kept

    def order(kept: Sequence[int]) -> Sequence[int]:
        return by_segment_macs(trace.workload, kept)

    task = _Task(ladder_of(space, evidence), prices, goal, order)
    start: Positions = tuple(0 if i in kept else None for i in range(1, num_exits + 1))
    find = _paper if method is Method.PAPER else _cheaper_start
    full = find(task, task.stand(start))
    lean = full
    while space.choose_exits and (leaner := _without_one(task, lean, find)) is not None:
        lean = leaner
    if method is Method.BUDGETED:
        lean = _trade(task, lean)
        full = _trade(task, full) if space.choose_exits else lean
    best = lean if lean.cost <= full.cost * (1 + _NOTHING) else full
    while space.choose_exits and (leaner := _without_idle(task, best)) is not None:
        best = leaner
    return task.ladder.policy(best.positions)


def by_segment_macs(workload: Workload, kept: Sequence[int]) -> tuple[int, ...]:
    """The `kept` exits, in descending order of the MACs of their segments in the network that has no others.

    Ties go shallow first.
    """
    macs = [sum(op.macs for op in segment.ops) for segment in workload.with_exits(kept).segments[:-1]]
    ordered = sorted(zip(kept, macs, strict=True), key=lambda exit_and_macs: (-exit_and_macs[1], exit_and_macs[0]))
    return tuple(i for i, _ in ordered)


def ladder_of(space: Space, evidence: Evidence) -> Ladder:
    """The ladder of a family with one threshold per exit.

    Raises:
        OptionError: if an option does not belong to the family.
    """
    if space.policy != "exclude" and (not space.recovery or space.masked_final):
        raise OptionError("recovery and the masked final layer belong to 'exclude'", got=repr(space.policy))
    if space.policy == "exclude":
        ladder = ExclusionLadder if space.recovery else ShrinkingLadder
        return ladder(evidence, space.alpha, space.masked_final)
    if space.policy == "ratio":
        return RatioLadder(evidence, space.alpha)
    if space.alpha is not None:
        raise OptionError("calibration belongs to 'exclude' and 'ratio'", got=repr(space.policy))
    return ScoreLadder(evidence, ScoreKind(space.policy))


@dataclass(frozen=True, slots=True)
class _State:
    """Where a search stands.

    Args:
        positions: the step of every exit.
        costs: what leaving at each exit costs [N+1], given which exits are kept.
        correct: right predictions.
        cost: of all inputs together.
    """

    positions: Positions
    costs: NDArray[np.float64]
    correct: int
    cost: float


@dataclass(frozen=True, slots=True)
class _Task:
    """What a method works on: `goal` is the number of right predictions it must keep."""

    ladder: Ladder
    prices: Prices
    goal: int
    order: Callable[[Sequence[int]], Sequence[int]]
    """Of the exits that are kept, for `paper`."""

    def stand(self, positions: Positions) -> _State:
        """The state at these positions."""
        kept = _kept(positions)
        costs = spread(self.prices(kept), kept, self.ladder.num_exits)
        if not kept:
            return _State(positions, costs, self.goal, float(costs[-1]) * self.ladder.num_inputs)
        return self.move(_State(positions, costs, 0, 0.0), kept[0], positions[kept[0] - 1] or 0)

    def move(self, state: _State, exit_index: int, step: int) -> _State:
        """The state after one exit went to another step."""
        curve = self.ladder.curve(exit_index, state.positions)
        positions = _moved(state.positions, exit_index, step)
        return _State(positions, state.costs, int(curve.correct[step]), float(curve.leaving[step] @ state.costs))


def _kept(positions: Positions) -> tuple[int, ...]:
    return tuple(i for i, position in enumerate(positions, 1) if position is not None)


def _moved(positions: Positions, exit_index: int, step: int | None) -> Positions:
    return (*positions[: exit_index - 1], step, *positions[exit_index:])


def _paper(task: _Task, state: _State) -> _State:
    positions = state.positions
    for i in task.order(_kept(positions)):
        fails = task.ladder.curve(i, positions).correct < task.goal
        first = int(fails.argmax()) if fails.any() else LAST_STEP + 1
        positions = _moved(positions, i, max(first - 1, 0))
    return task.stand(positions)


def _cheaper_start(task: _Task, state: _State) -> _State:
    """Greedy from here, or `paper` and greedy from there: each gets stuck where the other does not."""
    return min(_greedy(task, state), _greedy(task, _paper(task, state)), key=lambda found: found.cost)


def _greedy(task: _Task, state: _State, fixed: int | None = None) -> _State:
    """Make the best move until none is left; the exit `fixed` stays."""
    while (move := _best_move(task, state, fixed)) is not None:
        state = move
    return state


def _best_move(task: _Task, state: _State, fixed: int | None) -> _State | None:
    """The move that saves most per input lost; one that loses none beats all others, then the larger saving wins."""
    best: tuple[float, float, _State] | None = None
    for i in _kept(state.positions):
        if i == fixed:
            continue
        curve = task.ladder.curve(i, state.positions)
        cost = curve.leaving @ state.costs
        saved = np.where(curve.correct >= task.goal, state.cost - cost, 0)
        lost = np.maximum(state.correct - curve.correct, 0)
        rate = np.divide(saved, lost, out=np.full(len(saved), np.inf), where=lost > 0)
        rate[saved <= _NOTHING * state.cost] = 0
        step = int(np.lexsort((saved, rate))[-1])
        if rate[step] > 0 and (best is None or (rate[step], saved[step]) > best[:2]):
            moved = _State(_moved(state.positions, i, step), state.costs, int(curve.correct[step]), float(cost[step]))
            best = (float(rate[step]), float(saved[step]), moved)
    return None if best is None else best[2]


def _trade(task: _Task, state: _State) -> _State:
    """One exit gives back steps and the others use what that frees, for as long as the cost falls."""
    while True:
        before = state.cost
        for i in _kept(state.positions):
            position = state.positions[i - 1] or 0
            for step in sorted({max(position - back, 0) for back in _GIVE_BACK} - {position}):
                trial = _greedy(task, _greedy(task, task.move(state, i, step), fixed=i))
                if trial.cost < state.cost * (1 - _NOTHING):
                    state = trial
                    break
        if state.cost == before:
            return state


def _without_one(task: _Task, state: _State, find: Callable[[_Task, _State], _State]) -> _State | None:
    """The cheapest state that `find` reaches with one exit fewer, unless that is dearer: a head must pay for itself."""
    start: Positions = tuple(None if position is None else 0 for position in state.positions)
    found = [find(task, task.stand(_moved(start, i, None))) for i in _kept(state.positions)]
    best = min(found, key=lambda trial: trial.cost, default=None)
    return best if best is not None and best.cost <= state.cost * (1 + _NOTHING) else None


def _without_idle(task: _Task, state: _State) -> _State | None:
    """The cheapest state with one exit fewer and the others where they are, unless that is dearer or loses too much."""
    trials = [task.stand(_moved(state.positions, i, None)) for i in _kept(state.positions)]
    allowed = [trial for trial in trials if trial.correct >= task.goal]
    best = min(allowed, key=lambda trial: trial.cost, default=None)
    return best if best is not None and best.cost <= state.cost * (1 + _NOTHING) else None


def _best_of_few(policy: str, evidence: Evidence, prices: Prices, goal: int) -> ExitPolicy:
    num_exits = evidence.logits.shape[1]
    make: Callable[[int], ExitPolicy] = Fixed if policy == "fixed" else Patience
    candidates = [make(number) for number in range(1, num_exits + 2)]
    found = [(policy, outcome_of(policy, evidence, prices)) for policy in candidates]
    enough = [
        (result.mean_cost, i) for i, (_, result) in enumerate(found) if result.accuracy * result.num_inputs > goal - 0.5
    ]
    return found[min(enough)[1]][0]
