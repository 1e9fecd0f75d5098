"""A design space as a person writes it, on the command line or in a YAML file.

    --set array.rows=8,16,32 --set array.cols=8:64:8 --set buffers.weight="64 KiB:1 MiB:*2"

    parameters:
      array.rows, array.cols: 8:64:8                               # equal
      buffers.weight, buffers.psum: [[64 KiB, 16 KiB], [128 KiB, 32 KiB]]   # step by step together
      control.lookahead: [stall, prefetch]
    constraints:
      - area_mm2 <= 4

A range is ``first:last:step``, or ``first:last:*factor``, and holds its last value if a step hits it. Keys with commas
between them are linked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, prod
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ceesim import units
from ceesim.errors import OptionError, collected
from ceesim.exits.policy import ExitPolicy
from ceesim.explore.constraints import AREA, constraint
from ceesim.explore.knobs import Knob, Value, knob
from ceesim.explore.space import Axis, Space, flat
from ceesim.hardware import document as documents
from ceesim.hardware.complaints import complaints
from ceesim.hardware.model import Hardware

MOST_STEPS: Final = 100_000
MOST_FACTORS: Final = 1000
"""Values of a range of factors, whose fractions grow with every one."""
MOST_POINTS: Final = 100_000_000
_TINY: Final = re.compile(r"[eE]\s*-\s*0*\d{4}")
_HALF_RANGE: Final = re.compile(r"\s*\d[^:{}\[\]]*:\s*\d[^:{}\[\]]*")
_RANGE: Final = re.compile(r"([^:{}\[\]]+):([^:]+):\s*(\*?)([^:*]+)")


class _SpaceFile(BaseModel):
    """A design space as a file says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, Any] = Field(description="keys → values, a range, or a list of lists", examples=["{}"])
    constraints: tuple[Annotated[str, Field(strict=True)], ...] = Field(default=(), description="conditions")


@dataclass(frozen=True, slots=True)
class Written:
    """A space as written: keys (several with commas between) → values or ranges; conditions."""

    parameters: Mapping[str, object]
    constraints: tuple[str, ...] = ()


def read_space(path: Path) -> Written:
    """The space in the YAML file at `path`.

    Raises:
        OptionError: if it is no such file; names line and column.
    """
    document = documents.read(path, str(path), OptionError)
    problems = list(document.problems)
    try:
        file = _SpaceFile.model_validate(document.data)
    except ValidationError as found:
        problems += complaints(found, _SpaceFile, document, OptionError)
    if problems:
        raise collected(problems)
    return Written(file.parameters, file.constraints)


def read_settings(settings: Iterable[str]) -> Written:
    """The space of options like ``array.rows=8,16`` or ``array.rows,array.cols=8:64:8``.

    Raises:
        OptionError: if one is no setting.
    """
    parameters: dict[str, object] = {}
    for text in settings:
        key, equals, values = text.partition("=")
        if not equals or not key.strip() or not values.strip():
            raise OptionError("not a setting", where=f"--set {text}", fix="write it like --set array.rows=8,16,32")
        where = f"--set {text}"
        if key.strip() in parameters:
            raise OptionError("the key is set twice", where=where, fix="write all its values after one --set")
        if not all(item.strip() for item in _items(values)):
            raise OptionError("a value is missing between commas", where=where, fix="write null to remove a key")
        parameters[key.strip()] = [documents.parse_value(item, where, OptionError) for item in _items(values)]
    return Written(parameters)


def replaced(space: Written, settings: Written) -> Written:
    """`space` with the parameters of `settings` in place of those that set the same keys, or keys inside of them.

    Raises:
        OptionError: if linked keys of the space are replaced in part only.
    """
    waiting = dict(settings.parameters)
    parameters: dict[str, object] = {}
    for names, values in space.parameters.items():
        covered = {key: [new for new in settings.parameters if _sets(new, key)] for key in _keys(names)}
        left = [key for key, new in covered.items() if not new]
        taken = list(dict.fromkeys(name for new in covered.values() for name in new))
        if left and taken:
            keys = _keys(names)
            raise OptionError(
                "linked keys of the space are replaced in part only",
                where=f"--set {', '.join(taken)}",
                got=f"no values for {', '.join(left)}, which the space links as {', '.join(keys)!r}",
                fix=f"set all of them: --set {','.join(keys)}=VALUES, or each with a --set of its own",
            )
        if not taken:
            parameters[names] = values
        parameters |= {name: waiting.pop(name) for name in taken if name in waiting}
    return Written(parameters | waiting, (*space.constraints, *settings.constraints))


def _keys(names: str) -> list[str]:
    """The keys of a parameter, which may be several with commas between."""
    return [name.strip() for name in names.split(",")]


def _sets(names: str, key: str) -> bool:
    """Whether a parameter sets `key`, or a section around it."""
    return any(name == key or key.startswith(f"{name}.") for name in _keys(names))


