"""What holds in every scenario: Little's law to the last cycle, nobody lost, nobody in two places, sums that agree."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from ceesim.errors import ScenarioError
from ceesim.sim.scenarios.outcome import Played
from ceesim.sim.scenarios.scenario import Scenario
from tests.sim.scenarios.toys import CLOCK_HZ, HARDWARE, WORKLOAD, arrival_times, played, priced, some_rows

MOST = 24


@st.composite
def scenarios(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """Anything that can be written in a scenario file, of units, refilled batches or a pipeline."""
    process = draw(st.sampled_from(("closed", "poisson", "period", "recorded")))
    keys: dict[str, Any] = {
        "inputs": draw(st.integers(1, MOST)),
        "order": draw(st.sampled_from(("trace", "shuffled"))),
        "seed": draw(st.integers(0, 99)),
    }
    size, units = 1, 1
    if kind == "units":
        size, units = draw(st.integers(1, 4)), draw(st.sampled_from((1, 1, 2, 3)))
    elif kind == "refill":
        size = draw(st.integers(2, 4))
    else:
        cuts = draw(st.sampled_from(([1], [2], [1, 2], [1, 2, 3])))
        stages = [draw(st.integers(1, 2)) for _ in range(len(cuts) + 1)]
        buffer = draw(st.sampled_from((None, 1, 2)))
        keys["pipeline"] = {"cuts": cuts, "units": stages, **({} if buffer is None else {"buffer": buffer})}
        units = sum(stages)
    batch: dict[str, Any] = {}
    if size > 1:
        mode = "refill" if kind == "refill" else draw(st.sampled_from(("static", "masked", "compacted")))
        batch = keys["batch"] = {"size": size, "mode": mode}
    if units > 1:
        keys["units"] = units
        keys["contention"] = draw(st.booleans())
        if keys["contention"]:
            keys["arbitration"] = draw(st.sampled_from(("first_come", "round_robin")))
    arrivals: dict[str, Any] = {"process": process}
    if process == "poisson":
        arrivals["load"] = draw(st.sampled_from((0.2, 0.8, 3.0)))
    elif process == "period":
        arrivals["period"] = f"{draw(st.sampled_from((100, 700, 2000, 20_000)))} ns"
    elif process == "recorded":
        arrivals["times"] = draw(arrival_times(MOST, 2000))
        keys["inputs"] = min(keys["inputs"], len(arrivals["times"]))
    if process != "closed":
        if size > 1:
            batch["max_wait"] = draw(st.sampled_from(("0 ns", "300 ns", "30 us")))
        keys["queue"] = draw(st.sampled_from((None, size, size + 3)))
    elif size == units == 1:
        keys["carry"] = draw(st.sampled_from(("fresh", "carried")))
    keys["deadline"] = draw(st.sampled_from((None, "0 ns", "1500 ns", "10 us")))
    return {"arrivals": arrivals, **{key: value for key, value in keys.items() if value is not None}}


@pytest.mark.parametrize("kind", ["units", "refill", "pipeline"])
@given(st.data(), st.integers(1, 9), st.integers(0, 3))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_laws_of_every_scenario(
    tmp_path: Path, kind: str, data: st.DataObject, trace_inputs: int, warm_up: int
) -> None:
    keys = data.draw(scenarios(kind))
    times = keys["arrivals"].pop("times", None)
    if times is not None:
        file = tmp_path / "times.csv"
        file.write_text("".join(f"{Decimal(time) / CLOCK_HZ}\n" for time in times))
        keys["arrivals"]["file"] = str(file)
    expected = keys["inputs"] if times is None else min(keys["inputs"], len(times))
    rows = some_rows(trace_inputs, keys["seed"])
    try:
        result = played(rows, **keys, warm_up=min(warm_up, expected - 1))
    except ScenarioError:  # more than can be served: which, is asked elsewhere
        if "queue" in keys or keys["arrivals"]["process"] in ("closed", "recorded"):
            raise
        reject()
    scenario = Scenario.model_validate(keys)
    outcome = result.dynamic
    if result.static is not None:
        assert result.static.num_arrived == expected
    _nobody_is_lost(outcome, expected)
    _littles_law(outcome)
    _nobody_is_in_two_places(outcome, scenario)
    _the_queue_has_an_end(outcome, scenario)
    _sums_agree(outcome, rows, scenario)


def _table(outcome: Played) -> tuple[np.ndarray[Any, Any], ...]:
    kept = outcome.rows
    assert kept is not None
    columns = (kept.number, kept.index, kept.unit, kept.arrival_cycle, kept.begin_cycle, kept.answer_cycle)
    return tuple(np.array(column, np.int64) for column in columns)


def _nobody_is_lost(outcome: Played, expected: int) -> None:
    number, *_ = _table(outcome)
    assert outcome.num_arrived == expected == outcome.num_served + outcome.num_dropped
    assert len({*number.tolist()}) == len(number) == outcome.num_served
    assert {*number.tolist()} <= {*range(expected)}


def _littles_law(outcome: Played) -> None:
    """Area under the queue's length = sum of waits; under the number in the system = sum of times in it."""
    _, _, _, arrival, begin, answer = _table(outcome)
    waited = int((begin - arrival).sum())
    assert round(outcome.queue_mean * max(outcome.end_cycle, 1)) == waited
    ends, means, most = outcome.queue_samples
    assert round(float(means @ np.diff(np.r_[0, ends]))) == waited
    moments = np.r_[arrival, begin]
    steps = np.r_[np.ones(len(arrival), np.int64), -np.ones(len(begin), np.int64)]
    order = np.lexsort((steps, moments))  # who is taken leaves before others come
    moments, lengths = moments[order], np.cumsum(steps[order])
    lasting = np.diff(np.r_[moments, moments[-1:]]) > 0
    assert outcome.queue_most == max(lengths[lasting].max(initial=0), 0) == most.max(initial=0)
    values, counts = outcome.latency_points
    if len(number := _table(outcome)[0]) and counts.sum() == len(number):  # no warm-up
        in_system = int((answer - arrival).sum())
        assert round(outcome.latency.mean * outcome.num_served) == in_system
        assert outcome.latency_max == (answer - arrival).max() == values[-1]
        assert round(outcome.waiting.mean * outcome.num_served) == waited


