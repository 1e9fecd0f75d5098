"""Every layer under what array and DRAM allow: MACs per cycle over MACs per byte (Williams et al., CACM 52, 2009)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ceesim.hardware.link import bytes_per_cycle
from ceesim.hardware.model import DmaQueues
from ceesim.results.report.energy_bands import hardware_of
from ceesim.results.report.figure import SERIES, Figure, Spec, Table, cell, label, legend_above
from ceesim.results.report.folder import RunFolder
from ceesim.units import format_count

Shares = npt.NDArray[np.float64]

_FAR: Final = 0.5
"""Of the roof, or of the PEs: what is less is told."""
_MOST_LISTED: Final = 3
_LEAST_NAMED: Final = 0.03
"""Share of the time from which a layer is named; the pointer tells the others."""


def roofline(run: RunFolder) -> Figure | None:
    """Every layer that moves bytes and multiplies, under what array and DRAM allow; None without the hardware."""
    hardware, layers = hardware_of(run), run.layers
    if hardware is None:
        return None
    moved = layers[["ifmap_dram_bytes", "weight_dram_bytes", "ofmap_dram_bytes"]].sum(axis=1).to_numpy(np.float64)
    macs = layers["macs"].to_numpy(np.float64)
    cycles = layers[["cycles", "busy_cycles"]].max(axis=1).to_numpy(np.float64)
    shown = (moved > 0) & (macs > 0) & (cycles > 0)
    if not shown.any():
        return None
    peak = float(hardware.array.rows * hardware.array.cols)
    intensity, rate, share = macs[shown] / moved[shown], macs[shown] / cycles[shown], cycles[shown] / cycles.sum()
    names, is_head = layers["op"].astype(str)[shown].tolist(), (layers["bottleneck"] == "head").to_numpy()[shown]
    one_way, ways = bytes_per_cycle(hardware), 2 if hardware.dma.queues is DmaQueues.SPLIT else 1
    slope = np.inf if one_way is None else float(one_way * ways)
    low, high = float(intensity.min()) / 8, max(float(intensity.max()), peak / slope) * 2
    knee = [peak / slope] if low < peak / slope < high else []
    x = [low, *knee, high]
    data: list[Spec] = [
        {
            "type": "scatter", "mode": "lines", "name": "roof", "x": x, "y": [min(peak, slope * at) for at in x],
            "line": {"color": "--muted", "width": 2}, "hovertemplate": "roof: %{y:.4~g} MACs per cycle<extra></extra>",
        }
    ]  # fmt: skip
    sizes = 7 + 30 * np.sqrt(share)
    told = _named(np.log10(intensity), np.log10(rate), share)
    beside = np.where(intensity < peak / slope, "top left", "top center")  # above the roof there is nothing
    for group, mask, color in (("backbone", ~is_head, SERIES[0]), ("heads", is_head, SERIES[2])):
        chosen = np.flatnonzero(mask).tolist()
        if chosen:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers+text",
                    "name": group,
                    "x": intensity[mask].tolist(),
                    "y": rate[mask].tolist(),
                    "text": [label(names[i]) if i in told else "" for i in chosen],
                    "textposition": beside[mask].tolist(),
                    "cliponaxis": False,
                    "customdata": [[label(names[i], 80), float(share[i])] for i in chosen],
                    "marker": {"color": color, "size": sizes[mask].tolist(), "opacity": 0.75},
                    "hovertemplate": "%{customdata[0]}: %{customdata[1]:.1%} of the time<br>%{x:.4~g} MACs per DRAM "
                    "byte<br>%{y:.4~g} MACs per cycle<extra></extra>",
                }
            )
    left_out = int(((macs > 0) & ~shown).sum())
    rest = f" {left_out} layers that move nothing to or from DRAM have no place here." if left_out else ""
    mapped, bound = layers["mapping_efficiency"].to_numpy(np.float64)[shown], layers["bottleneck"][shown].tolist()
    rows = [
        (*numbers, cell(used), by)
        for *numbers, used, by in zip(
            names, intensity.tolist(), rate.tolist(), (rate / peak).tolist(), share.tolist(), mapped.tolist(), bound,
            strict=True,
        )
    ]  # fmt: skip
    roof = np.minimum(peak, slope * intensity)
    ahead = " One above the slope had bytes moved while another layer ran." if (rate > 1.02 * roof).any() else ""
    return Figure(
        "roofline",
        "Roofline",
        f"Left of the bend moving bytes limits a layer, right of it the array ({peak:,.0f} MACs per cycle). A large "
        f"dot is much of the time of an input that runs to the end.{_far_below(names, rate / roof, mapped, bound)}"
        f"{ahead}{rest}",
        data,
        {
            "height": 380,
            "xaxis": {"type": "log", "title": {"text": "MACs per DRAM byte"}, "dtick": 1},
            "yaxis": {"type": "log", "title": {"text": "MACs per cycle"}, "dtick": 1},
            "legend": legend_above() | {"itemsizing": "constant"},
        },
        Table(
            ("op", "MACs per DRAM byte", "MACs per cycle", "share of peak", "share of time", "PEs in use", "bound by"),
            rows,
            dict.fromkeys(("share of peak", "share of time", "PEs in use"), "percent"),
        ),
    )


def _far_below(names: list[str], height: Shares, mapped: Shares, bound: list[str]) -> str:
    """Which layers are far below the roof, and what of that the run says.

    Args:
        height: [layers] share of the roof.
        mapped: [layers] share of the PEs that have work while the array computes.
        bound: [layers] the bottleneck.
    """
    low = np.flatnonzero(height < _FAR)
    if not len(low):
        return ""
    few = [names[i] for i in low if mapped[i] < _FAR]
    waiting = [names[i] for i in low if not mapped[i] < _FAR and bound[i] == "vector"]
    told = [f"{_listed(few)} by leaving more than half of the PEs without work"] if few else []
    told += [f"{_listed(waiting)} by the vector unit's time"] if waiting else []
    return f" {format_count(len(low), 'layer')} stay below half of the roof{': ' if told else ''}{', '.join(told)}."


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_LISTED]) + (f" and {rest} more" if (rest := len(names) - _MOST_LISTED) > 0 else "")


def _named(x: Shares, y: Shares, share: Shares) -> set[int]:
    """The long layers, the longest first, as far as their names do not get into each other's way.

    Args:
        x, y: [points] decades. On a phone a name is about a decade wide.
    """
    told: list[int] = []
    for i in np.argsort(-share, kind="stable").tolist():
        if share[i] >= _LEAST_NAMED and all(abs(x[i] - x[j]) > 1.1 or abs(y[i] - y[j]) > 0.2 for j in told):
            told.append(i)
    return set(told)
