"""Every layer under what array and DRAM allow: MACs per cycle over MACs per byte (Williams et al., CACM 52, 2009)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ceesim.hardware.link import bytes_per_cycle
from ceesim.hardware.model import DmaQueues
from ceesim.results.report.energy_bands import hardware_of
from ceesim.results.report.figure import SERIES, Figure, Spec, Table, label, legend_above
from ceesim.results.report.folder import RunFolder

Shares = npt.NDArray[np.float64]

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
    rows = list(zip(names, intensity.tolist(), rate.tolist(), (rate / peak).tolist(), share.tolist(), strict=True))
    return Figure(
        "roofline",
        "Roofline",
        f"Left of the bend the DRAM limits a layer, right of it the array ({peak:,.0f} MACs per cycle). A large dot is "
        "much of the time of an input that runs to the end. One far below the roof loses time to short tiles, filling "
        f"and draining; one above the slope had its weights fetched while an earlier layer still ran.{rest}",
        data,
        {
            "height": 380,
            "xaxis": {"type": "log", "title": {"text": "MACs per DRAM byte"}, "dtick": 1},
            "yaxis": {"type": "log", "title": {"text": "MACs per cycle"}, "dtick": 1},
            "legend": legend_above() | {"itemsizing": "constant"},
        },
        Table(
            ("op", "MACs per DRAM byte", "MACs per cycle", "share of peak", "share of time"),
            rows,
            {"share of peak": "percent", "share of time": "percent"},
        ),
    )


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
