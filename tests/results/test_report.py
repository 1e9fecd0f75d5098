"""The report: what it draws adds up to what the run says, whatever the names say, byte for byte the same each time."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from ceesim import cli
from ceesim.errors import OutputError
from ceesim.exits.references import Never
from ceesim.exits.scores import Score, ScoreKind
from ceesim.exits.trace import save_trace
from ceesim.explore.pictures import _axis, heat_map
from ceesim.explore.report import MOST_POINTS, sweep_section
from ceesim.explore.sweep import sweep
from ceesim.explore.table import manifest_path
from ceesim.hardware.energy.price import ratio, total_band
from ceesim.provenance import SourceFile
from ceesim.results.exit_value import exit_values
from ceesim.results.report.energy_bands import energy_ratio
from ceesim.results.report.exit_figures import _judged
from ceesim.results.report.figure import Figure, Section
from ceesim.results.report.folder import RunFolder, read_run
from ceesim.results.report.page import render, write_data
from ceesim.results.report.sections import comparison, run_section
from ceesim.results.report.traits import told_apart
from tests.exits.toys import toy_trace
from tests.results.runs import POLICY, run_folder, small_run

HOSTILE = "</script><script>alert(1)</script>\"' <b>&amp; 🦆 \u202e\n%{x} {{ 7*7 }}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("runs") / "run", small_run())


@pytest.fixture(scope="module")
def section(folder: Path) -> Section:
    return run_section(read_run(folder), "run1")


@pytest.fixture(scope="module")
def sweep_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parameters = {"array.rows": [8, 16], "array.cols": [8, 16], "buffers.weight": ["64 B", "64 KiB", "128 KiB"]}
    table = sweep("edge_npu.yaml", toy_trace(policy=POLICY), parameters)
    path = tmp_path_factory.mktemp("sweep") / "sweep.csv"
    table.to_csv(path, index=False)
    return path


def part(section: Section, name: str) -> Any:
    return next(part for part in section.parts if part.name == name)


def columns(section: Section, name: str) -> dict[str, list[Any]]:
    table = part(section, name).table
    return {column: [row[i] for row in table.rows] for i, column in enumerate(table.columns)}


def test_a_run_with_evidence_has_every_figure(section: Section) -> None:
    assert [part.name for part in section.parts] == [
        "exits", "latency", "heads-cost", "break-even", "cycles", "layers", "energy", "dram", "roofline",
        "table1", "fig4", "fig5", "fig6", "fig7", "fig8", "heads",
    ]  # fmt: skip
    assert not section.notes


def test_figures_add_up_to_the_summary(folder: Path, section: Section) -> None:
    summary = read_run(folder).summary
    assert sum(columns(section, "exits")["inputs"]) == summary["num_inputs"]
    assert sum(columns(section, "fig4")["inputs"]) == summary["num_inputs"]
    cycles = columns(section, "cycles")
    exits = read_run(folder).exits
    assert sum(cycles["without exits"]) == summary["static"]["latency_cycles"]["mean"]
    assert sum(cycles["runs to the end"]) == exits["latency_cycles"].iloc[-1]
    assert sum(cycles["average input"]) == pytest.approx(summary["dynamic"]["latency_cycles"]["mean"], rel=0.02)
    layers = columns(section, "layers")
    assert sum(layers["cycles"]) == sum(cycles["runs to the end"])
    assert sum(layers["average input"]) == pytest.approx(sum(cycles["average input"]))
    assert sum(each for each in layers["without exits"] if each is not None) == sum(cycles["without exits"])
    assert sum(columns(section, "energy")["dynamic (µJ)"]) * 1e6 == pytest.approx(
        summary["dynamic"]["energy_pj"]["mean"]
    )
    assert sum(columns(section, "dram")["static (KiB)"]) * 1024 == pytest.approx(
        summary["static"]["dram_bytes"]["mean"]
    )
    assert columns(section, "table1")["reduction"][0] == pytest.approx(summary["reduction"]["macs"])
    right = sum(columns(section, "exits")["right"]) / summary["num_inputs"]
    assert right == pytest.approx(summary["accuracy"]["dynamic"])


def test_the_account_of_each_exit_is_that_of_the_run(folder: Path, section: Section) -> None:
    result, account = small_run(), columns(section, "break-even")
    values = exit_values(result)
    assert account["exit"] == ["exit 1", "exit 2", "exit 3"]
    assert account["head (cycles)"] == [value.head_cycles for value in values]
    assert account["must leave: latency"] == pytest.approx([value.break_even_rate for value in values])
    assert account["must leave: energy"] == pytest.approx([value.break_even_rate_energy for value in values])
    assert account["leave here"] == pytest.approx([value.exit_rate for value in values])
    static = read_run(folder).summary["static"]
    costs = columns(section, "heads-cost")
    assert costs["latency"] == pytest.approx(
        [cycles / static["latency_cycles"]["mean"] for cycles in account["head (cycles)"]]
    )
    assert costs["energy"] == pytest.approx([n * 1e3 / static["energy_pj"]["mean"] for n in account["head (nJ)"]])


def test_the_worst_case_pays_for_every_head(folder: Path, section: Section) -> None:
    run = read_run(folder)
    worst, alone = run.exits["latency_cycles"].max(), run.summary["static"]["latency_cycles"]["max"]
    assert f"{worst:,} cycles instead of {alone:,}" in part(section, "heads-cost").caption
    card = next(card for card in section.cards if card.label == "worst case")
    assert card.value == f"{'+' if worst > alone else '−'}{abs(worst / alone - 1):.1%}"


def test_an_exit_pays_from_its_break_even_rate_on() -> None:
    assert _judged(0.2, 0.1, 0.1) == "yes"
    assert _judged(0.2, 0.1, None) == "in latency only"
    assert _judged(0.2, 0.3, 0.1) == "in energy only"
    assert _judged(0.1, 0.1, 0.1) == "no"
    assert _judged(None, 0.1, 0.1) == "nobody gets here"


def test_without_exits_there_is_no_account_of_them(tmp_path: Path) -> None:
    section = run_section(read_run(run_folder(tmp_path / "run", small_run(policy=Never()))), "run1")
    assert not {"heads-cost", "break-even"} & {part.name for part in section.parts}
    assert columns(section, "cycles")["without exits"] == columns(section, "cycles")["runs to the end"]
    assert render([section], "page")


def test_classes_are_named_where_the_trace_knows_them(tmp_path: Path) -> None:
    result = small_run()
    names = ["cat", HOSTILE, *map(str, range(2, result.trace.workload.num_classes))]
    named = replace(result, trace=replace(result.trace, training={"classes": names}))
    section = run_section(read_run(run_folder(tmp_path / "run", named)), "run1")
    assert columns(section, "fig5")["class"] == names
    ticks = part(section, "fig5").layout["yaxis"]["ticktext"]
    assert ticks[0] == "cat"
    assert not any("<" in tick for tick in ticks)


def test_percentiles_and_long_layers_are_named_in_the_picture(section: Section) -> None:
    texts = [text.strip() for trace in part(section, "latency").data for text in trace.get("text", []) if text]
    assert ", ".join(texts).split(", ") == ["p50", "p95", "p99"]
    share = dict(zip(*(columns(section, "roofline")[name] for name in ("op", "share of time")), strict=True))
    named = [text for trace in part(section, "roofline").data for text in trace.get("text", []) if text]
    assert max(share, key=lambda op: share[op]) in named


@pytest.mark.parametrize(
    ("dma", "dram", "slope"),
    [
        ({}, {}, 12.8),
        ({"beat": 8}, {}, 8),
        ({"queues": "split"}, {}, 12.8),
        ({"queues": "split"}, {"duplex": True}, 25.6),
        ({}, {"bandwidth": "unlimited"}, None),
    ],
)
def test_the_roof_is_what_the_machine_can_move(
    folder: Path, dma: dict[str, Any], dram: dict[str, Any], slope: float | None
) -> None:
    run = read_run(folder)
    there = run.manifest["hardware"]
    base = {"clock": 500_000_000, "array": there["array"] | {"rows": 16, "cols": 16}}
    moving = {"dma": there["dma"] | {"beat": 16} | dma, "dram": there["dram"] | {"bandwidth": 6_400_000_000} | dram}
    other = replace(run, manifest=run.manifest | {"hardware": there | base | moving})
    roof = part(run_section(other, "run1"), "roofline").data[0]
    assert roof["y"][0] == pytest.approx(256 if slope is None else slope * roof["x"][0])


def test_numbers_stand_before_words_where_runs_are_compared(folder: Path, tmp_path: Path) -> None:
    run, other = read_run(folder), read_run(run_folder(tmp_path / "run", small_run(array__rows=32)))
    section = comparison([run, altered(other, policy={"name": "never"})], ["a", "b"])
    table = part(section, "runs").table
    assert table.columns[0] == "run"
    assert table.columns[-2:] == ("settings", "policy")
    assert "mean latency (ms)" in table.columns[1:-2]
    assert '<figure id="compare-runs" class="wide">' in render([section], "page")
    assert 'class="wide"' not in render([run_section(run, "run1")], "page").split("<main>")[1]


def test_latency_and_energy_of_every_run_are_drawn_with_the_band_of_the_energy(folder: Path, tmp_path: Path) -> None:
    results = [small_run(), small_run(array__rows=32)]
    runs = [read_run(folder), read_run(run_folder(tmp_path / "run", results[1]))]
    figure = part(comparison(runs, ["a", "b"]), "latency-energy")
    dots = {trace["name"]: trace for trace in figure.data if trace["mode"] == "markers+text"}
    for which, name in ((0, "with exits"), (1, "without exits")):
        drawn = dots[name]
        for i, result in enumerate(results):
            summary, band = runs[i].summary, total_band(result.mean_energy()[which], 0)
            played = summary["static" if which else "dynamic"]
            assert drawn["x"][i] == pytest.approx(played["latency_cycles"]["mean"] * 1e3 / summary["clock_hz"])
            assert drawn["y"][i] == pytest.approx(played["energy_pj"]["mean"] / 1e6)
            assert drawn["y"][i] + drawn["error_y"]["array"][i] == pytest.approx(band.high / 1e6)
            assert drawn["y"][i] - drawn["error_y"]["arrayminus"][i] == pytest.approx(band.low / 1e6)
    old = replace(runs[1], energy=None)
    rows = part(comparison([runs[0], old], ["a", "b"]), "latency-energy").table.rows
    assert [row[-1] is None for row in rows] == [False, True, False, True]
    without = [altered(run, **{n: run.summary[n] | {"energy_pj": None} for n in ("dynamic", "static")}) for run in runs]
    assert "latency-energy" not in {part.name for part in comparison(without, ["a", "b"]).parts}


def test_captions_say_what_the_layers_say(folder: Path) -> None:
    run = read_run(folder)
    layers = run.layers.assign(stall_cycles=0)
    plain = layers.index[~layers["bottleneck"].isin(["head", "decision"])]
    quiet = run_section(replace(run, layers=layers), "run1")
    assert part(quiet, "cycles").caption.endswith("own unit waits.")
    assert "longest red end" not in part(quiet, "layers").caption
    layers.loc[plain[0], ["stall_cycles", "cycles", "bottleneck"]] = [30, 100, "vector"]
    layers.loc[plain[1], ["stall_cycles", "cycles", "bottleneck"]] = [10, 100, "dram"]
    told = run_section(replace(run, layers=layers), "run1")
    assert "75% of it in layers bound by the vector unit, 25% of it in layers bound by loads and stores" in (
        part(told, "cycles").caption
    )
    name = layers["op"][plain[0]]
    assert f"The longest red end is that of {name}, a layer bound by the vector unit." in part(told, "layers").caption
    for figure in ("cycles", "layers"):
        assert "DRAM" not in part(told, figure).caption
        assert "weights" not in part(told, figure).caption


def test_the_roofline_says_why_a_layer_is_low_where_the_run_does(folder: Path) -> None:
    run = read_run(folder)
    slow = run.layers.assign(cycles=run.layers["cycles"] * 1000)
    few = part(run_section(replace(run, layers=slow.assign(mapping_efficiency=0.1)), "run1"), "roofline")
    assert "by leaving more than half of the PEs without work" in few.caption
    assert set(dict(zip(few.table.columns, zip(*few.table.rows, strict=True), strict=True))["PEs in use"]) == {0.1}
    many = slow.assign(mapping_efficiency=1.0)
    waiting = part(run_section(replace(run, layers=many.assign(bottleneck="vector")), "run1"), "roofline")
    assert "by the vector unit's time" in waiting.caption
    unknown = part(run_section(replace(run, layers=many.assign(bottleneck="compute")), "run1"), "roofline")
    assert re.search(r"layers? stay below half of the roof\.", unknown.caption)
    for figure in (few, waiting, unknown):
        assert "tiles" not in figure.caption
        assert "above the slope" not in figure.caption  # none is


def test_runs_of_one_network_say_so_once(folder: Path) -> None:
    run = read_run(folder)
    other = replace(run, summary=run.summary | {"network": "another"})
    shared = comparison([run, run], ["a", "b"])
    assert "network" not in columns(shared, "runs")
    assert run.summary["network"] in shared.sentence
    assert columns(comparison([run, other], ["a", "b"]), "runs")["network"][1].startswith("another")


def altered(run: RunFolder, **changes: Any) -> RunFolder:
    """The run with other keys in its summary, like ``scenario="poisson:500/s"``."""
    return replace(run, summary=run.summary | changes)


@pytest.mark.parametrize(
    ("changes", "trait", "shown", "told"),
    [
        ({"scenario": "poisson:500/s"}, "scenario", "poisson:500/s, batch 1", "poisson:500/s"),
        ({"batch": 4}, "scenario", "closed, batch 4", "batch 4"),
        ({"dataset": "mnist"}, "data", "mnist, 200 inputs", "mnist"),
        ({"num_inputs": 1}, "data", "made up, 1 input", "1 input"),
        ({"policy": {"name": "never"}}, "policy", "never", "never"),
        (
            {"policy": POLICY.to_json() | {"beta": [0.5, 0.6, 0.7]}},
            "policy",
            "exclude beta 0.5, 0.6, 0.7 recovery on final unmasked calibration none",
            "exclude beta 0.5, 0.6, 0.7",
        ),
    ],
)
def test_what_differs_between_runs_is_a_column_and_in_the_titles(
    folder: Path, changes: dict[str, Any], trait: str, shown: str, told: str
) -> None:
    run = read_run(folder)
    runs = [run, altered(run, **changes)]
    section = comparison(runs, ["a", "b"])
    traits = {"network", "hardware", "settings", "data", "policy", "scenario"}
    assert traits & set(columns(section, "runs")) == {trait}
    assert columns(section, "runs")[trait][1] == shown
    assert shown not in section.sentence
    apart = told_apart(runs)
    assert apart[1] == told != apart[0]
    assert run_section(runs[1], "run2", "b", apart[1]).title == f"b: chain on toy_npu, {told}"
    assert "the hardware makes of it in each run" in part(section, "reductions").caption


def test_a_title_says_of_a_long_policy_as_much_as_fits(folder: Path) -> None:
    run = read_run(folder)
    runs = [altered(run, policy={"name": "exclude", "beta": [beta] * 12}) for beta in (0.25, 0.75)]
    assert told_apart(runs)[1] == "exclude beta 0.75, 0.75, 0.75, …"


def test_what_runs_share_is_said_once(folder: Path) -> None:
    run = read_run(folder)
    section = comparison([run, run], ["a", "b"])
    assert section.sentence == (
        "All of them: chain on toy_npu; made up, 200 inputs; policy exclude beta 0.5, 0.6, 0.6 recovery on final "
        "unmasked calibration none; closed, batch 1."
    )
    assert told_apart([run, run]) == ["", ""]


def test_hardware_of_one_name_is_told_apart_by_its_keys(folder: Path, tmp_path: Path) -> None:
    run, other = read_run(folder), read_run(run_folder(tmp_path / "run", small_run(array__rows=32)))
    section = comparison([run, other], ["a", "b"])
    assert columns(section, "runs")["settings"] == ["array.rows 16", "array.rows 32"]
    assert told_apart([run, other]) == ["array.rows 16", "array.rows 32"]
    assert "what each hardware makes of it" in part(section, "reductions").caption
    small = read_run(run_folder(tmp_path / "small", small_run(buffers__weight="64 KiB")))
    own = replace(run, manifest=run.manifest | {"hardware": run.manifest["hardware"] | {"new_key": 1}})
    assert told_apart([run, own]) == ["", "new_key 1"]  # a dash tells nothing in a title
    assert told_apart([run, small]) == ["buffers.weight 128 KiB", "buffers.weight 64 KiB"]
    points = small_run(technology__operating_points=[{"clock": "300 MHz", "voltage": "0.5 V"}])
    pointed = read_run(run_folder(tmp_path / "pointed", points))
    assert columns(comparison([run, pointed], ["a", "b"]), "runs")["settings"] == [
        "technology.operating_points –",
        "technology.operating_points 300 MHz 500 mV",
    ]
    third = altered(other, hardware="another")
    section = comparison([run, third], ["a", "b"])
    assert columns(section, "runs")["hardware"] == ["toy_npu", "another"]
    assert "settings" not in columns(section, "runs")
    assert "what each hardware makes of it" in part(section, "reductions").caption


def test_energies_of_two_runs_are_compared_with_the_band_that_does_not_cancel(folder: Path, tmp_path: Path) -> None:
    one, other = small_run(), small_run(array__rows=32)
    runs = [read_run(folder), read_run(run_folder(tmp_path / "run", other))]
    table = columns(comparison(runs, ["a", "b"]), "runs")
    expected = ratio(other.mean_energy()[0], 0, one.mean_energy()[0], 0)
    assert table["energy, first run = 1"] == [1, pytest.approx(expected.nominal)]
    assert table["its band"] == ["1 … 1", f"{expected.low:.4g} … {expected.high:.4g}"]
    assert expected.nominal == pytest.approx(table["mean energy (µJ)"][1] / table["mean energy (µJ)"][0])
    elsewhere = small_run(technology__node="45 nm", technology__voltage="1.0 V", technology__device="lstp")
    far = energy_ratio(read_run(run_folder(tmp_path / "far", elsewhere)), runs[0])
    independent = ratio(elsewhere.mean_energy()[0], 0, one.mean_energy()[0], 0)
    assert far is not None
    assert (far.low, far.nominal, far.high) == pytest.approx((independent.low, independent.nominal, independent.high))
    assert far.high / far.low > 3 * expected.high / expected.low
    met = replace(runs[1], scenario={})
    assert energy_ratio(met, runs[0]) is energy_ratio(runs[0], met) is None
    assert energy_ratio(replace(runs[1], manifest={}), runs[0]) is None
    assert energy_ratio(replace(runs[1], energy=None), runs[0]) is None
    (tmp_path / "run" / "energy.csv").unlink()  # of an earlier version
    assert columns(comparison([runs[0], read_run(tmp_path / "run")], ["a", "b"]), "runs")["its band"][1] is None
    with pytest.raises(OutputError, match=r"energy.csv: not what a run writes .*magic"):
        energy_ratio(replace(runs[1], energy=runs[1].energy.assign(price="magic")), runs[0])


def test_a_kind_of_price_that_one_run_spends_nothing_of_has_the_band_of_the_other(folder: Path) -> None:
    run = read_run(folder)
    without = replace(run, energy=run.energy[run.energy["price"] != "dram"])
    found = energy_ratio(without, run)
    back = energy_ratio(run, without)
    assert found is not None
    assert back is not None
    assert (found.low, found.nominal, found.high) == pytest.approx((1 / back.high, 1 / back.nominal, 1 / back.low))
    assert found.low < found.nominal < found.high < 1


def test_numbers_stand_on_the_right_and_sections_are_listed(section: Section, sweep_table: Path) -> None:
    page = render([section, sweep_section(sweep_table, "sweep1")], "page")
    row = re.search(r"<tr>(<td.*?exit 1.*?)</tr>", page)
    assert row is not None
    kinds = ["number" in cell for cell in re.findall(r"<td[^>]*>", row[1])]
    assert kinds[0] is False
    assert True in kinds
    assert re.findall(r'<a href="(#[^"]*)">', page) == ["#run1", "#sweep1", "#glossary"]
    assert "<nav>" not in render([section], "page")


def test_right_and_wrong_are_told_apart_without_colours(section: Section) -> None:
    shown = columns(section, "exits")
    labels = [label for label in part(section, "exits").data[0]["node"]["label"] if label and "exit" not in label]
    assert labels == [
        f"{count:,}" + (f"<br>{wrong:,} ✗" if wrong else "")
        for count, wrong in zip(shown["inputs"], shown["wrong"], strict=True)
        if count
    ]
    assert "✗ counts the wrong ones" in part(section, "exits").caption
    said = part(section, "exits").data[0]["node"]["customdata"]
    assert said[0] == "200 inputs"
    assert len(said) == len(part(section, "exits").data[0]["node"]["label"])


def test_links_of_the_departures_conserve_inputs(section: Section) -> None:
    link = part(section, "exits").data[0]["link"]
    arriving, leaving = (
        {node: sum(v for n, v in zip(link[end], link["value"], strict=True) if n == node) for node in set(link[end])}
        for end in ("target", "source")
    )
    for node in set(arriving) & set(leaving):
        assert arriving[node] == leaving[node]


def test_the_run_itself_is_a_point_of_figure_8(folder: Path, section: Section) -> None:
    summary = read_run(folder).summary
    star = next(trace for trace in part(section, "fig8").data if trace["name"] == "this run")
    assert star["y"] == [summary["accuracy"]["dynamic"]]
    assert star["x"][0] == pytest.approx(1 - summary["reduction"]["macs"])


@pytest.mark.parametrize("threshold", [0.2, 0.21, 0.999_999])
def test_a_run_by_one_confidence_lies_on_the_curve_of_figure_8(tmp_path: Path, threshold: float) -> None:
    policy = Score(ScoreKind.CONFIDENCE, (threshold,) * 3)
    section = run_section(read_run(run_folder(tmp_path / "run", small_run(policy=policy))), "run1")
    curves = {trace["name"]: trace for trace in part(section, "fig8").data}
    star, curve = curves["this run"], curves["confidence"]
    assert (star["x"][0], star["y"][0]) in set(zip(curve["x"], curve["y"], strict=True))
    thresholds = [row[1] for row in part(section, "fig8").table.rows if row[0] == "confidence"]
    assert threshold in thresholds
    assert thresholds == sorted(thresholds, reverse=True)
    assert len(set(curve["x"])) > 8  # thresholds lie where the scores do


def test_a_run_by_one_beta_lies_on_the_curve_of_figure_8(tmp_path: Path) -> None:
    section = run_section(read_run(run_folder(tmp_path / "run", small_run(policy=type(POLICY)((0.37,) * 3)))), "run1")
    curves = {trace["name"]: trace for trace in part(section, "fig8").data}
    star, curve = curves["this run"], curves["class exclusion"]
    assert (star["x"][0], star["y"][0]) in set(zip(curve["x"], curve["y"], strict=True))


def test_intervals_ascend_as_they_are_printed(folder: Path) -> None:
    run = read_run(folder)
    reduction = run.summary["reduction"]
    worse = reduction | {"latency": -0.062, "ci95": reduction["ci95"] | {"latency": [-0.092, -0.032]}}
    cards = {card.label: card for card in run_section(altered(run, reduction=worse), "run1").cards}
    assert cards["latency"].value == "+6.2%"
    assert cards["latency"].interval == "other inputs, 95%: +3.2% to +9.2%"
    low, high = reduction["ci95"]["macs"]
    assert cards["MACs"].interval == f"other inputs, 95%: −{high:.1%} to −{low:.1%}"


def plain(value: Any) -> Any:
    """The specification with any colour in place of names of CSS variables."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return "#123456" if isinstance(value, str) and value.startswith("--") else value


