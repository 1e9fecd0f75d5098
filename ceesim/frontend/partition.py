"""Which ops are heads: those that reach one early output and no other, counted back from it to the tap they share."""

from __future__ import annotations

from collections.abc import Sequence

from ceesim.errors import WorkloadError
from ceesim.workload.network import Exit
from ceesim.workload.ops import Op


def exits_of(ops: Sequence[Op], outputs: Sequence[str], *, where: str) -> tuple[Exit, ...]:
    """The exits of a network that returns `outputs`, op names in order, the final logits last.

    Raises:
        WorkloadError: if two outputs are the same, if logits are read by something else, or if a head reads more than
            one op of the backbone.
    """
    if len(set(outputs)) != len(outputs):
        twice = next(name for name in outputs if list(outputs).count(name) > 1)
        raise WorkloadError("two outputs are the same tensor", where=where, got=twice, expected="one head per exit")
    reached: dict[str, set[int]] = {op.name: set() for op in ops}
    for number, name in enumerate(outputs):
        reached[name].add(number)
    for op in reversed(ops):
        for source in op.inputs:
            if source in reached:
                reached[source] |= reached[op.name]
    return tuple(_exit(ops, name, number, reached, where) for number, name in enumerate(outputs[:-1]))


def _exit(ops: Sequence[Op], output: str, number: int, reached: dict[str, set[int]], where: str) -> Exit:
    if reached[output] != {number}:
        reader = next(op.name for op in ops if output in op.inputs)
        raise WorkloadError(
            f"the logits of exit {number + 1} are read by {reader!r}",
            where=where,
            expected="logits that nothing but the decision reads",
        )
    head = [op for op in ops if reached[op.name] == {number}]
    names = {op.name for op in head}
    taps = sorted({source for op in head for source in op.inputs} - names)
    if len(taps) != 1:
        raise WorkloadError(
            f"the head of exit {number + 1} reads {len(taps)} ops of the backbone",
            where=where,
            got=", ".join(taps),
            expected="one, the tap",
            fix="join them in the backbone, or tap a single one",
        )
    return Exit(taps[0], tuple(op.name for op in head))
