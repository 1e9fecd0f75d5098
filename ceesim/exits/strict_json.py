"""JSON from anybody: nothing that is not JSON, no number out of range, nothing nested without end."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Final

LARGEST_DIGITS: Final = 20
"""Of a whole number."""
DEEPEST: Final = 64
"""Lists and objects within each other."""


def read_json(text: str) -> Any:
    """What `text` says.

    Raises:
        ValueError: if it is no JSON, or holds what could not be written again: numbers out of range or of too many
            digits, half characters, structures deeper than `DEEPEST`.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_countable)
        _check_depth(value)
        json.dumps(value, ensure_ascii=False).encode()  # half a character can be written as an escape, but not again
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _check_depth(value: object, room: int = DEEPEST) -> None:
    if not room:
        raise ValueError("nested too deeply")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, room - 1)


def _countable(digits: str) -> int:
    if len(digits) > LARGEST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value
