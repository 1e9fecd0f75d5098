"""The rules, on calls written by hand: nothing here needs torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from ceesim.errors import WorkloadError
from ceesim.frontend.aten.convert import convert
from ceesim.frontend.aten.graph import Argument, Call, Graph, Ref, needed
from ceesim.workload.ops import INPUT, Function, Op, OpKind, Shape
from ceesim.workload.window import Window

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


def pad(*pads: int, **changes: Argument) -> Call:
    shape = (1, 4, 6 + sum(pads[2:4]), 6 + sum(pads[:2]))
    return call("pad", shape, **({"self": X, "pad": pads, "mode": "constant", "value": 0.0} | changes))


@pytest.mark.parametrize(
    ("pads", "own", "window"),
    [
        ((1, 1, 1, 1), (0, 0), Window((3, 3), padding=(1, 1))),
        ((0, 1, 0, 1), (0, 0), Window((3, 3), padding=(0, 0), padding_after=(1, 1))),
        ((2, 1), (1, 0), Window((3, 3), padding=(1, 2), padding_after=(1, 1))),
    ],
)
def test_zeros_around_a_map_are_padding(pads: tuple[int, ...], own: tuple[int, int], window: Window) -> None:
    padded = pad(*pads)
    rows, columns = (padded.shape[2 + axis] + 2 * own[axis] - 2 for axis in (0, 1))
    (op,) = ops(padded, conv2d((1, 8, rows, columns), input=Ref("pad"), padding=own), w=(8, 4, 3, 3))
    assert (op.window, op.input_shapes, op.output_shape) == (window, ((4, 6, 6),), (8, rows, columns))


def test_same_padding_of_an_even_kernel_has_more_behind() -> None:
    (op,) = ops(conv2d(padding="same"), w=(8, 4, 2, 4))
    assert op.window == Window((2, 4), padding=(0, 1), padding_after=(1, 2))


def test_a_dilated_window_spans_more_zeros() -> None:
    padded = call("pad", (1, 4, 10), self=X, pad=(4, 0), mode="constant", value=0.0)
    causal = {"weight": Ref("w"), "bias": None, "stride": (1,), "padding": (0,), "groups": 1}
    convolved = call("conv1d", (1, 8, 6), input=Ref("pad"), dilation=(2,), **causal)
    op = ops(padded, convolved, input_shape=(4, 6), w=(8, 4, 3))[1]
    assert op.window == Window((1, 3), padding=(0, 4), padding_after=(0, 0), dilation=(1, 2))


def test_padding_is_told_though_the_weights_are_worked_out_later() -> None:
    weight = call("mul", (8, 4, 3, 3), self=Ref("w"), other=Ref("w"))
    (op,) = ops(pad(1, 1, 1, 1), weight, conv2d(input=Ref("pad"), weight=Ref("mul"), padding=(0, 0)), w=(8, 4, 3, 3))
    assert op.window == Window((3, 3), padding=(1, 1))


def test_a_margin_that_others_read_is_made() -> None:
    """Not only windows read it, or not as zeros."""
    convolved = conv2d((1, 8, 6, 6), input=Ref("pad"), padding=(0, 0))
    both = call("amax", (1, 4), self=Ref("pad"), dim=(2, 3))
    wide = conv2d((1, 8, 10, 10), input=Ref("pad"), padding=(0, 0))  # some of its windows would see nothing but zeros
    for calls in ([pad(1, 1, 1, 1), convolved, both], [pad(1, 1, 1, 1, value=1.0), convolved], [pad(3, 3, 3, 3), wide]):
        assert [op.kind for op in ops(*calls, w=(8, 4, 3, 3))][:2] == [OpKind.CONCAT, OpKind.CONCAT]


def test_what_a_pool_never_picks_is_padding_too() -> None:
    pooled = call(
        "max_pool2d", (1, 4, 3, 3), self=Ref("pad"), kernel_size=(3, 3), stride=(2, 2), padding=(0, 0), dilation=(1, 1)
    )
    (op,) = ops(pad(0, 1, 0, 1, value=-1e9), pooled)
    assert op.window == Window((3, 3), (2, 2), padding=(0, 0), padding_after=(1, 1))


@pytest.mark.parametrize(("size", "stride", "made"), [(6, 2, 3), (5, 2, 2), (7, 3, 3)])
def test_windows_that_hang_over_the_edge(size: int, stride: int, made: int) -> None:
    arguments = {"kernel_size": (3, 3), "stride": (stride, stride), "padding": (0, 0), "dilation": (1, 1)}
    pooled = call("max_pool2d", (1, 4, made, made), self=X, ceil_mode=True, **arguments)
    (op,) = ops(pooled, input_shape=(4, size, size))
    over = (made - 1) * stride + 3 - size
    assert op.window == Window((3, 3), (stride, stride), padding_after=(over, over) if over > 0 else None)


def test_a_norm_of_features_folds_behind_rows_taken_together() -> None:
    linear = call("linear", (1, 4, 8), input=X, weight=Ref("w"), bias=None)
    rows = call("flatten", (4, 8), self=Ref("linear"))
    norm = call("batch_norm", (4, 8), input=Ref("flatten"), running_mean=Ref("m"), training=False)
    (folded,) = ops(linear, rows, norm, input_shape=(4, 6), w=(8, 6), m=(8,))
    assert folded.bias


def test_a_norm_of_rows_does_not_fold_into_a_convolution() -> None:
    rows = call("squeeze", (8, 6, 6), self=Ref("conv2d"), dim=0)
    norm = call("batch_norm", (8, 6, 6), input=Ref("squeeze"), running_mean=Ref("m"), training=False)
    assert len(ops(conv2d(), rows, norm, w=(8, 4, 3, 3), m=(6,))) == 3


def test_a_norm_does_not_fold_where_what_it_reads_is_handed_on_from_what_others_read() -> None:
    dropped = call("dropout", (1, 8, 6, 6), input=Ref("conv2d"), train=False)
    norm = call("batch_norm", (1, 8, 6, 6), input=Ref("dropout"), running_mean=Ref("m"), training=False)
    both = call("add", (1, 8, 6, 6), self=Ref("batch_norm"), other=Ref("conv2d"), alpha=1)
    assert len(ops(conv2d(), dropped, norm, w=(8, 4, 3, 3), m=(8,))) == 1
    assert len(ops(conv2d(), dropped, norm, both, w=(8, 4, 3, 3), m=(8,))) == 4


def test_a_stored_matrix_on_the_left_is_a_linear_layer_of_the_transpose() -> None:
    steps = ops(call("matmul", (1, 9, 6), self=Ref("w"), other=X), input_shape=(5, 6), w=(9, 5))
    assert [(op.kind, op.output_shape) for op in steps] == [
        (OpKind.RESHAPE, (6, 5)),
        (OpKind.LINEAR, (6, 9)),
        (OpKind.RESHAPE, (9, 6)),
    ]
    assert steps[1].macs == 9 * 5 * 6


def test_an_empty_tensor_joins_nothing() -> None:
    """As a cache that is still empty does."""
    joined = call("cat", (1, 4, 6, 6), tensors=(Ref("e"), X), dim=1)
    (op,) = ops(joined, call("relu", (1, 4, 6, 6), self=Ref("cat")), e=(0,))
    assert op.inputs == (INPUT,)


@pytest.mark.parametrize(
    ("function", "arguments", "made"),
    [
        ("div", {"self": X, "other": X}, [Function.DIVIDE]),
        ("div", {"self": X, "other": 2.0}, [Function.MULTIPLY]),
        ("reciprocal", {"self": X}, [Function.DIVIDE]),
        ("maximum", {"self": X, "other": X}, [Function.MAXIMUM]),
        ("max", {"self": X, "other": X}, [Function.MAXIMUM]),
        ("clamp", {"self": X, "min": -1, "max": 1}, [Function.CLAMP]),
        ("clamp", {"self": X, "min": 0, "max": None}, [Function.RELU]),
        ("clamp_max", {"self": X, "max": 3}, [Function.CLAMP]),
        ("pow", {"self": X, "exponent": 2}, [Function.MULTIPLY]),
        ("pow", {"self": X, "exponent": 4}, [Function.MULTIPLY, Function.MULTIPLY]),
        ("pow", {"self": X, "exponent": -0.5}, [Function.SQRT]),
        ("rsqrt", {"self": X}, [Function.SQRT]),
        ("selu", {"self": X}, [Function.ELU]),
    ],
)
def test_functions_of_one_element(function: str, arguments: dict[str, Argument], made: list[Function]) -> None:
    assert [op.function for op in ops(call(function, (1, 4, 6, 6), **arguments))] == made


def test_a_vector_s_length_is_the_root_of_a_sum_of_squares() -> None:
    steps = ops(call("linalg_vector_norm", (1, 4, 1, 1), self=X, ord=2, dim=(2, 3), keepdim=True))
    assert [op.function or op.kind for op in steps] == [
        Function.MULTIPLY,
        OpKind.ADAPTIVE_AVERAGE_POOL,
        Function.SQRT,
    ]


def test_what_every_block_repeats_is_said_once() -> None:
    calls = [Call(f"c{i}", "cumsum", {"self": X}, (1, 4), f"c{i}", f"blocks.{i} (net.py:7)") for i in range(9)]
    joined = call("cat", (1, 36), tensors=tuple(Ref(each.name) for each in calls), dim=1)
    with pytest.raises(WorkloadError) as caught:
        ops(*calls, joined, input_shape=(4,))
    assert str(caught.value) == (
        "blocks.0 (net.py:7); blocks.1 (net.py:7); blocks.2 (net.py:7); blocks.3 (net.py:7); and 5 more: "
        "cannot price cumsum: no op stands for it"
    )


GROWN = call("expand", (1, 3, 6, 6), self=X, size=(1, 3, 6, 6))


@pytest.mark.parametrize(
    ("calls", "constants", "reason"),
    [
        ([conv2d()], {"w": (8, 5, 3, 3)}, "conv2d: it reads 4 channels with weights for 5"),
        ([conv2d(weight=X)], {}, "its weight is computed from the input"),
        ([call("pow", (1, 4, 6, 6), self=X, exponent=Ref("w"))], {"w": (1,)}, "its exponent is a tensor"),
        ([call("pow", (1, 4, 6, 6), self=X, exponent=5)], {}, "roots and powers of 2 to 4 are known, not of 5"),
        ([call("clamp", (1, 4, 6, 6), self=X, min=Ref("w"), max=1)], {"w": (6, 6)}, "its bounds are tensors"),
        ([call("linalg_vector_norm", (1,), self=X, ord=1, dim=None)], {}, "the only norm known"),
        ([call("sum", (), self=X)], {}, "it makes one number of all values"),
        ([call("lstm", (1, 4, 6, 6), input=X)], {}, "recurrent layers have no op"),
        ([call("add", (1, 4, 6, 6), self=X, other=Ref("w"), alpha=2)], {"w": (4, 6, 6)}, "alpha = 2"),
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
            "does not have the values of",
        ),
        ([call("adaptive_max_pool2d", (1, 4, 4, 4), self=X, output_size=(4, 4))], {}, "do not fall into 4×4 equal"),
        ([call("matmul", (4, 6, 6), self=Ref("w"), other=X)], {"w": (4, 6, 6)}, "its left operand is stored"),
        ([call("matmul", (1, 4, 6, 6), self=X, other=Ref("w"))], {"w": (4, 6, 6)}, "its stored operand has the shape"),
        ([call("batch_norm", (1, 4, 6, 6), input=X, training=True)], {}, "statistics of its batch"),
        ([call("index", (1, 2, 6, 6), self=X, indices=(X,))], {}, "its indices are computed from the input"),
        ([call("pad", (1, 3, 6, 6), self=X, pad=(0, 0, 0, 0, -1, 0))], {}, "it crops"),
        ([call("pad", (1, 4, 8, 6), self=X, pad=(0, 0, 1, 1), mode="reflect")], {}, "only padding with a constant"),
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
