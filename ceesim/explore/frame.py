"""A table of results, read back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ceesim.errors import OutputError

if TYPE_CHECKING:
    import pandas


def read_sweep(path: Path) -> pandas.DataFrame:
    """The table that a sweep wrote at `path`; an empty cell is a missing value.

    Raises:
        OutputError: if it cannot be read, or is no such table.
    """
    import pandas

    try:
        if path.suffix == ".parquet":
            table = pandas.read_parquet(path)
        else:
            table = pandas.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as problem:
        raise OutputError(f"not a table: {str(problem)[:200]}", where=str(path)) from None
    if list(table.columns[:2]) != ["point", "status"]:
        raise OutputError("not a table of a sweep", where=str(path), expected="columns point, status, …")
    return table
