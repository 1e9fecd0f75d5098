"""The type of a knob's column: one for the whole table, whatever stands in a part of it.

A knob that takes numbers and words (`vector.lanes`: 8, 16, unlimited) is a column of words: read by itself, a part that
holds numbers alone would be one of numbers. What a knob takes is known from the space, and written in the manifest
beside a table; a table without one is looked through once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ceesim.explore.experiment import METRICS
from ceesim.explore.knobs import Value
from ceesim.explore.table import manifest_path

if TYPE_CHECKING:
    import pandas

_LARGEST: Final = 2**63 - 1


def knob_names(columns: Sequence[str]) -> list[str]:
    """Those of a table's `columns` that say what was set: they stand between the status and the first metric."""
    if "status" not in columns:
        return []
    first_metric = next((i for i, name in enumerate(columns) if name in METRICS), len(columns))
    return list(columns[columns.index("status") + 1 : first_metric])


def arrow_type(values: Iterable[Value]) -> str:
    """The name of the arrow type of a column that takes `values`; a missing value fits any."""
    present = [value for value in values if value is not None]
    held = {type(value) for value in present}
    if held == {bool}:
        return "bool"
    if held <= {int}:
        return "int64" if all(isinstance(value, int) and abs(value) <= _LARGEST for value in present) else "float64"
    return "float64" if held <= {int, float} else "string"


def pandas_type(values: Iterable[Value]) -> str:
    """The name of the pandas type of a column that takes `values`; pandas has no missing integers or truths."""
    listed = list(values)
    kind = arrow_type(listed)
    if kind == "string" or None not in listed:
        return kind.replace("string", "str")
    return "str" if kind == "bool" else "float64"


def recorded_types(path: Path, knobs: Sequence[str]) -> dict[str, str] | None:
    """The pandas type of each of the `knobs` of the table at `path`; None if no manifest says it."""
    try:
        parameters = json.loads(manifest_path(path).read_text(encoding="utf-8"))["identity"]["parameters"]
        values = [list(column) for axis in parameters for column in zip(*axis["steps"], strict=True)]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return dict(zip(knobs, map(pandas_type, values), strict=True)) if len(values) == len(knobs) else None


def common_types(parts: Iterable[pandas.DataFrame]) -> dict[str, str]:
    """The type that fits each column in all `parts` of a table, which were typed one by one."""
    found: dict[str, set[str]] = {}
    for part in parts:
        for name, kind in part.dtypes.items():
            found.setdefault(str(name), set()).add(str(kind))
    return {name: _fitting(kinds) for name, kinds in found.items()}


def _fitting(kinds: set[str]) -> str:
    if len(kinds) == 1:
        kind = next(iter(kinds))
        return kind if kind in ("int64", "float64", "bool") else "str"
    return "float64" if kinds == {"int64", "float64"} else "str"


def typed(table: pandas.DataFrame, types: Mapping[str, str]) -> pandas.DataFrame:
    """`table` with the columns of `types` as those; words stay as they are."""
    wanted: dict[Any, Any] = {name: kind for name, kind in types.items() if kind != "str" and name in table}
    return table.astype(wanted)
