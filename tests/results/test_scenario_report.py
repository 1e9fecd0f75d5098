"""What the report shows of a scenario adds up to what the run says, also where the backbone alone could not keep up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ceesim.exits.exclusion import Exclude
from ceesim.exits.policy import ExitPolicy
from ceesim.results.report.folder import RunFolder, read_run
from ceesim.results.report.page import render
from ceesim.results.report.sections import comparison, run_section
from ceesim.sim.run import PrecisionWarning, run
from ceesim.sim.scenarios.scenario import Scenario
from tests.exits.toys import toy_trace
from tests.results.runs import POLICY, run_folder


def folder(
    tmp_path: Path, scenario: dict[str, Any] | None, policy: ExitPolicy = POLICY, overrides: tuple[str, ...] = ()
) -> RunFolder:
    with pytest.warns(PrecisionWarning):
        result = run(
            "edge_npu.yaml",
            toy_trace(policy=policy, capture={"precision": "float32"}),
            engine="compiled",
            overrides=list(overrides),
            scenario=None if scenario is None else Scenario.model_validate(scenario),
            detailed=True,
        )
    return read_run(run_folder(tmp_path / "run", result))


def table(found: RunFolder, name: str) -> dict[str, list[Any]]:
    sheet = next(part for part in run_section(found, "run1").parts if part.name == name).table
    return dict(zip(sheet.columns, map(list, zip(*sheet.rows, strict=True)), strict=True))


POISSON: dict[str, Any] = {"arrivals": {"process": "poisson", "load": 0.5}, "inputs": 400, "deadline": "1 ms"}


def test_waiting_and_service_are_the_latency(tmp_path: Path) -> None:
    found = folder(tmp_path, POISSON)
    columns = table(found, "waiting")
    milliseconds = 1e3 / found.summary["clock_hz"]
    for name, waiting, service in zip(*columns.values(), strict=True):
        assert waiting + service == pytest.approx(found.summary[name]["latency_cycles"]["mean"] * milliseconds)
        assert waiting > 0


def test_the_caption_says_which_part_became_shorter(tmp_path: Path) -> None:
    found = folder(tmp_path, POISSON)
    columns = table(found, "waiting")
    caption = next(part for part in run_section(found, "run1").parts if part.name == "waiting").caption
    for name in ("service", "waiting"):
        static, dynamic = columns[f"{name} (ms)"]
        change = "shorter" if dynamic < static else "longer"
        assert f"{name} is {abs(1 - dynamic / static):.1%} {change}" in caption
    assert "survivors" not in caption
    assert found.scenario is not None
    slower = found.scenario["dynamic"] | {
        "service_cycles": {"mean": 2 * found.scenario["static"]["service_cycles"]["mean"]}
    }
    refilled = found.scenario | {
        "dynamic": slower, "scenario": found.scenario["scenario"] | {"batch": {"size": 4, "mode": "refill"}}
    }  # fmt: skip
    parts = run_section(replace(found, scenario=refilled), "run1").parts
    caption = next(part for part in parts if part.name == "waiting").caption
    assert "with exits service is 100.0% longer" in caption
    assert "survivors that wait for a full batch are being served" in caption


def test_a_dma_with_a_queue_each_way_is_never_busier_than_all_the_time(tmp_path: Path) -> None:
    scenario = {"arrivals": {"process": "poisson", "load": 0.95}, "inputs": 200, "batch": {"size": 4}}
    slow = ("dma.queues=split", "dram.bandwidth=0.2 GB/s", "buffers.activation=1 KiB")
    found = folder(tmp_path, scenario, overrides=slow)
    assert found.scenario is not None
    for name, busy in zip(*(table(found, "scenario")[column] for column in ("network", "DMA busy")), strict=True):
        each = found.scenario[name]["queue_utilisation"]
        assert busy == pytest.approx((each["load"] + each["store"]) / 2)
        assert 0 < busy <= 1
    (tmp_path / "shared").mkdir()
    both = folder(tmp_path / "shared", scenario, overrides=("dma.queues=shared", *slow[1:]))
    assert both.scenario is not None
    each = both.scenario["dynamic"]["queue_utilisation"]
    assert table(both, "scenario")["DMA busy"][-1] == pytest.approx(each["load"] + each["store"])


def test_the_distribution_ends_at_the_slowest_and_the_accounts_at_all_inputs(tmp_path: Path) -> None:
    found = folder(tmp_path, POISSON)
    columns = table(found, "latency")
    slowest = found.summary["dynamic"]["latency_cycles"]["max"] * 1e3 / found.summary["clock_hz"]
    own = [value for name, value in zip(columns["network"], columns["latency (ms)"], strict=True) if name == "dynamic"]
    assert max(own) == pytest.approx(slowest)
    accounts = table(found, "scenario")
    assert accounts["arrived"] == [400, 400]
    asleep, awake = (accounts[f"idle {how} (µJ per input)"] for how in ("asleep", "awake"))
    assert found.scenario is not None
    assert asleep[-1] * 1e6 == pytest.approx(found.scenario["dynamic"]["idle_energy_pj"]["race_to_sleep"])
    assert all(0 < little < much for little, much in zip(asleep, awake, strict=True))
    assert sum(found.exits["num_inputs"]) == len(found.inputs) == accounts["served"][-1]


def test_the_queue_is_drawn_for_both(tmp_path: Path) -> None:
    assert set(table(folder(tmp_path, POISSON), "queue")["network"]) == {"static", "dynamic"}


def test_a_backbone_that_cannot_keep_up_is_left_out_and_said(tmp_path: Path) -> None:
    everybody_leaves_at_once = Exclude((1.0, 1.0, 1.0))
    overload = {"arrivals": {"process": "poisson", "load": 0.97}, "inputs": 100}
    found = folder(tmp_path, overload, everybody_leaves_at_once)
    assert found.summary["static"] is None
    section = run_section(found, "run1")
    assert "could not serve" in section.sentence
    assert table(found, "waiting")["network"] == ["dynamic"]
    page = render([section, comparison([found, found], ["a", "b"])], "scenarios")
    assert "could not serve" in page


def test_a_pipeline_shows_its_stages(tmp_path: Path) -> None:
    found = folder(tmp_path, {"pipeline": {"cuts": [1]}, "contention": False})
    columns = table(found, "stages")
    assert columns["segments"][0] == "1"
    assert all(0 < share <= 1 for share in columns["busy"])


def test_a_plain_run_shows_none_of_it(tmp_path: Path) -> None:
    found = folder(tmp_path, None)
    assert found.scenario is None
    assert not {"waiting", "queue", "scenario"} & {part.name for part in run_section(found, "run1").parts}
