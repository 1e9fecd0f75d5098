"""The rules, on calls written by hand: nothing here needs torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from ceesim.errors import WorkloadError
from ceesim.frontend.aten.convert import convert
from ceesim.frontend.aten.graph import Argument, Call, Graph, Ref, needed
from ceesim.workload.ops import INPUT, Function, Op, OpKind, Shape, Window

X = Ref("x")


def call(function: str, shape: Shape, name: str | None = None, **arguments: Argument) -> Call:
    return Call(name or function, function, arguments, shape, function, f"block ({function}.py:1)")


def ops(*calls: Call, input_shape: Shape = (4, 6, 6), **constants: Shape) -> tuple[Op, ...]:
    return convert(Graph("x", input_shape, constants, calls, (calls[-1].name,)))[0]


def conv2d(shape: Shape = (1, 8, 6, 6), **changes: Any) -> Call:
    given = {"input": X, "weight": Ref("w"), "bias": None, "stride": (1, 1), "padding": (1, 1)}
    return call("conv2d", shape, **(given | {"dilation": (1, 1), "groups": 1} | changes))


def test_a_graph_keeps_what_its_outputs_need() -> None:
    first, dead = call("relu", (1, 4), self=X), call("tanh", (1, 4), self=X)
    last = call("sigmoid", (1, 4), self=Ref("relu"))
    assert needed((first, dead, last), ("sigmoid",)) == (first, last)


def test_a_convolution() -> None:
    (op,) = ops(conv2d(), w=(8, 4, 3, 3))
    assert op.kind is OpKind.CONV
    assert (op.input_shapes, op.output_shape) == (((4, 6, 6),), (8, 6, 6))
    assert op.window == Window((3, 3), padding=(1, 1))
    assert not op.bias


@pytest.mark.parametrize(
    ("kernel", "dilation", "padding"), [((3, 5), (1, 1), (1, 2)), ((3, 3), (2, 2), (2, 2)), ((1, 1), (1, 1), (0, 0))]
)
def test_same_padding(kernel: tuple[int, int], dilation: tuple[int, int], padding: tuple[int, int]) -> None:
    (op,) = ops(conv2d(padding="same", dilation=dilation), w=(8, 4, *kernel))
    assert op.window is not None
    assert op.window.padding == padding


def test_a_norm_folds_into_the_convolution_that_only_it_reads() -> None:
    norm = call("batch_norm", (1, 8, 6, 6), input=Ref("conv2d"), running_mean=Ref("m"), training=False)
    both = call("add", (1, 8, 6, 6), self=Ref("batch_norm"), other=Ref("conv2d"), alpha=1)
    (folded,) = ops(conv2d(), norm, w=(8, 4, 3, 3), m=(8,))
    assert folded.bias
    kept = ops(conv2d(), norm, both, w=(8, 4, 3, 3), m=(8,))
    assert [(op.name, op.num_constants) for op in kept] == [
        ("conv2d", 0),
        ("batch_norm.scale", 8),
        ("batch_norm.shift", 8),
        ("add", 0),
    ]


def test_a_norm_over_rows_does_not_fold_into_a_linear_layer() -> None:
    linear = call("linear", (1, 4, 8), input=X, weight=Ref("w"), bias=None)
    norm = call("batch_norm", (1, 4, 8), input=Ref("linear"), running_mean=Ref("m"), training=False)
    assert [op.kind for op in ops(linear, norm, input_shape=(4, 6), w=(8, 6), m=(4,))] == [
        OpKind.LINEAR,
        OpKind.ELEMENTWISE,
        OpKind.ELEMENTWISE,
    ]
    (folded,) = ops(
        call("linear", (1, 8), input=X, weight=Ref("w"), bias=None),
        call("batch_norm", (1, 8), input=Ref("linear"), running_mean=Ref("m"), training=False),
        input_shape=(6,),
        w=(8, 6),
        m=(8,),
    )
    assert folded.bias


def test_stored_tensors_are_worked_out_beforehand() -> None:
    table = call("mul", (1, 16, 4), self=Ref("p"), other=Ref("p"))
    total = call("add", (1, 16, 4), self=X, other=Ref("mul"), alpha=1)
    (op,) = ops(table, total, input_shape=(16, 4), p=(1, 16, 4))
    assert (op.function, op.inputs, op.num_constants) == (Function.ADD, (INPUT,), 64)


def test_scalars_are_no_stored_values() -> None:
    (op,) = ops(call("mul", (1, 4), self=X, other=Ref("s")), input_shape=(4,), s=())
    assert (op.inputs, op.num_constants) == ((INPUT,), 0)


def test_a_view_of_the_same_shape_is_no_op() -> None:
    view = call("view", (1, 4, 36), self=X, size=(1, 4, -1))
    again = call("reshape", (1, 4, 36), self=Ref("view"))
    relu = call("relu", (1, 4, 36), self=Ref("reshape"))
    assert [op.name for op in ops(view, again, relu)] == ["view", "relu"]


def test_a_permutation_is_an_op_even_of_a_square() -> None:
    assert [op.kind for op in ops(call("transpose", (1, 4, 4), self=X), input_shape=(4, 4))] == [OpKind.RESHAPE]


def test_names_are_made_unique_and_never_that_of_the_input() -> None:
    first = Call("a", "relu", {"self": X}, (1, 4), INPUT, "")
    second = Call("b", "relu", {"self": Ref("a")}, (1, 4), INPUT, "")
    assert [op.name for op in ops(first, second, input_shape=(4,))] == ["input_1", "input_2"]


def test_joining_stored_tokens() -> None:
    token = call("expand", (1, 1, 4), self=Ref("t"))
    joined = call("cat", (1, 10, 4), tensors=(Ref("expand"), X), dim=1)
    (op,) = ops(token, joined, input_shape=(9, 4), t=(1, 1, 4))
    assert (op.output_shape, op.axis, op.num_constants) == ((10, 4), 0, 4)


def test_attention_is_four_steps_and_a_transposition() -> None:
    steps = ops(
        call("scaled_dot_product_attention", (1, 2, 5, 8), query=X, key=X, value=X, attn_mask=None, is_causal=True),
        input_shape=(2, 5, 8),
    )
    assert [(op.name, op.output_shape, op.num_constants) for op in steps] == [
        ("attention.keys", (2, 8, 5), 0),
        ("attention.scores", (2, 5, 5), 0),
        ("attention.scale", (2, 5, 5), 0),
        ("attention.mask", (2, 5, 5), 25),
        ("attention.softmax", (2, 5, 5), 0),
        ("attention.values", (2, 5, 8), 0),
    ]


def test_a_mean_over_tokens_brings_them_behind_the_features() -> None:
    steps = ops(call("mean", (1, 8), self=X, dim=(1,), keepdim=False), input_shape=(5, 8))
    assert [(op.kind, op.output_shape) for op in steps] == [
        (OpKind.RESHAPE, (8, 5, 1)),
        (OpKind.ADAPTIVE_AVERAGE_POOL, (8, 1, 1)),
        (OpKind.RESHAPE, (8,)),
    ]


def test_a_repeating_view_is_read_by_a_broadcasting_op() -> None:
    grown = call("expand", (1, 4, 6, 6), self=X, size=(1, 4, 6, 6))
    (op,) = ops(
        grown, call("mul", (1, 4, 6, 6), self=Ref("expand"), other=Ref("w")), input_shape=(4, 6, 6), w=(4, 6, 6)
    )
    assert op.num_constants == 144


GROWN = call("expand", (1, 3, 6, 6), self=X, size=(1, 3, 6, 6))


@pytest.mark.parametrize(
    ("calls", "constants", "reason"),
    [
        ([conv2d()], {"w": (8, 5, 3, 3)}, "conv2d: it reads 4 channels with weights for 5"),
        ([conv2d(weight=X)], {}, "its weight is computed from the input"),
        ([conv2d(padding="same")], {"w": (8, 4, 2, 2)}, "'same' padding of a 2×2 kernel is not symmetric"),
        ([call("pow", (1, 4, 6, 6), self=X, exponent=3)], {}, "squares are the only powers known"),
        ([call("clamp", (1, 4, 6, 6), self=X, min=-1, max=1)], {}, "it clamps to -1…1"),
        ([call("add", (1, 4, 6, 6), self=X, other=Ref("w"), alpha=2)], {"w": (4, 6, 6)}, "alpha = 2"),
        ([call("div", (1, 4, 6, 6), self=X, other=X)], {}, "it divides by an activation"),
        ([call("div", (1, 4, 6, 6), self=X, other=2, rounding_mode="floor")], {}, "it rounds"),
        ([call("mul", (1, 9, 4, 6, 6), self=X, other=Ref("w"))], {"w": (9, 1, 1, 1)}, "with the help of a constant"),
        (
            [
                call(
                    "max_pool2d",
                    (1, 4, 3, 3),
                    self=X,
                    kernel_size=(3, 3),
                    stride=(2, 2),
                    padding=(0, 0),
                    dilation=(1, 1),
                )
            ],
            {},
            "ceil_mode adds windows that hang over the edge",
        ),
        ([call("adaptive_max_pool2d", (1, 4, 4, 4), self=X, output_size=(4, 4))], {}, "do not fall into 4×4 equal"),
        ([call("max", (1, 4, 6, 6), self=X, other=X)], {}, "of two tensors it has no op"),
        ([call("matmul", (4, 6, 6), self=Ref("w"), other=X)], {"w": (6, 6)}, "its left operand is stored"),
        ([call("matmul", (1, 4, 6, 6), self=X, other=Ref("w"))], {"w": (4, 6, 6)}, "its stored operand has the shape"),
        ([call("batch_norm", (1, 4, 6, 6), input=X, training=True)], {}, "statistics of its batch"),
        ([call("index", (1, 2, 6, 6), self=X, indices=(X,))], {}, "its indices are computed from the input"),
        ([call("pad", (1, 3, 6, 6), self=X, pad=(0, 0, 0, 0, -1, 0))], {}, "only padding with a constant"),
        ([call("pad", (2, 4, 6, 6), self=X, pad=(0, 0, 0, 0, 0, 0, 1, 0))], {}, "it pads the batch axis"),
        ([GROWN, call("relu", (1, 3, 6, 6), self=Ref("expand"))], {}, "expanded to"),
        ([GROWN, call("view", (1, 108), self=Ref("expand"))], {}, "expanded to"),
        ([call("repeat", (1, 4, 6, 12), self=X)], {}, "no op stands for it"),
        ([call("softmax", (1, 4, 6, 6), self=X, dim=None)], {}, "its dim is None"),
        ([call("relu", (1, 4, 6, 7), self=X)], {}, "does not have the values of"),
    ],
)
def test_refusals_say_why_and_where(calls: list[Call], constants: dict[str, Shape], reason: str) -> None:
    shape = (1, 6, 6) if calls[0] is GROWN else (4, 6, 6)
    with pytest.raises(WorkloadError) as caught:
        ops(*calls, input_shape=shape, **constants)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"block ({calls[-1].function}.py:1): cannot price {calls[-1].function}: ")


def test_convolving_frames_is_refused() -> None:
    with pytest.raises(WorkloadError, match="it reads 5 maps per input at once"):
        ops(conv2d((5, 8, 6, 6)), input_shape=(5, 4, 6, 6), w=(8, 4, 3, 3))


def test_indices_of_maxima_have_no_op() -> None:
    pool = call("max_pool2d_with_indices", (1, 4, 3, 3), self=X, kernel_size=2, stride=(), padding=0, dilation=1)
    values = call("getitem", (1, 4, 3, 3), self=Ref(pool.name), index=0)
    assert [op.kind for op in ops(pool, values)] == [OpKind.MAX_POOL]
    with pytest.raises(WorkloadError, match="result 1 of max_pool2d_with_indices has no op"):
        ops(pool, call("getitem", (1, 4, 3, 3), self=Ref(pool.name), index=1))


def test_no_torch_is_loaded() -> None:
    script = "import sys, ceesim.frontend.aten.convert, ceesim.frontend.partition; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
