"""Pictures of a sweep: two objectives against each other, two knobs as a map, all knobs at once, what each one moves.

A picture of single designs shows some of them at most; `thinned` chooses which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ceesim.explore.experiment import DROPPED
from ceesim.explore.pareto import MAXIMISED, Findings
from ceesim.results.report.figure import RAMP, Figure, Spec, Table, bars, cell, label, legend_above, rows_axis
from ceesim.units import ceil_div, write

if TYPE_CHECKING:
    import pandas

MOST_LINES: Final = 300
_MOST_SHOWN: Final = 40
_KINDS: Final = {
    "_bytes_per_s": "bandwidth", "_bytes": "size", "_hz": "frequency", "_ps": "time", "_nm": "length",
    "_mv": "voltage", "temperature_k": "temperature",
}  # fmt: skip
"""How the column of a knob ends, and as what its values are spoken."""
_FIFTHS: Final = ("best fifth", "second", "third", "fourth", "worst fifth")


@dataclass(frozen=True, slots=True)
class Measure:
    """How a number is shown: its name with the unit, and what to multiply by."""

    name: str
    factor: float = 1.0


_SHOWN_AS: Final = {
    "dynamic.latency_s.mean": Measure("mean latency (ms)", 1e3),
    "dynamic.energy_pj.mean": Measure("mean energy (µJ)", 1e-6),
    "area_mm2": Measure("area (mm²)"),
    "accuracy.dynamic": Measure("accuracy (%)", 100),
    "accuracy.static": Measure("accuracy without exits (%)", 100),
    "reduction.latency": Measure("less latency (%)", 100),
    "reduction.energy": Measure("less energy (%)", 100),
    DROPPED: Measure("dropped inputs (%)", 100),
}


def measure_of(objective: str) -> Measure:
    """How `objective` is shown; by its own name, as it is, if nothing else is known of it."""
    return _SHOWN_AS.get(objective, Measure(objective))


def _values(table: pandas.DataFrame, objective: str) -> list[float]:
    scaled: list[float] = (table[objective].to_numpy(float) * measure_of(objective).factor).tolist()
    return scaled


def thinned(done: pandas.DataFrame, found: Findings, most: int) -> pandas.DataFrame:
    """`done`, or `most` designs of it at most, in order: half of them from the front if it has as many, then others."""
    if len(done) <= most:
        return done
    unbeaten = found.front.index[:: ceil_div(len(found.front), most // 2)]
    rest = done.index.difference(found.front.index)
    step = ceil_div(len(rest), most - len(unbeaten) - 1) or 1
    return done.loc[unbeaten.union(rest[::step]).union([found.knee])]


def front(shown: pandas.DataFrame, found: Findings, knobs: Sequence[str], first: str, other: str) -> Figure:
    """Two objectives against each other; the front is that of all objectives together."""
    on_front = shown.index.isin(found.front.index)
    knee = shown.index == found.knee
    data: list[Spec] = []
    for name, mask, marker in (
        ("other designs", ~on_front, {"color": "--quiet", "size": 5, "opacity": 0.6}),
        ("no other beats", on_front & ~knee, {"color": "--c1", "size": 8}),
        ("knee", knee, {"color": "--c4", "size": 14, "symbol": "star"}),
    ):
        rows = shown[mask]
        if len(rows):
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": _values(rows, first),
                    "y": _values(rows, other),
                    "customdata": _spoken(rows, knobs),
                    "marker": marker,
                    "hovertemplate": f"%{{customdata}}<br>{measure_of(first).name}: %{{x:.4~g}}"
                    f"<br>{measure_of(other).name}: %{{y:.4~g}}<extra>{name}</extra>",
                }
            )
    best = "top" if other in MAXIMISED else "bottom"
    names = ("point", *knobs, *(measure_of(each).name for each in (first, other)), "no other beats")
    columns = [shown["point"].tolist(), *(shown[knob].tolist() for knob in knobs)]
    columns += [_values(shown, first), _values(shown, other), np.where(on_front, "yes", "").tolist()]
    return Figure(
        f"front-{found.objectives.index(other)}",
        _capital(f"{measure_of(first).name} against {measure_of(other).name}"),
        f"A dot is a design; the best are at the {best} left. Blue ones are beaten by no other in "
        f"{', '.join(measure_of(each).name for each in found.objectives)} together; the star is the best compromise.",
        data,
        {
            "height": 400,
            "xaxis": _axis(shown, first),
            "yaxis": _axis(shown, other),
            "legend": legend_above(),
            "hovermode": "closest",
        },
        Table(names, list(zip(*columns, strict=True))),
    )


def heat_map(done: pandas.DataFrame, pair: tuple[str, str], objective: str) -> Figure:
    """The best value of `objective` for each combination of two knobs."""
    rows, columns = pair
    grouped = done.groupby([rows, columns])[objective]
    best = (grouped.max() if objective in MAXIMISED else grouped.min()).unstack()
    best = best.reindex(index=_listed(done[rows]), columns=_listed(done[columns]))
    measure = measure_of(objective)
    z = [[cell(value * measure.factor) for value in row] for row in best.to_numpy(float)]
    x, y = (
        [said(value, knob) for value in axis.tolist()] for axis, knob in ((best.columns, columns), (best.index, rows))
    )
    heat = {
        "type": "heatmap", "x": list(range(len(x))), "y": list(range(len(y))), "z": z,
        "colorscale": RAMP, "reversescale": objective not in MAXIMISED, "xgap": 2, "ygap": 2, "hoverongaps": False,
        "colorbar": {"thickness": 10, "outlinewidth": 0},
        "customdata": [[f"{label(rows)} = {b}, {label(columns)} = {a}" for a in x] for b in y],
        "hovertemplate": f"%{{customdata}}<br>{measure.name}: %{{z:.4~g}}<extra></extra>",
    }  # fmt: skip
    if len(x) * len(y) <= 100:
        heat |= {"texttemplate": "%{z:.3~g}"}
    axis = {"tickmode": "array", "showgrid": False, "zeroline": False}
    return Figure(
        "map",
        _capital(f"{measure.name} over {rows} and {columns}"),
        "The best that the other knobs allow, for each combination of these two; the darker (on a dark page: the "
        "brighter), the better. Empty cells hold no design that worked.",
        [heat],
        {
            "height": min(640, 140 + 40 * len(y)),
            "xaxis": axis | {"title": {"text": label(columns)}, "tickvals": list(range(len(x))), "ticktext": x},
            "yaxis": axis | {"title": {"text": label(rows)}, "tickvals": list(range(len(y))), "ticktext": y},
        },
        Table((rows, *x), [(name, *row) for name, row in zip(y, z, strict=True)]),
    )


def parallel(done: pandas.DataFrame, found: Findings, knobs: Sequence[str]) -> Figure:
    """A line per design across one axis per knob and objective, coloured by the first objective."""
    first = found.objectives[0]
    shown = thinned(done, found, MOST_LINES).sort_values(first, ascending=first not in MAXIMISED, kind="stable")
    axes, short = [*knobs, *found.objectives], _short(knobs)
    heights, spoken, ticks = [], [], []
    for name in axes:
        is_objective = name in found.objectives
        values = np.array(_values(shown, name)) if is_objective else _ranked(shown[name])
        low, high = float(values.min()), float(values.max())
        heights.append((values - low) / (high - low or 1))
        texts = [f"{value:.4g}" for value in values] if is_objective else [said(v, name) for v in shown[name].tolist()]
        title = label(measure_of(name).name if is_objective else short[name])
        spoken.append([f"{title} = {text}" for text in texts])
        ends = texts[int(np.argmin(values))], texts[int(np.argmax(values))]
        ticks.append(f"{title}<br>{ends[0]} – {ends[1]}")
    data: list[Spec] = []
    for fifth, (name, rows) in enumerate(
        zip(_FIFTHS, np.array_split(np.arange(len(shown)), len(_FIFTHS)), strict=True)
    ):
        x: list[int | None] = []
        y: list[float | None] = []
        texts = []
        for row in rows.tolist():
            x += [*range(len(axes)), None]
            y += [*(float(height[row]) for height in heights), None]
            texts += [*(said[row] for said in spoken), ""]
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": name, "x": x, "y": y, "customdata": texts,
                "line": {"color": f"--fifth{fifth}", "width": 1}, "marker": {"size": 4, "color": f"--fifth{fifth}"},
                "opacity": 0.8, "connectgaps": False, "hovertemplate": "%{customdata}<extra></extra>",
            }
        )  # fmt: skip
    columns = ("point", *knobs, *(measure_of(each).name for each in found.objectives))
    cells = [shown["point"].tolist(), *(shown[knob].tolist() for knob in knobs)]
    cells += [_values(shown, each) for each in found.objectives]
    return Figure(
        "parallel",
        "All knobs at once",
        f"A line is a design ({len(shown):,} of {len(done):,} are drawn); every axis runs from its lowest value at the "
        f"bottom to its highest at the top. Colours are fifths by {measure_of(first).name}: click one in the legend to "
        "hide it, double-click to see it alone.",
        data[::-1],
        {
            "height": 440,
            "margin": {"l": 8, "r": 16 if len(axes) <= 4 else 72, "t": 8, "b": 8},  # the last axis is labelled too
            "xaxis": {
                "tickmode": "array", "tickvals": list(range(len(axes))), "ticktext": ticks, "zeroline": False,
                "tickangle": 0 if len(axes) <= 4 else 60, "ticklabeloverflow": "allow",
            },
            "yaxis": {"showticklabels": False, "showgrid": False, "zeroline": False},
            "legend": legend_above() | {"traceorder": "reversed"},
            "hovermode": "closest",
        },
        Table(columns, list(zip(*cells, strict=True))),
    )  # fmt: skip


def influence(found: Findings, objective: str) -> Figure:
    """The share of an objective's variance that each knob accounts for, alone and in all."""
    ranked = found.influences[objective][:_MOST_SHOWN]
    names = [one.knob for one in ranked]
    measure = measure_of(objective).name
    return Figure(
        f"influence-{found.objectives.index(objective)}",
        f"What moves {measure}",
        "How much of the variance a knob accounts for: alone, and with all it does together with others. A wide gap "
        "between the two means that the knob's best value depends on the rest.",
        [
            bars(names, [one.first_order for one in ranked], "alone", "--c1", "%{x:.1%}"),
            bars(names, [one.total for one in ranked], "in all", "--quiet", "%{x:.1%}"),
        ],
        {
            "height": 100 + 40 * len(names),
            "barmode": "group",
            "xaxis": {"tickformat": ".0%", "rangemode": "tozero", "title": {"text": "share of variance (logarithms)"}},
            "yaxis": rows_axis(names),
            "legend": legend_above() | {"traceorder": "normal"},
        },
        Table(
            ("knob", "alone", "in all"),
            [(one.knob, one.first_order, one.total) for one in found.influences[objective]],
            {"alone": "percent", "in all": "percent"},
        ),
    )


