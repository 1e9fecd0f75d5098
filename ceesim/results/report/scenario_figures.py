"""What a scenario did to its inputs: how long they took and waited, how many stood in the queue, who was busy.

Drawn from scenario.json and queue.csv, for the network with exits and for the one without where it could keep up.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ceesim.hardware.energy.price import Waiting
from ceesim.results.report.figure import Figure, Sheet, Spec, Table, bars, legend_above, rows_axis
from ceesim.results.report.folder import RunFolder
from ceesim.sim.scenarios.kinds import BatchMode

_NETWORKS: Final = {"static": "--quiet", "dynamic": "--c1"}
_WAITING: Final = "--c2"
_SERVICE: Final = "--c1"


def scenario_figures(run: RunFolder) -> list[Figure | Sheet]:
    """The figures, in reading order; none for a run in which inputs never met."""
    record = run.scenario
    if record is None:
        return []
    parts: list[Figure | Sheet] = [_distribution(run, record), _where_time_goes(run, record)]
    parts += [_queue(run)] if run.queue is not None and len(run.queue) else []
    parts.append(_accounts(run, record))
    return [*parts, _stages(record["dynamic"]["pipeline"])] if record["dynamic"].get("pipeline") else parts


def _played(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The networks that were played, by name, the one without exits first."""
    return {name: record[name] for name in _NETWORKS if record[name] is not None}


def _distribution(run: RunFolder, record: dict[str, Any]) -> Figure:
    milliseconds = 1e3 / run.summary["clock_hz"]
    data: list[Spec] = []
    rows = []
    for name, played in _played(record).items():
        points = played["latency_distribution"]
        x, y = [value * milliseconds for value, _ in points], [share for _, share in points]
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": x, "y": y,
                "line": {"shape": "hv", "color": _NETWORKS[name], "width": 2},
                "hovertemplate": f"{name}: %{{y:.2%}} have their answer within %{{x:.4g}} ms<extra></extra>",
            }
        )  # fmt: skip
        rows += [(name, value, share) for value, share in zip(x, y, strict=True)]
    deadline = record["scenario"].get("deadline")
    if deadline is not None:
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": "deadline", "x": [deadline / 1e9] * 2, "y": [0, 1],
                "line": {"color": "--bad", "dash": "dash", "width": 2},
                "hovertemplate": "deadline: %{x:.4g} ms<extra></extra>",
            }
        )  # fmt: skip
    return Figure(
        "latency",
        "How long an input takes, from arrival to answer",
        "The share of the inputs that have their answer after a time, waiting included. The line further left answers "
        "sooner.",
        data,
        {
            "height": 320,
            "xaxis": {"title": {"text": "latency (ms)"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "share of inputs"}, "tickformat": ".0%", "range": [0, 1.04]},
            "legend": legend_above(),
        },
        Table(("network", "latency (ms)", "share of inputs"), rows, {"share of inputs": "percent"}),
    )


def _where_time_goes(run: RunFolder, record: dict[str, Any]) -> Figure:
    milliseconds = 1e3 / run.summary["clock_hz"]
    played = _played(record)
    names = list(played)
    waiting = [each["waiting_cycles"]["mean"] * milliseconds for each in played.values()]
    service = [each["service_cycles"]["mean"] * milliseconds for each in played.values()]
    return Figure(
        "waiting",
        "Waiting and being served",
        f"Mean latency of an input in its two parts{_changed(waiting, service)}.{_parked(record)}",
        [
            bars(names, waiting, "waiting", _WAITING, "%{x:.4~g} ms"),
            bars(names, service, "service", _SERVICE, "%{x:.4~g} ms"),
        ],
        {
            "height": 110 + 44 * len(names),
            "barmode": "stack",
            "xaxis": {"title": {"text": "ms per input"}},
            "yaxis": rows_axis(names),
            "legend": legend_above() | {"traceorder": "normal"},
        },
        Table(("network", "waiting (ms)", "service (ms)"), list(zip(names, waiting, service, strict=True))),
    )


