"""A table of results survives what stops a sweep, and never replaces anything."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ceesim.errors import OptionError, OutputError
from ceesim.explore.experiment import Row
from ceesim.explore.table import Table, finish, manifest_path, open_table

COLUMNS = ("point", "status", "array.rows", "reason")
ROWS: list[Row] = [
    ("0", "ok", "8", ""),
    ("1", "failed", "16", 'too large, said "x"'),
    ("2", "ok", "32", ""),
]
BYTES = b'point,status,array.rows,reason\n0,ok,8,\n1,failed,16,"too large, said ""x"""\n2,ok,32,\n'
IDENTITY: dict[str, Any] = {"hardware": {"name": "a"}, "trace": "1234", "parameters": [[8, 16, 32]]}


@contextmanager
def opened(path: Path, *, resume: bool = False, **other: Any) -> Iterator[Table]:
    with open_table(path, COLUMNS, IDENTITY | other, {"provenance": {}}, resume=resume) as table:
        yield table


def test_rows_are_on_disk_as_soon_as_they_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sweep.csv"
    with opened(path) as table:
        table.append(ROWS[:2])
        assert path.read_bytes() == BYTES[: BYTES.index(b"2,ok")]
        assert (table.num_rows, table.num_failed) == (2, 1)
    manifest = json.loads(manifest_path(path).read_text())
    assert manifest == {"schema": "ceesim.sweep/1", "identity": IDENTITY, "provenance": {}}


def test_a_table_cut_anywhere_is_continued_to_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    with opened(path):
        pass
    for cut in range(len(BYTES) + 1):
        path.write_bytes(BYTES[:cut])
        with opened(path, resume=True) as table:
            whole = max(0, BYTES[:cut].count(b"\n") - 1)
            assert (table.num_rows, table.num_failed) == (whole, int(whole > 1))
            table.append(ROWS[whole:])
        assert path.read_bytes() == BYTES


def test_a_table_that_exists_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text("my own table\n")
    with pytest.raises(OutputError, match=r"exists already\n  fix: add --resume"), opened(path):
        pass
    with pytest.raises(OutputError, match="not a table of a sweep, or its manifest is lost"), opened(path, resume=True):
        pass
    assert path.read_text() == "my own table\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"point,status,other\n", "does not begin like this sweep"),
        (b"\x00" * 100, "does not begin like this sweep"),
        (BYTES.replace(b"1,failed", b"2,failed"), "sweep.csv:3: is damaged (got point 2; expected point 1)"),
        (BYTES + b"\n", "sweep.csv:5: is damaged"),
        (BYTES + b"no comma\n", "sweep.csv:5: is damaged"),
    ],
)
def test_a_damaged_table_is_left_alone(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "sweep.csv"
    with opened(path):
        pass
    path.write_bytes(content)
    with pytest.raises(OutputError) as caught, opened(path, resume=True):
        pass
    assert said in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("manifest", ["", "{}", "[]", '{"schema": "ceesim.sweep/2", "identity": {}}'])
def test_a_damaged_manifest(tmp_path: Path, manifest: str) -> None:
    path = tmp_path / "sweep.csv"
    with opened(path) as table:
        table.append(ROWS)
    manifest_path(path).write_text(manifest)
    with pytest.raises(OutputError, match="not a table of a sweep"), opened(path, resume=True):
        pass
    assert path.read_bytes() == BYTES


def test_the_table_of_another_sweep_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    with opened(path) as table:
        table.append(ROWS)
    said = r"holds the results of another sweep \(got another hardware, trace\)"
    with pytest.raises(OutputError, match=said), opened(path, resume=True, trace="5678", hardware={}):
        pass
    assert path.read_bytes() == BYTES


def test_only_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    with opened(path) as table:
        table.append(ROWS[:1])
        with pytest.raises(OutputError, match="is being written by another sweep"), opened(path, resume=True):
            pass
        table.append(ROWS[1:])
    assert path.read_bytes() == BYTES


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(path) as table:
        table.append(ROWS[:1])
        written = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(written) + 3, limits[1]))
        try:
            with pytest.raises(
                OutputError, match=r"cannot write: File too large\n  fix: free some space, then add --resume"
            ):
                table.append(ROWS[1:])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == written
        assert table.num_rows == 1
    with opened(path, resume=True) as table:
        table.append(ROWS[table.num_rows :])
    assert path.read_bytes() == BYTES


@pytest.mark.parametrize("place", ["/proc/sweep.csv", "file/sweep.csv", "folder.csv"])
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError), opened(tmp_path / place):
        pass
    with pytest.raises(OutputError), opened(tmp_path / place, resume=True):
        pass


def test_a_suffix_names_the_format(tmp_path: Path) -> None:
    with (
        pytest.raises(
            OptionError, match=r"not a table \(got sweep.xlsx; expected a name that ends in .csv or .parquet"
        ),
        opened(tmp_path / "sweep.xlsx"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_rows_of_a_parquet_table_wait_beside_it(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "sweep.parquet"
    types = {"point": "int64", "status": "string", "array.rows": "int64", "reason": "string"}
    with opened(path) as table:
        table.append(ROWS[:1])
    assert not path.exists()
    with opened(path, resume=True) as table:
        assert table.num_rows == 1
        table.append(ROWS[1:])
    finish(table, types)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["sweep.parquet", "sweep.parquet.manifest.json"]
    read = parquet.read_table(path)
    assert {name: str(read.schema.field(name).type) for name in read.column_names} == types
    assert read["array.rows"].to_pylist() == [8, 16, 32]
    assert read["reason"].to_pylist() == [None, 'too large, said "x"', None]
    before = path.read_bytes()
    with opened(path, resume=True) as table:
        assert (table.num_rows, table.num_failed) == (3, 1)
    finish(table, types)
    assert path.read_bytes() == before
    with pytest.raises(OutputError, match="exists already"), opened(path):
        pass
