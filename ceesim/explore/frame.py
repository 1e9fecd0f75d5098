"""A table of results, read back: whole, or part by part where it may be larger than memory."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ceesim.errors import MissingExtraError, OutputError
from ceesim.explore.column_types import common_types, knob_names, recorded_types, typed
from ceesim.explore.experiment import METRICS

if TYPE_CHECKING:
    import pandas

ROWS: Final = 1000
"""Of one part."""
KEPT: Final = ("dynamic.latency_s.mean", "dynamic.energy_pj.mean", "area_mm2")
"""Above 0 in every design that has them."""
_LONGEST_ROW: Final = 1 << 16
_AGAIN: Final = "give the table as `ceesim sweep` wrote it"


@dataclass(frozen=True, slots=True)
class SweepTable:
    """The table that a sweep wrote at `path`, to be iterated as often as wanted, some thousand rows at a time.

    Args:
        metrics: those of `METRICS` that are wanted.
        rows: of one part; None for the whole table.
    """

    path: Path
    metrics: Collection[str] = METRICS
    rows: int | None = ROWS

    def __iter__(self) -> Iterator[pandas.DataFrame]:
        """The parts, their rows labelled from 0 on; an empty cell is a missing value.

        What was set has the same type in every part (see `ceesim.explore.column_types`).

        Raises:
            OutputError: if it cannot be read, or is no such table.
            MissingExtraError: if it is .parquet and pyarrow is not installed.
        """
        try:
            for part in self._parquet() if self.path.suffix == ".parquet" else self._csv():
                self._check(part)
                yield part
        except ImportError:
            raise MissingExtraError.of("pyarrow", "parquet", "a parquet table") from None
        except (OSError, ValueError) as problem:
            raise OutputError(f"not a table: {str(problem)[:200]}", where=str(self.path)) from None

    def _is_wanted(self, name: object) -> bool:
        return name in self.metrics or name not in METRICS

    def _csv(self) -> Iterator[pandas.DataFrame]:
        import pandas

        columns = [str(name) for name in pandas.read_csv(self.path, nrows=0).columns]
        self._see_that_it_ends(len(columns))
        knobs = knob_names(columns)
        types = recorded_types(self.path, knobs)
        if types is None:
            types = common_types(self._read(knobs, {}, ROWS)) if knobs else {}
        yield from self._read([name for name in columns if self._is_wanted(name)], types, self.rows)

    def _see_that_it_ends(self, num_columns: int) -> None:
        """A row that was cut off may look like the best of all."""
        with self.path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _LONGEST_ROW, 0))
            last = file.read().rpartition(b"\n")[2]
        if last and len(next(csv.reader([last.decode(errors="replace")]))) != num_columns:
            raise OutputError(
                "ends in the middle of a row", where=str(self.path), fix="ceesim sweep --resume writes the rest of it"
            )

    def _check(self, part: pandas.DataFrame) -> None:
        """Refuse what no sweep writes: a part without the numbers that it is read for."""
        from pandas.api.types import is_numeric_dtype

        if list(part.columns[:2]) != ["point", "status"]:
            expected = "columns point, status, …"
            raise OutputError("not a table of a sweep", where=str(self.path), expected=expected, fix=_AGAIN)
        points = part["point"]
        if len(points) and (points.dtype.kind not in "iu" or (points < 0).any()):
            expected = "whole numbers"
            raise OutputError("cells of point are no numbers", where=str(self.path), expected=expected, fix=_AGAIN)
        wanted = [name for name in METRICS if name in self.metrics and name in part.columns]
        kept = [name for name in KEPT if name in self.metrics]
        missing = [name for name in (*kept, "reason") if name not in part.columns]
        if missing:
            raise OutputError("columns are missing", where=str(self.path), got=", ".join(missing), fix=_AGAIN)
        for name in wanted:
            cells = part[name].dropna()
            if not is_numeric_dtype(cells) and len(cells):
                got = cells.iloc[0]
                raise OutputError(f"cells of {name} are no numbers", where=str(self.path), got=got, fix=_AGAIN)
            if np.isinf(cells.to_numpy(float)).any() or (name in kept and (cells <= 0).any()):
                raise OutputError(f"cells of {name} are out of range", where=str(self.path), fix=_AGAIN)

    def _read(self, columns: list[str], types: dict[str, str], rows: int | None) -> Iterator[pandas.DataFrame]:
        """The `columns`, so many rows at a time; what `types` leaves open, each part decides by itself."""
        import pandas

        settings: Any = {"keep_default_na": False, "na_values": [""], "usecols": columns, "dtype": types}
        if rows is None:
            yield pandas.read_csv(self.path, **settings)
            return
        with pandas.read_csv(self.path, chunksize=rows, **settings) as parts:
            yield from parts

    def _parquet(self) -> Iterator[pandas.DataFrame]:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(self.path) as file:
            columns = file.schema_arrow.names
            names = [name for name in columns if self._is_wanted(name)]
            types = recorded_types(self.path, knob_names(columns)) or {}
            if self.rows is None or file.metadata.num_rows == 0:
                yield typed(file.read(names).to_pandas(), types)
                return
            num_rows = 0
            for batch in file.iter_batches(self.rows, columns=names):
                part = typed(batch.to_pandas(), types)
                part.index += num_rows
                num_rows += len(part)
                yield part


def read_sweep(path: Path, metrics: Collection[str] = METRICS) -> pandas.DataFrame:
    """The whole table that a sweep wrote at `path`.

    Args:
        metrics: those of `METRICS` that are wanted; a large table with few of them takes little memory.

    Raises:
        OutputError, MissingExtraError: as from `SweepTable`.
    """
    return next(iter(SweepTable(path, metrics, None)))
