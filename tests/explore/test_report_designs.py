"""A page about chosen designs: their table, what it says of them, and tables that no optimiser wrote."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pandas
import pytest

from ceesim import cli
from ceesim.errors import OutputError
from ceesim.exits.trace import save_trace
from ceesim.explore.optimize import Design, Task, design_rows, measured, on_test
from ceesim.explore.pareto import OBJECTIVES
from ceesim.explore.report_designs import designs_section, is_designs
from ceesim.results.report.page import render
from tests.explore.toys import POLICY, experiment, files, space, trace

SPACE: dict[str, Any] = {"array.rows": [2, 4, 8], "buffers.weight": ["256 B", "1 KiB"]}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The designs of a space on the tiny network, as a table of ``ceesim optimize``."""
    asked = Task(experiment(), space(SPACE))
    designs = [Design(point, POLICY, measured(experiment(), point, POLICY)) for point in asked.space.points()]
    rows = design_rows(designs, asked, on_test(designs, asked, trace(80, seed=3)))
    path = tmp_path / "designs.csv"
    pandas.DataFrame(rows).to_csv(path, index=False)
    return path


def test_a_page_shows_every_design_on_test_data(table: Path) -> None:
    assert is_designs(table)
    rows = pandas.read_csv(table)
    section = designs_section(table, "designs1")
    assert [part.name for part in section.parts] == ["front-1", "front-2", "designs", "parallel"]
    assert section.sentence.startswith("6 designs that no other beats on validation data, shown on test data")
    assert dict(section.facts)["knobs"] == "array.rows, buffers.weight_bytes"
    shown = next(part for part in section.parts if part.name == "designs").table
    columns = {name: [row[i] for row in shown.rows] for i, name in enumerate(shown.columns)}
    assert columns["design"] == [1, 2, 3, 4, 5, 6]
    assert columns["mean latency (ms)"] == (rows["test.dynamic.latency_s.mean"] * 1e3).tolist()
    assert columns["accuracy (%), validation"] == (rows["validation.accuracy.dynamic"] * 100).tolist()
    assert columns["less latency (%)"] == (rows["test.reduction.latency"] * 100).tolist()
    assert columns["accuracy without exits (%)"] == (rows["test.accuracy.static"] * 100).tolist()
    assert set(columns["policy"]) == {"exclude 0.6,0.5,0.4"}
    unbeaten = [
        not any(
            all(rows[f"test.{name}"][j] <= rows[f"test.{name}"][i] for name in OBJECTIVES[:3])
            and any(rows[f"test.{name}"][j] < rows[f"test.{name}"][i] for name in OBJECTIVES[:3])
            for j in range(6)
        )
        for i in range(6)
    ]
    assert [word == "yes" for word in columns["beaten by none on test"]] == unbeaten
    lost = (rows["validation.accuracy.dynamic"] - rows["test.accuracy.dynamic"]).mean()
    assert f"{abs(100 * lost):.2f} points {'lower' if lost >= 0 else 'higher'}" in section.sentence
    assert render([section], "page")


def test_one_design_is_a_page_as_well(table: Path) -> None:
    pandas.read_csv(table).iloc[:1].to_csv(table, index=False)
    section = designs_section(table, "designs1")
    assert [part.name for part in section.parts] == ["designs"]
    assert render([section], "page")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows.iloc[:0], "holds no designs"),
        (
            lambda rows: rows.assign(**{"test.area_mm2": "big"}),
            "cells of test.area_mm2 are no numbers, or out of range",
        ),
        (lambda rows: rows.assign(**{"test.area_mm2": -1.0}), "cells of test.area_mm2 are no numbers, or out of range"),
        (
            lambda rows: rows.assign(**{"validation.area_mm2": None}),
            "cells of validation.area_mm2 are no numbers, or out of range",
        ),
        (
            lambda rows: rows.assign(**{"test.reduction.energy": "less"}),
            "cells of test.reduction.energy are no numbers, or out of range",
        ),
    ],
)
def test_a_damaged_table_is_refused(table: Path, change: Any, says: str) -> None:
    change(pandas.read_csv(table)).to_csv(table, index=False)
    with pytest.raises(OutputError, match=re.escape(says)):
        designs_section(table, "designs1")


def test_a_table_that_does_not_compare_with_the_network_without_exits_is_shown(table: Path) -> None:
    rows = pandas.read_csv(table)
    rows[[name for name in rows if "reduction" not in name and "static" not in name]].to_csv(table, index=False)
    shown = next(part for part in designs_section(table, "designs1").parts if part.name == "designs").table
    assert "less latency (%)" not in shown.columns


def test_a_policy_that_cannot_be_read_is_shown_as_it_stands(table: Path) -> None:
    pandas.read_csv(table).assign(policy="mine <b>").to_csv(table, index=False)
    shown = next(part for part in designs_section(table, "designs1").parts if part.name == "designs").table
    assert {row[-1] for row in shown.rows} == {"mine <b>"}
    assert "mine <b>" not in render([designs_section(table, "designs1")], "page")


def test_what_optimize_wrote_report_draws(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    hw, test = files(tmp_path)
    save_trace(trace(80, seed=7, split="val"), tmp_path / "val.npz")
    out, page = tmp_path / "best.csv", tmp_path / "page.html"
    words = ["optimize", "--hw", hw, "--trace", str(tmp_path / "val.npz"), "--test", test, "--trials", "6"]
    words += ["--set", "buffers.weight=256 B,1 KiB", "--set", "array.rows=2,4,8", "--out", str(out)]
    assert cli.exit_code(words) == 0
    with out.open(newline="") as file:
        columns = next(csv.reader(file))
    assert columns[:3] == ["buffers.weight_bytes", "array.rows", "policy"]
    facts = dict(designs_section(out, "designs1").facts)
    assert facts["hardware"] == experiment().hardware.name
    assert {"val.npz", "tiny.npz", "tiny.yaml"} <= set(facts)
    assert cli.exit_code(["report", str(out), "--out", str(page)]) == 0
    assert "Designs best.csv" in page.read_text(encoding="utf-8")
    assert not is_designs(tmp_path / "nowhere.csv")
    assert not is_designs(page)
