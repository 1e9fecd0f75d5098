"""What the energy of a run may be at other prices, from its own files.

Prices of a kind are wrong together, so a ratio has a narrower band than its parts. Between inputs a chip sleeps or
waits at prices that no file has; they are worked out again where the same version made the run.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ceesim import __version__
from ceesim.errors import CeesimError, OutputError
from ceesim.hardware.energy.actions import NUM_COMPONENTS, NUM_UNCERTAINTIES, Component, State, Uncertainty
from ceesim.hardware.energy.kin import Kin, kin_of
from ceesim.hardware.energy.price import Band, Breakdown, ratio, saved
from ceesim.hardware.energy.table import Floats, energy_table
from ceesim.hardware.model import Hardware
from ceesim.results.report.folder import RunFolder
from ceesim.results.report.shapes import AGAIN

_COMPONENT: Final = {component.key: component for component in Component}
_KIND: Final = {kind.key: kind for kind in Uncertainty}
_ONE_SOURCE: Final[Kin] = tuple((kind.key,) for kind in Uncertainty)
"""Of two networks on one hardware, whatever that is."""


def mean_energies(run: RunFolder) -> tuple[Breakdown, Breakdown] | None:
    """Of an average input alone (dynamic, static), one row each; None where the run does not say.

    Raises:
        OutputError: if what a run says of its energy is damaged.
    """
    dynamic, static = (_spent(run, network) for network in ("dynamic", "static"))
    if dynamic is None or static is None:
        return None
    hardware = hardware_of(run)
    kin = _ONE_SOURCE if hardware is None else kin_of(hardware)
    bands = np.where(dynamic[0].any(axis=0), dynamic[1], static[1])  # nothing spent of a kind: the other has its band
    return Breakdown(dynamic[0][None], bands, kin), Breakdown(static[0][None], bands, kin)


def saved_by_price(run: RunFolder) -> Band | None:
    """The share of energy that exits save, with what it may be at other prices; None where inputs met, or not known."""
    spent = None if run.scenario is not None else mean_energies(run)
    return None if spent is None else saved(spent[0], 0, spent[1], 0)


def saved_at_static_rate(run: RunFolder) -> tuple[Band, Band] | None:
    """The share that is saved (asleep, awake between inputs) if inputs come as fast as the static network takes them.

    None if with exits they cannot.
    """
    hardware, spent = hardware_of(run), mean_energies(run)
    if hardware is None or spent is None:
        raise ValueError("ask `knows_static_rate` first")
    dynamic, static = spent
    idle = _idle_cycles(run)
    if idle < 0:
        return None
    table = energy_table(hardware)
    asleep, awake = (
        saved(Breakdown(dynamic.pj + idle * table.state_pj[state], table.bands, table.kin), 0, static, 0)
        for state in (State.ASLEEP, State.AWAKE)
    )
    return asleep, awake


def knows_static_rate(run: RunFolder) -> bool:
    """Whether the files say what saved time is worth: inputs came alone, and prices are those of this version."""
    known = run.scenario is None and run.manifest.get("ceesim") == __version__
    known = known and run.summary["static"]["throughput_per_s"] > 0
    return known and hardware_of(run) is not None and mean_energies(run) is not None


def _idle_cycles(run: RunFolder) -> float:
    """Mean cycles between an input's last command and the next input, at the static rate."""
    period = round(run.summary["clock_hz"] / run.summary["static"]["throughput_per_s"])
    counts = run.exits["num_inputs"].to_numpy(np.float64)
    return float(period - run.exits["occupancy_cycles"].to_numpy(np.float64) @ counts / counts.sum())


def energy_ratio(run: RunFolder, other: RunFolder) -> Band | None:
    """Mean energy of an input of `run` over that of `other`, dynamic both; None where inputs met, or it is not known.

    What both draw from one source (a process, a DRAM) is wrong by the same factor in both, so most of the band cancels.

    Raises:
        OutputError: if what a run says of its energy is damaged.
    """
    if run.scenario is not None or other.scenario is not None:
        return None
    hardware, others = hardware_of(run), hardware_of(other)
    first, second = _spent(run, "dynamic"), _spent(other, "dynamic")
    if hardware is None or others is None or first is None or second is None:
        return None
    own = np.where(first[0].any(axis=0), first[1], second[1])  # nothing spent of a kind: the other knows its band
    return ratio(
        Breakdown(first[0][None], own, kin_of(hardware)), 0, Breakdown(second[0][None], second[1], kin_of(others)), 0
    )


def hardware_of(run: RunFolder) -> Hardware | None:
    """The hardware that ran, if the manifest says it in a way that this version understands."""
    try:
        return Hardware.model_validate(run.manifest["hardware"])
    except (KeyError, ValueError, CeesimError):
        return None


def _spent(run: RunFolder, network: str) -> tuple[Floats, Floats] | None:
    """[components, kinds of price] pJ of an average input, and [2, kinds] the ends of each kind over that, if known."""
    if run.energy is None:
        return None
    pj = np.zeros((3, NUM_COMPONENTS, NUM_UNCERTAINTIES))
    rows = run.energy[run.energy["network"] == network]
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
