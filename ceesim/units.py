"""Quantities with units ("64 KiB", "500 MHz", "60 ns") as exact ints, and the only way between cycles and seconds.

Base units: bytes, hertz, bytes per second, picoseconds, nanometres, millivolts, kelvin. Decimal prefixes are powers of
1000, binary ones (KiB, MiB) powers of 1024. Parsing is exact (`fractions`): nothing is rounded behind the user's back.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from ceesim.errors import UnitError

PICOSECONDS_PER_SECOND: Final = 10**12

_DECIMAL: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

_UNITS: Final[dict[str, dict[str, Fraction]]] = {
    "size": {f"{prefix}B": Fraction(factor) for prefix, factor in (_DECIMAL | _BINARY).items()},
    "frequency": {f"{prefix}Hz": Fraction(factor) for prefix, factor in _DECIMAL.items()},
    "bandwidth": {f"{prefix}B/s": Fraction(factor) for prefix, factor in (_DECIMAL | _BINARY).items()}
    | {f"{prefix}b/s": Fraction(factor, 8) for prefix, factor in (_DECIMAL | _BINARY).items()},
    "time": {
        "ps": Fraction(1),
        "ns": Fraction(10**3),
        "us": Fraction(10**6),
        "µs": Fraction(10**6),
        "ms": Fraction(10**9),
        "s": Fraction(10**12),
    },
    "length": {"nm": Fraction(1), "um": Fraction(10**3), "µm": Fraction(10**3)},
    "voltage": {"mV": Fraction(1), "V": Fraction(10**3)},
    "temperature": {"K": Fraction(1)},
}
_EXAMPLES: Final = {
    "size": "64 KiB",
    "frequency": "500 MHz",
    "bandwidth": "3.2 GB/s",
    "time": "60 ns",
    "length": "22 nm",
    "voltage": "0.6 V",
    "temperature": "300 K",
}
_BASE: Final = {
    "size": "B",
    "frequency": "Hz",
    "bandwidth": "B/s",
    "time": "ps",
    "length": "nm",
    "voltage": "mV",
    "temperature": "K",
}
_LONGEST: Final = 40  # characters of a quantity that anyone would write
_QUANTITY: Final = re.compile(r"\s*([+-]?\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)\s*([A-Za-zµ/]*)\s*", re.ASCII)


def parse(value: object, kind: str) -> int:
    """`value` in the base unit of `kind` (one of size, frequency, bandwidth, time, length, voltage, temperature).

    A bare int is already in the base unit; a string is a number and a unit.

    Raises:
        UnitError: if the unit is unknown or of another kind, or if the quantity is not a whole number of base units.
    """
    example = _EXAMPLES[kind]
    text = value if isinstance(value, str) else repr(value)
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        got = repr(value) if len(text) <= _LONGEST else f"{len(text)} characters"
        raise UnitError(f"not a {kind}", got=got, fix=f"write a number with a unit, like {example}")
    number, unit = Fraction(match[1].replace("_", "")), match[2]
    units = _UNITS[kind]
    if unit and unit not in units:
        other = next((name for name, known in _UNITS.items() if unit in known), None)
        what = f"a {other} where a {kind} is expected" if other else f"unknown unit {unit!r}"
        raise UnitError(what, got=repr(value), expected=f"one of {', '.join(units)}", fix=f"write it like {example}")
    exact = number * (units[unit] if unit else 1)
    if exact.denominator != 1:
        raise UnitError(f"not a whole number of {_BASE[kind]}", got=repr(value), fix=f"write it like {example}")
    return int(exact)


KINDS: Final = tuple(_UNITS)


def symbols(kind: str) -> tuple[str, ...]:
    """The units in which a `kind` may be written, base unit or smallest prefix first."""
    return tuple(_UNITS[kind])


def base_unit(kind: str) -> str:
    """The unit of a bare number."""
    return _BASE[kind]


def example(kind: str) -> str:
    """A `kind` as a user would write it."""
    return _EXAMPLES[kind]


def write(value: int, kind: str) -> str:
    """`value` base units of `kind` as a person would write them: 131072 → '128 KiB'. `parse` gives it back exactly."""
    spoken = [(symbol, factor) for symbol, factor in _UNITS[kind].items() if not symbol.endswith("b/s")]
    for symbol, factor in sorted(spoken, key=lambda unit: unit[1], reverse=True):
        amount = value / factor
        if 1 <= amount < 10_000 and (amount * 100).denominator == 1:
            return f"{float(amount):g} {symbol}"
    return f"{value} {_BASE[kind]}"


def ceil_div(numerator: int, denominator: int) -> int:
    """The smallest int that is at least numerator / denominator (denominator > 0)."""
    return -(-numerator // denominator)


def picoseconds_to_cycles(picoseconds: int, clock_hz: int) -> int:
    """Cycles that cover the time, rounded up."""
    return ceil_div(picoseconds * clock_hz, PICOSECONDS_PER_SECOND)


def cycles_to_seconds(cycles: float, clock_hz: int) -> float:
    """Seconds that `cycles` take."""
    return cycles / clock_hz


def format_bytes(num_bytes: float) -> str:
    """A size for people: 131072 → '128 KiB'."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.4g} {unit}"
    return f"{num_bytes:.4g} B"


def format_seconds(seconds: float) -> str:
    """A time for people: 0.00123 → '1.23 ms'."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if seconds >= factor:
            return f"{seconds / factor:.4g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def format_picojoules(picojoules: float) -> str:
    """An energy for people: 74658035.8 → '74.66 µJ'."""
    for unit, factor in (("J", 1e12), ("mJ", 1e9), ("µJ", 1e6), ("nJ", 1e3)):
        if picojoules >= factor:
            return f"{picojoules / factor:.4g} {unit}"
    return f"{picojoules:.3g} pJ"


def format_count(number: int, noun: str) -> str:
    """A number of things: 1 point, 1,024 points."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
