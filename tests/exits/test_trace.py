"""A trace: what goes in comes out, the same bytes every time, and decisions that are those of the policy."""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceesim.errors import OutputError, PolicyError, TraceError
from ceesim.exits.exclusion import Exclude
from ceesim.exits.identity import identity
from ceesim.exits.policy import DecisionCost, ExitPolicy
from ceesim.exits.policy_file import PolicyFile, PolicyWarning, write_policy
from ceesim.exits.references import External, Fixed, Never, Oracle, Patience
from ceesim.exits.scores import Score, ScoreKind
from ceesim.exits.trace import ExitTrace, load_trace, save_trace
from tests.exits.toys import chain, heads, toy_trace

ROOT = Path(__file__).parents[2]
POLICIES: tuple[ExitPolicy, ...] = (
    Exclude((0.5, 0.6, 0.7)),
    Exclude((None, 0.6, 0.7), recovery=False, masked_final=True, alpha=4.0),
    Score(ScoreKind.CONFIDENCE, (0.9, None, 0.9)),
    Patience(2),
    Fixed(2),
    Oracle(),
    Never(),
)
ARRAYS = ("labels", "exit_index", "predictions", "remaining", "logits", "final_logits", "predictions_masked", "density")


def same(one: ExitTrace, other: ExitTrace) -> None:
    for name in ARRAYS:
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None), name
        if first is not None:
            assert first.dtype == second.dtype, name
            np.testing.assert_array_equal(first, second, name)
    for name in ("workload", "dataset", "split", "policy", "preprocessing", "training", "capture", "provenance"):
        assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_trace_comes_back(policy: ExitPolicy, tmp_path: Path) -> None:
    trace = toy_trace(policy=policy, training={"alpha": 4.0}, preprocessing={"mean": [0.5]}, provenance={"é": "ü"})
    save_trace(trace, tmp_path / "toy.npz")
    same(load_trace(tmp_path / "toy.npz"), trace)


