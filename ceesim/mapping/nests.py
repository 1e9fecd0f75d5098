"""A fused layer as the loop nest that the kernels lower: its bounds, its ifmap's geometry, where its operands live."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

from ceesim.hardware.model import ExitPlacement, Hardware
from ceesim.mapping.fusion import POOLS, FusedLayer
from ceesim.mapping.limits import LARGEST_COUNT, beyond_count
from ceesim.mapping.tiles import Nest
from ceesim.program.command import Amount, Unit
from ceesim.units import ceil_div
from ceesim.workload.ops import Op, OpKind
from ceesim.workload.window import Pair


@dataclass(frozen=True, slots=True)
class Operands:
    """Where a layer's operands live.

    Args:
        from_dram: for each source of the layer, whether it must be loaded.
        weights_pinned: whether the weights are on chip already.
        ofmap_to_dram: whether the result is stored.
        are_scores: whether the result is the logits of an exit, which its decision reads.
    """

    from_dram: tuple[bool, ...]
    weights_pinned: bool
    ofmap_to_dram: bool
    are_scores: bool = False


_HEAD_UNIT: Final = {
    ExitPlacement.ARRAY: Unit.ARRAY,
    ExitPlacement.VECTOR: Unit.VECTOR,
    ExitPlacement.DEDICATED: Unit.EXIT,
}
_ONE: Final[Pair] = (1, 1)


def compute_unit(layer: FusedLayer, hardware: Hardware) -> Unit:
    """The unit that does the layer's work: MACs on the array or where heads are placed, the rest on the vector unit."""
    placement = hardware.exit_unit.placement
    if layer.is_head:
        if layer.main.gemm is None:
            return Unit.EXIT if placement is ExitPlacement.DEDICATED else Unit.VECTOR
        return _HEAD_UNIT[placement]
    return Unit.ARRAY if layer.main.gemm else Unit.VECTOR


def nest_of(layer: FusedLayer, hardware: Hardware, operands: Operands, images: int = 1) -> Nest:
    """The loop nest of `layer` over `images` inputs, with its operands where `operands` says.

    Inputs share the weights. The two operands of a matrix product are both per input, so a batch is that many products
    more. Stored constants of vector ops come with every map.

    Raises:
        MappingError: if it counts more than 64 bits hold.
    """
    op = layer.main
    unit = compute_unit(layer, hardware)
    drain_unit = Unit.EXIT if unit is Unit.EXIT else Unit.VECTOR
    exit_unit, vector = hardware.exit_unit, hardware.vector
    lanes, latency_cycles = (
        (exit_unit.lanes, exit_unit.latency_cycles)
        if drain_unit is Unit.EXIT
        else (vector.lanes or 0, vector.latency_cycles)
    )
    rows, width, channels = _outputs(op)
    in_rows, in_width = _inputs(op)
    kernel, stride, padding = _window(op)
    gemm = op.gemm
    pooled = op.kind in POOLS  # channel by channel: each is a group, so that not even a global pool needs the whole map
    sizes = [prod(shape) for shape in op.input_shapes]
    ifmap_sizes = sizes[:1] if gemm else sizes
    loaded = sum(size for size, far in zip(ifmap_sizes, operands.from_dram, strict=False) if far)
    loaded += op.num_constants  # stored values of vector ops stream in beside the operands
    weight_amount = Amount.HEAD_WEIGHT_DRAM_BYTES if layer.is_head else Amount.WEIGHT_DRAM_BYTES
    weight_read = Amount.HEAD_BUFFER_READ_BYTES if layer.is_head else Amount.WEIGHT_BUFFER_READ_BYTES
    weight_write = Amount.HEAD_BUFFER_WRITE_BYTES if layer.is_head else Amount.WEIGHT_BUFFER_WRITE_BYTES
    weight_far = gemm is not None and not operands.weights_pinned
    if op.kind is OpKind.MATMUL:  # the right operand takes the weights' place, and comes from wherever it was left
        weight_far = operands.from_dram[1]
        weight_amount = Amount.IFMAP_DRAM_BYTES
        if not weight_far:
            weight_read = Amount.ACTIVATION_BUFFER_READ_BYTES
    precision = hardware.precision
    all_vector_ops, all_reads = images * layer.vector_ops, images * (sum(sizes) + op.num_constants)
    ofmap_bytes = ceil_div(images * layer.output_elements * precision.activation_bits, 8)
    side_bytes = sum(ceil_div(images * size * precision.activation_bits, 8) for _, size in layer.side_outputs)
    multiplies, exponentials = images * layer.vector_multiplies, images * layer.exponentials
    groups = gemm.count if gemm else channels if pooled else 1
    if op.kind is OpKind.MATMUL:
        groups, loaded, images = images * groups, images * loaded, 1
    nest = Nest(
        has_macs=int(gemm is not None),
        mac_unit=int(unit),
        mac_lanes=0 if unit is Unit.ARRAY else lanes or 2**40,
        own_sums=int(
            unit is Unit.EXIT and gemm is not None and operands.are_scores and gemm.m * gemm.count * images == 1
        ),
        drain_unit=int(drain_unit),
        drain_lanes=lanes,
        drain_latency_cycles=latency_cycles,
        groups=groups,
        images=images,
        out_rows=rows,
        out_width=width,
        k=gemm.k if gemm else 1,
        n=gemm.n if gemm else 1 if pooled else channels,
        in_rows=in_rows,
        in_width=in_width,
        in_channels=ceil_div(loaded, in_rows * in_width) if loaded else 0,
        kernel_rows=kernel[0],
        kernel_width=kernel[1],
        stride_rows=stride[0],
        stride_width=stride[1],
        pad_rows=padding[0],
        pad_width=padding[1],
        ifmap_from_dram=int(loaded > 0),
        weight_from_dram=int(weight_far),
        weight_dram_amount=int(weight_amount),
        weight_read_amount=int(weight_read),
        weight_write_amount=int(weight_write),
        bias_bits=precision.psum_bits if op.num_biases else 0,
        ofmap_to_dram=int(operands.ofmap_to_dram),
        ofmap_bytes=ofmap_bytes,
        side_bytes=side_bytes,
        vector_ops=all_vector_ops,
        vector_multiplies=multiplies,
        exponentials=exponentials,
        vector_reads=all_reads,
    )
    if max(nest) > LARGEST_COUNT or nest.groups * nest.images * rows * width * nest.k * nest.n > LARGEST_COUNT:
        raise beyond_count(nest, op.name)
    return nest


