"""A sweep gives the same table whoever evaluates it and however often it is stopped; a bad point is a row."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ceesim
from ceesim.cli import exit_code
from ceesim.cli.sweep_page import print_findings
from ceesim.errors import OutputError, WorkerError
from ceesim.explore import experiment as experiments
from ceesim.explore.experiment import METRICS, SUMMARY_METRICS, Experiment, Row
from ceesim.explore.frame import read_sweep
from ceesim.explore.notation import Written, design_space
from ceesim.explore.space import Point
from ceesim.explore.supplies import doubtful_supplies
from ceesim.explore.sweep import CHUNK
from ceesim.explore.workers import local_workers
from ceesim.hardware.load import load_hardware
from ceesim.mapping import plan
from ceesim.results.summary import summary
from ceesim.sim.run import run
from tests.explore.toys import POLICY, SPACE, experiment, files, space, trace

SETTINGS = [f"--set={key}={','.join(map(str, values))}" for key, values in SPACE.items()]


def sweep(directory: Path, out: str = "sweep.csv", *options: str, settings: list[str] = SETTINGS) -> int:
    hw, trace = files(directory)
    return exit_code(["sweep", "--hw", hw, "--trace", trace, "--out", str(directory / out), *settings, *options])


def records(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the toy sweep, by this process alone."""
    directory = tmp_path_factory.mktemp("finished")
    assert sweep(directory, "sweep.csv", "--workers", "1") == 3
    return directory / "sweep.csv"


def test_every_point_has_a_row_in_order(finished: Path) -> None:
    rows = records(finished)
    assert [int(row["point"]) for row in rows] == list(range(36))
    keys = [("array.rows", "array.cols", "buffers.weight_bytes", "control.lookahead")] * 36
    points = [tuple(str(value) for value in point.values()) for point in space().points()]
    assert [tuple(row[name] for name in names) for row, names in zip(rows, keys, strict=True)] == points


def test_a_point_that_cannot_be_is_a_row_with_its_reason(finished: Path) -> None:
    rows = records(finished)
    failed = [row for row in rows if row["status"] == "failed"]
    assert {(row["array.rows"], row["array.cols"], row["buffers.weight_bytes"]) for row in failed} == {("4", "4", "48")}
    for row in rows:
        assert ("buffer" in row["reason"]) == (row in failed)
        assert (row["dynamic.latency_cycles.mean"] == "") == (row in failed)


def test_a_row_is_what_run_says(finished: Path) -> None:
    rows = [row for row in records(finished) if row["status"] == "ok"]
    for row in rows[::7]:
        settings = {
            "array.rows": int(row["array.rows"]),
            "array.cols": int(row["array.cols"]),
            "buffers.weight": int(row["buffers.weight_bytes"]),
            "control.lookahead": row["control.lookahead"],
        }
        numbers: Any = summary(run(experiment().hardware, trace(), overrides=settings, engine="simpy"))
        for path in SUMMARY_METRICS:
            value = numbers
            for key in path.split("."):
                value = None if value is None else value[key]
            assert row[path] == ("" if value is None else str(value)), path
        assert [float(row[f"exit_rate.{i}"]) for i in (1, 2, 3, 4)] == numbers["exit_rate"]


def test_every_metric_is_in_the_summary_and_every_number_of_the_summary_is_a_metric() -> None:
    def paths(record: dict[str, Any], prefix: str = "") -> set[str]:
        below = [paths(value, f"{prefix}{key}.") for key, value in record.items() if isinstance(value, dict)]
        return {f"{prefix}{key}" for key, value in record.items() if not isinstance(value, dict)}.union(*below)

    numbers = summary(run(experiment().hardware, trace(), engine="compiled"), intervals=False)
    compared = {key: numbers[key] for key in ("accuracy", "dynamic", "static", "reduction")}
    assert {path for path in paths(compared) if not path.startswith("static.wasted")} - set(SUMMARY_METRICS) <= {
        "reduction.ci95", "static.energy_pj.by_component.wasted"
    }  # fmt: skip
    assert set(SUMMARY_METRICS) - {"area_mm2"} <= paths(compared)


def test_two_workers_write_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    assert sweep(tmp_path, "sweep.csv", "--workers", "2") == 3
    assert (tmp_path / "sweep.csv").read_bytes() == finished.read_bytes()


@pytest.mark.slow
def test_four_workers_write_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    settings = [*SETTINGS, "--set=control.decision_cycles=7,70"]
    for workers in ("1", "4"):
        (tmp_path / workers).mkdir()
        assert sweep(tmp_path / workers, "sweep.csv", "--workers", workers, settings=settings) == 3
    assert (tmp_path / "1" / "sweep.csv").read_bytes() == (tmp_path / "4" / "sweep.csv").read_bytes()


