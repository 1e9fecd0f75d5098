"""Class exclusion worked out by hand: one input, three or four classes, sigmoids one can do in one's head."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceesim.errors import PolicyError
from ceesim.exits.exclusion import ODDS, Exclude, Ratio, exclusion_threshold
from ceesim.exits.policy import DecisionCost, Decisions, ExitPolicy, replay


def logits(*probabilities: float) -> list[float]:
    """Logits with these sigmoids."""
    return [log(p / (1 - p)) for p in probabilities]


def one(policy: ExitPolicy, heads: list[list[float]], final: list[float]) -> Decisions:
    return replay(policy, np.array([heads], np.float32), np.array([final], np.float32))


def sets(decisions: Decisions, num_classes: int) -> list[list[int]]:
    unpacked: NDArray[np.uint8] = np.unpackbits(decisions.remaining[0], axis=1, count=num_classes)
    return [np.flatnonzero(row).tolist() for row in unpacked]


def test_a_class_below_beta_times_the_largest_is_struck_out() -> None:
    # β·σ(z_m) = 0.5·0.8 = 0.4: class 1 at 0.41 stays, class 2 at 0.39 goes
    decisions = one(Exclude((0.5,)), [logits(0.8, 0.41, 0.39)], [0.0, 1.0, 2.0])
    assert sets(decisions, 3) == [[0, 1]]
    # unmasked: the final argmax may be a class that was struck out
    assert (decisions.exit_index[0], decisions.predictions[0]) == (2, 2)


def test_masked_final_takes_the_best_of_what_remains() -> None:
    decisions = one(Exclude((0.5,), masked_final=True), [logits(0.8, 0.41, 0.39)], [0.0, 1.0, 2.0])
    assert decisions.predictions[0] == 1


def test_whoever_has_one_class_left_leaves_with_it() -> None:
    decisions = one(Exclude((0.5, 0.5)), [logits(0.3, 0.9, 0.44), logits(0.9, 0.1, 0.1)], [9.0, 0.0, 0.0])
    assert (decisions.exit_index[0], decisions.predictions[0]) == (1, 1)
    assert sets(decisions, 3) == [[1], []]


def test_exclusion_adds_up_over_the_exits() -> None:
    # exit 1 strikes out class 2 (0.2 < 0.5·0.8), exit 2 class 1 (0.1 < 0.5·0.6) though it would keep class 2 (0.5)
    decisions = one(Exclude((0.5, 0.5)), [logits(0.8, 0.6, 0.2), logits(0.6, 0.1, 0.5)], [0.0, 0.0, 0.0])
    assert sets(decisions, 3) == [[0, 1], [0]]
    assert (decisions.exit_index[0], decisions.predictions[0]) == (2, 0)
    # without memory class 2 still stands at exit 2
    assert one(Ratio((0.5, 0.5)), [logits(0.8, 0.6, 0.2), logits(0.6, 0.1, 0.5)], [0.0, 0.0, 9.0]).exit_index[0] == 3


def test_the_argmax_is_readmitted_however_long_ago_it_went() -> None:
    heads = [logits(0.8, 0.6, 0.7, 0.1), logits(0.8, 0.6, 0.7, 0.1), logits(0.5, 0.3, 0.3, 0.9)]
    decisions = one(Exclude((0.5, 0.0, 0.5)), heads, [0.0] * 4)
    # class 3 went at exit 1; at exit 3 it is the argmax, and 0.45 strikes out classes 1 and 2
    assert sets(decisions, 4) == [[0, 1, 2], [0, 1, 2], [0, 3]]
    # without recovery the argmax at exit 3 is class 0 with 0.5, and 0.25 strikes out nobody
    assert sets(one(Exclude((0.5, 0.0, 0.5), recovery=False), heads, [0.0] * 4), 4) == [[0, 1, 2]] * 3


def test_an_exit_that_is_not_kept_changes_nothing() -> None:
    heads = [logits(0.8, 0.41, 0.1), logits(0.1, 0.1, 0.9), logits(0.8, 0.1, 0.1)]
    decisions = one(Exclude((0.5, None, 0.5)), heads, [0.0] * 3)
    assert sets(decisions, 3) == [[0, 1], [0, 1], [0]]
    assert (decisions.exit_index[0], decisions.predictions[0]) == (3, 0)
    assert Exclude((0.5, None, 0.5)).kept(3) == (1, 3)


def test_calibration_undoes_the_positive_class_weight() -> None:
    # odds of 36 to 1 under α = 36 are honest odds of 1: σ(z − ln 36) is 0.5, 0.25, 0.1
    inflated = [log(36 * p / (1 - p)) for p in (0.5, 0.25, 0.1)]
    assert sets(one(Exclude((0.3,), alpha=36.0), [inflated], [0.0] * 3), 3) == [[0, 1]]
    # uncalibrated the same head says 0.97, 0.92, 0.8 and β = 0.3 strikes out nobody
    assert sets(one(Exclude((0.3,)), [inflated], [0.0] * 3), 3) == [[0, 1, 2]]


def test_odds_compare_how_far_a_class_is_behind_the_best() -> None:
    # odds of 4, 1 and 1/4: probabilities 0.8, 0.5 and 0.2; half of 0.8 is 0.4, half of 4 is 2
    heads = [logits(0.8, 0.5, 0.2)]
    assert sets(one(Exclude((0.5,)), heads, [0.0] * 3), 3) == [[0, 1]]
    assert sets(one(Exclude((0.5,), alpha=ODDS), heads, [0.0] * 3), 3) == [[0]]
    assert sets(one(Exclude((0.2,), alpha=ODDS), heads, [0.0] * 3), 3) == [[0, 1]]


@given(st.integers(0, 2**32), st.floats(0.001, 1), st.sampled_from((-512, -1, 3, 400)))
def test_odds_do_not_depend_on_what_all_logits_share(seed: int, beta: float, shift: int) -> None:
    """Of sixty-fourths of a unit sums are exact. Probabilities depend on it: that is what saves odds more."""
    values = np.random.default_rng(seed).integers(-600, 600, (40, 3, 5)).astype(np.float32) / 64
    final = np.zeros((40, 5), np.float32)
    policy = Exclude((beta,) * 3, alpha=ODDS)
    before, after = (replay(policy, each, final) for each in (values, values + np.float32(shift)))
    assert (before.exit_index == after.exit_index).all()
    assert (before.remaining == after.remaining).all()


def test_odds_are_where_ever_larger_weights_lead() -> None:
    largest = np.linspace(-8, 8, 33).astype(np.float32)
    odds = exclusion_threshold(largest, 0.3, ODDS)
    gaps = [np.abs(exclusion_threshold(largest, 0.3, alpha) - odds).max() for alpha in (1.0, 36.0, 1e4, 1e9)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-5 < gaps[0]


def test_equal_logits_go_to_the_lowest_class() -> None:
    decisions = one(Exclude((1.0,)), [[1.0, 2.0, 2.0]], [5.0, 5.0, 1.0])
    assert sets(decisions, 3) == [[1, 2]]  # both largest stand at t = z_m
    assert decisions.predictions[0] == 0


def test_the_threshold_is_the_logit_of_the_scaled_sigmoid() -> None:
    largest = np.array(logits(0.8, 0.5, 0.999), np.float32)
    exact = np.log(0.5 * np.array([0.8, 0.5, 0.999]) / (1 - 0.5 * np.array([0.8, 0.5, 0.999])))
    np.testing.assert_allclose(exclusion_threshold(largest, 0.5), exact, rtol=1e-6)


@pytest.mark.parametrize("largest", [-60000.0, -800.0, 0.0, 800.0, 60000.0])
def test_the_threshold_is_finite_where_the_sigmoid_is_not(largest: float) -> None:
    values = np.array([largest], np.float32)
    for beta in (1e-9, 0.01, 0.5, 0.99):
        threshold = exclusion_threshold(values, beta)
        assert np.isfinite(threshold).all()
        assert threshold[0] <= values[0]
    assert exclusion_threshold(values, 1.0)[0] == values[0]
    assert exclusion_threshold(values, 0.0)[0] == -np.inf


def test_rounding_the_threshold_up_changes_no_decision() -> None:
    largest = np.linspace(-12, 12, 4001).astype(np.float32)
    for beta in (0.01, 0.37, 0.5, 0.99):
        z = largest.astype(np.float64)
        exact = np.log(beta) - np.logaddexp(np.log1p(-beta), -z)
        rounded = exclusion_threshold(largest, beta)
        assert (rounded >= exact).all()
        assert (np.nextafter(rounded, np.float32(-np.inf)) < exact).all()


def test_what_a_decision_costs() -> None:
    assert Exclude((0.5,)).cost(10) == DecisionCost(compares=20, exponentials=0, state_bits=10)
    assert Ratio((0.5,)).cost(10) == DecisionCost(compares=20)


@pytest.mark.parametrize(
    ("beta", "message"),
    [((0.5, 1.5), "β of exit 2"), ((-0.1,), "β of exit 1"), ((float("nan"),), "β of exit 1"), ((True,), "β of exit 1")],
)
def test_a_beta_out_of_range_is_refused(beta: tuple[float, ...], message: str) -> None:
    for kind in (Exclude, Ratio):
        with pytest.raises(PolicyError, match=message):
            kind(beta)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("-inf"), 2e9])
def test_an_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(PolicyError, match="α"):
        Exclude((0.5,), alpha=alpha)


def test_thresholds_for_another_network_are_refused() -> None:
    with pytest.raises(PolicyError, match="another number of exits") as caught:
        one(Exclude((0.5, 0.5)), [[0.0, 1.0]], [0.0, 1.0])
    assert caught.value.got == 2