def _changed(waiting: list[float], service: list[float]) -> str:
    """What exits make of the two parts, where the network without them was played too."""
    if len(service) < len(_NETWORKS):
        return ""
    told = []
    for name, (static, dynamic) in (("service", service), ("waiting", waiting)):
        if abs(dynamic - static) <= 0.0005 * static:
            told.append(f"{name} is as long as without them")
        elif static:
            told.append(f"{name} is {abs(1 - dynamic / static):.1%} {'shorter' if dynamic < static else 'longer'}")
        else:
            told.append(f"{name} is {dynamic:.3g} ms instead of none")
    return f": with exits {' and '.join(told)}"


def _parked(record: dict[str, Any]) -> str:
    refills = record["scenario"].get("batch", {}).get("mode") == BatchMode.REFILL.value
    told = " Service begins when an input is first taken: survivors that wait for a full batch are being served."
    return told if refills else ""


def _queue(run: RunFolder) -> Figure:
    table = run.queue
    if table is None:
        raise ValueError("the run has no queue")
    data: list[Spec] = []
    for name, color in _NETWORKS.items():
        own = table[table["network"] == name]
        if len(own):
            seconds = (own["end_cycle"].to_numpy(np.float64) / run.summary["clock_hz"]).tolist()
            data.append(
                {
                    "type": "scatter", "mode": "lines", "name": name,
                    "x": seconds, "y": own["mean_length"].tolist(),
                    "line": {"shape": "vh", "color": color, "width": 1.5},
                    "hovertemplate": f"{name}: %{{y:.3~g}} waiting until %{{x:.4g}} s<extra></extra>",
                }
            )  # fmt: skip
    rows = list(table[["network", "end_cycle", "mean_length", "largest_length"]].itertuples(index=False, name=None))
    return Figure(
        "queue",
        "Who waits, over time",
        "Inputs in the queue, averaged over short stretches of time. A line that keeps climbing is a network that "
        "cannot keep up; hills are slow inputs that came together.",
        data,
        {
            "height": 280,
            "xaxis": {"title": {"text": "time (s)"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "inputs waiting"}, "rangemode": "tozero"},
            "legend": legend_above(),
        },
        Table(("network", "until (cycle)", "mean", "largest"), rows, {"until (cycle)": "int", "largest": "int"}),
    )


def _accounts(run: RunFolder, record: dict[str, Any]) -> Sheet:
    clock_hz = run.summary["clock_hz"]
    rows = [
        (
            name, each["arrived"], each["served"], each["dropped"], each["late"], each["load"],
            each["served"] * clock_hz / max(each["end_cycle"], 1), each["queue_length"]["mean"],
            each["queue_length"]["max"], sum(each["unit_utilisation"]) / len(each["unit_utilisation"]),
            each.get("dma_utilisation"), each["queue_utilisation"]["array"], each["inputs_per_group"],
            *(each["idle_energy_pj"][waiting.value] / 1e6 for waiting in Waiting),
        )
        for name, each in _played(record).items()
    ]  # fmt: skip
    columns = (
        "network", "arrived", "served", "dropped", "late", "load", "answers/s", "queue, mean", "queue, most",
        "units busy", "DMA busy", "array busy", "inputs per batch", "idle asleep (µJ per input)",
        "idle awake (µJ per input)",
    )  # fmt: skip
    return Sheet(
        "scenario",
        "Who came, who was busy",
        "The load is the rate of arrivals over the rate that can be served; at 1 the queue never ends. Busy: share of "
        "the time, all accelerators together.",
        Table(columns, rows, dict.fromkeys(("units busy", "DMA busy", "array busy"), "percent")),
    )


def _stages(pipeline: dict[str, Any]) -> Sheet:
    rows = [
        (
            "–".join(str(segment) for segment in dict.fromkeys(stage["segments"])), stage["units"],
            stage["work_cycles_per_input"], stage["busy"], stage["blocked"], stage["queue_length"]["mean"],
            stage["queue_length"]["max"],
        )
        for stage in pipeline["stages"]
    ]  # fmt: skip
    return Sheet(
        "stages",
        "The stages of the pipeline",
        "Work is what an input of the stream costs a stage on average, those that never get there included. Blocked: "
        "waiting with a finished map for room behind.",
        Table(
            ("segments", "units", "work (cycles)", "busy", "blocked", "maps waiting, mean", "most"),
            rows,
            {"busy": "percent", "blocked": "percent", "work (cycles)": "int"},
        ),
    )
