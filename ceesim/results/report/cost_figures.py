"""Where the cycles, joules and bytes of a run go, by what they were spent on and by layer.

Everything here is drawn from the run's own files and the hardware in manifest.json. A layer costs an average input its
cost times the share of the inputs that get as far as its segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ceesim.hardware.energy.actions import Component
from ceesim.hardware.energy.price import Breakdown
from ceesim.results.energy_text import static_rate_text, totals_text
from ceesim.results.report.energy_bands import knows_static_rate, mean_energies, saved_at_static_rate
from ceesim.results.report.exit_figures import reaching
from ceesim.results.report.figure import Figure, Table, bars, cell, label, legend_above, rows_axis, whiskers
from ceesim.results.report.folder import RunFolder
from ceesim.results.report.roofline import roofline

if TYPE_CHECKING:
    import pandas

Shares = npt.NDArray[np.float64]

_BOUND_BY: Final = {
    "dram": "bound by loads and stores",
    "compute": "bound by the array",
    "vector": "bound by the vector unit",
}
"""What a layer's bottleneck says, in words."""
_PARTS: Final = {"compute": "--c1", "stall": "--c4", "head": "--c3", "decision": "--c5"}


def cost_figures(run: RunFolder) -> list[Figure]:
    """The figures, in reading order."""
    figures = [_where_cycles_go(run), _layers(run)]
    if run.summary["dynamic"]["energy_pj"] is not None:
        figures.append(_energy(run))
    figures.append(_bytes(run))
    if run.points is not None:
        figures.append(_operating_points(run.points))
    under_the_roof = roofline(run)
    return figures if under_the_roof is None else [*figures, under_the_roof]


def _cycles_by_part(layers: pandas.DataFrame) -> dict[str, Shares]:
    """[layers] cycles of each layer by what they were spent on; they sum to its cycles."""
    cycles, stall = layers["cycles"].to_numpy(np.float64), layers["stall_cycles"].to_numpy(np.float64)
    is_head, is_decision = (layers["bottleneck"] == "head").to_numpy(), (layers["bottleneck"] == "decision").to_numpy()
    plain = ~is_head & ~is_decision
    return {
        "compute": np.where(plain, cycles - stall, 0),
        "stall": np.where(plain, stall, 0),
        "head": np.where(is_head, cycles, 0),
        "decision": np.where(is_decision, cycles, 0),
    }


def _where_cycles_go(run: RunFolder) -> Figure:
    """Before, and after: the worst input and the average one."""
    static, dynamic, reach = _cycles_by_part(run.static_layers), _cycles_by_part(run.layers), _layer_reach(run)
    names = ["without exits", "runs to the end", "average input"]
    rows = [
        (part, float(static[part].sum()), float(dynamic[part].sum()), float((dynamic[part] * reach).sum()))
        for part in _PARTS
    ]
    data = [
        bars(names, values, part, color, "%{x:,.0f} cycles")
        for (part, *values), color in zip(rows, _PARTS.values(), strict=True)
    ]
    mean = float(run.summary["dynamic"]["latency_cycles"]["mean"])
    paid = sum(row[-1] for row in rows)
    differs = run.scenario is None and abs(paid - mean) > 0.001 * mean  # a scenario's latency has waiting in it
    remark = f" The average adds up to {paid:,.0f} cycles, the mean latency is {mean:,.0f}: some of it overlaps."
    return Figure(
        "cycles",
        "Where the cycles go",
        "Arithmetic, stalls, heads and decisions. From the first bar to the second is what exits cost an input that "
        "none of them lets go, from the first to the third what they change on average. A stall is time in which a "
        f"layer's own unit waits{_stalled(run.layers)}.{remark if differs else ''}",
        data,
        {
            "height": 260,
            "barmode": "stack",
            "xaxis": {"title": {"text": "cycles"}, "tickformat": "~s"},
            "yaxis": rows_axis(names),
            "legend": legend_above() | {"traceorder": "normal"},
        },
        Table(("spent on", *names), rows, dict.fromkeys(names, "int")),
    )


def _stalling(layers: pandas.DataFrame) -> list[tuple[int, str, str]]:
    """(cycles, layer, what it is bound by) of the stalls of layers, the longest first."""
    columns = (layers[name].tolist() for name in ("stall_cycles", "op", "bottleneck"))
    rows = [(cycles, str(op), _BOUND_BY[by]) for cycles, op, by in zip(*columns, strict=True) if by in _BOUND_BY]
    return sorted((row for row in rows if row[0]), key=lambda row: -row[0])


