"""What the trace behind a run shows: the figures and the table of the paper, and what it does not show.

Figures 4–8 and Table I are those of Wang, Li, Zhang, "Early-Exit with Class Exclusion for Efficient Inference of Neural
Networks" (arXiv 2309.13443), drawn for this trace; the numbers come from `ceesim.exits.metrics`. The comparison with
confidence exits (Fig. 8) replays both kinds of policy on the same logits, hence on heads trained for one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ceesim.errors import WorkloadError
from ceesim.exits import metrics
from ceesim.exits.exclusion import Exclude
from ceesim.exits.policy import ExitPolicy, replay
from ceesim.exits.scores import Score, ScoreKind, confidence
from ceesim.exits.trace import ExitTrace
from ceesim.results.report.figure import RAMP, SERIES, Figure, Sheet, Spec, Table, cell, label, legend_above, rows_axis
from ceesim.workload.flops import Convention, backbone_flops, path_flops

Shares = npt.NDArray[np.float64]

_BETAS: Final = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
_NUM_CONFIDENCES: Final = 15


def trace_figures(trace: ExitTrace) -> list[Figure | Sheet]:
    """Everything that a trace has the evidence for, in the paper's order."""
    parts: list[Figure | Sheet] = [_table_one(trace), _inputs_per_exit(trace)]
    if (trace.labels >= 0).any():
        parts.append(_exits_per_class(trace))
    if trace.remaining is not None and trace.policy.excludes and trace.workload.num_exits:
        parts += [_excluded_per_exit(trace), _excluded_where(trace)]
    if trace.logits is not None and (trace.labels >= 0).any():
        parts.append(_against_confidence(trace))
    if (trace.labels >= 0).any():
        parts.append(_heads(trace))
    return parts


def _exit_names(trace: ExitTrace) -> list[str]:
    return [*(f"exit {i + 1}" for i in range(trace.workload.num_exits)), "the end"]


def _table_one(trace: ExitTrace) -> Sheet:
    """Accuracy and FLOPs with and without exits, under every counting convention that this network has."""
    policy, workload = trace.policy, trace.workload
    built = workload.with_exits(policy.kept(workload.num_exits))
    counts = metrics.inputs_per_exit(trace)
    kept = [*(exit_index - 1 for exit_index in policy.kept(workload.num_exits)), workload.num_exits]
    rows = []
    for convention in Convention:
        try:
            before = backbone_flops(workload, convention)
            after = float(np.dot(path_flops(built, convention), counts[kept]) / counts.sum())
        except WorkloadError:  # table1 knows three networks
            continue
        rows.append((convention.value, trace.static_accuracy, trace.accuracy, before, after, 1 - after / before))
    columns = ("convention", "accuracy static", "accuracy dynamic", "static", "dynamic", "reduction")
    units = dict.fromkeys(("accuracy static", "accuracy dynamic", "reduction"), "percent")
    return Sheet(
        "table1",
        "Table I: accuracy and operations",
        "Without exits (the final classifier of the same network) and with them, heads included. ‘std’ counts every "
        "operation, ‘macs’ multiply–accumulates; ‘table1’ is the paper's own count, for its own networks.",
        Table(columns, rows, units | dict.fromkeys(("static", "dynamic"), "int")),
    )


def _vertical_bars(names: Sequence[str], values: Sequence[float], color: str, hover: str) -> Spec:
    return {
        "type": "bar",
        "x": list(names),
        "y": list(values),
        "marker": {"color": color},
        "hovertemplate": f"%{{x}}: {hover}<extra></extra>",
    }


def _inputs_per_exit(trace: ExitTrace) -> Figure:
    names, counts = _exit_names(trace), metrics.inputs_per_exit(trace).tolist()
    return Figure(
        "fig4",
        "Fig. 4: inputs per exit",
        "How many inputs left at each exit. The head of an exit runs for everybody that gets there.",
        [_vertical_bars(names, counts, SERIES[0], "%{y:,} of the inputs")],
        {
            "height": 260,
            "xaxis": {"type": "category", "showgrid": False},
            "yaxis": {"title": {"text": "inputs"}, "rangemode": "tozero"},
        },
        Table(("leaves at", "inputs", "share"), _with_share(names, counts), {"share": "percent"}),
    )


def _with_share(names: Sequence[str], counts: Sequence[int]) -> list[tuple[str, int, float]]:
    return [(name, count, count / sum(counts)) for name, count in zip(names, counts, strict=True)]


def _class_names(trace: ExitTrace) -> list[str]:
    """The classes by name where the trace knows them, else by number."""
    names = trace.training.get("classes")
    if isinstance(names, list) and len(names) == trace.workload.num_classes:
        return [str(name) for name in names]
    return [str(number) for number in range(trace.workload.num_classes)]


