"""Who leaves where, how long an input takes, and what an exit costs those whom it does not let go.

Everything here is drawn from the run's own files.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ceesim.results.report.figure import SERIES, Figure, Sheet, Table, bars, legend_above, rows_axis
from ceesim.results.report.folder import RunFolder
from ceesim.results.report.scenario_figures import scenario_figures
from ceesim.units import format_count

Shares = npt.NDArray[np.float64]

_MOST_STEPS: Final = 500
_MOST_NAMED: Final = 12
"""Exits whose names have room beside each other."""
_RIGHTNESS: Final = {"right": "--good", "wrong": "--bad", "unlabelled": "--none"}
_PERCENTILES: Final = {"p50": (0.50, "middle left"), "p95": (0.95, "bottom left"), "p99": (0.99, "top left")}
"""Percentile → the share that it stands for, and where its name has room: left of a step there is nothing."""


def exit_figures(run: RunFolder) -> list[Figure | Sheet]:
    """The figures, in reading order."""
    parts: list[Figure | Sheet] = [_departures(run)]
    parts += [_latency(run)] if run.scenario is None else scenario_figures(run)
    return [*parts, _head_costs(run), _break_even(run)] if len(run.exit_values) else parts


def exit_names(run: RunFolder) -> list[str]:
    """Exit 1, exit 2, …, the end: a name for each row of exits.csv."""
    end = len(run.summary["exit_rate"])
    return ["the end" if index == end else f"exit {index}" for index in run.exits["exit_index"]]


def reaching(run: RunFolder) -> Shares:
    """[rows of exits.csv] share of the inputs that get as far as each segment."""
    counts = run.exits["num_inputs"].to_numpy(np.float64)
    return np.asarray(counts[::-1].cumsum()[::-1] / counts.sum(), np.float64)


def _departures(run: RunFolder) -> Figure:
    """A Sankey: at each exit some leave, right or wrong, and the rest go on."""
    names, counts = exit_names(run), run.exits["num_inputs"].to_numpy()
    outcome = run.inputs["correct"].map({1: "right", 0: "wrong"}).fillna("unlabelled")
    table = run.inputs.groupby([run.inputs["exit_index"], outcome]).size()
    remaining = counts[::-1].cumsum()[::-1]
    nodes = [name if len(names) <= _MOST_NAMED else "" for name in names[:-1]] + [""]
    passing = remaining.tolist()
    sources, targets, values, colors, said, rows = [], [], [], [], [], []
    for row, (index, name) in enumerate(zip(run.exits["exit_index"], names, strict=True)):
        cells = {what: int(table.get((index, what), 0)) for what in _RIGHTNESS}
        rows.append((name, int(counts[row]), counts[row] / counts.sum(), *cells.values()))
        if counts[row]:
            nodes.append(f"{counts[row]:,}" + (f"<br>{cells['wrong']:,} ✗" if cells["wrong"] else ""))
            passing.append(int(counts[row]))
        for what, number in cells.items():
            if number:
                sources.append(row)
                targets.append(len(nodes) - 1)
                values.append(number)
                colors.append(_RIGHTNESS[what])
                said.append(f"{format_count(number, 'input')}<br>leave at {name}, {what}")
        if row + 1 < len(names) and remaining[row + 1]:
            sources.append(row)
            targets.append(row + 1)
            values.append(int(remaining[row + 1]))
            colors.append("--flow")
            said.append(f"{format_count(values[-1], 'input')}<br>go on after {name}")
    sankey = {
        "type": "sankey",
        "arrangement": "snap",
        "node": {
            "align": "left", "label": nodes, "pad": 16, "thickness": 10, "color": "--muted", "line": {"width": 0},
            "customdata": [format_count(number, "input") for number in passing],
            "hovertemplate": "%{customdata}<extra></extra>",
        },
        "link": {
            "source": sources,
            "target": targets,
            "value": values,
            "color": colors,
            "customdata": said,
            "hovertemplate": "%{customdata}<extra></extra>",
        },
        "valueformat": ",",
    }  # fmt: skip
    columns = ("leaves at", "inputs", "share", *_RIGHTNESS)
    return Figure(
        "exits",
        "Who leaves where",
        f"{format_count(int(remaining[0]), 'input')} {'enters' if remaining[0] == 1 else 'enter'} on the left. What "
        "turns off at an exit left early, with the number that did; the last number ran to the end. Green was "
        "predicted right, red wrong; ✗ counts the wrong ones.",
        [sankey],
        {"height": 328, "margin": {"l": 8, "r": 8, "t": 8, "b": 16}},  # a label may stand below a low flow
        Table(columns, rows, {"share": "percent"}),
    )


def _latency(run: RunFolder) -> Figure:
    """The distribution of latency over inputs, with percentiles and the static network."""
    milliseconds = 1e3 / run.summary["clock_hz"]
    cycles, counts = np.unique(run.inputs["latency_cycles"].to_numpy(np.int64), return_counts=True)
    shares = counts.cumsum() / counts.sum()
    if len(cycles) > _MOST_STEPS:
        kept = np.unique(np.searchsorted(shares, np.linspace(0, 1, _MOST_STEPS), side="left").clip(max=len(cycles) - 1))
        cycles, counts, shares = cycles[kept], np.diff(np.rint(shares[kept] * counts.sum()), prepend=0), shares[kept]
    static = run.summary["static"]["latency_cycles"]["mean"]
    dynamic = run.summary["dynamic"]["latency_cycles"]
    marks = {name: dynamic[name] for name in ("mean", "p50", "p95", "p99")} | {"static": static}
    x = [0.0, *(cycles * milliseconds).tolist()]
    y = [0.0, *shares.tolist()]
    steps = {
        "type": "scatter", "mode": "lines", "name": "dynamic", "x": x, "y": y,
        "line": {"shape": "hv", "color": "--c1", "width": 2},
        "hovertemplate": "%{y:.2%} of the inputs are done within %{x:.4g} ms<extra></extra>",
    }  # fmt: skip
    names = list(_PERCENTILES)
    values = [dynamic[name] for name in names]
    shown = [", ".join(n for n, v in zip(names, values, strict=True) if v == value) for value in values]
    points = {
        "type": "scatter", "mode": "markers+text", "name": "percentiles", "showlegend": False, "cliponaxis": False,
        "x": [value * milliseconds for value in values], "y": [share for share, _ in _PERCENTILES.values()],
        "text": [f"{text} " if values.index(values[i]) == i else "" for i, text in enumerate(shown)],
        "textposition": [place for _, place in _PERCENTILES.values()],
        "marker": {"color": "--c1", "size": 9}, "customdata": names,
        "hovertemplate": "%{customdata}: %{x:.4g} ms<extra></extra>",
    }  # fmt: skip
    line = {
        "type": "scatter", "mode": "lines", "name": "static",
        "x": [static * milliseconds] * 2, "y": [0, 1], "line": {"color": "--muted", "dash": "dash", "width": 2},
        "hovertemplate": "static: %{x:.4g} ms<extra></extra>",
    }  # fmt: skip
    rows = [(name, int(value), value * milliseconds) for name, value in marks.items()]
    return Figure(
        "latency",
        "How long an input takes",
        "The share of the inputs that are done after a time; a step is an exit. Dots are percentiles. Right of the "
        "dashed line an input is slower than without exits.",
        [steps, points, line],
        {
            "height": 320,
            "xaxis": {"title": {"text": "latency (ms)"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "share of inputs"}, "tickformat": ".0%", "range": [0, 1.08]},
            "legend": legend_above(),
        },
        Table(("measure", "latency (cycles)", "latency (ms)"), rows, {"latency (cycles)": "int"}),
    )


def worst_case(run: RunFolder) -> tuple[int, int]:
    """Cycles of an input alone that runs to the end, past every head, and of one without exits."""
    return int(run.exits["latency_cycles"].iloc[-1]), int(run.static_layers["cycles"].sum())


def _head_costs(run: RunFolder) -> Figure:
    """What passing an exit costs, against the network without exits."""
    values, layers = run.exit_values, run.static_layers
    names = [f"exit {index}" for index in values["exit_index"]]
    moved = layers[["ifmap_dram_bytes", "weight_dram_bytes", "ofmap_dram_bytes"]].to_numpy(np.float64).sum()
    measures = {
        "latency": ("head_cycles", float(layers["cycles"].sum())),
        "DRAM bytes": ("head_dram_bytes", float(moved)),
        "energy": ("head_energy_pj", float(layers["energy_pj"].sum())),
    }
    shares = {
        word: (values[column].to_numpy(np.float64) / whole).tolist() if whole else None
        for word, (column, whole) in measures.items()
    }
    drawn = {word: share for word, share in shares.items() if share is not None}
    worst, alone = worst_case(run)
    gains = any(value < 0 for share in drawn.values() for value in share)
    remark = (
        " A bar to the left: with the head in place the mapper tiled other layers in a cheaper way." if gains else ""
    )
    return Figure(
        "heads-cost",
        "What an exit costs those who pass it",
        "The head and the decision of an exit, for an input that does not leave there, as a share of what the whole "
        "network costs without exits. The worst case is an input that runs to the end and pays for all of them: "
        f"{worst:,} cycles instead of {alone:,}, {worst / alone - 1:+.2%}.{remark}",
        [bars(names, drawn[word], word, color, "%{x:.3%}") for word, color in zip(drawn, SERIES, strict=False)],
        {
            "height": 100 + (14 + 12 * len(drawn)) * len(names),
            "barmode": "group",
            "bargap": 0.25,
            "xaxis": {"title": {"text": "share of the network without exits"}, "tickformat": ".2~%"},
            "yaxis": rows_axis(names),
            "legend": legend_above() | {"traceorder": "normal"},
        },
        Table(("exit", *drawn), list(zip(names, *drawn.values(), strict=True)), dict.fromkeys(drawn, "percent")),
    )


def _break_even(run: RunFolder) -> Sheet:
    """The account of each exit."""
    rows = []
    for value in run.exit_values.to_dict("records"):
        rate, latency, energy = (
            _number(value[name]) for name in ("exit_rate", "break_even_rate_latency", "break_even_rate_energy")
        )
        rows.append(
            (
                f"exit {value['exit_index']}", int(value["num_reaching"]), rate, latency, energy,
                _judged(rate, latency, energy), int(value["head_cycles"]), _number(value["head_energy_pj"], 1e3),
                int(value["head_dram_bytes"]) / 1024,
            )
        )  # fmt: skip
    columns = (
        "exit", "inputs that get here", "leave here", "must leave: latency", "must leave: energy", "pays",
        "head (cycles)", "head (nJ)", "head (KiB of DRAM)",
    )  # fmt: skip
    return Sheet(
        "break-even",
        "From which rate an exit pays",
        "An exit pays once so many of the inputs that get there leave that what they save makes up for what its head "
        "costs the others. The share that must leave is exact if the others then run to the end, and too high if later "
        "exits catch them; a dash: it can never pay.",
        Table(columns, rows, dict.fromkeys(columns[2:5], "percent")),
    )


def _number(value: Any, per: float = 1.0) -> float | None:
    number = float(value)
    return None if np.isnan(number) else number / per


def _judged(rate: float | None, latency: float | None, energy: float | None) -> str:
    """In what an exit pays, given the share that leaves and those that must."""
    if rate is None:
        return "nobody gets here"
    pays = [word for word, needed in (("latency", latency), ("energy", energy)) if needed is not None and rate > needed]
    return "yes" if len(pays) == 2 else f"in {pays[0]} only" if pays else "no"
