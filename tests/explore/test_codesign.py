"""Prices are those of a run; a comparison is the mean of differences, input by input, with an honest interval."""

import numpy as np
import pytest

from ceesim.errors import OptionError
from ceesim.exits.exclusion import Exclude
from ceesim.exits.outcome import outcome
from ceesim.exits.references import Fixed, Never
from ceesim.exits.search import Method, Space, search
from ceesim.explore.codesign import OBJECTIVES, HardwarePrices, compare, flop_optimal
from ceesim.sim.run import run
from tests.explore.toys import POLICY, experiment, trace

SPACE = Space(choose_exits=True)


@pytest.fixture(scope="module")
def prices() -> HardwarePrices:
    return HardwarePrices(experiment().hardware, trace(400, seed=1, split="val"), SPACE)


@pytest.mark.parametrize("beta", [POLICY.beta, (None, 0.5, 0.4), (None, None, None)])
def test_prices_are_those_of_a_run(prices: HardwarePrices, beta: tuple[float | None, ...]) -> None:
    result = run(experiment().hardware, trace(), policy=Exclude(beta), engine="compiled")
    priced = prices(Exclude(beta).kept(3))
    assert priced.latency == tuple(result.dynamic.costs.latency_cycles)
    assert priced.energy == pytest.approx(tuple(result.energy(result.dynamic).total))
    assert priced.dram_bytes == tuple(result.dynamic.costs.dram_bytes)


def test_an_unknown_objective(prices: HardwarePrices) -> None:
    with pytest.raises(OptionError, match="no such objective"):
        prices.under("beauty")


def test_a_comparison_is_the_difference_of_two_outcomes(prices: HardwarePrices) -> None:
    test = trace(400, seed=2)
    mine, other = POLICY, Exclude((0.2, None, 0.9))
    found = compare(mine, other, test, prices)
    for objective in OBJECTIVES:
        costs = [outcome(policy, test, prices.under(objective)).mean_cost for policy in (mine, other)]
        assert found.costs[objective].mean == pytest.approx(costs[0] / costs[1] - 1)
    accuracies = [outcome(policy, test, prices.under("latency")).accuracy for policy in (mine, other)]
    assert found.accuracy.mean == pytest.approx(accuracies[0] - accuracies[1])
    for difference in (found.accuracy, *found.costs.values()):
        assert difference.low <= difference.mean <= difference.high


def test_a_policy_against_itself_differs_in_nothing(prices: HardwarePrices) -> None:
    found = compare(POLICY, POLICY, trace(), prices)
    for difference in (found.accuracy, *found.costs.values()):
        assert (difference.mean, difference.low, difference.high) == (0, 0, 0)
        assert difference.low <= 0 <= difference.high


def test_the_interval_is_that_of_the_normal_law(prices: HardwarePrices) -> None:
    test = trace(4000, seed=3)
    found = compare(Never(), Fixed(3), test, prices).accuracy
    logits, final = test.evidence()
    differences = (final.argmax(axis=1) == test.labels).astype(float) - (logits[:, 2].argmax(axis=1) == test.labels)
    error = 1.96 * differences.std() / np.sqrt(len(differences))
    assert found.mean == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx((found.mean - error, found.mean + error), abs=error / 6)


def test_a_search_by_latency_is_no_slower_on_its_own_data_than_one_by_operations(prices: HardwarePrices) -> None:
    val = trace(400, seed=1, split="val")
    mine = search(val, SPACE, Method.BUDGETED, prices.under("latency"), 0.05)
    other = flop_optimal(val, SPACE, Method.BUDGETED, 0.05)
    assert compare(mine, other, val, prices).costs["latency"].mean <= 0
