"""`ceesim run` as a user types it: the page, the files, JSON for machines, one clear error for what cannot be done."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ceesim.cli import exit_code
from ceesim.cli.run import command
from ceesim.errors import CeesimError, OptionError, OutputError
from ceesim.exits.exclusion import Exclude
from ceesim.exits.policy_file import PolicyFile, write_policy
from ceesim.hardware.energy.cacti import EXECUTABLE
from ceesim.shipped import Shelf, find

MAIN = ["--hw", "edge_npu.yaml", "--trace", "vgg_w025_c10.npz", "--engine", "compiled"]


def test_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, MAIN)
    assert done.exit_code == 0
    page = done.stdout
    assert page.splitlines()[0] == "vggsmall at width 0.25 on edge_npu"
    for part in ("accuracy", "Exits", "Layers", "Dynamic against static", "Energy by component", "worst case"):
        assert part in page
    assert "fewer MACs became" in page
    assert "note: the exits were decided in float32" in done.stderr
    assert not any(tmp_path.iterdir())


def test_tiles_are_shown_on_request() -> None:
    assert "outer loop" not in CliRunner().invoke(command, MAIN).stdout
    lines = CliRunner().invoke(command, [*MAIN, "--tiles"]).stdout.splitlines()
    header = next(i for i, line in enumerate(lines) if "outer loop" in line)
    shown = dict(line.split(maxsplit=1) for line in lines[header + 2 :] if line.startswith((" features", " heads")))
    assert len(shown) == 12  # six convolutions, six heads
    groups, rows, width, k, n, *_ = shown["features.conv1"].split()
    assert (int(groups), int(k)) == (1, 27)
    assert 1 <= int(rows) <= 32
    assert int(width) == 32
    assert int(n) % 16 == 0


def test_json_is_the_summary_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [*MAIN, "--json", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert done.stdout == (tmp_path / "out" / "summary.json").read_text()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["engine"] == "compiled"
    assert [file["name"] for file in manifest["files"]] == ["edge_npu.yaml", "vgg_w025_c10.npz"]
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_cacti_that_may_have_priced_buffers_is_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "cacti"
    program.write_bytes(b"never asked: every buffer of edge_npu is on the grid")
    monkeypatch.setenv(EXECUTABLE, str(program))
    assert CliRunner().invoke(command, [*MAIN, "--out", str(tmp_path / "out")]).exit_code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    recorded = {file["name"]: file["sha256"] for file in manifest["files"]}
    assert recorded["cacti"] == hashlib.sha256(program.read_bytes()).hexdigest()


def test_overrides_and_policies_change_what_is_run() -> None:
    plain = json.loads(CliRunner().invoke(command, [*MAIN, "--json"]).stdout)
    wider = json.loads(CliRunner().invoke(command, [*MAIN, "--json", "--set", "array.rows=32"]).stdout)
    fixed = json.loads(CliRunner().invoke(command, [*MAIN, "--json", "--policy", "fixed", "--threshold", "2"]).stdout)
    assert wider["static"]["latency_cycles"]["mean"] < plain["static"]["latency_cycles"]["mean"]
    assert fixed["exit_rate"] == [0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("dropped", ["-", "null"])
def test_thresholds_are_given_exit_by_exit_or_written_by_hand(dropped: str, tmp_path: Path) -> None:
    by_option = [*MAIN, "--json", "--policy", "confidence", "--threshold", f"0.9,{dropped},0.8,0.8,0.7,0.7"]
    (tmp_path / "mine.json").write_text(
        json.dumps({"policy": {"name": "confidence", "threshold": [0.9, None, 0.8, 0.8, 0.7, 0.7]}})
    )
    by_file = [*MAIN, "--json", "--policy", str(tmp_path / "mine.json")]
    found, same = (json.loads(CliRunner().invoke(command, words).stdout) for words in (by_option, by_file))
    assert found == same
    assert found["exit_rate"][1] == 0 < found["exit_rate"][4]


def test_a_supply_that_may_not_sustain_the_clock_is_noted() -> None:
    lower = CliRunner().invoke(command, [*MAIN, "--set", "technology.voltage=0.5 V"])
    assert "note: 500 MHz at 0.5 V: if 500 MHz is the limit at 0.6 V, 350.9 MHz is the limit there" in lower.output
    both = CliRunner().invoke(command, [*MAIN, "--set", "technology.voltage=0.5 V", "--set", "clock=350 MHz"])
    assert "is the limit there" not in both.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "array.rows=0"], "array.rows"),
        (["--set", "residency=auto"], "--rates"),
        (["--set", "residency=auto", "--rates", "vgg_w025_c10.npz"], "the very inputs that are measured"),
        (["--policy", "exclude"], "takes --beta"),
        (["--policy", "external"], "external decisions cannot be replayed"),
        (["--policy", "exclude", "--beta", "0.5,0.5"], "another number of exits"),
        (["--policy", "exclude", "--beta", "much"], "not a list of numbers"),
        (["--policy", "fixed", "--threshold", "1.5"], "whole number"),
        (["--policy", "patience", "--threshold", "inf"], "whole number"),
        (["--policy", "patience", "--threshold", "nan"], "whole number"),
        (["--policy", "fixed", "--threshold", "1,2"], "whole number"),
        (["--policy", "margin", "--threshold", "a,b"], "a number for each exit, or one for all"),
        (["--policy", "margin", "--threshold", "0.5,0.5"], "another number of exits"),
        (["--policy", "nonsense"], "no such policy"),
        (["--policy", "missing.json"], "no such file"),
        (["--beta", "0.5"], "belong to a policy"),
        (["--set", "buffers.activation=64 B", "--set", "dma.beat=4"], "fits the buffers under no tiling"),
    ],
)
def test_one_error_and_nothing_written(options: list[str], message: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [*MAIN, *options, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, CeesimError)
    assert message in str(done.exception)
    assert not any(tmp_path.iterdir())


def test_a_policy_of_another_network_is_noted(tmp_path: Path) -> None:
    found = {"network": "vggsmall", "width": 0.25, "heads": "exclusion", "alpha": 36.0}
    for change, named in (({}, None), ({"width": 0.5}, "width 0.5, not for width 0.25"), ({"alpha": 1.0}, "alpha 1.0")):
        write_policy(PolicyFile(Exclude((0.5,) * 6), found | change), tmp_path / "policy.json", 6)
        done = CliRunner().invoke(command, [*MAIN, "--json", "--policy", str(tmp_path / "policy.json")])
        assert done.exit_code == 0
        assert ("was found for" in done.stderr) is (named is not None)
        assert (named or "") in done.stderr


def test_what_a_run_reads_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(CliRunner().invoke(command, [*MAIN, "--out", ""]).exception, OptionError)
    recording = Path("arrivals.csv")
    recording.write_text("".join(f"{number / 1000}\n" for number in range(50)))
    options = ["--scenario", "recorded:arrivals.csv", "--json"]
    done = CliRunner().invoke(command, [*MAIN, *options, "--out", "."])
    assert isinstance(done.exception, OutputError)
    assert [path.name for path in tmp_path.iterdir()] == ["arrivals.csv"]
    assert CliRunner().invoke(command, [*MAIN, *options, "--out", "out"]).exit_code == 0
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert "arrivals.csv" in [file["name"] for file in manifest["files"]]
    again = CliRunner().invoke(command, [*MAIN, "--scenario", "recorded:out/arrivals.csv", "--out", "out"])
    assert isinstance(again.exception, OutputError)
    assert "reads this file" in str(again.exception)


@pytest.mark.parametrize(
    ("option", "value"), [("--hw", "missing.yaml"), ("--trace", "missing.npz"), ("--trace", "edge_npu.yaml")]
)
def test_files_that_are_not_there(option: str, value: str) -> None:
    arguments = [value if i and MAIN[i - 1] == option else argument for i, argument in enumerate(MAIN)]
    assert isinstance(CliRunner().invoke(command, arguments).exception, CeesimError)


@pytest.mark.parametrize("buffered", ["", "1"])
def test_whoever_stops_reading_is_no_error(buffered: str) -> None:
    """`| head -1`, noticed at the end or in the middle, where click answers by leaving with 1."""
    program = f"from ceesim.cli import main; main({['run', *MAIN]!r})"
    environment = os.environ | {"PYTHONUNBUFFERED": buffered}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as done:
        assert done.stdout is not None
        done.stdout.close()
        _, err = done.communicate(timeout=120)
    assert done.returncode == 0, err


def test_a_terminal_without_our_letters_is_no_error() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    program = f"from ceesim.cli import main; main({['run', *MAIN]!r})"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_timeline_does_not_take_the_place_of_its_trace(tmp_path: Path) -> None:
    mine = tmp_path / "mine.npz"
    mine.write_bytes(find("vgg_w025_c10", Shelf.TRACES).read_bytes())
    before = mine.read_bytes()
    assert exit_code(["timeline", "--hw", "edge_npu.yaml", "--trace", str(mine), "--out", str(mine)]) == 1
    assert mine.read_bytes() == before
