"""A hardware on one page: every section as one line, in the units a person would write."""

from __future__ import annotations

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ceesim import units
from ceesim.hardware import keys
from ceesim.hardware.model import Hardware


def sheet(hardware: Hardware) -> list[tuple[str, str]]:
    """The keys of the top level with their values as text, in the order of the file; name and description left out."""
    fields = keys.keys(Hardware)
    data = hardware.to_yaml_dict()
    return [(key, _text(value, fields[key])) for key, value in data.items() if key not in {"name", "description"}]


def _text(value: object, field: FieldInfo) -> str:
    inner = keys.section(field)
    if inner is not None and isinstance(value, dict):
        return _line(value, inner)
    if inner is not None and isinstance(value, list):
        return "; ".join(_line(item, inner) for item in value) or "none"
    kind = keys.quantity(field)
    if kind is not None and isinstance(value, int):
        return units.write(value, kind)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _line(values: dict[str, object], record: type[BaseModel]) -> str:
    fields = keys.keys(record)
    return ", ".join(f"{key} {_text(value, fields[key])}" for key, value in values.items())
