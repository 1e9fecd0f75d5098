"""A Workload as JSON and back: what a trace carries, so that it needs nothing but itself and a hardware."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from ceesim.errors import WorkloadError
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import Function, Op, OpKind, Shape
from ceesim.workload.window import Pair, Window

SCHEMA: Final = "ceesim.workload/1"
LARGEST_NUM_OPS: Final = 100_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _WindowRecord(_Strict):
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    padding_after: Pair | None = None


class _OpRecord(_Strict):
    name: str
    kind: OpKind
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    window: _WindowRecord | None = None
    groups: int = 1
    bias: bool = False
    function: Function | None = None
    axis: int | None = None
    num_constants: int = 0


class _ExitRecord(_Strict):
    tap: str
    head: tuple[str, ...]


class _WorkloadRecord(_Strict):
    name: str
    num_classes: int
    input_shape: Shape
    ops: tuple[_OpRecord, ...]
    exits: tuple[_ExitRecord, ...]
    output: str
    width: float = 1.0


_DEFAULTS: Final = {field.name: field.default for field in fields(Op) if field.init}  # MISSING equals no value


def to_json(workload: Workload) -> dict[str, Any]:
    """A JSON-ready dict; fields at their default are left out."""
    return {
        "schema": SCHEMA,
        "name": workload.name,
        "width": workload.width,
        "num_classes": workload.num_classes,
        "input_shape": list(workload.input_shape),
        "output": workload.output,
        "exits": [asdict(exit_) for exit_ in workload.exits],
        "ops": [
            {
                key: _but_none(value) if key == "window" else value
                for key, value in asdict(op).items()
                if key in _DEFAULTS and value != _DEFAULTS[key]
            }
            for op in workload.ops
        ],
    }


def _but_none(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def from_json(record: object) -> Workload:
    """The Workload that `to_json` wrote.

    Raises:
        WorkloadError: if the record is of another schema or does not describe a network.
    """
    if not isinstance(record, dict):
        raise WorkloadError("a network is a JSON object", got=type(record).__name__)
    if record.get("schema") != SCHEMA:
        raise WorkloadError("unknown network schema", got=repr(record.get("schema")), expected=SCHEMA)
    ops = record.get("ops")
    if isinstance(ops, list) and len(ops) > LARGEST_NUM_OPS:
        raise WorkloadError("too many ops", got=len(ops), expected=f"at most {LARGEST_NUM_OPS}")
    try:
        parsed = _WorkloadRecord.model_validate({key: value for key, value in record.items() if key != "schema"})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        got = repr(first.get("input"))[:80]
        raise WorkloadError(f"malformed network: {first['msg']}", where=place, got=got) from None
    if not 0 < parsed.width < 1e6 or not 0 < parsed.num_classes < 2**24:
        raise WorkloadError("width or number of classes out of range", got=f"{parsed.width}, {parsed.num_classes}")
    built = tuple(
        Op(
            name=op.name,
            kind=op.kind,
            inputs=op.inputs,
            input_shapes=op.input_shapes,
            output_shape=op.output_shape,
            window=Window(**op.window.model_dump()) if op.window else None,
            groups=op.groups,
            bias=op.bias,
            function=op.function,
            axis=op.axis,
            num_constants=op.num_constants,
        )
        for op in parsed.ops
    )
    return Workload(
        name=parsed.name,
        num_classes=parsed.num_classes,
        input_shape=parsed.input_shape,
        ops=built,
        exits=tuple(Exit(exit_.tap, exit_.head) for exit_ in parsed.exits),
        output=parsed.output,
        width=parsed.width,
    )
