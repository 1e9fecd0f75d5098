"""Measured chips: what the shipped prices say about them, within stated gates; the page prints all errors."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]
SHARES = "eyeriss_power_shares.csv"


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script, REPOSITORY / "scripts" / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[script] = module
    spec.loader.exec_module(module)
    return module


chips = load("validation_energy")


def test_eyeriss_fitted_on_vgg16_predicts_alexnet() -> None:
    fit = chips.fit_eyeriss(chips.eyeriss())
    assert fit.mape("AlexNet") <= 0.12
    assert fit.mape("VGG-16") <= 0.12
    assert 0.5 <= fit.slope_pj / chips.EYERISS_SLOPE_PJ <= 1.5
    assert fit.pj_per_pe_cycle == pytest.approx(chips.EYERISS_PJ, rel=0.25)


def test_the_fit_never_sees_what_it_predicts() -> None:
    layers = chips.eyeriss()
    vgg = [layer for layer in layers if layer.network == "VGG-16"]
    assert chips.fit_eyeriss(vgg).clock_mw == chips.fit_eyeriss(layers).clock_mw


def test_the_chips_own_slope_is_the_published_one() -> None:
    layers = chips.eyeriss()
    assert len(layers) == 18
    slope, idle = chips.np.polyfit(
        [layer.nonzero_gmacs_per_s for layer in layers], [layer.measured_mw for layer in layers], 1
    )
    assert slope == pytest.approx(chips.EYERISS_SLOPE_PJ, abs=0.01)
    assert idle == pytest.approx(215, abs=1)


def test_the_figure_that_was_chosen_is_nearer_to_what_the_gate_does_not_use() -> None:
    hardware = chips.load_hardware("eyeriss_like.yaml")
    published = {row["part"]: (float(row["low_percent"]), float(row["high_percent"])) for row in chips.read(SHARES)}
    found = {}
    for kind in chips.RegisterFile:
        prices = chips.EyerissPrices.of(hardware, kind)
        alexnet = [layer for layer in chips.eyeriss(kind) if layer.network == "AlexNet"]
        pads = [100 * layer.scratch_pads_mw / layer.measured_mw for layer in alexnet]
        units = [100 * layer.arithmetic_mw / layer.measured_mw for layer in alexnet]
        low, high = published["multipliers and adders"]
        assert low * 0.8 <= min(units) <= max(units) <= high
        assert max(pads) < published["scratch pads"][0]  # low under either choice, as the page says
        found[kind] = (max(pads), (prices.register_read + prices.register_write) / 2 / prices.multiply_and_add)
    chosen, other = found[chips.RegisterFile.PUBLISHED], found[chips.RegisterFile.FLIP_FLOPS]
    assert other[0] < chosen[0]
    assert abs(chosen[1] - 1) < abs(other[1] - 1)


def test_tpu_v1_increment_and_proportionality() -> None:
    found = chips.tpu1()
    assert abs(chips.TPU1_INCREMENT_PJ - 0.28) < 0.005
    assert 0.5 <= found.increment_pj / chips.TPU1_INCREMENT_PJ <= 1.5
    assert 0.65 <= found.share_at_10_percent <= 0.95


@pytest.mark.parametrize("layer", list(chips.isca16_layers()), ids=lambda layer: layer.name)
def test_convolutions_live_in_the_register_file_and_fc_layers_in_dram(layer: "chips.Isca16Layer") -> None:
    published = next(row for row in chips.read("eyeriss_isca16_relative.csv") if row["layer"] == layer.name)
    assert layer.macs / 1e9 == pytest.approx(float(published["ALU_1e9"]), rel=0.1, abs=0.01)
    assert layer.rf_accesses / 1e9 == pytest.approx(float(published["RF_1e9"]), rel=0.1, abs=0.01)
    dram = 200 * layer.compulsory_words / 1e9
    assert dram <= float(published["DRAM_1e9"]) * 1.01
    assert (dram > layer.rf_accesses / 1e9) == layer.name.startswith("fc")


def test_our_own_prices_rank_the_levels_as_the_paper_does() -> None:
    costs = chips.relative_costs(chips.load_hardware("eyeriss_like.yaml"))
    assert costs["register file"] < costs["buffer (108 KiB)"] < costs["DRAM"]
    assert 0.3 <= costs["register file"] <= 3
    assert 2 <= costs["buffer (108 KiB)"] <= 12
    assert 70 <= costs["DRAM"] <= 400


def test_the_page_is_current() -> None:
    page = (REPOSITORY / "docs/validation-energy.md").read_text(encoding="utf-8")
    assert page == chips.page(), "run: python scripts/validation_energy.py > docs/validation-energy.md"
