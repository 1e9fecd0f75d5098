"""The loss is Eq. 2–3, written out by hand in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ceesim.errors import OptionError
from ceesim.frontend.loss import ExitLoss

RNG = np.random.default_rng(0)
EXITS, FINAL = RNG.normal(size=(3, 5, 4)), RNG.normal(size=(5, 4))
LABELS = np.array([0, 3, 1, 1, 2])


def value(loss: ExitLoss) -> float:
    logits = [torch.from_numpy(each.astype(np.float32)) for each in (*EXITS, FINAL)]
    return float(loss(logits, torch.from_numpy(LABELS)))


def cross_entropy(logits: np.ndarray) -> float:
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-log_softmax[np.arange(5), LABELS].mean())


def binary(logits: np.ndarray, alpha: float, both: bool) -> np.ndarray:
    truth = np.eye(4)[LABELS]
    positive = 1 / (1 + np.exp(-logits))
    return -alpha * truth * np.log(positive) - (alpha if both else 1) * (1 - truth) * np.log(1 - positive)


@pytest.mark.parametrize(("weights", "expected"), [("code", [1 / 4, 1 / 3, 1 / 2]), ("paper", [1 / 3, 1 / 2, 1])])
def test_exit_weights(weights: str, expected: list[float]) -> None:
    assert ExitLoss(weights=weights).exit_weights(3) == pytest.approx(expected)


@pytest.mark.parametrize("weights", ["code", "paper"])
@pytest.mark.parametrize("alpha", [None, 7.0])
@pytest.mark.parametrize("mode", ["pos_weight", "scale"])
@pytest.mark.parametrize("reduction", ["mean", "sum_classes"])
def test_exclusion_heads(weights: str, alpha: float | None, mode: str, reduction: str) -> None:
    loss = ExitLoss(weights=weights, alpha=alpha, alpha_mode=mode, reduction=reduction)
    terms = [binary(each, alpha or 4 * 3, mode == "scale") for each in EXITS]
    heads = [term.mean() if reduction == "mean" else term.sum(axis=1).mean() for term in terms]
    expected = cross_entropy(FINAL) + np.dot(loss.exit_weights(3), heads)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_confidence_heads_are_cross_entropies() -> None:
    loss = ExitLoss("confidence")
    expected = cross_entropy(FINAL) + np.dot(loss.exit_weights(3), [cross_entropy(each) for each in EXITS])
    assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_is_the_final_classifier_s() -> None:
    """A share of the target goes to all classes alike; heads are not smoothed."""
    log_softmax = FINAL - np.log(np.exp(FINAL).sum(axis=1, keepdims=True))
    smoothed = 0.7 * cross_entropy(FINAL) - 0.3 * log_softmax.mean()
    assert value(ExitLoss("none", label_smoothing=0.3)) == pytest.approx(smoothed, rel=1e-5)
    heads = value(ExitLoss("confidence")) - cross_entropy(FINAL)
    assert value(ExitLoss("confidence", label_smoothing=0.3)) == pytest.approx(smoothed + heads, rel=1e-5)


def test_without_heads_only_the_final_classifier_counts() -> None:
    assert value(ExitLoss("none")) == pytest.approx(cross_entropy(FINAL), rel=1e-5)


def test_the_default_alpha_is_the_paper_s() -> None:
    assert [ExitLoss().alpha_for(num_classes) for num_classes in (10, 100)] == [36, 396]


def test_an_uninformed_head_settles_at_0_8() -> None:
    """The best shared logit for balanced labels has σ = αq/(αq + 1 − q), which is 0.8 at α = 4(M−1)."""
    assert uninformed(ExitLoss()).sigmoid() == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("loss", [ExitLoss(), ExitLoss(alpha=7.0), ExitLoss(alpha=7.0, alpha_mode="scale")])
def test_taking_ln_of_the_positive_weight_away_leaves_the_posterior(loss: ExitLoss) -> None:
    weight = loss.positive_weight(10)
    assert weight is not None
    assert (uninformed(loss) - math.log(weight)).sigmoid() == pytest.approx(1 / 10, abs=1e-3)


def test_only_heads_that_exclude_weigh_positives() -> None:
    assert ExitLoss("confidence").positive_weight(10) is None
    for heads in ("confidence", "none"):
        with pytest.raises(OptionError, match="no use for alpha"):
            ExitLoss(heads, alpha=3.0)


def uninformed(loss: ExitLoss) -> torch.Tensor:
    """The best logit for a head that says the same of every class, on balanced labels of ten."""
    labels = torch.arange(10)
    logit = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([logit], max_iter=50)
    final = torch.zeros(10, 10)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss((logit.expand(10, 10), final), labels)
        value.backward()
        return value

    optimizer.step(closure)
    return logit.detach()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heads": "soft"}, "unknown heads (got soft; expected one of exclusion, confidence, none)"),
        ({"weights": "flat"}, "unknown weights (got flat"),
        ({"alpha": 0.0}, "alpha out of range (got 0.0"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError) as error:
        ExitLoss(**options)
    assert words in str(error.value)
