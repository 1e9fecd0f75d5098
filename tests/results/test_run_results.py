"""What a run says: fixed keys, parts that sum to their wholes, the same bytes from both executors and every time."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from rich.console import Console

from ceesim.cli import exit_code
from ceesim.errors import MissingExtraError, OptionError, OutputError, PolicyError
from ceesim.exits.exclusion import Exclude
from ceesim.exits.references import Fixed, Never
from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.hardware.energy.actions import Component
from ceesim.hardware.energy.price import Waiting, total_band
from ceesim.hardware.load import load_hardware
from ceesim.program.command import Amount, Unit
from ceesim.results import exit_value
from ceesim.results.exit_value import EXIT_VALUE_COLUMNS, exit_values
from ceesim.results.page import print_page
from ceesim.results.rounding import rounding_sentence
from ceesim.results.scenario import idle_energy_pj
from ceesim.results.summary import REDUCED, percentile, summary
from ceesim.results.tables import (
    ENERGY_COLUMNS,
    EXIT_COLUMNS,
    INPUT_COLUMNS,
    LAYER_COLUMNS,
    POINT_COLUMNS,
    exits,
    layers,
)
from ceesim.results.verdict import verdict
from ceesim.results.write import RUN_FILES, check_out, write_run
from ceesim.shipped import Shelf, find
from ceesim.sim.costs import Priced
from ceesim.sim.result import RunResult
from ceesim.sim.run import PrecisionWarning, RatesWarning, replay, run
from ceesim.sim.scenarios.scenario import Scenario
from tests.exits.toys import toy_trace

FILES = tuple(name for name in RUN_FILES if name != "manifest.json")


@pytest.fixture(scope="module")
def trace() -> ExitTrace:
    return load_trace(find("vgg_w025_c10.npz", Shelf.TRACES))


@pytest.fixture(scope="module")
def result(trace: ExitTrace) -> RunResult:
    with pytest.warns(PrecisionWarning):
        return run("edge_npu.yaml", trace, engine="compiled")


def test_the_key_set_is_fixed(result: RunResult) -> None:
    numbers = summary(result)
    assert list(numbers) == [
        "schema", "hardware", "network", "dataset", "num_inputs", "width", "policy", "scenario", "batch", "clock_hz",
        "flops_convention", "area_mm2", "accuracy", "exit_rate", "dynamic", "static", "reduction",
    ]  # fmt: skip
    measures = {
        "macs", "flops", "latency_cycles", "latency_s", "energy_pj", "dram_bytes", "executed_macs", "wasted_macs",
        "wasted_dram_bytes", "power_w", "edp_js", "throughput_per_s", "deadline_misses",
    }  # fmt: skip
    assert {*numbers["dynamic"]} == {*numbers["static"]} == measures
    assert {*numbers["dynamic"]["latency_cycles"]} == {"mean", "p50", "p95", "p99", "max"}
    assert {*numbers["dynamic"]["dram_bytes"]["by_operand"]} == {"ifmap", "weight", "ofmap", "head_weight"}
    assert {*numbers["reduction"]} == {"macs", "flops", "latency", "energy", "dram_bytes", "ci95"}
    assert {*numbers["accuracy"]} == {"static", "dynamic"}
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers


def test_inspect_tells_a_result_and_what_it_lacks(
    result: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "summary.json"
    numbers = summary(result)
    path.write_text(json.dumps(numbers))
    assert exit_code(["inspect", str(tmp_path)]) == 0
    page = capsys.readouterr().out
    assert f"latency {numbers['reduction']['latency']:.4g}" in " ".join(page.split())
    del numbers["reduction"], numbers["policy"]
    path.write_text(json.dumps(numbers))
    assert exit_code(["inspect", str(path)]) == 1
    assert "summary.json: not a whole result (got no policy, reduction)" in capsys.readouterr().err


FLOAT32 = {"accuracy": 0.5, "static_accuracy": 0.75, "exit_flips": 3, "prediction_flips": 1}


def test_an_int8_trace_tells_what_float32_did() -> None:
    told = rounding_sentence(toy_trace(num_inputs=200, capture={"precision": "int8", "float32": FLOAT32}))
    assert told == (
        "in float32 the accuracy is 50.00%; final classifier alone 75.00%; "
        "int8 makes 3 of 200 inputs leave elsewhere and 1 end in another class"
    )


def test_the_page_says_what_float32_did(trace: ExitTrace) -> None:
    captured = replace(trace, capture={"precision": "int8", "float32": FLOAT32})
    said = StringIO()
    print_page(run("edge_npu.yaml", captured, engine="compiled"), Console(file=said, width=200))
    assert rounding_sentence(captured) in said.getvalue().splitlines()


@pytest.mark.parametrize("record", [None, "yes", {}, FLOAT32 | {"accuracy": "high"}, {**FLOAT32, "exit_flips": None}])
def test_a_record_of_float32_that_says_nothing_is_left_out(record: object) -> None:
    assert rounding_sentence(toy_trace(num_inputs=200, capture={"precision": "int8", "float32": record})) is None


def test_decisions_bear_the_numbers_of_the_trace_also_where_exits_are_dropped(trace: ExitTrace) -> None:
    result = replay(load_hardware("edge_npu.yaml"), trace.under(Fixed(6)))
    names = [row["op"] for row in layers(result.dynamic, result.hardware, {}) if row["bottleneck"] == "decision"]
    assert names == ["exit6.decision"]


@pytest.mark.parametrize("queues", ["shared", "split"])
def test_what_a_layer_is_bound_by_took_longest(trace: ExitTrace, queues: str) -> None:
    """Loads and stores of one queue take turns, so together they may be what takes longest."""
    hardware = load_hardware(
        "eyeriss_like.yaml", {"dma.queues": queues, "buffers.activation": "16 KiB", "dram.bandwidth": "3.2 GB/s"}
    )
    priced = replay(hardware, trace).dynamic
    program, ways = priced.program, 0
    for i, row in enumerate(layers(priced, hardware, {})):
        own = program.layer == i
        load, store, array, vector = (
            program.occupancy_cycles[own & (program.unit == unit)].sum()
            for unit in (Unit.LOAD, Unit.STORE, Unit.ARRAY, Unit.VECTOR)
        )
        if row["bottleneck"] in ("dram", "compute", "vector"):
            moving = load + store if queues == "shared" else max(load, store)
            times = {"dram": moving, "compute": array, "vector": vector}
            assert times[row["bottleneck"]] == max(times.values())
            ways += moving > max(array, vector) > max(load, store)
    assert (ways > 0) == (queues == "shared")


def test_what_exits_cost_is_named_where_it_outweighs_every_segment(trace: ExitTrace) -> None:
    hardware = load_hardware("edge_npu.yaml", {"control.decision_cycles": 50_000})
    found = verdict(replay(hardware, trace))
    assert found.segment is None
    because = f"because heads, decisions and waits cost {found.exit_overhead:.1%} of the static latency."
    assert because in found.sentence("it")
    nobody = replay(hardware, trace.under(Exclude((0.0,) * trace.workload.num_exits)))
    spent, alone = (priced.costs.latency_cycles[-1] for priced in (nobody.dynamic, nobody.static))
    assert verdict(nobody).exit_overhead == pytest.approx(spent / alone - 1)
    assert verdict(nobody).sentence("it").startswith("Hardly an input left early: ")


def test_parts_sum_to_their_wholes(result: RunResult) -> None:
    numbers = summary(result)
    for measured in (numbers["dynamic"], numbers["static"]):
        assert sum(measured["dram_bytes"]["by_operand"].values()) == pytest.approx(measured["dram_bytes"]["mean"])
        assert sum(measured["energy_pj"]["by_component"].values()) == pytest.approx(measured["energy_pj"]["mean"])
    assert sum(numbers["exit_rate"]) == pytest.approx(1)
    assert sum(row["num_inputs"] for row in exits(result)) == result.trace.num_inputs
    rows = layers(result.dynamic, result.hardware, result.density)
    costs = result.dynamic.costs
    assert sum(row["cycles"] for row in rows) == costs.latency_cycles[-1]
    assert sum(row["macs"] for row in rows) == costs.executed_macs[-1] == result.dynamic.path_macs[-1]
    assert sum(row["vector_ops"] for row in rows) == costs.amounts[-1, Amount.VECTOR_OPS]
    energy = result.energy(result.dynamic).total[-1]
    assert sum(row["energy_pj"] for row in rows) == pytest.approx(energy, rel=1e-12)
    moved = ("ifmap_dram_bytes", "weight_dram_bytes", "ofmap_dram_bytes")
    assert sum(row[name] for row in rows for name in moved) == costs.dram_bytes[-1]


def test_means_and_percentiles_are_those_of_the_inputs(result: RunResult) -> None:
    measured = summary(result)["dynamic"]["latency_cycles"]
    latencies = result.latency_cycles
    assert measured["mean"] == pytest.approx(latencies.mean())
    assert measured["max"] == latencies.max()
    for percent in (50, 95, 99):
        assert measured[f"p{percent}"] == np.percentile(latencies, percent, method="inverted_cdf")
        assert percentile(np.array([3, 1, 2]), np.array([0, 1, 0]), percent) == 1


def test_reductions_lie_in_their_intervals(result: RunResult) -> None:
    reduction = summary(result)["reduction"]
    for name, (low, high) in reduction["ci95"].items():
        assert low < reduction[name] < high
        assert high - low < 0.02  # ten thousand inputs


def test_nobody_leaving_costs_the_plain_backbone(trace: ExitTrace, result: RunResult) -> None:
    with pytest.warns(PrecisionWarning):
        nobody = run("edge_npu.yaml", trace, policy=Never(), engine="compiled")
    numbers = summary(nobody)
    assert numbers["dynamic"] == numbers["static"] == summary(result)["static"]
    assert all(numbers["reduction"][name] == 0 for name in ("macs", "flops", "latency", "energy", "dram_bytes"))
    assert numbers["accuracy"]["dynamic"] == numbers["accuracy"]["static"]
    assert verdict(nobody).sentence("it").startswith("No input left early and no head ran: ")
    assert "became" in verdict(result).sentence("it")


def test_what_costs_more_is_said_to_cost_more() -> None:
    """Nobody is sure enough to leave, and all pay for every head: no saving below zero is called one."""
    sure = {"name": "confidence", "threshold": 1.0}
    result = run("edge_npu.yaml", toy_trace(capture={"precision": "int8"}), policy=sure, engine="compiled")
    assert result.exit_counts.tolist() == [0, 0, 0, result.trace.num_inputs]
    console = Console(file=StringIO(), width=200)
    print_page(result, console)
    page = console.file.getvalue()
    assert re.search(r"[\d.]+% more MACs became [\d.]+% more latency", page)
    assert "inputs cannot come at the static rate: with exits they take longer on average" in page


def test_one_input_has_no_interval() -> None:
    numbers = summary(run("edge_npu.yaml", toy_trace(num_inputs=1, capture={"precision": "int8"}), engine="compiled"))
    assert numbers["reduction"]["ci95"] == dict.fromkeys(REDUCED)


def test_decisions_measured_elsewhere_are_not_said_to_be_float32(recwarn: pytest.WarningsRecorder) -> None:
    result = run("edge_npu.yaml", toy_trace(num_inputs=4), engine="compiled")
    assert not recwarn.list
    labels = result.trace.labels.copy()
    labels[0] = -1
    console = Console(file=StringIO(), width=200)
    print_page(replace(result, trace=replace(result.trace, labels=labels)), console)
    assert "on the 3 inputs with a label" in console.file.getvalue()


def test_a_fixed_exit_costs_every_input_the_same(trace: ExitTrace) -> None:
    with pytest.warns(PrecisionWarning):
        fixed = run("edge_npu.yaml", trace, policy=Fixed(3), engine="compiled")
    assert fixed.dynamic.exit_indices == (3, 7)
    latency = summary(fixed)["dynamic"]["latency_cycles"]
    assert latency["mean"] == latency["p50"] == latency["max"] == fixed.dynamic.costs.latency_cycles[0]


def test_a_run_tells_what_it_is_in_one_line(result: RunResult) -> None:
    assert repr(result) == "RunResult(vggsmall on edge_npu, 10,000 inputs)"


def test_what_is_no_input_gets_one_clear_error(trace: ExitTrace) -> None:
    assert load_hardware("edge_npu.yaml", "array.rows=32").array.rows == 32
    with pytest.raises(OptionError, match=r"no such engine \(got foo; expected simpy or compiled\)"):
        run("edge_npu.yaml", trace, engine="foo")
    with pytest.raises(PolicyError, match="not a policy"):
        run("edge_npu.yaml", trace, policy=5)  # type: ignore[arg-type]


def test_bands_stand_on_the_page(result: RunResult) -> None:
    console = Console(file=StringIO(), width=300)
    print_page(result, console)
    page = console.file.getvalue()
    dynamic, static = result.mean_energy()
    reduction = summary(result)["reduction"]["energy"]
    assert 1 - float(dynamic.total[0] / static.total[0]) == pytest.approx(reduction)
    totals = rf"static total .* µJ \(.* … .*\), dynamic .* µJ \(.* … .*\): {reduction:.2%} less energy \("
    assert re.search(totals, page)
    assert re.search(r"asleep \(race to sleep\), [\d.]+% less energy \(\d+% … \d+%\) awake", page)
    assert "every MAC is taken to toggle" not in page
    bare = replace(result, trace=replace(result.trace, density=None))
    console = Console(file=StringIO(), width=300)
    print_page(bare, console)
    assert "every MAC is taken to toggle" in console.file.getvalue()
    saves = [float(each.energy(each.static).by_component[0, Component.ARRAY]) for each in (result, bare)]
    assert 0.5 < saves[0] / saves[1] < 0.8  # half of the ifmaps' values are zeros, registers and clock go on


def test_sleeping_saves_more_than_waiting_awake(result: RunResult) -> None:
    asleep, awake = (result.energy_at_static_rate(waiting) for waiting in Waiting)
    assert asleep[1] == awake[1]  # the static network never waits
    assert asleep[0] < awake[0] < awake[1]


@pytest.mark.filterwarnings("ignore::ceesim.sim.run.PrecisionWarning")
@pytest.mark.parametrize("name", ["tpu_v1.yaml", "edge_npu.yaml"])
def test_the_static_rate_is_what_a_queue_says_of_it(trace: ExitTrace, name: str) -> None:
    """On tpu_v1 two fifths of the inputs take longer than the period, for their heads, and the next ones wait less."""
    alone = run(name, trace, engine="compiled")
    cycles = alone.static.costs.occupancy_cycles[-1]
    period = f"{cycles / alone.hardware.clock_hz * 1e12:.0f} ps"
    scenario = Scenario.model_validate({"arrivals": {"process": "period", "period": period}, "queue": 100_000})
    played = run(name, trace, engine="compiled", scenario=scenario).scenario
    assert played is not None
    assert played.static is not None
    for waiting in Waiting:
        spent = [
            (float(each.energy.total[0]) + idle_energy_pj(each, alone.hardware, waiting)) / each.num_served
            for each in (played.dynamic, played.static)
        ]
        assert alone.energy_at_static_rate(waiting) == pytest.approx(spent, rel=2e-3)
        assert alone.saved_at_static_rate(waiting).nominal == pytest.approx(1 - spent[0] / spent[1], abs=1e-3)


def test_where_heads_take_more_than_exits_save_there_is_no_idle_time(result: RunResult) -> None:
    last = replace(result, rows=np.full_like(result.rows, len(result.dynamic.exit_indices) - 1))  # all run to the end
    for waiting in Waiting:
        dynamic, static = last.energy_at_static_rate(waiting)
        assert dynamic == pytest.approx(float(last.energy(last.dynamic).total[-1]))
        assert dynamic > static


def test_the_sentence_names_what_explains_the_difference(result: RunResult) -> None:
    told = verdict(result)
    assert told.segment == 7  # the fully connected tail: few MACs, most weights
    assert told.time_share > told.macs_share
    assert "because what lies behind exit 6 has" in told.sentence("edge_npu")
    assert "bound by DRAM" in told.sentence("edge_npu")


def test_where_exits_are_dropped_the_sentence_goes_by_those_of_the_trace(trace: ExitTrace) -> None:
    """Segments of the compiled network have other numbers than exits of the trace."""
    policy = trace.policy
    assert isinstance(policy, Exclude)
    kept = replace(policy, beta=tuple(beta if i in (2, 4) else None for i, beta in enumerate(policy.beta, 1)))
    told = verdict(replay(load_hardware("edge_npu.yaml"), trace.under(kept)))
    assert told.segment == 3
    assert (told.after, told.before) == (4, None)
    assert "what lies behind exit 4 has" in told.sentence("edge_npu")
    assert "segment" not in told.sentence("edge_npu")
    between, first = replace(told, after=2, before=4), replace(told, after=None, before=2)
    assert "because what lies between exit 2 and exit 4 has" in between.sentence("edge_npu")
    assert "because what lies before exit 2 has" in first.sentence("edge_npu")


def test_head_costs_and_break_even_rates(result: RunResult) -> None:
    values = exit_values(result)
    assert [value.exit_index for value in values] == [1, 2, 3, 4, 5, 6]
    for value in values:
        assert value.break_even_rate is not None
        assert 0 <= value.break_even_rate < 1
        assert value.head_cycles > -0.002 * result.static.costs.latency_cycles[-1]
        head = result.trace.workload.segments[value.exit_index - 1].head
        weights = sum(op.num_weights + 4 * op.num_biases for op in head)
        assert value.head_dram_bytes == weights  # what is loaded for the backbone stays the same
        assert value.break_even_rate_energy is not None
        assert 0 <= value.break_even_rate_energy < 1
        assert tuple(value.row()) == EXIT_VALUE_COLUMNS
    reaching = result.trace.num_inputs
    for value, leaving in zip(values, result.exit_counts, strict=False):
        assert value.exit_rate == pytest.approx(leaving / reaching)
        reaching -= leaving


def test_files_are_the_same_bytes_from_both_executors_and_every_time(
    trace: ExitTrace, result: RunResult, tmp_path: Path
) -> None:
    with pytest.warns(PrecisionWarning):
        by_events = run("edge_npu.yaml", trace, engine="simpy")
    for folder, ran in (("a", result), ("b", result), ("c", by_events)):
        write_run(ran, tmp_path / folder, {})
    for name in FILES:
        first = (tmp_path / "a" / name).read_bytes()
        assert first == (tmp_path / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(RUN_FILES)
    for name, columns in (
        ("layers", LAYER_COLUMNS),
        ("static_layers", LAYER_COLUMNS),
        ("exits", EXIT_COLUMNS),
        ("exit_values", EXIT_VALUE_COLUMNS),
        ("energy", ENERGY_COLUMNS),
        ("inputs", INPUT_COLUMNS),
    ):
        with (tmp_path / "a" / f"{name}.csv").open(newline="") as stream:
            assert tuple(next(csv.reader(stream))) == columns
    with (tmp_path / "a" / "inputs.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == result.trace.num_inputs
    assert sum(row["correct"] == "1" for row in rows) / len(rows) == pytest.approx(result.trace.accuracy)


def test_the_energy_of_a_run_by_kind_of_price_adds_up(result: RunResult, tmp_path: Path) -> None:
    write_run(result, tmp_path / "out", {})
    table = pandas.read_csv(tmp_path / "out" / "energy.csv")
    numbers, spent = summary(result), dict(zip(("dynamic", "static"), result.mean_energy(), strict=True))
    for network, rows in table.groupby("network"):
        by_component = rows.groupby("component")["energy_pj"].sum()
        told = {name: value for name, value in numbers[network]["energy_pj"]["by_component"].items() if value}
        assert by_component.to_dict() == pytest.approx(told)
        band = total_band(spent[str(network)], 0)
        assert rows[["low_pj", "energy_pj", "high_pj"]].sum().tolist() == pytest.approx(
            [band.low, band.nominal, band.high]
        )


def test_operating_points_have_a_table_on_the_page_and_in_the_folder(tmp_path: Path) -> None:
    points = "technology.operating_points=[{clock: 300 MHz, voltage: 0.5 V}]"
    inputs = toy_trace(capture={"precision": "int8"})
    pointed = run("edge_npu.yaml", inputs, overrides=[points], engine="compiled")
    console = Console(file=StringIO(), width=200)
    print_page(pointed, console)
    page = console.file.getvalue()
    assert re.search(r"0\.6 V, 500 MHz .*\n.*0\.5 V, 300 MHz .* never", page)
    assert set(write_run(pointed, tmp_path / "out", {})) == {*RUN_FILES, "operating_points.csv"}
    own, slow = pandas.read_csv(tmp_path / "out" / "operating_points.csv").to_dict("records")
    assert list(own) == list(POINT_COLUMNS)
    assert (own["clock_hz"], own["voltage_v"], own["transition_s"]) == (500_000_000, 0.6, 0)
    assert (slow["clock_hz"], slow["voltage_v"], slow["transition_s"]) == (300_000_000, 0.5, 1e-5)
    assert own["mean_latency_s"] == summary(pointed)["dynamic"]["latency_s"]["mean"] < slow["mean_latency_s"]
    write_run(run("edge_npu.yaml", inputs, engine="compiled"), tmp_path / "out", {})
    assert not (tmp_path / "out" / "operating_points.csv").exists()


def test_the_inputs_as_parquet_on_request(result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = write_run(result, tmp_path / "out", {}, parquet=True)
    assert set(names) == {*RUN_FILES, "inputs.parquet"} == {path.name for path in (tmp_path / "out").iterdir()}
    frame = pandas.read_parquet(tmp_path / "out" / "inputs.parquet")
    table = pandas.read_csv(tmp_path / "out" / "inputs.csv")
    pandas.testing.assert_frame_equal(frame.astype({"correct": int}), table)
    write_run(result, tmp_path / "out", {})
    assert not (tmp_path / "out" / "inputs.parquet").exists()
    monkeypatch.setattr("ceesim.results.write.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pyarrow"):
        write_run(result, tmp_path / "other", {}, parquet=True)
    assert not (tmp_path / "other").exists()


def test_a_result_folder_that_cannot_be_written(result: RunResult, tmp_path: Path) -> None:
    file = tmp_path / "occupied"
    file.write_text("mine")
    with pytest.raises(OutputError, match="must be a folder"):
        write_run(result, file, {})
    with pytest.raises(OutputError, match="cannot write"):
        write_run(result, file / "below" / "a" / "file", {})
    assert file.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["occupied"]


def test_files_that_no_run_wrote_are_left_alone(result: RunResult, tmp_path: Path) -> None:
    mine = tmp_path / "arrivals.csv"
    mine.write_text("0.001\n")
    with pytest.raises(OutputError, match=r"no run wrote \(got arrivals.csv\)"):
        write_run(result, tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["arrivals.csv"]
    assert mine.read_text() == "0.001\n"
    write_run(result, tmp_path / "out", {})
    (tmp_path / "out" / "queue.csv").write_text("of an earlier run")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write_run(result, tmp_path / "out", {})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*RUN_FILES, "notes.txt"}
    with pytest.raises(OutputError, match="reads this file"):
        check_out(tmp_path / "out", [tmp_path / "out" / "exits.csv"])
    check_out(tmp_path / "out", [mine, tmp_path / "none.csv"])


def test_pinned_weights_are_loaded_once(trace: ExitTrace) -> None:
    hardware = load_hardware("edge_npu.yaml", {"residency": "prefix"})
    with pytest.warns(PrecisionWarning):
        pinned = run(hardware, trace, engine="compiled")
    with pytest.warns(PrecisionWarning):
        plain = run("edge_npu.yaml", trace, engine="compiled")
    saved = plain.static.costs.dram_bytes[-1] - pinned.static.costs.dram_bytes[-1]
    assert pinned.static.program.warm_up_dram_bytes > 0
    assert saved > 0


def test_rates_that_nothing_goes_by_are_noted(trace: ExitTrace) -> None:
    with pytest.warns(RatesWarning, match="residency is none"), pytest.warns(PrecisionWarning):
        run("edge_npu.yaml", trace, rates="vgg_w025_c10_val.npz", engine="compiled")


def test_without_an_exit_its_inputs_run_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(PrecisionWarning):
        result = run(
            load_hardware("edge_npu.yaml", {"residency": "auto"}), "vgg_w025_c10.npz", rates="vgg_w025_c10_val.npz"
        )
    rates = result.exit_rates
    assert rates is not None
    asked: list[list[float]] = []
    price = exit_value.price_network

    def noted(*args: Any) -> Priced:
        asked.append(args[-1])
        return price(*args)

    monkeypatch.setattr(exit_value, "price_network", noted)
    exit_value.exit_values.__wrapped__(result)
    for row, each in enumerate(asked):
        assert each == pytest.approx([*rates[:row], *rates[row + 1 : -1], rates[-1] + rates[row]])
    assert len(asked) == len(rates) - 1


def test_heads_cost_no_pins_that_the_run_does_not_have() -> None:
    """Without an exit the network is compiled for the run's rates, its inputs at the end: the same weights stay."""
    trace = "vgg_w025_c10.npz"
    accelerator = load_hardware("edge_npu.yaml", {"residency": "auto", "buffers.weight": "256 KiB"})
    with pytest.warns(PrecisionWarning):
        result = run(accelerator, trace, rates="vgg_w025_c10_val.npz", engine="compiled")
    assert result.exit_rates is not None
    assert sum(result.exit_rates) == pytest.approx(1)
    assert all(abs(value.head_dram_bytes) < 40_000 for value in exit_values(result))  # a layer's weights once more
    assert max(value.head_cycles for value in exit_values(result)) > 0
