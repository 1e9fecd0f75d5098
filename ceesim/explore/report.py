"""A sweep on a page: the designs that no other beats, where the good ones lie, and which knobs matter.

What is compared, what dominates and what a knob's influence is, `ceesim.explore.pareto` says. A picture shows a few
thousand designs at most; if there are more, evenly many of the front and of the others, and the page says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ceesim.errors import CeesimError
from ceesim.explore.column_types import knob_names
from ceesim.explore.experiment import FAILED, OK
from ceesim.explore.frame import read_sweep
from ceesim.explore.pareto import METRICS_READ, Findings, findings
from ceesim.explore.pictures import front, heat_map, influence, measure_of, parallel, said, thinned
from ceesim.explore.table import manifest_path
from ceesim.results.report.figure import Figure, Section, Sheet, Table, cell
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.units import format_count

if TYPE_CHECKING:
    import pandas

MOST_POINTS: Final = 2000
MOST_CELLS: Final = 20_000
"""Settings, points times knobs, that one picture says at most."""
_RIVAL: Final = "A rival is a point as good in all else, whose energy may be as low within the bands of the prices."


def sweep_section(path: Path, name: str) -> Section:
    """Everything about the sweep whose table is at `path`.

    Raises:
        OutputError: if it is no such table.
    """
    table, record = read_sweep(path, METRICS_READ), record_of(path)
    found = findings([table])
    done, failed = table[table["status"] == OK], table[table["status"] == FAILED]
    turned = [knob for knob in knob_names(list(table.columns)) if table[knob].nunique(dropna=False) > 1]
    knobs = [knob for knob in turned if done[knob].nunique(dropna=False) > 1]
    parts: list[Figure | Sheet] = []
    notes = []
    if found.objectives:
        shown = thinned(done, found, min(MOST_POINTS, MOST_CELLS // max(len(knobs), 1)))
        if len(shown) < len(done):
            on_front = int(shown.index.isin(found.front.index).sum())
            notes.append(
                f"Pictures of single designs show {len(shown):,} of {len(done):,}: {on_front:,} of the "
                f"{len(found.front):,} that no other beats, and {len(shown) - on_front:,} of the rest, evenly chosen. "
                "Everything else on this page was worked out from all of them."
            )
        first, *others = found.objectives
        parts += [front(shown, found, knobs, first, other) for other in others]
        parts.append(_front_table(found, knobs))
        parts += [heat_map(done, pair, first) for pair in _pairs(done, found, knobs)[:1]]
        if knobs:
            parts.append(parallel(done, found, knobs))
        parts += [influence(found, objective) for objective in found.influences if found.influences[objective]]
    elif len(done):
        notes.append("There is nothing to compare: every point has the same latency, energy, area and accuracy.")
    if len(failed):
        parts.append(_failures(failed))
    num_points = record.get("num_points")
    stopped = isinstance(num_points, int) and num_points > len(table)
    return Section(
        name=name,
        title=f"Sweep {path.name}",
        sentence=f"{format_count(len(table), 'design')}"
        f"{f' of {num_points:,} (the sweep was stopped; --resume goes on)' if stopped else ''}"
        f"{f', {len(failed):,} of which failed' if len(failed) else ''}"
        f"{f', under {scenario}' if (scenario := _scenario(record)) else ''}; "
        f"{len(found.front):,} that no other beats.",
        facts=[
            ("knobs", ", ".join(knob if knob in knobs else _lost(knob, done) for knob in turned)),
            ("compared by", ", ".join(measure_of(each).name for each in found.objectives)),
            *made_by(record),
        ],
        parts=parts,
        notes=notes,
        record=json.dumps(record, indent=1, ensure_ascii=False) if record else "",
    )


def _lost(knob: str, done: pandas.DataFrame) -> str:
    """A knob of which one value at most could be built."""
    values = [said(value, knob) for value in done[knob].dropna().unique().tolist()]
    return f"{knob} (built with {values[0]} alone)" if values else knob


def _front_table(found: Findings, knobs: Sequence[str]) -> Sheet:
    rivals = found.rivals or {}  # none: there are none, or nobody knows
    word, told = (["rival"], f" {_RIVAL}") if rivals else ([], "")
    if found.num_contenders:
        kept_off = format_count(found.num_contenders, "more design")
        told += f" {kept_off} may be among them at other prices of energy within their bands."
    columns = ["point", *knobs, *(measure_of(each).name for each in found.objectives), *word, ""]
    front = zip(found.front.index.tolist(), found.front.to_dict("records"), strict=True)
    rows = [
        (
            int(row["point"]),
            *(cell(row[knob]) for knob in knobs),
            *(float(row[each]) * measure_of(each).factor for each in found.objectives),
            *([rivals.get(label)] if rivals else []),
            "the knee" if label == found.knee else "",
        )
        for label, row in front
    ]
    return Sheet(
        "front",
        "Designs that no other beats",
        f"For each of these, every other design is worse in something.{told}",
        Table(tuple(columns), rows),
    )


def _pairs(done: pandas.DataFrame, found: Findings, knobs: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of knobs worth a map, the best first: rows × cols, then by influence; not pairs that turn together."""
    ranked = [one.knob.split(", ")[0] for one in found.influences.get(found.objectives[0], ())]
    order = [knob for knob in ("array.rows", "array.cols") if knob in knobs]
    order += [knob for knob in ranked if knob in knobs and knob not in order]
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    return [(a, b) for a, b in pairs if len(done[[a, b]].drop_duplicates()) > max(done[a].nunique(), done[b].nunique())]


