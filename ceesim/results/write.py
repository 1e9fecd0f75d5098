"""The files of a run: its summary, tables and manifest; all of them or none.

Under a scenario there are three more: scenario.json, queue.csv, arrivals.csv; with operating points there is
operating_points.csv. On request inputs.csv stands there as inputs.parquet as well.

They are written into a folder beside the target and moved into place at the end. Two runs give the same bytes, the
manifest's time stamp apart.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final

from ceesim.errors import MissingExtraError, OutputError
from ceesim.files import replacing
from ceesim.results.exit_value import EXIT_VALUE_COLUMNS, exit_values
from ceesim.results.scenario import ARRIVAL_COLUMNS, QUEUE_COLUMNS, arrival_columns, queue_rows, scenario_record
from ceesim.results.summary import summary
from ceesim.results.tables import (
    ENERGY_COLUMNS,
    EXIT_COLUMNS,
    INPUT_COLUMNS,
    LAYER_COLUMNS,
    POINT_COLUMNS,
    energy,
    exits,
    input_columns,
    layers,
    operating_points,
)
from ceesim.sim.result import RunResult

MANIFEST_SCHEMA: Final = "ceesim.manifest/1"
SCENARIO_FILES: Final = ("scenario.json", "queue.csv", "arrivals.csv")
ENERGY_FILE: Final = "energy.csv"
POINTS_FILE: Final = "operating_points.csv"
PARQUET_FILE: Final = "inputs.parquet"
RUN_FILES: Final = (
    "summary.json", "layers.csv", "static_layers.csv", "exits.csv", "exit_values.csv", ENERGY_FILE, "inputs.csv",
    "manifest.json",
)  # fmt: skip
"""What `write_run` always writes, in the order in which a reader wants them."""
SOME_RUN_FILES: Final = (*SCENARIO_FILES, POINTS_FILE, PARQUET_FILE)
"""What it may write as well."""

_ELSEWHERE: Final = "choose another --out"


def write_run(result: RunResult, out: Path, manifest: Mapping[str, Any], *, parquet: bool = False) -> tuple[str, ...]:
    """Write the files of a run into the folder `out`, which is made if need be; returns their names.

    Files of an earlier run are replaced; anything else in the folder is left alone.

    Args:
        parquet: write inputs.parquet too.

    Raises:
        OutputError: if `out` is a file, holds files of these names that no run wrote, or cannot be written.
        MissingExtraError: if `parquet` is asked for and pyarrow is not installed.
    """
    check_out(out, parquet=parquet)
    writers: dict[str, Callable[[IO[str]], None]] = {
        "summary.json": lambda stream: _json(stream, summary(result)),
        "layers.csv": lambda stream: _rows(
            stream, LAYER_COLUMNS, layers(result.dynamic, result.hardware, result.density)
        ),
        "static_layers.csv": lambda stream: _rows(
            stream, LAYER_COLUMNS, layers(result.static, result.hardware, result.density)
        ),
        "exits.csv": lambda stream: _rows(stream, EXIT_COLUMNS, exits(result)),
        "exit_values.csv": lambda stream: _rows(
            stream, EXIT_VALUE_COLUMNS, [value.row() for value in exit_values(result)]
        ),
        ENERGY_FILE: lambda stream: _rows(stream, ENERGY_COLUMNS, energy(result)),
        "inputs.csv": lambda stream: _columns(stream, INPUT_COLUMNS, input_columns(result)),
        "manifest.json": lambda stream: _json(
            stream,
            {
                "schema": MANIFEST_SCHEMA,
                "engine": result.engine,
                **manifest,
                "hardware": result.hardware.to_yaml_dict(),  # as it was run, overrides and defaults included
            },
        ),
    }
    scenario = result.scenario
    if scenario is not None:
        writers |= {
            "scenario.json": lambda stream: _json(stream, scenario_record(scenario, result.hardware)),
            "queue.csv": lambda stream: _rows(stream, QUEUE_COLUMNS, queue_rows(scenario)),
            "arrivals.csv": lambda stream: _columns(stream, ARRIVAL_COLUMNS, arrival_columns(scenario)),
        }
    if points := operating_points(result):
        writers[POINTS_FILE] = lambda stream: _rows(stream, POINT_COLUMNS, points)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror}", where=str(out), fix="choose another --out") from None
    earlier = set(SOME_RUN_FILES) if _is_of_a_run(out) else set()
    names = (*writers, PARQUET_FILE) if parquet else tuple(writers)
    try:
        for name, write in writers.items():
            with (staged / name).open("w", encoding="utf-8", newline="") as stream:
                write(stream)
        if parquet:
            _parquet(staged / PARQUET_FILE, input_columns(result))
        out.mkdir(exist_ok=True)
        for name in names:
            (staged / name).replace(out / name)
        for name in earlier - set(names):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write: {error.strerror}", where=str(out), fix="free some space, or choose another --out"
        ) from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return names


def check_out(out: Path, inputs: Iterable[Path] = (), *, parquet: bool = False) -> None:
    """See that the files of a run may be written into `out`, before there is anything to lose.

    Args:
        inputs: files that the run reads; none of them is written over.
        parquet: whether inputs.parquet is to be written too.

    Raises:
        OutputError: if not.
        MissingExtraError: if `parquet` is asked for and pyarrow is not installed.
    """
    if parquet and find_spec("pyarrow") is None:
        raise MissingExtraError.of("pyarrow", "parquet", PARQUET_FILE)
    ours = {name: out / name for name in (*RUN_FILES, *SOME_RUN_FILES)}
    if out.exists() and not out.is_dir():
        raise OutputError("--out must be a folder", where=str(out), got="a file", fix="name a folder, or a new path")
    for path in inputs:
        if path.exists() and any(mine.exists() and mine.samefile(path) for mine in ours.values()):
            raise OutputError("the run reads this file and would write over it", where=str(path), fix=_ELSEWHERE)
    foreign = [name for name, mine in ours.items() if mine.exists()]
    if foreign and not _is_of_a_run(out):
        raise OutputError(
            "the folder holds files of these names that no run wrote", where=str(out), got=", ".join(foreign),
            fix=_ELSEWHERE,
        )  # fmt: skip


def _is_of_a_run(out: Path) -> bool:
    """Whether a run was written into `out` before: its manifest says so."""
    try:
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("schema") == MANIFEST_SCHEMA


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all; its folder is made if need be.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror}", where=str(path), fix="choose another --out") from None


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table as CSV, a line per row; the columns are those of the first."""
    sheet = io.StringIO(newline="")
    _rows(sheet, list(rows[0]) if rows else [], rows)
    return sheet.getvalue()


def json_text(record: Mapping[str, Any]) -> str:
    """`record` as the text of a JSON file."""
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json(stream: IO[str], record: Mapping[str, Any]) -> None:
    stream.write(json_text(record))


def _rows(stream: IO[str], columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _columns(stream: IO[str], names: Iterable[str], columns: Mapping[str, Any]) -> None:
    lists = [values.tolist() if hasattr(values, "tolist") else values for values in (columns[name] for name in names)]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*lists, strict=True))


def _parquet(path: Path, columns: Mapping[str, Any]) -> None:
    import pyarrow
    import pyarrow.parquet

    known = {"": None, "0": False, "1": True}
    arrays = {**columns, "correct": pyarrow.array([known[value] for value in columns["correct"]], pyarrow.bool_())}
    pyarrow.parquet.write_table(pyarrow.table({name: arrays[name] for name in INPUT_COLUMNS}), path)
