"""A result that was damaged after it was written is a page or an error that says where, never anything else."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas
import pytest

from ceesim.errors import OutputError
from ceesim.explore.report import sweep_section
from ceesim.explore.sweep import sweep
from ceesim.explore.table import manifest_path
from ceesim.results.report import folder as reader
from ceesim.results.report.figure import Figure, Section
from ceesim.results.report.folder import RunFolder, read_run
from ceesim.results.report.page import _json, _shown
from ceesim.results.report.sections import comparison, run_section
from ceesim.results.report.traits import told_apart
from ceesim.sim.run import PrecisionWarning, run
from ceesim.sim.scenarios.scenario import Scenario
from tests.exits.toys import toy_trace
from tests.results.runs import POLICY, run_folder, small_run

WRONG: tuple[Any, ...] = (None, "x", [])
CELLS = ("", "x", "inf")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    points = [{"clock": "300 MHz", "voltage": "0.5 V"}]
    return alone(run_folder(tmp_path_factory.mktemp("runs") / "run", small_run(technology__operating_points=points)))


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = {
        "arrivals": {"process": "poisson", "load": 0.5}, "inputs": 40, "deadline": "1 ms", "pipeline": {"cuts": [1]},
        "contention": False,
    }  # fmt: skip
    with pytest.warns(PrecisionWarning):
        result = run(
            "edge_npu.yaml",
            toy_trace(policy=POLICY, capture={"precision": "float32"}),
            engine="compiled",
            scenario=Scenario.model_validate(asked),
            detailed=True,
        )
    return alone(run_folder(tmp_path_factory.mktemp("met") / "run", result))


def alone(folder: Path) -> Path:
    """The folder without the trace beside it: figures of a trace do not come from the files of the run."""
    (folder.parent / "toy.npz").unlink()
    return folder


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a record, objects and lists among them; of a long list the first."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, each in inner:
        yield from leaves(each, (*path, key))


def with_leaf(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(record)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@lru_cache
def good_run(folder: Path) -> RunFolder:
    return read_run(folder)


def draw(section: Section) -> None:
    """What `render` does with numbers."""
    for part in section.parts:
        if isinstance(part, Figure):
            _json({"data": part.data, "layout": part.layout})
        for row in part.table.rows:
            for column, cell in zip(part.table.columns, row, strict=True):
                _shown(cell, part.table.units.get(column))


def page_or_error(folder: Path, other: Path) -> str:
    """Empty if there is a page, alone and beside another run, else what the error says."""
    try:
        runs = [read_run(folder), good_run(other)]
        draw(run_section(runs[0], "run1", "a", told_apart(runs)[0]))
        draw(comparison(runs, ["a", "b"]))
    except OutputError as error:
        return said(error)
    return ""


def said(error: OutputError) -> str:
    assert error.where is not None
    assert error.fix is not None
    return str(error)


@pytest.mark.parametrize("name", ["summary.json", "manifest.json", "scenario.json"])
@pytest.mark.parametrize("kind", ["plain", "met"])
def test_every_leaf_of_a_record(
    plain: Path, met: Path, kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = plain if kind == "plain" else met
    if not (good / name).exists():
        return
    table_of = lru_cache(reader._table)  # the tables stay as they are
    monkeypatch.setattr(reader, "_table", lambda path, *rest, **keys: table_of(good / path.name, *rest, **keys))
    damaged = tmp_path / "run"
    shutil.copytree(good, damaged)
    record = json.loads((good / name).read_text())
    assert page_or_error(damaged, good) == ""
    for path in leaves(record):
        for value in WRONG[:1] if "hardware" in path else WRONG:
            (damaged / name).write_text(json.dumps(with_leaf(record, path, value)))
            try:
                page_or_error(damaged, good)
            except Exception as error:
                error.add_note(f"{name}: {path} = {value!r}")
                raise


@pytest.mark.parametrize("kind", ["plain", "met"])
def test_every_column_of_a_table(
    plain: Path, met: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = plain if kind == "plain" else met
    damaged = tmp_path / "run"
    shutil.copytree(good, damaged)
    read, table_of = reader._table, lru_cache(reader._table)
    for file in sorted(good.glob("*.csv")):
        monkeypatch.setattr(
            reader,
            "_table",
            lambda path, *rest, name=file.name, **keys: (
                read(path, *rest, **keys) if path.name == name else table_of(good / path.name, *rest, **keys)
            ),
        )
        if kind == "met" and file.name not in ("queue.csv", "exits.csv", "layers.csv"):  # the same as of a plain run
            continue
        lines = file.read_text().splitlines()
        for i in range(len(lines[1].split(","))):
            for cell in CELLS:
                cells = lines[1].split(",")
                cells[i] = cell
                (damaged / file.name).write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
                try:
                    page_or_error(damaged, good)
                except Exception as error:
                    error.add_note(f"{file.name}: {lines[0].split(',')[i]} = {cell!r}")
                    raise
        shutil.copy(file, damaged)


@pytest.mark.parametrize(
    ("name", "path", "value", "says"),
    [
        ("summary.json", ("width",), None, "width is not what a run writes (got null; expected a number)"),
        ("summary.json", ("clock_hz",), "x", 'clock_hz is not what a run writes (got "x"; expected a number)'),
        ("summary.json", ("policy",), None, "policy is not what a run writes (got null; expected an object)"),
        ("summary.json", ("policy", "beta"), ["x"], "policy.beta is not what a run writes"),
        ("summary.json", ("accuracy",), None, "accuracy is not"),
        ("summary.json", ("exit_rate",), None, "exit_rate is not what a run writes (got null; expected a list)"),
        ("summary.json", ("dynamic", "energy_pj", "by_component", "dram"), None, "dynamic.energy_pj.by_component.dram"),
        ("summary.json", ("dynamic", "energy_pj"), None, "static.energy_pj contradict"),
        ("manifest.json", ("packages",), None, "packages is not what a run writes"),
        ("manifest.json", ("configuration",), None, "configuration is not what a run writes"),
        ("manifest.json", ("configuration", "set"), None, "configuration.set is not what a run writes"),
        ("manifest.json", ("files",), [5], "files.0 is not what a run writes (got 5; expected an object)"),
    ],
)
def test_an_error_names_the_key(
    plain: Path, tmp_path: Path, name: str, path: tuple[Any, ...], value: Any, says: str
) -> None:
    damaged = tmp_path / "run"
    shutil.copytree(plain, damaged)
    record = json.loads((plain / name).read_text())
    (damaged / name).write_text(json.dumps(with_leaf(record, path, value)))
    found = page_or_error(damaged, plain)
    assert found.startswith(f"{damaged / name}: ")
    assert says in found
    assert found.endswith("fix: run it again")


@pytest.mark.parametrize(
    ("name", "column", "cell", "says"),
    [
        ("layers.csv", "cycles", "long", "cells of cycles are not what a run writes (got long; expected whole"),
        ("layers.csv", "segment", "9", "cells of segment are out of range"),
        ("layers.csv", "energy_pj", None, "cells of energy_pj are not what a run writes (got an empty cell"),
        ("exit_values.csv", "head_cycles", "x", "cells of head_cycles are not"),
        ("energy.csv", "low_pj", "x", "cells of low_pj are not what a run writes (got x; expected numbers)"),
        ("inputs.csv", "correct", "yes", "cells of correct are not"),
    ],
)
def test_an_error_names_the_column(
    plain: Path, tmp_path: Path, name: str, column: str, cell: str | None, says: str
) -> None:
    damaged = tmp_path / "run"
    shutil.copytree(plain, damaged)
    table = pandas.read_csv(plain / name, dtype=str, keep_default_na=False)
    table.loc[0, column] = cell
    table.to_csv(damaged / name, index=False)
    found = page_or_error(damaged, plain)
    assert found.startswith(f"{damaged / name}: {says}")


def test_a_run_that_does_not_know_its_energy_has_a_page_without_it(plain: Path, tmp_path: Path) -> None:
    bare = tmp_path / "run"
    shutil.copytree(plain, bare)
    summary = json.loads((plain / "summary.json").read_text())
    for network in ("dynamic", "static"):
        summary[network]["energy_pj"] = None
    summary["reduction"]["energy"] = summary["reduction"]["ci95"]["energy"] = summary["area_mm2"] = None
    (bare / "summary.json").write_text(json.dumps(summary))
    for name in ("energy.csv", "operating_points.csv"):
        (bare / name).unlink()
    for name in ("layers.csv", "static_layers.csv", "exits.csv", "exit_values.csv", "inputs.csv"):
        table = pandas.read_csv(bare / name)
        empty = [column for column in table if "energy" in str(column)]
        table.assign(**dict.fromkeys(map(str, empty))).to_csv(bare / name, index=False)
    assert page_or_error(bare, plain) == ""
    section = run_section(read_run(bare), "run1")
    assert "energy" not in {part.name for part in section.parts}
    assert "energy" not in {card.label for card in section.cards}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    space = {"array.rows": [8, 16], "buffers.weight": ["64 B", "64 KiB", "128 KiB"]}
    path = tmp_path_factory.mktemp("sweep") / "sweep.csv"
    sweep("edge_npu.yaml", toy_trace(policy=POLICY), space).to_csv(path, index=False)
    return path


def sweep_page_or_error(path: Path) -> str:
    try:
        draw(sweep_section(path, "sweep1"))
    except OutputError as error:
        return said(error)
    return ""


def test_every_column_of_a_sweep(swept: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "sweep.csv"
    table = pandas.read_csv(swept, dtype=str, keep_default_na=False)
    done = table.index[table["status"] == "ok"][0]
    for column in table:
        for cell in CELLS:
            changed = table.copy()
            changed.loc[done, column] = cell
            changed.to_csv(damaged, index=False)
            try:
                found = sweep_page_or_error(damaged)
            except Exception as error:
                error.add_note(f"{column} = {cell!r}")
                raise
            assert found or column != "point"
            assert "point" in found or column != "point"


def test_every_leaf_of_what_is_said_of_a_sweep(swept: Path, tmp_path: Path) -> None:
    table = tmp_path / "sweep.csv"
    shutil.copy(swept, table)
    record = {
        "num_points": 6,
        "identity": {"hardware": {"name": "edge_npu"}, "scenario": {"batch": {"size": 2}, "units": 2}},
        "provenance": {"ceesim": "1", "packages": {"numpy": "2"}, "files": [{"name": "toy.npz", "sha256": "0"}]},
    }
    for path in leaves(record):
        for value in WRONG:
            manifest_path(table).write_text(json.dumps(with_leaf(record, path, value)))
            assert sweep_page_or_error(table) == "", (path, value)
