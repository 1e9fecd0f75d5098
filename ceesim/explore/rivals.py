"""Which designs of a front owe their place to the assumed prices of energy.

Prices of one kind (logic, SRAM, DRAM, clock, leakage) are off by one unknown factor, the same for all designs that draw
them from one source (`ceesim.hardware.energy.kin`). So the band of the difference of two designs is far
narrower than the bands of their joules; where it holds zero, the two are not ranked by energy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ceesim.explore.experiment import ENERGY_ENDS
from ceesim.hardware.energy.actions import Uncertainty
from ceesim.hardware.energy.price import least_difference

if TYPE_CHECKING:
    import pandas

ENERGY: Final = "dynamic.energy_pj.mean"
_PROCESS: Final = ("technology", "technology.node_nm", "technology.device")
_SOURCES: Final = {
    Uncertainty.LOGIC: _PROCESS,
    Uncertainty.SRAM: _PROCESS,
    Uncertainty.DRAM: ("dram", "dram.type"),
    Uncertainty.CLOCK: (*_PROCESS, "technology.clock_profile"),
    Uncertainty.LEAKAGE: _PROCESS,
}
"""Columns that say what prices are drawn from, as far as a sweep turns them; of a section as a whole any other value
counts as another source."""

Floats = NDArray[np.float64]


def unsettled(designs: pandas.DataFrame, rest: Floats) -> NDArray[np.bool_]:
    """Which designs no other one beats whatever the prices are, within their bands.

    Args:
        designs: with the columns `ENERGY` and `ENERGY_ENDS`.
        rest: [designs, objectives] the costs besides energy, all to be minimised.
    """
    energy, ends, sources = _energies(designs)
    kept = np.empty(len(designs), np.int64)
    num_kept = 0
    for i in np.lexsort((*rest.T[::-1], energy)).tolist():  # whatever beats a design comes before it
        before = kept[:num_kept]
        better = before[(rest[before] <= rest[i]).all(axis=1)]
        least = least_difference(ends[:, [i]], ends[:, better], sources[better] == sources[i])
        beaten = (least > 0) | ((least >= 0) & (rest[better] < rest[i]).any(axis=1))
        if not beaten.any():
            kept[num_kept] = i
            num_kept += 1
    keep = np.zeros(len(designs), np.bool_)
    keep[kept[:num_kept]] = True
    return keep


def rivals(front: pandas.DataFrame, rest: Floats, designs: pandas.DataFrame, others: Floats) -> dict[int, int]:
    """Of each design of a front that another one may beat, its label and the number of the other point.

    The other one is as good in everything else, and takes more energy by the nominal prices, but not by all prices
    within their bands; of several, that of the least nominal energy.

    Args:
        front: designs that no other beats, with the columns point, `ENERGY` and `ENERGY_ENDS`.
        rest: [front, objectives] their costs besides energy, all to be minimised.
        designs: those that may beat them, `unsettled` ones at least.
        others: [designs, objectives] likewise.
    """
    import pandas

    energy, ends, sources = _energies(pandas.concat([front, designs]))
    start = len(front)
    found = {}
    for i, label in enumerate(front.index):
        may = start + np.flatnonzero((others <= rest[i]).all(axis=1) & (energy[start:] > energy[i]))
        least = least_difference(ends[:, may], ends[:, [i]], sources[may] == sources[i])
        if len(close := may[least <= 0]):
            nearest = int(close[np.argmin(energy[close])]) - start
            found[int(label)] = int(designs["point"].iloc[nearest])
    return found


def _energies(designs: pandas.DataFrame) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """[designs] nominal pJ, [2, designs, kinds] their ends by kind of price, [designs, kinds] numbers of sources."""
    ends = np.array([designs[list(end)].to_numpy(float) for end in ENERGY_ENDS])
    sources = np.zeros((len(designs), len(Uncertainty)), np.int64)
    for kind, columns in _SOURCES.items():
        turned = [name for name in columns if name in designs]
        if turned:
            sources[:, kind] = designs.groupby(turned, dropna=False, sort=False).ngroup()
    return designs[ENERGY].to_numpy(float), ends, sources
