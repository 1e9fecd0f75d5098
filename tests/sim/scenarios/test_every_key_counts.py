"""No key of a scenario file is idle: for each there is a scenario in which it changes what becomes of the inputs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.hardware import keys
from ceesim.results.scenario import scenario_record
from ceesim.shipped import Shelf, find
from ceesim.sim.run import PrecisionWarning, run
from ceesim.sim.scenarios.load import load_scenario
from ceesim.sim.scenarios.scenario import Scenario

BUSY: dict[str, Any] = {"arrivals": {"process": "poisson", "load": 0.8}, "inputs": 120}
PERIODIC: dict[str, Any] = {"arrivals": {"process": "period", "period": "1 ms"}, "inputs": 120}
SHARED = BUSY | {"units": 2}
BATCHED = BUSY | {"batch": {"size": 4}}
CLOSED: dict[str, Any] = {"inputs": 60}
STAGED: dict[str, Any] = {"pipeline": {"cuts": [1], "units": [1, 1]}, "inputs": 60}

CHANGES: dict[str, tuple[dict[str, Any], Any]] = {
    "arrivals.process": (CLOSED, "poisson"),
    "arrivals.rate": (BUSY, 900.0),
    "arrivals.load": (BUSY, 0.4),
    "arrivals.period": (PERIODIC, "2 ms"),
    "arrivals.file": ({"arrivals": {"process": "recorded", "file": "slow.csv"}}, "fast.csv"),
    "inputs": (BUSY, 121),
    "order": (BUSY, "shuffled"),
    "seed": (BUSY, 1),
    "queue": (BUSY, 1),
    "deadline": (BUSY, "1 ms"),
    "warm_up": (BUSY, 50),
    "batch.size": (BUSY, 4),
    "batch.mode": (BATCHED, "compacted"),
    "batch.max_wait": (BATCHED, "1 ms"),
    "units": (BUSY, 2),
    "arbitration": (CLOSED | {"units": 3, "batch": {"size": 2}}, "round_robin"),
    "contention": (SHARED, False),
    "carry": (CLOSED, "carried"),
    "pipeline.cuts": (STAGED, [5]),
    "pipeline.units": (STAGED, [2, 1]),
    "pipeline.buffer": (STAGED, 1),
}
"""Key → the scenario in which it counts, and another value."""


@pytest.fixture(scope="module")
def inputs() -> ExitTrace:
    return load_trace(find("vgg_w025_c10.npz", Shelf.TRACES))


def became(inputs: ExitTrace, folder: Path, written: dict[str, Any]) -> Any:
    path = folder / "scenario.yaml"
    YAML(typ="safe").dump(written, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecisionWarning)
        result = run("edge_npu.yaml", inputs, scenario=load_scenario(path), engine="compiled")
    if result.scenario is None:
        return None
    return {
        **scenario_record(result.scenario, result.hardware),
        "scenario": None,
    }  # what became of it, not what was asked


def changed(written: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    *outer, key = dotted.split(".")
    if not outer:
        return written | {key: value}
    section = dict(written.get(outer[0], {}))
    if dotted == "arrivals.process":
        section["load"] = 0.5
    if dotted == "arrivals.rate":
        del section["load"]
    return written | {outer[0]: section | {key: value}}


def test_every_key_is_tried() -> None:
    written = {
        ".".join((*path, key))
        for path, section in keys.sections(Scenario)
        for key, field in keys.keys(section).items()
        if keys.section(field) is None
    }
    assert {*CHANGES, "name"} == written  # a name is for people


@pytest.mark.parametrize("key", CHANGES)
def test_a_key_changes_what_becomes_of_the_inputs(inputs: ExitTrace, tmp_path: Path, key: str) -> None:
    for name, step in (("slow.csv", 0.002), ("fast.csv", 0.0001)):
        (tmp_path / name).write_text("".join(f"{step * i}\n" for i in range(60)))
    written, value = CHANGES[key]
    assert became(inputs, tmp_path, written) != became(inputs, tmp_path, changed(written, key, value))
