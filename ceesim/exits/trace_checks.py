"""What must hold between the arrays of a trace, its network and its policy; linear, in a few passes over each array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ceesim.errors import PolicyError, TraceError
from ceesim.exits.exclusion import Exclude
from ceesim.exits.npz import Header
from ceesim.exits.policy import Decisions, ExitPolicy, Logits
from ceesim.exits.policy import replay as replay_policy
from ceesim.exits.references import External, Fixed, Oracle, Patience
from ceesim.units import ceil_div

if TYPE_CHECKING:
    from ceesim.exits.trace import ExitTrace
    from ceesim.workload.network import Workload

_KINDS: Final = {"logits": "f", "final_logits": "f", "density": "f", "remaining": "u"}
_SPARE: Final = (0, *((1 << 8 - used) - 1 for used in range(1, 8)))
"""The bits of the last byte that belong to no class, by number of classes modulo 8."""
_BLOCK: Final = 1 << 15
"""Inputs checked at a time, so that what is worked out on the way stays in the cache."""
_LABEL: Final = {"i": "integers", "u": "uint8", "f": "float16 or float32"}


def _shape_of(name: str, num_inputs: int, workload: Workload) -> tuple[int, ...]:
    exits, classes = workload.num_exits, workload.num_classes
    return {
        "remaining": (num_inputs, exits, ceil_div(classes, 8)),
        "logits": (num_inputs, exits, classes),
        "final_logits": (num_inputs, classes),
        "density": (num_inputs, len(workload.ops)),
    }.get(name, (num_inputs,))


def _kind_fits(name: str, dtype: np.dtype[Any]) -> bool:
    kind = _KINDS.get(name, "i")
    if kind == "f":
        return dtype.kind == "f" and dtype.itemsize in (2, 4)
    return dtype.kind in "iu" if kind == "i" else dtype == np.uint8


def check_headers(headers: Mapping[str, Header], workload: Workload, largest_num_inputs: int) -> None:
    """Compare type and shape of every array with the network, before any is read.

    Raises:
        TraceError: names the array.
    """
    shape = headers["labels"].shape
    if len(shape) != 1 or not 0 < shape[0] <= largest_num_inputs:
        raise TraceError(
            "wrong shape", where="labels", got=list(shape), expected=f"[inputs], 1 to {largest_num_inputs:,} of them"
        )
    for name, header in headers.items():
        _check_layout(name, header.dtype, header.shape, shape[0], workload)


def _check_layout(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], num_inputs: int, workload: Workload) -> None:
    expected = _shape_of(name, num_inputs, workload)
    if not _kind_fits(name, dtype):
        raise TraceError("wrong type", where=name, got=str(dtype), expected=_LABEL[_KINDS.get(name, "i")])
    if shape != expected:
        raise TraceError(
            "wrong shape",
            where=name,
            got=list(shape),
            expected=f"{list(expected)} for {num_inputs} inputs on {workload.name!r}, "
            f"{workload.num_exits} exits, {workload.num_classes} classes",
        )


def check(trace: ExitTrace) -> None:
    """Check every array against the network and the policy, and the decisions against each other.

    Raises:
        TraceError: names the array, the first offending input, and what was expected.
    """
    workload = trace.workload
    present = {
        name: array
        for name in ("labels", "exit_index", "predictions", "predictions_masked", "remaining", "logits", "final_logits",
                     "density")
        if (array := getattr(trace, name)) is not None
    }  # fmt: skip
    if len(trace.labels) == 0:
        raise TraceError("holds no inputs", where="labels")
    for name, array in present.items():
        _check_layout(name, array.dtype, array.shape, len(trace.labels), workload)
    if (trace.logits is None) != (trace.final_logits is None):
        raise TraceError("logits and final_logits come together or not at all", where="logits")
    _check_range("labels", trace.labels, -1, workload.num_classes - 1)
    _check_range("exit_index", trace.exit_index, 1, workload.num_exits + 1)
    _check_range("predictions", trace.predictions, 0, workload.num_classes - 1)
    if trace.predictions_masked is not None:
        _check_range("predictions_masked", trace.predictions_masked, 0, workload.num_classes - 1)
    for name in ("logits", "final_logits"):
        if name in present and not np.isfinite(present[name]).all():
            raise _first(name, ~np.isfinite(present[name]), "not a finite number", present[name])
    if trace.density is not None:
        inside = (trace.density >= 0) & (trace.density <= 1)
        if not inside.all():
            raise _first("density", ~inside, "not a share from 0 to 1", trace.density)
    _check_kept(trace)
    _check_references(trace)
    _check_remaining(trace)


def _check_range(name: str, values: NDArray[np.int64], lowest: int, highest: int) -> None:
    if values.min() < lowest or values.max() > highest:
        raise _first(name, (values < lowest) | (values > highest), "out of range", values, f"{lowest} to {highest}")


def _first(
    name: str, wrong: NDArray[np.bool_], what: str, values: NDArray[Any], expected: str | None = None
) -> TraceError:
    row = int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))[0])
    value = values[row][wrong[row]].flat[0] if wrong.ndim > 1 else values[row]
    return TraceError(f"input {row}: {what}", where=name, got=value, expected=expected)


def _check_kept(trace: ExitTrace) -> None:
    """Nobody leaves where the policy keeps no exit."""
    try:
        kept = trace.policy.kept(trace.workload.num_exits)
    except PolicyError as error:
        raise TraceError(f"policy: {error}", where="meta") from None
    allowed = np.zeros(trace.workload.num_exits + 2, bool)
    allowed[[*kept, trace.workload.num_exits + 1]] = True
    left = allowed[trace.exit_index]
    if not left.all():
        raise _first("exit_index", ~left, "left at an exit that the policy does not keep", trace.exit_index)


def _check_references(trace: ExitTrace) -> None:
    """What `fixed`, `patience` and `oracle` cannot have done, logits or not."""
    policy, exit_index = trace.policy, trace.exit_index
    if isinstance(policy, Fixed):
        wrong, expected = exit_index != policy.exit_index, f"{policy.exit_index}"
    elif isinstance(policy, Patience):
        wrong, expected = exit_index < min(policy.heads, trace.workload.num_exits + 1), f"{policy.heads} or later"
    elif isinstance(policy, Oracle):
        early = exit_index <= trace.workload.num_exits
        wrong, expected = early & (trace.predictions != trace.labels), "early only where the prediction is right"
    else:
        return
    if wrong.any():
        raise _first("exit_index", wrong, f"not what policy {policy.name!r} does", exit_index, expected)


def _check_remaining(trace: ExitTrace) -> None:
    """Classes remain while an input runs, and no longer; under exclusion it leaves with the one that is left."""
    remaining = trace.remaining
    if remaining is None:
        if trace.policy.excludes:
            raise TraceError(f"policy {trace.policy.name!r} excludes classes: which ones remain?", where="remaining")
        return
    if trace.workload.num_exits:
        for first in range(0, len(remaining), _BLOCK):
            _check_block(trace, remaining[first : first + _BLOCK], first)


def _check_block(trace: ExitTrace, remaining: NDArray[np.uint8], first: int) -> None:
    """`_check_remaining` for the inputs from `first` on."""
    num_exits, num_classes = trace.workload.num_exits, trace.workload.num_classes
    exit_index = trace.exit_index[first : first + len(remaining)]
    stray = (remaining[:, :, -1] & _SPARE[num_classes % 8]).any(axis=1)
    if stray.any():
        row = first + int(np.flatnonzero(stray)[0])
        raise TraceError(f"input {row}: a bit beyond class {num_classes - 1} is set", where="remaining")
    found = _counts(remaining)
    if trace.policy.excludes:  # several remain while it runs, one where it leaves
        found, running, leaving = np.minimum(found, 2), 2, 1
    else:
        running = leaving = num_classes
    exits, ends = np.arange(1, num_exits + 1), np.arange(num_exits + 2)[:, None]
    pattern = (running * (exits < ends) + leaving * (exits == ends)).astype(found.dtype)
    expected = pattern.take(exit_index, axis=0)
    if not np.array_equal(found, expected):
        row, column = (int(index[0]) for index in np.nonzero(found != expected))
        what = "several classes until it leaves, then one" if trace.policy.excludes else "all classes until it leaves"
        raise TraceError(
            f"input {first + row} left at exit {exit_index[row]}, the classes at exit {column + 1} say otherwise",
            where="remaining",
            got=f"{_counts(remaining[row : row + 1])[0, column]} classes",
            expected=f"{what}, none after",
        )
    if trace.policy.excludes:
        rows = np.flatnonzero(exit_index <= num_exits)
        predicted = trace.predictions[first + rows]
        other = remaining[rows, exit_index[rows] - 1, predicted >> 3] != 128 >> (predicted & 7)
        if other.any():
            what = f"input {first + rows[other][0]} left with a class that is not the one that remains"
            raise TraceError(what, where="predictions", got=predicted[other][0])


def _counts(remaining: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
    """How many classes remain, [inputs, N]."""
    width = remaining.shape[2]
    if width in (1, 2, 4, 8):
        return np.asarray(np.bitwise_count(remaining.view(f"u{width}")[:, :, 0]))
    return np.asarray(np.bitwise_count(remaining).sum(axis=2, dtype=np.uint32))


def masked_predictions(policy: ExitPolicy, final_logits: Logits, decisions: Decisions) -> NDArray[np.int64] | None:
    """What the policy would predict with `masked_final`, if that differs from what it predicts."""
    num_exits = decisions.remaining.shape[1]
    ended = np.flatnonzero(decisions.exit_index == num_exits + 1)
    if not isinstance(policy, Exclude) or policy.masked_final or num_exits == 0 or len(ended) == 0:
        return None
    last = np.unpackbits(decisions.remaining[ended, -1], axis=1, count=final_logits.shape[1]).astype(bool)
    predictions = replace(policy, masked_final=True).finish(final_logits[ended], last)
    if np.array_equal(predictions, decisions.predictions[ended]):
        return None
    masked = decisions.predictions.copy()
    masked[ended] = predictions
    return masked


def verify(trace: ExitTrace) -> None:
    """Replay the stored policy on the stored logits, if there are any, and compare every decision.

    Raises:
        TraceError: if one comes out otherwise; names the array and the first input.
    """
    if trace.logits is None or trace.final_logits is None or isinstance(trace.policy, External):
        return
    replayed = replay_policy(trace.policy, trace.logits, trace.final_logits, trace.labels)
    masked = masked_predictions(trace.policy, trace.final_logits, replayed)
    pairs: list[tuple[str, NDArray[Any] | None, NDArray[Any]]] = [
        ("exit_index", trace.exit_index, replayed.exit_index),
        ("predictions", trace.predictions, replayed.predictions),
        ("remaining", trace.remaining, replayed.remaining),
        ("predictions_masked", trace.predictions_masked, replayed.predictions if masked is None else masked),
    ]
    for name, stored, again in pairs:
        if stored is None or np.array_equal(stored, again):
            continue
        wrong = np.flatnonzero((stored != again).reshape(len(stored), -1).any(axis=1))
        raise TraceError(
            f"not what the stored policy does with the stored logits, for {len(wrong)} inputs, first {wrong[0]}",
            where=name,
            got=stored[wrong[0]].tolist(),
            expected=str(again[wrong[0]].tolist()),
        )
