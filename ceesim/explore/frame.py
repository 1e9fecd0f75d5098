"""A table of results, read back."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ceesim.errors import MissingExtraError, OutputError
from ceesim.explore.experiment import METRICS

if TYPE_CHECKING:
    import pandas


def read_sweep(path: Path, metrics: Collection[str] = METRICS) -> pandas.DataFrame:
    """The table that a sweep wrote at `path`; an empty cell is a missing value.

    Args:
        metrics: those of `METRICS` that are wanted; a large table with few of them takes little memory.

    Raises:
        OutputError: if it cannot be read, or is no such table.
        MissingExtraError: if it is .parquet and pyarrow is not installed.
    """
    import pandas

    unwanted = {*METRICS} - {*metrics}

    def wanted(name: object) -> bool:
        return name not in unwanted

    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            names = [name for name in pyarrow.parquet.read_schema(path).names if wanted(name)]
            table = pandas.read_parquet(path, columns=names)
        else:
            table = pandas.read_csv(path, keep_default_na=False, na_values=[""], usecols=wanted)
    except ImportError:
        raise MissingExtraError.of("pyarrow", "parquet", "a parquet table") from None
    except (OSError, ValueError) as problem:
        raise OutputError(f"not a table: {str(problem)[:200]}", where=str(path)) from None
    if list(table.columns[:2]) != ["point", "status"]:
        raise OutputError("not a table of a sweep", where=str(path), expected="columns point, status, …")
    return table
