"""What the files of a run must hold for a page about it: checked once, where they are read, and relied on afterwards.

Keys beside those that a shape names may hold anything.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from ceesim.errors import OutputError

if TYPE_CHECKING:
    import pandas

AGAIN: Final = "run it again"
"""What to do about a damaged run."""
_LARGEST: Final = 1e300
_LARGEST_WHOLE: Final = 2**53
_LONGEST_GOT: Final = 40


def _is_number(value: Any) -> bool:
    """Also false for what is not finite, and for true and false."""
    return type(value) in (int, float) and -_LARGEST < value < _LARGEST


def _setting(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    if all(item is None or _is_number(item) for item in items) or isinstance(value, str | bool):
        return value
    raise PydanticCustomError("setting", "a number, a word, null, or a list of numbers and nulls")


Number: TypeAlias = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]
Numbers: TypeAlias = Annotated[list[Number], Field(min_length=1)]
Pair: TypeAlias = Annotated[list[Number], Field(min_length=2, max_length=2)]
Setting: TypeAlias = Annotated[Any, AfterValidator(_setting)]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Mean(_Shape):
    mean: Number


class _Latency(_Mean):
    p50: Number
    p95: Number
    p99: Number
    max: Number


class _Energy(_Mean):
    by_component: dict[str, Number]


class _Bytes(_Mean):
    by_operand: dict[str, Number]


class _Network(_Shape):
    macs: _Mean
    latency_cycles: _Latency
    energy_pj: _Energy | None
    dram_bytes: _Bytes
    throughput_per_s: Number


class _Policy(_Shape):
    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, Setting]
    name: str


class _Accuracy(_Shape):
    static: Number | None
    dynamic: Number | None


class _Reduction(_Shape):
    macs: Number | None
    latency: Number | None
    energy: Number | None
    dram_bytes: Number | None
    ci95: dict[str, Pair | None] | None


class Summary(_Shape):
    """Of summary.json."""

    hardware: str
    network: str
    width: Number
    dataset: str
    num_inputs: Number
    policy: _Policy
    scenario: str
    batch: Number
    clock_hz: Annotated[Number, Field(gt=0)]
    area_mm2: Number | None
    accuracy: _Accuracy
    exit_rate: Numbers
    dynamic: _Network
    static: _Network | None
    reduction: _Reduction


class _Configuration(_Shape):
    set: list[str] = []


class _File(_Shape):
    name: str
    sha256: str


class Manifest(_Shape):
    """Of manifest.json."""

    packages: dict[str, str] = {}
    configuration: _Configuration = _Configuration()
    files: list[_File] = []
    hardware: dict[str, Any] = {}


class _Queue(_Mean):
    max: Number


class _Stage(_Shape):
    segments: Numbers
    units: Number
    work_cycles_per_input: Number
    busy: Number
    blocked: Number
    queue_length: _Queue


class _Pipeline(_Shape):
    stages: list[_Stage]


class _Units(_Shape):
    array: Number


class _Idle(_Shape):
    race_to_sleep: Number
    stay_on: Number


class _Played(_Shape):
    arrived: Number
    served: Number
    dropped: Number
    end_cycle: Number
    inputs_per_group: Number
    late: Number | None
    load: Number | None
    waiting_cycles: _Mean
    service_cycles: _Mean
    queue_length: _Queue
    unit_utilisation: Numbers
    queue_utilisation: _Units
    dma_utilisation: Number = 0  # earlier versions did not write it
    idle_energy_pj: _Idle
    latency_distribution: list[Pair]
    pipeline: _Pipeline | None


class _Batch(_Shape):
    mode: str


class _Asked(_Shape):
    units: Number = 1
    batch: _Batch = _Batch(mode="static")
    deadline: Number = 0


class Met(_Shape):
    """Of scenario.json."""

    scenario: _Asked
    dynamic: _Played
    static: _Played | None


_EXPECTED: Final = {
    "float_type": "a number",
    "finite_number": "a number",
    "greater_than_equal": "a number",
    "less_than_equal": "a number",
    "greater_than": "a number above 0",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "too_short": "a longer list",
    "too_long": "a shorter list",
}
"""What pydantic found, in words of JSON."""


def check(record: dict[str, Any], shape: type[BaseModel], where: str) -> None:
    """See that the `record` of a file has a shape.

    Raises:
        OutputError: if not, with the first key.
    """
    try:
        shape.model_validate(record)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        is_absent = found["type"] == "missing"
        got = "nothing" if is_absent else json.dumps(found["input"], ensure_ascii=False)
        raise OutputError(
            f"{'.'.join(map(str, found['loc']))} is not what a run writes",
            where=where,
            got=got if len(got) <= _LONGEST_GOT else f"{got[:_LONGEST_GOT]} …",
            expected="a value" if is_absent else _EXPECTED.get(found["type"], found["msg"]),
            fix=AGAIN,
        ) from None


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
