"""The rules of functions that compute: which op, or ops, each of them is.

Norms are in `norms`. Attention is a product, a scaling, a softmax and a product.
"""

from __future__ import annotations

from math import prod
from typing import Final

from ceesim.frontend.aten.conversion import Conversion, Rule, Value, without_batch
from ceesim.frontend.aten.graph import Argument, Call, Ref, RefusedError, read_by
from ceesim.workload.ops import (
    Function,
    Shape,
    adaptive_average_pool,
    broadcast,
    conv,
    elementwise,
    linear,
    matmul,
    pool,
    reshape,
    softmax,
)
from ceesim.workload.window import Pair


def _map(net: Conversion, call: Call, key: str) -> tuple[Value, Shape]:
    """The operand as one map (channels, height, width); along one axis the height is 1."""
    value, rank = net.operand(call, key), 2 if call.is_1d else 3
    shape = (1,) * (rank - len(value.shape)) + value.shape
    if len(shape) > rank and shape[0] != 1:
        raise RefusedError(f"it reads {prod(shape[:-rank])} maps per input at once")
    shape = (shape[-2], 1, shape[-1]) if call.is_1d else shape[-3:]
    return net.view(f"{call.label}.view", value, (1, *shape)), shape


def _convolution(net: Conversion, call: Call) -> Value:
    weight = net.constant(call, "weight")
    if weight is None:
        raise RefusedError("its weight is computed from the input")
    source, shape = _map(net, call, "input")
    out_channels, in_channels, *kernel = weight.shape
    height, width = kernel if len(kernel) == 2 else (1, kernel[0])
    groups, dilation = call.integer("groups"), call.pair("dilation")
    if shape[0] != in_channels * groups:
        raise RefusedError(f"it reads {shape[0]} channels with weights for {in_channels * groups}")
    if isinstance(call.arguments["padding"], str):
        same = call.arguments["padding"] == "same"
        margins = (dilation[0] * (height - 1) * same, dilation[1] * (width - 1) * same)
        padding = (margins[0] // 2, margins[1] // 2)
        behind = (margins[0] - padding[0], margins[1] - padding[1])
    else:
        padding = behind = call.pair("padding")
    bias = call.arguments["bias"] is not None
    stride = call.pair("stride")
    first, last = _around(net, call, padding, behind)
    op = conv(call.label, source.op, shape, out_channels, (height, width), stride, first, dilation, groups, bias, last)
    return net.add(op)


def _around(net: Conversion, call: Call, padding: Pair, behind: Pair) -> tuple[Pair, Pair | None]:
    """Padding before and after the map, that of a call before this one included; the latter None if they are alike."""
    before, after = net.margins.get(read_by(call), ((0, 0), (0, 0)))
    first = (padding[0] + before[0], padding[1] + before[1])
    last = (behind[0] + after[0], behind[1] + after[1])
    return first, None if last == first else last


def _linear(net: Conversion, call: Call) -> Value:
    weight, source = net.constant(call, "weight"), net.operand(call, "input")
    if weight is None:
        raise RefusedError("its weight is computed from the input")
    return net.add(linear(call.label, source.op, source.shape, weight.shape[0], call.arguments["bias"] is not None))


def _pool(*, average: bool) -> Rule:
    def rule(net: Conversion, call: Call) -> Value:
        source, shape = _map(net, call, "self")
        kernel = call.pair("kernel_size")
        stride, padding = call.pair("stride", kernel), call.pair("padding")
        dilation = (1, 1) if average else call.pair("dilation")
        first, last = _around(net, call, padding, padding)
        if call.arguments.get("ceil_mode"):  # windows that hang over the edge are windows over so much more padding
            made = (1, call.shape[-1]) if call.is_1d else call.shape[-2:]
            over = [
                (made[axis] - 1) * stride[axis]
                + dilation[axis] * (kernel[axis] - 1)
                + 1
                - shape[1 + axis]
                - first[axis]
                for axis in (0, 1)
            ]
            least = last or first
            most = (max(least[0], over[0]), max(least[1], over[1]))
            last = None if most == first else most
        return net.add(pool(call.label, source.op, shape, kernel, stride, first, dilation, average, last))

    return rule


def _adaptive_average_pool(net: Conversion, call: Call) -> Value:
    source, shape = _map(net, call, "self")
    return net.add(adaptive_average_pool(call.label, source.op, shape, call.pair("output_size")))


def _adaptive_max_pool(net: Conversion, call: Call) -> Value:
    source, shape = _map(net, call, "self")
    height, width = call.pair("output_size")
    if shape[1] % height or shape[2] % width:
        raise RefusedError(f"{shape[1]}×{shape[2]} values do not fall into {height}×{width} equal windows")
    kernel = (shape[1] // height, shape[2] // width)
    return net.add(pool(call.label, source.op, shape, kernel, kernel))


def _reduced(net: Conversion, call: Call, value: Value | None = None) -> tuple[Value, Shape]:
    """The operand, or what was made of it, as one map, the axes that the call reduces behind the others."""
    if not call.shape:
        raise RefusedError("it makes one number of all values")
    shape = net.shape(call.arguments["self"])
    value = value or net.operand(call, "self")
    axes = sorted({axis % len(shape) for axis in call.integers("dim")}) or list(range(len(shape)))
    kept = prod(size for axis, size in enumerate(shape) if axis not in axes)
    trailing = axes == list(range(len(shape) - len(axes), len(shape)))
    target = (kept, *shape[-2:]) if trailing and len(axes) == 2 else (kept, prod(shape) // kept, 1)
    return net.view(f"{call.label}.view", value, (1, *target), moved=not trailing), target


def _mean(net: Conversion, call: Call) -> Value:
    source, shape = _reduced(net, call)
    return net.add(adaptive_average_pool(call.label, source.op, shape, (1, 1)))


def _vector_norm(net: Conversion, call: Call) -> Value:
    if call.arguments.get("ord", 2) != 2:
        raise RefusedError("the only norm known is the Euclidean one")
    source = net.operand(call, "self")
    squares = elementwise(f"{call.label}.square", (source.op, source.op), source.shape, Function.MULTIPLY)
    reduced, shape = _reduced(net, call, net.add(squares))
    total = net.add(adaptive_average_pool(call.label, reduced.op, shape, (1, 1)))
    return net.add(elementwise(f"{call.label}.root", (total.op,), total.shape, Function.SQRT))


def _maximum(net: Conversion, call: Call) -> Value:
    if "other" in call.arguments:
        return _binary(Function.MAXIMUM)(net, call)
    source, shape = _reduced(net, call)
    return net.add(pool(call.label, source.op, shape, (shape[1], shape[2]), (1, 1)))


def _activation(function: Function) -> Rule:
    def rule(net: Conversion, call: Call) -> Value:
        source = net.operand(call, "self")
        num_constants = net.num_constants(call, "weight")
        return net.add(elementwise(call.label, (source.op,), source.shape, function, num_constants=num_constants))

    return rule


_BOUNDS: Final = {
    "hardtanh": ("min_val", "max_val"),
    "clamp": ("min", "max"),
    "clamp_min": ("min", "max"),
    "clamp_max": ("min", "max"),
}
_CLAMPS: Final[dict[tuple[Argument, ...], Function]] = {(0, None): Function.RELU, (0, 6): Function.RELU6}


def _clamp(net: Conversion, call: Call) -> Value:
    bounds = tuple(call.arguments.get(key) for key in _BOUNDS[call.function])
    if any(isinstance(bound, Ref) for bound in bounds):
        raise RefusedError("its bounds are tensors")
    return _activation(_CLAMPS.get(bounds, Function.CLAMP))(net, call)


def _binary(function: Function) -> Rule:
    def rule(net: Conversion, call: Call) -> Value:
        if call.arguments.get("alpha", 1) not in (1, -1):
            raise RefusedError(f"it scales an operand by alpha = {call.arguments['alpha']}; write the product")
        if call.arguments.get("rounding_mode") is not None:
            raise RefusedError("it rounds")
        divides = (
            call.function == "div" and isinstance(call.arguments["other"], Ref) and not net.constant(call, "other")
        )
        operands = [value for ref in call.refs if isinstance(value := net.values[ref.name], Value)]
        sources, shapes = tuple(value.op for value in operands), tuple(value.shape for value in operands)
        target = without_batch(call.shape)
        if broadcast(shapes) != target:
            raise RefusedError(f"its operands {shapes} become {target} only with the help of a constant")
        num_constants = net.num_constants(call, "self", "other", "mask")
        made = Function.DIVIDE if divides else function
        return net.add(elementwise(call.label, sources, target, made, shapes, num_constants))

    return rule


def _power(net: Conversion, call: Call) -> Value:
    exponent, source = call.arguments.get("exponent", 2), net.operand(call, "self")
    if exponent in (0.5, -0.5):
        return _activation(Function.SQRT)(net, call)
    if isinstance(exponent, Ref):
        raise RefusedError("its exponent is a tensor")
    if exponent not in (2, 3, 4):
        raise RefusedError(f"roots and powers of 2 to 4 are known, not of {exponent}")
    square = net.add(elementwise(call.label, (source.op, source.op), source.shape, Function.MULTIPLY))
    if exponent == 2:
        return square
    other = source if exponent == 3 else square
    return net.add(elementwise(call.label, (square.op, other.op), source.shape, Function.MULTIPLY))


def _softmax(net: Conversion, call: Call) -> Value:
    source, shape = net.operand(call, "self"), net.shape(call.arguments["self"])
    axis = call.integer("dim") % len(shape)
    if axis != len(shape) - 1:
        moved = (*shape[:axis], *shape[axis + 1 :], shape[axis])
        source = net.view(f"{call.label}.view", source, moved, moved=True)
    return net.add(softmax(call.label, source.op, source.shape))


def _recurrent(_net: Conversion, _call: Call) -> Value:
    raise RefusedError("recurrent layers have no op")


def _product(left: str, right: str) -> Rule:
    def rule(net: Conversion, call: Call) -> Value:
        if net.constant(call, left):
            return _transposed_product(net, call, left, right)
        first, stored = net.operand(call, left), net.constant(call, right)
        if stored:
            if prod(stored.shape[:-2]) != 1 or len(stored.shape) < 2:
                raise RefusedError(f"its stored operand has the shape {stored.shape}")
            bias = call.function == "addmm" and net.constant(call, "self") is not None
            return net.add(linear(call.label, first.op, first.shape, stored.shape[-1], bias))
        second = net.operand(call, right)
        return net.add(matmul(call.label, first.op, second.op, first.shape, second.shape))

    return rule


def _transposed_product(net: Conversion, call: Call, left: str, right: str) -> Value:
    """A stored matrix times an activation: a linear layer of the transpose."""
    stored, second = net.constant(call, left), net.operand(call, right)
    if stored is None or prod(stored.shape[:-2]) != 1 or min(len(stored.shape), len(second.shape)) < 2:
        raise RefusedError("its left operand is stored, and no one matrix")
    *outer, rows, columns = second.shape
    turned = net.view(f"{call.label}.view", second, (1, *outer, columns, rows), moved=True)
    made = net.add(linear(call.label, turned.op, turned.shape, stored.shape[-2]))
    return net.view(f"{call.label}.view", made, (1, *outer, stored.shape[-2], columns), moved=True)


def _add_product(net: Conversion, call: Call) -> Value:
    if net.constant(call, "self") is None or net.constant(call, "mat2") is None:
        raise RefusedError("its bias or its weight is computed from the input; write the product and the sum")
    return _product("mat1", "mat2")(net, call)


def _attention(net: Conversion, call: Call) -> Value:
    name = call.label.replace(call.function, "attention")
    query, key, value = (net.operand(call, part) for part in ("query", "key", "value"))
    if call.arguments["attn_mask"] is not None and not net.constant(call, "attn_mask"):
        raise RefusedError("its mask is computed from the input")
    transposed = (*key.shape[:-2], key.shape[-1], key.shape[-2])
    keys = net.add(reshape(f"{name}.keys", key.op, key.shape, transposed))
    scores = net.add(matmul(f"{name}.scores", query.op, keys.op, query.shape, transposed))
    scores = net.add(elementwise(f"{name}.scale", (scores.op,), scores.shape, Function.MULTIPLY))
    if call.arguments["attn_mask"] is not None or call.arguments["is_causal"]:
        size = net.num_constants(call, "attn_mask") or prod(scores.shape[-2:])
        scores = net.add(elementwise(f"{name}.mask", (scores.op,), scores.shape, Function.ADD, num_constants=size))
    weights = net.add(softmax(f"{name}.softmax", scores.op, scores.shape))
    return net.add(matmul(f"{name}.values", weights.op, value.op, weights.shape, value.shape))


_ACTIVATIONS: Final = {
    "relu": Function.RELU,
    "relu6": Function.RELU6,
    "sigmoid": Function.SIGMOID,
    "tanh": Function.TANH,
    "gelu": Function.GELU,
    "silu": Function.SILU,
    "hardswish": Function.HARDSWISH,
    "hardsigmoid": Function.HARDSIGMOID,
    "leaky_relu": Function.LEAKY_RELU,
    "prelu": Function.LEAKY_RELU,
    **dict.fromkeys(("elu", "selu", "celu"), Function.ELU),
    "mish": Function.MISH,
    "softplus": Function.SOFTPLUS,
    "exp": Function.EXP,
    **dict.fromkeys(("sqrt", "rsqrt"), Function.SQRT),
    "abs": Function.ABS,
    "neg": Function.MULTIPLY,
    "reciprocal": Function.DIVIDE,
}
_BINARIES: Final = {
    "add": Function.ADD,
    "sub": Function.ADD,
    "rsub": Function.ADD,
    "masked_fill": Function.ADD,  # of minus infinity
    "mul": Function.MULTIPLY,
    "div": Function.MULTIPLY,  # by the reciprocal, if that is stored
    **dict.fromkeys(("maximum", "minimum"), Function.MAXIMUM),
}

ARITHMETIC: Final[dict[str, Rule]] = {
    **dict.fromkeys(("conv1d", "conv2d"), _convolution),
    "linear": _linear,
    "matmul": _product("self", "other"),
    **dict.fromkeys(("mm", "bmm"), _product("self", "mat2")),
    "addmm": _add_product,
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), _softmax),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool2d_with_indices"), _pool(average=False)),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), _pool(average=True)),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d"), _adaptive_average_pool),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), _adaptive_max_pool),
    **dict.fromkeys(("mean", "sum"), _mean),
    "linalg_vector_norm": _vector_norm,
    **dict.fromkeys(("amax", "max"), _maximum),
    **{name: _activation(function) for name, function in _ACTIVATIONS.items()},
    **dict.fromkeys(_BOUNDS, _clamp),
    **{name: _binary(function) for name, function in _BINARIES.items()},
    **dict.fromkeys(("square", "pow"), _power),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
}
"""The rule of each function, by its name in ATen."""
