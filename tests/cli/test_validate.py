"""``ceesim validate``: tables, JSON and files; a difference between exact counts is an error."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import flop_registry

import ceesim
from ceesim.cli import exit_code
from ceesim.errors import OutputError
from ceesim.exits.exclusion import Exclude
from ceesim.exits.trace import ExitTrace, load_trace, save_trace
from ceesim.frontend.measure.folder import write_files

VGG = ["vggsmall", "--width", "0.25"]


def said(args: list[str], capfd: pytest.CaptureFixture[str], code: int = 0) -> tuple[str, str]:
    assert exit_code(["validate", *args]) == code
    out, err = capfd.readouterr()
    return out, err


def test_flops(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = said(["flops", *VGG, "--out", str(tmp_path / "rows.csv")], capfd)
    assert out.startswith("vggsmall at width 0.25 on cpu: operations of one input")
    assert "total: 78,460,672 here, 78,460,672 by FlopCounterMode" in out
    with (tmp_path / "rows.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 15
    assert sum(int(row["operations"]) for row in rows) == 78_460_672
    assert all(row["operations"] == row["flop_counter"] == row["profiler"] for row in rows)
    manifest = json.loads((tmp_path / "rows.csv.manifest.json").read_text())
    assert (manifest["network"], manifest["width"], manifest["machine"]["device"]) == ("vggsmall", 0.25, "cpu")
    assert manifest["machine"]["name"]
    assert manifest["provenance"]["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert manifest["provenance"]["ceesim"] == ceesim.__version__


def test_a_difference_is_an_error(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(flop_registry, torch.ops.aten.addmm, lambda *_, **__: 1)
    out, err = said(["flops", *VGG, "--json"], capfd, code=1)
    content = json.loads(out)
    assert content["operations"] == 78_460_672
    assert (content["network"], content["width"], content["device"]) == ("vggsmall", 0.25, "cpu")
    assert "error: vggsmall: counts differ:\n- heads.0.linear: 640 here, 1 by PyTorch" in err


@pytest.fixture
def one_thread() -> object:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_latency(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    args = ["--batch", "1", "--samples", "3", "--clock", "thread", "--hw", "edge_npu.yaml", "--out", str(tmp_path)]
    out, err = said(["latency", *VGG, "--trace", "vgg_w025_c10.npz", "--json", *args], capfd)
    content = json.loads(out)
    assert "samples.csv" in err
    (batch,) = content["batches"]
    assert [row["exit_index"] for row in batch["exits"]] == [1, 2, 3, 4, 5, 6, 7]
    assert batch["exits"][-1]["share"] == 1
    assert set(batch["scores"]) == {"macs", "std", "edge_npu"} == set(batch["exits"][0]["predicted_share"])
    assert sum(content["exit_rates"]) == pytest.approx(1)
    assert set(batch["reduction"]) == {"truncated", "loop", "predicted"}
    score = batch["scores"]["macs"]
    said_of_macs = f"macs: rank correlation {score['rank_correlation']:.3f}, MAPE {score['mape_percent']:.1f}%"
    assert said_of_macs in (tmp_path / "batch1.svg").read_text()
    assert "clock_mhz" in content["machine"]
    assert {path.name for path in tmp_path.iterdir()} == {"samples.csv", "exits.csv", "validation.json", "batch1.svg"}
    with (tmp_path / "samples.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 7 * 2 * 3


@pytest.mark.usefixtures("one_thread")
def test_a_policy_that_keeps_no_exit_saves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = str(tmp_path / "whole.npz")
    assert exit_code(["capture", "vgg_w025_c10.npz", "--policy", "never", "--out", whole]) == 0
    capfd.readouterr()
    args = ["--batch", "1,2", "--samples", "2", "--clock", "thread", "--hw", "edge_npu.yaml", "--trace", whole]
    out, _ = said(["latency", *VGG, "--json", *args], capfd)
    content = json.loads(out)
    assert content["policy"] == {"name": "never"}
    assert content["exit_rates"] == [1]
    for batch in content["batches"]:
        assert [row["exit_index"] for row in batch["exits"]] == [7]
        saved = batch["reduction"]
        assert (saved["truncated"], saved["loop"], set(saved["predicted"].values())) == (0, 0, {0})


@pytest.mark.usefixtures("one_thread")
def test_only_kept_exits_are_measured(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    policy = Exclude((None, None, 0.5, None, 0.9, None))
    save_trace(load_trace("vgg_w025_c10.npz").under(policy), tmp_path / "few.npz")
    args = ["--batch", "1", "--samples", "2", "--clock", "thread", "--hw", "edge_npu.yaml"]
    args += ["--trace", str(tmp_path / "few.npz"), "--out", str(tmp_path / "out"), "--json"]
    content = json.loads(said(["latency", *VGG, *args], capfd)[0])
    assert [row["exit_index"] for row in content["batches"][0]["exits"]] == [3, 5, 7]
    assert len(content["exit_rates"]) == 3
    assert content["policy"]["beta"] == [None, None, 0.5, None, 0.9, None]
    expected = load_trace(tmp_path / "few.npz")
    assert content["batches"][0]["reduction"]["predicted"]["macs"] == pytest.approx(1 - mean_macs(expected))
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert exit_code(["validate", "latency", "no such network", "--out", str(tmp_path / "out")]) == 1
    err = capfd.readouterr().err
    assert (
        "out: the folder holds an earlier validation (got exits.csv, samples.csv, validation.json, batch1.svg)" in err
    )
    assert "fix: choose another --out" in err
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_files_of_a_run_are_not_written_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Before anything is measured, or even loaded."""
    for name, what in {"exits.csv": "files", "summary.json": "a run"}.items():
        (tmp_path / name).write_text("mine")
        err = said(["latency", "no such network", "--out", str(tmp_path)], capfd, code=1)[1]
        assert f"the folder holds {what} (got " in err
    assert "--out must be a folder" in said(["latency", *VGG, "--out", str(tmp_path / "exits.csv")], capfd, code=1)[1]
    assert (tmp_path / "exits.csv").read_text() == "mine"


