"""The Workload: a DAG of ops with its exits marked, and the segments that the exits cut it into.

Segment i (1-based) is what exit i adds to exit i−1: the backbone ops that exit i's tap needs and earlier taps did not,
then head i. The last segment, N+1, is the rest of the backbone and has no head. Because a segment is defined by what a
tap *needs*, an op that only the tail uses never delays an early exit, wherever it stands in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ceesim.errors import WorkloadError
from ceesim.workload.ops import INPUT, Op, Shape

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True, slots=True)
class Exit:
    """An early exit: `tap` names the backbone op whose output it reads, `head` its own ops in order."""

    tap: str
    head: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """What lies between two decisions: backbone ops, then the head of exit `exit_index` (none in the last segment)."""

    exit_index: int
    backbone: tuple[Op, ...]
    head: tuple[Op, ...]

    @property
    def ops(self) -> tuple[Op, ...]:
        """All ops in execution order."""
        return self.backbone + self.head


@dataclass(frozen=True, slots=True)
class Workload:
    """A network as the simulator sees it.

    Args:
        name: of the network, e.g. ``vggsmall``.
        num_classes: length of every logits vector.
        input_shape: of one input, (channels, height, width).
        ops: in a topological order; heads may stand anywhere after their taps.
        exits: in order of depth.
        output: the op whose output is the final logits.
        width: channel multiplier against the published network.

    Raises:
        WorkloadError: names the op that is doubled, dangling, out of order, or of the wrong shape.
    """

    name: str
    num_classes: int
    input_shape: Shape
    ops: tuple[Op, ...]
    exits: tuple[Exit, ...]
    output: str
    width: float = 1.0
    _hash: int = field(init=False, repr=False, compare=False, default=0)  # a key of many caches, and long to hash

    def __post_init__(self) -> None:
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for op in self.ops:
            if op.name in shapes:
                raise WorkloadError("two ops have the same name", where=self.name, got=op.name)
            for source, shape in zip(op.inputs, op.input_shapes, strict=True):
                if source not in shapes:
                    raise WorkloadError(f"op {op.name!r} reads {source!r}, which no earlier op makes", where=self.name)
                if shapes[source] != shape:
                    raise WorkloadError(
                        f"op {op.name!r} reads {source!r} under another shape",
                        where=self.name,
                        got=shape,
                        expected=str(shapes[source]),
                    )
            shapes[op.name] = op.output_shape
        self._check_logits(shapes)
        object.__setattr__(self, "_hash", hash((self.name, self.width, self.ops, self.exits, self.output)))
        _segments(self)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:  # the hash of a string is good for one process only
        return type(self), tuple(getattr(self, item.name) for item in fields(self) if item.init)

    def _check_logits(self, shapes: dict[str, Shape]) -> None:
        for label, name in [("output", self.output)] + [
            (f"head of exit {i}", exit_.head[-1] if exit_.head else "") for i, exit_ in enumerate(self.exits, 1)
        ]:
            if shapes.get(name) != (self.num_classes,):
                raise WorkloadError(
                    f"{label} must make one logit per class",
                    where=self.name,
                    got=f"{name!r} of shape {shapes.get(name)}",
                    expected=f"shape ({self.num_classes},)",
                )

    @property
    def num_exits(self) -> int:
        """Number of early exits N; running to the end is exit_index N+1."""
        return len(self.exits)

    def op(self, name: str) -> Op:
        """The op of this name.

        Raises:
            KeyError: if there is none.
        """
        return _ops_by_name(self)[name]

    @property
    def graph(self) -> networkx.DiGraph[str]:
        """The DAG of op names, ``INPUT`` included, with an edge from each producer to each consumer."""
        return _graph(self)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The N+1 segments in order."""
        return _segments(self)

    @property
    def backbone(self) -> Workload:
        """This network without its exits."""
        return self.with_exits(())

    def with_exits(self, kept: Sequence[int]) -> Workload:
        """This network with the exits `kept` (1-based, in order) alone; the other heads are gone.

        Raises:
            WorkloadError: if there is no such exit, or they are out of order.
        """
        return _with_exits(self, tuple(kept))

    def static(self, exit_index: int) -> Workload:
        """The network that always stops at `exit_index` (1..N+1), with that head alone.

        Raises:
            WorkloadError: if there is no such exit.
        """
        if exit_index == self.num_exits + 1:
            return self.backbone
        if not 1 <= exit_index <= self.num_exits:
            raise WorkloadError("no such exit", where=self.name, got=exit_index, expected=f"1 to {self.num_exits + 1}")
        kept = tuple(op for segment in self.segments[:exit_index] for op in segment.backbone)
        kept += self.segments[exit_index - 1].head
        return replace(self, ops=kept, exits=(), output=self.exits[exit_index - 1].head[-1])

    def path_macs(self) -> tuple[int, ...]:
        """Multiply–accumulates of the path to each exit, heads passed on the way included; last entry: to the end."""
        return _path_macs(self)


