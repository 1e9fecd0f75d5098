"""What a run's own files show: who leaves where, how long it takes, and where cycles, joules and bytes go.

Everything here is drawn from summary.json, layers.csv, exits.csv, inputs.csv and the hardware in manifest.json. A layer
costs an average input its cost times the share of the inputs that get as far as its segment.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ceesim.errors import CeesimError
from ceesim.hardware.model import Hardware
from ceesim.results.report.figure import SERIES, Figure, Spec, Table, bars, label, legend_above, rows_axis
from ceesim.results.report.folder import RunFolder

Shares = npt.NDArray[np.float64]

_MOST_STEPS: Final = 500
_PARTS: Final = {"compute": "--c1", "stall": "--c4", "head": "--c3", "decision": "--c5"}
_RIGHTNESS: Final = {"right": "--good", "wrong": "--bad", "unlabelled": "--none"}


def run_figures(run: RunFolder) -> list[Figure]:
    """The figures that need no trace, in reading order."""
    figures = [_departures(run), _latency(run), _where_cycles_go(run), _layers(run)]
    if run.summary["dynamic"]["energy_pj"] is not None:
        figures.append(_energy(run))
    figures.append(_bytes(run))
    roofline = _roofline(run)
    return figures if roofline is None else [*figures, roofline]


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
    nodes = [f"{remaining[0]:,} inputs", *[""] * (len(names) - 1)]
    sources, targets, values, colors, said, rows = [], [], [], [], [], []
    for row, (index, name) in enumerate(zip(run.exits["exit_index"], names, strict=True)):
        cells = {what: int(table.get((index, what), 0)) for what in _RIGHTNESS}
        rows.append((name, int(counts[row]), counts[row] / counts.sum(), *cells.values()))
        if counts[row]:
            nodes.append(f"{name}: {counts[row]:,}")
        for what, number in cells.items():
            if number:
                sources.append(row)
                targets.append(len(nodes) - 1)
                values.append(number)
                colors.append(_RIGHTNESS[what])
                said.append(f"leave at {name}, {what}")
        if row + 1 < len(names) and remaining[row + 1]:
            sources.append(row)
            targets.append(row + 1)
            values.append(int(remaining[row + 1]))
            colors.append("--flow")
            said.append(f"go on after {name}")
    sankey = {
        "type": "sankey",
        "arrangement": "snap",
        "node": {"align": "left", "label": nodes, "pad": 14, "thickness": 10, "color": "--muted", "line": {"width": 0}},
        "link": {
            "source": sources,
            "target": targets,
            "value": values,
            "color": colors,
            "customdata": said,
            "hovertemplate": "%{value:,} inputs<br>%{customdata}<extra></extra>",
        },
        "valueformat": ",",
    }
    columns = ("leaves at", "inputs", "share", *_RIGHTNESS)
    return Figure(
        "exits",
        "Who leaves where",
        "Every input enters on the left. What turns off left early; green was predicted right, red wrong.",
        [sankey],
        {"height": 320, "margin": {"l": 8, "r": 8, "t": 8, "b": 8}},
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
    points = {
        "type": "scatter", "mode": "markers", "name": "percentiles", "showlegend": False,
        "x": [dynamic[name] * milliseconds for name in ("p50", "p95", "p99")], "y": [0.50, 0.95, 0.99],
        "marker": {"color": "--c1", "size": 9}, "customdata": ["p50", "p95", "p99"],
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
        "The share of the inputs that are done after a time; a step is an exit. Dots are the 50th, 95th and 99th "
        "percentile. Right of the dashed line an input is slower than without exits: it has paid for heads in vain.",
        [steps, points, line],
        {
            "height": 320,
            "xaxis": {"title": {"text": "latency (ms)"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "share of inputs"}, "tickformat": ".0%", "range": [0, 1.03]},
            "legend": legend_above(),
        },
        Table(("measure", "latency (cycles)", "latency (ms)"), rows, {"latency (cycles)": "int"}),
    )


def _cycles_by_part(run: RunFolder) -> dict[str, Shares]:
    """[layers] cycles of each layer by what they were spent on; they sum to its cycles."""
    layers = run.layers
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
    parts, reach = _cycles_by_part(run), _layer_reach(run)
    names = ["runs to the end", "average input"]
    data = []
    rows: list[tuple[str, float, float]] = []
    for part, color in _PARTS.items():
        whole, average = float(parts[part].sum()), float((parts[part] * reach).sum())
        data.append(bars(names, [whole, average], part, color, "%{x:,.0f} cycles"))
        rows.append((part, whole, average))
    static = float(run.summary["static"]["latency_cycles"]["mean"])
    rows.append(("static, all of it", static, static))
    mark = {"type": "line", "x0": static, "x1": static, "y0": 0, "y1": 1, "yref": "paper"}
    mean = float(run.summary["dynamic"]["latency_cycles"]["mean"])
    paid = sum(row[2] for row in rows[:-1])
    differs = abs(paid - mean) > 0.001 * mean
    remark = f" The average adds up to {paid:,.0f} cycles, the mean latency is {mean:,.0f}: some of it overlaps."
    return Figure(
        "cycles",
        "Where the cycles go",
        "Arithmetic, waiting for DRAM, heads and decisions: once for an input that runs to the end, once averaged over "
        f"all inputs. The dashed line is the network without exits.{remark if differs else ''}",
        data,
        {
            "height": 220,
            "barmode": "stack",
            "xaxis": {"title": {"text": "cycles"}, "tickformat": "~s"},
            "yaxis": rows_axis(names),
            "legend": legend_above() | {"traceorder": "normal"},
            "shapes": [mark | {"line": {"color": "--muted", "dash": "dash", "width": 2}}],
        },
        Table(("spent on", *names), rows, dict.fromkeys(names, "int")),
    )


def _layer_reach(run: RunFolder) -> Shares:
    """[layers] share of the inputs that get as far as each layer."""
    reached: Shares = reaching(run)[run.layers["segment"].to_numpy(np.int64) - 1]
    return reached


def _layers(run: RunFolder) -> Figure:
    parts, reach, names = _cycles_by_part(run), _layer_reach(run), run.layers["op"].astype(str).tolist()
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
            "customdata": [[label(name, 80), float(share)] for name, share in zip(names, reach, strict=True)],
            "marker": {"symbol": "diamond", "size": 8, "color": "--ink"},
            "hovertemplate": "%{customdata[0]}<br>an average input: %{x:,.0f} cycles (%{customdata[1]:.1%} get here)"
            "<extra></extra>",
        }
    )
    columns = ("op", "segment", "kind", "cycles", "busy_cycles", "stall_cycles", "utilisation", "bottleneck")
    rows: list[tuple[Any, ...]] = [
        (*(_plain(row[name]) for name in columns), float(share))
        for row, share in zip(run.layers.to_dict("records"), reach, strict=True)
    ]
    return Figure(
        "layers",
        "Cycles by layer",
        "What each layer adds to the time of an input that runs to the end, in execution order. The diamond is what an "
        "average input pays for it: the distance between the two is what early exits save.",
        data,
        {
            "height": 90 + 17 * len(names),
            "barmode": "stack",
            "xaxis": {"title": {"text": "cycles"}, "tickformat": "~s", "rangemode": "tozero"},
            "yaxis": rows_axis(names),
            "legend": legend_above() | {"traceorder": "normal"},
        },
        Table((*columns, "inputs that get here"), rows, {"utilisation": "percent", "inputs that get here": "percent"}),
    )


def _plain(value: Any) -> Any:
    """A cell of a data frame as JSON holds it."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value


