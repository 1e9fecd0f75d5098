"""Node, supply and temperature: the published fits, their limits, and what leaves them."""

import csv
from pathlib import Path

import pytest

from ceesim.errors import HardwareError
from ceesim.hardware.energy import arithmetic, technology
from ceesim.hardware.load import load_hardware

DATA = Path(__file__).parent / "data"
NODES = (7, 10, 14, 16, 22, 28, 32, 40, 45, 55, 65)
DEVICES = ("lstp", "lstp_lop", "lop", "hp")


def supplies(node_nm: int, device: str) -> list[int]:
    lowest, highest = technology.voltage_range_mv(node_nm, device)
    return list(range(lowest, highest + 1, 10))


def test_the_fits_are_those_of_the_corrigendum() -> None:
    assert technology._energy(technology._FITS["hp", 32], 0.9) == pytest.approx(0.4571, abs=5e-5)
    assert technology._energy(technology._FITS["hp", 65], 1.3) == pytest.approx(2.604, abs=5e-4)


def scaling_rows() -> list[dict[str, str]]:
    with (DATA / "node_scaling.csv").open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["family"] in {"HP", "LP"}]


@pytest.mark.parametrize("row", scaling_rows(), ids=lambda row: f"{row['family']}{row['node_nm']}-{row['case']}")
def test_energy_over_45_nm_as_published(row: dict[str, str]) -> None:
    family, node, volts = row["family"].lower(), int(row["node_nm"]), float(row["vdd"])
    base_volts = 0.8 if row["case"] == "iso-0.8V" else 0.9
    energy = technology._energy(technology._FITS[family, node], volts)
    base = technology._energy(technology._FITS[family, 45], base_volts)
    assert energy / base == pytest.approx(float(row["energy_vs_45nm"]), rel=2e-3)
    if node in technology._AREA_OF_45NM:
        assert technology.area_factor(node) == pytest.approx(float(row["area_vs_45nm"]), rel=0.02)


@pytest.mark.parametrize(
    ("anchor", "at_45nm", "at_7nm", "exponent"),
    [
        (arithmetic.INT8_MULTIPLY, 0.2, 0.07, 0.564),
        (arithmetic.INT8_ADD, 0.03, 0.007, 0.782),
        (arithmetic.INT32_ADD, 0.1, 0.03, 0.647),
        (arithmetic.FP16_MULTIPLY, 1.1, 0.34, 0.631),
        (arithmetic.FP16_ADD, 0.4, 0.16, 0.492),
        (arithmetic.FP32_MULTIPLY, 3.7, 1.31, 0.558),
        (arithmetic.FP32_ADD, 0.9, 0.38, 0.463),
        (arithmetic.INT32_MULTIPLY, 3.1, 1.48, 0.397),
    ],
)
def test_arithmetic_is_exact_at_both_anchors(
    anchor: arithmetic.Anchor, at_45nm: float, at_7nm: float, exponent: float
) -> None:
    assert anchor.at(45) == at_45nm
    assert anchor.at(7) == pytest.approx(at_7nm, rel=1e-12)
    assert anchor.at(22) == pytest.approx(at_45nm * (22 / 45) ** exponent, rel=2e-3)


def test_other_widths() -> None:
    assert arithmetic.multiply_pj(45, 16, 16) == pytest.approx(0.8)
    assert arithmetic.multiply_pj(45, 32, 32) == 3.1
    assert arithmetic.add_pj(45, 8) == pytest.approx(0.03)
    assert arithmetic.add_pj(45, 32) == pytest.approx(0.1)
    assert arithmetic.toggle_pj(40) == pytest.approx(0.009)


@pytest.mark.parametrize("node_nm", NODES)
def test_wider_arithmetic_never_costs_less(node_nm: int) -> None:
    widths = range(1, 65)
    for prices in (
        [arithmetic.multiply_pj(node_nm, bits, bits) for bits in widths],
        [arithmetic.multiply_pj(node_nm, bits, 32) for bits in widths],
        [arithmetic.add_pj(node_nm, bits) for bits in widths],
        [arithmetic.shift_pj(node_nm, bits) for bits in widths],
    ):
        assert prices == sorted(prices)
        assert prices[0] > 0


