"""`ceesim run --scenario` as a user types it: short forms, files, options over them, and nothing but clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ceesim import cli
from ceesim.cli.run import command
from ceesim.exits.trace import save_trace
from tests.exits.toys import toy_trace
from tests.results.runs import POLICY

SCENARIO_FILES = {"scenario.json", "queue.csv", "arrivals.csv"}


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("trace") / "toy.npz"
    save_trace(toy_trace(num_inputs=200, policy=POLICY), path)
    return ["--hw", "edge_npu.yaml", "--trace", str(path), "--engine", "compiled"]


def invoke(arguments: list[str]) -> Result:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.exception
    return done


def test_the_page_says_who_came_who_waited_and_what_it_saved(main: list[str]) -> None:
    page = invoke([*main, "--scenario", "poisson:load=0.5", "--batch", "4", "--batch-mode", "compacted"]).stdout
    for part in ("poisson:load=0.5", "batches of 4 compacted", "arrived / served / dropped", "200 / 200 / 0", "waiting",
                 "queue length", "inputs per batch", "fewer MACs for an input alone"):  # fmt: skip
        assert part in page, part
    units = invoke([*main, "--units", "2"]).stdout
    assert "2 units (one DRAM)" in units


def test_files_come_and_go_with_the_scenario(main: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "rush.yaml").write_text(
        "name: rush\narrivals: {process: recorded, file: log.csv}\ndeadline: 1 ms\nqueue: 4\n"
    )
    (tmp_path / "log.csv").write_text("".join(f"{i * 1e-6:.6f}\n" for i in range(50)))
    arguments = [*main, "--scenario", str(tmp_path / "rush.yaml"), "--out", str(out), "--json"]
    printed = invoke(arguments).stdout
    names = {path.name for path in out.iterdir()}
    assert names > SCENARIO_FILES
    first = {name: (out / name).read_bytes() for name in names - {"manifest.json"}}
    assert printed == (out / "summary.json").read_text()
    assert json.loads(printed)["scenario"] == "rush"
    assert json.loads(printed)["num_inputs"] == 50
    manifest = json.loads((out / "manifest.json").read_text())
    assert "rush.yaml" in [file["name"] for file in manifest["files"]]
    assert str(tmp_path) not in json.dumps(manifest)
    assert manifest["seed"] == manifest["configuration"]["scenario"]["seed"] == 0
    assert manifest["configuration"]["scenario"]["arrivals"] == {"process": "recorded", "file": "log.csv"}
    invoke(arguments)
    assert first == {name: (out / name).read_bytes() for name in first}  # the same bytes
    invoke([*main, "--out", str(out)])
    assert {path.name for path in out.iterdir()} == names - SCENARIO_FILES


def test_options_go_over_the_file(main: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rush.yaml"
    path.write_text("arrivals: {process: poisson, load: 0.5}\nbatch: {size: 2, mode: masked}\n")
    run = json.loads(invoke([*main, "--scenario", str(path), "--batch", "4", "--json"]).stdout)
    assert run["batch"] == 4
    assert run["scenario"] == "poisson:load=0.5"
    plain = json.loads(invoke([*main, "--json"]).stdout)
    assert plain == json.loads(invoke([*main, "--scenario", "closed", "--batch", "1", "--json"]).stdout)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scenario", "rush"], "neither a scenario nor a file"),
        (["--scenario", "poisson:fast"], "not a rate"),
        (["--scenario", "poisson:1e9/s"], "faster than they can be served"),
        (["--scenario", "period:100 ns", "--units", "2"], "faster than they can be served"),
        (["--scenario", "recorded:missing.csv"], "the arrivals cannot be read"),
        (["--scenario", "closed", "--set", "array.rows=0"], "array.rows"),
        (["--scenario", "edge_npu.yaml"], ""),
    ],
)
def test_one_error_exit_code_1_nothing_written(
    main: list[str], options: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.exit_code(["run", *main, *options, "--out", str(tmp_path / "out")]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("error:") == 1
    assert said in err
    assert "Traceback" not in err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("options", [["--batch", "0"], ["--units", "0"], ["--batch", "1025"], ["--batch-mode", "lazy"]])
def test_what_the_usage_line_forbids_is_exit_code_2(main: list[str], options: list[str]) -> None:
    assert CliRunner().invoke(command, [*main, *options]).exit_code == 2
