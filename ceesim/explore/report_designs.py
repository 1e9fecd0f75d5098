"""Designs that an optimiser chose, on a page: what each does on the inputs that it was not chosen by.

They are shown as a sweep's are (`ceesim.explore.pictures`): on the test set some of them may beat others.
"""

from __future__ import annotations

import csv
import json
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ceesim.errors import CeesimError, OutputError
from ceesim.exits.policy_file import policy_from_json
from ceesim.explore.experiment import OK
from ceesim.explore.optimize import BESIDE, POLICY_COLUMN, TEST, VALIDATION
from ceesim.explore.pareto import OBJECTIVES, Findings, findings
from ceesim.explore.pictures import front, measure_of, parallel
from ceesim.explore.report import made_by, record_of
from ceesim.results.policy_text import thresholds_text
from ceesim.results.report.figure import Figure, Section, Sheet, Table, cell
from ceesim.units import format_count

if TYPE_CHECKING:
    import pandas

_AGAIN: Final = "give the table as `ceesim optimize` wrote it"
_ACCURACY: Final = "accuracy.dynamic"
_MEASURED: Final = tuple(f"{which}{name}" for which in (VALIDATION, TEST) for name in OBJECTIVES)


def is_designs(path: Path) -> bool:
    """Whether the table at `path` begins like one of `ceesim optimize`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        return False
    return {POLICY_COLUMN, *_MEASURED} <= set(columns)


def designs_section(path: Path, name: str) -> Section:
    """Everything about the designs in the table at `path`.

    Raises:
        OutputError: if it is damaged.
    """
    table, record = _read(path), record_of(path)
    knobs = list(takewhile(lambda column: column != POLICY_COLUMN, table.columns))
    tested = table[knobs].assign(
        point=range(1, len(table) + 1), status=OK, **{each: table[f"{TEST}{each}"] for each in OBJECTIVES}, reason=""
    )
    tested = tested[["point", "status", *knobs, *OBJECTIVES, "reason"]]
    found = findings([tested])
    turned = [knob for knob in knobs if table[knob].nunique(dropna=False) > 1]
    parts: list[Figure | Sheet] = []
    if found.objectives:
        first, *others = found.objectives
        parts += [front(tested, found, turned, first, other) for other in others]
    parts.append(_sheet(table, found, turned))
    if found.objectives and turned:
        parts.append(parallel(tested, found, turned))
    lost = float((table[f"{VALIDATION}{_ACCURACY}"] - table[f"{TEST}{_ACCURACY}"]).mean())
    told = {
        "network": _network(record),
        "knobs": turned,
        "compared by": [measure_of(each).name for each in found.objectives],
    }
    return Section(
        name=name,
        title=f"Designs {path.name}",
        sentence=f"{format_count(len(table), 'design')} that no other beats on validation data, shown on test data, "
        f"where accuracy is {100 * abs(lost):.2f} points {'lower' if lost >= 0 else 'higher'} on average.",
        facts=[*((word, ", ".join(names)) for word, names in told.items() if names), *made_by(record)],
        parts=parts,
        record=json.dumps(record, indent=1, ensure_ascii=False) if record else "",
    )


def _network(record: dict[str, Any]) -> list[str]:
    """With its width, as the manifest says; those of earlier tables do not."""
    network = record.get("network")
    return [network] if isinstance(network, str) else []


def _read(path: Path) -> pandas.DataFrame:
    import pandas
    from pandas.api.types import is_numeric_dtype

    try:
        table = pandas.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as problem:
        raise OutputError(f"not a table: {str(problem)[:200]}", where=str(path), fix=_AGAIN) from None
    if table.empty:
        raise OutputError("holds no designs", where=str(path), fix=_AGAIN)
    least = {column: 0.0 if column.endswith(_ACCURACY) else np.nextafter(0, 1) for column in _MEASURED}
    for column in (*_MEASURED, *_beside(table)):
        cells, lowest = table[column], least.get(column, -1e300)
        if not is_numeric_dtype(cells) or not cells.between(lowest, 1e300).all():
            raise OutputError(f"cells of {column} are no numbers, or out of range", where=str(path), fix=_AGAIN)
    return table


def _beside(table: pandas.DataFrame) -> list[str]:
    """The columns that compare with the network without exits; an earlier table has none."""
    return [name for each in BESIDE if (name := f"{TEST}{each}") in table]


def _sheet(table: pandas.DataFrame, found: Findings, knobs: list[str]) -> Sheet:
    accuracy = measure_of(_ACCURACY)
    beside = _beside(table)
    columns = (
        "design", *knobs, *(measure_of(each).name for each in OBJECTIVES), f"{accuracy.name}, validation",
        *(measure_of(each.removeprefix(TEST)).name for each in beside), "beaten by none on test", "policy",
    )  # fmt: skip
    unbeaten = set(found.front["point"].tolist())
    rows = [
        (
            number,
            *(cell(row[knob]) for knob in knobs),
            *(float(row[f"{TEST}{each}"]) * measure_of(each).factor for each in OBJECTIVES),
            float(row[f"{VALIDATION}{_ACCURACY}"]) * accuracy.factor,
            *(float(row[each]) * measure_of(each.removeprefix(TEST)).factor for each in beside),
            "yes" if number in unbeaten else "",
            _policy(row[POLICY_COLUMN]),
        )
        for number, row in enumerate(table.to_dict("records"), 1)
    ]
    caption = "On test data; thresholds in the order of the exits."
    caption += " Less than the same hardware with the network without exits." if beside else ""
    return Sheet("designs", "The designs", caption, Table(columns, rows))


def _policy(text: Any) -> str:
    """A policy in words: what does not differ between designs is left out."""
    try:
        return thresholds_text(policy_from_json(json.loads(text)).to_json())
    except (TypeError, ValueError, CeesimError):
        return str(text)
