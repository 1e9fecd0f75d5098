"""Which knobs matter: each one's share of an objective's variance, from a table that is read part by part.

The shares are Sobol's indices of the objective's logarithm over the table (Saltelli et al., Global Sensitivity
Analysis, 2008): alone (first order: the variance of the means over each of the knob's values), and with all it does
together with other knobs (total: the variance that is left where only this knob turns). Exact where the table is a full
product; where points are missing, an estimate over those that are there.

Memory does not grow with the table. A total share needs the mean at each setting of all *other* knobs, of which there
are nearly as many as points; beyond `MOST_SETTINGS`, those with the lowest hashes are kept, with all of their points: a
fair sample (Beyer et al., On Synopses for Distinct-Value Estimation, 2007). Settings are hashed as chess positions are,
by an exclusive or of random numbers (Zobrist 1970). Means and variances of parts are joined as in Chan, Golub and
LeVeque, Algorithms for Computing the Sample Variance, 1983. A knob of more values than that is sampled likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas

MOST_SETTINGS: Final = 1 << 13
"""Settings that a share is worked out from."""


@dataclass(frozen=True, slots=True)
class Influence:
    """How much of an objective's variance a knob accounts for, 0 to 1: alone, and in all."""

    knob: str
    first_order: float
    total: float


class Coder:
    """Numbers the values of a column in the order of their first appearance."""

    def __init__(self) -> None:
        self._codes: dict[Any, int] = {}

    def __call__(self, column: pandas.Series[Any]) -> NDArray[np.uint64]:
        """The number of each value; missing values are one value."""
        rows, values = column.factorize(use_na_sentinel=False)
        known = [self._codes.setdefault(None if value != value else value, len(self._codes)) for value in values]
        codes: NDArray[np.uint64] = np.array(known, np.uint64)[rows]
        return codes

    @property
    def num_values(self) -> int:
        """How many different values there were."""
        return len(self._codes)


class Influences:
    """Takes in a table part by part, and says what each knob accounts for.

    Args:
        knobs: columns that say what was set, and what numbers their values; those of one tuple turn together, and
            count as one.
        objectives: columns of positive numbers.
        most_settings: how many settings a share is worked out from, at most.
    """

    def __init__(
        self, knobs: Mapping[tuple[str, ...], Coder], objectives: Sequence[str], most_settings: int = MOST_SETTINGS
    ) -> None:
        self._knobs, self._objectives = dict(knobs), tuple(objectives)
        self._whole = _Groups(len(self._objectives), 1)
        self._alone = [_Groups(len(self._objectives), most_settings) for _ in knobs]
        self._others = [_Groups(len(self._objectives), most_settings) for _ in knobs]

    def add(self, part: pandas.DataFrame) -> None:
        """Take in some more rows."""
        values = np.log(part[list(self._objectives)].to_numpy(float)).T
        self._whole.add(np.zeros(len(part), np.uint64), values)
        hashes = []
        for number, (knobs, coder) in enumerate(self._knobs.items()):
            hashes.append(_scattered(coder(part[knobs[0]]) + np.uint64((number + 1) << 32)))
            self._alone[number].add(hashes[-1], values)
        setting = np.bitwise_xor.reduce(hashes) if hashes else np.zeros(len(part), np.uint64)
        for own, others in zip(hashes, self._others, strict=True):
            others.add(setting ^ own, values)

    def of(self, objective: str) -> list[Influence]:
        """The influence of each knob on `objective`, strongest in all first."""
        i = self._objectives.index(objective)
        found = []
        for knobs, alone, others in zip(self._knobs, self._alone, self._others, strict=True):
            name, variance = ", ".join(knobs), self._whole.within(i)
            shares = (alone.between(i) / variance, others.within(i) / variance) if variance else (0.0, 0.0)
            found.append(Influence(name, *shares))
        return sorted(found, key=lambda influence: -influence.total)


class _Groups:
    """Number, mean and sum of squared deviations of values, by group: the `most` groups with the lowest keys."""

    def __init__(self, num_values: int, most: int) -> None:
        self._most = most
        self._keys = np.zeros(0, np.uint64)
        self._counts = np.zeros(0, np.int64)
        self._means = np.zeros((num_values, 0))
        self._squares = np.zeros((num_values, 0))

    def add(self, keys: NDArray[np.uint64], values: NDArray[np.float64]) -> None:
        """Take in values [kinds, rows], row by row in the group of its key."""
        if len(self._keys) == self._most:
            kept = keys <= self._keys[-1]
            keys, values = keys[kept], values[:, kept]
        new, rows = np.unique(keys, return_inverse=True)
        counts = np.bincount(rows, minlength=len(new))
        means = np.array([np.bincount(rows, kind, len(new)) for kind in values]).reshape(len(values), -1) / counts
        squares = np.array([np.bincount(rows, kind, len(new)) for kind in (values - means[:, rows]) ** 2])
        self._join(new, counts, means, squares.reshape(means.shape))

    def _join(self, new: Any, counts: Any, means: Any, squares: Any) -> None:
        keys = np.union1d(self._keys, new)
        here, there = np.searchsorted(keys, self._keys), np.searchsorted(keys, new)

        def spread(values: Any, places: Any) -> Any:
            wide = np.zeros((*values.shape[:-1], len(keys)), values.dtype)
            wide[..., places] = values
            return wide

        before, more = spread(self._counts, here), spread(counts, there)
        old, fresh = spread(self._means, here), spread(means, there)
        apart, total = fresh - old, before + more
        most = slice(self._most)
        self._keys, self._counts = keys[most], total[most]
        self._means = (old + apart * (more / total))[:, most]
        joined = spread(self._squares, here) + spread(squares, there) + apart**2 * (before * more / total)
        self._squares = joined[:, most]

    def within(self, kind: int) -> float:
        """The mean squared deviation of a value from the mean of its group."""
        return float(self._squares[kind].sum() / self._counts.sum())

    def between(self, kind: int) -> float:
        """The variance of the groups' means, each as often as its values."""
        mean = np.average(self._means[kind], weights=self._counts)
        return float(np.average((self._means[kind] - mean) ** 2, weights=self._counts))


def _scattered(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Evenly spread hashes of `numbers` (SplitMix64: Steele, Lea and Flood, OOPSLA 2014)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