def _nobody_is_in_two_places(outcome: Played, scenario: Scenario) -> None:
    number, _, unit, arrival, begin, answer = _table(outcome)
    assert (arrival <= begin).all()
    assert (begin <= answer).all()
    assert answer.max() <= outcome.end_cycle
    by_number = np.argsort(number)
    assert (np.diff(arrival[by_number]) >= 0).all()
    assert (np.diff(begin[by_number]) >= 0).all()  # first come, first served
    assert (unit < scenario.units).all()
    if scenario.pipeline is not None or scenario.batch.mode == "refill":
        return  # who is answered by a unit may have begun on another, or have been put aside in between
    for one in range(scenario.units):
        own = unit == one
        groups = {int(start): int(answer[own & (begin == start)].max()) for start in begin[own]}
        assert all(end <= start for (_, end), (start, _) in pairwise(sorted(groups.items())))
        assert all((own & (begin == start)).sum() <= scenario.batch.size for start in groups)


def _the_queue_has_an_end(outcome: Played, scenario: Scenario) -> None:
    if scenario.queue is None:
        assert outcome.num_dropped == 0
    else:
        assert outcome.queue_most <= scenario.queue


def _sums_agree(outcome: Played, rows: np.ndarray[Any, Any], scenario: Scenario) -> None:
    _, index, _, arrival, _, answer = _table(outcome)
    units = scenario.units
    assert outcome.idle_cycles + outcome.occupancy_cycles == units * outcome.end_cycle
    assert outcome.idle_cycles >= 0
    assert all(0 <= share <= 1 for share in outcome.unit_utilisation)
    assert round(sum(outcome.unit_utilisation) * max(outcome.end_cycle, 1)) == outcome.occupancy_cycles
    assert outcome.executed_macs - outcome.wasted_macs == outcome.path_macs
    if scenario.batch.mode != "static" or scenario.batch.size == 1:
        assert outcome.path_macs == priced()[0].path_macs[rows[index]].sum()
    kept = outcome.rows
    assert kept is not None
    assert sum(kept.energy_pj) == np.float64(outcome.energy.total[0]).item() or np.isclose(
        sum(kept.energy_pj), outcome.energy.total[0], rtol=1e-9
    )
    assert round(sum(kept.dram_bytes)) == outcome.dram_bytes
    if scenario.deadline is None:
        assert outcome.num_late is outcome.miss_rate is None
    else:
        allowed = scenario.deadline * CLOCK_HZ / 10**12
        assert outcome.num_late == int((answer - arrival > allowed).sum())


def test_the_scenario_of_the_toys_is_not_trivial() -> None:
    """The laws above are asked of a network whose exits differ, on hardware that prefetches what may be wasted."""
    costs = priced()[0].costs
    assert (np.diff(costs.latency_cycles) > 0).all()
    assert costs.wasted_dram_bytes[0] > 0
    assert len(costs.latency_cycles) == WORKLOAD.num_exits + 1
    assert HARDWARE.control.lookahead.value == "prefetch"
