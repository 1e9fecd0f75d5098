"""Field types of a hardware record: numbers with units, counts and cycles, each with its legal range.

A quantity is written with a unit or as a bare number of base units, and is kept as an int of base units. The upper
bounds are far beyond anything built; they keep every product of cycles and bytes inside 64 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from ceesim import units
from ceesim.errors import UnitError

UNLIMITED: Final = "unlimited"
"""How a rate or a count without a limit is written; in code it is None."""

_MOST_CYCLES: Final = 10**9
_MOST_LANES: Final = 2**20


def _reader(kind: str, least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        try:
            number = units.parse(value, kind)
        except UnitError as error:
            raise PydanticCustomError(
                "quantity", "{what}", {"what": error.what, "expected": error.expected, "fix": error.fix}
            ) from None
        if not least <= number <= most:
            what = f"a {kind} out of range" if number > 0 or least == 0 else f"a {kind} must be more than zero"
            raise PydanticCustomError(
                "quantity",
                "{what}",
                {
                    "what": what,
                    "expected": f"{least} to {most:,} {units.base_unit(kind)}",
                    "fix": f"write it like {units.example(kind)}",
                },
            )
        return number

    return read


def _json_schema(kind: str, least: int, most: int, *, unlimited: bool = False) -> WithJsonSchema:
    symbols = "|".join(re.escape(symbol) for symbol in units.symbols(kind))
    choices: list[dict[str, object]] = [
        {"type": "number", "minimum": least, "maximum": most},
        {"type": "string", "pattern": rf"^\s*\d[\d_]*(\.\d+)?([eE][+-]?\d+)?\s*({symbols})?\s*$"},
    ]
    if unlimited:
        choices.append({"const": UNLIMITED})
    return WithJsonSchema({"anyOf": choices, "x-quantity": kind, "x-base-unit": units.base_unit(kind)})


def _or_unlimited(read: Callable[[object], int]) -> Callable[[object], int | None]:
    def read_or_unlimited(value: object) -> int | None:
        return None if value == UNLIMITED else read(value)

    return read_or_unlimited


def _read_lanes(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_LANES:
        raise PydanticCustomError(
            "quantity",
            "{what}",
            {
                "what": "not a number of lanes",
                "expected": f"1 to {_MOST_LANES:,}, or {UNLIMITED}",
                "fix": "write it like 16",
            },
        )
    return value


def _say_unlimited(value: int | None) -> int | str:
    return UNLIMITED if value is None else value


_SIZE: Final = ("size", 1, 2**40)
_FREQUENCY: Final = ("frequency", 1, 10**11)
_BANDWIDTH: Final = ("bandwidth", 1, 10**14)
_LATENCY: Final = ("time", 0, 10**12)
_DURATION: Final = ("time", 0, 10**16)
_LENGTH: Final = ("length", 1, 250)
_VOLTAGE: Final = ("voltage", 1, 5_000)
_TEMPERATURE: Final = ("temperature", 300, 350)

Size = Annotated[int, BeforeValidator(_reader(*_SIZE)), _json_schema(*_SIZE)]
"""Bytes, at least 1."""
Frequency = Annotated[int, BeforeValidator(_reader(*_FREQUENCY)), _json_schema(*_FREQUENCY)]
"""Hertz, at least 1."""
Latency = Annotated[int, BeforeValidator(_reader(*_LATENCY)), _json_schema(*_LATENCY)]
"""Picoseconds, 0 allowed."""
Duration = Annotated[int, BeforeValidator(_reader(*_DURATION)), _json_schema(*_DURATION)]
"""Picoseconds, 0 allowed, of things that take up to hours."""
Length = Annotated[int, BeforeValidator(_reader(*_LENGTH)), _json_schema(*_LENGTH)]
"""Nanometres."""
Voltage = Annotated[int, BeforeValidator(_reader(*_VOLTAGE)), _json_schema(*_VOLTAGE)]
"""Millivolts."""
Temperature = Annotated[int, BeforeValidator(_reader(*_TEMPERATURE)), _json_schema(*_TEMPERATURE)]
"""Kelvin, within the 300 to 350 K for which leakage is known."""
BandwidthOrUnlimited = Annotated[
    int | None,
    BeforeValidator(_or_unlimited(_reader(*_BANDWIDTH))),
    PlainSerializer(_say_unlimited, return_type=int | str),
    _json_schema(*_BANDWIDTH, unlimited=True),
]
"""Bytes per second, at least 1; None is unlimited."""
LanesOrUnlimited = Annotated[
    int | None,
    BeforeValidator(_or_unlimited(_read_lanes)),
    PlainSerializer(_say_unlimited, return_type=int | str),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": _MOST_LANES}, {"const": UNLIMITED}]}),
]
"""Element operations per cycle, at least 1; None is unlimited."""

Lanes = Annotated[int, Field(strict=True, ge=1, le=_MOST_LANES)]
"""Element operations per cycle, at least 1."""
Extent = Annotated[int, Field(strict=True, ge=1, le=2**16)]
"""PEs along one side of the array."""
Count = Annotated[int, Field(strict=True, ge=1, le=2**20)]
"""How many, at least 1."""
Bits = Annotated[int, Field(strict=True, ge=1, le=64)]
"""Bits of one number."""
Cycles = Annotated[int, Field(strict=True, ge=0, le=_MOST_CYCLES)]
"""Cycles of the reference clock, 0 allowed."""
Skew = Annotated[int, Field(strict=True, ge=0, le=1)]
"""0 or 1 cycle per row or column."""
Factor = Annotated[float, Field(strict=True, ge=1, le=10)]
"""A ratio of at least 1."""
Flag = Annotated[bool, Field(strict=True)]
"""true or false, nothing else."""