def figures(*sections: Section) -> Iterator[Figure]:
    for section in sections:
        yield from (part for part in section.parts if isinstance(part, Figure))


def test_plotly_knows_every_property_that_is_used(
    section: Section, folder: Path, sweep_table: Path, tmp_path: Path
) -> None:
    import plotly.graph_objects

    runs = [read_run(folder)] * 2
    points = small_run(technology__operating_points=[{"clock": "300 MHz", "voltage": "0.5 V"}])
    pointed = run_section(read_run(run_folder(tmp_path / "run", points)), "run2")
    for figure in figures(section, pointed, comparison(runs, ["a", "b"]), sweep_section(sweep_table, "sweep1")):
        drawn = plotly.graph_objects.Figure(data=plain(figure.data), layout=plain(figure.layout))
        assert len(drawn.data) == len(figure.data) > 0


def test_every_colour_is_one_of_the_page(section: Section, sweep_table: Path) -> None:
    page = render([section, sweep_section(sweep_table, "sweep1")], "page")
    for theme in re.findall(r":root[^{]*\{([^}]*)\}", page):
        known = set(re.findall(r"(--[a-z0-9]+):", theme))
        used = set(re.findall(r'"(--[a-z0-9]+)"', json.dumps([[f.data, f.layout] for f in figures(section)])))
        assert used <= known


