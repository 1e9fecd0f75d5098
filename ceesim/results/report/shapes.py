"""What the files of a run must hold for a page about it: checked once, where they are read, and relied on afterwards.

A shape is a `Kind` of value, a dict of the keys that are needed, or one of these as `Maybe` (or null) or `Each` (of a
list or an object). Keys beside those of a shape may hold anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ceesim.errors import OutputError
from ceesim.hardware.energy.price import Waiting

if TYPE_CHECKING:
    import pandas

AGAIN: Final = "run it again"
"""What to do about a damaged run."""
_LARGEST: Final = 1e300
_LARGEST_WHOLE: Final = 2**53
_LONGEST_GOT: Final = 40


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: what to call one, and whether something is one."""

    name: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Maybe:
    """What may be null."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Each:
    """A list or an object (`of`) in which all values have one shape, at least `least` of them."""

    of: type[list[Any]] | type[dict[str, Any]]
    shape: Shape
    least: int = 0


Shape: TypeAlias = Kind | Maybe | Each | Mapping[str, "Shape"]


def _is_number(value: Any) -> bool:
    """Also false for what is not finite, and for true and false."""
    return type(value) in (int, float) and -_LARGEST < value < _LARGEST


NUMBER: Final = Kind("a number", _is_number)
POSITIVE: Final = Kind("a number above 0", lambda value: _is_number(value) and value > 0)
TEXT: Final = Kind("a text", lambda value: isinstance(value, str))
SETTING: Final = Kind(
    "a number, a word, null, or a list of numbers and nulls",
    lambda value: (
        value is None
        or isinstance(value, str | bool)
        or _is_number(value)
        or (isinstance(value, list) and all(item is None or _is_number(item) for item in value))
    ),
)
_PAIR: Final = Kind("two numbers", lambda value: isinstance(value, list) and [*map(_is_number, value)] == [True, True])
_ANYTHING: Final = Kind("an object", lambda value: isinstance(value, dict))

_ENERGY: Final = Maybe({"mean": NUMBER, "by_component": Each(dict, NUMBER)})
_PLAYED: Final[Shape] = {
    "macs": {"mean": NUMBER},
    "latency_cycles": dict.fromkeys(("mean", "p50", "p95", "p99", "max"), NUMBER),
    "energy_pj": _ENERGY,
    "dram_bytes": {"mean": NUMBER, "by_operand": Each(dict, NUMBER)},
    "throughput_per_s": NUMBER,
}
REDUCED: Final = ("macs", "latency", "energy", "dram_bytes")
SUMMARY: Final[dict[str, Shape]] = {
    "hardware": TEXT,
    "network": TEXT,
    "width": NUMBER,
    "dataset": TEXT,
    "num_inputs": NUMBER,
    "policy": {"name": TEXT},
    "scenario": TEXT,
    "batch": NUMBER,
    "clock_hz": POSITIVE,
    "area_mm2": Maybe(NUMBER),
    "accuracy": {"static": Maybe(NUMBER), "dynamic": Maybe(NUMBER)},
    "exit_rate": Each(list, NUMBER, 1),
    "dynamic": _PLAYED,
    "static": Maybe(_PLAYED),
    "reduction": dict.fromkeys(REDUCED, Maybe(NUMBER)) | {"ci95": Maybe(Each(dict, Maybe(_PAIR)))},
}
MANIFEST: Final[dict[str, Shape]] = {
    "packages": Each(dict, TEXT),
    "configuration": _ANYTHING,
    "files": Each(list, {"name": TEXT, "sha256": TEXT}),
    "hardware": _ANYTHING,
}
"""Of keys that may all be absent."""
CONFIGURATION: Final[dict[str, Shape]] = {"set": Each(list, TEXT)}
"""Of the manifest, likewise."""
_QUEUE: Final[Shape] = {"mean": NUMBER, "max": NUMBER}
_STAGE: Final[Shape] = {
    "segments": Each(list, NUMBER, 1),
    **dict.fromkeys(("units", "work_cycles_per_input", "busy", "blocked"), NUMBER),
    "queue_length": _QUEUE,
}
_MET: Final[Shape] = {
    **dict.fromkeys(("arrived", "served", "dropped", "end_cycle", "inputs_per_group"), NUMBER),
    **dict.fromkeys(("late", "load"), Maybe(NUMBER)),
    "waiting_cycles": {"mean": NUMBER},
    "service_cycles": {"mean": NUMBER},
    "queue_length": _QUEUE,
    "unit_utilisation": Each(list, NUMBER, 1),
    "queue_utilisation": {"array": NUMBER},
    "idle_energy_pj": {waiting.value: NUMBER for waiting in Waiting},
    "latency_distribution": Each(list, _PAIR),
    "pipeline": Maybe({"stages": Each(list, _STAGE)}),
}
SCENARIO: Final[dict[str, Shape]] = {"scenario": _ANYTHING, "dynamic": _MET, "static": Maybe(_MET)}
LATER: Final[dict[str, Shape]] = {"dma_utilisation": NUMBER}
"""Of the networks of scenario.json, likewise: what earlier versions did not write."""
ASKED: Final[dict[str, Shape]] = {"units": NUMBER, "batch": {"mode": TEXT}, "deadline": NUMBER}
"""Of what was asked for under `scenario`: keys that may all be absent."""


def check(record: Mapping[str, Any], shape: Mapping[str, Shape], where: str, prefix: str = "") -> None:
    """See that the `record` of a file has a shape.

    Args:
        prefix: of its keys in words, like ``scenario.``.

    Raises:
        OutputError: if not.
    """
    for path, value, expected in _wrong(record, shape, ""):
        got = "nothing" if value is _ABSENT else json.dumps(value, ensure_ascii=False)
        got = got if len(got) <= _LONGEST_GOT else f"{got[:_LONGEST_GOT]} …"
        raise OutputError(
            f"{prefix}{path} is not what a run writes", where=where, got=got, expected=expected, fix=AGAIN
        )


_ABSENT: Final = object()


def _wrong(value: Any, shape: Shape, path: str) -> Iterator[tuple[str, Any, str]]:
    """(path, value, what it should be) of everything that does not fit."""
    if isinstance(shape, Maybe):
        for found, got, expected in () if value is None else _wrong(value, shape.shape, path):
            yield found, got, f"{expected} or null" if found == path else expected
        return
    if isinstance(shape, Kind):
        if value is _ABSENT or not shape.holds(value):
            yield path, value, shape.name
        return
    if isinstance(shape, Each):
        if not isinstance(value, shape.of) or len(value) < shape.least:
            yield path, value, "a list" if shape.of is list else "an object"
            return
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        inner = [(str(key), each, shape.shape) for key, each in parts]
    else:
        if not isinstance(value, dict):
            yield path, value, "an object"
            return
        inner = [(key, value.get(key, _ABSENT), each) for key, each in shape.items()]
    for key, each, wanted in inner:
        yield from _wrong(each, wanted, f"{path}.{key}" if path else key)


_WORDS: Final = frozenset({"op", "kind", "unit", "bottleneck", "network", "component", "price"})
_MAY_BE_EMPTY: Final = frozenset(
    {
        "mapping_efficiency", "utilisation", "exit_rate", "break_even_rate_latency", "break_even_rate_energy",
        "correct", "cheapest_from_deadline_s",
    }
)  # fmt: skip
_WHOLE: Final = frozenset(
    {
        "segment", "exit_index", "num_inputs", "num_reaching", "macs", "cycles", "busy_cycles", "stall_cycles",
        "latency_cycles", "head_cycles", "head_dram_bytes",
    }
)  # fmt: skip
_PICOJOULES: Final = frozenset({"energy_pj", "head_energy_pj"})
"""Empty where, and only where, a run does not know its energy."""


def check_columns(table: pandas.DataFrame, columns: tuple[str, ...], where: str, *, has_energy: bool) -> None:
    """See that the `columns` of a table hold numbers, or words where they should.

    Raises:
        OutputError: if not.
    """
    import pandas

    for name in columns:
        cells = table[name]
        numbers = cells if cells.dtype.kind in "iuf" else pandas.to_numeric(cells, errors="coerce")
        empty, unfit = cells.isna(), ~numbers.astype("float64").between(-_LARGEST, _LARGEST)
        unfit |= cells.dtype.kind == "b"
        expected = "numbers"
        if name in _WORDS:
            unfit, expected = empty, "words"
        if name in _WHOLE:
            unfit |= (numbers % 1 != 0) | (numbers.abs() > _LARGEST_WHOLE)
            expected = "whole numbers"
        if name in _PICOJOULES and not has_energy:
            unfit, expected = ~empty, "nothing, as in summary.json"
        elif name in _MAY_BE_EMPTY:
            unfit &= ~empty
        if unfit.any():
            first = int(unfit.to_numpy().argmax())
            got = "an empty cell" if empty.iloc[first] else str(cells.iloc[first])[:_LONGEST_GOT]
            raise OutputError(
                f"cells of {name} are not what a run writes", where=where, got=got, expected=expected, fix=AGAIN
            )
