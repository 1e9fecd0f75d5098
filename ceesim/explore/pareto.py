"""What a sweep has shown: the designs that no other beats, the knee among them, and which knobs matter.

A design is dominated if another is at least as good in every objective and better in one. The knee is the design of the
front closest to the ideal one (best in everything), each objective scaled to its range over the front. How much a knob
matters is its share of the variance of an objective's logarithm over the table (Sobol's indices; Saltelli et al.,
Global Sensitivity Analysis, 2008): alone (first order), and with all it does together with other knobs (total).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ceesim.explore.experiment import METRICS, OK

if TYPE_CHECKING:
    import pandas

Costs = NDArray[np.float64]

OBJECTIVES: Final = ("dynamic.latency_s.mean", "dynamic.energy_pj.mean", "area_mm2", "accuracy.dynamic")
"""What designs are compared by, as far as a table has it and it varies."""
MAXIMISED: Final = frozenset({"accuracy.dynamic", "accuracy"})


@dataclass(frozen=True, slots=True)
class Influence:
    """How much of an objective's variance a knob accounts for, 0 to 1: alone, and in all."""

    knob: str
    first_order: float
    total: float


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


def influences(table: pandas.DataFrame, knobs: Sequence[str], objective: str) -> list[Influence]:
    """The influence of each of `knobs` on `objective` over the rows of `table`, strongest in all first.

    Knobs that turn together count as one. Exact where the table is a full product; where points are missing, an
    estimate over those that are there.
    """
    turns: dict[bytes, list[str]] = {}
    for name in knobs:
        turns.setdefault(table[name].factorize()[0].tobytes(), []).append(name)
    values = table[[names[0] for names in turns.values()]].astype(str)
    values.columns = knobs = [", ".join(names) for names in turns.values()]
    values["y"] = np.log(table[objective].to_numpy(float))
    variance = float(values["y"].var(ddof=0))
    found = []
    for name in knobs:
        others = [other for other in knobs if other != name]
        if variance == 0 or values[name].nunique() < 2:
            found.append(Influence(name, 0.0, 0.0))
            continue
        means = values.groupby(name)["y"].transform("mean")
        first = float(means.var(ddof=0)) / variance
        rest = values["y"] - (values.groupby(others)["y"].transform("mean") if others else values["y"].mean())
        found.append(Influence(name, first, float((rest**2).mean()) / variance))
    return sorted(found, key=lambda influence: -influence.total)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a table of results shows.

    Args:
        objectives: the columns that were compared.
        front: the rows of the table that no other dominates, best first in the first objective.
        knee: label of the knee's row.
        influences: of each knob that varies, by objective.
    """

    objectives: tuple[str, ...]
    front: pandas.DataFrame
    knee: int | None
    influences: dict[str, list[Influence]]


def knob_columns(table: pandas.DataFrame) -> list[str]:
    """The columns of a sweep's table that say what was set."""
    names = list(table.columns)
    first_metric = next(i for i, name in enumerate(names) if name in METRICS)
    return names[names.index("status") + 1 : first_metric]


def findings(table: pandas.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> Findings:
    """What `table` shows about `objectives`; failed points are left out."""
    done = table[table["status"] == OK]
    knobs = [name for name in knob_columns(table) if done[name].nunique(dropna=False) > 1]
    varying = tuple(name for name in objectives if done[name].notna().all() and done[name].nunique() > 1)
    if not varying:
        return Findings((), done.iloc[:0], None, {})
    costs = costs_of(done, varying)
    keep = not_dominated(costs)
    front = done[keep].sort_values(list(varying), kind="stable")
    return Findings(
        objectives=varying,
        front=front,
        knee=int(front.index[knee(costs_of(front, varying))]),
        influences={name: influences(done, knobs, name) for name in varying if name not in MAXIMISED},
    )


def costs_of(table: pandas.DataFrame, objectives: Sequence[str]) -> Costs:
    """[rows, objectives] of a table, all to be minimised."""
    signs = np.array([-1.0 if name in MAXIMISED else 1.0 for name in objectives])
    costs: Costs = table[list(objectives)].to_numpy(float) * signs
    return costs