def test_the_same_trace_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("one.npz", "two.npz"):
        save_trace(toy_trace(policy=POLICIES[0]), tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    save_trace(load_trace(tmp_path / "one.npz"), tmp_path / "three.npz")
    digests.add(hashlib.sha256((tmp_path / "three.npz").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    trace = toy_trace(policy=POLICIES[0])
    save_trace(trace, tmp_path / "toy.npz")
    with np.load(tmp_path / "toy.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["logits"], trace.logits)
        assert arrays["meta"].dtype == np.uint8


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    trace = toy_trace(policy=POLICIES[0])
    save_trace(trace, tmp_path / "toy.npz")
    with np.load(tmp_path / "toy.npz") as arrays:
        plain: dict[str, Any] = dict(arrays)
    for array in ("labels", "exit_index", "predictions"):
        plain[array] = plain[array].astype(">i2")
    plain["logits"] = np.asfortranarray(plain["logits"])
    np.savez(tmp_path / "plain.npz", **plain)
    same(load_trace(tmp_path / "plain.npz"), trace)


def test_logits_are_rounded_before_deciding_and_flips_are_counted() -> None:
    # β·σ(0) = σ(t) puts the threshold at t; class 1 lies below it, and float16 rounds it to −1, above it
    threshold = -1.0001
    beta = float(2 / (1 + np.exp(-threshold)))
    logits = np.array([[[0.0, -1.0002]]], np.float32)
    arguments = chain(1, 2), np.array([0]), logits, np.array([[0.0, 1.0]], np.float32), Exclude((beta,))
    trace = ExitTrace.from_logits(*arguments, dataset="made up", split="test")
    assert trace.exit_index.tolist() == [2]
    assert trace.capture["rounding_flips"] == {"exit_index": 1, "predictions": 1}
    exact = ExitTrace.from_logits(*arguments, dataset="made up", split="test", dtype=np.float32)
    assert exact.exit_index.tolist() == [1]
    assert "rounding_flips" not in exact.capture


def test_logits_too_large_for_their_type_are_refused() -> None:
    logits = np.full((1, 1, 2), 1e6, np.float32)
    with pytest.raises(TraceError, match=r"logits: too large for float16 \(got 1000000") as error:
        ExitTrace.from_logits(
            chain(1, 2), np.array([0]), logits, np.zeros((1, 2)), Never(), dataset="made up", split="test"
        )
    assert error.value.fix == "store them as dtype=np.float32"


def test_labels_are_whole_numbers_that_fit(tmp_path: Path) -> None:
    logits = np.zeros((1, 1, 2), np.float32)
    with pytest.raises(TraceError, match="labels are whole numbers"):
        ExitTrace.from_logits(
            chain(1, 2), np.array([0.7]), logits, np.zeros((1, 2)), Never(), dataset="made up", split="test"
        )
    save_trace(toy_trace(), tmp_path / "toy.npz")
    arrays = dict(np.load(tmp_path / "toy.npz"))
    arrays["labels"] = arrays["labels"].astype(np.uint64)
    np.savez(tmp_path / "unsigned.npz", **arrays)
    assert load_trace(tmp_path / "unsigned.npz").num_inputs == toy_trace().num_inputs
    arrays["labels"][3] = 2**64 - 1  # −1, unknown, if it were cast
    np.savez(tmp_path / "unsigned.npz", **arrays)
    with pytest.raises(TraceError, match="labels: out of range"):
        load_trace(tmp_path / "unsigned.npz")


def test_masked_predictions_stand_beside_the_others_where_they_differ() -> None:
    # exit 1 strikes out class 2, the final layer prefers it
    logits = np.array([[[2.0, 1.9, -5.0]]], np.float16)
    final_logits = np.array([[0.0, 1.0, 2.0]], np.float16)
    trace = ExitTrace.from_logits(
        chain(1, 3), np.array([2]), logits, final_logits, Exclude((0.5,)), dataset="made up", split="test"
    )
    assert trace.predictions.tolist() == [2]
    assert trace.predictions_masked is not None
    assert trace.predictions_masked.tolist() == [1]


def test_masked_predictions_may_say_what_the_others_say(tmp_path: Path) -> None:
    """A trace cut to inputs for which both are the same is still a trace."""
    save_trace(toy_trace(policy=POLICIES[0]), tmp_path / "toy.npz")
    arrays = dict(np.load(tmp_path / "toy.npz"))
    same_as_before = np.flatnonzero(arrays["predictions_masked"] == arrays["predictions"])
    few = {name: array if name == "meta" else array[same_as_before] for name, array in arrays.items()}
    np.savez(tmp_path / "few.npz", **few)
    assert load_trace(tmp_path / "few.npz").num_inputs == len(same_as_before) < len(arrays["labels"])
    few["predictions_masked"] = (few["predictions_masked"] + 1) % toy_trace().workload.num_classes
    np.savez(tmp_path / "few.npz", **few)
    with pytest.raises(TraceError, match="predictions_masked: not what the stored policy does"):
        load_trace(tmp_path / "few.npz")


def test_another_policy_is_replayed_on_the_same_logits() -> None:
    trace = toy_trace(policy=POLICIES[0])
    again = trace.under(POLICIES[2])
    same(again, toy_trace(policy=POLICIES[2]))
    same(again.under(POLICIES[0]), trace)
    with pytest.raises(PolicyError, match="another number of exits"):
        trace.under(Exclude((0.5,)))


def test_a_policy_file_found_for_another_training_is_warned_of(tmp_path: Path) -> None:
    trace = toy_trace()
    mine = identity(trace)
    for found, warned in ((mine, False), ({}, False), (mine | {"network": "another"}, True)):
        write_policy(PolicyFile(Never(), found), tmp_path / "policy.json", trace.workload.num_exits)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert trace.under(tmp_path / "policy.json").policy == Never()
        assert [each.category for each in told] == [PolicyWarning] * warned
        assert not warned or "found for network another, not for" in str(told[0].message)


def test_accuracy_counts_labelled_inputs_alone() -> None:
    trace = toy_trace()
    labels = trace.labels.copy()
    labels[::2] = -1
    partly = replace(trace, labels=labels)
    assert partly.accuracy == np.mean(trace.predictions[1::2] == labels[1::2])
    assert replace(trace, labels=np.full_like(labels, -1)).accuracy is None
    assert partly.static_accuracy == partly.accuracy  # nobody leaves under `never`


def decisions_only(policy: ExitPolicy, **changes: Any) -> ExitTrace:
    trace = toy_trace(policy=policy)
    return replace(trace, logits=None, final_logits=None, predictions_masked=None, **changes)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_decisions_alone_are_a_trace(policy: ExitPolicy, tmp_path: Path) -> None:
    trace = decisions_only(policy)
    save_trace(trace, tmp_path / "toy.npz")
    same(load_trace(tmp_path / "toy.npz"), trace)
    with pytest.raises(TraceError, match="decisions only"):
        trace.under(Never())


@pytest.mark.parametrize(("policy", "exit_index"), [(Fixed(1), 4), (Patience(3), 2), (Oracle(), 2)])
def test_decisions_that_their_policy_cannot_have_taken_are_refused(policy: ExitPolicy, exit_index: int) -> None:
    """Without logits nothing is replayed; what these three cannot do is plain all the same."""
    labels, *_ = heads(4, 3, 3)
    wrong = (labels + 1) % 3
    with pytest.raises(TraceError, match=f"exit_index: input 0: not what policy '{policy.name}' does"):
        ExitTrace(chain(3, 3), "made up", "test", policy, labels, np.full(4, exit_index), wrong)


def test_who_excludes_says_what_remains_and_others_need_not() -> None:
    assert decisions_only(POLICIES[2], remaining=None).remaining is None
    with pytest.raises(TraceError, match="remaining"):
        decisions_only(POLICIES[0], remaining=None)


def test_decisions_taken_elsewhere_are_not_replayed(tmp_path: Path) -> None:
    labels, logits, final_logits = heads(4, 2, 3)
    trace = ExitTrace(
        chain(2, 3), "made up", "test", External(DecisionCost(6)), labels, np.array([1, 2, 3, 3]), labels,
        logits=logits, final_logits=final_logits,
    )  # fmt: skip
    save_trace(trace, tmp_path / "toy.npz")
    assert load_trace(tmp_path / "toy.npz").policy == External(DecisionCost(6))


def test_a_network_without_exits_has_traces_too(tmp_path: Path) -> None:
    labels, _, final_logits = heads(5, 1, 3)
    trace = ExitTrace.from_logits(
        chain(0, 3), labels, np.empty((5, 0, 3), np.float16), final_logits, Never(), dataset="made up", split="test"
    )
    save_trace(trace, tmp_path / "toy.npz")
    assert load_trace(tmp_path / "toy.npz").exit_index.tolist() == [1] * 5


def test_a_trace_that_its_policy_denies_is_not_written(tmp_path: Path) -> None:
    trace = toy_trace(policy=POLICIES[2])
    exit_index = trace.exit_index.copy()
    late = int(np.flatnonzero(exit_index == 4)[0])
    exit_index[late] = 3
    with pytest.raises(TraceError, match="exit_index"):
        save_trace(replace(trace, exit_index=exit_index, remaining=None), tmp_path / "toy.npz")
    assert not list(tmp_path.iterdir())


def test_what_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    for value in (float("nan"), object()):
        with pytest.raises(TraceError, match="not JSON"):
            save_trace(toy_trace(training={"loss": value}), tmp_path / "toy.npz")


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("missing/toy.npz", "file/toy.npz"):
        with pytest.raises(OutputError, match="cannot be written"):
            save_trace(toy_trace(), tmp_path / place)


def test_the_ten_lines_of_the_format_page_write_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "trace-format.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 10
    assert "ceesim" not in code.replace("ceesim.trace/1", "")
    save_trace(toy_trace(num_exits=3, num_classes=10), tmp_path / "any.npz")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "trace-format.md", "exec"), {})
    trace = load_trace(tmp_path / "mine.npz")
    assert trace.policy == External(DecisionCost(20, 0, 0))
    assert trace.logits is None


@pytest.mark.parametrize("path", sorted((ROOT / "traces").glob("*.npz")), ids=lambda path: path.stem)
def test_shipped_traces_load_and_are_what_we_would_write(path: Path, tmp_path: Path) -> None:
    trace = load_trace(path)
    assert trace.logits is not None
    assert path.stat().st_size < 8 << 20
    save_trace(trace, tmp_path / path.name)
    same(load_trace(tmp_path / path.name), trace)


def test_a_trace_is_told_in_one_line() -> None:
    trace = toy_trace(12, 3, 6)
    told = f"{trace.workload.name}, {trace.dataset} {trace.split}, 12 inputs, 3 exits, {trace.policy.name}"
    assert repr(trace) == f"ExitTrace({told})"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"final_logits": np.zeros((3, 6), np.float32)}, "one row per input"),
        ({"labels": np.zeros(3, np.int64)}, "one label per input"),
        ({"labels": np.full(4, 2**64 - 1, np.uint64)}, "no such class"),
        ({"labels": np.full(4, 6)}, "no such class"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(change: dict[str, Any], said: str) -> None:
    trace = toy_trace(4, 3, 6)
    assert trace.logits is not None
    arrays = {"labels": trace.labels, "logits": trace.logits, "final_logits": trace.final_logits} | change
    with pytest.raises(TraceError, match=said):
        ExitTrace.from_logits(trace.workload, policy=Never(), dataset="d", split="test", **arrays)


@pytest.mark.parametrize(("heads", "said"), [("confidence", "not trained to exclude"), (None, "does not say it")])
def test_the_prior_needs_heads_that_exclude(heads: str | None, said: str) -> None:
    trace = replace(toy_trace(20, 2, 4), training={} if heads is None else {"heads": heads, "alpha": None})
    with pytest.raises(PolicyError, match=said):
        trace.under({"name": "exclude", "beta": 0.5, "calibration": "prior"})