def _axis(table: pandas.DataFrame, objective: str) -> Spec:
    values = _values(table, objective)
    low, high = min(values), max(values)
    axis = {"title": {"text": measure_of(objective).name}}
    if low <= 0 or high / low <= 10:
        return axis | {"type": "linear"}
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]  # written out: "5" between decades may be 0.5
    return axis | {"type": "log", "tickmode": "array", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _ranked(column: pandas.Series[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The position of each value among the different ones, in their order; text in that of its first appearance."""
    numeric = column.dtype.kind in "iufb"
    codes = column.rank(method="dense").to_numpy(float) if numeric else column.factorize()[0]
    return np.nan_to_num(np.asarray(codes, np.float64))


def _listed(column: pandas.Series[Any]) -> list[Any]:
    """The different values: numbers by size, words in the order of their first appearance."""
    values = column.dropna().unique().tolist()
    return sorted(values) if column.dtype.kind in "iufb" else values


def _spoken(table: pandas.DataFrame, knobs: Sequence[str]) -> list[str]:
    """What was set, for each row, as hover text."""
    columns = [[f"{label(knob, 60)} = {said(value, knob)}" for value in table[knob].tolist()] for knob in knobs]
    return ["<br>".join(row) for row in zip(*columns, strict=True)] if columns else [""] * len(table)


def said(value: Any, knob: str) -> str:
    """A setting as a label, with its unit where the knob's name ends in one; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return label(str(value))
    kind = next((kind for ending, kind in _KINDS.items() if knob.endswith(ending)), None)
    if float(value).is_integer():
        return write(int(value), kind) if kind else f"{int(value):,}"
    return f"{value:.4g}"


def _short(knobs: Sequence[str]) -> dict[str, str]:
    """Knob → its last word, where that is enough to tell knobs apart."""
    words = [knob.rsplit(".", 1)[-1] for knob in knobs]
    return {knob: word if words.count(word) == 1 else knob for knob, word in zip(knobs, words, strict=True)}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
