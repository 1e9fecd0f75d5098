"""The wheel holds the package, the shipped hardware and the small traces, and works from an empty directory."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGEST_SHIPPED_TRACE_BYTES = 3_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_shipped_hardware_is_inside(wheel: Path) -> None:
    shipped = {f"ceesim/hw_configs/{path.name}" for path in (ROOT / "hw_configs").glob("*.yaml")}
    assert len(shipped) >= 7
    assert shipped <= names(wheel)


def test_traces_up_to_three_megabytes_are_inside_and_larger_ones_are_not(wheel: Path) -> None:
    inside = {name for name in names(wheel) if name.startswith("ceesim/traces/") and name.endswith(".npz")}
    small = {
        path.name for path in (ROOT / "traces").glob("*.npz") if path.stat().st_size <= LARGEST_SHIPPED_TRACE_BYTES
    }
    assert inside == {f"ceesim/traces/{name}" for name in small}


def test_nothing_but_the_package_is_inside(wheel: Path) -> None:
    assert {name.split("/")[0].split("-")[0] for name in names(wheel)} == {"ceesim"}
    assert "ceesim/py.typed" in names(wheel)


def test_it_works_from_an_empty_directory(wheel: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(library)
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "ceesim", "inspect", "edge_npu.yaml", "--json"],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '"name": "edge_npu"' in done.stdout
