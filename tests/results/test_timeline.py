"""The timeline: what a viewer needs of it, and that it says what the run says."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from ceesim import cli
from ceesim.errors import OptionError
from ceesim.exits.trace import save_trace
from ceesim.program.command import DRAM_AMOUNTS, Amount, Unit
from ceesim.results import timeline as module
from ceesim.results.scenario import OPERANDS
from ceesim.results.summary import summary
from ceesim.results.timeline import timeline, write_timeline
from ceesim.sim.result import RunResult
from ceesim.sim.run import PrecisionWarning, run
from tests.results.runs import POLICY, small_run

LOOKAHEADS = ["stall", "prefetch", "speculate", "static_npu"]


@pytest.fixture(scope="module")
def shipped() -> RunResult:
    with pytest.warns(PrecisionWarning):
        return run("mcu_npu.yaml", "vgg_w025_c10.npz", engine="compiled")


def cycles(microseconds: float) -> int:
    """Back from the file's microseconds; one cycle is written as one nanosecond."""
    exact = microseconds * 1000
    assert abs(exact - round(exact)) < 1e-6
    return round(exact)


def check(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What any viewer relies on: known phases, spans that do not overlap on a track, arrows with both ends on spans.

    Returns the events by phase.
    """
    phases: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in record["traceEvents"]:
        phases[event["ph"]].append(event)
        assert event["pid"] == 1
    assert set(phases) <= {"M", "X", "C", "i", "s", "f"}
    tracks: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for span in phases["X"]:
        begin = cycles(span["ts"])
        tracks[span["tid"]].append((begin, begin + cycles(span["dur"])))
    named = {event["tid"] for event in phases["M"] if event["name"] == "thread_name"}
    assert set(tracks) <= named
    for spans in tracks.values():
        spans.sort()
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    tails = {event["id"]: event for event in phases["s"]}
    heads = {event["id"]: event for event in phases["f"]}
    assert len(tails) == len(phases["s"])
    assert tails.keys() == heads.keys()
    for end in (*tails.values(), *heads.values()):
        at = cycles(end["ts"])
        assert any(begin <= at < stop for begin, stop in tracks[end["tid"]])
    assert all(tails[key]["ts"] <= heads[key]["ts"] for key in tails)
    assert all(event["args"]["value"] >= 0 for event in phases["C"])
    return phases


def total(phases: dict[str, list[dict[str, Any]]], key: str) -> int:
    return sum(span["args"].get(key, 0) for span in phases["X"] if span["tid"] != module.SEGMENTS)


def exits_of(result: RunResult) -> list[int | None]:
    return [None, *result.dynamic.exit_indices]


def check_totals(result: RunResult, exit_index: int | None) -> dict[str, Any]:
    """The timeline of one exit, whose spans add up to the exit's price."""
    costs = result.dynamic.costs
    record = timeline(result, exit_index)
    phases = check(record)
    row = result.dynamic.exit_indices.index(exit_index) if exit_index else -1
    assert total(phases, "bytes") == costs.dram_bytes[row] == record["otherData"]["dram_bytes"]
    assert total(phases, "macs") == costs.executed_macs[row]
    for name, amount in OPERANDS.items():
        alone = [span["args"]["bytes"] for span in phases["X"] if span["name"].endswith(f" {name}")]
        assert sum(alone) + total(phases, f"{name}_bytes") == costs.amounts[row, amount]
    assert total(phases, "cycles") == costs.busy_cycles[row].sum()
    answered = max(cycles(s["ts"]) + cycles(s["dur"]) for s in phases["X"] if s["tid"] == module.SEGMENTS)
    assert answered == costs.latency_cycles[row]
    return record


@pytest.mark.parametrize("placement", ["default", "free"])
@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_every_exit_passes_the_checker_and_adds_up(lookahead: str, placement: str) -> None:
    changes = {} if placement == "default" else {"exit_unit__placement": placement}
    result = small_run(control__lookahead=lookahead, **changes)
    for exit_index in exits_of(result):
        assert check_totals(result, exit_index)["otherData"]["commands_per_span"] == 1


@pytest.mark.parametrize("exit_index", [None, 5])
def test_commands_that_share_spans_still_add_up(
    shipped: RunResult, exit_index: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SPANS", 200)
    record = check_totals(shipped, exit_index)
    told = record["otherData"]
    spans = [event for event in record["traceEvents"] if event["ph"] == "X" and event["tid"] != module.SEGMENTS]
    assert told["commands_per_span"] == -(-told["commands"] // 200) > 1
    assert max(span["args"].get("commands", 1) for span in spans) == told["commands_per_span"]
    assert len(spans) < told["commands"] / 2
    assert any("tiles" in span["name"] for span in spans)


def test_what_was_loaded_stays_until_its_last_reader_is_done() -> None:
    result = small_run(control__lookahead="stall")
    program, ends = result.dynamic.program, result.dynamic.costs.timeline
    readers: dict[int, list[int]] = {}
    for row in range(program.num_commands):
        if program.unit[row] != Unit.LOAD:
            for wait in program.waits[row].tolist():
                readers.setdefault(wait, []).append(row)
    loads = [row for row in readers if row >= 0 and program.unit[row] == Unit.LOAD]
    assert any(ends.finish_cycles[max(readers[row])] > ends.finish_cycles[row] for row in loads)
    column = Amount.WEIGHT_BUFFER_WRITE_BYTES
    for event in timeline(result)["traceEvents"]:
        if event["ph"] == "C" and event["name"] == "weight buffer (loaded bytes)":
            at = cycles(event["ts"])
            held = [
                row
                for row in loads
                if ends.start_cycles[row] <= at < max(ends.finish_cycles[reader] for reader in readers[row])
            ]
            assert event["args"]["value"] == program.amounts[held, column].sum()


def test_wasted_and_cancelled_work_is_told() -> None:
    result = small_run(control__lookahead="speculate")
    costs, program = result.dynamic.costs, result.dynamic.program
    record = timeline(result, 1)
    wasted = [span for span in check(record)["X"] if span.get("cat") == "wasted"]
    assert sum(span["args"].get("bytes", 0) for span in wasted) == costs.wasted_dram_bytes[0] > 0
    told = record["otherData"]
    assert told["commands"] + told["cancelled_commands"] == program.num_commands
    assert told["cancelled_commands"] > 0
    assert len(wasted) == told["wasted_commands"]
    cancelled = [event for event in record["traceEvents"] if event.get("cat") == "cancelled"]
    assert sum(mark["args"]["commands"] for mark in cancelled) == told["cancelled_commands"]
    assert {cycles(mark["ts"]) for mark in cancelled} == {costs.latency_cycles[0]}
    everything = program.amounts[:, list(DRAM_AMOUNTS)].sum()
    assert sum(mark["args"]["bytes"] for mark in cancelled) == everything - told["dram_bytes"] > 0
    macs = program.amounts[:, Amount.MACS].sum()
    assert sum(mark["args"]["macs"] for mark in cancelled) == macs - told["executed_macs"] > 0
    assert not any(event.get("cat") == "cancelled" for event in timeline(result)["traceEvents"])


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_timelines_of_all_inputs_add_up_to_the_summary(lookahead: str) -> None:
    result = small_run(control__lookahead=lookahead)
    numbers = summary(result)
    counts = dict(zip(result.dynamic.exit_indices, result.exit_counts.tolist(), strict=True))
    totals: dict[str, float] = defaultdict(float)
    for exit_index, count in counts.items():
        record = timeline(result, exit_index)
        phases = check(record)
        for key in ("bytes", "macs"):
            totals[key] += total(phases, key) * count / numbers["num_inputs"]
        wasted = [span for span in phases["X"] if span.get("cat") == "wasted"]
        totals["wasted"] += sum(span["args"].get("bytes", 0) for span in wasted) * count / numbers["num_inputs"]
        ends = [cycles(s["ts"]) + cycles(s["dur"]) for s in phases["X"] if s["tid"] == module.SEGMENTS]
        totals["latency"] += max(ends) * count / numbers["num_inputs"]
    dynamic = numbers["dynamic"]
    assert totals["bytes"] == pytest.approx(dynamic["dram_bytes"]["mean"])
    assert totals["macs"] == pytest.approx(dynamic["executed_macs"]["mean"])
    assert totals["wasted"] == pytest.approx(dynamic["wasted_dram_bytes"]["mean"])
    assert totals["latency"] == pytest.approx(dynamic["latency_cycles"]["mean"])


def test_exits_are_marked_with_their_rates() -> None:
    result = small_run()
    marks = [mark for mark in check(timeline(result, 2))["i"] if mark["tid"] == module.SEGMENTS]
    assert [mark["name"] for mark in marks] == ["exit 1", "exit 2 taken"]
    assert [mark["args"]["inputs"] for mark in marks] == result.exit_counts[:2].tolist()
    assert cycles(marks[1]["ts"]) == result.dynamic.costs.latency_cycles[1]


def test_counters_keep_the_totals_and_the_sizes_of_the_buffers() -> None:
    result = small_run()
    record = timeline(result)
    counters: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for event in check(record)["C"]:
        counters[event["name"]].append((cycles(event["ts"]), event["args"]["value"]))
    rates = counters.pop("DRAM (bytes per cycle)")
    moved = sum(rate * (end - begin) for (begin, rate), (end, _) in itertools.pairwise(rates))
    assert moved == pytest.approx(result.dynamic.costs.dram_bytes[-1], rel=1e-4)
    buffers = result.hardware.buffers
    sizes = {"weight": buffers.weight_bytes, "head": buffers.head_bytes, "activation": buffers.activation_bytes}
    assert counters
    for name, steps in counters.items():
        assert 0 < max(value for _, value in steps) <= sizes[name.split()[0]]
        assert steps[-1][1] == 0


def test_arrows_go_from_load_to_compute_to_drain() -> None:
    record = timeline(small_run())
    phases = check(record)
    heads = {event["id"]: event["tid"] for event in phases["f"]}
    drawn = {(event["tid"], heads[event["id"]]) for event in phases["s"]}
    load, array, vector, exit_unit = 1, 3, 4, 5
    assert {(load, array), (array, vector), (vector, exit_unit)} <= drawn
    assert not any(head == load for _, head in drawn)


def test_a_span_says_what_its_unit_waited_for() -> None:
    result = small_run()
    program, spans = result.dynamic.program, check(timeline(result))["X"]
    first = next(span for span in spans if span["tid"] == 3)
    assert first["args"]["idle_cycles"] == cycles(first["ts"])
    assert first["args"]["waited_for"].startswith("load of conv1")
    row = first["args"]["command"]
    assert first["args"]["macs"] == program.amounts[row, Amount.MACS]
    assert program.amounts[row, list(DRAM_AMOUNTS)].sum() == first["args"].get("bytes", 0)


def test_an_exit_that_is_not_there_is_refused() -> None:
    result = small_run(policy=type(POLICY)((None, 0.6, None)))
    assert timeline(result, 2)["otherData"]["exit_index"] == 2
    with pytest.raises(OptionError, match="expected one of 2, 4"):
        timeline(result, 1)


def test_the_command_takes_an_exit_or_an_input(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = small_run()
    save_trace(result.trace, tmp_path / "toy.npz")
    base = [
        "timeline",
        "--hw",
        "edge_npu.yaml",
        "--trace",
        str(tmp_path / "toy.npz"),
        "--out",
        str(tmp_path / "t.json"),
    ]
    assert cli.exit_code([*base, "--input", "5"]) == 0
    record = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    check(record)
    assert record["otherData"]["exit_index"] == result.trace.exit_index[5]
    first = (tmp_path / "t.json").read_bytes()
    assert cli.exit_code([*base, "--exit", str(result.trace.exit_index[5])]) == 0
    assert (tmp_path / "t.json").read_bytes() == first
    assert cli.exit_code([*base, "--exit", "1", "--input", "5"]) == 1
    assert cli.exit_code([*base, "--input", "200"]) == 1
    assert "expected 0 to 199" in capfd.readouterr().err


def test_a_shipped_network_stays_small(shipped: RunResult, tmp_path: Path) -> None:
    write_timeline(timeline(shipped), tmp_path / "t.json")
    assert (tmp_path / "t.json").stat().st_size < 5_000_000


@pytest.mark.skipif(
    shutil.which("trace_processor_shell") is None, reason="Perfetto's trace_processor_shell is not on the PATH"
)
def test_perfetto_reads_the_same_totals(tmp_path: Path) -> None:
    result = small_run()
    write_timeline(timeline(result), tmp_path / "t.json")
    (tmp_path / "q.sql").write_text(
        "select sum(dur) from slice join thread_track on slice.track_id = thread_track.id "
        "join thread using (utid) where thread.name != 'segments';"
    )
    answer = subprocess.run(
        ["trace_processor_shell", "-q", tmp_path / "q.sql", tmp_path / "t.json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(int(result.dynamic.costs.busy_cycles[-1].sum())) in answer.stdout