def _before_and_after(
    name: str, title: str, caption: str, unit: str, static: dict[str, float], dynamic: dict[str, float]
) -> Figure:
    """Two bars per thing: without exits and with."""
    names = [key for key in dynamic if static.get(key, 0) or dynamic[key]]
    before, after = [float(static.get(key, 0)) for key in names], [float(dynamic[key]) for key in names]
    spoken = [key.replace("_", " ") for key in names]
    return Figure(
        name,
        title,
        caption,
        [
            bars(spoken, before, "static", "--quiet", f"%{{x:.4~g}} {unit}"),
            bars(spoken, after, "dynamic", "--c1", f"%{{x:.4~g}} {unit}"),
        ],
        {
            "height": 100 + 34 * len(names),
            "barmode": "group",
            "bargap": 0.25,
            "xaxis": {"title": {"text": f"{unit} per input"}, "tickformat": "~s"},
            "yaxis": rows_axis(spoken),
            "legend": legend_above() | {"traceorder": "normal"},
        },
        Table((name, f"static ({unit})", f"dynamic ({unit})"), list(zip(spoken, before, after, strict=True))),
    )


def _energy(run: RunFolder) -> Figure:
    static, dynamic = (
        {key: value / 1e6 for key, value in run.summary[which]["energy_pj"]["by_component"].items()}
        for which in ("static", "dynamic")
    )
    return _before_and_after(
        "energy",
        "Energy by component",
        "Mean energy of an input, without exits and with them. What saving arithmetic cannot touch is in the bars that "
        "do not shrink. The part called wasted went into work that an exit then made useless.",
        "µJ",
        static,
        dynamic,
    )