def test_files_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write: "):
        write_files(tmp_path / "out", {"samples.csv": "1", "no such folder/exits.csv": "2"})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write: "):
        write_files(tmp_path / "file" / "out", {"samples.csv": "1"})
    write_files(tmp_path / "deep" / "out", {"samples.csv": "1", "exits.csv": "2"})
    assert {path.name for path in (tmp_path / "deep" / "out").iterdir()} == {"samples.csv", "exits.csv"}


def test_rows_that_cannot_be_written_are_an_error_in_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    _, err = said(["flops", *VGG, "--out", str(tmp_path / "file" / "rows.csv")], capfd, code=1)
    assert "rows.csv: cannot write: " in err


def mean_macs(trace: ExitTrace) -> float:
    """Of the path, as a share of the plain network."""
    built = trace.workload.with_exits(trace.policy.kept(6))
    paths = dict(zip((3, 5, 7), built.path_macs(), strict=True))
    return float(np.mean([paths[i] for i in trace.exit_index.tolist()])) / built.backbone.path_macs()[-1]


@pytest.mark.usefixtures("one_thread")
def test_latency_in_tables(capfd: pytest.CaptureFixture[str]) -> None:
    out, err = said(
        ["latency", "vit", "--width", "0.125", "--batch", "2", "--samples", "2", "--threads", "1", "--energy", "0.01"],
        capfd,
    )
    assert "batch 2: truncated networks, with 95% intervals" in out
    assert "predicted by macs: rank correlation" in out
    assert err == "" or err.startswith("note: energy not measured: ")


DEVICES = "expected auto, cpu, cuda or cuda:N"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["flops", "vit", "--device", "tpu"], f"error: --device: no such device (got tpu; {DEVICES})"),
        (["flops", "vit", "--device", "cpux"], f"error: --device: no such device (got cpux; {DEVICES})"),
        (["latency", "vit", "--device", "meta"], f"error: --device: no such device (got meta; {DEVICES})"),
        (["latency", *VGG, "--batch", "1,x"], "error: --batch: not a list of sizes (got 1,x"),
        (["latency", *VGG, "--clock", "thread", "--threads", "2"], "error: one thread's processor time is not that"),
        (
            ["latency", "vggsmall", "--width", "0.5", "--trace", "vgg_w025_c10.npz"],
            "error: vgg_w025_c10.npz: the trace is of another network (got vggsmall, width 0.25, 10 classes; expected",
        ),
        (["latency", *VGG, "--hw", "gone.yaml"], "error: gone.yaml: no such file"),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_errors_in_words(args: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert message in said(args, capfd, code=1)[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_no_cuda_device_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    err = said(["flops", "vit", "--device", "cuda"], capfd, code=1)[1]
    assert "error: --device: no such device: " in err
    assert "CUDA" in err
    assert f"(got cuda; {DEVICES})" in err


def test_without_torch_the_extra_is_named(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ceesim.frontend.find_spec", lambda _: None)
    assert "fix: pip install 'ceesim[torch]'" in said(["flops", "vit"], capfd, code=1)[1]
