"""Which designs of a front owe their place to the assumed prices of energy.

Prices of one kind (logic, SRAM, DRAM, clock, leakage) are off by one unknown factor, the same for all designs of one
technology (`ceesim.hardware.energy.price`). So the band of the difference of two designs is far narrower than the bands
of their joules; where it holds zero, the two are not ranked by energy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ceesim.explore.experiment import ENERGY_ENDS
from ceesim.hardware.energy.price import least_difference

if TYPE_CHECKING:
    import pandas

ENERGY: Final = "dynamic.energy_pj.mean"
_TECHNOLOGY: Final = (
    "technology", "technology.node_nm", "technology.device", "technology.clock_profile", "dram", "dram.type",
)  # fmt: skip
"""Columns of what prices are drawn from (`Kin`), as far as a sweep turns them; a section as a whole counts too."""

Floats = NDArray[np.float64]


def rivals(front: pandas.DataFrame, rest: Floats) -> dict[int, int]:
    """Of each design that another one may beat, its label and the number of the other point.

    The other one is as good in everything else, and takes more energy by the nominal prices, but not by all prices
    within their bands; of several, that of the least nominal energy.

    Args:
        front: designs that no other beats, with the columns point, `ENERGY` and `ENERGY_ENDS`.
        rest: [designs, objectives] the costs besides energy, all to be minimised.
    """
    energy = front[ENERGY].to_numpy(float)
    ends = np.array([front[list(end)].to_numpy(float) for end in ENERGY_ENDS])
    turned = [name for name in _TECHNOLOGY if name in front]
    technology = front.groupby(turned).ngroup().to_numpy() if turned else np.zeros(len(front))
    found = {}
    for i, label in enumerate(front.index):
        may = np.flatnonzero((rest <= rest[i]).all(axis=1) & (energy > energy[i]))
        least = least_difference(ends[:, may], ends[:, i], technology[may] == technology[i])
        if len(close := may[least <= 0]):
            found[int(label)] = int(front["point"].iloc[close[np.argmin(energy[close])]])
    return found
