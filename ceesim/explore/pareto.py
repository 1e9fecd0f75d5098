"""What a sweep has shown: the designs that no other beats, the knee among them, and which knobs matter.

A design is dominated if another is at least as good in every objective and better in one. The knee is the design of the
front closest to the ideal one (best in everything), each objective scaled to its range over the front. How much a knob
matters, `ceesim.explore.influence` says.

A table is read part by part, twice: once for what varies at all, once for the rest. Of its rows only the front is ever
held, so a table may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ceesim.explore.column_types import knob_names
from ceesim.explore.experiment import DROPPED, ENERGY_ENDS, FAILED, OK
from ceesim.explore.influence import Coder, Influence, Influences
from ceesim.explore.reasons import Failure, Failures
from ceesim.explore.rivals import ENERGY, rivals, unsettled

if TYPE_CHECKING:
    import pandas

Costs = NDArray[np.float64]

OBJECTIVES: Final = ("dynamic.latency_s.mean", "dynamic.energy_pj.mean", "area_mm2", "accuracy.dynamic")
"""What designs are compared by, as far as a table has it and it varies."""
COMPARED: Final = (*OBJECTIVES, DROPPED)
"""What designs of a sweep are compared by, likewise."""
_ENDS: Final = [*ENERGY_ENDS[0], *ENERGY_ENDS[1]]
METRICS_READ: Final = (*COMPARED, *_ENDS)
"""What `findings` reads of a table's metrics."""
MOST_REASONS: Final = 10
"""Why points failed is told for so many reasons."""
MAXIMISED: Final = frozenset({"accuracy.dynamic"})


def not_dominated(costs: Costs) -> NDArray[np.bool_]:
    """Which rows of `costs` [designs, objectives], all to be minimised, no other row dominates; equal rows all stay."""
    order = np.lexsort(costs.T[::-1])
    front = np.empty_like(costs)
    num_front = 0
    keep = np.zeros(len(costs), np.bool_)
    for row in order:  # whatever dominates a row comes before it
        cost = costs[row]
        others = front[:num_front]
        no_worse = (others <= cost).all(axis=1)
        if (no_worse & (others < cost).any(axis=1)).any():
            continue
        keep[row] = True
        if not no_worse.any():  # an equal row is there already
            front[num_front] = cost
            num_front += 1
    return keep


def knee(costs: Costs) -> int:
    """The row of a front [designs, objectives] that is closest to the ideal design; among equals the first."""
    lowest, highest = costs.min(axis=0), costs.max(axis=0)
    scaled = (costs - lowest) / np.where(highest > lowest, highest - lowest, 1)
    return int(np.argmin((scaled**2).sum(axis=1)))


@dataclass(frozen=True, slots=True)
class Findings:
    """What a table of results shows.

    Args:
        num_points: rows of the table.
        num_failed: of those, points that failed.
        failures: by reason, in the order of their first points; of the first `MOST_REASONS` reasons.
        knobs: the columns that say what was set.
        objectives: the columns that were compared.
        front: the rows that no other dominates, best first in the first objective: point, knobs, objectives.
        knee: label of the knee's row.
        rivals: of each row of the front that another may beat, within the uncertainty of the energy prices, its label
            and the number of that other point; None if the table does not say what the energy is made of.
        num_contenders: designs that are not on the front, but that no other dominates whatever the energy prices are
            within their bands; None likewise.
        influences: of each knob that varies, by objective.
    """

    num_points: int
    num_failed: int
    failures: tuple[Failure, ...]
    knobs: tuple[str, ...]
    objectives: tuple[str, ...]
    front: pandas.DataFrame
    knee: int | None
    influences: dict[str, list[Influence]]
    rivals: Mapping[int, int] | None
    num_contenders: int | None


