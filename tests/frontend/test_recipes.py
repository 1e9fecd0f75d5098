"""Recipes: the published numbers, and schedules as pure functions of progress."""

from __future__ import annotations

import pytest

from ceesim.errors import OptionError
from ceesim.frontend.recipes import recipe


def test_the_published_configurations() -> None:
    vgg, plain, resnet, alexnet = (
        recipe("code", network, heads)
        for network, heads in (
            ("vggsmall", "exclusion"),
            ("vggsmall", "none"),
            ("resnet50", "exclusion"),
            ("alexnet", "exclusion"),
        )
    )
    assert (vgg.epochs, vgg.learning_rate, vgg.gamma, vgg.batch, vgg.weight_decay) == (200, 0.02, 0.1, 100, 5e-4)
    assert (plain.learning_rate, plain.gamma) == (0.1, 0.2)
    assert resnet == plain
    assert (alexnet.epochs, alexnet.learning_rate, alexnet.schedule, alexnet.augment) == (50, 0.001, "cosine", False)
    assert alexnet.weight_decay == 5e-4


def test_the_paper_s_text() -> None:
    vgg, alexnet = (recipe("paper", network, "exclusion") for network in ("vggsmall", "alexnet"))
    assert (vgg.epochs, alexnet.epochs, vgg.learning_rate) == (200, 50, 0.001)
    assert (vgg.weights, vgg.reduction) == ("paper", "sum_classes")


def test_steps_fall_at_60_120_and_160_of_200_epochs() -> None:
    vgg = recipe("code", "vggsmall", "exclusion")
    rates = [vgg.learning_rate_at(epoch / 200) for epoch in (0, 59, 60, 119, 120, 159, 160, 199)]
    assert rates == pytest.approx([0.02, 0.02, 0.002, 0.002, 0.0002, 0.0002, 0.00002, 0.00002])


def test_one_cycle_rises_for_a_fifth_and_falls_to_zero() -> None:
    quick = recipe("quick", "vggsmall", "exclusion")
    rates = [quick.learning_rate_at(done) for done in (0, 0.1, 0.2, 0.6, 1)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.1, 0])


def test_cosine_and_constant() -> None:
    assert recipe("code", "alexnet", "none").learning_rate_at(0.5) == pytest.approx(0.0005)
    assert recipe("paper", "alexnet", "none").learning_rate_at(0.9) == 0.001


def test_an_unknown_recipe() -> None:
    with pytest.raises(OptionError, match="unknown recipe"):
        recipe("slow", "vggsmall", "exclusion")
