"""What a page says of energy at other prices is what the console says, as far as the files of a run allow."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ceesim.exits.exclusion import Exclude
from ceesim.hardware.energy.actions import Component
from ceesim.hardware.energy.price import Waiting, saved
from ceesim.results.energy_text import static_rate_text, totals_text
from ceesim.results.page import print_page
from ceesim.results.report.energy_bands import saved_at_static_rate, saved_by_price
from ceesim.results.report.figure import Section
from ceesim.results.report.folder import read_run
from ceesim.results.report.page import render
from ceesim.results.report.sections import run_section
from tests.results.runs import run_folder, small_run

RESULT = small_run(policy=Exclude((0.95, 0.95, 0.95)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("runs") / "run", RESULT)


def energy(section: Section) -> Any:
    return next(part for part in section.parts if part.name == "energy")


def test_the_card_tells_prices_from_inputs(folder: Path) -> None:
    dynamic, static = RESULT.mean_energy()
    expected = saved(dynamic, 0, static, 0)
    found = saved_by_price(read_run(folder))
    assert found is not None
    assert (found.low, found.nominal, found.high) == pytest.approx((expected.low, expected.nominal, expected.high))
    section = run_section(replace(read_run(folder), trace=None), "run1")
    card = next(card for card in section.cards if card.label == "energy")
    assert card.band == f"other prices: −{expected.high:.0%} to −{expected.low:.0%}"
    assert card.interval.startswith("other inputs, 95%: −")
    assert card.band in render([section], "page")


def test_components_have_their_ends(folder: Path) -> None:
    figure = energy(run_section(read_run(folder), "run1"))
    columns = {name: [row[i] for row in figure.table.rows] for i, name in enumerate(figure.table.columns)}
    for which, spent in zip(("dynamic", "static"), RESULT.mean_energy(), strict=True):
        drawn = next(trace for trace in figure.data if trace["name"] == which)
        for i, name in enumerate(columns["energy"]):
            component = next(each for each in Component if each.key.replace("_", " ") == name)
            low, high = float(spent.low[0, component]) / 1e6, float(spent.high[0, component]) / 1e6
            assert columns[f"{which}, low (µJ)"][i] == pytest.approx(low)
            assert columns[f"{which}, high (µJ)"][i] == pytest.approx(high)
            assert drawn["x"][i] + drawn["error_x"]["array"][i] == pytest.approx(high)
            assert drawn["x"][i] - drawn["error_x"]["arrayminus"][i] == pytest.approx(low)


def test_page_and_console_say_the_same(folder: Path) -> None:
    asleep, awake = (RESULT.saved_at_static_rate(waiting) for waiting in Waiting)
    found = saved_at_static_rate(read_run(folder))
    assert found is not None
    for mine, expected in zip(found, (asleep, awake), strict=True):
        assert (mine.low, mine.nominal, mine.high) == pytest.approx((expected.low, expected.nominal, expected.high))
    console = Console(file=StringIO(), width=300)
    print_page(RESULT, console)
    caption = energy(run_section(read_run(folder), "run1")).caption
    for told in (totals_text(*RESULT.mean_energy(), met=False), static_rate_text((asleep, awake))):
        assert told in console.file.getvalue()
        assert told[1:] in caption


def test_what_the_files_do_not_say_is_left_out(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"ceesim": "0.0.1"}))
    caption = energy(run_section(read_run(other), "run1")).caption
    assert "static total" in caption.lower()
    assert "asleep" not in caption  # the prices of idle time are of another version
    (other / "energy.csv").unlink()
    section = run_section(read_run(other), "run1")
    assert "total" not in energy(section).caption
    assert energy(section).table.columns == ("energy", "static (µJ)", "dynamic (µJ)")
    assert all("error_x" not in trace for trace in energy(section).data)
    assert not next(card for card in section.cards if card.label == "energy").band


def test_where_exits_cost_time_no_time_is_saved(tmp_path: Path) -> None:
    late = small_run(policy=Exclude((0.0, 0.0, 0.0)))  # nobody leaves, and all pay
    assert not late.keeps_static_rate
    caption = energy(run_section(read_run(run_folder(tmp_path / "run", late)), "run1")).caption
    assert "Inputs cannot come at the static rate" in caption
