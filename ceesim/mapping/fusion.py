"""What runs as one layer: an op, the activation and pool that its drain absorbs, and the head pools that read it.

Bias, requantisation and an activation function are stages of a vector lane's pipeline: a drained value passes them in
one element-op. A pool directly behind is worked off by the same lanes as values come out, so the unpooled map is
never written. With fused head pooling the same holds for the average pool of an exit head: its additions are charged
to the drain of the tapped op. Reshapes are addressing and vanish.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Final

from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Function, Op, OpKind

POOLS: Final = {OpKind.MAX_POOL, OpKind.AVERAGE_POOL, OpKind.ADAPTIVE_AVERAGE_POOL}

# element-ops per element of ops that read their row more than once: maximum, exponential, sum and division;
# sum, sum of squares, and subtraction, scaling and shift in one pass each
_PASSES: Final = {OpKind.SOFTMAX: 4, OpKind.LAYER_NORM: 5}

# multiplications per value made: division; square, scaling and gain; the mean of a window
_MULTIPLIES: Final = {
    OpKind.SOFTMAX: 1,
    OpKind.LAYER_NORM: 3,
    OpKind.AVERAGE_POOL: 1,
    OpKind.ADAPTIVE_AVERAGE_POOL: 1,
}
_MULTIPLYING: Final = {
    Function.MULTIPLY,
    Function.DIVIDE,
    Function.HARDSWISH,
    Function.HARDSIGMOID,
    Function.LEAKY_RELU,
}
_EXPONENTIAL: Final = {  # or read from a table of the same kind, as a root is
    Function.SIGMOID,
    Function.TANH,
    Function.GELU,
    Function.SILU,
    Function.EXP,
    Function.SQRT,
    Function.ELU,
    Function.MISH,
    Function.SOFTPLUS,
}


@dataclass(frozen=True, slots=True)
class FusedLayer:
    """One layer of the mapped network.

    Args:
        main: the op that defines the loop nest.
        ops: names of all ops computed here, `main` first.
        kind: their kinds, joined by ``+``.
        segment: 1..N+1, that of `main`.
        is_head: whether it belongs to an exit head.
        sources: tensors read, by the name under which they were made (``INPUT`` included).
        output: name of the tensor made.
        output_elements: its size.
        side_outputs: small tensors made on the way (pooled features of heads): name → elements.
        vector_ops: element-ops of the drain.
        vector_multiplies: multiplications among them, requantisation apart.
        exponentials: functions among them that are made of one.
    """

    main: Op
    ops: tuple[str, ...]
    kind: str
    segment: int
    is_head: bool
    sources: tuple[str, ...]
    output: str
    output_elements: int
    side_outputs: tuple[tuple[str, int], ...]
    vector_ops: int
    vector_multiplies: int = 0
    exponentials: int = 0


def vector_ops(op: Op) -> int:
    """Element-ops of `op` on the vector unit, when it runs there on its own."""
    outputs = prod(op.output_shape)
    if op.kind is OpKind.RESHAPE:
        return 0
    if op.kind in (OpKind.AVERAGE_POOL, OpKind.ADAPTIVE_AVERAGE_POOL):
        return op.output_shape[0] * sum(op.pool_windows(0)) * sum(op.pool_windows(1))
    if op.kind is OpKind.MAX_POOL:
        return outputs * max(op.pool_windows(0)[0] * op.pool_windows(1)[0] - 1, 1)
    return outputs * _PASSES.get(op.kind, 1)


def multiplications(op: Op) -> int:
    """Multiplications among the element-ops of `op`, requantisation apart."""
    return prod(op.output_shape) * (1 if op.function in _MULTIPLYING else _MULTIPLIES.get(op.kind, 0))


def _exponentials(op: Op) -> int:
    return prod(op.output_shape) if op.kind is OpKind.SOFTMAX or op.function in _EXPONENTIAL else 0


def maker(workload: Workload, name: str) -> str:
    """The op that made the values which `name` stands for, or ``INPUT``: reshapes are no commands."""
    while name != INPUT and (op := workload.op(name)).kind is OpKind.RESHAPE:
        name = op.inputs[0]
    return name


@lru_cache(maxsize=64)
def fuse(workload: Workload, *, fuse_head_pools: bool) -> tuple[FusedLayer, ...]:
    """The layers of `workload` in execution order, segment by segment, heads after the backbone of their segment.

    Args:
        fuse_head_pools: average pools at the start of a head are worked off in the drain of the tapped op; otherwise
            they are layers of their own that read the tapped map again.
    """
    consumers: defaultdict[str, list[Op]] = defaultdict(list)
    for op in workload.ops:
        for source in set(op.inputs):
            consumers[source].append(op)
    head_ops = {name for exit_ in workload.exits for name in exit_.head}
    outputs = Counter([workload.output])
    absorbed: set[str] = set()
    made_by: dict[str, str] = {INPUT: INPUT}  # op → tensor that holds its output
    layers: list[FusedLayer] = []
    for segment in workload.segments:
        for op in segment.ops:
            if op.name in absorbed:
                continue
            if op.kind is OpKind.RESHAPE:
                made_by[op.name] = made_by[op.inputs[0]]
                continue
            chain, side = _absorb(op, consumers, head_ops, outputs, fuse_head_pools)
            ops = [op, *chain, *side]
            absorbed.update(part.name for part in ops)
            last = chain[-1] if chain else op
            for part in (op, *chain):
                made_by[part.name] = last.name
            for part in side:
                made_by[part.name] = part.name
            drained = prod(op.output_shape) if op.gemm else vector_ops(op)
            layers.append(
                FusedLayer(
                    main=op,
                    ops=tuple(part.name for part in ops),
                    kind="+".join(part.function or part.kind for part in (op, *chain)),
                    segment=segment.exit_index,
                    is_head=op.name in head_ops,
                    sources=tuple(made_by[source] for source in op.inputs),
                    output=last.name,
                    output_elements=prod(last.output_shape),
                    side_outputs=tuple((part.name, prod(part.output_shape)) for part in side),
                    vector_ops=drained + sum(vector_ops(part) for part in (*chain, *side) if part.kind in POOLS),
                    vector_multiplies=sum(multiplications(part) for part in (op, *chain, *side)),
                    exponentials=sum(_exponentials(part) for part in (op, *chain, *side)),
                )
            )
    return tuple(layers)


def _absorb(
    op: Op, consumers: Mapping[str, list[Op]], head_ops: set[str], outputs: Counter[str], fuse_head_pools: bool
) -> tuple[list[Op], list[Op]]:
    """Ops behind `op` that its drain absorbs: the chain that replaces its output, and head pools beside it."""
    chain: list[Op] = []
    side: list[Op] = []
    current, pooled = op, op.kind in POOLS
    while True:
        users = consumers[current.name]
        in_head = current.name in head_ops
        if fuse_head_pools:
            pools = [u for u in users if u.kind is OpKind.ADAPTIVE_AVERAGE_POOL and u.name in head_ops and not in_head]
            side += pools
            users = [user for user in users if user not in pools]
        if len(users) != 1 or outputs[current.name] or (users[0].name in head_ops) != in_head:
            return chain, side
        follower = users[0]
        is_activation = follower.kind is OpKind.ELEMENTWISE and len(follower.inputs) == 1 and not follower.num_constants
        is_pool = follower.kind in POOLS and not pooled and op.gemm is not None
        if not (is_activation or is_pool) or (side and is_activation):
            return chain, side
        pooled = pooled or is_pool
        chain.append(follower)
        current = follower
