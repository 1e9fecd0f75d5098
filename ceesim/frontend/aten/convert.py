"""A captured graph becomes ops, call by call; whatever has no op is collected and refused all at once.

What depends on stored tensors alone is computed once, before any input, and costs nothing.
"""

from __future__ import annotations

from math import prod
from typing import Final

from ceesim.errors import WorkloadError, collected
from ceesim.frontend.aten.arithmetic import ARITHMETIC
from ceesim.frontend.aten.conversion import Constant, Conversion, Value, without_batch
from ceesim.frontend.aten.graph import Call, Graph, RefusedError
from ceesim.frontend.aten.layout import LAYOUT, WHOLE
from ceesim.frontend.aten.norms import NORMS
from ceesim.workload.ops import Op

_RULES: Final = ARITHMETIC | NORMS | LAYOUT
_RANDOM: Final = frozenset(
    {"rand", "randn", "randint", "rand_like", "randn_like", "bernoulli", "normal", "multinomial"}
)

_MOST_PLACES: Final = 4

KNOWN: Final = frozenset(_RULES)
"""ATen functions that have a rule; others may be decomposed into these."""


def convert(graph: Graph) -> tuple[tuple[Op, ...], tuple[str, ...]]:
    """The ops of `graph` in execution order, and for each of its outputs the op that makes it.

    Raises:
        WorkloadError: lists every call that no op can stand for, with its place in the code; or names the output that
            is no activation.
    """
    net = Conversion(graph)
    refused: dict[str, list[str]] = {}
    for call in graph.calls:
        try:
            net.values[call.name] = _converted(net, call)
        except (RefusedError, WorkloadError) as error:
            refused.setdefault(f"cannot price {call.function}: {error}", []).append(call.place)
            net.values[call.name] = Value(call.name, without_batch(call.shape))  # go on, to find the others
    if refused:
        raise collected([WorkloadError(why, where=_listed(places)) for why, places in refused.items()])
    outputs = []
    for number, name in enumerate(graph.outputs, 1):
        output = net.values[name]
        if not isinstance(output, Value) or output.op not in net.ops:
            raise WorkloadError(f"output {number} is not computed from the input", got=name)
        outputs.append(output.op)
    return tuple(net.ops.values()), tuple(outputs)


def _listed(places: list[str]) -> str:
    """The places, in order; of a cause that a network repeats in every block, the first few."""
    distinct = list(dict.fromkeys(places))
    more = len(distinct) - _MOST_PLACES
    return "; ".join(distinct[:_MOST_PLACES]) + (f"; and {more} more" if more > 0 else "")


def _converted(net: Conversion, call: Call) -> Value | Constant:
    if call.function in _RANDOM:
        raise RefusedError("its result is random")
    if all(isinstance(net.values[ref.name], Constant) for ref in call.refs):
        return Constant(call.shape)
    if call.function not in _RULES:
        raise RefusedError("no op stands for it")
    value = _RULES[call.function](net, call)
    if call.function in WHOLE or call.name in net.margins:
        return value
    if prod(value.shape) != prod(call.shape):
        raise RefusedError(f"its result {value.shape} does not have the values of {call.shape}")
    net.makers[call.name] = value.op
    return net.view(f"{call.label}.view", value, call.shape)
