"""The trace: what every input did at every exit, with the network it happened on. The one file `ceesim run` needs.

A trace states decisions (exit_index, predictions, remaining classes) and, if it has them, the evidence (logits). With
evidence, loading replays the stored policy and refuses the file unless every decision comes out again; another policy
can then be replayed without a network. Without evidence, loading checks that the decisions fit each other.
All arrays have one row per input, in the order of the data set; docs/trace-format.md is the format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ceesim.errors import PolicyError, TraceError, WorkloadError
from ceesim.exits.identity import identity
from ceesim.exits.npz import Archive, Header, open_archive, write_archive
from ceesim.exits.policy import ExitPolicy, Logits
from ceesim.exits.policy import replay as replay_policy
from ceesim.exits.policy_file import PolicyLike, as_policy, policy_from_json
from ceesim.exits.trace_checks import check, check_headers, masked_predictions, verify
from ceesim.exits.trace_meta import FREE_TEXT, SCHEMA, read_meta
from ceesim.shipped import Shelf, find
from ceesim.workload.network import Workload
from ceesim.workload.serialize import from_json, to_json

LARGEST_NUM_INPUTS: Final = 10_000_000

Json: TypeAlias = Mapping[str, Any]

_REQUIRED: Final = ("meta", "labels", "exit_index", "predictions")
_OPTIONAL: Final = ("remaining", "logits", "final_logits", "predictions_masked", "density")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ExitTrace:
    """What a network and a policy did with a data set.

    Args:
        workload: the network, exits marked: N exits, M classes.
        dataset: name of the data, as a person would cite it, e.g. ``CIFAR-10``.
        split: which part, e.g. ``test`` or ``val``.
        policy: who decided.
        labels: int [inputs]; −1: unknown.
        exit_index: int [inputs], 1..N; N+1: ran to the end.
        predictions: int [inputs], under the policy.
        remaining: uint8 [inputs, N, ceil(M/8)], big-endian bits: the classes that remain after each exit that the input
            reached, zeros after it left; None: the policy excludes nothing.
        logits: float16 or float32 [inputs, N, M], or None.
        final_logits: float16 or float32 [inputs, M]; None if and only if `logits` is.
        predictions_masked: int [inputs]: what `masked_final` would predict, where that differs, or None.
        density: float16 [inputs, ops]: share of non-zero values in each op's ifmap, in Workload op order, or None.
        preprocessing, training, capture, provenance: JSON for people and reports; nothing is computed from it, but for
            ``training["alpha"]`` (calibration) and ``capture["precision"]`` (the hardware's should be the same).

    Raises:
        TraceError: names the array that is wrong, and how.
    """

    workload: Workload
    dataset: str
    split: str
    policy: ExitPolicy
    labels: NDArray[np.int64]
    exit_index: NDArray[np.int64]
    predictions: NDArray[np.int64]
    remaining: NDArray[np.uint8] | None = None
    logits: Logits | None = None
    final_logits: Logits | None = None
    predictions_masked: NDArray[np.int64] | None = None
    density: NDArray[np.float16] | None = None
    preprocessing: Json = field(default_factory=dict)
    training: Json = field(default_factory=dict)
    capture: Json = field(default_factory=dict)
    provenance: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)

    def __repr__(self) -> str:
        network, inputs = self.workload.name, f"{self.num_inputs:,} inputs"
        exits = f"{self.workload.num_exits} exits, {self.policy.name}"
        return f"ExitTrace({network}, {self.dataset} {self.split}, {inputs}, {exits})"

    @classmethod
    def from_logits(
        cls,
        workload: Workload,
        labels: NDArray[np.integer[Any]],
        logits: NDArray[np.floating[Any]],
        final_logits: NDArray[np.floating[Any]],
        policy: PolicyLike,
        *,
        dataset: str,
        split: str,
        dtype: DTypeLike = np.float16,
        density: NDArray[np.floating[Any]] | None = None,
        preprocessing: Json | None = None,
        training: Json | None = None,
        capture: Json | None = None,
        provenance: Json | None = None,
    ) -> ExitTrace:
        """The trace of logits [inputs, N, M] and final logits [inputs, M], rounded to `dtype` before deciding.

        Where rounding lost something, ``capture["rounding_flips"]`` says how many inputs left elsewhere or were
        predicted otherwise than they would have been in float32.

        Args:
            policy: anything that `as_policy` takes; calibration finds its α in `training`.

        Raises:
            TraceError: if an array does not fit the network, labels are no integers, or a logit is too large for
                `dtype`.
            PolicyError: if the policy was made for another number of exits.
        """
        with np.errstate(over="ignore"):
            stored, stored_final = logits.astype(dtype), final_logits.astype(dtype)
        for name, rounded, given in (("logits", stored, logits), ("final_logits", stored_final, final_logits)):
            if not np.isfinite(rounded).all() and np.isfinite(given).all():
                raise TraceError(
                    f"too large for {rounded.dtype}",
                    where=name,
                    got=float(np.abs(given).max()),
                    fix="store them as dtype=np.float32",
                )
        if np.asarray(labels).dtype.kind not in "iu":
            raise TraceError("labels are whole numbers", where="labels", got=np.asarray(labels).dtype)
        if logits.ndim != 3 or logits.shape[1] != workload.num_exits:
            raise TraceError("one row of logits per exit is needed", where="logits", got=logits.shape)
        if final_logits.shape != (len(logits), logits.shape[2]):
            expected = str((len(logits), logits.shape[2]))
            raise TraceError(
                "one row per input is needed", where="final_logits", got=str(final_logits.shape), expected=expected
            )
        if np.shape(labels) != (len(logits),):
            raise TraceError(
                "one label per input is needed", where="labels", got=np.shape(labels), expected=str((len(logits),))
            )
        if len(logits) and int(np.max(labels)) >= workload.num_classes:
            expected = f"below {workload.num_classes}, or -1 where it is unknown"
            raise TraceError("no such class", where="labels", got=int(np.max(labels)), expected=expected)
        known = np.asarray(labels, np.int64)
        decider = as_policy(policy, workload.num_exits, training=training)
        decisions = replay_policy(decider, stored, stored_final, known)
        told = dict(capture or {})
        if stored.dtype.itemsize < logits.dtype.itemsize:
            exact = replay_policy(decider, logits.astype(np.float32), final_logits.astype(np.float32), known)
            told["rounding_flips"] = {
                "exit_index": int(np.count_nonzero(exact.exit_index != decisions.exit_index)),
                "predictions": int(np.count_nonzero(exact.predictions != decisions.predictions)),
            }
        return cls(
            workload=workload,
            dataset=dataset,
            split=split,
            policy=decider,
            labels=known,
            exit_index=decisions.exit_index,
            predictions=decisions.predictions,
            remaining=decisions.remaining,
            logits=stored,
            final_logits=stored_final,
            predictions_masked=masked_predictions(decider, stored_final, decisions),
            density=None if density is None else density.astype(np.float16),
            preprocessing=preprocessing or {},
            training=training or {},
            capture=told,
            provenance=provenance or {},
        )

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return len(self.labels)

    @property
    def accuracy(self) -> float | None:
        """Share of right predictions under the stored policy among the inputs with a label; None if there is none."""
        return _accuracy(self)

    @property
    def static_accuracy(self) -> float | None:
        """The same for the final classifier, had everybody run to the end; None without logits or labels."""
        return _static_accuracy(self)

    def evidence(self) -> tuple[Logits, Logits]:
        """Logits [inputs, N, M] and final logits [inputs, M].

        Raises:
            TraceError: if the trace holds decisions only.
        """
        if self.logits is None or self.final_logits is None:
            raise TraceError(
                "the trace holds decisions only: searching thresholds or replaying another policy needs logits",
                where=f"{self.workload.name} on {self.dataset} {self.split}",
                fix="use the policy it was recorded with, or capture a trace with logits",
            )
        return self.logits, self.final_logits

    def under(self, policy: PolicyLike) -> ExitTrace:
        """The same inputs under another policy.

        Args:
            policy: a policy, its record (``{"name": "exclude", "beta": 0.5}``; docs/trace-format.md lists them), or a
                policy.json.

        Raises:
            TraceError: if the trace holds decisions only.
            PolicyError: if it is no policy, or one for another number of exits.

        Warns:
            PolicyWarning: if a policy.json says that its thresholds were found for another network or training.
        """
        logits, final_logits = self.evidence()
        decider = as_policy(policy, self.workload.num_exits, training=self.training, network=identity(self))
        decisions = replay_policy(decider, logits, final_logits, self.labels)
        return replace(
            self,
            policy=decider,
            exit_index=decisions.exit_index,
            predictions=decisions.predictions,
            remaining=decisions.remaining,
            predictions_masked=masked_predictions(decider, final_logits, decisions),
            capture={key: value for key, value in self.capture.items() if key not in ("rounding_flips", "float32")},
        )

    def save(self, path: Path | str) -> None:
        """Write the trace for `ceesim run` and the rest; the same trace gives the same bytes.

        Raises:
            TraceError: if its decisions are not those of its policy, or its JSON parts hold what JSON cannot.
            OutputError: if the file cannot be written.
        """
        save_trace(self, path)


@lru_cache(maxsize=8)
def _accuracy(trace: ExitTrace) -> float | None:
    return _share(trace.predictions, trace.labels)


@lru_cache(maxsize=8)
def _static_accuracy(trace: ExitTrace) -> float | None:
    return None if trace.final_logits is None else _share(trace.final_logits.argmax(axis=1), trace.labels)


def _share(predictions: NDArray[Any], labels: NDArray[np.int64]) -> float | None:
    known = labels >= 0
    return float(np.mean(predictions[known] == labels[known])) if known.any() else None


def save_trace(trace: ExitTrace, path: Path | str) -> None:
    """Write a trace; the same trace gives the same bytes.

    Raises:
        TraceError: if its decisions are not those of its policy, or its JSON parts hold what JSON cannot.
        OutputError: if the file cannot be written.
    """
    verify(trace)
    meta = {
        "schema": SCHEMA,
        "network": to_json(trace.workload),
        "dataset": trace.dataset,
        "split": trace.split,
        "policy": trace.policy.to_json(),
    } | {key: dict(getattr(trace, key)) for key in FREE_TEXT}
    try:
        text = json.dumps(meta, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise TraceError(f"not JSON: {error}", where="meta") from None
    arrays: dict[str, NDArray[Any]] = {"meta": np.frombuffer(text.encode(), np.uint8)}
    for name in (*_REQUIRED[1:], *_OPTIONAL):
        array = getattr(trace, name)
        if array is not None:
            arrays[name] = array.astype(np.int32) if array.dtype == np.int64 else array
    write_archive(Path(path), arrays)


def load_trace(path: Path | str) -> ExitTrace:
    """Read a trace, and believe nothing in it before it is checked.

    Args:
        path: a file; a bare name that is not in the working directory may be that of a shipped trace.

    Raises:
        TraceError: if the file is missing, damaged, hostile, of another version, or contradicts itself; names the file
            and the array.
    """
    path = find(path, Shelf.TRACES)
    try:
        with open_archive(path) as archive:
            trace = _read(archive)
        verify(trace)
    except TraceError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise TraceError(error.what, where=where, got=error.got, expected=error.expected, fix=error.fix) from None
    return trace


def _read(archive: Archive) -> ExitTrace:
    names = {*archive.headers}
    if missing := [name for name in _REQUIRED if name not in names]:
        raise TraceError("missing arrays", got=", ".join(sorted(names))[:200], expected=", ".join(missing))
    if unknown := sorted(names - {*_REQUIRED, *_OPTIONAL}):
        raise TraceError("unknown arrays", got=", ".join(unknown)[:200], expected=", ".join((*_REQUIRED, *_OPTIONAL)))
    meta = read_meta(archive)
    try:
        workload = from_json(meta["network"])
    except WorkloadError as error:
        raise TraceError(f"network: {error}", where="meta") from None
    try:
        policy = policy_from_json(meta["policy"])
    except PolicyError as error:
        raise TraceError(f"policy: {error}", where="meta") from None
    headers: dict[str, Header] = {name: header for name, header in archive.headers.items() if name != "meta"}
    check_headers(headers, workload, LARGEST_NUM_INPUTS)
    arrays: dict[str, Any] = {}
    for name, header in headers.items():
        array = archive.read(name)
        if header.dtype == np.uint64 and array.max(initial=0) > np.iinfo(np.int64).max:
            raise TraceError("out of range", where=name, got=array.max())
        arrays[name] = array.astype(np.int64) if header.dtype.kind in "iu" and name != "remaining" else array
    return ExitTrace(
        workload=workload,
        dataset=meta["dataset"],
        split=meta["split"],
        policy=policy,
        **arrays,
        **{key: meta.get(key, {}) for key in FREE_TEXT},
    )
