"""What `ceesim validate` prints and writes: one record per question, and the files made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ceesim.exits.policy import ExitPolicy
from ceesim.frontend.measure.audit import FlopsAudit
from ceesim.frontend.measure.folder import EXITS, RECORD, SAMPLES, SCHEMA, write_files
from ceesim.frontend.measure.latency import ExitTime, LatencyRun
from ceesim.frontend.measure.machine import described, measured_by
from ceesim.frontend.measure.plot import predicted_against_measured
from ceesim.frontend.measure.predict import Predictor, score
from ceesim.results.write import csv_text, json_text, write_text
from ceesim.workload.network import Workload


def flops_rows(found: FlopsAudit, workload: Workload) -> list[dict[str, Any]]:
    """One row per op of an audit, as written to CSV and JSON."""
    return [
        {
            "network": found.network,
            "width": workload.width,
            "num_classes": workload.num_classes,
            "device": found.device,
            "op": row.op,
            "kind": row.kind,
            "operations": row.ours,
            "flop_counter": row.torch,
            "profiler": row.profiler,
            "executed": row.executed,
            "executed_ratio": row.executed_ratio,
            "kernels": " | ".join(row.kernels),
        }
        for row in found.rows
    ]


def write_flops(out: Path, found: FlopsAudit, workload: Workload) -> None:
    """Write the rows as CSV, and beside them a manifest: on what they were counted, by which versions, and what not.

    Raises:
        OutputError: if they cannot be written.
    """
    write_text(out, csv_text(flops_rows(found, workload)))
    machine = described(found.device)
    manifest = {
        "schema": "ceesim.validate.flops.manifest/1",
        "network": found.network,
        "width": workload.width,
        "num_classes": workload.num_classes,
        "machine": machine,
        "notes": list(found.notes),
        "provenance": measured_by(machine).to_dict(),
    }
    write_text(out.with_name(f"{out.name}.manifest.json"), json_text(manifest))


def latency_record(
    workload: Workload,
    run: LatencyRun,
    predictors: Sequence[Predictor],
    rates: Sequence[float] | None,
    policy: ExitPolicy | None = None,
) -> dict[str, Any]:
    """Everything that was measured, compared, and not measured, as JSON holds it; times in seconds.

    Args:
        rates: share of inputs that leave at each exit that was measured, the end last.
        policy: under which they do.
    """
    batches = dict.fromkeys(time.batch for time in run.times)
    return {
        "schema": SCHEMA,
        "network": workload.name,
        "width": workload.width,
        "num_classes": workload.num_classes,
        "machine": run.device,
        "policy": None if policy is None else policy.to_json(),
        "exit_rates": list(rates) if rates is not None else None,
        "batches": [
            _batch([time for time in run.times if time.batch == batch], predictors, rates) for batch in batches
        ],
        "notes": list(run.notes),
    }


def _batch(times: Sequence[ExitTime], predictors: Sequence[Predictor], rates: Sequence[float] | None) -> dict[str, Any]:
    batch, medians = times[0].batch, [time.truncated.median for time in times]
    predictors = [predictor for predictor in predictors if predictor.speaks_of(batch)]
    scores = {predictor.name: score(predictor.truncated, medians) for predictor in predictors}
    return {
        "batch": batch,
        "exits": [_exit(time, position, medians[-1], predictors) for position, time in enumerate(times)],
        "scores": {name: asdict(found) for name, found in scores.items() if found},
        "reduction": None
        if rates is None
        else {
            "truncated": 1 - float(np.dot(rates, medians)) / medians[-1],
            "loop": 1 - float(np.dot(rates, [time.loop.median for time in times])) / medians[-1],
            "predicted": {predictor.name: predictor.reduction(rates) for predictor in predictors},
        },
    }


def _exit(time: ExitTime, position: int, end: float, predictors: Sequence[Predictor]) -> dict[str, Any]:
    return {
        "exit_index": time.exit_index,
        "truncated_s": time.truncated.median,
        "truncated_interval_s": list(time.truncated.interval),
        "loop_s": time.loop.median,
        "loop_interval_s": list(time.loop.interval),
        "joules": time.joules,
        "share": time.truncated.median / end,
        "predicted_share": {p.name: p.truncated[position] / p.truncated[-1] for p in predictors},
    }


def write_latency(
    out: Path, run: LatencyRun, predictors: Sequence[Predictor], content: Mapping[str, Any]
) -> tuple[str, ...]:
    """Write samples.csv, exits.csv, validation.json, and a plot per batch size; returns their names.

    Raises:
        OutputError: if they cannot be written, or stand in the way of files of such names.
    """
    samples = [
        {"batch": time.batch, "exit_index": time.exit_index, "kind": kind, "sample": number, "seconds": seconds}
        for time in run.times
        for kind, samples in (("truncated", time.truncated), ("loop", time.loop))
        for number, seconds in enumerate(samples.seconds)
    ]
    exits = [
        {"batch": part["batch"], "exit_index": row["exit_index"], "truncated_s": row["truncated_s"]}
        | {"truncated_low_s": row["truncated_interval_s"][0], "truncated_high_s": row["truncated_interval_s"][1]}
        | {"loop_s": row["loop_s"], "joules": row["joules"]}
        | {predictor.name: predictor.truncated[position] for predictor in predictors}
        for part in content["batches"]
        for position, row in enumerate(part["exits"])
    ]
    provenance = measured_by(run.device).to_dict()
    texts = {
        SAMPLES: csv_text(samples),
        EXITS: csv_text(exits),
        RECORD: json.dumps({**content, "provenance": provenance}, indent=2) + "\n",
    }
    for part in content["batches"]:
        names = part["exits"][0]["predicted_share"]
        shares = {name: [row["predicted_share"][name] for row in part["exits"]] for name in names}
        title = f"{content['network']}, width {content['width']:g}, batch {part['batch']}: {run.device['name']}"
        scores = {
            name: f"rank correlation {found['rank_correlation']:.3f}, MAPE {found['mape_percent']:.1f}%"
            for name, found in part["scores"].items()
        }
        svg = predicted_against_measured(title, [row["share"] for row in part["exits"]], shares, scores)
        texts[f"batch{part['batch']}.svg"] = svg
    write_files(out, texts)
    return tuple(texts)