@lru_cache(maxsize=64)
def _with_exits(workload: Workload, kept: tuple[int, ...]) -> Workload:
    if list(kept) != sorted({*kept} & {*range(1, workload.num_exits + 1)}):
        expected = f"some of 1 to {workload.num_exits}, in order"
        raise WorkloadError("no such exits", where=workload.name, got=list(kept), expected=expected)
    dropped = {name for i, exit_ in enumerate(workload.exits, 1) if i not in kept for name in exit_.head}
    ops = tuple(op for op in workload.ops if op.name not in dropped)
    return replace(workload, ops=ops, exits=tuple(workload.exits[i - 1] for i in kept))


@lru_cache(maxsize=64)
def _path_macs(workload: Workload) -> tuple[int, ...]:
    total, path = 0, []
    for segment in workload.segments:
        total += sum(op.macs for op in segment.ops)
        path.append(total)
    return tuple(path)


@lru_cache(maxsize=64)
def _ops_by_name(workload: Workload) -> dict[str, Op]:
    return {op.name: op for op in workload.ops}


@lru_cache(maxsize=64)
def _graph(workload: Workload) -> networkx.DiGraph[str]:
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_node(INPUT)
    for op in workload.ops:
        graph.add_node(op.name)
        graph.add_edges_from((source, op.name) for source in op.inputs)
    return graph


@lru_cache(maxsize=64)
def _segments(workload: Workload) -> tuple[Segment, ...]:
    import networkx

    graph, ops = _graph(workload), _ops_by_name(workload)
    heads = {name for exit_ in workload.exits for name in exit_.head}
    if len(heads) != sum(len(exit_.head) for exit_ in workload.exits):
        raise WorkloadError("an op belongs to two heads", where=workload.name)
    order = {op.name: i for i, op in enumerate(workload.ops)}
    placed = set(heads)
    segments = []
    for i, exit_ in enumerate((*workload.exits, Exit(workload.output, ())), 1):
        if exit_.tap not in order or exit_.tap in heads:
            raise WorkloadError(f"exit {i} taps {exit_.tap!r}, which is no op of the backbone", where=workload.name)
        needed = {*networkx.ancestors(graph, exit_.tap), exit_.tap} - placed - {INPUT}
        last = i == workload.num_exits + 1
        if last:  # whatever no logits need still runs, at the end
            needed = set(order) - placed
        if not needed and not last:
            raise WorkloadError(f"exit {i} taps {exit_.tap!r}, no deeper than the exit before it", where=workload.name)
        placed |= needed
        for name in exit_.head:
            _check_head_op(workload, i, exit_, name)
        for name in needed:
            stolen = heads.intersection(graph.predecessors(name))
            if stolen:
                raise WorkloadError(f"backbone op {name!r} reads the head op {min(stolen)!r}", where=workload.name)
        backbone = tuple(ops[name] for name in sorted(needed, key=order.__getitem__))
        segments.append(Segment(i, backbone, tuple(ops[name] for name in exit_.head)))
    return tuple(segments)


def _check_head_op(workload: Workload, exit_index: int, exit_: Exit, name: str) -> None:
    ops = _ops_by_name(workload)
    if name not in ops:
        raise WorkloadError(f"exit {exit_index} has the head op {name!r}, which does not exist", where=workload.name)
    earlier = set(exit_.head[: exit_.head.index(name)]) | {exit_.tap}
    for source in ops[name].inputs:
        if source not in earlier:
            raise WorkloadError(
                f"head op {name!r} of exit {exit_index} reads {source!r}",
                where=workload.name,
                expected=f"the tap {exit_.tap!r} or an earlier op of the same head",
            )
