"""Scenarios in results: the keys of a plain run, numbers that agree with each other and with the tables."""

from __future__ import annotations

import csv
import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ceesim.errors import ScenarioError
from ceesim.exits.policy import ExitPolicy
from ceesim.exits.references import Fixed
from ceesim.hardware.energy.actions import Component, State
from ceesim.hardware.energy.price import Waiting
from ceesim.hardware.energy.table import energy_table
from ceesim.results.page import print_page
from ceesim.results.scenario import ARRIVAL_COLUMNS, QUEUE_COLUMNS, distribution, idle_energy_pj, scenario_record
from ceesim.results.scenario_page import scenario_sentence
from ceesim.results.summary import summary
from ceesim.results.tables import exits
from ceesim.results.write import write_run
from ceesim.sim.result import RunResult
from ceesim.sim.run import run
from ceesim.sim.scenarios.scenario import Scenario
from tests.exits.toys import toy_trace
from tests.results.runs import POLICY

TRACE = toy_trace(num_inputs=200, policy=POLICY, capture={"precision": "int8"})


def result_of(policy: ExitPolicy | None = None, **keys: Any) -> RunResult:
    scenario = Scenario.model_validate(keys) if keys else None
    return run("edge_npu.yaml", TRACE, engine="compiled", policy=policy, scenario=scenario, detailed=True)


@pytest.fixture(scope="module")
def plain() -> RunResult:
    return result_of()


@pytest.fixture(scope="module")
def rush() -> RunResult:
    return result_of(
        arrivals={"process": "poisson", "load": 0.8}, inputs=3000, order="shuffled", queue=3, deadline="4 us"
    )


def keys_of(record: Any, path: str = "") -> set[str]:
    if not isinstance(record, dict):
        return {path}
    return {path} | {key for name, value in record.items() for key in keys_of(value, f"{path}.{name}")}


def test_the_key_set_is_that_of_a_plain_run(plain: RunResult, rush: RunResult) -> None:
    usual, under = summary(plain), summary(rush)
    beyond = {f".reduction.ci95.{name}" for name in usual["reduction"]["ci95"]}
    assert keys_of(under) | beyond == keys_of(usual) | beyond
    assert list(under) == list(usual)
    assert json.loads(json.dumps(under, allow_nan=False)) == under


def test_one_after_another_is_the_plain_run_number_by_number(plain: RunResult) -> None:
    """The same inputs as events: every number of the summary but the intervals, which come another way."""
    usual, played = summary(plain), summary(result_of(inputs=200))
    for numbers in (usual, played):
        numbers["reduction"].pop("ci95")
    usual["dynamic"].pop("deadline_misses")
    assert played["dynamic"].pop("deadline_misses") is None
    assert played["num_inputs"] == usual["num_inputs"]

    def compare(one: Any, other: Any, where: str) -> None:
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for key in one:
                compare(one[key], other[key], f"{where}.{key}")
        elif isinstance(one, float):
            assert other == pytest.approx(one, rel=1e-12), where
        else:
            assert other == one, where

    compare(usual, played, "summary")


def test_misses_are_late_answers_and_drops(rush: RunResult) -> None:
    assert rush.scenario is not None
    played = rush.scenario.dynamic
    assert played.rows is not None
    late = np.array(played.rows.answer_cycle) - np.array(played.rows.arrival_cycle) > 4e-6 * rush.hardware.clock_hz
    assert 0 < played.num_dropped < played.num_arrived
    assert 0 < late.sum() < played.num_served
    assert summary(rush)["dynamic"]["deadline_misses"] == late.sum() + played.num_dropped
    assert played.miss_rate is not None
    assert played.miss_rate.mean == pytest.approx((late.sum() + played.num_dropped) / played.num_arrived)


def test_the_record_agrees_with_the_summary(rush: RunResult) -> None:
    assert rush.scenario is not None
    numbers, record = summary(rush), scenario_record(rush.scenario, rush.hardware)
    mine = record["dynamic"]
    assert mine["latency_cycles"]["mean"] == numbers["dynamic"]["latency_cycles"]["mean"]
    split = mine["waiting_cycles"]["mean"] + mine["service_cycles"]["mean"]
    assert split == pytest.approx(mine["latency_cycles"]["mean"])
    assert mine["arrived"] == mine["served"] + mine["dropped"] == numbers["num_inputs"]
    assert 0 < mine["unit_utilisation"][0] <= 1
    spent = numbers["dynamic"]["energy_pj"]["mean"] * 1e-12 * numbers["dynamic"]["throughput_per_s"]
    assert numbers["dynamic"]["power_w"] == pytest.approx(spent)
    assert all(0 <= share <= 1 for share in mine["queue_utilisation"].values())
    low, high = mine["latency_cycles"]["ci95"]
    assert low < mine["latency_cycles"]["mean"] < high
    asleep, awake = mine["idle_energy_pj"].values()
    assert 0 < asleep < awake
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert Scenario.model_validate(record["scenario"]) == rush.scenario.scenario


@pytest.mark.parametrize(("contention", "drams"), [(True, 1), (False, 3)])
def test_a_shared_dram_idles_once_and_one_of_each_for_each(contention: bool, drams: int) -> None:
    """Inputs come so far apart that accelerators are never at work together."""
    keys: dict[str, Any] = {"arrivals": {"process": "period", "period": "1 ms"}, "inputs": 20, "units": 3}
    result = result_of(**keys, contention=contention)
    assert result.scenario is not None
    played, hardware = result.scenario.dynamic, result.hardware
    end, at_work = played.end_cycle, played.occupancy_cycles
    assert 0 < at_work < 0.1 * end
    for waiting, state in ((Waiting.RACE_TO_SLEEP, State.ASLEEP), (Waiting.STAY_ON, State.AWAKE)):
        per_cycle = energy_table(hardware).state_pj[state].sum(axis=-1)
        of_dram = float(per_cycle[Component.DRAM])
        assert of_dram > 0
        of_others = (3 * end - at_work) * (float(per_cycle.sum()) - of_dram)
        assert idle_energy_pj(played, hardware, waiting) == pytest.approx(of_others + (drams * end - at_work) * of_dram)


