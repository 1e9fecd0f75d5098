"""What a sweep may turn: every key of the hardware file, and the thresholds of the exit policy.

A knob knows the legal values of its key, the column it fills (the key with its unit: `buffers.weight` →
`buffers.weight_bytes`), and how much work turning it undoes. Hardware keys are those of the YAML file. Policy keys are
`policy.beta` or `policy.threshold` (all kept exits alike) and `policy.beta.2` (one exit; null drops its head).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ceesim.errors import CeesimError, OptionError, PolicyError
from ceesim.exits.policy import ExitPolicy
from ceesim.exits.policy_file import policy_from_json
from ceesim.hardware import keys
from ceesim.hardware.load import override
from ceesim.hardware.model import Hardware

Value: TypeAlias = int | float | str | bool | dict[str, Any] | list[Any] | None
"""A value as YAML holds it; quantities in their base unit."""

POLICY: Final = "policy"


class Undoes(IntEnum):
    """What must be worked out again when a knob is turned; in a list of points the cheapest knobs turn fastest."""

    MAPPING = 0
    PROGRAM = 1
    ENERGY = 2
    DECISIONS = 3


_CHEAPER: Final = {
    "control.lookahead": Undoes.PROGRAM,
    "control.decision_cycles": Undoes.PROGRAM,
    "exit_unit.exp_cycles": Undoes.PROGRAM,
    "technology": Undoes.ENERGY,
    "dram.type": Undoes.ENERGY,
    POLICY: Undoes.DECISIONS,
}


_OTHER_POLICY: Final = (
    "if the trace has logits, give it another policy: `ceesim search --out policy.json` finds one, `ceesim sweep "
    "--policy policy.json` and `ceesim capture --policy policy.json` take it; decisions alone have no thresholds"
)


@dataclass(frozen=True, slots=True)
class Knob:
    """One key of a design space.

    Args:
        key: as written by the user.
        column: of the results table.
        quantity: kind of quantity (see `ceesim.units`), None for a plain value.
        undoes: what turning it costs.
        read: a value as written → the value in base units.
    """

    key: str
    column: str
    quantity: str | None
    undoes: Undoes
    read: Callable[[Value], Value]


def knob(key: str, hardware: Hardware, policy: ExitPolicy) -> Knob:
    """The knob of `key`.

    Raises:
        HardwareError: if the hardware has no such key.
        PolicyError: if the policy has no such threshold.
    """
    path = tuple(key.split("."))
    undoes = next((_CHEAPER[part] for part in (key, path[0]) if part in _CHEAPER), Undoes.MAPPING)
    if path[0] == POLICY:
        policy_with(policy, {key: None})
        return Knob(key, key, None, undoes, partial(_read_threshold, policy, key))
    field = keys.find(Hardware, path)
    if field is None:
        try:
            override(hardware, {key: 0})
        except CeesimError as problem:  # which says what keys there are, but names a value that nobody wrote
            raise OptionError(
                problem.what.removeprefix(f"{key}: "),
                where=key,
                got=problem.got,
                expected=problem.expected,
                fix=problem.fix,
            ) from None
        raise OptionError("unknown key", where=key)
    annotation: Any = Annotated[(field.annotation, Field(), *field.metadata)]
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    return Knob(key, _column(path), keys.quantity(field), undoes, partial(_read, adapter, hardware, key))


def policy_with(policy: ExitPolicy, settings: Mapping[str, Value]) -> ExitPolicy:
    """`policy` with the thresholds of `settings` (keys that begin with ``policy.``).

    Raises:
        PolicyError: if it has no such threshold, or a value is out of range.
    """
    record = policy.to_json()
    for key, value in settings.items():
        _, name, *exit_ = key.split(".")
        thresholds = record.get(name)
        if not isinstance(thresholds, list) or len(exit_) > 1:
            names = [known for known, held in record.items() if isinstance(held, list)]
            raise PolicyError(
                f"policy {policy.name!r} has no such threshold",
                where=key,
                expected=" or ".join(f"policy.{known}, policy.{known}.1" for known in names) or "another policy",
                fix=None if names else _OTHER_POLICY,
            )
        if not exit_:
            record[name] = [None if held is None else value for held in thresholds]
            continue
        if not exit_[0].isdecimal() or not 1 <= int(exit_[0]) <= len(thresholds):
            raise PolicyError("no such exit", where=key, got=exit_[0], expected=f"1 to {len(thresholds)}")
        thresholds[int(exit_[0]) - 1] = value
    return policy_from_json(record)


def _read_threshold(policy: ExitPolicy, key: str, value: Value) -> Value:
    if isinstance(value, str):
        raise PolicyError("not a threshold", where=key, got=repr(value), expected="a number, or null")
    try:
        policy_with(policy, {key: value})
    except PolicyError as problem:
        raise PolicyError(problem.what, where=key, got=problem.got, expected=problem.expected) from None
    return value


def _read(adapter: TypeAdapter[Any], hardware: Hardware, key: str, value: Value) -> Value:
    if value is None:  # removes the key
        return None
    try:
        read = adapter.validate_python(value)
    except ValidationError as problem:
        override(hardware, {key: value})  # raises, in our words
        raise OptionError(f"not a value of this key: {problem.errors()[0]['msg']}", where=key, got=value) from None
    if read is None or isinstance(read, BaseModel | tuple):
        return value
    return str(read) if isinstance(read, str) else read


def _column(path: tuple[str, ...]) -> str:
    """The path by the names of the attributes, which carry the unit."""
    names: list[str] = []
    record: type[BaseModel] = Hardware
    for key in path:
        name, field = next((name, info) for name, info in record.model_fields.items() if (info.alias or name) == key)
        names.append(name)
        record = keys.section(field) or record
    return ".".join(names)
