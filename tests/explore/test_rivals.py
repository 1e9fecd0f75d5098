"""Rivals: who is named, against every corner of the prices by enumeration, and where nobody is."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from ceesim import cli
from ceesim.exits.trace import load_trace
from ceesim.explore.experiment import ENERGY_ENDS
from ceesim.explore.frame import read_sweep
from ceesim.explore.pareto import OBJECTIVES, findings
from ceesim.explore.report import sweep_section
from ceesim.explore.rivals import ENERGY, rivals, unsettled
from ceesim.explore.sweep import sweep
from ceesim.hardware.energy.actions import NUM_UNCERTAINTIES, Uncertainty
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import load_hardware
from ceesim.results.report.figure import Sheet
from ceesim.shipped import Shelf, find

BANDS = energy_table(load_hardware("edge_npu.yaml")).bands


def designs(kinds: Any, **columns: list[Any]) -> pandas.DataFrame:
    """A front whose designs spend `kinds` [designs, kinds of price] by the nominal prices."""
    kinds = np.array(kinds, float)
    ends = {
        name: (kinds * BANDS[end])[:, kind] for end, names in enumerate(ENERGY_ENDS) for kind, name in enumerate(names)
    }
    return pandas.DataFrame({"point": range(len(kinds)), ENERGY: kinds.sum(axis=1), **ends, **columns})


def of(front: pandas.DataFrame, rest: Any) -> dict[int, int]:
    """The rivals of designs among themselves."""
    return rivals(front, rest, front, rest)


def test_rivals_and_what_is_settled_against_every_corner_of_the_prices() -> None:
    generator = np.random.default_rng(0)
    designed = designs(generator.integers(1, 40, (12, NUM_UNCERTAINTIES)))
    kinds = (designed[list(ENERGY_ENDS[0])].to_numpy() / BANDS[0]).round()
    rest = generator.integers(0, 3, (12, 2)).astype(float)
    corners = np.array(list(itertools.product(*BANDS.T)))
    found = of(designed, rest)
    assert 0 < len(found) < 12
    everywhere = unsettled(designed, rest)
    assert 0 < everywhere.sum() < 12
    for i in range(12):
        as_good = [j for j in range(12) if j != i and (rest[j] <= rest[i]).all()]
        may = [
            j for j in as_good
            if kinds[j].sum() > kinds[i].sum() and (corners @ (kinds[j] - kinds[i]) <= 0).any()
        ]  # fmt: skip
        assert found.get(i) == min(may, key=lambda j: kinds[j].sum(), default=None)
        beaten = any((corners @ (kinds[i] - kinds[j]) > 0).all() for j in as_good)
        assert everywhere[i] == (not beaten)


def test_what_is_shared_cancels_by_kind_of_price() -> None:
    rest = np.zeros((2, 1))
    dear_dram = [[10, 10, 10, 10, 10], [10, 10, 11, 10, 10]]
    assert of(designs(dear_dram), rest) == {}
    assert of(designs(dear_dram, **{"technology.node_nm": [22, 22]}), rest) == {}
    assert of(designs(dear_dram, **{"technology.node_nm": [22, 45]}), rest) == {0: 1}
    assert of(designs(dear_dram, **{"dram.type": ["lpddr4-3200", "ddr4-2400"]}), rest) == {0: 1}
    dear_clock = [[10, 10, 10, 10, 10], [10, 10, 10, 11, 10]]
    assert of(designs(dear_clock, **{"technology.clock_profile": ["default", "ideal"]}), rest) == {0: 1}
    assert of(designs(dear_clock, **{"dram.bandwidth_bytes_per_s": [1, 2]}), rest) == {}
    far_apart = [[10, 10, 10, 10, 10], [10, 10, 100, 10, 10]]  # the chip is one and the same, and its errors cancel
    assert of(designs(far_apart, **{"dram.type": ["lpddr4-3200", "ddr4-2400"]}), rest) == {}


def test_who_is_worse_in_something_or_spends_the_same_is_no_rival() -> None:
    kinds = [[10, 10, 10, 10, 10], [11, 9, 10, 10, 11]]
    assert of(designs(kinds), np.array([[1.0], [1.0]])) == {0: 1}
    assert of(designs(kinds), np.array([[1.0], [2.0]])) == {}
    assert of(designs([kinds[0], kinds[0]]), np.zeros((2, 1))) == {}
    assert unsettled(designs([kinds[0], kinds[0]]), np.zeros((2, 1))).all()


def test_a_rival_need_not_be_on_the_front() -> None:
    """As fast, as large, and a little dearer by the nominal prices alone: the front does not hold it."""
    table = sweep("edge_npu.yaml", load_trace(find("vgg_w025_c10.npz", Shelf.TRACES)), {"array.rows": [16, 24, 32]})
    twin = table[table["array.rows"] == 24].copy()
    for end in ENERGY_ENDS:
        twin[end[Uncertainty.LOGIC]] *= 1.05
        twin[end[Uncertainty.CLOCK]] *= 0.98
    twin["point"], twin[ENERGY] = 3, (twin[list(ENERGY_ENDS[0])].to_numpy() / BANDS[0]).sum(axis=1)
    found = findings([pandas.concat([table, twin], ignore_index=True)])
    assert 3 not in found.front["point"].tolist()
    assert found.rivals == {1: 3}
    assert found.num_contenders == 1
    parts = [table.iloc[:1], table.iloc[1:], twin.set_axis([3])]
    assert findings(parts).rivals == found.rivals


def test_contenders_need_not_be_rivals() -> None:
    """A little dearer than one that is faster: no rival of it, but at other prices a choice beside it."""
    kinds = [[10, 10, 10, 10, 10], [11, 9, 10, 10, 11], [30, 10, 10, 10, 10]]
    table = designs(kinds, **{"dynamic.latency_s.mean": [1.0, 2.0, 3.0]}).assign(status="ok", reason="")
    table.insert(1, "array.rows", [8, 16, 24])
    table = table[["point", "status", "array.rows", *table.columns.difference(["point", "status", "array.rows"])]]
    found = findings([table])
    assert found.front["point"].tolist() == [0]
    assert found.rivals == {}
    assert found.num_contenders == 1


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parameters = {"array.rows": [24, 26, 32], "array.cols": [8, 30, 32], "buffers.weight": ["32 KiB", "64 KiB"]}
    path = tmp_path_factory.mktemp("sweep") / "sweep.csv"
    sweep("edge_npu.yaml", load_trace(find("vgg_w025_c10.npz", Shelf.TRACES)), parameters).to_csv(path, index=False)
    return path


def test_the_ends_of_a_row_are_the_bands_of_its_parts(table: Path) -> None:
    rows = read_sweep(table)
    low, high = (rows[list(end)].to_numpy() for end in ENERGY_ENDS)
    nominal = rows[ENERGY].to_numpy()
    assert (low / BANDS[0]).sum(axis=1) == pytest.approx(nominal)
    assert (high / BANDS[1]).sum(axis=1) == pytest.approx(nominal)


def test_findings_page_and_report_name_the_same_rivals(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = findings([read_sweep(table)])
    assert found.rivals
    assert set(found.front.columns).isdisjoint(name for end in ENERGY_ENDS for name in end)
    sheet = next(part for part in sweep_section(table, "sweep1").parts if part.name == "front")
    assert isinstance(sheet, Sheet)
    front = sheet.table
    named = dict(zip(found.front["point"], (found.rivals.get(label) for label in found.front.index), strict=True))
    assert {row[0]: row[front.columns.index("rival")] for row in front.rows} == named
    assert found.num_contenders
    kept_off = f"{found.num_contenders} more design"
    assert kept_off in sheet.caption
    from ceesim.cli.sweep_page import print_findings

    print_findings(table, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert {design["point"]: design["rival"] for design in printed["front"]} == named
    assert printed["num_contenders"] == found.num_contenders
    print_findings(table, as_json=False)
    page = capsys.readouterr().out
    assert "(rival: a point as good in all else" in page
    assert kept_off in page


def test_a_table_without_the_ends_names_none(table: Path, tmp_path: Path) -> None:
    rows = read_sweep(table).drop(columns=[name for end in ENERGY_ENDS for name in end])
    found = findings([rows])
    assert found.rivals is None
    assert found.num_contenders is None
    assert found.front.equals(findings([read_sweep(table)]).front)
    assert OBJECTIVES[1] == ENERGY
    rows.to_csv(tmp_path / "old.csv", index=False)
    assert cli.exit_code(["report", str(tmp_path / "old.csv"), "--out", str(tmp_path / "page.html")]) == 0
