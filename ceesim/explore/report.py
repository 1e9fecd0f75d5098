"""A sweep on a page: the designs that no other beats, where the good ones lie, and which knobs matter.

What is compared, what dominates and what a knob's influence is, `ceesim.explore.pareto` says. A picture shows a few
thousand designs at most; if there are more, evenly many of the front and of the others, and the page says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ceesim.explore.experiment import FAILED, OK
from ceesim.explore.frame import read_sweep
from ceesim.explore.pareto import MAXIMISED, OBJECTIVES, Findings, findings, knob_columns
from ceesim.explore.table import manifest_path
from ceesim.results.report.figure import RAMP, Figure, Section, Sheet, Spec, Table, bars, label, legend_above, rows_axis
from ceesim.units import write

if TYPE_CHECKING:
    import pandas

MOST_POINTS: Final = 2000
MOST_CELLS: Final = 20_000
"""Settings, points times knobs, that one picture says at most."""
MOST_LINES: Final = 300
_MOST_SHOWN: Final = 40
_KINDS: Final = {"_bytes_per_s": "bandwidth", "_bytes": "size", "_hz": "frequency"}
"""How the column of a knob ends, and as what its values are spoken."""
_FIFTHS: Final = ("best fifth", "second", "third", "fourth", "worst fifth")


@dataclass(frozen=True, slots=True)
class _Measure:
    """How an objective is shown: its name with the unit, and what to multiply by."""

    name: str
    factor: float = 1.0


_SHOWN_AS: Final = {
    "dynamic.latency_s.mean": _Measure("mean latency (ms)", 1e3),
    "dynamic.energy_pj.mean": _Measure("mean energy (µJ)", 1e-6),
    "area_mm2": _Measure("area (mm²)"),
    "accuracy.dynamic": _Measure("accuracy (%)", 100),
}


def sweep_section(path: Path, name: str) -> Section:
    """Everything about the sweep whose table is at `path`.

    Raises:
        OutputError: if it is no such table.
    """
    table, record = read_sweep(path, OBJECTIVES), _record(path)
    found = findings([table])
    done, failed = table[table["status"] == OK], table[table["status"] == FAILED]
    knobs = [knob for knob in knob_columns(table) if done[knob].nunique(dropna=False) > 1]
    parts: list[Figure | Sheet] = []
    notes = []
    if found.objectives:
        shown = _thinned(done, found, min(MOST_POINTS, MOST_CELLS // max(len(knobs), 1)))
        if len(shown) < len(done):
            on_front = int(shown.index.isin(found.front.index).sum())
            notes.append(
                f"Pictures of single designs show {len(shown):,} of {len(done):,}: {on_front:,} of the "
                f"{len(found.front):,} that no other beats, and {len(shown) - on_front:,} of the rest, evenly chosen. "
                "Everything else on this page was worked out from all of them."
            )
        first, *others = found.objectives
        parts += [_front(shown, found, knobs, first, other) for other in others]
        parts.append(_front_table(found, knobs))
        parts += [_heat_map(done, pair, first) for pair in _pairs(done, found, knobs)[:1]]
        if knobs:
            parts.append(_parallel(done, found, knobs))
        parts += [_influence(found, objective) for objective in found.influences if found.influences[objective]]
    elif len(done):
        notes.append("There is nothing to compare: every point has the same latency, energy, area and accuracy.")
    if len(failed):
        parts.append(_failures(failed))
    return Section(
        name=name,
        title=f"Sweep {path.name}",
        sentence=f"{len(table):,} designs{f', {len(failed):,} of which could not be built' if len(failed) else ''}; "
        f"{len(found.front):,} that no other beats.",
        facts=[
            ("knobs", ", ".join(knobs)),
            ("compared by", ", ".join(_shown(each).name for each in found.objectives)),
            *_made_by(record),
        ],
        parts=parts,
        notes=notes,
        record=json.dumps(record, indent=1, ensure_ascii=False) if record else "",
    )


def _record(path: Path) -> dict[str, Any]:
    """The manifest beside the table; nothing if a table came without, as those made in Python do."""
    try:
        content = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _made_by(record: dict[str, Any]) -> list[tuple[str, str]]:
    """What was swept and by what, as far as the manifest says."""
    identity, made = (part if isinstance(part, dict) else {} for part in map(record.get, ("identity", "provenance")))
    hardware = identity.get("hardware")
    facts = [("hardware", str(hardware.get("name")))] if isinstance(hardware, dict) else []
    if made:
        facts.append(("made by", f"ceesim {made.get('ceesim')}, on {made.get('created')}"))
        facts.append(("with", ", ".join(f"{name} {version}" for name, version in made.get("packages", {}).items())))
    files = (file for file in made.get("files", []) if isinstance(file, dict))
    return [*facts, *((str(file.get("name")), f"SHA-256 {file.get('sha256')}") for file in files)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _short(knobs: Sequence[str]) -> dict[str, str]:
    """Knob → its last word, where that is enough to tell knobs apart."""
    words = [knob.rsplit(".", 1)[-1] for knob in knobs]
    return {knob: word if words.count(word) == 1 else knob for knob, word in zip(knobs, words, strict=True)}


def _said(value: Any, knob: str) -> str:
    """A setting as a label, with its unit where the knob's name ends in one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return label(str(value))
    kind = next((kind for ending, kind in _KINDS.items() if knob.endswith(ending)), None)
    return write(int(value), kind) if kind and value == int(value) else f"{value:.4g}"


