"""`ceesim inspect` shows a hardware to people and to machines."""

import json
from pathlib import Path

import pytest

from ceesim import cli
from ceesim.hardware.load import load_hardware
from ceesim.shipped import Shelf


def test_people_see_sections_and_derived_numbers(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["inspect", "edge_npu.yaml"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    for text in ("edge_npu", "500 MHz", "128 KiB", "peak_macs_per_s", "128 GMACs/s", "20 MACs/B"):
        assert text in out


def test_machines_get_the_canonical_form(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["inspect", "edge_npu.yaml", "--set", "array.rows=32", "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["hardware"] == load_hardware("edge_npu.yaml", ["array.rows=32"]).to_yaml_dict()
    assert shown["derived"]["num_pes"] == 512


def test_a_trace_shows_its_exits(capfd: pytest.CaptureFixture[str]) -> None:
    path = Shelf.TRACES.files()[0]
    assert cli.exit_code(["inspect", path.name, "--json"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert content["kind"] == "trace"
    assert cli.exit_code(["inspect", path.name]) == 0
    lines = capfd.readouterr().out.splitlines()
    by_exit = {line.split()[0]: line.split() for line in lines if line[:1].isdigit() or line.startswith("end ")}
    assert len(by_exit) == content["num_exits"] + 1
    for name, macs in zip(by_exit, content["path_macs"], strict=True):
        assert by_exit[name][1] == f"{macs:,}"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nothing.yaml"], "nothing.yaml: no such file"),
        (["edge_npu.yaml", "--set", "array.rows=0"], "--set array.rows=0: array.rows: too small"),
        (["nothing.npz"], "nothing.npz: no such file"),
        (["nothing.npz", "--set", "array.rows=8"], "--set overrides a hardware"),
        (["picture.png"], "picture.png: no such kind of file"),
    ],
)
def test_a_wrong_file_is_an_error(args: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["inspect", *args]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err


def test_a_scenario_is_told_apart_from_a_broken_hardware(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rush.yaml").write_text("arrivals: {process: poisson, load: 0.6}\norder: shuffled\n")
    (tmp_path / "broken.yaml").write_text("array: {rows: 4}\n")
    assert cli.exit_code(["inspect", str(tmp_path / "rush.yaml")]) != 0
    assert "a scenario, not a hardware\n  fix: ceesim run --scenario FILE plays it" in capsys.readouterr().err
    assert cli.exit_code(["inspect", str(tmp_path / "broken.yaml")]) != 0
    assert "a scenario, not" not in capsys.readouterr().err