def test_the_same_files_make_the_same_bytes_and_nothing_is_loaded(folder: Path, section: Section) -> None:
    page = render([section], "page")
    assert page == render([run_section(read_run(folder), "run1")], "page")
    assert len(page.encode()) < 6_000_000
    ours = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"<(link|img|iframe|object)|\bsrc=|@import|url\(|https?://", ours)
    assert "default-src 'none'" in page


def test_hostile_names_are_shown_not_run(tmp_path: Path) -> None:
    result = small_run(name=HOSTILE, dataset=HOSTILE)
    run = read_run(run_folder(tmp_path / "<img src=x>", result))
    layers = run.layers.assign(op=[HOSTILE, *run.layers["op"][1:]])
    run = replace(run, layers=layers, static_layers=run.static_layers.assign(op=HOSTILE))
    section = run_section(run, "run1")
    clean = render([run_section(read_run(run_folder(tmp_path / "clean", small_run())), "run1")], "page")
    page = render([section, comparison([run, run], [run.name, HOSTILE])], section.title)
    for markup in ("<script", "</script", "<b>", "<img"):
        assert page.count(markup) == clean.count(markup), markup
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "7*7" in page
    specs = json.loads(page.split('id="specs">')[1].split("</script>")[0])
    label = specs["run1-layers"]["layout"]["yaxis"]["ticktext"][0]
    assert "<" not in label
    assert "\n" not in label


