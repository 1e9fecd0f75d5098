"""Why designs failed: an error in one line, as a cell of a table, and how many designs failed for the same reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from ceesim.errors import CeesimError, ScenarioError
from ceesim.explore.knobs import Value

_LISTED: Final = re.compile(r"^\d+ problems:\n- ")


@dataclass(frozen=True, slots=True)
class Failure:
    """Designs that failed for one reason: how many, and the number of the first of them."""

    reason: str
    num_points: int
    first: int


class Failures:
    """Counts failures by reason, the first `most` reasons alone; nothing is kept of the others.

    Args:
        most: None for all.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._found: dict[str, Failure] = {}

    def add(self, reason: str, first: int, num_points: int = 1) -> None:
        """Take in some more designs, `first` the first of them."""
        known = self._found.get(reason, Failure(reason, 0, first))
        if known.num_points or self._most is None or len(self._found) < self._most:
            self._found[reason] = replace(known, num_points=known.num_points + num_points)

    def by_reason(self) -> tuple[Failure, ...]:
        """In the order of their first designs."""
        return tuple(self._found.values())


def in_one_line(problem: CeesimError, point: Mapping[str, Value]) -> str:
    """What `problem` says about the design at `point`, whose settings are known; several problems are numbered.

    Of a scenario that the design cannot serve, without the numbers, which are each design's own.
    """
    if isinstance(problem, ScenarioError):
        problem = ScenarioError(problem.what, where=problem.where, fix=problem.fix)
    text = str(problem)
    for key, value in point.items():  # nobody wrote these options
        option = f"--set {key}={value}"
        text = text.replace(f"{option}: {key}: ", f"{key}: ").replace(option, f"{key}={value}")
    if listed := _LISTED.match(text):
        text = "; ".join(f"({i}) {each}" for i, each in enumerate(text[listed.end() :].split("\n- "), 1))
    return " ".join(text.replace("\n  fix: ", "; fix: ").split())
