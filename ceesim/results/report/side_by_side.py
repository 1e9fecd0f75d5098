"""Figures that put several runs beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ceesim.hardware.energy.price import total_band
from ceesim.results.report.energy_bands import mean_energies
from ceesim.results.report.figure import SERIES, Figure, Spec, Table, bars, label, legend_above, rows_axis, whiskers
from ceesim.results.report.folder import RunFolder

MEASURES: Final = {
    "macs": "MACs",
    "latency": "latency",
    "energy": "energy",
    "dram_bytes": "DRAM bytes",
}
"""What exits save, by the key of summary.json, in words."""
_NETWORKS: Final = {"static": "--quiet", "dynamic": "--c1"}
_WIDEST_LINEAR: Final = 10
"""Ratio of the largest to the smallest value above which an axis is logarithmic."""


def reductions(runs: Sequence[RunFolder], names: Sequence[str], *, one_hardware: bool) -> Figure:
    """What is saved of each measure, run by run."""
    made = "the hardware makes of it in each run" if one_hardware else "each hardware makes of it"
    data: list[Spec] = []
    for (key, word), color in zip(MEASURES.items(), ("--quiet", *SERIES), strict=False):
        values = [run.summary["reduction"][key] for run in runs]
        data.append(bars(names, values, word, color, "%{x:.2%} less"))
    rows = [(name, *(run.summary["reduction"][key] for key in MEASURES)) for name, run in zip(names, runs, strict=True)]
    return Figure(
        "reductions",
        "What the saved MACs turned into",
        f"Grey is what counting operations promises; the colours are what {made}. Longer than grey: the count "
        "understated the gain. Shorter: it overstated it.",
        data,
        {
            "height": 110 + 62 * len(runs),
            "barmode": "group",
            "bargap": 0.25,
            "xaxis": {"title": {"text": "less than without exits"}, "tickformat": ".0%"},
            "yaxis": rows_axis(names),
            "legend": legend_above() | {"traceorder": "normal"},
        },
        Table(("run", *MEASURES.values()), rows, dict.fromkeys(MEASURES.values(), "percent")),
    )


def latency_and_energy(runs: Sequence[RunFolder], names: Sequence[str]) -> list[Figure]:
    """Mean energy over mean latency, a dot per run and network; nothing where no run knows its energy."""
    data: list[Spec] = []
    rows = []
    ways: Spec = {"x": [], "y": []}
    for run in runs:
        before, after = (_dot(run, which) for which in _NETWORKS)
        if before is not None and after is not None:
            ways = {axis: [*ways[axis], before[i], after[i], None] for i, axis in enumerate("xy")}
    for which, color in _NETWORKS.items():
        dots = [(name, *dot) for name, run in zip(names, runs, strict=True) if (dot := _dot(run, which)) is not None]
        if not dots:
            continue
        called, latency, energy, low, high = (list(column) for column in zip(*dots, strict=True))
        told = {"static": "without exits", "dynamic": "with exits"}[which]
        ends = [value if end is None else end for value, end in zip(energy, low, strict=True)]
        tops = [value if end is None else end for value, end in zip(energy, high, strict=True)]
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": told,
                "x": latency,
                "y": energy,
                "error_y": whiskers(energy, (ends, tops)),
                "text": [label(name) if which == "dynamic" else "" for name in called],
                "textposition": "middle right",
                "cliponaxis": False,
                "customdata": [label(name, 80) for name in called],
                "marker": {"color": color, "size": 10},
                "hovertemplate": f"%{{customdata}}, {told}<br>%{{x:.4~g}} ms<br>%{{y:.4~g}} µJ<extra></extra>",
            }
        )
        rows += [(name, told, *numbers) for name, *numbers in dots]
    if not data:
        return []
    lines = {"type": "scatter", "mode": "lines", "showlegend": False, "hoverinfo": "skip", "connectgaps": False}
    data.insert(0, lines | ways | {"line": {"color": "--quiet", "width": 1, "dash": "dot"}})
    has_band = any(row[-1] is not None for row in rows)
    axes = {
        axis: {"title": {"text": title}, **_scale([value for one in data for value in one[axis[0]] if value])}
        for axis, title in (("xaxis", "mean latency (ms)"), ("yaxis", "mean energy (µJ)"))
    }
    return [
        Figure(
            "latency-energy",
            "Latency and energy of an average input",
            "A grey dot without exits, a blue one with them, joined for each run; the best are at the bottom left."
            f"{' Thin lines: what the energy may be at other prices.' if has_band else ''}",
            data,
            {"height": 400, "legend": legend_above(), "hovermode": "closest", **axes},
            Table(
                ("run", "network", "mean latency (ms)", "mean energy (µJ)", "energy, low (µJ)", "energy, high (µJ)"),
                rows,
            ),
        )
    ]


def _dot(run: RunFolder, which: str) -> tuple[float, float, float | None, float | None] | None:
    """Mean latency (ms), mean energy (µJ) and its ends, if known; None where there is no such network or energy."""
    played = run.summary[which]
    if played is None or played["energy_pj"] is None:
        return None
    latency = played["latency_cycles"]["mean"] * 1e3 / run.summary["clock_hz"]
    spent = None if run.scenario is not None else mean_energies(run)
    if spent is None:
        return latency, played["energy_pj"]["mean"] / 1e6, None, None
    band = total_band(spent[which == "static"], 0)
    return latency, played["energy_pj"]["mean"] / 1e6, band.low / 1e6, band.high / 1e6


def _scale(values: Sequence[float]) -> Spec:
    if min(values) > 0 and max(values) / min(values) > _WIDEST_LINEAR:
        return {"type": "log", "dtick": 1}
    return {"type": "linear", "rangemode": "tozero"}