def test_without_its_trace_a_run_says_so(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone)
    section = run_section(read_run(alone), "run1")
    assert [part.name for part in section.parts][-1] == "roofline"
    assert "break-even" in [part.name for part in section.parts]
    assert "toy.npz was not found" in section.notes[0]
    assert "--trace" in section.notes[0]
    again = run_section(read_run(alone, [folder.parent / "toy.npz"]), "run1")
    assert [part.name for part in again.parts][-1] == "heads"


def test_another_trace_of_the_same_name_is_not_taken(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone)
    run_folder(tmp_path / "other", small_run(policy=type(POLICY)((0.9, 0.9, 0.9))))  # writes another toy.npz here
    assert read_run(alone).trace is None


def test_a_trace_that_was_named_and_is_another_is_said(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone, other, page = tmp_path / "alone", tmp_path / "other.npz", tmp_path / "page.html"
    shutil.copytree(folder, alone)
    save_trace(toy_trace(num_inputs=3, policy=POLICY), other)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in (other, folder.parent / "toy.npz")]
    assert cli.exit_code(["report", str(alone), "--trace", str(other), "--out", str(page)]) == 0
    err = capfd.readouterr().err
    assert f"note: {other} is not used: its SHA-256 is {digests[0]}…" in err
    assert f"what was replayed is toy.npz (SHA-256 {digests[1]}…)" in err
    assert f"other.npz has the SHA-256 {digests[0]}…, not {digests[1]}…" in page.read_text(encoding="utf-8")
    assert cli.exit_code(["report", str(folder), "--trace", str(folder.parent / "toy.npz"), "--out", str(page)]) == 0
    assert "note:" not in capfd.readouterr().err
    assert cli.exit_code(["report", str(folder), "--trace", str(tmp_path / "none.npz")]) == 1
    assert "none.npz: no such file" in capfd.readouterr().err