def _class_map(
    name: str, title: str, caption: str, shares: Shares, columns: Sequence[str], classes: Sequence[str], what: str
) -> Figure:
    """A heat map of shares [columns, classes], one row per class."""
    num_classes = shares.shape[1]
    z = [[cell(shares[i, number]) for i in range(len(columns))] for number in range(num_classes)]
    heat = {
        "type": "heatmap", "x": list(columns), "y": list(range(num_classes)), "z": z, "zmin": 0, "zmax": 1,
        "colorscale": RAMP, "xgap": 1, "ygap": 1 if num_classes <= 30 else 0, "hoverongaps": False,
        "colorbar": {"tickformat": ".0%", "thickness": 10, "outlinewidth": 0},
        "customdata": [[label(each, 80)] * len(columns) for each in classes],
        "hovertemplate": f"class %{{customdata}}, %{{x}}: %{{z:.1%}} {what}<extra></extra>",
    }  # fmt: skip
    rows = [(each, *cells) for each, cells in zip(classes, z, strict=True)]
    step = 1 if num_classes <= 20 else 10
    return Figure(
        name,
        title,
        caption,
        [heat],
        {
            "height": min(700, 130 + 22 * num_classes),
            "xaxis": {"type": "category", "showgrid": False},
            "yaxis": rows_axis(classes[::step])
            | {"title": {"text": "class"}, "tickvals": list(range(0, num_classes, step))}
            | {"range": [num_classes - 0.5, -0.5]},
        },
        Table(("class", *columns), rows, dict.fromkeys(columns, "percent")),
    )


def _exits_per_class(trace: ExitTrace) -> Figure:
    counts = metrics.exits_per_class(trace)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return _class_map(
        "fig5",
        "Fig. 5: exits per class",
        "Where the inputs of each class leave; a row adds up to all inputs of that class. Classes whose row is dark on "
        "the left are the easy ones.",
        shares.T,
        _exit_names(trace),
        _class_names(trace),
        "of this class leave here",
    )


def _excluded_per_exit(trace: ExitTrace) -> Figure:
    names, excluded = _exit_names(trace)[:-1], metrics.excluded_per_exit(trace)
    data = []
    for values, name, color in (
        (excluded.of_all, "all inputs", SERIES[0]),
        (excluded.of_running, "inputs that reach it", SERIES[2]),
    ):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": names,
                "y": [cell(value) for value in values],
                "line": {"color": color, "width": 2},
                "marker": {"color": color, "size": 8},
                "hovertemplate": f"%{{x}}, {name}: %{{y:.2f}} classes excluded<extra></extra>",
            }
        )
    rows = [
        (name, float(of_all), cell(running))
        for name, of_all, running in zip(names, excluded.of_all, excluded.of_running, strict=True)
    ]
    return Figure(
        "fig6",
        "Fig. 6: classes excluded so far",
        f"Mean number of the {trace.workload.num_classes} classes that are out of the question after each exit. An "
        "input that has left counts with all classes but its own; the second line looks only at those that reach the "
        "exit.",
        data,
        {
            "height": 300,
            "xaxis": {"type": "category", "showgrid": False},
            "yaxis": {"title": {"text": "excluded classes"}, "range": [0, trace.workload.num_classes]},
            "legend": legend_above(),
        },
        Table(("after", "mean over all inputs", "mean over inputs that reach it"), rows),
    )


def _excluded_where(trace: ExitTrace) -> Figure:
    return _class_map(
        "fig7",
        "Fig. 7: which classes are excluded where",
        "Of the inputs that reach an exit, the share for which a class is excluded after it. A row that stays light is "
        "a class that is hard to rule out; empty where nobody comes.",
        metrics.excluded_where(trace),
        _exit_names(trace)[:-1],
        _class_names(trace),
        "of the inputs here have excluded it",
    )


def _work(trace: ExitTrace, policy: ExitPolicy, exit_index: npt.NDArray[np.int64]) -> float:
    """Mean MACs of inputs that leave at `exit_index` [inputs], as a share of the backbone's."""
    workload = trace.workload
    kept = policy.kept(workload.num_exits)
    path = np.zeros(workload.num_exits + 2)
    path[[*kept, workload.num_exits + 1]] = workload.with_exits(kept).path_macs()
    return float(path[exit_index].mean()) / workload.backbone.path_macs()[-1]


def _outcome(trace: ExitTrace, policy: ExitPolicy) -> tuple[float, float]:
    """Work and accuracy of the same inputs under another policy."""
    logits, final_logits = trace.evidence()
    decisions = replay(policy, logits, final_logits, trace.labels)
    known = trace.labels >= 0
    right = float(np.mean(decisions.predictions[known] == trace.labels[known]))
    return _work(trace, policy, decisions.exit_index), right


