"""Random small networks and accelerators for property tests: every op kind, exits anywhere, every hardware option."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from math import prod
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from ceesim.errors import MappingError
from ceesim.exits.policy import DecisionCost
from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.program.command import Program
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import (
    INPUT,
    Function,
    Op,
    Shape,
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

COST = DecisionCost(compares=10)

EDGE: dict[str, Any] = {
    "name": "edge",
    "clock": "500 MHz",
    "technology": {"node": "22 nm", "device": "lstp_lop", "voltage": "0.6 V", "temperature": "300 K"},
    "precision": {"weight_bits": 8, "activation_bits": 8, "psum_bits": 32},
    "array": {"rows": 4, "cols": 4, "dataflow": "ws", "profile": "textbook"},
    "vector": {"lanes": 4, "latency_cycles": 2},
    "exit_unit": {"placement": "array", "lanes": 4, "latency_cycles": 3, "exp_cycles": 2, "pooling": "fused"},
    "buffers": {"weight": "1 KiB", "activation": "8 KiB", "psum": "1 KiB", "head": "1 KiB"},
    "residency": "none",
    "dma": {
        "queues": "shared", "beat": 4, "request": 16, "setup_cycles": 5, "max_outstanding": 4, "turnaround_cycles": 2
    },
    "dram": {"type": "lpddr4-3200", "bandwidth": "1 GB/s", "latency": "20 ns"},
    "control": {"lookahead": "prefetch", "decision_cycles": 7, "layer_cycles": 3},
}  # fmt: skip


def hardware(**changes: Any) -> Hardware:
    """A tiny edge NPU with `changes`: ``section__key=value`` or ``key=value``; None removes a key."""
    document = deepcopy(EDGE)
    for name, value in changes.items():
        section, _, key = name.partition("__")
        place = document[section] if key else document
        place[key or section] = value
        if value is None:
            del place[key or section]
    return Hardware.model_validate(document)


IDEAL: dict[str, Any] = {
    "array__profile": "ideal",
    "vector__lanes": "unlimited",
    "vector__latency_cycles": 0,
    "exit_unit__placement": "free",
    "dma__setup_cycles": 0,
    "dram__bandwidth": "unlimited",
    "dram__latency": 0,
    "control__lookahead": "stall",
    "control__decision_cycles": 0,
    "control__layer_cycles": 0,
    "buffers": {"weight": "8 MiB", "activation": "8 MiB", "psum": "8 MiB", "head": "8 MiB"},
}
"""Nothing costs time but the MACs of the backbone."""

PROFILES = (
    ("textbook", "ws"), ("textbook", "os"), ("textbook", "is"), ("ideal", "ws"), ("single_buffer", "ws"),
    ("single_buffer_skewed", "is"), ("tpu", "ws"), ("broadcast", "ws"), ("pipelined_pe", "ws"), ("pipelined_pe", "os"),
    ("column_drain", "os"), ("scalesim", "os"), ("scalesim", "ws"),
)  # fmt: skip


@st.composite
def accelerators(draw: st.DrawFn, **fixed: Any) -> Hardware:
    """Any legal hardware with a small array; `fixed` as in `hardware`."""
    profile, dataflow = draw(st.sampled_from(PROFILES))
    beat = draw(st.sampled_from((1, 4, 16)))
    queues = fixed.get("dma__queues", draw(st.sampled_from(("shared", "split"))))
    changes: dict[str, Any] = {
        "precision__weight_bits": draw(st.sampled_from((4, 8, 16))),
        "precision__activation_bits": draw(st.sampled_from((4, 8, 16))),
        "array__rows": draw(st.sampled_from((1, 2, 3, 4, 8))),
        "array__cols": draw(st.sampled_from((1, 2, 4, 5))),
        "array__dataflow": dataflow,
        "array__profile": profile,
        "vector__lanes": draw(st.sampled_from((1, 3, 16, "unlimited"))),
        "vector__latency_cycles": draw(st.integers(0, 4)),
        "exit_unit__placement": draw(st.sampled_from(("array", "vector", "dedicated", "free"))),
        "exit_unit__lanes": draw(st.sampled_from((1, 4))),
        "exit_unit__pooling": draw(st.sampled_from(("fused", "separate"))),
        "buffers": {
            "weight": draw(st.sampled_from((256, 512, 2048, 65536))),
            "activation": draw(st.sampled_from((256, 512, 2048, 65536))),
            "psum": draw(st.sampled_from((512, 1024, 65536))),
            "head": draw(st.sampled_from((256, 512, 65536))),
        },
        "residency": draw(st.sampled_from(("none", "prefix", "auto"))),
        "dma__queues": queues,
        "dma__beat": beat,
        "dma__request": beat * draw(st.sampled_from((1, 3, 4))),
        "dma__setup_cycles": draw(st.sampled_from((0, 1, 19))),
        "dma__max_outstanding": draw(st.sampled_from((1, 2, 16))),
        "dma__turnaround_cycles": draw(st.sampled_from((0, 6))),
        "dram__bandwidth": draw(st.sampled_from(("100 MB/s", "750 MB/s", "10 GB/s", "unlimited"))),
        "dram__latency": draw(st.sampled_from(("0 ns", "7 ns", "60 ns"))),
        "dram__duplex": queues == "split" and draw(st.booleans()),
        "control__lookahead": draw(st.sampled_from(("stall", "prefetch", "speculate", "static_npu"))),
        "control__decision_cycles": draw(st.sampled_from((0, 20))),
        "control__layer_cycles": draw(st.sampled_from((0, 10))),
    }
    return hardware(**(changes | fixed))


@st.composite
def networks(draw: st.DrawFn, max_ops: int = 7, max_exits: int = 2) -> Workload:
    """A DAG of up to `max_ops` backbone ops of any kind, and heads on some of them."""
    num_classes = draw(st.integers(2, 6))
    side = st.integers(1, 8)
    shapes: dict[str, Shape] = {INPUT: (draw(st.integers(1, 6)), draw(side), draw(side))}
    backbone: list[str] = [INPUT]
    ops: list[Op] = []
    exits: list[Exit] = []

    def add(op: Op) -> str:
        ops.append(op)
        shapes[op.name] = op.output_shape
        return op.name

    for i in range(draw(st.integers(1, max_ops))):
        source = backbone[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(backbone))
        backbone.append(add(draw(_ops(f"op{i}", source, shapes, backbone))))
        if len(exits) < max_exits and draw(st.integers(0, 2)) == 0:
            exits.append(_head(draw, len(exits) + 1, backbone[-1], shapes[backbone[-1]], num_classes, add))
    last = backbone[-1]
    size = prod(shapes[last])
    flat = add(reshape("flat", last, shapes[last], (size,)))
    output = add(linear("fc", flat, (size,), num_classes, bias=draw(st.booleans())))
    if draw(st.booleans()):
        output = add(reshape("logits", output, (num_classes,), (num_classes,)))
    return Workload("random", num_classes, shapes[INPUT], tuple(ops), tuple(exits), output)


_KINDS = (
    "conv", "conv", "conv", "depthwise", "grouped", "relu", "pool", "adaptive", "add", "scale", "concat", "matmul",
    "softmax", "norm", "embedding", "linear", "reshape",
)  # fmt: skip


@st.composite
def _ops(draw: st.DrawFn, name: str, source: str, shapes: dict[str, Shape], backbone: list[str]) -> Op:
    shape = shapes[source]
    channels, height, width = shape
    twins = [other for other in backbone if shapes[other] == shape]
    stackable = [other for other in backbone if shapes[other][1:] == shape[1:]]
    kind = draw(st.sampled_from(_KINDS))
    if kind in ("conv", "depthwise", "grouped", "pool"):
        kernel = (draw(st.integers(1, min(3, height))), draw(st.integers(1, min(3, width))))
        stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
        padding = (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2)))
        after = draw(st.sampled_from((None, (kernel[0] - 1, kernel[1] - 1))))
        if kind == "pool":
            return pool(name, source, shape, kernel, stride, padding, average=draw(st.booleans()), padding_after=after)
        groups, out_channels = 1, draw(st.integers(1, 12))
        if kind == "depthwise":
            groups, out_channels = channels, channels
        elif kind == "grouped" and channels % 2 == 0:
            groups, out_channels = 2, 2 * draw(st.integers(1, 6))
        bias = draw(st.booleans())
        return conv(
            name, source, shape, out_channels, kernel, stride, padding, groups=groups, bias=bias, padding_after=after
        )
    if kind == "adaptive":
        return adaptive_average_pool(name, source, shape, (draw(st.integers(1, height)), draw(st.integers(1, width))))
    if kind == "add":
        return elementwise(name, (source, draw(st.sampled_from(twins))), shape, Function.ADD)
    if kind == "scale":
        scales = [other for other in backbone if shapes[other] == (channels, 1, 1)]
        if scales:
            scale = draw(st.sampled_from(scales))
            return elementwise(name, (scale, source), shape, Function.MULTIPLY, ((channels, 1, 1), shape))
    if kind == "concat":
        other = draw(st.sampled_from(stackable))
        if channels + shapes[other][0] <= 16:
            return concat(name, (source, other), (shape, shapes[other]), 0, draw(st.integers(0, 1)))
    if kind == "matmul":
        mates = [other for other in backbone if shapes[other][0] == channels and shapes[other][1] == width]
        if mates:
            mate = draw(st.sampled_from(mates))
            return matmul(name, source, mate, shape, shapes[mate])
    if kind == "softmax":
        return softmax(name, source, shape)
    if kind == "norm":
        return layer_norm(name, source, shape, draw(st.sampled_from((0, 2 * width))))
    if kind == "linear":
        return linear(name, source, shape, draw(st.integers(1, 9)), bias=draw(st.booleans()))
    if kind == "embedding":
        return elementwise(name, (source,), shape, Function.ADD, num_constants=prod(shape))
    if kind == "reshape":
        return reshape(name, source, shape, (channels, width, height))
    return elementwise(name, (source,), shape, Function.RELU)


def _head(draw: st.DrawFn, index: int, tap: str, shape: Shape, num_classes: int, add: Any) -> Exit:
    form = draw(st.sampled_from(("pool", "pool", "flat", "conv")))
    names: list[str] = []
    if form == "conv":
        names.append(add(conv(f"head{index}.conv", tap, shape, num_classes, (1, 1), bias=True)))
        names.append(add(adaptive_average_pool(f"head{index}.pool", names[-1], (num_classes, *shape[1:]), (1, 1))))
        names.append(add(reshape(f"head{index}.flat", names[-1], (num_classes, 1, 1), (num_classes,))))
        return Exit(tap, tuple(names))
    source = tap
    if form == "pool":
        size = draw(st.integers(1, min(2, *shape[1:])))
        source = add(adaptive_average_pool(f"head{index}.pool", tap, shape, (size, size)))
        names.append(source)
        shape = (shape[0], size, size)
    names.append(add(reshape(f"head{index}.flat", source, shape, (prod(shape),))))
    names.append(add(linear(f"head{index}.fc", names[-1], (prod(shape),), num_classes, bias=True)))
    return Exit(tap, tuple(names))


def compiled(
    workload: Workload,
    accelerator: Hardware,
    cost: DecisionCost = COST,
    *,
    batch: Sequence[int] | int = 1,
    compacted: bool = False,
) -> Program:
    """The Program, with all inputs spread evenly over the exits; a network that does not fit is another example."""
    rates = [1.0 / (workload.num_exits + 1)] * (workload.num_exits + 1)
    try:
        return compile_program(
            workload, accelerator, exit_cost=cost, exit_rates=rates, batch=batch, compacted=compacted
        )
    except MappingError:
        reject()


@st.composite
def batches(draw: st.DrawFn, workload: Workload, accelerator: Hardware) -> tuple[tuple[int, ...], bool]:
    """Inputs that run each segment, and whether those that leave are compacted away."""
    num_segments = workload.num_exits + 1
    if accelerator.control.lookahead != "static_npu" and draw(st.booleans()):
        sizes = draw(st.lists(st.integers(1, 6), min_size=num_segments, max_size=num_segments))
        return tuple(sorted(sizes, reverse=True)), True
    return (draw(st.integers(1, 6)),) * num_segments, draw(st.booleans())


def small_network() -> Workload:
    """A convolution, an exit, a residual block with a depthwise and a strided convolution, an exit, a classifier."""
    ops = (
        conv("stem", INPUT, (3, 12, 12), 8, (3, 3), padding=(1, 1), bias=True),
        elementwise("stem.relu", ("stem",), (8, 12, 12), Function.RELU),
        adaptive_average_pool("head1.pool", "stem.relu", (8, 12, 12), (1, 1)),
        reshape("head1.flat", "head1.pool", (8, 1, 1), (8,)),
        linear("head1.fc", "head1.flat", (8,), 10, bias=True),
        conv("depthwise", "stem.relu", (8, 12, 12), 8, (3, 3), padding=(1, 1), groups=8, bias=True),
        conv("pointwise", "depthwise", (8, 12, 12), 8, (1, 1), bias=True),
        elementwise("add", ("stem.relu", "pointwise"), (8, 12, 12), Function.ADD),
        elementwise("add.relu", ("add",), (8, 12, 12), Function.RELU),
        adaptive_average_pool("head2.pool", "add.relu", (8, 12, 12), (2, 2)),
        reshape("head2.flat", "head2.pool", (8, 2, 2), (32,)),
        linear("head2.fc", "head2.flat", (32,), 10, bias=True),
        pool("pool", "add.relu", (8, 12, 12), (2, 2), (2, 2)),
        conv("strided", "pool", (8, 6, 6), 24, (3, 3), stride=(2, 2), padding=(1, 1), bias=True),
        reshape("flat", "strided", (24, 3, 3), (216,)),
        linear("fc", "flat", (216,), 10, bias=True),
    )
    exits = (
        Exit("stem.relu", ("head1.pool", "head1.flat", "head1.fc")),
        Exit("add.relu", ("head2.pool", "head2.flat", "head2.fc")),
    )
    return Workload("small", 10, (3, 12, 12), ops, exits, "fc")


def vgg(width: float) -> Workload:
    """Six convolutions of 3×3 with an exit behind each and a pool behind every other, and three linear layers."""
    ops: list[Op] = []
    exits: list[Exit] = []
    source, shape = INPUT, (3, 32, 32)
    for i, published in enumerate((128, 128, 256, 256, 512, 512), start=1):
        channels = int(published * width)
        ops.append(conv(f"conv{i}", source, shape, channels, (3, 3), padding=(1, 1), bias=True))
        shape, source = (channels, *shape[1:]), f"relu{i}"
        ops.append(elementwise(source, (f"conv{i}",), shape, Function.RELU))
        head = (f"head{i}.pool", f"head{i}.flat", f"head{i}.fc")
        ops.append(adaptive_average_pool(head[0], source, shape, (1, 1)))
        ops.append(reshape(head[1], head[0], (channels, 1, 1), (channels,)))
        ops.append(linear(head[2], head[1], (channels,), 10, bias=True))
        exits.append(Exit(source, head))
        if i % 2 == 0:
            ops.append(pool(f"pool{i}", source, shape, (2, 2), (2, 2)))
            source, shape = f"pool{i}", ops[-1].output_shape
    features = prod(shape)
    ops.append(reshape("flat", source, shape, (features,)))
    source = "flat"
    for i, published in enumerate((1024, 1024), start=1):
        ops.append(linear(f"fc{i}", source, (features,), int(published * width), bias=True))
        features, source = int(published * width), f"fc{i}"
    ops.append(linear("fc3", source, (features,), 10, bias=True))
    return Workload("vgg", 10, (3, 32, 32), tuple(ops), tuple(exits), "fc3", width)
