"""The page in a real browser: it draws, complains about nothing, sorts, goes dark, fits a phone, prints, loads nothing.

Chromium is installed by `make test-slow`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ceesim import cli
from tests.results.browser import Tab, browser
from tests.results.runs import run_folder, small_run

pytestmark = pytest.mark.slow

MARKS = ".points path, .point, .trace path, .sankey-link, .heatmaplayer image, .barlayer path, .lines path, .js-line"
PLOTS = "[...document.querySelectorAll('.plot')]"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one with a name that no page should run, and a sweep."""
    folder = tmp_path_factory.mktemp("page")
    first = run_folder(folder / "first", small_run())
    second = run_folder(folder / "second", small_run(name="<img src=x onerror=alert(1)> 'דג' 🐟"), "other.npz")
    hw, trace, sweep = "edge_npu.yaml", str(folder / "toy.npz"), str(folder / "sweep.csv")
    space = ["--set", "array.rows=8,16,32", "--set", "array.cols=8,16", "--set", "buffers.weight=64B,64KiB"]
    assert cli.exit_code(["sweep", "--hw", hw, "--trace", trace, *space, "--workers", "1", "--out", sweep]) == 3
    out = folder / "page.html"
    assert cli.exit_code(["report", str(first), str(second), sweep, "--out", str(out)]) == 0
    return out


def figures(tab: Tab) -> dict[str, int]:
    """How many marks each figure shows."""
    found: dict[str, int] = tab.evaluate(
        f"Object.fromEntries({PLOTS}.map(plot => [plot.dataset.figure, plot.querySelectorAll('{MARKS}').length]))"
    )
    return found


def look(tab: Tab, style: str) -> Any:
    return tab.evaluate(f"getComputedStyle(document.body).{style}")


@pytest.mark.parametrize(("width", "dark"), [(1000, False), (1000, True), (400, False)])
def test_every_figure_is_drawn_without_a_complaint(tab: Tab, page: Path, width: int, dark: bool) -> None:
    tab.problems.clear()
    tab.open(page, width=width, dark=dark)
    drawn = figures(tab)
    assert len(drawn) > 25
    assert [name for name, marks in drawn.items() if not marks] == []
    assert tab.problems == []
    scroll, inner = tab.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner == width
    overflowing = tab.evaluate(f"{PLOTS}.filter(p => p.querySelector('svg').clientWidth > p.clientWidth + 1).length")
    assert overflowing == 0


def test_dark_is_dark_and_the_button_turns_it(tab: Tab, page: Path) -> None:
    tab.open(page, dark=True)
    dark = look(tab, "backgroundColor")
    ink = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    dark_ink = tab.evaluate(ink)
    tab.evaluate("document.getElementById('theme').click()")
    tab.evaluate("new Promise(done => setTimeout(done, 2000))")
    assert look(tab, "backgroundColor") != dark
    assert tab.evaluate(ink) != dark_ink
    assert all(figures(tab).values())


def test_tables_sort_by_number_and_back(tab: Tab, page: Path) -> None:
    tab.open(page)
    cells = "[...document.querySelectorAll('#run1-heads td:nth-child(2)')].map(cell => cell.innerText)"
    click = "document.querySelector('#run1-heads th:nth-child(2) button').click()"
    tab.evaluate(click)
    ascending = [int(text.replace(",", "")) for text in tab.evaluate(cells)]
    tab.evaluate(click)
    descending = [int(text.replace(",", "")) for text in tab.evaluate(cells)]
    assert ascending == sorted(ascending)
    assert descending == ascending[::-1]
    assert ascending[0] != ascending[-1]


def test_hostile_names_are_read_as_written(tab: Tab, page: Path) -> None:
    tab.problems.clear()
    tab.open(page)
    assert "<img src=x onerror=alert(1)> 'דג' 🐟" in tab.evaluate("document.querySelector('#run2').innerText")
    assert tab.evaluate("document.images.length") == 0
    assert tab.problems == []


def test_it_prints_on_white_paper(tab: Tab, page: Path) -> None:
    tab.open(page, dark=True)
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")  # no printer waits: what is not there now is not printed
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"
    assert [name for name, marks in figures(tab).items() if not marks] == []
    flows = "[...document.querySelectorAll('.sankey-link')].map(flow => Number(getComputedStyle(flow).opacity))"
    assert set(tab.evaluate(flows)) == {1}
    right = f"Math.max(...{PLOTS}.flatMap(p => [...p.querySelectorAll('.sankey-node rect')].map("
    right += "node => node.getBoundingClientRect().right - p.getBoundingClientRect().left)))"
    assert 600 < tab.evaluate(right) <= 680
    assert tab.evaluate(f"Math.max(...{PLOTS}.map(p => p.querySelector('svg').clientWidth))") == 680
    assert len(tab.call("Page.printToPDF")["data"]) > 50_000
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