def _stalled(layers: pandas.DataFrame) -> str:
    """What the layers that stall are bound by, with the share of the stalls."""
    stalls: dict[str, int] = {}
    for cycles, _, by in _stalling(layers):
        stalls[by] = stalls.get(by, 0) + cycles
    ordered = sorted(stalls.items(), key=lambda item: -item[1])
    listed = [f"{cycles / sum(stalls.values()):.0%} of it in layers {by}" for by, cycles in ordered]
    return f": for an input that runs to the end, {', '.join(listed)}" if listed else ""


def _longest_stall(layers: pandas.DataFrame) -> str:
    """The layer that stalls longest, and what it is bound by; empty if none does."""
    found = _stalling(layers)
    return f" The longest red end is that of {found[0][1]}, a layer {found[0][2]}." if found else ""


def _layer_reach(run: RunFolder) -> Shares:
    """[layers] share of the inputs that get as far as each layer."""
    reached: Shares = reaching(run)[run.layers["segment"].to_numpy(np.int64) - 1]
    return reached


def _layers(run: RunFolder) -> Figure:
    parts, reach = _cycles_by_part(run.layers), _layer_reach(run)
    names = run.layers["op"].astype(str).tolist()
    spoken = [[label(name, 80), float(share)] for name, share in zip(names, reach, strict=True)]
    before = dict(zip(run.static_layers["op"].astype(str), run.static_layers["cycles"].tolist(), strict=True))
    data = [
        bars(names, parts[part].tolist(), part, color, "%{x:,.0f} cycles")
        for part, color in _PARTS.items()
        if parts[part].any()
    ]
    total = sum(parts.values(), np.zeros(len(names)))
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "average input",
            "cliponaxis": False,
            "x": (total * reach).tolist(),
            "y": list(range(len(names))),
            "customdata": spoken,
            "marker": {"symbol": "diamond", "size": 8, "color": "--ink"},
            "hovertemplate": "%{customdata[0]}<br>an average input: %{x:,.0f} cycles (%{customdata[1]:.1%} get here)"
            "<extra></extra>",
        }
    )
    columns = ("op", "segment", "kind", "cycles", "busy_cycles", "stall_cycles", "utilisation", "bottleneck")
    rows: list[tuple[Any, ...]] = [
        (*(cell(row[name]) for name in columns), cell(before.get(str(row["op"]))), cost * share, share)
        for row, cost, share in zip(run.layers.to_dict("records"), total.tolist(), reach.tolist(), strict=True)
    ]
    units = {"utilisation": "percent", "inputs that get here": "percent", "average input": "int"}
    return Figure(
        "layers",
        "Cycles by layer",
        "What each layer adds to the time of an input that runs to the end, in execution order. The diamond is what an "
        "average input pays for it: the distance between the two is what those save that left before. A red end is "
        f"time in which the layer's own unit waits.{_longest_stall(run.layers)}",
        data,
        {
            "height": 90 + 17 * len(names),
            "barmode": "stack",
            "xaxis": {"title": {"text": "cycles"}, "tickformat": "~s", "rangemode": "tozero"},
            "yaxis": rows_axis(names),
            "legend": legend_above() | {"traceorder": "normal"},
        },
        Table((*columns, "without exits", "average input", "inputs that get here"), rows, units),
    )


def _before_and_after(
    name: str,
    title: str,
    caption: str,
    unit: str,
    static: dict[str, float] | None,
    dynamic: dict[str, float],
    ends: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
) -> Figure:
    """Two bars per thing: without exits, if that is known, and with.

    Args:
        ends: of the bars of each network, what each thing may be.
    """
    names = [key for key in dynamic if dynamic[key] or (static is not None and static.get(key, 0))]
    before = [None if static is None else float(static.get(key, 0)) for key in names]
    after = [float(dynamic[key]) for key in names]
    spoken = [key.replace("_", " ") for key in names]
    columns: dict[str, Sequence[float | None]] = {f"static ({unit})": before, f"dynamic ({unit})": after}
    data = []
    for which, values, color in (("static", before, "--quiet"), ("dynamic", after, "--c1")):
        if which == "static" and static is None:
            continue
        drawn = bars(spoken, values, which, color, f"%{{x:.4~g}} {unit}")
        if ends is not None:
            low, high = ([ends[which].get(key, (0.0, 0.0))[end] for key in names] for end in (0, 1))
            drawn["error_x"] = whiskers([value or 0.0 for value in values], (low, high))
            columns |= {f"{which}, low ({unit})": low, f"{which}, high ({unit})": high}
        data.append(drawn)
    return Figure(
        name,
        title,
        caption,
        data,
        {
            "height": 100 + 34 * len(names),
            "barmode": "group",
            "bargap": 0.25,
            "xaxis": {"title": {"text": f"{unit} per input"}, "tickformat": "~s"},
            "yaxis": rows_axis(spoken),
            "legend": legend_above() | {"traceorder": "normal"},
        },
        Table((name, *columns), list(zip(spoken, *columns.values(), strict=True))),
    )