def _failures(failed: pandas.DataFrame) -> Sheet:
    counts = failed.groupby("reason", sort=False)["point"].agg(["size", "first"])
    counts = counts.sort_values("size", ascending=False, kind="stable")
    rows = [(int(row["size"]), int(row["first"]), str(reason)) for reason, row in counts.iterrows()]
    return Sheet(
        "failed",
        "Designs that failed",
        "What could not be built, mapped or keep up, by reason, with the first point of each.",
        Table(("designs", "first point", "reason"), rows),
    )


def record_of(path: Path) -> dict[str, Any]:
    """The manifest beside the table; nothing if a table came without, as those made in Python do."""
    try:
        content = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _scenario(record: dict[str, Any]) -> str:
    """How inputs met, as far as the manifest says; empty where they did not."""
    identity = record.get("identity")
    asked = identity.get("scenario") if isinstance(identity, dict) else None
    if not isinstance(asked, dict):
        return ""
    try:
        scenario = Scenario.model_validate(asked)
    except (ValueError, CeesimError):
        return ""
    label = "recorded arrivals" if scenario.arrivals.file is not None and scenario.name is None else scenario.label
    batch, units = scenario.batch, scenario.units
    together = [f"batches of {batch.size}, {batch.mode.value}"] if batch.size > 1 else []
    together += [format_count(units, "unit")] if units > 1 else []
    return ", ".join([label, *together])


def made_by(record: dict[str, Any]) -> list[tuple[str, str]]:
    """What was swept and by what, as far as the manifest says."""
    identity, made = (part if isinstance(part, dict) else {} for part in map(record.get, ("identity", "provenance")))
    hardware = identity.get("hardware")
    facts = [("hardware", str(hardware.get("name")))] if isinstance(hardware, dict) else []
    facts += [("scenario", f"{scenario}; latency is from arrival to answer")] if (scenario := _scenario(record)) else []
    if made:
        facts.append(("made by", f"ceesim {made.get('ceesim')}, on {made.get('created')}"))
        packages = made.get("packages")
        named = packages.items() if isinstance(packages, dict) else ()
        facts.append(("with", ", ".join(f"{name} {version}" for name, version in named)))
    listed = made.get("files")
    files = (file for file in (listed if isinstance(listed, list) else ()) if isinstance(file, dict))
    return [*facts, *((str(file.get("name")), f"SHA-256 {file.get('sha256')}") for file in files)]
