"""Pipelines: the bottleneck is the one that can be worked out, buffers block, divisions are the best there are."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceesim.errors import ScenarioError
from ceesim.hardware.load import override
from ceesim.mapping.nests import weight_bytes
from ceesim.program.command import Amount
from ceesim.sim.run import price_network
from ceesim.sim.scenarios.division import shares
from ceesim.sim.scenarios.outcome import Played
from ceesim.sim.scenarios.pipeline import CLOSED_BUFFER, Stage
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.sim.scenarios.setting import Setting
from tests.networks import COST
from tests.sim.scenarios.toys import (
    CLOCK_HZ,
    HARDWARE,
    WORKLOAD,
    Rows,
    arrival_times,
    begins,
    played,
    priced,
    recorded,
    served_naively,
    some_rows,
)

LAST = WORKLOAD.num_exits
ALONE = {"contention": False}
CUTS = list(range(1, LAST + 1))
ENDLESS = 10**6


def stages(rows: Rows, **keys: Any) -> tuple[Played, tuple[Stage, ...]]:
    result = played(rows, **(ALONE | keys)).dynamic
    assert result.pipeline is not None
    return result, result.pipeline.stages


def test_with_endless_buffers_the_busiest_stage_sets_the_pace() -> None:
    rows = some_rows(3000)
    result, found = stages(rows, pipeline={"cuts": CUTS, "buffer": ENDLESS})  # one segment per unit
    busiest = max(stage.work_cycles for stage in found)
    assert result.end_cycle / len(rows) == pytest.approx(busiest, rel=0.01)
    assert result.end_cycle >= busiest * len(rows) * (1 - 1e-9)
    top = max(found, key=lambda stage: stage.work_cycles)
    assert top.busy == pytest.approx(1, abs=0.01)


def test_an_input_alone_takes_its_stages_one_after_the_other() -> None:
    rows = np.array([LAST])
    result, found = stages(rows, pipeline={"cuts": [1]})
    assert result.latency_max == sum(stage.work_cycles for stage in found)
    early, _ = stages(np.array([0]), pipeline={"cuts": [1]})
    assert early.latency_max == int(priced()[0].costs.latency_cycles[0])  # it never sees the second stage


def test_every_input_is_answered_once_from_its_own_exit() -> None:
    rows = some_rows(500)
    result, _ = stages(rows, pipeline={"cuts": CUTS, "buffer": 1})
    assert result.rows is not None
    assert sorted(result.rows.number) == list(range(500))
    assert result.executed_macs == int(priced()[0].path_macs[rows].sum())
    assert result.energy.total[0] == pytest.approx(sum(result.rows.energy_pj))


def test_no_more_maps_wait_than_there_is_room_for_and_a_full_buffer_blocks() -> None:
    rows = np.full(400, LAST)  # all go on, and the second stage is the slower one
    free, unlimited = stages(rows, pipeline={"cuts": [1], "buffer": ENDLESS})
    _, bounded = stages(rows, pipeline={"cuts": [1]})
    slow = max(unlimited, key=lambda stage: stage.work_cycles)
    if slow is unlimited[0]:
        pytest.fail("the second stage should be the slower one")
    tight, limited = stages(rows, pipeline={"cuts": [1], "buffer": 2})
    assert unlimited[1].queue_most > 2 >= limited[1].queue_most
    assert unlimited[0].blocked == 0 < limited[0].blocked
    assert unlimited[1].queue_most > CLOSED_BUFFER >= bounded[1].queue_most > 2
    assert tight.end_cycle == free.end_cycle  # the bottleneck never starves


def test_more_units_on_the_busiest_stage_raise_the_pace() -> None:
    rows = some_rows(1000)
    single, found = stages(rows, pipeline={"cuts": [1], "units": [1, 1]})
    busiest = int(np.argmax([stage.work_cycles for stage in found]))
    units = [2 if stage == busiest else 1 for stage in range(2)]
    double, _ = stages(rows, pipeline={"cuts": [1], "units": units, "buffer": ENDLESS})
    expected = max(stage.work_cycles / count for stage, count in zip(found, units, strict=True))
    assert double.end_cycle / len(rows) == pytest.approx(expected, rel=0.02)
    assert double.end_cycle < single.end_cycle


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=4), st.integers(0, 5))
def test_units_are_shared_so_that_nobody_is_busier_than_need_be(work: list[float], more: int) -> None:
    total = len(work) + more
    found = shares(work, total)
    cuts = combinations(range(1, total), len(work) - 1)
    best = min(max(each / (b - a) for each, a, b in zip(work, (0, *cut), (*cut, total), strict=True)) for cut in cuts)
    assert sum(found) == total
    assert max(each / units for each, units in zip(work, found, strict=True)) == pytest.approx(best)


def test_the_shift_of_the_mix_is_what_a_shifted_trace_does() -> None:
    rows = some_rows(4000)
    result, found = stages(rows, pipeline={"cuts": [LAST]})
    assert result.pipeline is not None
    twice = next(shift for shift in result.pipeline.shifts if shift.factor == 2)
    hard = rows[rows >= LAST]
    shifted, _ = stages(np.concatenate([rows, hard]), pipeline={"cuts": [LAST]}, order="shuffled")
    assert shifted.num_served / shifted.end_cycle == pytest.approx(twice.pipeline, rel=0.02)
    assert sum(stage.units for stage in found) == 2


@settings(deadline=None, max_examples=10)
@given(st.floats(0.2, 0.9), st.integers(0, 5))
def test_arrivals_are_conserved(load: float, seed: int) -> None:
    keys = {"arrivals": {"process": "poisson", "load": load}, "queue": 3, "seed": seed, "inputs": 300}
    result, _ = stages(some_rows(300), pipeline={"cuts": [1], "buffer": 1}, **keys)
    assert result.num_arrived == result.num_served + result.num_dropped == 300
    assert result.queue_most <= 3


@given(arrival_times(longest_gap=900), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**16))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_first_stage_is_a_queue_with_an_end(
    tmp_path: Path, times: list[int], units: int, capacity: int, seed: int
) -> None:
    """Behind it is room for all maps, so it takes and drops inputs as units that do nothing else would."""
    rows = some_rows(len(times), seed)
    outcome, found = stages(
        rows, arrivals=recorded(tmp_path, times), queue=capacity, pipeline={"cuts": [1], "units": [units, 1]}
    )
    front = Setting(HARDWARE, COST, None, {}).rest(priced()[0], 1, 1).costs.occupancy_cycles
    expected = served_naively(
        times, np.minimum(rows, 1).tolist(), lambda group: int(front[group[0]]), units=units, capacity=capacity
    )
    assert begins(outcome) == expected
    assert outcome.num_dropped == len(times) - len(expected)
    assert outcome.queue_most <= capacity
    assert found[0].queue_most == outcome.queue_most


def test_behind_one_dram_it_is_never_faster() -> None:
    rows = some_rows(60)
    apart, _ = stages(rows, pipeline={"cuts": [1]})
    shared = played(rows, pipeline={"cuts": [1]}).dynamic
    assert shared.end_cycle >= apart.end_cycle
    assert shared.executed_macs == apart.executed_macs


@pytest.mark.parametrize(
    ("pipeline", "says"),
    [
        ({}, "needs to know how many inputs take each exit"),
        ({"cuts": [LAST + 1]}, "no such exit to cut at"),
    ],
)
def test_what_cannot_be_divided_is_refused(pipeline: dict[str, object], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        stages(some_rows(10), pipeline=pipeline)


def test_overload_is_refused_by_its_busiest_stage() -> None:
    rows = some_rows(100)
    _, found = stages(rows, pipeline={"cuts": [1]})
    rate = 1.2 * CLOCK_HZ / max(stage.work_cycles for stage in found)
    with pytest.raises(ScenarioError, match="faster than they can be served"):
        stages(rows, pipeline={"cuts": [1]}, arrivals={"process": "poisson", "rate": rate})


@pytest.mark.parametrize("residency", ["prefix", "auto"])
def test_a_stage_pins_nothing_that_it_never_runs(residency: str) -> None:
    weights = {op.name: op for segment in WORKLOAD.segments[:2] for op in segment.ops}
    accelerator = override(HARDWARE, {"residency": residency, "buffers.weight": "4 KiB", "buffers.head": "1 KiB"})
    setting = Setting(accelerator, COST, (0.0,) * LAST + (1.0,), {})
    network = price_network(WORKLOAD, range(1, LAST + 1), accelerator, COST, setting.exit_rates)
    stage = setting.rest(network, 1, 2)
    own = sum(weight_bytes(op, accelerator) for op in weights.values() if op.num_weights)
    assert 0 < stage.program.warm_up_dram_bytes <= own
    assert stage.program.amounts[:, Amount.WEIGHT_DRAM_BYTES].sum() == 0


def test_results_call_a_pipeline_by_its_name() -> None:
    assert Scenario(pipeline={"cuts": (1,)}).label == "pipeline"
    slow = Scenario(arrivals={"process": "period", "period": "2 s"}, pipeline={"cuts": (1,)})
    assert slow.label == "period:2e+06 us pipeline"