def design_space(written: Written, hardware: Hardware, policy: ExitPolicy, *, may_be_empty: bool = False) -> Space:
    """The space that was `written`, around `hardware` and `policy`.

    Args:
        may_be_empty: whether `hardware` and `policy` as they are will do, because something else is varied.

    Raises:
        HardwareError, PolicyError, OptionError: if a key, a value, a range or a constraint makes no sense.
    """
    axes = [_axis(names, values, hardware, policy) for names, values in written.parameters.items()]
    axes.sort(key=lambda axis: min(knob.undoes for knob in axis.knobs))
    space = Space(tuple(axes), tuple(constraint(text) for text in written.constraints), hardware)
    names = [knob.key for knob in space.knobs]
    for name in names:
        around = next((other for other in names if other != name and name.startswith(f"{other}.")), None)
        if names.count(name) > 1 or around:
            got = f"{around} and {name}" if around else name
            raise OptionError("two parameters set the same key", got=got, fix="keep one of them, or link them")
    if not names and not may_be_empty:
        raise OptionError("nothing to sweep", fix="add --set array.rows=8,16,32, or --space FILE.yaml")
    if (most := prod(len(axis.steps) for axis in axes)) > MOST_POINTS:
        raise OptionError("too many points", got=f"{most:,}", expected=f"at most {MOST_POINTS:,}")
    if space.constraints:
        _check_constraints(space)
    return space


def _check_constraints(space: Space) -> None:
    """Read every constraint once, so that a misspelt key is found before the sweep."""
    known = {*flat(space.hardware.to_yaml_dict()), *(knob.key for knob in space.knobs), AREA}
    for condition in space.constraints:
        for name in sorted(condition.names - known):
            raise OptionError("no such key in this hardware", where=f"constraint {condition.text!r}", got=name)
    if next(space.points(), None) is None:
        raise OptionError(
            "no point meets the constraints",
            got=" and ".join(condition.text for condition in space.constraints),
            fix="loosen a constraint, or give the parameters more values",
        )


def _axis(names: str, values: object, hardware: Hardware, policy: ExitPolicy) -> Axis:
    knobs = tuple(knob(name, hardware, policy) for name in _keys(names))
    items = values if isinstance(values, list) else [values]
    written = [value for item in items for value in _expanded(names, item, knobs[0])]
    steps = []
    for value in written:
        each = value if isinstance(value, list) and len(knobs) > 1 else [value] * len(knobs)
        if len(each) != len(knobs):
            raise OptionError("one value per key is needed", where=names, got=value, expected=f"{len(knobs)} values")
        steps.append(tuple(knob.read(part) for knob, part in zip(knobs, each, strict=True)))
    if len({*map(repr, steps)}) < len(steps):
        twice = next(value for i, value in enumerate(written) if steps[i] in steps[:i])
        raise OptionError("a value is listed twice", where=names, got=twice)
    return Axis(knobs, tuple(steps))


def _expanded(where: str, item: Any, knob: Knob) -> list[Value]:
    """The values of a range ``first:last:step`` or ``first:last:*factor``; anything else is a value itself."""
    match = _RANGE.fullmatch(item) if isinstance(item, str) else None
    if match is None:
        if isinstance(item, str) and _HALF_RANGE.fullmatch(item):
            raise OptionError(
                "a range without a step", where=where, got=item, fix=f"write it like {item}:8, or {item}:*2"
            )
        return [item]
    try:
        first, last = (_exact(text, knob) for text in match.group(1, 2))
        step = _number(match[4]) if match[3] else _exact(match[4], knob)
    except (ValueError, ZeroDivisionError):
        raise OptionError("not a range", where=where, got=item, fix="write it like 8:64:8, or 8:64:*2") from None
    most = MOST_FACTORS if match[3] else MOST_STEPS
    if (step <= 1 or first <= 0) if match[3] else step <= 0:
        raise OptionError("a range goes upwards", where=where, got=item, fix="write it like 8:64:8, or 8:64:*2")
    values: list[Value] = []
    while first <= last:
        if len(values) == most:
            raise OptionError("a range of too many values", where=where, got=item, expected=f"at most {most:,}")
        values.append(int(first) if first.denominator == 1 else float(first))
        first = first * step if match[3] else first + step
    if not values:
        raise OptionError("an empty range", where=where, got=item, fix="write the smaller number first")
    return values


def _exact(text: str, knob: Knob) -> Fraction:
    text = text.strip()
    return Fraction(units.parse(text, knob.quantity)) if knob.quantity else _number(text)


def _number(text: str) -> Fraction:
    """A number without a unit, exact.

    Raises:
        ValueError, ZeroDivisionError: if it is none, or beyond what a float can say: exact, it could fill the memory.
    """
    for part in text.split("/"):
        if not isfinite(float(part)) or _TINY.search(part):
            raise ValueError(text)
    return Fraction(text)


def _items(text: str) -> list[str]:
    """`text` cut at its commas, those inside brackets and quotes left alone."""
    items, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        if character == "," and not depth and not quote:
            items.append("")
        else:
            items[-1] += character
    return items
