"""What was set has one type in the whole table, however many parts it is read in, and whoever wrote it."""

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

import ceesim
from ceesim.explore.column_types import arrow_type, common_types, pandas_type
from ceesim.explore.experiment import METRICS
from ceesim.explore.frame import ROWS, SweepTable, read_sweep
from ceesim.explore.pareto import OBJECTIVES, findings
from ceesim.explore.table import manifest_path
from tests.explore.toys import experiment, trace

LANES: list[Any] = [8, 16, 32, "unlimited"]
PER_VALUE = 12_000
"""Rows: more than pandas itself types at once."""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose first knob takes numbers for thousands of rows, then a word; lanes set the latency."""
    path = tmp_path_factory.mktemp("mixed") / "sweep.csv"
    lanes = [value for value in LANES for _ in range(PER_VALUE)]
    table = pandas.DataFrame({"point": range(len(lanes)), "status": "ok", "vector.lanes": lanes})
    table["fast"] = table["point"] % 3
    table[list(METRICS)] = None
    table["dynamic.latency_s.mean"] = [float(4 - LANES.index(value)) for value in lanes]
    table["area_mm2"] = [1.0 + LANES.index(value) for value in lanes]
    table.assign(reason="").to_csv(path, index=False)
    return path


def with_manifest(path: Path, *steps: list[list[Any]]) -> None:
    parameters = [{"keys": ["key"], "steps": each} for each in steps]
    manifest_path(path).write_text(json.dumps({"identity": {"parameters": parameters}}))


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("rows", [ROWS, None])
def test_numbers_and_words_are_one_column_of_words(mixed: Path, rows: int | None, recorded: bool) -> None:
    manifest_path(mixed).unlink(missing_ok=True)
    if recorded:
        with_manifest(mixed, [[value] for value in LANES], [[0], [1], [2]])
    seen: dict[str, set[Any]] = {"vector.lanes": set(), "fast": set()}
    kinds = set()
    for part in SweepTable(mixed, OBJECTIVES, rows):
        for name, values in seen.items():
            values |= set(part[name])
        kinds.add(part["fast"].dtype.kind)
    assert seen == {"vector.lanes": {"8", "16", "32", "unlimited"}, "fast": {0, 1, 2}}
    assert kinds == {"i"}
    found = findings(SweepTable(mixed, OBJECTIVES, rows))
    assert set(found.front["vector.lanes"]) == {"8", "16", "32", "unlimited"}
    shares = {one.knob: one.first_order for one in found.influences["dynamic.latency_s.mean"]}
    assert shares == {"vector.lanes": pytest.approx(1), "fast": pytest.approx(0)}


def test_a_key_that_may_be_missing_has_one_type_in_every_part(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    table = pandas.DataFrame({"point": range(4), "status": "ok", "k": ["8", "16", "", "8"]})
    table[list(METRICS)] = None
    table.assign(reason="").to_csv(path, index=False)
    for recorded in (False, True):
        if recorded:
            with_manifest(path, [[8], [16], [None]])
        assert {str(part["k"].dtype) for part in SweepTable(path, OBJECTIVES, 1)} == {"float64"}
        assert read_sweep(path, OBJECTIVES)["k"].tolist()[:2] == [8, 16]


@pytest.mark.parametrize("parameters", [[], [{"keys": ["a"], "steps": [[1], [2, 3]]}], "none", {"keys": 1}])
def test_a_manifest_of_something_else_is_not_believed(mixed: Path, parameters: Any) -> None:
    manifest_path(mixed).write_text(json.dumps({"identity": {"parameters": parameters}}))
    assert read_sweep(mixed, OBJECTIVES)["vector.lanes"].nunique() == len(LANES)
    manifest_path(mixed).unlink()


@pytest.mark.parametrize(
    ("values", "arrow", "in_pandas"),
    [
        ([8, 16], "int64", "int64"),
        ([8, None], "int64", "float64"),
        ([8, 0.5], "float64", "float64"),
        ([8, 2**63], "float64", "float64"),
        ([True, False], "bool", "bool"),
        ([True, None], "bool", "str"),
        ([8, "unlimited"], "string", "str"),
        ([{"a": 1}], "string", "str"),
    ],
)
def test_what_a_knob_takes_is_its_type(values: list[Any], arrow: str, in_pandas: str) -> None:
    assert (arrow_type(values), pandas_type(values)) == (arrow, in_pandas)


def test_parts_agree_on_the_type_that_fits_all() -> None:
    parts = [pandas.DataFrame({"a": [1], "b": [1], "c": [True]}), pandas.DataFrame({"a": [2], "b": [0.5], "c": ["x"]})]
    assert common_types(parts) == {"a": "int64", "b": "float64", "c": "str"}


def test_the_python_function_types_knobs_likewise() -> None:
    table = ceesim.sweep(experiment().hardware, trace(), {"vector.lanes": [4, "unlimited"], "array.rows": [2]})
    assert table["vector.lanes"].tolist() == ["4", "unlimited"]
    assert table["array.rows"].tolist() == [2, 2]
