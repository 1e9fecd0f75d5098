"""Accuracy lost to exits, with the interval of the difference: the same inputs both times."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ceesim.results.accuracy import Lost, lost_accuracy
from ceesim.results.page import print_page
from ceesim.results.report.folder import read_run
from ceesim.results.report.sections import run_section
from tests.results.runs import run_folder, small_run

RESULT = small_run()


def test_points_are_the_difference_and_lie_in_their_interval() -> None:
    trace = RESULT.trace
    lost = lost_accuracy(trace)
    assert lost is not None
    assert trace.static_accuracy is not None
    assert trace.accuracy is not None
    assert lost.points == pytest.approx(100 * (trace.static_accuracy - trace.accuracy))
    assert lost.low < lost.points < lost.high
    labels, final = trace.labels, trace.final_logits
    assert final is not None
    each = 100.0 * ((final.argmax(axis=1) == labels).astype(int) - (trace.predictions == labels))
    normal = 1.96 * each.std(ddof=1) / np.sqrt(len(each))
    assert (lost.high - lost.low) / 2 == pytest.approx(normal, rel=0.1)


def test_one_label_and_no_logits_have_none() -> None:
    trace = RESULT.trace
    labels = np.full_like(trace.labels, -1)
    labels[0] = 0
    assert lost_accuracy(replace(trace, labels=labels)) is None
    assert lost_accuracy(replace(trace, logits=None, final_logits=None)) is None


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        (Lost(1.5, 1.25, 1.75), "1.50 points lost (95%: 1.25 to 1.75)"),
        (Lost(-0.5, -1.0, 0.25), "0.50 points gained (95%: -0.25 to 1.00)"),
    ],
)
def test_in_words(lost: Lost, says: str) -> None:
    assert str(lost) == says


def test_console_and_report_tell_it(tmp_path: Path) -> None:
    told = str(lost_accuracy(RESULT.trace))
    console = Console(file=StringIO(), width=200)
    print_page(RESULT, console)
    assert told in console.file.getvalue()
    run = read_run(run_folder(tmp_path / "run", RESULT))
    assert run_section(run, "run1").cards[0].interval == told
    assert run_section(replace(run, trace=None), "run1").cards[0].interval == ""
