"""A captured forward pass as plain values: calls of ATen functions with their arguments, shapes and places in the code.

Nothing here knows torch, so that the conversion to ops is written, and tested, on values that print.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ceesim.workload.ops import Shape
from ceesim.workload.window import Pair


class RefusedError(Exception):
    """Why a call has no op; `convert` collects these into one error for the user."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor by name: the input, a stored constant, or what an earlier call made."""

    name: str


Argument: TypeAlias = "bool | int | float | str | Ref | tuple[Argument, ...] | None"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an ATen function.

    Args:
        name: of the tensor it makes.
        function: of ATen, without overload, and without the underscore of an in-place one: ``conv2d``.
        arguments: by the names of the function's schema, defaults filled in; what is no tensor, number, string or
            tuple of these is spelled out as a string.
        shape: of the tensor it makes (of the first, if several), batch axis of 1 included.
        label: name for its op: the module's path, with the function's name where a module makes several calls.
        place: where it was called, for error messages: module path and source line.
    """

    name: str
    function: str
    arguments: Mapping[str, Argument]
    shape: Shape
    label: str
    place: str

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The tensors among its arguments, in order."""
        return tuple(_refs(tuple(self.arguments.values())))

    @property
    def is_1d(self) -> bool:
        """Whether it slides along one axis only."""
        return self.function.endswith("1d")

    def integer(self, key: str) -> int:
        """The argument `key`, which must be a whole number.

        Raises:
            RefusedError: if it is not.
        """
        argument = self.arguments[key]
        if not isinstance(argument, int):
            raise RefusedError(f"its {key} is {argument!r}")
        return argument

    def integers(self, key: str) -> tuple[int, ...]:
        """The whole numbers in the argument `key`, whether it is one or a list."""
        argument = self.arguments.get(key)
        parts = argument if isinstance(argument, tuple) else (argument,)
        return tuple(part for part in parts if isinstance(part, int))

    def pair(self, key: str, default: Pair | None = None) -> Pair:
        """The argument `key` as (height, width); one number stands for both, or for the width of a ``…1d``.

        Raises:
            RefusedError: if there is no number and no default.
        """
        sizes = self.integers(key)
        if not sizes and default is not None:
            return default
        if not 1 <= len(sizes) <= 2:
            raise RefusedError(f"its {key} is {self.arguments.get(key)!r}")
        if self.is_1d:
            return (0 if key == "padding" else 1), sizes[0]
        return sizes[0], sizes[-1]


def read_by(call: Call) -> str:
    """Name of the tensor that a call of one operand reads; empty if it reads none."""
    source = call.arguments.get("input", call.arguments.get("self"))
    return source.name if isinstance(source, Ref) else ""


def _refs(argument: Argument) -> Iterator[Ref]:
    if isinstance(argument, Ref):
        yield argument
    elif isinstance(argument, tuple):
        for part in argument:
            yield from _refs(part)


@dataclass(frozen=True, slots=True)
class Graph:
    """A forward pass on one input.

    Args:
        input: name of the input tensor.
        input_shape: without the batch axis.
        constants: shapes of stored tensors (parameters, buffers) by name.
        calls: in execution order, without those that no output needs.
        outputs: names of the tensors returned, in order.
    """

    input: str
    input_shape: Shape
    constants: Mapping[str, Shape]
    calls: tuple[Call, ...]
    outputs: tuple[str, ...]


def needed(calls: tuple[Call, ...], outputs: tuple[str, ...]) -> tuple[Call, ...]:
    """The calls that `outputs` depend on, in order."""
    wanted, kept = set(outputs), []
    for call in reversed(calls):
        if call.name in wanted:
            wanted.update(ref.name for ref in call.refs)
            kept.append(call)
    return tuple(reversed(kept))