def _parts(run: RunFolder, measure: str, split: str, unit: float) -> tuple[dict[str, float] | None, dict[str, float]]:
    """A measure of static and dynamic in parts; no static where the plain network could not serve the inputs."""
    static, dynamic = (
        None if played is None else {key: value / unit for key, value in played[measure][split].items()}
        for played in (run.summary["static"], run.summary["dynamic"])
    )
    return static, dynamic or {}


def _energy(run: RunFolder) -> Figure:
    static, dynamic = _parts(run, "energy_pj", "by_component", 1e6)
    spent, met = mean_energies(run), run.scenario is not None
    ends, told = None, ""
    if spent is not None:
        if not met:  # members of a batch share what they spend, and energy.csv is of inputs alone
            ends = {name: _ends(each) for name, each in zip(("dynamic", "static"), spent, strict=True)}
            told = " Thin lines: what it may be at other prices."
        told += f" {_capital(totals_text(*spent, met=met))}."
    if knows_static_rate(run):
        told += f" {_capital(static_rate_text(saved_at_static_rate(run)))}."
    return _before_and_after(
        "energy",
        "Energy by component",
        "Mean energy of an input, without exits and with them. What saving arithmetic cannot touch is in the bars that "
        f"do not shrink. The part called wasted went into work that an exit then made useless.{told}",
        "µJ",
        static,
        dynamic,
        ends,
    )


def _ends(spent: Breakdown) -> dict[str, tuple[float, float]]:
    """µJ of each component if every price is at its low, and at its high end."""
    return {each.key: (float(spent.low[0, each]) / 1e6, float(spent.high[0, each]) / 1e6) for each in Component}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _bytes(run: RunFolder) -> Figure:
    static, dynamic = _parts(run, "dram_bytes", "by_operand", 1024)
    return _before_and_after(
        "dram",
        "DRAM traffic by operand",
        "Mean traffic of an input, without exits and with them. Weights of layers that are not reached need not be "
        "fetched; those of heads come on top.",
        "KiB",
        static,
        dynamic,
    )


def _operating_points(points: pandas.DataFrame) -> Figure:
    """Energy against the deadline that each clock and supply keeps, with exits and without."""
    supplies = [f"{volts:g} V" for volts in points["voltage_v"]]
    spoken = [
        f"{supply}, {hertz / 1e6:g} MHz" for supply, hertz in zip(supplies, points["clock_hz"].tolist(), strict=True)
    ]
    rows, data = [], []
    for name, latency, energy, color in (
        ("static", "static_latency_s", "static_energy_pj", "--quiet"),
        ("dynamic", "worst_latency_s", "energy_pj", "--c1"),
    ):
        deadlines = ((points["transition_s"] + points[latency]) * 1e3).tolist()
        joules = (points[energy] / 1e6).tolist()
        rows += [(each, name, deadline, used) for each, deadline, used in zip(spoken, deadlines, joules, strict=True)]
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": name,
                "x": deadlines,
                "y": joules,
                "text": supplies,
                "textposition": "top center",
                "cliponaxis": False,
                "customdata": spoken,
                "marker": {"color": color, "size": 10},
                "hovertemplate": "%{customdata}<br>a deadline of %{x:.4~g} ms<br>%{y:.4~g} µJ<extra></extra>",
            }
        )
    return Figure(
        "operating-points",
        "Energy against deadline",
        "For inputs that come alone: mean energy at each clock and supply of the chip, and the deadline that even an "
        "input keeps which runs to the end, the change of the supply included. A dot with another one lower and "
        "further left is never the choice; among the others the deadline decides.",
        data,
        {
            "height": 340,
            "xaxis": {"title": {"text": "shortest deadline that is kept (ms)"}},
            "yaxis": {"title": {"text": "µJ per input"}, "rangemode": "tozero"},
            "legend": legend_above(),
        },
        Table(("operating point", "network", "deadline (ms)", "energy (µJ)"), rows),
    )