def findings(parts: Iterable[pandas.DataFrame], objectives: Sequence[str] = COMPARED) -> Findings:
    """What a table shows about `objectives`; failed points are left out.

    Args:
        parts: the table, cut anywhere between rows; iterated twice.
    """
    import pandas

    survey = _Survey(objectives)
    for part in parts:
        survey.add(part)
    varying = survey.varying
    ends = survey.energy_ends if ENERGY in varying else []
    shown = ["point", *survey.knobs, *varying]
    columns = [*shown, *ends]
    rest = [name for name in varying if name != ENERGY]

    def best_of(designs: pandas.DataFrame) -> pandas.DataFrame:
        if ends:  # the front by any prices, of which that by the nominal ones is a part
            return designs[unsettled(designs, costs_of(designs, rest))]
        return designs[not_dominated(costs_of(designs, varying))]

    kept = pandas.DataFrame(columns=columns)
    compared = tuple(name for name in varying if name not in MAXIMISED)
    influences = Influences(survey.turning, compared)
    for part in parts if varying else ():
        done = part[part["status"] == OK]
        if not done.empty:
            influences.add(done)
            best = best_of(done[columns])
            kept = best if kept.empty else best_of(pandas.concat([kept, best]))
    front = kept
    if varying:
        front = kept[not_dominated(costs_of(kept, varying))].sort_values(list(varying), kind="stable")
    return Findings(
        num_points=survey.num_points,
        num_failed=survey.num_failed,
        failures=survey.failures,
        knobs=survey.knobs,
        objectives=varying,
        front=front[shown],
        knee=int(front.index[knee(costs_of(front, varying))]) if varying else None,
        influences={name: influences.of(name) for name in compared},
        rivals=rivals(front, costs_of(front, rest), kept, costs_of(kept, rest)) if ends else None,
        num_contenders=len(kept) - len(front) if ends else None,
    )


class _Survey:
    """What a table is about: how many points there are and why some failed, what was set, and what varies."""

    def __init__(self, objectives: Sequence[str]) -> None:
        self.num_points = self.num_failed = 0
        self.knobs: tuple[str, ...] = ()
        self._seen, self._says_ends = False, True
        self._wanted = tuple(objectives)
        self._objectives: tuple[str, ...] = ()
        self._lowest = self._highest = np.empty(0)
        self._failures = Failures(MOST_REASONS)
        self._coders: dict[str, Coder] = {}
        self._together: list[tuple[str, ...]] = []

    def add(self, part: pandas.DataFrame) -> None:
        """Take in some more rows."""
        if not self._seen:
            self._seen = True
            self.knobs = tuple(knob_names(list(part.columns)))
            self._coders = {knob: Coder() for knob in self.knobs}
            self._together = [self.knobs]
            self._objectives = tuple(name for name in self._wanted if name in part)
            self._lowest = np.full(len(self._objectives), np.inf)
            self._highest = np.full(len(self._objectives), -np.inf)
        done, failed = part[part["status"] == OK], part[part["status"] == FAILED]
        self.num_points += len(part)
        self.num_failed += len(failed)
        for reason, points in failed.groupby("reason", sort=False)["point"]:
            self._failures.add(str(reason), int(points.iloc[0]), len(points))
        self._says_ends &= set(_ENDS) <= set(part.columns) and not done[_ENDS].isna().any(axis=None)
        costs = done[list(self._objectives)].to_numpy(float)  # a missing value makes its column's extremes none
        self._lowest = np.minimum(self._lowest, costs.min(axis=0, initial=np.inf))
        self._highest = np.maximum(self._highest, costs.max(axis=0, initial=-np.inf))
        codes = {knob: coder(done[knob]).tobytes() for knob, coder in self._coders.items()}
        self._together = [alike for knobs in self._together for alike in _alike(knobs, codes)]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """By reason."""
        return self._failures.by_reason()

    @property
    def energy_ends(self) -> list[str]:
        """The columns that say what the energy is made of; none if they are not there for every point."""
        return _ENDS if self._says_ends else []

    @property
    def varying(self) -> tuple[str, ...]:
        """The objectives that every point has and that are not always the same."""
        return tuple(name for i, name in enumerate(self._objectives) if self._highest[i] > self._lowest[i])

    @property
    def turning(self) -> dict[tuple[str, ...], Coder]:
        """The knobs that take more than one value, those that turn together as one, and what numbers their values."""
        coders = {knobs: self._coders[knobs[0]] for knobs in self._together if knobs}
        return {knobs: coder for knobs, coder in coders.items() if coder.num_values > 1}


def _alike(knobs: tuple[str, ...], codes: Mapping[str, bytes]) -> list[tuple[str, ...]]:
    """`knobs` by what they were set to, in their order."""
    groups: dict[bytes, list[str]] = {}
    for knob in knobs:
        groups.setdefault(codes[knob], []).append(knob)
    return [tuple(group) for group in groups.values()]


def costs_of(table: pandas.DataFrame, objectives: Sequence[str]) -> Costs:
    """[rows, objectives] of a table, all to be minimised."""
    signs = np.array([-1.0 if name in MAXIMISED else 1.0 for name in objectives])
    costs: Costs = table[list(objectives)].to_numpy(float) * signs
    return costs
