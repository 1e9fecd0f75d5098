"""Who waits for a compiler is told so, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ceesim.cli.first_use import tell_of_first_use
from ceesim.program.jit import cache_directory


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The kernels' own directory in an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_directory.cache_clear()
    yield cache_directory()
    cache_directory.cache_clear()


def test_an_empty_cache_is_told_of(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / "program_0").mkdir(parents=True)  # as numba leaves it behind an import
    tell_of_first_use()
    assert "first use" in capsys.readouterr().err


def test_compiled_kernels_are_not(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / "program_0").mkdir(parents=True)
    (cache / "program_0" / "executor.execute_rows-33.py311.nbi").touch()
    tell_of_first_use()
    assert capsys.readouterr().err == ""