def _against_confidence(trace: ExitTrace) -> Figure:
    """Accuracy over work: one β for all exits against one confidence for all exits, and every head alone."""
    num_exits, own = trace.workload.num_exits, trace.policy
    alpha = own.alpha if isinstance(own, Exclude) else None
    betas = sorted({*_BETAS, *_own_thresholds(trace)}) if isinstance(own, Exclude) else _BETAS
    exclusion = [(beta, *_outcome(trace, Exclude((beta,) * num_exits, alpha=alpha))) for beta in betas]
    by_confidence = [
        (limit, *_outcome(trace, Score(ScoreKind.CONFIDENCE, (limit,) * num_exits))) for limit in _confidences(trace)
    ]
    heads = metrics.head_accuracy(trace).on_all
    backbone = trace.workload.backbone.path_macs()[-1]
    fixed = [
        (f"exit {i}", trace.workload.static(i).path_macs()[-1] / backbone, float(heads[i - 1]))
        for i in range(1, num_exits + 2)
        if heads is not None
    ]
    data = [
        _curve("class exclusion", "β", exclusion, SERIES[0], "lines+markers"),
        _curve("confidence", "threshold", by_confidence, SERIES[2], "lines+markers"),
        _curve("fixed exit", "always", fixed, "--muted", "markers"),
    ]
    if trace.accuracy is not None:
        here = (own.name, _work(trace, own, trace.exit_index), trace.accuracy)
        data.append(_curve("this run", "policy", [here], "--bad", "markers", "star", 14))
    groups: dict[str, Sequence[tuple[Any, float, float]]] = {
        "class exclusion": exclusion,
        "confidence": by_confidence,
        "fixed exit": fixed,
    }
    rows = [(name, *point) for name, points in groups.items() for point in points]
    return Figure(
        "fig8",
        "Fig. 8: against confidence exits",
        "Accuracy over mean MACs, with one threshold for all exits: higher and further left is better. The star is "
        "this run; it may lie beside the lines where exits have thresholds of their own. Both kinds of policy are "
        "replayed on the same heads, which were trained for class exclusion or for confidence, not for both; the paper "
        "compares networks trained for each. Grey dots always stop at one exit.",
        data,
        {
            "height": 380,
            "xaxis": {"title": {"text": "mean MACs, share of the backbone's"}, "tickformat": ".0%"},
            "yaxis": {"title": {"text": "accuracy"}, "tickformat": ".0%"},
            "legend": legend_above(),
        },
        Table(("policy", "threshold", "MACs", "accuracy"), rows, {"MACs": "percent", "accuracy": "percent"}),
    )


def _confidences(trace: ExitTrace) -> list[float]:
    """Thresholds from nobody to everybody, evenly many scores between them, and those of the run, highest first."""
    logits, _ = trace.evidence()
    scores = confidence(logits.reshape(-1, logits.shape[-1]))
    even = np.quantile(scores, np.linspace(0, 1, _NUM_CONFIDENCES)).tolist() if len(scores) else []
    own = _own_thresholds(trace) if trace.policy.name == ScoreKind.CONFIDENCE else []
    return sorted({1.0, *even, *own}, reverse=True)


def _own_thresholds(trace: ExitTrace) -> list[float]:
    """Those of the run's policy, of the exits that it keeps."""
    policy = trace.policy
    values = policy.beta if isinstance(policy, Exclude) else policy.threshold if isinstance(policy, Score) else ()
    return [value for value in values if value is not None]


def _curve(
    name: str, knob: str, points: Sequence[tuple[Any, float, float]], color: str, mode: str,
    symbol: str = "circle", size: int = 7,
) -> Spec:  # fmt: skip
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": [point[1] for point in points],
        "y": [point[2] for point in points],
        "customdata": [point[0] if isinstance(point[0], str) else f"{point[0]:.6g}" for point in points],
        "line": {"color": color, "width": 2},
        "marker": {"color": color, "size": size, "symbol": symbol},
        "hovertemplate": f"{name}, {knob} %{{customdata}}<br>%{{x:.1%}} of the MACs, %{{y:.2%}} right<extra></extra>",
    }


def _heads(trace: ExitTrace) -> Sheet:
    """How right each head is, on everybody and on those who trusted it, and what becomes of the right class."""
    names, accuracy = _exit_names(trace), metrics.head_accuracy(trace)
    counts = metrics.inputs_per_exit(trace)
    columns: tuple[str, ...] = ("head", "inputs that left here", "right on all inputs", "right on those that left")
    fate = metrics.target_fate(trace) if trace.remaining is not None and trace.policy.excludes else None
    columns += () if fate is None else ("right class excluded after it", "recovered by it")
    rows = []
    for i, name in enumerate(names):
        on_all = None if accuracy.on_all is None else cell(accuracy.on_all[i])
        row: tuple[Any, ...] = (name, int(counts[i]), on_all, cell(accuracy.on_released[i]))
        if fate is not None:
            last = i == len(names) - 1
            row += (None, None) if last else (cell(fate.excluded[i]), cell(fate.recovered[i]))
        rows.append(row)
    return Sheet(
        "heads",
        "How right each head is",
        "On all inputs, as if it were the only one, and on those that it let go. Recovered is the share of wrongly "
        "excluded right classes that a head brings back.",
        Table(columns, rows, dict.fromkeys(columns[2:], "percent")),
    )
