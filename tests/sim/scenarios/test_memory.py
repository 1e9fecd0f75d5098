"""Memory does not grow with the number of inputs: five times as many need hardly more, however they are served."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from ceesim.sim.scenarios.play import play
from ceesim.sim.scenarios.scenario import Scenario
from tests.networks import COST
from tests.sim.scenarios.toys import HARDWARE, priced


def peak_bytes(num_inputs: int, **keys: Any) -> int:
    """The most that a scenario without a row per input holds at a time."""
    dynamic, static = priced()
    scenario = Scenario.model_validate({"inputs": num_inputs, "order": "shuffled", "deadline": "5 us", **keys})
    rows = np.tile(np.arange(4), 250)
    tracemalloc.start()
    try:
        play(scenario, HARDWARE, dynamic, static, rows, exit_cost=COST)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("few", "keys"),
    [
        (10_000, {"arrivals": {"process": "poisson", "load": 0.6}}),
        (4_000, {"arrivals": {"process": "poisson", "load": 3}, "queue": 50}),
        (4_000, {"arrivals": {"process": "period", "period": "2 us"}, "batch": {"size": 4, "mode": "masked"}}),
        (4_000, {"carry": "carried"}),
        (300, {"units": 2}),
    ],
    ids=["poisson", "overload", "batches", "carried", "shared DRAM"],
)
def test_five_times_as_many_inputs_need_hardly_more(few: int, keys: dict[str, Any]) -> None:
    """Histograms still fill, up to a bucket per thousandth of a value; a row per input would take 64 bytes and more."""
    peak_bytes(100, **keys)  # what is made once
    small, large = peak_bytes(few, **keys), peak_bytes(5 * few, **keys)
    assert large - small < 30 * (4 * few) + 200_000
