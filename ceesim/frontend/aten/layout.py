"""The rules of functions that move values or only look at them otherwise.

A view is addressing and costs nothing; joining tensors copies them. Zeros around a map are stored values joined to it.
Functions of several results, and views that repeat values, hand on their operand whole: their readers look closer.
"""

from __future__ import annotations

from typing import Final

from ceesim.frontend.aten.conversion import Constant, Conversion, Rule, Value
from ceesim.frontend.aten.graph import Call, Ref, RefusedError, read_by
from ceesim.workload.ops import concat
from ceesim.workload.window import Pair


def _same(net: Conversion, call: Call) -> Value:
    if call.arguments.get("train"):
        raise RefusedError("its result is random; give it training=self.training")
    return net.operand(call, "input" if "input" in call.arguments else "self")


def _view(net: Conversion, call: Call) -> Value:
    return net.view(call.label, net.operand(call, "self"), call.shape)


def _move(net: Conversion, call: Call) -> Value:
    """The same values, or some of them, in another order."""
    if any(isinstance(net.values[ref.name], Value) for ref in call.refs[1:]):
        raise RefusedError("its indices are computed from the input")
    return net.view(call.label, net.operand(call, "self"), call.shape, moved=True)


def _whole(net: Conversion, call: Call) -> Value:
    return net.operand(call, "self")


def _part(net: Conversion, call: Call) -> Value:
    """One result of a function that has several: a part of a tensor, or the maxima out of maxima and their indices."""
    source = net.calls[call.refs[0].name]
    if source.function in PARTS:
        return _move(net, call)
    if call.arguments["index"] != 0:
        raise RefusedError(f"result {call.arguments['index']} of {source.function} has no op")
    return net.operand(call, "self")


def _join(net: Conversion, call: Call) -> Value:
    tensors = call.arguments["tensors"]
    parts = tensors if isinstance(tensors, tuple) else ()
    axis = call.integer("dim") % len(call.shape)
    batched = axis > 0 and call.shape[0] == 1
    values, constant_length = [], 0
    for part in parts:
        shape = net.shape(part)
        if shape == (0,):  # joined to anything it adds nothing, says PyTorch
            continue
        if call.function == "stack":
            shape = (*shape[:axis], 1, *shape[axis:])
        value = net.values[part.name] if isinstance(part, Ref) else None
        if isinstance(value, Constant):
            constant_length += shape[axis]
        elif value is not None:
            values.append(net.view(f"{call.label}.view", value, shape if batched else (1, *shape)))
    if len(values) == 1 and not constant_length:
        return values[0]
    sources, shapes = tuple(value.op for value in values), tuple(value.shape for value in values)
    return net.add(concat(call.label, sources, shapes, axis - batched, constant_length))


def _pad(net: Conversion, call: Call) -> Value:
    pads = call.integers("pad")
    left, right, top, bottom = (*pads, 0, 0, 0, 0)[:4]
    if _is_a_margin(net, call, len(pads), (max(top, bottom), max(left, right))):
        net.margins[call.name] = ((top, left), (bottom, right))
        return net.operand(call, "self")
    if min(pads) < 0:
        raise RefusedError("it crops; write a slice")
    if call.arguments.get("mode", "constant") != "constant":
        raise RefusedError("only padding with a constant is known")
    value = net.operand(call, "self")
    for distance, length in enumerate(map(sum, zip(pads[0::2], pads[1::2], strict=True)), 1):
        if length:
            if distance > len(value.shape):
                raise RefusedError("it pads the batch axis")
            axis = len(value.shape) - distance
            value = net.add(concat(call.label, (value.op,), (value.shape,), axis, length))
    return value


def _is_a_margin(net: Conversion, call: Call, num_pads: int, most: Pair) -> bool:
    """Whether zeros around a map are read by windows alone, larger ones than they, which make them up as they go."""
    readers = [other for other in net.calls.values() if Ref(call.name) in other.refs]
    return (
        len(readers) == net.readers[call.name] > 0
        and all(other.function in _WINDOWS and read_by(other) == call.name for other in readers)
        and all(pad < size for other in readers for pad, size in zip(most, _span(net, other), strict=True))
        and num_pads <= (2 if readers[0].is_1d else 4)
        and min(call.integers("pad")) >= 0
        and call.arguments.get("mode", "constant") == "constant"
        and (not call.arguments.get("value") or all("max" in other.function for other in readers))
        and read_by(call) not in net.margins
    )


def _span(net: Conversion, call: Call) -> Pair:
    """Rows and columns from the first that a window sees to the last."""
    height, width = _kernel(net, call)
    down, across = call.pair("dilation", (1, 1))
    return down * (height - 1) + 1, across * (width - 1) + 1


def _kernel(net: Conversion, call: Call) -> Pair:
    weight = call.arguments.get("weight")
    if not isinstance(weight, Ref):
        return call.pair("kernel_size")
    known = net.graph.constants  # or made of them, perhaps by a call that is still to come
    shape = known[weight.name] if weight.name in known else net.calls[weight.name].shape
    return (1, shape[-1]) if call.is_1d else (shape[-2], shape[-1])


_WINDOWS: Final = frozenset(
    {"conv1d", "conv2d", "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d", "max_pool2d_with_indices"}
)

PARTS: Final = frozenset({"split", "split_with_sizes", "chunk", "unbind", "tensor_split"})
"""Functions whose results are the parts of their operand."""

WHOLE: Final = PARTS | {"expand", "expand_as"}
"""Functions whose value stands for their operand, whatever shape they claim."""

_SAME: Final = (
    "dropout",
    "feature_dropout",
    "alpha_dropout",
    "contiguous",
    "clone",
    "detach",
    "alias",
    "to",
    "_to_copy",
)
_VIEWS: Final = ("view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze")
_SLICES: Final = ("slice", "narrow", "select", "index_select", "index")
_MOVES: Final = ("permute", "transpose", "t", "movedim", "swapaxes", "roll", "flip", "pixel_shuffle", "channel_shuffle")

SELECTING: Final = PARTS | {*_SLICES, "getitem"}
"""Functions whose result is a part of their operand."""

LAYOUT: Final[dict[str, Rule]] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_VIEWS, _view),
    **dict.fromkeys(_SLICES + _MOVES, _move),
    **dict.fromkeys(WHOLE, _whole),
    "getitem": _part,
    **dict.fromkeys(("cat", "stack"), _join),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
}
"""The rule of each function, by its name in ATen."""
