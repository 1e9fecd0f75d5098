"""Small networks and logits for the exits tests: chains of one convolution per exit, and heads that get better."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceesim.exits.policy import ExitPolicy
from ceesim.exits.references import Never
from ceesim.exits.trace import ExitTrace
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import INPUT, adaptive_average_pool, conv, linear, reshape


@lru_cache
def chain(num_exits: int, num_classes: int, width: float = 1.0, growth: int = 1) -> Workload:
    """`num_exits` convolutions with a head each, then a classifier; segments grow with depth unless `growth` is 0."""
    shape, source, ops, exits = (2, 4, 4), INPUT, [], []
    for i in range(1, num_exits + 1):
        layer = conv(f"conv{i}", source, shape, 2 + growth * i, (3, 3), padding=(1, 1))
        source, shape = layer.name, layer.output_shape
        pooled = adaptive_average_pool(f"head{i}.pool", source, shape, (1, 1))
        flat = reshape(f"head{i}.flatten", pooled.name, pooled.output_shape, (shape[0],))
        logits = linear(f"head{i}.linear", flat.name, flat.output_shape, num_classes, bias=True)
        ops += [layer, pooled, flat, logits]
        exits.append(Exit(source, (pooled.name, flat.name, logits.name)))
    size = shape[0] * shape[1] * shape[2]
    ops += [reshape("flatten", source, shape, (size,)), linear("classifier", "flatten", (size,), num_classes)]
    return Workload("chain", num_classes, (2, 4, 4), tuple(ops), tuple(exits), "classifier", width)


def heads(
    num_inputs: int, num_exits: int, num_classes: int, seed: int = 0, dtype: Any = np.float16
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Labels, logits and final logits of heads that get better with depth, on inputs of varied difficulty."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_inputs)
    ease = 4 / np.sqrt(random.gamma(2, 1, num_inputs))
    shared = random.normal(size=(num_inputs, num_classes))
    logits = shared[:, None] + random.normal(size=(num_inputs, num_exits + 1, num_classes))
    for i in range(num_exits + 1):
        logits[np.arange(num_inputs), i, labels] += ease * (i + 1.5) / (num_exits + 1)
    rounded = logits.astype(dtype)
    return labels, rounded[:, :-1], rounded[:, -1]


def toy_trace(
    num_inputs: int = 60,
    num_exits: int = 3,
    num_classes: int = 5,
    policy: ExitPolicy | None = None,
    seed: int = 0,
    split: str = "test",
    **meta: Any,
) -> ExitTrace:
    """A trace of made-up heads."""
    labels, logits, final_logits = heads(num_inputs, num_exits, num_classes, seed)
    return ExitTrace.from_logits(
        chain(num_exits, num_classes),
        labels,
        logits,
        final_logits,
        policy or Never(),
        dataset="made up",
        split=split,
        **meta,
    )


@st.composite
def evidence(
    draw: st.DrawFn, max_inputs: int = 12, max_exits: int = 4, max_classes: int = 9
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Logits [inputs, exits, classes] and final logits of any kind: sharp or flat, ties, far from zero."""
    shape = draw(st.integers(1, max_inputs)), draw(st.integers(1, max_exits)) + 1, draw(st.integers(2, max_classes))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from((0.0, 0.01, 1.0, 4.0, 40.0, 3000.0)))
    values = random.normal(draw(st.sampled_from((0.0, -6.0, 5.0, -3000.0))), spread, shape)
    if draw(st.booleans()):
        values = np.round(values)  # ties
    rounded = values.astype(np.float16)
    return rounded[:, :-1], rounded[:, -1]


def betas(num_exits: int) -> st.SearchStrategy[tuple[float, ...]]:
    """Any β per exit, the ends and the grid included."""
    beta = st.one_of(st.integers(0, 100).map(lambda step: step / 100), st.floats(0, 1), st.sampled_from((0.0, 1.0)))
    return st.lists(beta, min_size=num_exits, max_size=num_exits).map(tuple)
