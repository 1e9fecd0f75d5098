"""The rules of normalisations.

A batch norm vanishes into the convolution or linear layer that it alone follows, and is a product and a sum with
constants anywhere else. The others are layer norms of rows, of groups of channels, or of single ones; an RMS norm is
taken for one, though it needs no mean.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Final

from ceesim.frontend.aten.conversion import Conversion, Rule, Value
from ceesim.frontend.aten.graph import Call, RefusedError, read_by
from ceesim.workload.ops import Function, OpKind, elementwise, layer_norm


def _batch_norm(net: Conversion, call: Call) -> Value:
    if call.arguments.get("training"):
        raise RefusedError("it normalises with the statistics of its batch")
    source, name = net.operand(call, "input"), read_by(call)
    maker, shape = net.ops.get(net.makers.get(name, "")), net.shape(call.arguments["input"])
    # it normalises axis 1, and folds where that is the channels, or the features of rows that stand on axis 0
    folds = maker is not None and (
        (maker.kind is OpKind.CONV and shape[:2] == (1, maker.output_shape[0]))
        or (maker.kind is OpKind.LINEAR and len(shape) == 2)
    )
    if maker is not None and folds and net.is_read_once(name):
        net.ops[maker.name] = replace(maker, bias=True)
        return source
    num_channels = net.num_constants(call, "running_mean")
    value = source
    for step, function in (("scale", Function.MULTIPLY), ("shift", Function.ADD)):
        op = elementwise(f"{call.label}.{step}", (value.op,), value.shape, function, num_constants=num_channels)
        value = net.add(op)
    return value


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


def _instance_norm(net: Conversion, call: Call) -> Value:
    """A layer norm of each channel."""
    if not call.arguments["use_input_stats"]:
        raise RefusedError("it normalises with stored statistics; write a batch norm")
    source = net.operand(call, "input")
    source = net.view(f"{call.label}.view", source, (1, source.shape[0], prod(source.shape[1:])))
    return net.add(layer_norm(call.label, source.op, source.shape, net.num_constants(call, "weight", "bias")))


NORMS: Final[dict[str, Rule]] = {
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), _batch_norm),
    **dict.fromkeys(("layer_norm", "native_layer_norm", "rms_norm"), _layer_norm),
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
}
"""The rule of each function, by its name in ATen."""
