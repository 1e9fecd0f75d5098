"""The rules of functions that compute: which op, or ops, each of them is.

BatchNorm vanishes into the convolution or linear layer that it alone follows, and is a product and a sum with
constants anywhere else. Attention is a product, a scaling, a softmax and a product.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Final

from ceesim.frontend.aten.conversion import Conversion, Rule, Value, without_batch
from ceesim.frontend.aten.graph import Call, Ref, RefusedError
from ceesim.workload.ops import (
    Function,
    OpKind,
    Shape,
    adaptive_average_pool,
    broadcast,
    conv,
    elementwise,
    layer_norm,
    linear,
    matmul,
    pool,
    reshape,
    softmax,
)


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
        if any(margin % 2 for margin in margins):
            raise RefusedError(f"'same' padding of a {height}×{width} kernel is not symmetric")
        padding = (margins[0] // 2, margins[1] // 2)
    else:
        padding = call.pair("padding")
    bias = call.arguments["bias"] is not None
    stride = call.pair("stride")
    op = conv(call.label, source.op, shape, out_channels, (height, width), stride, padding, dilation, groups, bias)
    return net.add(op)


def _linear(net: Conversion, call: Call) -> Value:
    weight, source = net.constant(call, "weight"), net.operand(call, "input")
    if weight is None:
        raise RefusedError("its weight is computed from the input")
    return net.add(linear(call.label, source.op, source.shape, weight.shape[0], call.arguments["bias"] is not None))


def _batch_norm(net: Conversion, call: Call) -> Value:
    if call.arguments.get("training"):
        raise RefusedError("it normalises with the statistics of its batch")
    source, name = net.operand(call, "input"), call.refs[0].name
    maker = net.ops.get(net.makers.get(name, ""))
    # behind a linear layer of many rows it normalises over the rows, and does not fold
    folds = maker is not None and (
        maker.kind is OpKind.CONV or (maker.kind is OpKind.LINEAR and len(maker.output_shape) == 1)
    )
    if maker is not None and folds and net.readers[name] == 1:
        net.ops[maker.name] = replace(maker, bias=True)
        return source
    num_channels = net.num_constants(call, "running_mean")
    value = source
    for step, function in (("scale", Function.MULTIPLY), ("shift", Function.ADD)):
        op = elementwise(f"{call.label}.{step}", (value.op,), value.shape, function, num_constants=num_channels)
        value = net.add(op)
    return value


def _pool(*, average: bool) -> Rule:
    def rule(net: Conversion, call: Call) -> Value:
        source, shape = _map(net, call, "self")
        kernel = call.pair("kernel_size")
        stride, padding = call.pair("stride", kernel), call.pair("padding")
        dilation = (1, 1) if average else call.pair("dilation")
        op = pool(call.label, source.op, shape, kernel, stride, padding, dilation, average)
        if prod(op.output_shape) != prod(call.shape):
            raise RefusedError("ceil_mode adds windows that hang over the edge")
        return net.add(op)

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


def _reduced(net: Conversion, call: Call) -> tuple[Value, Shape]:
    """The operand as one map, the axes that the call reduces behind the others."""
    if "other" in call.arguments:
        raise RefusedError("of two tensors it has no op")
    value, shape = net.operand(call, "self"), net.shape(call.arguments["self"])
    axes = sorted({axis % len(shape) for axis in call.integers("dim")}) or list(range(len(shape)))
    kept = prod(size for axis, size in enumerate(shape) if axis not in axes)
    trailing = axes == list(range(len(shape) - len(axes), len(shape)))
    target = (kept, *shape[-2:]) if trailing and len(axes) == 2 else (kept, prod(shape) // kept, 1)
    return net.view(f"{call.label}.view", value, (1, *target), moved=not trailing), target


def _mean(net: Conversion, call: Call) -> Value:
    source, shape = _reduced(net, call)
    return net.add(adaptive_average_pool(call.label, source.op, shape, (1, 1)))


def _maximum(net: Conversion, call: Call) -> Value:
    source, shape = _reduced(net, call)
    return net.add(pool(call.label, source.op, shape, (shape[1], shape[2]), (1, 1)))


def _activation(function: Function) -> Rule:
    def rule(net: Conversion, call: Call) -> Value:
        source = net.operand(call, "self")
        num_constants = net.num_constants(call, "weight")
        return net.add(elementwise(call.label, (source.op,), source.shape, function, num_constants=num_constants))

    return rule


_BOUNDS: Final = {"hardtanh": ("min_val", "max_val"), "clamp": ("min", "max"), "clamp_min": ("min", "max")}


def _clamp(net: Conversion, call: Call) -> Value:
    lowest, highest = (call.arguments.get(key) for key in _BOUNDS[call.function])
    if lowest != 0 or highest not in (None, 6):
        raise RefusedError(f"it clamps to {lowest}…{highest}; ReLU and ReLU6 are known")
    return _activation(Function.RELU6 if highest else Function.RELU)(net, call)


def _binary(function: Function) -> Rule:
    def rule(net: Conversion, call: Call) -> Value:
        if call.arguments.get("alpha", 1) not in (1, -1):
            raise RefusedError(f"it scales an operand by alpha = {call.arguments['alpha']}; write the product")
        if call.function == "div":
            if isinstance(call.arguments["other"], Ref) and not net.constant(call, "other"):
                raise RefusedError("it divides by an activation")
            if call.arguments.get("rounding_mode") is not None:
                raise RefusedError("it rounds")
        operands = [value for ref in call.refs if isinstance(value := net.values[ref.name], Value)]
        sources, shapes = tuple(value.op for value in operands), tuple(value.shape for value in operands)
        target = without_batch(call.shape)
        if broadcast(shapes) != target:
            raise RefusedError(f"its operands {shapes} become {target} only with the help of a constant")
        num_constants = net.num_constants(call, "self", "other", "mask")
        return net.add(elementwise(call.label, sources, target, function, shapes, num_constants))

    return rule


def _square(net: Conversion, call: Call) -> Value:
    if call.arguments.get("exponent", 2) != 2:
        raise RefusedError("squares are the only powers known")
    source = net.operand(call, "self")
    return net.add(elementwise(call.label, (source.op, source.op), source.shape, Function.MULTIPLY))


def _softmax(net: Conversion, call: Call) -> Value:
    source, shape = net.operand(call, "self"), net.shape(call.arguments["self"])
    axis = call.integer("dim") % len(shape)
    if axis != len(shape) - 1:
        moved = (*shape[:axis], *shape[axis + 1 :], shape[axis])
        source = net.view(f"{call.label}.view", source, moved, moved=True)
    return net.add(softmax(call.label, source.op, source.shape))


def _layer_norm(net: Conversion, call: Call) -> Value:
    source = net.operand(call, "input")
    row = prod(call.integers("normalized_shape"))
    rows = source.shape if source.shape[-1] == row else (prod(source.shape) // row, row)
    source = net.view(f"{call.label}.view", source, (1, *rows))
    return net.add(layer_norm(call.label, source.op, source.shape, net.num_constants(call, "weight", "bias")))


def _group_norm(net: Conversion, call: Call) -> Value:
    """A layer norm of each group of channels."""
    source, groups = net.operand(call, "input"), call.integer("num_groups")
    source = net.view(f"{call.label}.view", source, (1, groups, prod(source.shape) // groups))
    return net.add(layer_norm(call.label, source.op, source.shape, net.num_constants(call, "weight", "bias")))


def _product(left: str, right: str) -> Rule:
    def rule(net: Conversion, call: Call) -> Value:
        if net.constant(call, left):
            raise RefusedError("its left operand is stored; write it as a linear layer of the transpose")
        first, stored = net.operand(call, left), net.constant(call, right)
        if stored:
            if len(stored.shape) != 2:
                raise RefusedError(f"its stored operand has the shape {stored.shape}")
            bias = call.function == "addmm" and net.constant(call, "self") is not None
            return net.add(linear(call.label, first.op, first.shape, stored.shape[1], bias))
        second = net.operand(call, right)
        return net.add(matmul(call.label, first.op, second.op, first.shape, second.shape))

    return rule


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
    "neg": Function.MULTIPLY,
}
_BINARIES: Final = {
    "add": Function.ADD,
    "sub": Function.ADD,
    "rsub": Function.ADD,
    "masked_fill": Function.ADD,  # of minus infinity
    "mul": Function.MULTIPLY,
    "div": Function.MULTIPLY,  # by the reciprocal
}

ARITHMETIC: Final[dict[str, Rule]] = {
    **dict.fromkeys(("conv1d", "conv2d"), _convolution),
    "linear": _linear,
    "matmul": _product("self", "other"),
    **dict.fromkeys(("mm", "bmm"), _product("self", "mat2")),
    "addmm": _add_product,
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), _batch_norm),
    **dict.fromkeys(("layer_norm", "native_layer_norm"), _layer_norm),
    "group_norm": _group_norm,
    **dict.fromkeys(("softmax", "_softmax"), _softmax),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool2d_with_indices"), _pool(average=False)),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), _pool(average=True)),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d"), _adaptive_average_pool),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), _adaptive_max_pool),
    "mean": _mean,
    **dict.fromkeys(("amax", "max"), _maximum),
    **{name: _activation(function) for name, function in _ACTIVATIONS.items()},
    **dict.fromkeys(_BOUNDS, _clamp),
    **{name: _binary(function) for name, function in _BINARIES.items()},
    **dict.fromkeys(("square", "pow"), _square),
}
"""The rule of each function, by its name in ATen."""
