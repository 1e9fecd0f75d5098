"""One clear error for everything that is not a scenario, with its place and a fix; loads are refused with numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceesim.errors import ScenarioError
from ceesim.hardware.load import override
from ceesim.hardware.model import Hardware
from ceesim.program.command import DRAM_AMOUNTS, Amount
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.sim.scenarios.load import load_scenario
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.sim.scenarios.setting import Setting
from tests.networks import COST
from tests.sim.scenarios.toys import CLOCK_HZ, HARDWARE, WORKLOAD, apart, jobs_of, played, priced, recorded, some_rows

POISSON = "arrivals: {process: poisson, rate: 500/s}\n"

BROKEN = {
    "typo": ("arrival: {process: closed}", "arrivals"),
    "typo of a process": ("arrivals: {process: poison, rate: 5/s}", "did you mean poisson"),
    "typo of a mode": ("batch: {size: 2, mode: mask}", "masked"),
    "unknown key inside": ("arrivals: {process: poisson, rate: 5/s, burst: 3}", "burst"),
    "key twice": ("units: 2\nunits: 3", "units"),
    "process alone": ("arrivals: poisson", "keys and values"),
    "no rate": ("arrivals: {process: poisson}", "rate or load"),
    "rate and load": ("arrivals: {process: poisson, rate: 5/s, load: 0.5}", "rate or load"),
    "rate of closed": ("arrivals: {rate: 5/s}", "does not go with closed"),
    "period of poisson": ("arrivals: {process: poisson, rate: 5/s, period: 2 ms}", "does not go with poisson"),
    "no period": ("arrivals: {process: period}", "period"),
    "no file": ("arrivals: {process: recorded}", "file"),
    "period zero": ("arrivals: {process: period, period: 0}", "cannot all come at once"),
    "period of the wrong kind": ("arrivals: {process: period, period: 5 MHz}", "a frequency where a time"),
    "period negative": ("arrivals: {process: period, period: -2 ms}", "time"),
    "rate zero": ("arrivals: {process: poisson, rate: 0/s}", "not a rate"),
    "rate negative": ("arrivals: {process: poisson, rate: -5}", "not a rate"),
    "rate of words": ("arrivals: {process: poisson, rate: fast}", "write it like 500/s"),
    "rate of nothing": ("arrivals: {process: poisson, rate: true}", "not a rate"),
    "rate endless": ("arrivals: {process: poisson, rate: .inf}", "not a rate"),
    "rate no number": ("arrivals: {process: poisson, rate: .nan}", "not a rate"),
    "rate huge": ("arrivals: {process: poisson, rate: 1e99}", "not a rate"),
    "load zero": ("arrivals: {process: poisson, load: 0}", "not a load"),
    "load of words": ("arrivals: {process: poisson, load: half}", "not a load"),
    "load no number": ("arrivals: {process: poisson, load: .nan}", "not a load"),
    "load true": ("arrivals: {process: poisson, load: yes}", "not a load"),
    "batch zero": ("batch: {size: 0}", "at least 1"),
    "batch negative": ("batch: {size: -4}", "at least 1"),
    "batch huge": ("batch: {size: 100000}", "at most 1024"),
    "batch true": ("batch: {size: true}", "whole number"),
    "batch of half": ("batch: {size: 2.5}", "whole number"),
    "units zero": ("units: 0", "at least 1"),
    "units huge": ("units: 1025", "at most 1024"),
    "units of words": ("units: two", "whole number"),
    "queue zero": (POISSON + "queue: 0", "at least 1"),
    "queue of closed": ("queue: 5", "nobody queues under closed"),
    "queue too short": (POISSON + "queue: 3\nbatch: {size: 4}", "cannot hold a batch"),
    "max_wait of closed": ("batch: {size: 4, max_wait: 1 ms}", "always full under closed"),
    "mode of an input alone": ("batch: {mode: refill}", "an input alone is no batch"),
    "mode of a batch of one": ("batch: {size: 1, mode: masked}", "an input alone is no batch"),
    "max_wait of an input alone": (POISSON + "batch: {max_wait: 1 ms}", "waits for no batch"),
    "max_wait of a closed input alone": ("batch: {max_wait: 1 ms}", "always full under closed"),
    "arbitration of one unit": ("arbitration: round_robin", "one unit has its DRAM to itself"),
    "contention of one unit": (POISSON + "contention: false", "one unit has its DRAM to itself"),
    "arbitration of nobody": ("units: 2\ncontention: false\narbitration: round_robin", "nobody waits for the DRAM"),
    "a pipeline of one stage": ("pipeline: {cuts: []}", "a single stage is no pipeline"),
    "deadline without a unit": ("deadline: 2", "a time without a unit"),
    "period without a unit": ("arrivals: {process: period, period: 1.5}", "write 1.5 ms, or 1.5 us"),
    "max_wait without a unit": (POISSON + "batch: {size: 2, max_wait: '3'}", "a time without a unit"),
    "carried with arrivals": (POISSON + "carry: carried", "carried needs"),
    "carried with batches": ("carry: carried\nbatch: {size: 2}", "carried needs"),
    "carried with units": ("carry: carried\nunits: 2", "carried needs"),
    "inputs zero": ("inputs: 0", "at least 1"),
    "inputs huge": ("inputs: 10000000000", "at most"),
    "seed negative": ("seed: -1", "at least 0"),
    "warm_up negative": ("warm_up: -1", "at least 0"),
    "contention of words": ("units: 2\ncontention: maybe", "true or false"),
    "order unknown": ("order: random", "shuffled"),
    "deadline negative": ("deadline: -5 ms", "time"),
    "no value": ("batch:", "no value"),
    "nothing": ("", "empty"),
    "a list": ("- units: 2", "not a mapping"),
    "no YAML": ("units: [2", ""),
    "an anchor": ("batch: &a {size: 2}", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_file_is_one_error_with_its_place(name: str, tmp_path: Path) -> None:
    text, said = BROKEN[name]
    path = tmp_path / "rush.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert "problems:" not in message
    assert str(caught.value.where).startswith(str(path))
    assert said in message
    assert "fix:" in message or "expected" in message
    assert not re.search(r"pydantic|ctx|_type|Error\b|<class|Traceback", message)


def test_several_problems_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rush.yaml"
    path.write_text("arrivals:\n  process: poisson\n  rate: fast\nunits: 0\nspeed: 3\n")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert message.startswith("3 problems:")
    for place in (f"{path}:3:", f"{path}:4:", f"{path}:5:"):
        assert place in message


@pytest.mark.parametrize(
    "text",
    ["rush", "poisson", "poisson:", "poisson:load=", "poisson:load=x", "poisson:-1/s", "period:", "period:2",
     "period:5 apples", "closed:5", "recorded:", "missing.yaml", ""],
)  # fmt: skip
def test_short_forms_that_say_nothing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(text)
    assert caught.value.where
    assert caught.value.fix or caught.value.expected


def test_short_forms_are_files() -> None:
    assert load_scenario("closed").is_plain
    assert load_scenario("poisson:2 kHz").arrivals.rate == 2000
    assert load_scenario("poisson:load=0.6").arrivals.load == 0.6
    assert load_scenario("period:2 ms").arrivals.period == 2 * 10**9
    assert load_scenario("recorded:log.csv").arrivals.file == "log.csv"
    changed = load_scenario("poisson:5/s", {"units": 3, "batch": {"size": 2}})
    assert (changed.units, changed.batch.size, changed.arrivals.rate) == (3, 2, 5)


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("seed: 7", True),  # nothing is drawn
        ("batch: {size: 1, mode: static, max_wait: 0}", True),  # what holds anyhow may be said
        ("arbitration: first_come\ncontention: true", True),
        ("deadline: 0", False),
        ("name: rush", False),
        ("warm_up: 5", False),
        ("order: shuffled", False),
        ("inputs: 3", False),
        ("units: 2", False),
        ("carry: carried", False),
    ],
)
def test_a_file_that_says_something_is_played(text: str, is_plain: bool, tmp_path: Path) -> None:
    path = tmp_path / "rush.yaml"
    path.write_text(text)
    assert load_scenario(path).is_plain is is_plain


def test_records_hold_times_as_numbers_and_are_read_back() -> None:
    """Only what a person writes needs a unit."""
    for keys in (
        {
            "deadline": "2 ms",
            "arrivals": {"process": "period", "period": "3 us"},
            "batch": {"size": 2, "max_wait": "1 ns"},
        },
        {"pipeline": {"cuts": [1], "units": [1, 2], "buffer": 3}, "contention": False},
        {},
    ):
        scenario = Scenario.model_validate(keys)
        record = scenario.model_dump(mode="json", exclude_none=True)
        assert Scenario.model_validate(record) == scenario == Scenario.model_validate_json(scenario.model_dump_json())
    assert Scenario.model_validate({"deadline": "2 ms"}).model_dump(mode="json")["deadline"] == 2 * 10**9


def test_a_file_names_arrivals_beside_it_and_options_go_over_it(tmp_path: Path) -> None:
    path = tmp_path / "rush.yaml"
    path.write_text("arrivals: {process: recorded, file: log.csv}\nbatch: {size: 2, mode: masked}\nname: rush\n")
    scenario = load_scenario(path, {"batch": {"size": 4}})
    assert scenario.arrivals.file == str(tmp_path / "log.csv")
    assert (scenario.batch.size, scenario.batch.mode) == (4, BatchMode.MASKED)
    assert scenario.label == "rush"


RECORDED = {
    "backwards": (b"0\n2\n1\n", "arrivals go backwards", ":3"),
    "not a number": (b"0\nnan\n", "not an arrival time", ":2"),
    "endless": (b"0\ninf\n", "not an arrival time", ":2"),
    "a word": (b"time\n0\nsoon\n", "not an arrival time", ":3"),
    "two headings": (b"time\nseconds\n0\n", "not an arrival time", ":2"),
    "absurd": (b"0\n1e400\n", "not an arrival time", ":2"),
    "too late": (b"0\n1e13\n", "too late", ""),
    "empty": (b"", "no arrivals", ""),
    "only a heading": (b"time\n", "no arrivals", ""),
    "only comments": (b"# nothing\n\n", "no arrivals", ""),
    "not text": (b"\xff\xfe\x00\x80", "cannot be read", ""),
}


@pytest.mark.parametrize("name", list(RECORDED))
def test_a_broken_recording_is_one_error_with_its_line(name: str, tmp_path: Path) -> None:
    content, said, line = RECORDED[name]
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        played(np.zeros(3, np.int64), arrivals={"process": "recorded", "file": str(path)})
    assert said in str(caught.value)
    assert caught.value.where == f"{path}{line}"
    assert caught.value.fix


def test_a_missing_recording_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(ScenarioError, match="cannot be read"):
            played(np.zeros(3, np.int64), arrivals={"process": "recorded", "file": str(path)})


def test_a_recording_is_read_exactly_from_its_first_column(tmp_path: Path) -> None:
    """Borders of cycles at 500 MHz, far from zero: floats would put some of them into the cycle before."""
    path = tmp_path / "log.csv"
    cycles = [0, 1, 3, 3, 1000, 10**6 + 1]
    lines = [f"1700000000.{2 * cycle:09d}, whatever" for cycle in cycles]
    path.write_text("﻿time, source\n# a comment\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    outcome = played(np.zeros(6, np.int64), arrivals={"process": "recorded", "file": str(path)}).dynamic
    assert outcome.rows is not None
    assert CLOCK_HZ == 500_000_000
    assert outcome.rows.arrival_cycle.tolist() == cycles


EVERY = np.arange(WORKLOAD.num_exits + 1)
MEAN = float(priced()[0].costs.occupancy_cycles.mean())


def refused(accelerator: Hardware = HARDWARE, **keys: Any) -> tuple[float, float]:
    """(load, rate that could be served) as the refusal says them."""
    with pytest.raises(ScenarioError, match="faster than they can be served") as caught:
        played(EVERY, accelerator=accelerator, **keys)
    message = str(caught.value)
    assert caught.value.fix
    load = re.search(r"load ([\d.e+]+)", message)
    rate = re.search(r"fewer than ([\d.e+]+)/s", message)
    assert load
    assert rate
    return float(load[1]), float(rate[1])


@pytest.mark.parametrize("units", [1, 3])
def test_what_cannot_be_served_is_refused_with_the_numbers(units: int) -> None:
    keys = apart(units)
    most = units * CLOCK_HZ / MEAN
    for arrivals, load in (
        ({"process": "poisson", "load": 1}, 1),
        ({"process": "poisson", "load": 2.5}, 2.5),
        ({"process": "poisson", "rate": 1.2 * most}, 1.2),
        ({"process": "period", "period": f"{1e12 / 1.1 / most:.0f} ps"}, 1.1),
    ):
        said, rate = refused(arrivals=arrivals, **keys)
        assert said == pytest.approx(load, rel=5e-3)
        assert rate == pytest.approx(most, rel=1e-3)
        played(EVERY, arrivals=arrivals, inputs=20, queue=5, **keys)  # a queue with an end drops some
    played(EVERY, arrivals={"process": "poisson", "load": 0.999}, inputs=20, **keys)


def test_what_the_dram_cannot_move_is_refused_with_the_numbers() -> None:
    """Twenty accelerators are fast enough, one DRAM is not; two queues have half the bandwidth each, or all of it."""
    for changes in ({}, {"dma.queues": "split"}, {"dma.queues": "split", "dram.duplex": True}):
        hardware = override(HARDWARE, {"dram.bandwidth": "400 MB/s", "buffers.activation": "128 B", **changes})
        costs = priced(WORKLOAD, hardware)[0].costs
        out = float(costs.amounts[:, 2].mean())
        both = float(costs.dram_bytes.mean())
        into = both - out
        bytes_per_s = 400e6
        most = bytes_per_s / both
        if changes:
            most = bytes_per_s / max(into, out) / (1 if "dram.duplex" in changes else 2)
        arrivals = {"process": "poisson", "rate": 1.1 * most}
        load, rate = refused(hardware, arrivals=arrivals, units=20)
        assert load == pytest.approx(1.1, rel=5e-3)
        assert rate == pytest.approx(most, rel=1e-3)
        arrivals["rate"] = 0.5 * most
        played(EVERY, accelerator=hardware, arrivals=arrivals, units=20, inputs=4)


def test_what_the_dram_of_a_pipeline_cannot_move_is_refused_with_the_numbers() -> None:
    """Ten units a stage are fast enough, one DRAM is not; it moves what stages hand on as well."""
    for changes in ({}, {"dma.queues": "split"}, {"dma.queues": "split", "dram.duplex": True}):
        hardware = override(HARDWARE, {"dram.bandwidth": "400 MB/s", "buffers.activation": "128 B", **changes})
        keys: dict[str, Any] = {"pipeline": {"cuts": [1], "units": [10, 10]}}
        setting = Setting(hardware, COST, None, {})
        network, _ = priced(WORKLOAD, hardware)
        front, back = setting.rest(network, 1, 1).costs.amounts, setting.rest(network, 2).costs.amounts
        moved = (front[np.minimum(EVERY, 1)].sum(axis=0) + back.sum(axis=0)) / len(EVERY)  # all but the first go on
        out = float(moved[Amount.OFMAP_DRAM_BYTES])
        both = float(moved[list(DRAM_AMOUNTS)].sum())
        most = 400e6 / both
        if changes:
            most = 400e6 / max(both - out, out) / (1 if "dram.duplex" in changes else 2)
        arrivals = {"process": "poisson", "rate": 1.1 * most}
        load, rate = refused(hardware, arrivals=arrivals, **keys)
        assert load == pytest.approx(1.1, rel=5e-3)
        assert rate == pytest.approx(most, rel=1e-3)
        arrivals["rate"] = 0.5 * most
        accepted = played(EVERY, accelerator=hardware, arrivals=arrivals, inputs=4, **keys).dynamic
        assert accepted.load == pytest.approx(0.5, rel=1e-3)
        arrivals["rate"] = 1.1 * most
        free = played(EVERY, accelerator=hardware, arrivals=arrivals, inputs=4, contention=False, **keys).dynamic
        assert free.load is not None
        assert free.load < 1  # twenty DRAMs


@pytest.mark.parametrize("size", [2, 4])
def test_refilled_batches_serve_what_they_serve_when_inputs_are_always_there(size: int) -> None:
    """Loads count batches that are refilled, not such as only mask whoever has left."""
    rows = some_rows(3000)
    batch = {"size": size, "mode": "refill"}
    closed = played(rows, batch=batch).dynamic
    most = closed.num_served * CLOCK_HZ / closed.end_cycle
    jobs = jobs_of(priced()[0], HARDWARE, BatchMode.MASKED)
    groups = np.sort(rows.reshape(-1, size), axis=1).tolist()
    by_masking = size * CLOCK_HZ / float(np.mean([jobs.bill(group).occupancy_cycles for group in groups]))
    assert most > 1.1 * by_masking
    arrivals = {"process": "poisson", "rate": 0.97 * most}
    served = played(rows, arrivals=arrivals, batch=batch).dynamic
    assert served.load == pytest.approx(0.97, rel=0.015)
    assert served.queue_mean < 40
    arrivals["rate"] = 1.03 * most
    with pytest.raises(ScenarioError, match=f"in batches of {size}"):
        played(rows, arrivals=arrivals, batch=batch)


def test_a_refilled_batch_is_no_job() -> None:
    jobs = jobs_of(priced()[0], HARDWARE, BatchMode.REFILL)
    assert jobs.bill((2,)).answered_at == (3,)
    for ask in (jobs.bill, jobs.job):
        with pytest.raises(ScenarioError, match="no job of its own") as caught:
            ask((0, 1))
        assert caught.value.fix


def test_the_load_of_a_recording_is_that_of_the_arrivals_that_are_played(tmp_path: Path) -> None:
    """Twenty close together, of which all are played, and twenty far apart, of which none is."""
    times = [*range(0, 20 * 5000, 5000), *range(10**9, 10**9 + 20 * 10**8, 10**8)]
    rows = some_rows(20)
    outcome = played(rows, arrivals=recorded(tmp_path, times), inputs=20).dynamic
    mean = float(priced()[0].costs.occupancy_cycles[rows].mean())
    assert outcome.load == pytest.approx(mean / 5000)


def test_full_batches_serve_more_than_inputs_alone() -> None:
    """Loads count full batches: what one by one could not be served can be in batches."""
    size = 8
    batched = jobs_of(priced()[0], HARDWARE, BatchMode.STATIC).bill((0,) * size).occupancy_cycles / size
    alone = float(priced()[0].costs.occupancy_cycles[0])
    assert batched < alone
    rate = CLOCK_HZ / (0.5 * (batched + alone))
    rows = np.zeros(size, np.int64)
    arrivals = {"process": "poisson", "rate": rate}
    with pytest.raises(ScenarioError, match="faster"):
        played(rows, arrivals=arrivals)
    outcome = played(rows, arrivals=arrivals, batch={"size": size}, inputs=200).dynamic
    assert outcome.load == pytest.approx(rate * batched / CLOCK_HZ)
    with pytest.raises(ScenarioError, match=f"in batches of {size}"):
        played(rows, arrivals={"process": "poisson", "rate": 1.01 * CLOCK_HZ / batched}, batch={"size": size})


def test_a_backbone_that_cannot_keep_up_is_left_out() -> None:
    dynamic, static = priced()
    rows = np.zeros(8, np.int64)
    fast, slow = float(dynamic.costs.occupancy_cycles[0]), float(static.costs.occupancy_cycles[0])
    result = played(rows, arrivals={"process": "poisson", "rate": CLOCK_HZ / (0.5 * (fast + slow))}, inputs=50)
    assert result.static is None
    assert result.static_load == pytest.approx(slow / (0.5 * (fast + slow)))


@pytest.mark.parametrize("warm_up", [10, 11])
def test_a_warm_up_leaves_somebody_over(warm_up: int) -> None:
    rows = np.zeros(4, np.int64)
    with pytest.raises(ScenarioError, match="left out of the statistics"):
        played(rows, arrivals={"process": "poisson", "load": 0.5}, inputs=10, warm_up=warm_up)
    with pytest.raises(ScenarioError, match="left out of the statistics"):
        played(rows, warm_up=warm_up)  # of four, one after another
    played(rows, arrivals={"process": "poisson", "load": 0.5}, inputs=10, warm_up=9)
    played(rows, warm_up=3)


@pytest.mark.parametrize("arrivals", [{"rate": "1e-30/s"}, {"load": 1e-300}])
def test_rates_beyond_counting_are_refused(arrivals: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match="too late to be counted") as caught:
        played(np.zeros(4, np.int64), arrivals={"process": "poisson", **arrivals})
    assert caught.value.fix


def test_more_inputs_than_were_recorded(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"more inputs than the file has arrivals \(got 5; expected 2 at most\)"):
        played(some_rows(10), inputs=5, arrivals=recorded(tmp_path, [0, 7]))


def test_a_section_is_shown_as_it_may_be_written() -> None:
    with pytest.raises(ScenarioError, match=re.escape("write arrivals: {process: poisson, load: 0.6}")):
        load_scenario("closed", {"arrivals": "poisson"})
    with pytest.raises(ScenarioError, match="keep one of rate, load"):
        load_scenario("closed", {"arrivals": {"process": "poisson", "rate": "5/s", "load": 0.5}})
