"""A record says the same on every machine and at every time, but for its time stamp."""

import hashlib
import json
from pathlib import Path

import pytest

import ceesim
from ceesim.provenance import SourceFile, record


def test_a_file_is_named_by_its_bare_name_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"evidence")
    assert SourceFile.of(path) == SourceFile("a.npz", hashlib.sha256(b"evidence").hexdigest())


def test_two_records_of_the_same_run_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    path = tmp_path / "a.npz"
    path.write_bytes(b"evidence")
    first, second = (record({"hardware": "edge_npu"}, [path], seed=7).to_dict() for _ in range(2))
    assert first == second
    assert first["ceesim"] == ceesim.__version__
    assert first["created"] == "1970-01-02T00:00:00+00:00"
    assert first["seed"] == 7
    assert str(tmp_path) not in json.dumps(first)


def test_packages_that_are_not_installed_are_left_out() -> None:
    packages = record({}, packages=["numpy", "no-such-package"]).packages
    assert list(packages) == ["numpy"]