def test_what_a_file_says_is_not_dropped() -> None:
    """Nothing meets, and still it is played: its name is told, and a warm-up leaves inputs out, or is refused."""
    named = result_of(name="rush")
    assert named.scenario is not None
    assert summary(named)["scenario"] == "rush"
    shortened = result_of(warm_up=199)
    assert shortened.scenario is not None
    assert shortened.scenario.dynamic.latency_points[1].sum() == 1
    with pytest.raises(ScenarioError, match="left out of the statistics"):
        result_of(warm_up=200)
    assert result_of(seed=3).scenario is None


def test_what_costs_more_is_not_said_to_be_saved(rush: RunResult) -> None:
    numbers = summary(rush)
    numbers["reduction"] |= {"macs": 0.192, "latency": -0.062}
    sentence = scenario_sentence(rush, numbers)
    assert "that is 19.2% fewer MACs, 6.2% more latency (waiting included), " in sentence
    assert "-6.2%" not in sentence


def test_the_page_tells_the_deadline(rush: RunResult) -> None:
    said, without = StringIO(), StringIO()
    print_page(rush, Console(file=said, width=200))
    print_page(result_of(inputs=20), Console(file=without, width=200))
    assert "later than 4 µs, or dropped" in said.getvalue()
    assert "later than" not in without.getvalue()


def test_exits_count_who_was_served_whether_or_not_rows_are_kept(rush: RunResult) -> None:
    assert rush.scenario is not None
    assert rush.scenario.dynamic.rows is not None
    counts = [row["num_inputs"] for row in exits(rush)]
    assert sum(counts) == rush.scenario.dynamic.num_served < rush.scenario.dynamic.num_arrived
    assert counts == np.bincount(rush.rows[np.array(rush.scenario.dynamic.rows.index)], minlength=len(counts)).tolist()
    console = Console(file=StringIO(), width=200)
    print_page(rush, console)
    together = result_of(inputs=200, batch={"size": 8, "mode": "static"})  # answers come where the last one leaves
    assert [row["num_inputs"] for row in exits(together)] == together.exit_counts.tolist()
    shares = re.findall(r"(?:exit \d|the end) +[\d,]+ +([\d.]+)%", console.file.getvalue())
    assert sum(map(float, shares)) == pytest.approx(100, abs=0.3)


def test_the_distribution_is_that_of_the_latencies(rush: RunResult) -> None:
    assert rush.scenario is not None
    played = rush.scenario.dynamic
    assert played.rows is not None
    latencies = np.sort(np.array(played.rows.answer_cycle) - np.array(played.rows.arrival_cycle))
    points = np.array(distribution(played))
    assert (np.diff(points, axis=0) > 0).all()
    assert points[-1].tolist() == [latencies[-1], 1.0]
    for value, share in points:
        assert share == pytest.approx((latencies <= value).mean(), abs=1e-9)


def test_tables(rush: RunResult, tmp_path: Path) -> None:
    write_run(rush, tmp_path / "out", {})
    with (tmp_path / "out" / "arrivals.csv").open(newline="") as stream:
        arrivals = list(csv.DictReader(stream))
    with (tmp_path / "out" / "queue.csv").open(newline="") as stream:
        queue = list(csv.DictReader(stream))
    assert tuple(arrivals[0]) == ARRIVAL_COLUMNS
    assert tuple(queue[0]) == QUEUE_COLUMNS
    assert rush.scenario is not None
    played = rush.scenario.dynamic
    numbers = [int(row["number"]) for row in arrivals]
    assert numbers == sorted(numbers)
    assert len(numbers) == played.num_served
    waited = sum(int(row["begin_cycle"]) - int(row["arrival_cycle"]) for row in arrivals)
    mine = [row for row in queue if row["network"] == "dynamic"]
    ends = [0, *(int(row["end_cycle"]) for row in mine)]
    area = sum(float(row["mean_length"]) * (end - begin) for row, begin, end in zip(mine, ends, ends[1:], strict=False))
    assert area == pytest.approx(waited)  # Little's law, from the files alone
    assert ends[-1] == played.end_cycle
    assert max(int(row["largest_length"]) for row in mine) == played.queue_most <= 3


def test_a_backbone_that_cannot_keep_up_is_null() -> None:
    everybody = Fixed(1)
    costs = result_of(everybody)
    fast, slow = costs.mean(costs.dynamic.costs.occupancy_cycles), float(costs.static.costs.occupancy_cycles[-1])
    assert fast < slow
    rate = costs.hardware.clock_hz / (0.5 * (fast + slow))
    result = result_of(everybody, arrivals={"process": "poisson", "rate": rate})
    numbers = summary(result)
    assert numbers["static"] is None
    assert set(numbers["reduction"]["ci95"].values()) == {None}
    assert all(numbers["reduction"][name] is None for name in ("macs", "latency", "energy", "dram_bytes", "flops"))
    assert result.scenario is not None
    record = scenario_record(result.scenario, result.hardware)
    assert record["static"] is None
    assert record["static_load"] > 1
    said = StringIO()
    print_page(result, Console(file=said, width=200))
    assert "could not serve these arrivals" in said.getvalue()
    assert "a queue that ends and one that does not" in said.getvalue()
