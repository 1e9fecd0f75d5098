"""The report: what it draws adds up to what the run says, whatever the names say, byte for byte the same each time."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from ceesim import cli
from ceesim.errors import OutputError
from ceesim.explore.report import MOST_POINTS, sweep_section
from ceesim.explore.sweep import sweep
from ceesim.results.report.figure import Figure, Section
from ceesim.results.report.folder import read_run
from ceesim.results.report.page import render, write_data
from ceesim.results.report.sections import comparison, run_section
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
        "exits", "latency", "cycles", "layers", "energy", "dram", "roofline",
        "table1", "fig4", "fig5", "fig6", "fig7", "fig8", "heads",
    ]  # fmt: skip
    assert not section.notes


def test_figures_add_up_to_the_summary(folder: Path, section: Section) -> None:
    summary = read_run(folder).summary
    assert sum(columns(section, "exits")["inputs"]) == summary["num_inputs"]
    assert sum(columns(section, "fig4")["inputs"]) == summary["num_inputs"]
    cycles = columns(section, "cycles")
    exits = read_run(folder).exits
    assert sum(cycles["runs to the end"][:-1]) == exits["latency_cycles"].iloc[-1]
    assert sum(cycles["average input"][:-1]) == pytest.approx(summary["dynamic"]["latency_cycles"]["mean"], rel=0.02)
    assert sum(columns(section, "energy")["dynamic (µJ)"]) * 1e6 == pytest.approx(
        summary["dynamic"]["energy_pj"]["mean"]
    )
    assert sum(columns(section, "dram")["static (KiB)"]) * 1024 == pytest.approx(
        summary["static"]["dram_bytes"]["mean"]
    )
    assert columns(section, "table1")["reduction"][0] == pytest.approx(summary["reduction"]["macs"])
    right = sum(columns(section, "exits")["right"]) / summary["num_inputs"]
    assert right == pytest.approx(summary["accuracy"]["dynamic"])


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


def test_plotly_knows_every_property_that_is_used(section: Section, folder: Path, sweep_table: Path) -> None:
    import plotly.graph_objects

    runs = [read_run(folder)] * 2
    for figure in figures(section, comparison(runs, ["a", "b"]), sweep_section(sweep_table, "sweep1")):
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
    run = type(run)(run.name, run.summary, run.manifest, layers, run.exits, run.inputs, run.trace, "")
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
    assert "toy.npz was not found" in section.notes[0]
    assert "--trace" in section.notes[0]
    again = run_section(read_run(alone, [folder.parent / "toy.npz"]), "run1")
    assert [part.name for part in again.parts][-1] == "heads"


def test_another_trace_of_the_same_name_is_not_taken(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone)
    run_folder(tmp_path / "other", small_run(policy=type(POLICY)((0.9, 0.9, 0.9))))  # writes another toy.npz here
    assert read_run(alone).trace is None


@pytest.mark.parametrize("lookahead", ["stall", "prefetch", "speculate", "static_npu"])
def test_every_lookahead_can_be_drawn(tmp_path: Path, lookahead: str) -> None:
    run = read_run(run_folder(tmp_path / "run", small_run(control__lookahead=lookahead)))
    assert render([run_section(run, "run1")], "page")


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
    ],
)
def test_damaged_runs_are_refused_in_words(
    folder: Path, tmp_path: Path, name: str, content: str | None, says: str
) -> None:
    damaged = tmp_path / "run"
    shutil.copytree(folder, damaged)
    (damaged / name).unlink()
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


def test_what_is_no_result_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.csv").write_text("a,b\n1,2\n")
    assert cli.exit_code(["report", str(tmp_path / "note.csv")]) == 1
    assert "not a table of a sweep" in capfd.readouterr().err
    assert cli.exit_code(["report", str(tmp_path)]) == 1
    assert "name a folder that `ceesim run --out` wrote" in capfd.readouterr().err
