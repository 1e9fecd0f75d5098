"""Ops: their arithmetic against loops that count, and the refusal of every shape that does not fit."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceesim.errors import WorkloadError
from ceesim.workload.ops import (
    INPUT,
    LARGEST_DIMENSION,
    Function,
    Gemm,
    Op,
    OpKind,
    adaptive_average_pool,
    broadcast,
    concat,
    conv,
    elementwise,
    layer_norm,
    linear,
    matmul,
    pool,
    reshape,
)
from ceesim.workload.window import Window

small = st.integers(1, 4)


@given(
    groups=small, per_group=small, out_per_group=small, height=st.integers(5, 9), kernel=small, stride=small, pad=small
)
def test_conv_macs_are_those_of_the_nested_loops(
    groups: int, per_group: int, out_per_group: int, height: int, kernel: int, stride: int, pad: int
) -> None:
    op = conv(
        "c",
        INPUT,
        (groups * per_group, height, 7),
        groups * out_per_group,
        (kernel, 2),
        (stride, 1),
        (pad, 0),
        groups=groups,
    )
    rows = len(range(0, height + 2 * pad - kernel + 1, stride))
    count = sum(1 for _ in product(range(rows), range(6), range(groups * out_per_group), range(per_group * kernel * 2)))
    assert op.macs == count
    assert op.output_shape == (groups * out_per_group, rows, 6)
    assert op.num_weights == groups * out_per_group * per_group * kernel * 2


@pytest.mark.parametrize(("size", "after", "made"), [(8, (1, 1), 4), (7, (2, 2), 4), (8, (0, 0), 3), (8, None, 3)])
def test_padding_behind_may_differ_from_that_before(size: int, after: tuple[int, int] | None, made: int) -> None:
    op = conv("c", INPUT, (3, size, size), 2, (3, 3), stride=(2, 2), padding_after=after)
    assert op.output_shape == (2, made, made)
    assert op.macs == made * made * 2 * 3 * 9


def test_gemm_view() -> None:
    assert conv("c", INPUT, (3, 32, 32), 128, (3, 3), padding=(1, 1)).gemm == Gemm(m=1024, k=27, n=128)
    assert conv("d", INPUT, (8, 4, 4), 8, (3, 3), groups=8).gemm == Gemm(m=4, k=9, n=1, count=8)
    assert linear("l", INPUT, (64, 192), 10).gemm == Gemm(m=64, k=192, n=10)
    assert linear("l", INPUT, (192,), 10).gemm == Gemm(m=1, k=192, n=10)
    assert matmul("m", "a", "b", (4, 64, 48), (4, 48, 16)).gemm == Gemm(m=64, k=48, n=16, count=4)
    assert reshape("r", INPUT, (4, 4), (16,)).gemm is None


def test_parameters() -> None:
    assert (conv("c", INPUT, (3, 8, 8), 4, (3, 3), bias=True).num_weights, 4) == (108, 4)
    assert conv("c", INPUT, (3, 8, 8), 4, (3, 3), bias=True).num_biases == 4
    assert linear("l", INPUT, (5, 6), 7, bias=True).num_biases == 7
    assert matmul("m", "a", "b", (2, 3), (3, 4)).num_weights == 0
    assert concat("j", ("a",), ((4, 3),), 0, constant_length=1).num_constants == 3


def test_adaptive_windows_are_pytorchs() -> None:
    op = adaptive_average_pool("p", INPUT, (1, 7, 4), (3, 4))
    assert op.pool_windows(0) == (3, 3, 3)  # rows 0–2, 2–4, 4–6: they overlap
    assert op.pool_windows(1) == (1, 1, 1, 1)


def test_fixed_windows() -> None:
    op = pool("p", INPUT, (2, 13, 13), (3, 2), (2, 2))
    assert op.output_shape == (2, 6, 6)
    assert (op.pool_windows(0), op.pool_windows(1)) == ((3,) * 6, (2,) * 6)
    with pytest.raises(WorkloadError, match="is not a pool"):
        linear("l", INPUT, (4,), 4).pool_windows(0)


@pytest.mark.parametrize(
    ("shapes", "joined"),
    [
        (((4, 8, 8), (4, 1, 1)), (4, 8, 8)),
        (((8,), (64, 8)), (64, 8)),
        (((2, 1), (1, 3)), (2, 3)),
        (((2,), (3,)), None),
    ],
)
def test_broadcast(shapes: tuple[tuple[int, ...], ...], joined: tuple[int, ...] | None) -> None:
    assert broadcast(shapes) == joined


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv("c", INPUT, (3, 8), 4, (3, 3)), "an operand has no shape"),
        (lambda: adaptive_average_pool("p", INPUT, (3, 8), (1, 1)), "needs maps of shape"),
        (lambda: conv("c", INPUT, (3, 8, 8), 4, (9, 9)), "a dimension is out of range"),
        (lambda: conv("c", INPUT, (3, 8, 8), 4, (3, 3), groups=2), "groups do not divide the channels"),
        (lambda: linear("l", INPUT, (LARGEST_DIMENSION + 1,), 4), "a dimension is out of range"),
        (lambda: linear("l", INPUT, (), 4), "an operand has no shape"),
        (lambda: matmul("m", "a", "b", (2, 3), (4, 5)), "operands do not multiply"),
        (lambda: matmul("m", "a", "b", (2, 2, 3), (3, 3, 5)), "operands do not multiply"),
        (lambda: concat("j", ("a", "b"), ((2, 3), (2, 4)), 0), "do not join along axis 0"),
        (lambda: Op("j", OpKind.CONCAT, ("a",), ((2, 3),), (2, 3), axis=5), "do not join along axis 5"),
        (lambda: Op("j", OpKind.CONCAT, ("a",), ((2, 3),), (2, 3)), "do not join along axis -1"),
        (lambda: Op("j", OpKind.CONCAT, ("a",), ((2, 3),), (3, 3), axis=0), "not the sum of its parts"),
        (lambda: reshape("r", INPUT, (4,), (5,)), "cannot make values out of nothing"),
        (lambda: elementwise("e", ("a", "b"), (2, 3), Function.ADD, ((2, 3), (3, 2))), "do not broadcast"),
        (lambda: elementwise("e", ("a",), (2, 3), Function.ADD, ((2, 1),)), "do not broadcast"),
        (lambda: elementwise("e", ("a", "b", "c"), (2,), Function.ADD), "wrong number of operands"),
        (lambda: layer_norm("n", INPUT, (4,), num_constants=-1), "number of constants is out of range"),
        (lambda: Op("o", OpKind.ELEMENTWISE, (INPUT,), ((4,),), (4,)), "a function belongs to elementwise ops"),
        (
            lambda: Op("o", OpKind.SOFTMAX, (INPUT,), ((4,),), (4,), function=Function.ADD),
            "a function belongs to elementwise ops",
        ),
        (lambda: Op("o", OpKind.SOFTMAX, (INPUT,), ((4,),), (5,)), "keeps its shape"),
        (lambda: Op("o", OpKind.LINEAR, (INPUT,), ((2, 4),), (3, 5)), "only the last axis changes"),
        (lambda: Op("o", OpKind.LINEAR, (INPUT,), ((4,),), (5,), window=Window((1, 1))), "a window belongs to"),
        (lambda: Op("o", OpKind.LINEAR, (INPUT,), ((4,),), (5,), num_constants=1), "number of constants"),
        (lambda: Op("o", OpKind.CONV, (INPUT,), ((4, 4, 4),), (4, 4, 4)), "a window belongs to"),
        (
            lambda: Op("o", OpKind.MAX_POOL, (INPUT,), ((4, 4, 4),), (4, 3, 4), window=Window((1, 1))),
            "ofmap does not follow from the window",
        ),
        (
            lambda: Op("o", OpKind.MAX_POOL, (INPUT,), ((4, 4, 4),), (5, 4, 4), window=Window((1, 1))),
            "a pool keeps its channels",
        ),
    ],
)
def test_misfits_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(WorkloadError, match=message):
        make()
