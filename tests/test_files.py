"""Files appear whole or not at all, where they were meant to, and never in place of what is read."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from ceesim.cli import exit_code
from ceesim.files import replacing
from ceesim.shipped import Shelf, find


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to("real")
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with replacing(pipe) as file:
        file.write(b"whole")
    reader.join(timeout=10)
    assert got == [b"whole"]
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    "words",
    [
        "search --trace v.npz --test t.npz --out v.npz",
        "search --trace v.npz --test t.npz --objective latency --hw h.yaml --out h.yaml",
        "capture t.npz --policy p.json --out p.json",
        "capture t.npz --policy never --out t.npz",
        "gemm --hw h.yaml --m 64 --k 64 --n 64 --out h.yaml",
        "gemm --table g.csv --out g.csv",
        "run --hw h.yaml --trace t.npz --dram-trace t.npz --dram-trace-format dramsim3",
    ],
)
def test_what_is_read_is_not_written_over(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(find("vgg_w025_c10_val.npz", Shelf.TRACES), "v.npz")
    shutil.copy(find("vgg_w025_c10.npz", Shelf.TRACES), "t.npz")
    shutil.copy(find("edge_npu.yaml", Shelf.HARDWARE), "h.yaml")
    Path("g.csv").write_text("profile,dataflow,rows,cols,m,k,n\ntextbook,ws,16,16,64,64,64\n")
    Path("p.json").write_text("{}")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert exit_code(words.split()) != 0
    assert "would be written over, and is read" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("words", ["search --trace v.npz --test t.npz", "capture t.npz --policy never"])
def test_an_empty_name_is_refused_before_the_work(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([*words.split(), "--out", ""]) != 0
    assert "not a file's name" in capsys.readouterr().err
