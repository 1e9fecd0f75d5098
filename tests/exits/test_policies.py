"""The policies beside exclusion, worked out by hand, and what their decisions cost."""

from __future__ import annotations

from math import e, log

import numpy as np
import pytest

from ceesim.errors import PolicyError
from ceesim.exits.policy import DecisionCost, ExitPolicy, replay
from ceesim.exits.references import External, Fixed, Never, Oracle, Patience
from ceesim.exits.scores import Score, ScoreKind, confidence, entropy, margin

# softmax: (0.7, 0.2, 0.1) and (0.4, 0.4, 0.2)
SURE, TORN = [log(0.7), log(0.2), log(0.1)], [log(0.4), log(0.4), log(0.2)]


def run(policy: ExitPolicy, heads: list[list[float]], final: list[float], label: int = -1) -> tuple[int, int]:
    decisions = replay(policy, np.array([heads], np.float32), np.array([final], np.float32), np.array([label]))
    return int(decisions.exit_index[0]), int(decisions.predictions[0])


def test_scores_are_those_of_the_softmax() -> None:
    values = np.array([SURE, TORN, [0.0, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(confidence(values), [0.7, 0.4, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(margin(values), [0.5, 0.0, 0.0], atol=1e-6)
    expected = [-sum(p * log(p) for p in row) for row in ((0.7, 0.2, 0.1), (0.4, 0.4, 0.2), (1 / 3,) * 3)]
    np.testing.assert_allclose(entropy(values), expected, rtol=1e-6)


def test_scores_of_far_logits_are_exact() -> None:
    values = np.array([[60000.0, -60000.0, 0.0]], np.float32)
    assert (confidence(values)[0], margin(values)[0], entropy(values)[0]) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "passes", "blocks"), [("confidence", 0.69, 0.71), ("margin", 0.49, 0.51), ("entropy", 0.81, 0.79)]
)
def test_a_score_is_compared_with_its_threshold(kind: str, passes: float, blocks: float) -> None:
    assert run(Score(ScoreKind(kind), (passes,)), [SURE], TORN) == (1, 0)
    assert run(Score(ScoreKind(kind), (blocks,)), [SURE], TORN) == (2, 0)


@pytest.mark.parametrize(("kind", "never"), [("confidence", 2.0), ("margin", 2.0), ("entropy", -1.0)])
def test_a_score_out_of_reach_releases_nobody(kind: str, never: float) -> None:
    assert run(Score(ScoreKind(kind), (never,)), [[9000.0, 0.0, 0.0]], SURE) == (2, 0)


def test_patience_waits_for_heads_that_agree_in_a_row() -> None:
    heads = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    final = [1.0, 0.0]
    assert [run(Patience(number), heads, final) for number in (1, 2, 3, 4)] == [(1, 0), (3, 1), (4, 1), (5, 0)]


def test_fixed_never_and_oracle() -> None:
    heads, final = [[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0]
    assert [run(Fixed(i), heads, final) for i in (1, 2, 3)] == [(1, 0), (2, 1), (3, 0)]
    assert run(Never(), heads, final) == (3, 0)
    assert run(Oracle(), heads, final, label=1) == (2, 1)
    assert run(Oracle(), heads, final, label=0) == (1, 0)
    assert run(Oracle(), heads, final) == (3, 0)  # unknown label


def test_which_heads_are_computed() -> None:
    assert Fixed(2).kept(3) == (2,)
    assert Fixed(4).kept(3) == ()
    assert Never().kept(3) == ()
    assert Patience(2).kept(3) == Oracle().kept(3) == (1, 2, 3)
    assert Score(ScoreKind.MARGIN, (None, 0.5, None)).kept(3) == (2,)


def test_what_decisions_cost() -> None:
    assert Score(ScoreKind.CONFIDENCE, (0.5,)).cost(10) == DecisionCost(compares=20, exponentials=10)
    assert Score(ScoreKind.ENTROPY, (0.5,)).cost(10) == DecisionCost(compares=30, exponentials=10)
    assert Patience(2).cost(10) == DecisionCost(compares=11, state_bits=6)
    assert Fixed(1).cost(10) == DecisionCost(compares=10)
    assert Never().cost(10) == Oracle().cost(10) == DecisionCost(compares=0)
    assert External(DecisionCost(7, 3, 1)).cost(10) == DecisionCost(7, 3, 1)


def test_policies_that_make_no_sense_are_refused() -> None:
    for make in (
        lambda: Patience(0),
        lambda: Fixed(0),
        lambda: Fixed(3).kept(1),
        lambda: Score(ScoreKind.CONFIDENCE, (e,)),
        lambda: External(DecisionCost(-1)),
        lambda: run(External(DecisionCost(1)), [SURE], SURE),
    ):
        with pytest.raises(PolicyError):
            make()


def test_deciding_at_an_exit_that_is_not_kept_is_refused() -> None:
    policy = Score(ScoreKind.MARGIN, (None, 0.5))
    with pytest.raises(PolicyError, match="exit 1 is not kept"):
        policy.decide(1, np.zeros((1, 3), np.float32), policy.start(np.array([-1]), 3))
