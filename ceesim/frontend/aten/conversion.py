"""A conversion in progress: what every tensor of a captured graph stands for, and the ops made so far.

The batch axis, always 1, is dropped from every shape. A rule takes a call, reads its operands here, adds ops, and
returns the value that the call makes. Views are free ops, and none at all where nothing changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import TypeAlias

from ceesim.frontend.aten.graph import Argument, Call, Graph, Ref, RefusedError, read_by
from ceesim.workload.ops import INPUT, Op, Shape, reshape
from ceesim.workload.window import Pair


@dataclass(frozen=True, slots=True)
class Value:
    """An activation: the op that makes it and its shape without the batch axis."""

    op: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Constant:
    """A stored tensor, or one computed from stored tensors alone; its shape as PyTorch sees it."""

    shape: Shape


def without_batch(shape: Shape) -> Shape:
    """A shape as ops know it: less the leading axis where that is 1."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


@dataclass(slots=True)
class Conversion:
    """The ops so far, and what every name of `graph` stands for.

    Attributes:
        ops: by name, in execution order.
        values: what each tensor converted so far is.
        makers: the op that does the work of a call, by the call's name; views behind it apart.
        readers: how many arguments and outputs name a tensor.
        margins: what lies around a tensor that stands for its operand, read by windows alone: rows and columns before
            and after, ((top, left), (bottom, right)).
    """

    graph: Graph
    ops: dict[str, Op] = field(default_factory=dict)
    values: dict[str, Value | Constant] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    readers: Counter[str] = field(default_factory=Counter)
    margins: dict[str, tuple[Pair, Pair]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values[self.graph.input] = Value(INPUT, self.graph.input_shape)
        self.values |= {name: Constant(shape) for name, shape in self.graph.constants.items()}
        self.calls |= {call.name: call for call in self.graph.calls}
        self.readers.update(ref.name for call in self.graph.calls for ref in call.refs)
        self.readers.update(self.graph.outputs)

    def add(self, op: Op) -> Value:
        """Append `op`, its name made unique."""
        name, copy = op.name, 0
        while name in self.ops or name == INPUT:
            copy += 1
            name = f"{op.name}_{copy}"
        self.ops[name] = replace(op, name=name)
        return Value(name, op.output_shape)

    def view(self, name: str, value: Value, shape: Shape, *, moved: bool = False) -> Value:
        """`value` under `shape`, a leading 1 dropped: by a reshape, or as it is if neither shape nor order differ.

        Raises:
            RefusedError: if `shape` has more values than there are.
        """
        target = without_batch(shape)
        if target == value.shape and not moved:
            return value
        if prod(target) > prod(value.shape):
            raise RefusedError(f"it repeats values, {value.shape} → {target}")
        return self.add(reshape(name, value.op, value.shape, target))

    def operand(self, call: Call, key: str) -> Value:
        """The activation that the argument `key` names.

        Raises:
            RefusedError: if it is none, or repeats values (which only a broadcasting op reads as they are).
        """
        argument = call.arguments[key]
        value = self.values[argument.name] if isinstance(argument, Ref) else None
        if not isinstance(value, Value) or not isinstance(argument, Ref):
            raise RefusedError(f"its {key} is no activation")
        if prod(value.shape) < prod(self.shape(argument)) and argument.name not in self.margins:
            raise RefusedError(f"it reads {value.shape} expanded to {self.shape(argument)}")
        return value

    def is_read_once(self, name: str) -> bool:
        """Whether what made the tensor `name` has no other reader, also not through a call that hands it on."""
        while self.readers[name] == 1:
            source = read_by(self.calls[name]) if name in self.calls else ""
            if source not in self.makers or self.makers[source] != self.makers[name]:
                return True
            name = source
        return False

    def constant(self, call: Call, key: str) -> Constant | None:
        """The stored tensor that the argument `key` names; None if it is something else."""
        argument = call.arguments.get(key)
        value = self.values[argument.name] if isinstance(argument, Ref) else None
        return value if isinstance(value, Constant) else None

    def num_constants(self, call: Call, *keys: str) -> int:
        """Number of stored values in these arguments, scalars apart."""
        sizes = [prod(stored.shape) for key in keys if (stored := self.constant(call, key))]
        return sum(size for size in sizes if size > 1)

    def shape(self, argument: Argument) -> Shape:
        """The shape of a tensor as PyTorch sees it, batch axis included.

        Raises:
            RefusedError: if the argument is no tensor.
        """
        if not isinstance(argument, Ref):
            raise RefusedError(f"{argument!r} is no tensor")
        value = self.values[argument.name]
        if isinstance(value, Constant):
            return value.shape
        return self.calls[argument.name].shape if argument.name in self.calls else (1, *self.graph.input_shape)


Rule: TypeAlias = Callable[[Conversion, Call], Value]