def test_an_interrupted_sweep_keeps_its_rows_and_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Experiment.row

    def interrupted(self: Experiment, index: int, point: Point) -> Row:
        if index == CHUNK + 2:
            raise KeyboardInterrupt
        return row(self, index, point)

    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "row", interrupted)
        patch.setattr("ceesim.explore.sweep.seconds_per_point", lambda *_: 0.01)
        assert sweep(tmp_path, "sweep.csv", "--workers", "1") == 130
    assert f"{CHUNK} of 36 rows are in" in capsys.readouterr().err
    assert finished.read_bytes().startswith((tmp_path / "sweep.csv").read_bytes())
    assert sweep(tmp_path, "sweep.csv", "--workers", "1", "--resume") == 3
    assert "36 points, 24 of them done" in capsys.readouterr().err
    assert (tmp_path / "sweep.csv").read_bytes() == finished.read_bytes()
    assert sweep(tmp_path, "sweep.csv", "--workers", "1", "--resume") == 3
    assert (tmp_path / "sweep.csv").read_bytes() == finished.read_bytes()
    last = finished.read_bytes().splitlines(keepends=True)[-1]
    (tmp_path / "sweep.csv").write_bytes(finished.read_bytes() + last.replace(b"35,", b"36,", 1))
    assert sweep(tmp_path, "sweep.csv", "--workers", "1", "--resume") == 1
    assert "is damaged (got 37 rows; expected 36 at most)" in capsys.readouterr().err


def test_a_table_of_another_sweep_is_not_touched(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "sweep.csv", settings=["--set=array.rows=2,4"]) == 0
    before = (tmp_path / "sweep.csv").read_bytes()
    capsys.readouterr()
    assert sweep(tmp_path, "sweep.csv") == 1
    assert sweep(tmp_path, "sweep.csv", "--resume") == 1
    said = capsys.readouterr().err
    assert "exists already" in said
    assert "holds the results of another sweep (got another parameters)" in said
    assert (tmp_path / "sweep.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "sweep.txt"], "not a table"),
        (["--workers", "2", "--dask", "tcp://here:1"], "drop one of the two"),
        (["--set", "array.rowz=3"], "did you mean rows?"),
        (["--space", "nowhere.yaml"], "nowhere.yaml: the file cannot be read"),
        (["--policy", "nowhere.json"], "nowhere.json: no such file"),
        (["--set", "policy.beta.9=0.5"], "no such exit"),
    ],
)
def test_what_is_wrong_is_said_once(
    tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "sweep.csv", *options) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("error: ") == 1
    assert said in err
    assert not list(tmp_path.glob("sweep*"))


