"""The tree of keys of a record, as a person writes them: which keys a section has, and what each may hold.

Error messages, `--set` and the reference page all read this one tree, so they cannot disagree with the record.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import StrEnum
from typing import Union, get_args, get_origin

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo


def keys(record: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a section with their fields, in the order in which they are written."""
    return {info.alias or name: info for name, info in record.model_fields.items()}


def section(field: FieldInfo) -> type[BaseModel] | None:
    """The record that `field` (or each item of its list) holds, None if it holds a value."""
    return next((kind for kind in _types(field.annotation) if issubclass(kind, BaseModel)), None)


def choices(field: FieldInfo) -> list[str]:
    """The words that `field` may hold, none if it is not a choice."""
    return [word.value for kind in _types(field.annotation) if issubclass(kind, StrEnum) for word in kind]


def quantity(field: FieldInfo) -> str | None:
    """The kind of quantity (see `ceesim.units`) that `field` holds, None if it has no unit."""
    schemas = [part.json_schema for part in field.metadata if isinstance(part, WithJsonSchema)]
    return next((str(schema["x-quantity"]) for schema in schemas if schema and "x-quantity" in schema), None)


def sections(record: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Every section below `record` with its path, the record itself first."""
    yield path, record
    for key, field in keys(record).items():
        inner = section(field)
        if inner is not None:
            yield from sections(inner, (*path, key))


def find(record: type[BaseModel], path: tuple[str | int, ...]) -> FieldInfo | None:
    """The field at `path`, None if there is none; positions in lists are passed over."""
    field: FieldInfo | None = None
    here: type[BaseModel] | None = record
    for key in path:
        if isinstance(key, int):
            continue
        field = keys(here).get(key) if here is not None else None
        if field is None:
            return None
        here = section(field)
    return field


def example(key: str, field: FieldInfo) -> str:
    """A line that sets `key`, as a user would write it."""
    inner = section(field)
    if inner is None:
        value = field.examples[0] if field.examples else field.default
        return f"{key}: {str(value).lower() if isinstance(value, bool) else value}"
    lines = [example(name, below) for name, below in keys(inner).items() if below.is_required() or below.examples]
    written = getattr(inner, "example", None) or f"{{{', '.join(lines)}}}"
    return f"{key}: [{written}]" if get_origin(field.annotation) is tuple else f"{key}: {written}"


def _types(annotation: object) -> Iterator[type]:
    if get_origin(annotation) in {Union, types.UnionType, tuple}:
        for part in get_args(annotation):
            yield from _types(part)
    elif isinstance(annotation, type):
        yield annotation