def _bytes(run: RunFolder) -> Figure:
    static, dynamic = (
        {key: value / 1024 for key, value in run.summary[which]["dram_bytes"]["by_operand"].items()}
        for which in ("static", "dynamic")
    )
    return _before_and_after(
        "dram",
        "DRAM traffic by operand",
        "Mean traffic of an input, without exits and with them. Weights of layers that are not reached need not be "
        "fetched; those of heads come on top.",
        "KiB",
        static,
        dynamic,
    )


def _roofline(run: RunFolder) -> Figure | None:
    """Every layer that moves bytes and multiplies, under what array and DRAM allow; None without the hardware."""
    try:
        hardware = Hardware.model_validate(run.manifest["hardware"])
    except (KeyError, ValueError, CeesimError):
        return None
    layers = run.layers
    moved = layers[["ifmap_dram_bytes", "weight_dram_bytes", "ofmap_dram_bytes"]].sum(axis=1).to_numpy(np.float64)
    macs = layers["macs"].to_numpy(np.float64)
    cycles = layers[["cycles", "busy_cycles"]].max(axis=1).to_numpy(np.float64)
    shown = (moved > 0) & (macs > 0) & (cycles > 0)
    if not shown.any():
        return None
    peak = float(hardware.array.rows * hardware.array.cols)
    intensity, rate = macs[shown] / moved[shown], macs[shown] / cycles[shown]
    names, is_head = layers["op"].astype(str)[shown].tolist(), (layers["bottleneck"] == "head").to_numpy()[shown]
    bandwidth = hardware.dram.bandwidth_bytes_per_s
    slope = np.inf if bandwidth is None else bandwidth / hardware.clock_hz
    low, high = float(intensity.min()) / 2, max(float(intensity.max()), peak / slope) * 2
    knee = [peak / slope] if low < peak / slope < high else []
    x = [low, *knee, high]
    data: list[Spec] = [
        {
            "type": "scatter", "mode": "lines", "name": "roof", "x": x, "y": [min(peak, slope * at) for at in x],
            "line": {"color": "--muted", "width": 2}, "hovertemplate": "roof: %{y:.4~g} MACs per cycle<extra></extra>",
        }
    ]  # fmt: skip
    for group, mask, color in (("backbone", ~is_head, SERIES[0]), ("heads", is_head, SERIES[2])):
        if mask.any():
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": group,
                    "x": intensity[mask].tolist(),
                    "y": rate[mask].tolist(),
                    "customdata": [label(name, 80) for name, kept in zip(names, mask, strict=True) if kept],
                    "marker": {"color": color, "size": 9, "opacity": 0.85},
                    "hovertemplate": "%{customdata}<br>%{x:.4~g} MACs per DRAM byte<br>%{y:.4~g} MACs per cycle"
                    "<extra></extra>",
                }
            )
    left_out = int(((macs > 0) & ~shown).sum())
    rest = f" {left_out} layers that move nothing to or from DRAM have no place here." if left_out else ""
    rows = list(zip(names, intensity.tolist(), rate.tolist(), (rate / peak).tolist(), strict=True))
    return Figure(
        "roofline",
        "Roofline",
        f"Left of the bend the DRAM limits a layer, right of it the array ({peak:,.0f} MACs per cycle). A point far "
        "below the roof loses time to short tiles, filling and draining; one above the slope had its weights fetched "
        f"while an earlier layer still ran.{rest}",
        data,
        {
            "height": 380,
            "xaxis": {"type": "log", "title": {"text": "MACs per DRAM byte"}, "dtick": 1},
            "yaxis": {"type": "log", "title": {"text": "MACs per cycle"}, "dtick": 1},
            "legend": legend_above(),
        },
        Table(("op", "MACs per DRAM byte", "MACs per cycle", "share of peak"), rows, {"share of peak": "percent"}),
    )
