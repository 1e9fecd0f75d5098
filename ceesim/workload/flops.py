"""What "FLOPs" means: three named conventions, counted per op, per segment and per path to an exit.

`macs` counts multiply–accumulates of convolutions, linear layers and matrix products. `std` counts every arithmetic
operation: 2 per MAC (the bias is the accumulator's first value), 1 per element of an activation function, sum or
product, k·k−1 compares per max pool output, one operation per value that an average pool reads (the adds, and one
multiply per output; an identity window 0), 5n−2 per softmax row and 7n+2 per layer norm row of n values. Moving data
(reshape, concat) is 0, and so is BatchNorm, which is folded.

`table1` exists to be compared with: it reproduces the "Ori." column of Table I in Wang, Li, Zhang, *Early-Exit with
Class Exclusion for Efficient Inference of Neural Networks* (arXiv 2309.13443), whose counting differs from `std` in
ways that depend on the network, so it is defined for those three networks alone. Its quirks were found by matching
the printed totals: fully connected layers at 3 per MAC (AlexNet, VGG), max pools at k·k per output, adaptive average
pools at E·E per output (their output size taken for the window), and VGG's third and fifth convolutions with
out_channels in place of in_channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import Final

from ceesim.errors import WorkloadError
from ceesim.workload.network import Workload
from ceesim.workload.ops import Op, OpKind, Shape


class Convention(StrEnum):
    """What is counted; the value is the name in options and files."""

    MACS = "macs"
    STD = "std"
    TABLE1 = "table1"


def op_flops(workload: Workload, convention: Convention = Convention.STD) -> dict[str, int]:
    """The count of every op by name, in the workload's order.

    Raises:
        WorkloadError: if the convention is `table1` and the network is not one of Table I's.
    """
    if convention is Convention.TABLE1:
        return _table1(workload)
    count = _macs if convention is Convention.MACS else _std
    return {op.name: count(op) for op in workload.ops}


def segment_flops(workload: Workload, convention: Convention = Convention.STD) -> tuple[int, ...]:
    """The count of each of the N+1 segments, its head included.

    Raises:
        WorkloadError: as `op_flops`.
    """
    counts = op_flops(workload, convention)
    return tuple(sum(counts[op.name] for op in segment.ops) for segment in workload.segments)


@lru_cache(maxsize=64)
def path_flops(workload: Workload, convention: Convention = Convention.STD) -> tuple[int, ...]:
    """The count of the path to each exit, heads passed on the way included; the last entry runs to the end.

    Raises:
        WorkloadError: as `op_flops`.
    """
    return tuple(accumulate(segment_flops(workload, convention)))


def backbone_flops(workload: Workload, convention: Convention = Convention.STD) -> int:
    """The count of the network without its heads.

    Raises:
        WorkloadError: as `op_flops`.
    """
    counts = op_flops(workload, convention)
    return sum(counts[op.name] for segment in workload.segments for op in segment.backbone)


def _macs(op: Op) -> int:
    return op.macs


def _std(op: Op) -> int:
    elements = prod(op.output_shape)
    row = op.output_shape[-1]
    match op.kind:
        case OpKind.CONV | OpKind.LINEAR | OpKind.MATMUL:
            return 2 * op.macs
        case OpKind.MAX_POOL:
            return elements * (_window_size(op) - 1)
        case OpKind.AVERAGE_POOL | OpKind.ADAPTIVE_AVERAGE_POOL:
            return _average_pool(op)
        case OpKind.ELEMENTWISE:
            return elements
        case OpKind.SOFTMAX:  # maximum n−1, subtract n, exponential n, sum n−1, divide n
            return elements // row * (5 * row - 2)
        case OpKind.LAYER_NORM:  # mean n, subtract n, variance 2n, epsilon and root 2, normalise n, scale and shift 2n
            return elements // row * (7 * row + 2)
        case OpKind.CONCAT | OpKind.RESHAPE:
            return 0


def _average_pool(op: Op) -> int:
    heights, widths = op.pool_windows(0), op.pool_windows(1)
    identities = heights.count(1) * widths.count(1)
    return op.output_shape[0] * (sum(heights) * sum(widths) - identities)


def _window_size(op: Op) -> int:
    return op.pool_windows(0)[0] * op.pool_windows(1)[0]


@dataclass(frozen=True, slots=True)
class _Quirks:
    """How Table I counts one network: operations per MAC of its linear layers, and its miscounted convolutions."""

    num_convs: int
    """Of the backbone: another network may have the same name."""
    per_linear_mac: int
    convs_with_wrong_channels: frozenset[int] = frozenset()
    """1-based positions in the backbone of convolutions counted with out_channels in place of in_channels."""


_TABLE1: Final = {
    "alexnet": _Quirks(num_convs=5, per_linear_mac=3),
    "vggsmall": _Quirks(num_convs=6, per_linear_mac=3, convs_with_wrong_channels=frozenset({3, 5})),
    "resnet50": _Quirks(num_convs=53, per_linear_mac=2),
}


def _table1(workload: Workload) -> dict[str, int]:
    quirks = _TABLE1.get(workload.name)
    convs = [op.name for segment in workload.segments for op in segment.backbone if op.kind is OpKind.CONV]
    if quirks is None or len(convs) != quirks.num_convs:
        raise WorkloadError(
            "the convention table1 is defined for the networks of Table I alone",
            where=workload.name,
            expected=f"one of {', '.join(_TABLE1)}, as the paper has them",
            fix="count with std or macs",
        )
    miscounted = {name for position, name in enumerate(convs, 1) if position in quirks.convs_with_wrong_channels}
    counts = {}
    for op in workload.ops:
        elements = prod(op.output_shape)
        if op.name in miscounted:
            in_channels, out_channels = _channels(op)
            counts[op.name] = 2 * op.macs // in_channels * out_channels
        elif op.kind is OpKind.LINEAR:
            counts[op.name] = quirks.per_linear_mac * op.macs
        elif op.kind is OpKind.MAX_POOL:
            counts[op.name] = elements * _window_size(op)
        elif op.kind is OpKind.ADAPTIVE_AVERAGE_POOL:
            counts[op.name] = elements * prod(op.output_shape[1:])
        else:
            counts[op.name] = _std(op)
    return counts


def _channels(op: Op) -> Shape:
    return op.input_shapes[0][0], op.output_shape[0]
