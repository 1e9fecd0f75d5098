"""The ops a network is made of: shapes, multiply–accumulates, parameters, and the matrix product each one is.

Shapes are those of one input (no batch axis), channels first. An op knows its own arithmetic and nothing about
hardware. BatchNorm does not appear: at inference it is folded into its convolution. A reshape is addressing only
(flatten, view, permute, a fixed slice): the data stays where it is and later ops read it in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import prod
from typing import Final, TypeAlias

from ceesim.errors import WorkloadError
from ceesim.workload.window import Pair, Window

Shape: TypeAlias = tuple[int, ...]

INPUT: Final = "input"
"""The name under which ops refer to the network's input."""

LARGEST_DIMENSION: Final = 2**31 - 1
"""No axis, kernel or channel count of a real network is larger; files that claim so are refused."""


class OpKind(StrEnum):
    """What an op computes; the value is the name in files and tables."""

    CONV = "conv"
    LINEAR = "linear"
    MATMUL = "matmul"
    MAX_POOL = "max_pool"
    AVERAGE_POOL = "average_pool"
    ADAPTIVE_AVERAGE_POOL = "adaptive_average_pool"
    ELEMENTWISE = "elementwise"
    SOFTMAX = "softmax"
    LAYER_NORM = "layer_norm"
    CONCAT = "concat"
    RESHAPE = "reshape"


class Function(StrEnum):
    """What an elementwise op computes, per element.

    `add` is a sum or a difference, `maximum` also a minimum, `sqrt` also its reciprocal.
    """

    ADD = "add"
    MULTIPLY = "multiply"
    RELU = "relu"
    RELU6 = "relu6"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    GELU = "gelu"
    SILU = "silu"
    HARDSWISH = "hardswish"
    HARDSIGMOID = "hardsigmoid"
    LEAKY_RELU = "leaky_relu"
    DIVIDE = "divide"
    MAXIMUM = "maximum"
    CLAMP = "clamp"
    ABS = "abs"
    EXP = "exp"
    SQRT = "sqrt"
    ELU = "elu"
    MISH = "mish"
    SOFTPLUS = "softplus"


@dataclass(frozen=True, slots=True)
class Gemm:
    """`count` products of an m×k by a k×n matrix (m output pixels, k reduction, n output channels)."""

    m: int
    k: int
    n: int
    count: int = 1

    @property
    def macs(self) -> int:
        """Multiply–accumulates of all `count` products."""
        return self.m * self.k * self.n * self.count


_POINT: Final = Window((1, 1))