def test_the_trace_of_the_rates_is_not_the_trace(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone)
    save_trace(toy_trace(num_inputs=3, policy=POLICY), alone / "rates.npz")
    manifest = json.loads((alone / "manifest.json").read_text())
    manifest["files"].append({"name": "rates.npz", "sha256": SourceFile.of(alone / "rates.npz").sha256})
    (alone / "manifest.json").write_text(json.dumps(manifest))
    assert read_run(alone, [alone / "rates.npz"]).trace is None
    assert read_run(alone, [alone / "rates.npz", folder.parent / "toy.npz"]).trace is not None
    (alone / "manifest.json").write_text(json.dumps(manifest | {"files": []}))
    assert "names no trace" in read_run(alone).missing


@pytest.mark.parametrize("lookahead", ["stall", "prefetch", "speculate", "static_npu"])
def test_every_lookahead_can_be_drawn(tmp_path: Path, lookahead: str) -> None:
    run = read_run(run_folder(tmp_path / "run", small_run(control__lookahead=lookahead)))
    assert render([run_section(run, "run1")], "page")


def test_operating_points_are_drawn_with_the_deadlines_that_they_keep(tmp_path: Path) -> None:
    other = [{"clock": "300 MHz", "voltage": "0.5 V"}]
    run = read_run(run_folder(tmp_path / "run", small_run(technology__operating_points=other)))
    assert run.points is not None
    section = run_section(run, "run1")
    table = columns(section, "operating-points")
    assert table["network"] == ["static", "static", "dynamic", "dynamic"]
    own, slow = run.points.to_dict("records")
    clock_hz = run.summary["clock_hz"]
    assert own["worst_latency_s"] == run.exits["latency_cycles"].iloc[-1] / clock_hz
    assert own["mean_latency_s"] == pytest.approx(run.summary["dynamic"]["latency_cycles"]["mean"] / clock_hz)
    assert own["energy_pj"] == pytest.approx(run.summary["dynamic"]["energy_pj"]["mean"])
    assert own["static_energy_pj"] == pytest.approx(run.summary["static"]["energy_pj"]["mean"])
    assert own["cheapest_from_deadline_s"] == own["worst_latency_s"]
    assert table["deadline (ms)"][3] == pytest.approx((slow["transition_s"] + slow["worst_latency_s"]) * 1e3)
    assert table["energy (µJ)"][3] == pytest.approx(slow["energy_pj"] / 1e6)
    assert render([section], "page")


