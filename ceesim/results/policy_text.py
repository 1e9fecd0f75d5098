"""A policy in words: its name, and what it goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def policy_text(record: Mapping[str, Any]) -> str:
    """What `ExitPolicy.to_json` wrote, in one line; what is null is left out."""
    settings = [f"{key} {setting_text(value)}" for key, value in record.items() if key != "name" and value is not None]
    return " ".join([str(record["name"]), *settings])


def thresholds_text(record: Mapping[str, Any]) -> str:
    """Its name and its thresholds alone; a dash stands for an exit that is not built."""
    values: list[float | None] = next(
        (record[key] for key in ("beta", "threshold") if isinstance(record.get(key), list)), []
    )
    return " ".join([str(record["name"]), ",".join("–" if value is None else f"{value:g}" for value in values)]).strip()


def setting_text(value: object) -> str:
    """One of its values; a dash stands for an exit that is not built."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join("–" if item is None else f"{item:g}" for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