def _shown(objective: str) -> _Measure:
    return _SHOWN_AS.get(objective, _Measure(objective))


def _values(table: pandas.DataFrame, objective: str) -> list[float]:
    scaled: list[float] = (table[objective].to_numpy(float) * _shown(objective).factor).tolist()
    return scaled


def _thinned(done: pandas.DataFrame, found: Findings, most: int) -> pandas.DataFrame:
    """`done`, or `most` designs of it at most, in order: half of them from the front if it has as many, then others."""
    if len(done) <= most:
        return done
    front = found.front.index[:: -(-len(found.front) // (most // 2))]
    rest = done.index.difference(found.front.index)
    step = -(-len(rest) // (most - len(front) - 1)) or 1
    return done.loc[front.union(rest[::step]).union([found.knee])]


def _spoken(table: pandas.DataFrame, knobs: Sequence[str]) -> list[str]:
    """What was set, for each row, as hover text."""
    columns = [[f"{label(knob, 60)} = {_said(value, knob)}" for value in table[knob].tolist()] for knob in knobs]
    return ["<br>".join(row) for row in zip(*columns, strict=True)] if columns else [""] * len(table)


def _front(shown: pandas.DataFrame, found: Findings, knobs: Sequence[str], first: str, other: str) -> Figure:
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
                    "hovertemplate": f"%{{customdata}}<br>{_shown(first).name}: %{{x:.4~g}}"
                    f"<br>{_shown(other).name}: %{{y:.4~g}}<extra>{name}</extra>",
                }
            )
    best = "top" if other in MAXIMISED else "bottom"
    names = ("point", *knobs, *(_shown(each).name for each in (first, other)), "no other beats")
    columns = [shown["point"].tolist(), *(shown[knob].tolist() for knob in knobs)]
    columns += [_values(shown, first), _values(shown, other), np.where(on_front, "yes", "").tolist()]
    return Figure(
        f"front-{found.objectives.index(other)}",
        _capital(f"{_shown(first).name} against {_shown(other).name}"),
        f"A dot is a design; the best are at the {best} left. Blue ones are beaten by no other in "
        f"{', '.join(_shown(each).name for each in found.objectives)} together; the star is the best compromise.",
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


def _axis(table: pandas.DataFrame, objective: str) -> Spec:
    values = _values(table, objective)
    low, high = min(values), max(values)
    axis = {"title": {"text": _shown(objective).name}}
    if low <= 0 or high / low <= 10:
        return axis | {"type": "linear"}
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]  # written out: "5" between decades may be 0.5
    return axis | {"type": "log", "tickmode": "array", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _front_table(found: Findings, knobs: Sequence[str]) -> Sheet:
    columns = ["point", *knobs, *(_shown(each).name for each in found.objectives), ""]
    rows = [
        (
            int(row["point"]),
            *(_cell(row[knob]) for knob in knobs),
            *(float(row[each]) * _shown(each).factor for each in found.objectives),
            "the knee" if index == found.knee else "",
        )
        for index, row in found.front.iterrows()
    ]
    return Sheet(
        "front",
        "Designs that no other beats",
        "For each of these, every other design is worse in something.",
        Table(tuple(columns), rows),
    )


def _cell(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value


def _pairs(done: pandas.DataFrame, found: Findings, knobs: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of knobs worth a map, the best first: rows × cols, then by influence; not pairs that turn together."""
    ranked = [one.knob.split(", ")[0] for one in found.influences.get(found.objectives[0], ())]
    order = [knob for knob in ("array.rows", "array.cols") if knob in knobs]
    order += [knob for knob in ranked if knob in knobs and knob not in order]
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    return [(a, b) for a, b in pairs if len(done[[a, b]].drop_duplicates()) > max(done[a].nunique(), done[b].nunique())]


def _heat_map(done: pandas.DataFrame, pair: tuple[str, str], objective: str) -> Figure:
    """The best value of `objective` for each combination of two knobs."""
    rows, columns = pair
    grouped = done.groupby([rows, columns])[objective]
    best = (grouped.max() if objective in MAXIMISED else grouped.min()).unstack()
    measure = _shown(objective)
    z = [[_cell(value * measure.factor) for value in row] for row in best.to_numpy(float)]
    x, y = (
        [_said(value, knob) for value in axis.tolist()] for axis, knob in ((best.columns, columns), (best.index, rows))
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
        "brighter), the better. Empty cells could not be built.",
        [heat],
        {
            "height": min(640, 140 + 40 * len(y)),
            "xaxis": axis | {"title": {"text": label(columns)}, "tickvals": list(range(len(x))), "ticktext": x},
            "yaxis": axis | {"title": {"text": label(rows)}, "tickvals": list(range(len(y))), "ticktext": y},
        },
        Table((rows, *x), [(name, *row) for name, row in zip(y, z, strict=True)]),
    )


def _parallel(done: pandas.DataFrame, found: Findings, knobs: Sequence[str]) -> Figure:
    """A line per design across one axis per knob and objective, coloured by the first objective."""
    first = found.objectives[0]
    shown = _thinned(done, found, MOST_LINES).sort_values(first, ascending=first not in MAXIMISED, kind="stable")
    axes, short = [*knobs, *found.objectives], _short(knobs)
    heights, spoken, ticks = [], [], []
    for name in axes:
        is_objective = name in found.objectives
        values = np.array(_values(shown, name)) if is_objective else _ranked(shown[name])
        low, high = float(values.min()), float(values.max())
        heights.append((values - low) / (high - low or 1))
        texts = [f"{value:.4g}" for value in values] if is_objective else [_said(v, name) for v in shown[name].tolist()]
        title = label(_shown(name).name if is_objective else short[name])
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
    columns = ("point", *knobs, *(_shown(each).name for each in found.objectives))
    cells = [shown["point"].tolist(), *(shown[knob].tolist() for knob in knobs)]
    cells += [_values(shown, each) for each in found.objectives]
    return Figure(
        "parallel",
        "All knobs at once",
        f"A line is a design ({len(shown):,} of {len(done):,} are drawn); every axis runs from its lowest value at the "
        f"bottom to its highest at the top. Colours are fifths by {_shown(first).name}: click one in the legend to "
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


def _ranked(column: pandas.Series[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The position of each value among the different ones, in their order; text in that of its first appearance."""
    numeric = column.dtype.kind in "iufb"
    codes = column.rank(method="dense").to_numpy(float) if numeric else column.factorize()[0]
    return np.nan_to_num(np.asarray(codes, np.float64))


def _influence(found: Findings, objective: str) -> Figure:
    ranked = found.influences[objective][:_MOST_SHOWN]
    names = [one.knob for one in ranked]
    measure = _shown(objective).name
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


def _failures(failed: pandas.DataFrame) -> Sheet:
    counts = failed.groupby("reason", sort=False)["point"].agg(["size", "first"])
    counts = counts.sort_values("size", ascending=False, kind="stable")
    rows = [(int(row["size"]), int(row["first"]), str(reason)) for reason, row in counts.iterrows()]
    return Sheet(
        "failed",
        "Designs that could not be built",
        "By reason, with the first point of each.",
        Table(("designs", "first point", "reason"), rows),
    )
