"""One run's energy over another's, with the band that is left where both are wrong together."""

from __future__ import annotations

from typing import Final

import numpy as np

from ceesim.errors import CeesimError, OutputError
from ceesim.hardware.energy.actions import NUM_COMPONENTS, NUM_UNCERTAINTIES, Component, Uncertainty
from ceesim.hardware.energy.kin import kin_of
from ceesim.hardware.energy.price import Band, Breakdown, ratio
from ceesim.hardware.energy.table import Floats
from ceesim.hardware.model import Hardware
from ceesim.results.report.folder import RunFolder
from ceesim.results.report.shapes import AGAIN

_COMPONENT: Final = {component.key: component for component in Component}
_KIND: Final = {kind.key: kind for kind in Uncertainty}


def energy_ratio(run: RunFolder, other: RunFolder) -> Band | None:
    """Mean energy of an input of `run` over that of `other`, dynamic both; None where inputs met, or it is not known.

    What both draw from one source (a process, a DRAM) is wrong by the same factor in both, so most of the band cancels.

    Raises:
        OutputError: if what a run says of its energy is damaged.
    """
    if run.scenario is not None or other.scenario is not None:
        return None
    try:
        hardware, others = (Hardware.model_validate(each.manifest["hardware"]) for each in (run, other))
    except (KeyError, ValueError, CeesimError):
        return None
    first, second = _spent(run), _spent(other)
    if first is None or second is None:
        return None
    own = np.where(first[0].any(axis=0), first[1], second[1])  # nothing spent of a kind: the other knows its band
    return ratio(
        Breakdown(first[0][None], own, kin_of(hardware)), 0, Breakdown(second[0][None], second[1], kin_of(others)), 0
    )


def _spent(run: RunFolder) -> tuple[Floats, Floats] | None:
    """[components, kinds of price] pJ of an average input, and [2, kinds] the ends of each kind over that, if known."""
    if run.energy is None:
        return None
    pj = np.zeros((3, NUM_COMPONENTS, NUM_UNCERTAINTIES))
    rows = run.energy[run.energy["network"] == "dynamic"]
    for row in rows.to_dict("records"):
        try:
            at = _COMPONENT[row["component"]], _KIND[row["price"]]
            pj[:, *at] = row["energy_pj"], row["low_pj"], row["high_pj"]
        except (KeyError, ValueError, TypeError):
            where = f"{run.name}/energy.csv"
            raise OutputError("not what a run writes", where=where, got=str(list(row.values())), fix=AGAIN) from None
    nominal, *ends = pj.sum(axis=1)
    if not nominal.any():
        return None
    bands = np.array([np.divide(end, nominal, out=np.ones_like(end), where=nominal > 0) for end in ends])
    return pj[0], bands