@dataclass(frozen=True, slots=True)
class Op:
    """One op of a network. Make one with the constructors below (`conv`, `linear`, …), which work out the shapes.

    Args:
        name: unique in its network; the module's path where it comes from a module.
        inputs: producers of the operands, op names or ``INPUT``.
        input_shapes: shape of each operand, without the batch axis.
        window: of convolutions and fixed-window pools.
        groups: of convolutions; depthwise is groups = in_channels.
        bias: whether a convolution or linear layer adds one (a folded BatchNorm does).
        function: of elementwise ops.
        axis: of concatenations.
        num_constants: stored values that the op reads besides weights and biases: a position embedding, a class
            token, the scale and shift of a layer norm. Scalars do not count.

    Raises:
        WorkloadError: if the shapes do not fit the op or each other.
    """

    name: str
    kind: OpKind
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    window: Window | None = None
    groups: int = 1
    bias: bool = False
    function: Function | None = None
    axis: int | None = None
    num_constants: int = 0
    gemm: Gemm | None = field(init=False, repr=False, compare=False)
    """The matrix product(s) this op is, or None where the array has no part in it.

    Conv: m = H_out·W_out, k = C_in/groups·k_h·k_w, n = C_out/groups, one product per group. Linear: one row of m
    per leading element of the input. MatMul: the right operand takes the weights' place.
    """

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "gemm", self._product())

    def _product(self) -> Gemm | None:
        shape = self.input_shapes[0]
        if self.kind is OpKind.CONV:
            channels, height, width = self.output_shape
            k = shape[0] // self.groups * prod((self.window or _POINT).kernel_size)
            return Gemm(m=height * width, k=k, n=channels // self.groups, count=self.groups)
        if self.kind is OpKind.LINEAR:
            return Gemm(m=prod(shape[:-1]), k=shape[-1], n=self.output_shape[-1])
        if self.kind is OpKind.MATMUL:
            return Gemm(m=shape[-2], k=shape[-1], n=self.output_shape[-1], count=prod(shape[:-2]))
        return None

    @property
    def macs(self) -> int:
        """Multiply–accumulates; 0 for everything but convolutions, linear layers and matrix products."""
        gemm = self.gemm
        return gemm.macs if gemm else 0

    @property
    def num_weights(self) -> int:
        """Weights of the matrix product, biases apart."""
        gemm = self.gemm
        return gemm.k * gemm.n * gemm.count if gemm and self.kind is not OpKind.MATMUL else 0

    @property
    def num_biases(self) -> int:
        """Biases, one per output channel or feature."""
        if not self.bias:
            return 0
        return self.output_shape[0] if self.kind is OpKind.CONV else self.output_shape[-1]

    def pool_windows(self, axis: int) -> tuple[int, ...]:
        """Window lengths along the height (axis 0) or width (axis 1) of a pool, one per output row or column.

        Adaptive window i of n values covers [⌊i·n/o⌋, ⌈(i+1)·n/o⌉), as PyTorch defines it.
        """
        if self.kind is OpKind.ADAPTIVE_AVERAGE_POOL:
            size, parts = self.input_shapes[0][1 + axis], self.output_shape[1 + axis]
            return tuple(-(-(i + 1) * size // parts) - i * size // parts for i in range(parts))
        if self.window is None:
            raise WorkloadError(f"op {self.name!r} is not a pool", got=self.kind.value)
        return (self.window.kernel_size[axis],) * self.output_shape[1 + axis]


def conv(
    name: str,
    source: str,
    shape: Shape,
    out_channels: int,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    bias: bool = False,
    padding_after: Pair | None = None,
) -> Op:
    """2-d convolution over `shape` = (in_channels, height, width)."""
    window = Window(kernel_size, stride, padding, dilation, padding_after)
    output = (out_channels, *window.slide((shape[1], shape[2]))) if len(shape) == 3 else ()
    return Op(name, OpKind.CONV, (source,), (shape,), output, window=window, groups=groups, bias=bias)


def linear(name: str, source: str, shape: Shape, out_features: int, bias: bool = False) -> Op:
    """Fully connected layer over the last axis of `shape` = (…, in_features)."""
    return Op(name, OpKind.LINEAR, (source,), (shape,), (*shape[:-1], out_features), bias=bias)


def matmul(name: str, left: str, right: str, left_shape: Shape, right_shape: Shape) -> Op:
    """Product of two activations, (…, m, k) by (…, k, n)."""
    return Op(name, OpKind.MATMUL, (left, right), (left_shape, right_shape), (*left_shape[:-1], right_shape[-1]))


def pool(
    name: str,
    source: str,
    shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    average: bool = False,
    padding_after: Pair | None = None,
) -> Op:
    """Max or average pool with a fixed window; average windows count their padding, as PyTorch does by default."""
    window = Window(kernel_size, stride, padding, dilation, padding_after)
    output = (shape[0], *window.slide((shape[1], shape[2]))) if len(shape) == 3 else ()
    kind = OpKind.AVERAGE_POOL if average else OpKind.MAX_POOL
    return Op(name, kind, (source,), (shape,), output, window=window)


def adaptive_average_pool(name: str, source: str, shape: Shape, output_size: Pair) -> Op:
    """Average pool to a given (height, width)."""
    return Op(name, OpKind.ADAPTIVE_AVERAGE_POOL, (source,), (shape,), (shape[0], *output_size))


def elementwise(
    name: str,
    sources: tuple[str, ...],
    shape: Shape,
    function: Function,
    operand_shapes: tuple[Shape, ...] | None = None,
    num_constants: int = 0,
) -> Op:
    """One result per element, of one operand (activation; sum or product with a constant) or of two.

    Operands have the shape of the result unless `operand_shapes` says how they broadcast to it.
    """
    shapes = operand_shapes or (shape,) * len(sources)
    return Op(name, OpKind.ELEMENTWISE, sources, shapes, shape, function=function, num_constants=num_constants)


def softmax(name: str, source: str, shape: Shape) -> Op:
    """Softmax over the last axis."""
    return Op(name, OpKind.SOFTMAX, (source,), (shape,), shape)


def layer_norm(name: str, source: str, shape: Shape, num_constants: int = 0) -> Op:
    """Layer norm over the last axis, scale and shift included."""
    return Op(name, OpKind.LAYER_NORM, (source,), (shape,), shape, num_constants=num_constants)


def concat(name: str, sources: tuple[str, ...], shapes: tuple[Shape, ...], axis: int, constant_length: int = 0) -> Op:
    """Several tensors joined along `axis` (counted without the batch axis), `constant_length` of it stored values."""
    first = shapes[0]
    length = sum(shape[axis] for shape in shapes if axis < len(shape)) + constant_length
    joined = (*first[:axis], length, *first[axis + 1 :])
    num_constants = constant_length * prod(first[:axis] + first[axis + 1 :])
    return Op(name, OpKind.CONCAT, sources, shapes, joined, axis=axis, num_constants=num_constants)


def reshape(name: str, source: str, shape: Shape, output_shape: Shape) -> Op:
    """The same values, or a fixed slice of them, under another shape."""
    return Op(name, OpKind.RESHAPE, (source,), (shape,), output_shape)


def broadcast(shapes: tuple[Shape, ...]) -> Shape | None:
    """The shape that `shapes` broadcast to, as PyTorch does it; None if they do not."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    sizes = [{*axis} - {1} for axis in zip(*padded, strict=True)]
    return tuple(max(axis, default=1) for axis in sizes) if all(len(axis) <= 1 for axis in sizes) else None


_NUM_INPUTS: Final[dict[OpKind, tuple[int, int]]] = {
    OpKind.MATMUL: (2, 2),
    OpKind.ELEMENTWISE: (1, 2),
    OpKind.CONCAT: (1, 4096),
}
_MAPS: Final = {OpKind.CONV, OpKind.MAX_POOL, OpKind.AVERAGE_POOL, OpKind.ADAPTIVE_AVERAGE_POOL}
_WINDOWED: Final = {OpKind.CONV, OpKind.MAX_POOL, OpKind.AVERAGE_POOL}
_WITH_CONSTANTS: Final = {OpKind.ELEMENTWISE, OpKind.LAYER_NORM, OpKind.CONCAT}


def _check(op: Op) -> None:
    """Refuse an op whose shapes do not fit it."""

    def refuse(what: str, got: object = None, expected: str | None = None) -> WorkloadError:
        return WorkloadError(f"op {op.name!r} ({op.kind.value}): {what}", got=got, expected=expected)

    fewest, most = _NUM_INPUTS.get(op.kind, (1, 1))
    if not fewest <= len(op.inputs) == len(op.input_shapes) <= most:
        raise refuse("wrong number of operands", got=len(op.inputs))
    window = op.window or _POINT
    sizes = [*op.output_shape, op.groups, *window.kernel_size, *window.stride, *window.dilation]
    sizes += [size for shape in op.input_shapes for size in shape]
    if not all(0 < size <= LARGEST_DIMENSION for size in sizes) or not all(
        0 <= pad <= LARGEST_DIMENSION for pad in (*window.padding, *(window.padding_after or ()))
    ):
        raise refuse("a dimension is out of range", got=f"{op.input_shapes} → {op.output_shape}", expected="positive")
    if not op.output_shape or not all(op.input_shapes):
        raise refuse("an operand has no shape", got=f"{op.input_shapes} → {op.output_shape}")
    shape = op.input_shapes[0]
    if op.kind in _MAPS and not (len(shape) == len(op.output_shape) == 3):
        raise refuse("needs maps of shape (channels, height, width)", got=shape)
    if (op.kind in _WINDOWED) != (op.window is not None):
        raise refuse("a window belongs to convolutions and pools, and to nothing else")
    if op.kind in _WINDOWED and op.output_shape[1:] != window.slide((shape[1], shape[2])):
        raise refuse("ofmap does not follow from the window", got=op.output_shape)
    if op.kind is OpKind.CONV and (shape[0] % op.groups or op.output_shape[0] % op.groups):
        raise refuse("groups do not divide the channels", got=f"{shape[0]} → {op.output_shape[0]} in {op.groups}")
    if op.kind in _MAPS - {OpKind.CONV} and shape[0] != op.output_shape[0]:
        raise refuse("a pool keeps its channels", got=f"{shape} → {op.output_shape}")
    if op.kind is OpKind.LINEAR and shape[:-1] != op.output_shape[:-1]:
        raise refuse("only the last axis changes", got=f"{shape} → {op.output_shape}")
    if op.kind is OpKind.MATMUL:
        left, right = op.input_shapes
        fits = len(left) == len(right) >= 2 and left[:-2] == right[:-2] and left[-1] == right[-2]
        if not fits or op.output_shape != (*left[:-1], right[-1]):
            raise refuse("operands do not multiply", got=f"{left} by {right} → {op.output_shape}")
    if not 0 <= op.num_constants <= (LARGEST_DIMENSION if op.kind in _WITH_CONSTANTS else 0):
        raise refuse("number of constants is out of range", got=op.num_constants)
    if (op.kind is OpKind.ELEMENTWISE) != (op.function is not None):
        raise refuse("a function belongs to elementwise ops, and to nothing else", got=op.function)
    if op.kind is OpKind.ELEMENTWISE and broadcast(op.input_shapes) != op.output_shape:
        raise refuse("operands do not broadcast to the result", got=f"{op.input_shapes} → {op.output_shape}")
    if op.kind in (OpKind.SOFTMAX, OpKind.LAYER_NORM) and shape != op.output_shape:
        raise refuse("keeps its shape", got=f"{shape} → {op.output_shape}")
    if op.kind is OpKind.CONCAT:
        axis = op.axis if op.axis is not None else -1
        if not 0 <= axis < len(shape) or any(
            len(other) != len(shape) or other[:axis] + other[axis + 1 :] != shape[:axis] + shape[axis + 1 :]
            for other in (*op.input_shapes, op.output_shape)
        ):
            raise refuse(f"operands do not join along axis {axis}", got=op.input_shapes)
        if prod(op.output_shape) != sum(map(prod, op.input_shapes)) + op.num_constants:
            raise refuse("the joined axis is not the sum of its parts", got=op.output_shape)
    if op.kind is OpKind.RESHAPE and prod(op.output_shape) > prod(shape):
        raise refuse("cannot make values out of nothing", got=f"{shape} → {op.output_shape}")
