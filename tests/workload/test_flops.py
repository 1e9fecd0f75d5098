"""FLOP conventions, op by op, against counts worked out by hand; the totals of Table I are in tests/frontend."""

from __future__ import annotations

import pytest

from ceesim.errors import WorkloadError
from ceesim.workload.flops import Convention, backbone_flops, op_flops, path_flops
from ceesim.workload.network import Workload
from ceesim.workload.ops import (
    INPUT,
    Function,
    Op,
    adaptive_average_pool,
    concat,
    conv,
    elementwise,
    layer_norm,
    linear,
    matmul,
    pool,
    reshape,
    softmax,
)


@pytest.mark.parametrize(
    ("op", "macs", "std"),
    [
        (conv("o", INPUT, (3, 4, 4), 8, (3, 3), padding=(1, 1), bias=True), 3456, 6912),
        (linear("o", INPUT, (10,), 5, bias=True), 50, 100),
        (matmul("o", "a", "b", (2, 3, 4), (2, 4, 5)), 120, 240),
        (elementwise("o", ("a",), (2, 3), Function.SIGMOID), 0, 6),
        (elementwise("o", ("a", "b"), (2, 3), Function.ADD, ((2, 3), (1, 3))), 0, 6),
        (pool("o", INPUT, (2, 4, 4), (3, 3), (1, 1)), 0, 2 * 4 * 8),
        (pool("o", INPUT, (2, 4, 4), (2, 2), (2, 2), average=True), 0, 2 * 16),
        (pool("o", INPUT, (2, 4, 4), (1, 1), (2, 2), average=True), 0, 0),
        (adaptive_average_pool("o", INPUT, (2, 6, 6), (6, 6)), 0, 0),
        (adaptive_average_pool("o", INPUT, (2, 6, 6), (1, 1)), 0, 72),
        (adaptive_average_pool("o", INPUT, (1, 7, 1), (3, 1)), 0, 9),
        (adaptive_average_pool("o", INPUT, (1, 2, 3), (2, 2)), 0, 8),
        (softmax("o", INPUT, (3, 10)), 0, 3 * 48),
        (layer_norm("o", INPUT, (3, 10)), 0, 3 * 72),
        (concat("o", ("a", "b"), ((2, 3), (4, 3)), 0), 0, 0),
        (reshape("o", INPUT, (2, 3), (6,)), 0, 0),
    ],
)
def test_each_kind_of_op(op: Op, macs: int, std: int) -> None:
    sources = tuple(dict.fromkeys(op.inputs))
    makers = [
        reshape(source, INPUT, (1000, 1, 1), shape)
        for source, shape in zip(op.inputs, op.input_shapes, strict=True)
        if source != INPUT
    ]
    logits = [reshape("r", op.name, op.output_shape, (1,))]
    shape = (1000, 1, 1) if makers else op.input_shapes[0]
    workload = Workload("net", 1, shape, (*makers, op, *logits), (), "r")
    assert sources
    assert op_flops(workload, Convention.MACS)["o"] == macs
    assert op_flops(workload, Convention.STD)["o"] == std
    assert op_flops(workload)["o"] == std


def _tiny(name: str, num_convs: int = 3) -> Workload:
    more = [conv(f"c{i}", f"c{i - 1}", (6, 4, 4), 6, (1, 1)) for i in range(4, num_convs + 1)]
    ops = (
        conv("c1", INPUT, (1, 4, 4), 2, (1, 1)),
        conv("c2", "c1", (2, 4, 4), 2, (1, 1)),
        conv("c3", "c2", (2, 4, 4), 6, (1, 1)),
        *more,
        pool("p", f"c{num_convs}", (6, 4, 4), (2, 2), (2, 2)),
        adaptive_average_pool("a", "p", (6, 2, 2), (2, 2)),
        reshape("f", "a", (6, 2, 2), (24,)),
        linear("l", "f", (24,), 10, bias=True),
    )
    return Workload(name, 10, (1, 4, 4), ops, (), "l")


def test_the_quirks_of_table1() -> None:
    vgg = op_flops(_tiny("vggsmall", 6), Convention.TABLE1)
    assert vgg["c2"] == 2 * 2 * 2 * 16
    assert vgg["c3"] == 2 * 6 * 6 * 16  # out_channels in place of its 2 in_channels
    assert vgg["p"] == 24 * 4
    assert vgg["a"] == 24 * 4  # the identity, at the output size squared
    assert vgg["l"] == 3 * 240
    resnet = op_flops(_tiny("resnet50", 53), Convention.TABLE1)
    assert resnet["l"] == 2 * 240
    assert resnet["c3"] == 2 * 2 * 6 * 16


@pytest.mark.parametrize("count", [op_flops, path_flops, backbone_flops])
def test_table1_knows_its_own_networks_only(count: object) -> None:
    assert callable(count)
    with pytest.raises(WorkloadError, match=r"net: the convention table1 is defined for the networks of Table I alone"):
        count(_tiny("net"), Convention.TABLE1)
    with pytest.raises(WorkloadError, match=r"vggsmall: the convention table1 is defined"):
        count(_tiny("vggsmall"), Convention.TABLE1)  # another network of that name
