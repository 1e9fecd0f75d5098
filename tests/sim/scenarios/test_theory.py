"""What queueing theory says about these queues: Pollaczek and Khinchine, PASTA, and the embedded chain of M/G/1/K.

A 95% interval is right 95 times in 100, so it is asked again and again: seeds 0, 1, 2, … as they come, and at least as
many hits as a binomial variable brings 999 times in 1000. At high loads the intervals of correlated waits are somewhat
too short (batch means are not quite independent); nine hits in ten are expected of them there. And the mean over all
seeds, which are independent of each other, has to pass Student's test at 1 in 1000.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ceesim.exits.trace import load_trace
from ceesim.shipped import Shelf, find
from ceesim.sim.costs import Priced
from ceesim.sim.run import Engine, PrecisionWarning, run
from ceesim.sim.scenarios.outcome import Played
from ceesim.sim.scenarios.play import play
from ceesim.sim.scenarios.scenario import Scenario
from tests.networks import COST
from tests.sim.scenarios.toys import CLOCK_HZ, HARDWARE, priced

DYNAMIC, STATIC = priced()
SERVICES = {"M/D/1": STATIC.costs.occupancy_cycles, "M/G/1": DYNAMIC.costs.occupancy_cycles}


def pollaczek_khinchine(load: float, services: NDArray[np.int64]) -> float:
    """Mean wait of M/G/1 whose services are as likely as they occur in `services`."""
    return load * float((services.astype(float) ** 2).mean()) / (2 * (1 - load) * float(services.mean()))


def lost(load: float, services: NDArray[np.int64], places: int) -> float:
    """Share of arrivals that M/G/1 with so many places to wait turns away: 1 − 1/(π₀ + ρ).

    π is the distribution of the number left behind by a departure (Takagi, *Queueing Analysis* 2, §5.1).
    """
    means = load * services / services.mean()  # arrivals during a service
    chain = np.zeros((places + 1, places + 1))
    for left in range(places + 1):
        before = max(left - 1, 0)
        room = places - before
        during = stats.poisson.pmf(np.arange(room), means[:, None]).mean(axis=0)
        chain[left, before:places] = during
        chain[left, places] = 1 - during.sum()
    stationary = np.linalg.lstsq(
        np.vstack([chain.T - np.eye(places + 1), np.ones(places + 1)]), np.r_[np.zeros(places + 1), 1], rcond=None
    )[0]
    return float(1 - 1 / (stationary[0] + load))


def least_hits(tries: int, chance: float) -> int:
    return int(stats.binom.ppf(0.001, tries, chance))


def assert_mean(values: list[float], expected: float) -> None:
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - expected) < stats.t.ppf(0.9995, len(values) - 1) * error


def overloaded(network: Priced) -> Priced:
    """A backbone that cannot keep up, and so is not played."""
    return replace(network, costs=replace(network.costs, occupancy_cycles=network.costs.occupancy_cycles * 1000))


def queue(kind: str, load: float, num_inputs: int, seed: int, **keys: int) -> Played:
    """One network under poisson arrivals; every input draws its exit on its own."""
    network, services = (STATIC if kind == "M/D/1" else DYNAMIC), SERVICES[kind]
    rows = np.random.default_rng((7, seed)).integers(0, len(services), num_inputs)
    arrivals = {"process": "poisson", "rate": load * CLOCK_HZ / float(services.mean())}
    scenario = Scenario.model_validate({"arrivals": arrivals, "seed": seed, **keys})
    return play(scenario, HARDWARE, network, overloaded(STATIC), rows, exit_cost=COST, detailed=True).dynamic


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", list(SERVICES))
def test_mean_waits_and_who_waits(kind: str, load: float) -> None:
    num_inputs, tries, chance = (12_000, 5, 1.0) if load == 0.9 else (3_000, 8, 0.95)
    warm_up = num_inputs // 10
    exact = pollaczek_khinchine(load, SERVICES[kind])
    hits, means, shares = 0, [], []
    for seed in range(tries):
        outcome = queue(kind, load, num_inputs, seed, warm_up=warm_up)
        waiting = outcome.waiting
        assert (waiting.ci95 is None) == (load == 0.9)  # too short a stream to tell
        hits += waiting.ci95 is None or waiting.ci95[0] <= exact <= waiting.ci95[1]
        means.append(waiting.mean)
        assert outcome.rows is not None
        waits = np.array(outcome.rows.begin_cycle) - np.array(outcome.rows.arrival_cycle)
        assert waits[warm_up:].mean() == pytest.approx(waiting.mean)  # those before are left out
        shares.append(float((waits[warm_up:] > 0).mean()))
    assert hits >= least_hits(tries, chance)
    assert_mean(means, exact)
    assert_mean(shares, load)  # poisson arrivals see time averages


@pytest.mark.parametrize(("load", "places"), [(0.8, 1), (0.8, 4), (1.5, 3)])
@pytest.mark.parametrize("kind", list(SERVICES))
def test_losses_of_a_queue_with_an_end(kind: str, load: float, places: int) -> None:
    shares = []
    for seed in range(8):
        outcome = queue(kind, load, 1_500, seed, queue=places)
        shares.append(outcome.num_dropped / outcome.num_arrived)
    assert_mean(shares, lost(load, SERVICES[kind], places))


def test_the_theory_of_losses_is_erlangs_where_both_apply() -> None:
    """Exponential services, cut fine, with one place to wait: the loss of M/M/1/2, (1 − ρ)ρ²/(1 − ρ³)."""
    services = stats.expon.ppf((np.arange(20_000) + 0.5) / 20_000) * 1e6
    load = 0.7
    expected = (1 - load) * load**2 / (1 - load**3)
    assert lost(load, services, 1) == pytest.approx(expected, rel=1e-3)
    assert pollaczek_khinchine(load, services) == pytest.approx(load / (1 - load) * services.mean(), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_the_shipped_trace_waits_as_theory_says(load: float) -> None:
    """Its own services, shuffled anew in each repetition, which makes them all but independent."""
    trace = load_trace(find("vgg_w025_c10.npz", Shelf.TRACES))
    num_inputs, tries = 60_000 if load == 0.9 else 20_000, 8
    hits, means, exact = 0, [], 0.0
    for seed in range(tries):
        arrivals = {"process": "poisson", "load": load}
        keys = {"order": "shuffled", "inputs": num_inputs, "warm_up": num_inputs // 10}
        scenario = Scenario.model_validate({"arrivals": arrivals, "seed": seed, **keys})
        with pytest.warns(PrecisionWarning):
            result = run("edge_npu.yaml", trace, engine=Engine.COMPILED, scenario=scenario)
        assert result.scenario is not None
        exact = pollaczek_khinchine(load, result.dynamic.costs.occupancy_cycles[result.rows])
        waiting = result.scenario.dynamic.waiting
        assert waiting.ci95 is not None
        hits += waiting.ci95[0] <= exact <= waiting.ci95[1]
        means.append(waiting.mean)
    assert hits >= least_hits(tries, 0.9)
    assert_mean(means, exact)