def test_published_energies_hold_at_their_own_supply() -> None:
    assert technology.logic_energy_factor(45, "hp", 900) == pytest.approx(1.0, rel=1e-12)
    assert technology.logic_energy_factor(7, "hp", 700) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("node_nm", NODES)
def test_less_voltage_is_less_energy_less_leakage_and_more_delay(node_nm: int, device: str) -> None:
    volts = supplies(node_nm, device)
    logic = [technology.logic_energy_factor(node_nm, device, mv) for mv in volts]
    memory = [technology.sram_energy_factor(node_nm, device, mv) for mv in volts]
    leakage = [technology.leakage_factor(node_nm, device, mv, 300) for mv in volts]
    delay = [technology.delay_factor(node_nm, device, mv) for mv in volts]
    assert logic == sorted(logic)
    assert memory == sorted(memory)
    assert leakage == sorted(leakage)
    assert len(set(leakage)) == len(leakage)
    assert delay == sorted(delay, reverse=True)
    assert min(logic + memory + leakage + delay) > 0


@pytest.mark.parametrize("device", DEVICES)
def test_factors_are_one_at_the_nominal_supply(device: str) -> None:
    nominal = technology.nominal_mv(22, device)
    assert technology.sram_energy_factor(22, device, nominal) == pytest.approx(1)
    assert technology.leakage_factor(22, device, nominal, 320) == pytest.approx(1)
    assert technology.delay_factor(22, device, nominal) == pytest.approx(1)


def test_delay_never_rises_with_the_supply_where_the_published_fit_does() -> None:
    fit = technology._FITS["hp", 32]
    fastest = technology._delay(fit, 0.85)
    assert technology._delay(fit, 0.95) <= fastest
    cubic, square, linear, constant = fit.delay
    assert ((cubic * 0.95 + square) * 0.95 + linear) * 0.95 + constant > fastest


def test_the_memory_rail_stops_falling_before_the_logic_rail() -> None:
    nominal = technology.nominal_mv(45, "hp")
    assert technology.sram_millivolts(45, "hp", 0.5 * nominal) == pytest.approx(0.8 * nominal)
    assert technology.sram_millivolts(45, "hp", 0.9 * nominal) == pytest.approx(0.9 * nominal)


def test_leakage_is_exponential_between_300_and_350_k() -> None:
    assert technology.between_temperatures(1.0, 16.0, 300) == 1.0
    assert technology.between_temperatures(1.0, 16.0, 325) == pytest.approx(4.0)
    assert technology.between_temperatures(1.0, 16.0, 350) == pytest.approx(16.0)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("technology.node=5 nm", "5 nm; expected 7 to 65 nm"),
        ("technology.node=90 nm", "90 nm; expected 7 to 65 nm"),
        ("technology.voltage=0.8 V", "nominal 0.6 V (got 0.8 V; expected 0.5 to 0.72 V)"),
        ("technology.voltage=0.4 V", "expected 0.5 to 0.72 V"),
        ("technology.device=hp", "nominal 0.8 V"),
        ("technology.temperature=400 K", "out of range (got '400 K'; expected 300 to 350 K)"),
        ("technology.temperature=20 K", "expected 300 to 350 K"),
        ("dram.type=lpddr4-320", "did you mean lpddr4-3200?"),
        ("dram.type=hbm9", "expected lpddr4-3200, lpddr4x-3200, lpddr5-6400"),
        ("technology.area_overhead=0.5", "at least 1"),
    ],
)
def test_what_the_tables_do_not_cover_is_refused_with_the_valid_range(override: str, said: str) -> None:
    if override == "technology.device=hp":
        overrides = ["technology.device=hp", "technology.voltage=0.55 V", "technology.node=65 nm", "dram.type=no"]
        said = "no energy figures for this DRAM"
    else:
        overrides = [override]
    with pytest.raises(HardwareError) as refused:
        load_hardware("edge_npu.yaml", overrides)
    assert said in str(refused.value)


def test_an_operating_point_is_held_to_the_same_supplies() -> None:
    with pytest.raises(HardwareError, match=r"operating_points.*0\.5 to 0\.72 V"):
        load_hardware("edge_npu.yaml", ["technology.operating_points=[{clock: 100 MHz, voltage: 0.3 V}]"])
