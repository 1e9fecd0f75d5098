"""A reason is one line that says what a design lacks, not which option nobody wrote."""

import pytest

from ceesim.errors import CeesimError, HardwareError, collected
from ceesim.explore.reasons import Failure, Failures, in_one_line
from tests.explore.toys import experiment

SMALL = HardwareError("too small", where="--set buffers.weight=16: buffers.weight", got="16 B", fix="write 512 B")


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (SMALL, "buffers.weight: too small (got 16 B); fix: write 512 B"),
        (HardwareError("bad", where="--set array.rows=0"), "array.rows=0: bad"),
        (HardwareError("bad", where="a.yaml:3:9"), "a.yaml:3:9: bad"),
        (
            collected([SMALL, HardwareError("too long", where="toy: dma.beat")]),
            "(1) buffers.weight: too small (got 16 B); fix: write 512 B; (2) toy: dma.beat: too long",
        ),
    ],
)
def test_a_problem_in_one_line(problem: CeesimError, said: str) -> None:
    assert in_one_line(problem, {"buffers.weight": 16, "array.rows": 0}) == said


def test_a_point_that_cannot_be_says_so_without_options() -> None:
    reason = experiment().row(0, {"buffers.weight": 16, "array.rows": 4})[-1]
    assert reason.startswith(("(1) buffers.weight: ", "buffers.weight: "))
    assert "--set" not in reason
    assert "problems:" not in reason


def test_failures_are_counted_by_reason() -> None:
    failures = Failures(most=1)
    failures.add("small", 3)
    failures.add("large", 4)
    failures.add("small", 7, num_points=5)
    assert failures.by_reason() == (Failure("small", 6, 3),)
