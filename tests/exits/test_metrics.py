"""The numbers of the figures, on six inputs that one can follow, and intervals that cover what they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ceesim.errors import TraceError
from ceesim.exits.describe import describe
from ceesim.exits.exclusion import Exclude
from ceesim.exits.metrics import (
    excluded_per_exit,
    excluded_where,
    exits_per_class,
    head_accuracy,
    inputs_per_exit,
    mean_interval,
    target_fate,
)
from ceesim.exits.policy_file import PolicyFile, write_policy
from ceesim.exits.references import Never
from ceesim.exits.trace import ExitTrace, save_trace
from tests.exits.toys import chain, toy_trace

NAN = np.nan


def followed() -> ExitTrace:
    """Four inputs, two exits, three classes; a low logit is −9, struck out by β = 0.5.

    0 (class 0): leaves at exit 1, rightly.
    1 (class 1): class 2 goes at exit 1; leaves at exit 2 with class 0, wrongly: class 1 goes there.
    2 (class 2): class 2 goes at exit 1, comes back at exit 2 as the argmax and leaves there, rightly.
    3 (unknown): nothing goes; ends as class 1.
    """
    logits = np.array(
        [
            [[9, -9, -9], [9, -9, -9]],
            [[2, 2, -9], [9, -9, -9]],
            [[2, 2, -9], [-9, -9, 9]],
            [[1, 1, 1], [1, 1, 1]],
        ],
        np.float16,
    )
    final_logits = np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 9, 0]], np.float16)
    return ExitTrace.from_logits(
        chain(2, 3), np.array([0, 1, 2, -1]), logits, final_logits, Exclude((0.5, 0.5)), dataset="made up", split="test"
    )


def test_the_example_goes_as_told() -> None:
    trace = followed()
    assert trace.exit_index.tolist() == [1, 2, 2, 3]
    assert trace.predictions.tolist() == [0, 0, 2, 1]
    assert trace.accuracy == pytest.approx(2 / 3)
    assert trace.static_accuracy == 1.0


def test_departures() -> None:
    assert inputs_per_exit(followed()).tolist() == [1, 2, 1]
    assert exits_per_class(followed()).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_exclusions_over_both_denominators() -> None:
    excluded = excluded_per_exit(followed())
    # after exit 1: 2, 1, 1, 0 classes; after exit 2: input 0 is gone (and left 2 behind), then 2, 2, 0
    assert excluded.of_all.tolist() == [4 / 4, 6 / 4]
    assert excluded.of_running.tolist() == [4 / 4, 4 / 3]
    np.testing.assert_allclose(excluded_where(followed()), [[0, 1 / 4, 3 / 4], [1 / 3, 2 / 3, 1 / 3]])


def test_an_exit_that_nobody_reached_has_no_mean() -> None:
    trace = toy_trace(3, 2, 3, policy=Exclude((1.0, 0.5)))
    assert np.isnan(excluded_per_exit(trace).of_running[1])
    assert excluded_per_exit(trace).of_all.tolist() == [2, 2]


def test_heads_on_all_and_on_those_they_released() -> None:
    accuracy = head_accuracy(followed())
    assert accuracy.on_all is not None
    # exit 1 says 0, 0, 0; exit 2 says 0, 0, 2; the end is right three times
    np.testing.assert_allclose(accuracy.on_all, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(accuracy.on_released, [1, 1 / 2, NAN])
    bare = replace(followed(), logits=None, final_logits=None, predictions_masked=None)
    assert head_accuracy(bare).on_all is None


def test_what_becomes_of_the_right_class() -> None:
    fate = target_fate(followed())
    np.testing.assert_allclose(fate.excluded, [1 / 3, 1 / 2])  # input 2 of three; then input 1 of two
    np.testing.assert_allclose(fate.recovered, [NAN, 1])  # input 2 gets it back


def test_a_trace_that_does_not_say_what_remains() -> None:
    trace = replace(toy_trace(), remaining=None)
    for metric in (excluded_per_exit, excluded_where, target_fate):
        with pytest.raises(TraceError, match="remain"):
            metric(trace)


def test_the_bootstrap_agrees_with_resampling_inputs_one_by_one() -> None:
    counts, values = np.array([30, 50, 20]), np.array([1.0, 4.0, 9.0])
    inputs = np.repeat(values, counts)
    random = np.random.default_rng(5)
    means = random.choice(inputs, (4000, len(inputs))).mean(axis=1)
    low, high = mean_interval(counts, values)
    np.testing.assert_allclose((low, high), np.quantile(means, [0.025, 0.975]), rtol=0.02)
    assert mean_interval(counts, values) == (low, high)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        right = random.binomial(200, 0.7)
        low, high = mean_interval(np.array([right, 200 - right]), np.array([1.0, 0.0]), num_resamples=500)
        covered += low <= 0.7 <= high
    assert 0.91 < covered / 300 < 0.985


def test_what_inspect_says(tmp_path: Path) -> None:
    save_trace(followed(), tmp_path / "followed.npz")
    content = describe(tmp_path / "followed.npz")
    assert content["kind"] == "trace"
    assert content["num_inputs"], content["num_unlabelled"] == (4, 1)
    assert content["inputs_per_exit"] == [1, 2, 1]
    assert content["head_accuracy"] == {"on_all": [1 / 3, 2 / 3, 1.0], "on_released": [1.0, 0.5, None]}
    assert content["excluded_per_exit"] == {"of_all": [1.0, 1.5], "of_running": [1.0, 4 / 3]}
    write_policy(PolicyFile(Never(), {"method": "by hand"}), tmp_path / "policy.json", 2)
    assert describe(tmp_path / "policy.json") == {
        "kind": "policy", "policy": {"name": "never"}, "found": {"method": "by hand"}
    }  # fmt: skip