def test_the_page_names_failures_front_and_influences(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = finished.parent
    assert sweep(directory, "sweep.csv", "--resume") == 3
    out = capsys.readouterr().out
    table = read_sweep(finished)
    assert f"{(table['status'] == 'failed').sum()} points failed:" in out
    assert "3 points (first point " in out
    assert "Designs that no other beats in dynamic.latency_s.mean" in out
    assert "What moves dynamic.latency_s.mean" in out
    assert sweep(directory, "sweep.csv", "--resume", "--json") == 3
    found = json.loads(capsys.readouterr().out)
    assert found["num_points"] == 36
    fastest = table["dynamic.latency_s.mean"].min()
    assert min(design["dynamic.latency_s.mean"] for design in found["front"]) == fastest
    assert found["knee"] in [design["point"] for design in found["front"]]


def test_options_replace_linked_keys_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space_file = tmp_path / "space.yaml"
    space_file.write_text("parameters:\n  array.rows, array.cols: [2, 4]\n")
    settings = ["--set", "array.rows,array.cols=2", "--workers", "1"]
    assert sweep(tmp_path, "sweep.csv", "--space", str(space_file), settings=settings) == 0
    assert [(row["array.rows"], row["array.cols"]) for row in records(tmp_path / "sweep.csv")] == [("2", "2")]
    assert "1 point; about" in capsys.readouterr().err
    assert sweep(tmp_path, "other.csv", "--space", str(space_file), settings=["--set", "array.rows=2"]) == 1
    assert "replaced in part only" in capsys.readouterr().err


def counting(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> Callable[[], int]:
    """How often the function `name` of `module` has been called from now on."""
    calls = 0
    original = getattr(module, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, counted)
    return lambda: calls


def test_only_what_a_knob_changes_is_worked_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = experiment()
    setup.row(0, {"array.rows": 4})
    mapped = counting(monkeypatch, plan, "choose")
    replayed = counting(monkeypatch, experiments, "policy_with")
    for point in space(
        {"control.lookahead": ["stall", "speculate"], "technology.temperature": ["300 K", "350 K"]}
    ).points():
        assert setup.row(0, {"array.rows": 4} | point)[1] == "ok"
    for point in space({"policy.beta": "0:1:0.1"}).points():
        assert setup.row(0, {"array.rows": 4} | point)[1] == "ok"
    assert mapped() == 0
    assert replayed() == 11
    assert setup.row(0, {"array.rows": 4, "clock": 250_000_000})[1] == "ok"
    assert mapped() > 0


def test_a_threshold_moves_exits_and_a_dropped_exit_loses_its_head() -> None:
    setup = experiment()
    names = [*METRICS, *(f"exit_rate.{i}" for i in (1, 2, 3, 4))]

    def measured(point: Point) -> dict[str, Any]:
        return dict(zip(names, setup.metrics(point), strict=True))

    kept, dropped = measured({"policy.beta.1": 0.9}), measured({"policy.beta.1": None})
    assert kept["exit_rate.1"] > measured({})["exit_rate.1"]
    assert dropped["exit_rate.1"] == 0
    everybody = measured({"policy.beta": 0.0})
    assert everybody["exit_rate.4"] == 1
    assert measured({"policy.beta": None})["dynamic.latency_cycles.mean"] == everybody["static.latency_cycles.mean"]


def test_the_python_function_gives_the_same_table(finished: Path, tmp_path: Path) -> None:
    files(tmp_path)
    table = ceesim.sweep(load_hardware(tmp_path / "tiny.yaml"), tmp_path / "tiny.npz", SPACE)
    assert table.equals(read_sweep(finished))


def test_parquet_says_what_csv_says(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert sweep(tmp_path, "sweep.parquet", "--workers", "1") == 3
    read, expected = read_sweep(tmp_path / "sweep.parquet"), read_sweep(finished)
    for name in expected.columns:
        same = expected[name].isna() & read[name].isna() | (read[name] == expected[name])
        assert same.all(), name


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def test_a_dead_worker_is_said() -> None:
    setup = Experiment(Deadly(), trace())  # type: ignore[arg-type]
    with pytest.raises(WorkerError, match="a worker process died"), local_workers(setup, 2) as crew:
        list(crew.evaluate([((0, {}),)]))


def test_a_row_that_was_cut_off_is_no_design(tmp_path: Path) -> None:
    """Its energy ended after three digits: it would be the best of all."""
    hw, traced = files(tmp_path)
    out = tmp_path / "sweep.csv"
    words = ["sweep", "--hw", hw, "--trace", traced, "--set", "array.rows=2,4", "--out", str(out)]
    assert exit_code(words) == 0
    content = out.read_bytes()
    lines = content.splitlines()
    column = lines[0].split(b",").index(b"dynamic.energy_pj.mean")
    cells = lines[-1].split(b",")
    torn = b"\n".join([*lines[:-1], b",".join([*cells[:column], cells[column][:3]])])
    out.write_bytes(torn)
    with pytest.raises(OutputError, match="ends in the middle of a row"):
        read_sweep(out)
    assert exit_code([*words, "--resume"]) == 0
    assert out.read_bytes() == content
    out.write_bytes(content.rstrip(b"\n"))  # as some editors leave it
    assert len(read_sweep(out)) == 2
    assert read_sweep(out, ["accuracy.dynamic"])["accuracy.dynamic"].notna().all()  # nothing else is asked for
    for cell, said in ((b"n/a", "are no numbers"), (b"inf", "are out of range"), (b"-1", "are out of range")):
        out.write_bytes(b"\n".join([*lines[:-1], b",".join([*cells[:column], cell, *cells[column + 1 :]]), b""]))
        with pytest.raises(OutputError, match=said):
            read_sweep(out)
    out.write_bytes(b"\n".join([*lines[:-1], b",".join(cells[:-3]), b""]))
    assert exit_code([*words, "--resume"]) == 1


def test_supplies_that_may_not_sustain_the_clock_are_counted() -> None:
    hardware = load_hardware("edge_npu.yaml")
    free = {"technology.voltage": ["0.5 V", "0.6 V"], "clock": ["250 MHz", "500 MHz", "600 MHz"]}
    doubts = doubtful_supplies(design_space(Written(free), hardware, POLICY))
    assert [doubt.split(":")[0] for doubt in doubts] == ["500 MHz at 0.5 V", "600 MHz at 0.5 V"]
    linked = {"technology.voltage, clock": [["0.5 V", "350 MHz"], ["0.6 V", "500 MHz"]]}
    assert doubtful_supplies(design_space(Written(linked), hardware, POLICY)) == []
    assert doubtful_supplies(design_space(Written({"clock": ["1 GHz"]}), hardware, POLICY)) == []


def test_shares_of_a_table_with_holes_are_called_estimates(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_findings(finished, as_json=False)
    assert "in all; estimates, " in capsys.readouterr().out
