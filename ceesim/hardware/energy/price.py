"""Counts and times in, picojoules out: a breakdown whose lines sum to its total, with its uncertainty.

Energy is linear in everything counted, so it is priced per exit and looked up per input. Prices of one kind (logic,
SRAM, DRAM, clock, leakage) are wrong together, by one unknown factor each; a breakdown keeps the kinds apart, and the
comparison of two breakdowns uses that: what both share cancels, and the band of a difference or a ratio is
far narrower than the bands of its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ceesim.hardware.energy.actions import (
    NUM_ACTIONS,
    NUM_COMPONENTS,
    NUM_UNCERTAINTIES,
    Action,
    Component,
    State,
    component_of,
)
from ceesim.hardware.energy.kin import Kin
from ceesim.hardware.energy.table import EnergyTable, Floats

Int64s = NDArray[np.int64]


class Waiting(StrEnum):
    """What the accelerator does between an answer and the next input: the two readings of saved time."""

    RACE_TO_SLEEP = "race_to_sleep"
    STAY_ON = "stay_on"


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """What happened, one row per exit (or per whatever is priced).

    Args:
        path: [rows, actions] of the path taken, without its heads.
        head: [rows, actions] of its exit heads and decisions.
        wasted: [rows, actions] thrown away after an exit.
        running_cycles: [rows] from the first command to the last one that had started.
        transferring_cycles: [rows] of those, cycles in which DRAM served a transfer.
        waiting_cycles: [rows] from then to the next input.
    """

    path: Int64s
    head: Int64s
    wasted: Int64s
    running_cycles: Int64s
    transferring_cycles: Int64s
    waiting_cycles: Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Breakdown:
    """Energy by line and by kind of uncertainty.

    Args:
        pj: [rows, components, uncertainties] nominal.
        bands: [2, uncertainties] low and high over nominal.
        kin: what the prices were drawn from, as in `EnergyTable`.
    """

    pj: Floats
    bands: Floats
    kin: Kin

    @property
    def by_component(self) -> Floats:
        """[rows, components] nominal."""
        return np.asarray(self.pj.sum(axis=-1), np.float64)

    @property
    def total(self) -> Floats:
        """[rows] the sum of the lines, in their order, so that it equals theirs to the last bit."""
        return _in_order(self.by_component)

    @property
    def low(self) -> Floats:
        """[rows, components] if every price is at its low end."""
        return np.asarray(self.pj @ self.bands[0], np.float64)

    @property
    def high(self) -> Floats:
        """[rows, components] if every price is at its high end."""
        return np.asarray(self.pj @ self.bands[1], np.float64)

    def mean(self, weights: Int64s) -> Breakdown:
        """One row: the mean of the rows, each as often as `weights` says."""
        shares = weights / weights.sum()
        return Breakdown(np.tensordot(shares, self.pj, axes=1)[None], self.bands, self.kin)

    def lines(self, row: int) -> dict[str, float]:
        """One row by the names used in result files."""
        by_component = self.by_component[row]
        return {component.key: float(by_component[component]) for component in Component}


def _in_order(by_component: Floats) -> Floats:
    total = np.zeros(by_component.shape[:-1])
    for component in Component:
        total = total + by_component[..., component]
    return total


def _lines_of(*, head: bool) -> NDArray[np.float64]:
    """[actions, components] 1 where an action is reported."""
    lines = np.zeros((NUM_ACTIONS, NUM_COMPONENTS))
    for action in Action:
        lines[action, component_of(action, head=head)] = 1.0
    return lines


_PATH_LINES: Final = _lines_of(head=False)
_HEAD_LINES: Final = _lines_of(head=True)


def price(activity: Activity, table: EnergyTable, waiting: Waiting = Waiting.RACE_TO_SLEEP) -> Breakdown:
    """The energy of `activity` on the hardware of `table`."""
    rows = len(activity.running_cycles)
    pj = np.zeros((rows, NUM_COMPONENTS, NUM_UNCERTAINTIES))
    for kind in range(NUM_UNCERTAINTIES):
        each = table.action_pj[:, kind]
        pj[:, :, kind] = (activity.path * each) @ _PATH_LINES + (activity.head * each) @ _HEAD_LINES
        pj[:, Component.WASTED, kind] += activity.wasted @ each
    idle = State.ASLEEP if waiting is Waiting.RACE_TO_SLEEP else State.AWAKE
    for state, cycles in (
        (State.RUNNING, activity.running_cycles),
        (State.TRANSFERRING, activity.transferring_cycles),
        (idle, activity.waiting_cycles),
    ):
        pj += cycles[:, None, None] * table.state_pj[state]
    return Breakdown(pj, table.bands, table.kin)


@dataclass(frozen=True, slots=True)
class Band:
    """A number with its low and high end."""

    low: float
    nominal: float
    high: float

    @property
    def is_certain(self) -> bool:
        """Whether it has one sign all over its band."""
        return self.low > 0 or self.high < 0


def total_band(breakdown: Breakdown, row: int) -> Band:
    """The total of a row with its band, in pJ."""
    kinds = breakdown.pj[row].sum(axis=0)
    return Band(float(kinds @ breakdown.bands[0]), float(breakdown.total[row]), float(kinds @ breakdown.bands[1]))


def least_difference(more: Floats, less: Floats, together: NDArray[np.bool_]) -> Floats:
    """[rows] how much more than `less` each row of `more` costs at the least, in pJ; below 0 it may cost less.

    Args:
        more, less: [2, rows, uncertainties] pJ with every price at its low, and at its high end; one row goes with all.
        together: [rows, uncertainties] whether both are wrong by the same factor in a kind of price.
    """
    shared = (more - less).min(axis=0)
    return np.asarray(np.where(together, shared, more[0] - less[1]).sum(axis=-1), np.float64)


def ratio(numerator: Breakdown, row: int, denominator: Breakdown, other_row: int) -> Band:
    """The first row's total over the second's; errors cancel in the kinds of price that both draw from one source."""
    first, second = numerator.pj[row].sum(axis=0), denominator.pj[other_row].sum(axis=0)
    together = np.array([one == other for one, other in zip(numerator.kin, denominator.kin, strict=True)])

    def end(least: bool) -> float:
        own, others = (numerator.bands[1 - least], denominator.bands[int(least)])
        return _extreme_ratio(
            np.where(together, first, first * own),
            np.where(together, second, second * others),
            np.where(together, numerator.bands, 1.0),
            least=least,
        )

    return Band(end(True), float(numerator.total[row] / denominator.total[other_row]), end(False))


def saved(less: Breakdown, row: int, more: Breakdown, other_row: int) -> Band:
    """The share of the second row's total that the first one saves, as a fraction.

    Its ends are ratios at one corner of the uncertainties at a time: a factor that makes clock, DRAM or leakage dear
    makes it dear in both rows. Setting one row's low end against the other's high end would compare two technologies.
    """
    left = ratio(less, row, more, other_row)
    return Band(1 - left.high, 1 - left.nominal, 1 - left.low)


def _extreme_ratio(first: Floats, second: Floats, bands: Floats, *, least: bool) -> float:
    """Least or largest (f·first)/(f·second) over all factors f in `bands` (Dinkelbach, Management Science 13, 1967)."""
    factors = np.ones_like(first)
    for _ in range(64):
        quotient = float(factors @ first / (factors @ second))
        ends = (first - quotient * second) * bands
        chosen = np.where((ends[0] < ends[1]) == least, bands[0], bands[1])
        if np.array_equal(chosen, factors):
            break
        factors = chosen
    return quotient