def test_exits_that_are_not_kept_leave_no_trace(tmp_path: Path) -> None:
    run = read_run(run_folder(tmp_path / "run", small_run(policy=type(POLICY)((None, 0.6, None)))))
    section = run_section(run, "run1")
    assert columns(section, "exits")["leaves at"] == ["exit 2", "the end"]
    star = next(trace for trace in part(section, "fig8").data if trace["name"] == "this run")
    assert star["x"][0] == pytest.approx(1 - run.summary["reduction"]["macs"])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("summary.json", "{", "summary.json: not JSON"),
        ("summary.json", "[]", "must be a JSON object"),
        ("summary.json", '{"schema": "ceesim.summary/9"}', "got ceesim.summary/9; expected ceesim.summary/1"),
        ("manifest.json", None, "manifest.json: cannot be read"),
        ("layers.csv", "", "layers.csv: not a table"),
        ("exits.csv", "exit_index\n1\n", "exits.csv: columns are missing"),
        ("exit_values.csv", None, "exit_values.csv: cannot be read"),
        ("operating_points.csv", "clock_hz\n1\n", "operating_points.csv: columns are missing"),
    ],
)
def test_damaged_runs_are_refused_in_words(
    folder: Path, tmp_path: Path, name: str, content: str | None, says: str
) -> None:
    damaged = tmp_path / "run"
    shutil.copytree(folder, damaged)
    (damaged / name).unlink(missing_ok=True)
    if content is not None:
        (damaged / name).write_text(content)
    with pytest.raises(OutputError, match=re.escape(says)):
        read_run(damaged)


