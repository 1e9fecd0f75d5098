"""A bare name means the file in the working directory, else the shipped one; anything else means itself."""

from pathlib import Path

import pytest

from ceesim.errors import HardwareError, TraceError
from ceesim.shipped import Shelf, find


def test_a_bare_name_is_found_among_the_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("edge_npu.yaml", Shelf.HARDWARE) == Shelf.HARDWARE.path / "edge_npu.yaml"
    assert find("edge_npu", Shelf.HARDWARE) == Shelf.HARDWARE.path / "edge_npu.yaml"


def test_the_working_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("edge_npu.yaml").write_text("mine")
    assert find("edge_npu.yaml", Shelf.HARDWARE).read_text() == "mine"
    assert find("edge_npu", Shelf.HARDWARE).read_text() == "mine"


def test_a_path_is_taken_as_written(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match="no such file"):
        find(tmp_path / "edge_npu.yaml", Shelf.HARDWARE)
    with pytest.raises(HardwareError, match="no such file"):
        find("./edge_npu.yaml/../nothing/edge_npu.yaml", Shelf.HARDWARE)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(HardwareError) as caught:
        find("edge_npv.yaml", Shelf.HARDWARE)
    assert "did you mean edge_npu.yaml?" in str(caught.value)
    assert "tpu_v1.yaml" in str(caught.value)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="a directory where a file is expected"):
        find(tmp_path, Shelf.TRACES)
