"""A sweep under a scenario: every row is what a run says there, a design that cannot keep up is a row with a reason."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import ceesim
from ceesim import cli
from ceesim.explore.experiment import DROPPED, ENERGY_ENDS, SUMMARY_METRICS, Experiment
from ceesim.explore.frame import read_sweep
from ceesim.explore.pareto import findings
from ceesim.explore.pictures import said
from ceesim.explore.report import sweep_section
from ceesim.explore.sweep import identity
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import override
from ceesim.results.summary import summary
from ceesim.sim.run import run
from ceesim.sim.scenarios.load import load_scenario
from tests.explore.toys import experiment, files, space, trace

SPACE: dict[str, Any] = {"array.rows, array.cols": [2, 3, 4], "buffers.weight": ["256 B", "1 KiB"]}


@pytest.fixture(scope="module")
def rate() -> float:
    """Arrivals per second that the largest arrays serve with room to spare, and the smallest do not."""
    served = ceesim.sweep(experiment().hardware, trace(), SPACE)["static.throughput_per_s"]
    slow, fast = served.iloc[0], served.iloc[-1]
    dynamic = ceesim.sweep(experiment().hardware, trace(), SPACE)["dynamic.throughput_per_s"]
    assert dynamic.iloc[0] < fast
    return float(max(slow, dynamic.iloc[0]) * 1.05)


@pytest.fixture(scope="module")
def table(rate: float, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    hw, traced = files(folder)
    (folder / "busy.yaml").write_text(
        json.dumps({"arrivals": {"process": "poisson", "rate": rate}, "inputs": 300, "deadline": "1 us", "seed": 3})
    )
    words = ["sweep", "--hw", hw, "--trace", traced, "--scenario", str(folder / "busy.yaml"), "--workers", "1"]
    words += ["--set", "array.rows,array.cols=2,3,4", "--set", "buffers.weight=256 B,1 KiB"]
    assert cli.exit_code([*words, "--out", str(folder / "sweep.csv")]) == 3
    return folder / "sweep.csv"


def test_a_row_is_what_run_says_under_the_scenario(table: Path) -> None:
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    done = [row for row in rows if row["status"] == "ok"]
    assert 0 < len(done) < len(rows)
    for row in done:
        settings = {
            "array.rows": int(row["array.rows"]),
            "array.cols": int(row["array.cols"]),
            "buffers.weight": int(row["buffers.weight_bytes"]),
        }
        ran = run(experiment().hardware, trace(), overrides=settings, scenario=table.with_name("busy.yaml"))
        numbers: Any = summary(ran)
        assert numbers["dynamic"]["deadline_misses"] is not None
        for path in SUMMARY_METRICS:
            value = numbers
            for key in path.split("."):
                value = None if value is None else value[key]
            assert row[path] == ("" if value is None else str(value)), path
        assert row[DROPPED] == "0.0"
        low, high = (sum(float(row[name]) for name in end) for end in ENERGY_ENDS)
        assert low < float(row["dynamic.energy_pj.mean"]) < high
    for row in rows:
        assert ("inputs arrive faster than they can be served" in row["reason"]) == (row["status"] == "failed")


def test_python_gives_the_same_table_and_the_report_draws_it(table: Path) -> None:
    said = ceesim.sweep(experiment().hardware, trace(), SPACE, scenario=table.with_name("busy.yaml"))
    read = read_sweep(table)
    assert said["dynamic.latency_cycles.p99"].equals(read["dynamic.latency_cycles.p99"])
    assert findings([read]).rivals is not None
    section = sweep_section(table, "sweep1")
    assert dict(section.facts)["scenario"].startswith("poisson:")
    assert "of which failed, under poisson:" in section.sentence
    failed = next(part for part in section.parts if part.name == "failed").table
    assert len(failed.rows) == 1  # one reason, whatever the rates


def test_a_sweep_goes_on_only_under_its_own_scenario(
    table: Path, rate: float, capsys: pytest.CaptureFixture[str]
) -> None:
    hw, traced = files(table.parent)
    words = ["sweep", "--hw", hw, "--trace", traced, "--workers", "1", "--out", str(table), "--resume"]
    words += ["--set", "array.rows,array.cols=2,3,4", "--set", "buffers.weight=256 B,1 KiB"]
    before = table.read_bytes()
    assert cli.exit_code([*words, "--scenario", str(table.with_name("busy.yaml"))]) == 3
    assert cli.exit_code(words) == 1
    assert cli.exit_code([*words, "--scenario", f"poisson:{rate}/s"]) == 1
    assert "another sweep" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_the_energy_of_batches_is_that_of_their_members() -> None:
    row = ceesim.sweep(
        experiment().hardware, trace(), {"array.rows": [4]}, scenario=load_scenario("closed", {"batch": {"size": 4}})
    )
    low, high = (row[list(end)].to_numpy()[0] for end in ENERGY_ENDS)
    bands = energy_table(override(experiment().hardware, {"array.rows": 4})).bands
    assert (low / bands[0]).sum() == pytest.approx(row["dynamic.energy_pj.mean"][0])
    assert (high / bands[1]).sum() == pytest.approx(row["dynamic.energy_pj.mean"][0])


def test_dropped_inputs_count_against_a_design(tmp_path: Path, rate: float) -> None:
    (tmp_path / "full.yaml").write_text(json.dumps({"arrivals": {"process": "poisson", "rate": 2 * rate}, "queue": 1}))
    read = ceesim.sweep(experiment().hardware, trace(), SPACE, scenario=tmp_path / "full.yaml")
    assert (read["status"] == "ok").all()
    assert read[DROPPED].iloc[0] > read[DROPPED].iloc[-1] > 0
    assert DROPPED in findings([read]).objectives


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--scenario", "pipeline"], "a pipeline that divides itself"),
        (["--scenario", "recorded:nowhere.csv"], "the arrivals cannot be read"),
        (["--scenario", "late.yaml"], "every input is left out"),
        (["--scenario", "recorded:arrivals.csv", "--dask", "tcp://127.0.0.1:1"], "read where a point is played"),
    ],
)
def test_what_no_design_can_serve_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    hw, traced = files(tmp_path)
    Path("late.yaml").write_text(json.dumps({"warm_up": 1000}))
    Path("arrivals.csv").write_text("0\n1\n")
    assert (
        cli.exit_code(["sweep", "--hw", hw, "--trace", traced, "--set", "array.rows=2,4", "--out", "s.csv", *words])
        == 1
    )
    assert says in capsys.readouterr().err
    assert not Path("s.csv").exists()


def test_arrivals_are_known_by_what_their_file_holds(tmp_path: Path) -> None:
    def of(name: str, content: str) -> dict[str, Any]:
        (tmp_path / name).write_text(content)
        asked = load_scenario(f"recorded:{tmp_path / name}")
        return identity(Experiment(experiment().hardware, trace(), None, asked), space())

    assert of("a.csv", "0\n1\n") == of("b.csv", "0\n1\n") != of("a.csv", "0\n2\n")
    plain = identity(experiment(), space())
    assert "scenario" not in plain
    assert plain == identity(Experiment(experiment().hardware, trace(), None, load_scenario("closed")), space())


def test_another_price_list_is_another_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, found = identity(experiment(), space()), []
    for name in ("cacti", "another"):
        (tmp_path / name).write_text(name)
        monkeypatch.setenv("CEESIM_CACTI", str(tmp_path / name))
        found.append(identity(experiment(), space()))
    assert plain != found[0] != found[1] != plain


@pytest.mark.parametrize(
    ("value", "knob", "text"),
    [
        (12345, "array.rows", "12,345"),
        (62550, "dram.latency_ps", "62.55 ns"),
        (60000, "dram.latency_ps", "60 ns"),
        (600, "technology.voltage_mv", "600 mV"),
        (22, "technology.node_nm", "22 nm"),
        (350, "technology.temperature_k", "350 K"),
        (65536.0, "buffers.weight_bytes", "64 KiB"),
        (0.123456, "policy.beta.1", "0.1235"),
        (float("nan"), "policy.beta.1", "nan"),
        (None, "policy.beta.1", "–"),
        (True, "dram.duplex", "True"),
    ],
)
def test_settings_are_said_in_full(value: object, knob: str, text: str) -> None:
    assert said(value, knob) == text


def test_a_plain_scenario_is_no_scenario() -> None:
    closed = ceesim.sweep(experiment().hardware, trace(), SPACE, scenario="closed")
    assert closed.equals(ceesim.sweep(experiment().hardware, trace(), SPACE))