def test_data_is_written_in_full(section: Section, tmp_path: Path) -> None:
    written = write_data([section], tmp_path / "page.html")
    assert len(written) == len(section.parts)
    layers = tmp_path / "page_data" / "run1-layers.csv"
    with layers.open(newline="") as stream:
        names, *rows = csv.reader(stream)
    assert tuple(names) == part(section, "layers").table.columns
    assert [int(row[3]) for row in rows] == columns(section, "layers")["cycles"]


def test_a_sweep_shows_its_front_and_its_failures(sweep_table: Path) -> None:
    section = sweep_section(sweep_table, "sweep1")
    table = pandas.read_csv(sweep_table)
    failed = table[table["status"] == "failed"]
    assert sum(columns(section, "failed")["designs"]) == len(failed) > 0
    shown = columns(section, "front-1")
    front = columns(section, "front")["point"]
    assert [point for point, best in zip(shown["point"], shown["no other beats"], strict=True) if best] == sorted(front)
    best = table.loc[table["dynamic.latency_s.mean"].idxmin(), "point"]
    assert best in front


def test_reasons_can_be_read_and_every_knob_is_named(sweep_table: Path, tmp_path: Path) -> None:
    table = pandas.read_csv(sweep_table)
    failed = table["buffers.weight_bytes"] == 64
    assert set(table[failed]["status"]) == {"failed"}
    table[failed | (table["buffers.weight_bytes"] == 65536)].to_csv(tmp_path / "sweep.csv", index=False)
    section = sweep_section(tmp_path / "sweep.csv", "sweep1")
    assert dict(section.facts)["knobs"] == "array.rows, array.cols, buffers.weight_bytes (built with 64 KiB alone)"
    page = render([section], "sweep")
    assert re.search(r'<td class="long" data-key=""><bdi>buffers\.weight: the buffer cannot hold', page)
    assert re.search(r"td\.long \{ white-space: normal", page)
    table[failed].to_csv(tmp_path / "sweep.csv", index=False)
    section = sweep_section(tmp_path / "sweep.csv", "sweep1")
    assert dict(section.facts)["knobs"] == "array.rows, array.cols"
    table[:1].to_csv(tmp_path / "sweep.csv", index=False)
    assert sweep_section(tmp_path / "sweep.csv", "sweep1").sentence.startswith("1 design, 1 of which failed")


def test_words_stand_on_a_map_in_the_order_of_the_space() -> None:
    table = sweep(
        "edge_npu.yaml", toy_trace(policy=POLICY), {"array.rows": [8, 16], "vector.lanes": [8, 16, "unlimited"]}
    )
    heat = heat_map(table, ("array.rows", "vector.lanes"), "dynamic.latency_s.mean")
    assert heat.layout["xaxis"]["ticktext"] == ["8", "16", "unlimited"]
    assert heat.layout["yaxis"]["ticktext"] == ["8", "16"]
    assert all(cell is not None for row in heat.table.rows for cell in row)


def test_a_sweep_says_what_was_swept(tmp_path: Path) -> None:
    save_trace(toy_trace(policy=POLICY), tmp_path / "toy.npz")
    table = tmp_path / "sweep.csv"
    space = ["--set", "array.rows=4,32", "--set", "dram.bandwidth=0.1GB/s,6.4GB/s"]
    args = ["sweep", "--hw", "edge_npu.yaml", "--trace", str(tmp_path / "toy.npz"), *space, "--workers", "1"]
    assert cli.exit_code([*args, "--out", str(table)]) == 0
    section = sweep_section(table, "sweep1")
    facts = dict(section.facts)
    assert facts["hardware"] == "edge_npu"
    assert facts["toy.npz"] == f"SHA-256 {hashlib.sha256((tmp_path / 'toy.npz').read_bytes()).hexdigest()}"
    assert json.loads(section.record)["identity"]["hardware"]["name"] == "edge_npu"
    assert "failed" not in section.sentence
    assert "scenario" not in facts
    assert any("6.4 GB/s" in text for text in part(section, "front-1").data[0]["customdata"])
    axis = part(section, "front-1").layout["xaxis"]
    values = columns(section, "front")["mean latency (ms)"]
    assert max(values) / min(values) < 10 or axis["ticktext"] == [f"{tick:g}" for tick in axis["tickvals"]]
    assert "stopped" not in section.sentence
    table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:4]))
    assert sweep_section(table, "sweep1").sentence.startswith("3 designs of 4 (the sweep was stopped")
    manifest_path(table).write_text("[]")
    stopped = sweep_section(table, "sweep1")
    assert (stopped.record, "stopped" in stopped.sentence) == ("", False)


