"""The results of a sweep on disk: a table that survives whatever stops the sweep, and never replaces another one.

Rows are appended in the order of the points, so an unfinished file is a prefix of the finished one: what is missing is
known from what is there. A row torn by a kill or a full disk has no line end, and is cut off before going on. Beside
the table, a manifest says which sweep it is; only that sweep may continue it, one process at a time.

A parquet file cannot grow row by row: its rows wait in a CSV file beside it until the sweep is done.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final

from ceesim.errors import MissingExtraError, OptionError, OutputError
from ceesim.explore.experiment import FAILED, Row
from ceesim.files import replacing

SCHEMA: Final = "ceesim.sweep/1"


class Table:
    """An open table; `open_table` makes one. `num_rows` and `num_failed` count what is on disk."""

    def __init__(self, path: Path, stream: IO[bytes], num_rows: int, num_failed: int) -> None:
        self.path = path
        self.num_rows = num_rows
        self.num_failed = num_failed
        self._stream = stream

    def append(self, rows: Iterable[Row]) -> None:
        """Write the rows of the next points; they are on disk when this returns.

        Raises:
            OutputError: if they cannot be written; then none of them is there.
        """
        rows = list(rows)
        end = self._stream.seek(0, os.SEEK_END)
        try:
            _write(self._stream, _lines(rows))
        except OSError as problem:
            self._stream.truncate(end)
            raise OutputError(
                f"cannot write: {problem.strerror}", where=str(self.path), fix="free some space, then add --resume"
            ) from None
        self.num_rows += len(rows)
        self.num_failed += sum(row[1] == FAILED for row in rows)


def manifest_path(path: Path) -> Path:
    """Where the manifest of the table at `path` is."""
    return path.with_name(f"{path.name}.manifest.json")


def _rows_path(path: Path) -> Path:
    """The file that rows are appended to."""
    return path if path.suffix == ".csv" else path.with_name(f"{path.name}.csv")


def check_format(path: Path) -> None:
    """See that a table can be written in the format of `path`.

    Raises:
        OptionError: if it is neither .csv nor .parquet.
        MissingExtraError: if it is .parquet and pyarrow is not installed.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise OptionError("not a table", where="--out", got=path.name, expected="a name that ends in .csv or .parquet")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise MissingExtraError.of("pyarrow", "parquet", "a parquet table") from None


@contextmanager
def open_table(
    path: Path, columns: tuple[str, ...], identity: Mapping[str, Any], manifest: Mapping[str, Any], *, resume: bool
) -> Iterator[Table]:
    """The table at `path`: a new one, or with `resume` the unfinished (or finished) one of the same sweep.

    Args:
        identity: what makes it this sweep and no other, JSON-ready.
        manifest: what else is worth keeping about it.

    Raises:
        OutputError: if it cannot be written; if there is one already and `resume` is off; if it is of another sweep,
            damaged, or being written by another process.
    """
    check_format(path)
    rows_path = _rows_path(path)
    if not resume and (rows_path.exists() or path.exists()):
        raise OutputError("exists already", where=str(path), fix="add --resume to continue it, or choose another --out")
    if path.exists() and not rows_path.exists():
        _check_identity(path, identity)
        yield _finished(path)
        return
    with ExitStack() as stack:
        try:
            rows_path.parent.mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context(rows_path.open("ab+", buffering=0))
            _lock(stream, path)
            if stream.seek(0, os.SEEK_END) == 0:
                _write_manifest(path, {"schema": SCHEMA, "identity": identity, **manifest})
            else:
                _check_identity(path, identity)
            table = Table(path, stream, *_recover(stream, path, columns))
        except OSError as problem:
            raise OutputError(
                f"cannot write here: {problem.strerror}", where=str(path), fix="choose another --out"
            ) from None
        yield table


def finish(table: Table, types: Mapping[str, str]) -> None:
    """Turn the waiting rows of a finished parquet table into the file that was asked for; a CSV table is done already.

    Args:
        types: column → name of its arrow type.
    """
    rows_path = _rows_path(table.path)
    if table.path.suffix == ".csv" or not rows_path.exists():
        return
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    kinds = {name: pyarrow.type_for_alias(kind) for name, kind in types.items()}
    convert = pyarrow.csv.ConvertOptions(column_types=kinds, strings_can_be_null=True)
    unfinished = table.path.with_name(f".{table.path.name}.unfinished")
    try:
        reader = pyarrow.csv.open_csv(rows_path, convert_options=convert)
        with pyarrow.parquet.ParquetWriter(unfinished, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
        unfinished.replace(table.path)
        rows_path.unlink()
    except OSError as problem:
        unfinished.unlink(missing_ok=True)
        raise OutputError(f"cannot write: {problem.strerror}", where=str(table.path), fix="add --resume") from None


def _check_identity(path: Path, identity: Mapping[str, Any]) -> None:
    """Refuse to continue the table of another sweep."""
    try:
        manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
        there = manifest["identity"] if manifest["schema"] == SCHEMA else None
    except (OSError, ValueError, KeyError, TypeError):
        there = None
    if there is None:
        raise OutputError(
            "not a table of a sweep, or its manifest is lost",
            where=str(path),
            expected=f"{manifest_path(path).name} beside it",
            fix="choose another --out",
        )
    same = json.loads(json.dumps(identity))
    if there != same:
        differing = ", ".join(sorted(key for key in {*there, *same} if there.get(key, ...) != same.get(key, ...)))
        raise OutputError(
            "holds the results of another sweep",
            where=str(path),
            got=f"another {differing}",
            fix="choose another --out",
        )


def _recover(stream: IO[bytes], path: Path, columns: tuple[str, ...]) -> tuple[int, int]:
    """Rows and failed rows that are whole; a torn end is cut off, a missing header written."""
    header = _lines([columns])
    stream.seek(0)
    with os.fdopen(os.dup(stream.fileno()), "rb") as reader:
        first = reader.readline()
        if header.startswith(first) and first != header:
            stream.truncate(0)
            _write(stream, header)
            return 0, 0
        if first != header:
            raise OutputError("does not begin like this sweep", where=str(path), fix="choose another --out")
        num_rows = num_failed = 0
        whole = len(header)
        for line in reader:
            if not line.endswith(b"\n"):
                break
            index, _, rest = line.partition(b",")
            if index != str(num_rows).encode():
                where, got = f"{path}:{num_rows + 2}", index.decode(errors="replace").strip()
                raise OutputError("is damaged", where=where, got=f"point {got}", expected=f"point {num_rows}")
            if len(next(csv.reader([line.decode(errors="replace")]))) != len(columns):
                raise OutputError("is damaged", where=f"{path}:{num_rows + 2}", expected=f"{len(columns)} cells")
            num_rows += 1
            num_failed += rest.startswith(f"{FAILED},".encode())
            whole += len(line)
    stream.truncate(whole)
    return num_rows, num_failed


def _finished(path: Path) -> Table:
    import pyarrow.parquet

    num_rows = num_failed = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["status"]):
                num_rows += len(batch)
                num_failed += batch["status"].to_pylist().count(FAILED)
    except ValueError as problem:
        raise OutputError(f"is damaged: {str(problem)[:200]}", where=str(path), fix="choose another --out") from None
    return Table(path, io.BytesIO(), num_rows, num_failed)


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _write(stream: IO[bytes], content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[stream.write(view) :]


def _write_manifest(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(manifest_path(path)) as file:
        file.write((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _lock(stream: IO[bytes], path: Path) -> None:
    """One writer at a time, where the system has locks; a lock goes with its process, however that ends."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError("is being written by another sweep", where=str(path), fix="wait for it to end") from None