def weight_bytes(op: Op, hardware: Hardware) -> int:
    """Bytes of an op's weights and biases."""
    precision = hardware.precision
    return ceil_div(op.num_weights * precision.weight_bits + op.num_biases * precision.psum_bits, 8)


def _outputs(op: Op) -> tuple[int, int, int]:
    """Rows, width and channels of what the main op makes; leading axes of anything but a map are rows."""
    if op.gemm and op.kind is not OpKind.CONV:
        return op.gemm.m, 1, op.gemm.n
    if len(op.output_shape) == 3:
        return op.output_shape[1], op.output_shape[2], op.output_shape[0]
    return prod(op.output_shape[:-1]), 1, op.output_shape[-1]


def _inputs(op: Op) -> Pair:
    """Rows and width of the ifmap; of operands that broadcast, those of the result."""
    shape = op.output_shape if op.kind is OpKind.ELEMENTWISE else op.input_shapes[0]
    if op.kind is OpKind.MATMUL:
        return shape[-2], 1
    if op.kind is not OpKind.LINEAR and len(shape) == 3 and len(op.output_shape) == 3:
        return (shape[1], shape[2]) if op.kind is not OpKind.CONCAT else (op.output_shape[1], op.output_shape[2])
    if op.kind is OpKind.CONCAT:
        return prod(op.output_shape[:-1]), 1
    return prod(shape[:-1]), 1


def _window(op: Op) -> tuple[Pair, Pair, Pair]:
    """Kernel (dilation included), stride and padding. An adaptive window is covered by the widest of its windows."""
    if op.window is not None:
        window = op.window
        kernel = tuple(window.dilation[axis] * (window.kernel_size[axis] - 1) + 1 for axis in (0, 1))
        return (kernel[0], kernel[1]), window.stride, window.padding
    if op.kind is OpKind.ADAPTIVE_AVERAGE_POOL:
        sizes, parts = op.input_shapes[0][1:], op.output_shape[1:]
        stride = tuple(max(size // part, 1) for size, part in zip(sizes, parts, strict=True))
        kernel = tuple(max(size - (part - 1) * step, 1) for size, part, step in zip(sizes, parts, stride, strict=True))
        return (kernel[0], kernel[1]), (stride[0], stride[1]), (0, 0)
    return _ONE, _ONE, (0, 0)
