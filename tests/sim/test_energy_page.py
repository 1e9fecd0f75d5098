"""docs/energy.md: the tables say what runs say, and a band is what every corner of the uncertainties says."""

import importlib.util
import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import ceesim
from ceesim.hardware.energy.price import Waiting
from ceesim.shipped import Shelf, find
from ceesim.sim.energy import exit_energy

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "energy.md").read_text(encoding="utf-8")
SMALLEST = "vgg_w025_c10"


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script, REPOSITORY / "scripts" / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[script] = module
    spec.loader.exec_module(module)
    return module


reductions = load("table_hardware")
points = load("table_operating_points")


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(name, marks=[] if name == SMALLEST else pytest.mark.slow)
        for name in re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
    ],
)
def test_the_tables_of_reductions_are_current(trace: str) -> None:
    assert reductions.table(reductions.rows(f"{trace}.npz")) in PAGE


def test_the_table_of_operating_points_is_current() -> None:
    assert points.table("edge_npu.yaml", "vgg_c10.npz") in PAGE


@pytest.mark.filterwarnings("ignore::ceesim.sim.run.PrecisionWarning")
@pytest.mark.parametrize("waiting", Waiting)
@pytest.mark.parametrize("hardware", ["edge_npu.yaml", "tpu_v1.yaml"])
def test_a_band_holds_the_reductions_of_all_corners_and_no_more(hardware: str, waiting: Waiting) -> None:
    result = ceesim.run(hardware, find(f"{SMALLEST}.npz", Shelf.TRACES), engine="compiled")
    period = result.static.costs.occupancy_cycles[-1]
    spent = []
    for priced, counts in ((result.dynamic, result.exit_counts), (result.static, np.array([1]))):
        idle = period - priced.costs.occupancy_cycles
        each = exit_energy(
            priced.program, priced.costs, result.hardware, result.density, waiting_cycles=idle, waiting=waiting
        )
        bands = each.bands
        spent.append(counts / counts.sum() @ each.pj.sum(axis=1))
    dynamic, static = spent
    corners = [1 - factors @ dynamic / (factors @ static) for factors in map(np.array, itertools.product(*bands.T))]
    band = result.saved_at_static_rate(waiting)
    assert (band.low, band.high) == pytest.approx((min(corners), max(corners)), rel=1e-9)
    assert band.nominal == pytest.approx(1 - dynamic.sum() / static.sum(), rel=1e-9)
    before, after = result.energy_at_static_rate(waiting)
    assert band.nominal == pytest.approx(1 - before / after, rel=1e-9)
