"""What is wrong with a record that was read: said once, with the key to look at and the way out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A contradiction: the key to look at, what is wrong, and what would be right."""

    path: tuple[str | int, ...]
    what: str
    got: str
    expected: str
    fix: str
