"""The page about bringing one's own network works as printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ceesim.exits.trace import load_trace

PAGE = Path(__file__).parents[2] / "docs" / "own-network.md"


def test_the_page_works_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(program, str(PAGE), "exec"), {})
    trace = load_trace("mine.npz")
    assert (trace.num_inputs, trace.workload.num_exits, trace.workload.num_classes) == (64, 2, 4)
    assert trace.training["alpha"] == 12