def test_logarithmic_axes_are_written_out() -> None:
    table = pandas.DataFrame({"dynamic.latency_s.mean": [0.3e-3, 5e-3], "area_mm2": [1.0, 2.0]})
    axis = _axis(table, "dynamic.latency_s.mean")
    assert axis["type"] == "log"
    assert {"0.5", "1", "5"} <= set(axis["ticktext"])
    assert _axis(table, "area_mm2")["type"] == "linear"


def test_a_large_sweep_is_thinned_with_a_note(sweep_table: Path, tmp_path: Path) -> None:
    small = pandas.read_csv(sweep_table)
    small = small[small["status"] == "ok"]
    large = pandas.concat([small] * (4 * MOST_POINTS // len(small)), ignore_index=True)
    large["point"] = np.arange(len(large))
    large["dynamic.latency_s.mean"] *= 1 + large["point"]
    path = tmp_path / "large.csv"
    large.to_csv(path, index=False)
    section = sweep_section(path, "sweep1")
    assert len(part(section, "front-1").table.rows) <= MOST_POINTS
    assert f"of {len(large):,}" in section.notes[0]


@pytest.mark.slow
def test_fifty_thousand_designs_in_ten_seconds(sweep_table: Path, tmp_path: Path) -> None:
    small = pandas.read_csv(sweep_table)
    small = small[small["status"] == "ok"]
    random = np.random.default_rng(0)
    large = pandas.concat([small] * -(-50_000 // len(small)), ignore_index=True).iloc[:50_000].copy()
    large["point"] = np.arange(len(large))
    for name in ("dynamic.latency_s.mean", "dynamic.energy_pj.mean", "area_mm2"):
        large[name] *= random.lognormal(0, 0.3, len(large))
    for knob in range(8):
        large.insert(2, f"a.rather.long.name.of.a.knob.{knob}", random.integers(0, 20, len(large)))
    large.to_csv(tmp_path / "large.csv", index=False)
    started = time.process_time()
    page = render([sweep_section(tmp_path / "large.csv", "sweep1")], "sweep")
    assert time.process_time() - started < 10
    assert len(page.encode()) < 8_000_000


def test_the_command_writes_page_and_data(
    folder: Path, sweep_table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "deep" / "page.html"
    args = ["report", str(folder), str(folder), str(sweep_table), "--out", str(page), "--csv"]
    assert cli.exit_code(args) == 0
    assert "2 runs side by side" in page.read_text(encoding="utf-8")
    assert (page.parent / "page_data" / "compare-runs.csv").read_text().splitlines()[2].startswith("run (2),")
    out, err = capfd.readouterr()
    assert out == ""
    assert "wrote" in err


def test_folders_of_one_name_are_told_apart(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, other)
    page = tmp_path / "page.html"
    assert cli.exit_code(["report", str(folder), str(other), str(other), "--out", str(page)]) == 0
    around = folder.parent.name
    for name in (f"{around}/run: chain", "elsewhere/run: chain", "elsewhere/run (2): chain"):
        assert f"<bdi>{name}" in page.read_text(encoding="utf-8")


def test_one_file_of_a_run_is_not_taken_for_a_sweep(
    folder: Path, sweep_table: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("summary.json", "layers.csv"):
        assert cli.exit_code(["report", str(folder / name)]) == 1
        err = capfd.readouterr().err
        assert f"{name}: one file of a run, which is a folder" in err
        assert f"fix: give the folder of the run: ceesim report {folder}\n" in err
    manifest = manifest_path(sweep_table)
    manifest.touch()
    assert cli.exit_code(["report", str(manifest)]) == 1
    assert f"fix: give the table: ceesim report {sweep_table}\n" in capfd.readouterr().err
    manifest.unlink()


def test_what_is_no_result_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.csv").write_text("a,b\n1,2\n")
    assert cli.exit_code(["report", str(tmp_path / "note.csv")]) == 1
    assert "not a table of a sweep" in capfd.readouterr().err
    assert cli.exit_code(["report", str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no such run or sweep" in capfd.readouterr().err
    assert cli.exit_code(["report", str(tmp_path)]) == 1
    assert "name a folder that `ceesim run --out` wrote" in capfd.readouterr().err


def test_nothing_that_is_read_is_written_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("summary.json", "inputs.csv"):
        before = (folder / name).read_bytes()
        assert cli.exit_code(["report", str(folder), "--out", str(folder / name)]) == 1
        assert "would be written over" in capsys.readouterr().err
        assert (folder / name).read_bytes() == before


def test_a_table_of_inputs_that_was_cut_off_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cut"
    shutil.copytree(folder, copy)
    rows = (copy / "inputs.csv").read_text().splitlines(keepends=True)
    (copy / "inputs.csv").write_text("".join(rows[:-5]))
    with pytest.raises(OutputError, match="rows are missing"):
        read_run(copy)
    shutil.copy(folder / "inputs.csv", copy)
    content = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps({"schema": content["schema"]}))
    with pytest.raises(OutputError, match="not a whole summary"):
        read_run(copy)
