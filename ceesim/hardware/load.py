"""From a YAML file, with overrides, to a `Hardware`; all that is wrong with it is said at once.

An override (`--set array.rows=32`) edits the document before it is validated, so it is checked like the file itself and
a complaint about it names the option instead of a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError

from ceesim import shipped
from ceesim.errors import CeesimError, HardwareError, collected
from ceesim.hardware import document as documents
from ceesim.hardware.complaints import complaints
from ceesim.hardware.document import Document, KeyPath
from ceesim.hardware.model import Hardware

Overrides: TypeAlias = Mapping[str, object] | Iterable[str] | str
"""``{"array.rows": 32}``, or ``["array.rows=32"]`` as on the command line, or one such text; a null removes the key."""


def load_hardware(source: str | Path, overrides: Overrides = ()) -> Hardware:
    """The hardware that the file `source` describes: a path, or a bare name from the working directory or as shipped.

    Raises:
        HardwareError: with every problem of the file and of the overrides; each names file, line and column, the key,
            what was got and expected, and what to write.
    """
    path = shipped.find(source, shipped.Shelf.HARDWARE)
    return _build(documents.read(path, str(source)), overrides)


def parse_hardware(text: str, name: str = "hardware", overrides: Overrides = ()) -> Hardware:
    """The hardware that the YAML `text` describes; `name` stands for the file in errors.

    Raises:
        HardwareError: as `load_hardware`.
    """
    return _build(documents.parse(text, name), overrides)


def override(hardware: Hardware, overrides: Overrides) -> Hardware:
    """`hardware` with some of its keys set anew and all of it checked again.

    Raises:
        HardwareError: with every problem, each naming the override.
    """
    return _build(Document(hardware.name, hardware.to_yaml_dict()), overrides)


def _build(document: Document, overrides: Overrides) -> Hardware:
    problems: list[CeesimError] = list(document.problems)
    settings = [overrides] if isinstance(overrides, str) else overrides
    for setting in settings.items() if isinstance(settings, Mapping) else settings:
        try:
            dotted, value, where = _pair(setting) if isinstance(setting, str) else (*setting, _option(*setting))
            _set(document, dotted, value, where)
        except HardwareError as problem:
            problems.append(problem)
    try:
        hardware = Hardware.model_validate(document.data)
    except ValidationError as found:
        problems += complaints(found, Hardware, document)
    if problems:
        raise collected(problems)
    return hardware


def _option(dotted: str, value: object) -> str:
    return f"--set {dotted}={value}"


def _pair(text: str) -> tuple[str, object, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise HardwareError("not a setting", where=f"--set {text}", fix="write it like --set array.rows=32")
    where = _option(key.strip(), value)
    return key.strip(), documents.parse_value(value, where), where


def _set(document: Document, dotted: str, value: object, where: str) -> None:
    path: KeyPath = tuple(dotted.split("."))
    here = document.data
    for depth, part in enumerate(path[:-1], start=1):
        inner = here.get(str(part))
        if inner is None:
            inner = here[str(part)] = {}
            document.keys[path[:depth]] = document.values[path[:depth]] = where
        if not isinstance(inner, dict):
            around = ".".join(str(name) for name in path[:depth])
            raise HardwareError(f"{around} is a value, not a section", where=where, fix=f"write --set {around}=VALUE")
        here = inner
    for places in (document.keys, document.values):
        for known in [known for known in places if known[: len(path)] == path]:
            del places[known]
        places[path] = where
    if value is None:
        here.pop(str(path[-1]), None)
    else:
        here[str(path[-1])] = value
