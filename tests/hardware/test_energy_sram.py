"""SRAM prices: the shipped table, what lies between and beyond its rows, and a live CACTI in its place."""

import csv
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceesim.errors import HardwareError
from ceesim.hardware.energy import cacti
from ceesim.hardware.energy.memories import Memory, memories
from ceesim.hardware.energy.sram import How, Sram, sram
from ceesim.hardware.energy.table import Line, energy_table
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Device

DATA = files("ceesim.hardware.energy").joinpath("data")
LEFT_OUT = Path(__file__).parent / "data" / "sram_left_out.csv"
NODES = (22, 32, 45, 65)
SIZES = tuple(2**octave for octave in range(10, 22))
WIDTHS = (32, 64, 128, 256)
PRICES = ("read_pj", "write_pj", "leakage_mw_300k", "leakage_mw_350k", "area_mm2", "access_ns")

nodes = st.sampled_from((7, 16, 22, 28, 32, 40, 45, 60, 65))
devices = st.sampled_from(Device)
sizes = st.integers(256, 2**24)
widths = st.integers(32, 256)


@pytest.fixture(autouse=True)
def _no_cacti(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table alone, unless a test installs a CACTI; prices are cached, so the cache is emptied around each test."""
    monkeypatch.delenv(cacti.EXECUTABLE, raising=False)
    sram.cache_clear()
    yield
    sram.cache_clear()


def table() -> list[dict[str, str]]:
    return list(csv.DictReader(DATA.joinpath("sram.csv").read_text(encoding="utf-8").splitlines()))


def left_out() -> list[dict[str, str]]:
    with LEFT_OUT.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def priced(row: dict[str, str]) -> Sram:
    return sram(int(row["size_bytes"]), int(row["width_bits"]), int(row["node_nm"]), Device(row["device"]))


def test_the_table_is_whole_and_is_the_one_that_was_generated() -> None:
    manifest = json.loads(DATA.joinpath("sram.manifest.json").read_text(encoding="utf-8"))
    rows = table()
    keys = [(int(r["node_nm"]), r["device"], int(r["size_bytes"]), int(r["width_bits"])) for r in rows]
    assert keys == list(itertools.product(NODES, [device.value for device in Device], SIZES, WIDTHS))
    assert len(rows) == manifest["rows"]
    assert hashlib.sha256(DATA.joinpath("sram.csv").read_bytes()).hexdigest() == manifest["table_sha256"]
    assert cacti.configuration_sha256() == manifest["configuration_sha256"]


def test_a_row_of_the_table_is_cactis_digit_unless_a_larger_array_is_cheaper() -> None:
    rows, cheaper = table(), 0
    for row in rows:
        price = priced(row)
        assert price.how is How.TABLE
        for name in PRICES:
            digits = float(row[name])
            assert digits * 0.8 <= getattr(price, name) <= digits
        cheaper += any(getattr(price, name) < float(row[name]) for name in PRICES[:5])
    assert cheaper <= 0.05 * len(rows)


@given(nodes, devices, sizes, sizes, widths, widths)
def test_prices_never_fall_with_size_nor_energy_with_width(
    node: int, device: Device, size: int, other_size: int, width: int, other_width: int
) -> None:
    small, large = (pick(size, other_size) for pick in (min, max))
    narrow, wide = (pick(width, other_width) for pick in (min, max))
    for name in PRICES:
        least, same_width = (getattr(sram(size, narrow, node, device), name) for size in (small, large))
        assert 0 < least <= same_width * (1 + 1e-12)
        if name in {"read_pj", "write_pj"}:
            assert same_width <= getattr(sram(large, wide, node, device), name) * (1 + 1e-12)


@given(st.integers(SIZES[0], SIZES[-1]), widths, devices)
def test_dynamic_energy_and_area_never_rise_with_a_smaller_node(size: int, width: int, device: Device) -> None:
    prices = [sram(size, width, node, device) for node in (7, 16, 22, 28, 32, 45, 65)]
    for name in ("read_pj", "area_mm2"):
        values = [getattr(price, name) for price in prices]
        assert values == sorted(values)


@pytest.mark.parametrize("native", [True, False], ids=["sizes and widths", "nodes"])
@pytest.mark.parametrize("name", PRICES)
def test_between_its_rows_the_table_is_near_cacti(name: str, native: bool) -> None:
    errors = {}
    for row in left_out():
        if (int(row["node_nm"]) in NODES) is native:
            price = priced(row)
            assert price.how is How.INTERPOLATED
            key = (row["node_nm"], row["device"], row["size_bytes"], row["width_bits"])
            errors[key] = getattr(price, name) / float(row[name]) - 1
    assert len(errors) >= 40
    worst = max(errors, key=lambda key: abs(errors[key]))
    # leakage jumps with the organisation that CACTI picks (its band is a decade), and so does energy between nodes
    most = 1.0 if name.startswith("leakage") else 0.3 if native else 0.5
    assert abs(errors[worst]) <= most, (worst, errors[worst])
    assert sum(map(abs, errors.values())) / len(errors) <= 0.15


@pytest.mark.parametrize(("size_bytes", "horowitz_pj"), [(8 * 1024, 10), (32 * 1024, 20), (1024 * 1024, 100)])
def test_at_45_nm_a_64_bit_access_is_near_horowitz(size_bytes: int, horowitz_pj: float) -> None:
    assert 0.6 <= sram(size_bytes, 64, 45, Device.LSTP).read_pj / horowitz_pj <= 0.95


def test_devices_differ_by_decades_in_leakage_and_by_little_in_energy() -> None:
    prices = [sram(64 * 1024, 64, 45, device) for device in Device]
    leakage = [price.leakage_mw_300k for price in prices]
    energy = [price.read_pj for price in prices]
    assert max(leakage) / min(leakage) > 1e4
    assert max(energy) / min(energy) < 2.5


@pytest.mark.parametrize(
    ("size_bytes", "width_bits", "node_nm", "how"),
    [
        (64 * 1024, 64, 22, How.TABLE),
        (100 * 1024, 64, 22, How.INTERPOLATED),
        (64 * 1024, 96, 22, How.INTERPOLATED),
        (64 * 1024, 64, 28, How.INTERPOLATED),
        (512, 64, 22, How.POWER_LAW),
        (4 * 1024 * 1024, 64, 28, How.POWER_LAW),
        (64 * 1024, 64, 16, How.POWER_LAW),
    ],
)
def test_a_price_says_where_it_is_from(size_bytes: int, width_bits: int, node_nm: int, how: How) -> None:
    assert sram(size_bytes, width_bits, node_nm, Device.LSTP).how is how


ANSWER = "Tech node (nm), Dynamic read energy (nJ), Dynamic write energy (nJ), Standby leakage per bank(mW), "
ANSWER += "Area (mm2), Access time (ns), Random cycle time (ns)"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that answers like CACTI: always the same array, which leaks more where it is hot."""
    program = tmp_path / "cacti"
    program.write_text(
        f"""#!/bin/sh
test "$1" = -infile || exit 2
leakage=0.5
grep -q 'temperature.* 350' "$2" && leakage=0.75
printf '{ANSWER}\\n45, 0.0125, 0.0025, %s, 0.25, 1.5, 1.25\\n' "$leakage" > "$2.out"
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv(cacti.EXECUTABLE, str(program))
    return program


@pytest.mark.usefixtures("stand_in")
def test_a_live_cacti_is_asked_between_the_rows_and_not_on_them() -> None:
    between = sram(100 * 1024, 64, 22, Device.LSTP)
    assert (between.how, between.read_pj, between.write_pj, between.area_mm2) == (How.CACTI, 12.5, 2.5, 0.25)
    assert (between.leakage_mw_300k, between.leakage_mw_350k) == (0.5, 0.75)
    assert sram(100 * 1024, 64, 28, Device.LSTP).how is How.CACTI
    assert sram(64 * 1024, 64, 22, Device.LSTP).how is How.TABLE


@pytest.fixture
def price_lists() -> Iterator[Callable[[str], tuple[Line, ...]]]:
    """Price lists resolved anew each time."""

    def anew(name: str) -> tuple[Line, ...]:
        sram.cache_clear()
        energy_table.cache_clear()
        return energy_table(load_hardware(name)).lines

    yield anew
    energy_table.cache_clear()


def test_buffers_on_the_grid_cost_the_same_with_and_without_a_cacti(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, price_lists: Callable[[str], tuple[Line, ...]]
) -> None:
    """`stand_in` answers every question with the same array, so that asking it at all would show."""
    assert all(_bank(memory).how is How.TABLE for memory in memories(load_hardware("edge_npu.yaml")).values())
    installed = price_lists("edge_npu.yaml")
    assert not energy_table(load_hardware("edge_npu.yaml")).warnings
    between = price_lists("eyeriss_like.yaml")
    assert any(f"priced by the CACTI that {cacti.EXECUTABLE} names" in warning for warning in _warnings())
    monkeypatch.delenv(cacti.EXECUTABLE)
    assert price_lists("edge_npu.yaml") == installed
    assert price_lists("eyeriss_like.yaml") != between  # its buffers are not on the grid


def _warnings() -> tuple[str, ...]:
    return energy_table(load_hardware("eyeriss_like.yaml")).warnings


def _bank(memory: Memory) -> Sram:
    return sram(memory.bank_bytes, memory.word_bits, 22, Device.LSTP_LOP)


def test_a_cacti_that_is_missing_fails_or_says_nothing_is_one_clear_error(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.write_text("#!/bin/sh\necho no valid organisation >&2\nexit 1\n", encoding="utf-8")
    with pytest.raises(
        HardwareError, match=r"knows no array of 102400 B x 64 bit at 22 nm lstp.*no valid organisation"
    ):
        sram(100 * 1024, 64, 22, Device.LSTP)
    stand_in.chmod(0o644)
    with pytest.raises(HardwareError, match="did not answer"):
        sram(100 * 1024, 64, 22, Device.LSTP)
    monkeypatch.setenv(cacti.EXECUTABLE, str(tmp_path / "nowhere"))
    with pytest.raises(HardwareError, match=r"CEESIM_CACTI: no such file"):
        sram(100 * 1024, 64, 22, Device.LSTP)


INSTALLED = next(
    iter(Path(__file__).parents[2].glob(".venv-cacti/lib/*/site-packages/zigzag/cacti/cacti_master/cacti")), None
)


@pytest.mark.slow
@pytest.mark.skipif(INSTALLED is None, reason="no CACTI (make test-slow installs one)")
@pytest.mark.parametrize("row", table()[::53], ids=lambda row: "-".join(list(row.values())[:4]))
def test_an_installed_cacti_gives_the_digits_of_the_table(row: dict[str, str]) -> None:
    assert INSTALLED is not None
    array = int(row["size_bytes"]), int(row["width_bits"]), int(row["node_nm"]), Device(row["device"])
    cold, hot = (cacti.ask(INSTALLED.resolve(), *array, temperature) for temperature in (300, 350))
    assert (cold.read_pj, cold.write_pj) == (Decimal(row["read_pj"]), Decimal(row["write_pj"]))
    assert (cold.leakage_mw, hot.leakage_mw) == (Decimal(row["leakage_mw_300k"]), Decimal(row["leakage_mw_350k"]))
    assert (cold.area_mm2, cold.access_ns) == (Decimal(row["area_mm2"]), Decimal(row["access_ns"]))


@pytest.mark.slow
@pytest.mark.skipif(INSTALLED is None, reason="no CACTI (make test-slow installs one)")
@pytest.mark.parametrize("row", left_out()[::29], ids=lambda row: "-".join(list(row.values())[:4]))
def test_the_arrays_that_test_the_interpolation_are_those_of_an_installed_cacti(row: dict[str, str]) -> None:
    assert INSTALLED is not None
    array = int(row["size_bytes"]), int(row["width_bits"]), int(row["node_nm"]), Device(row["device"])
    live = cacti.ask(INSTALLED.resolve(), *array)
    for name in ("read_pj", "write_pj", "area_mm2", "access_ns"):
        assert getattr(live, name) == Decimal(row[name])


LIVE = [
    (int(2 ** (10 + 11 * draw.random())) // 64 * 64, draw.choice(range(32, 257, 16)), draw.choice(NODES), device)
    for draw, device in zip([Random(seed) for seed in range(16)], itertools.cycle(Device), strict=False)
]
"""Arrays of any size and width, drawn once and never used to make the table."""


@pytest.mark.slow
@pytest.mark.skipif(INSTALLED is None, reason="no CACTI (make test-slow installs one)")
@pytest.mark.parametrize("array", LIVE, ids=str)
def test_an_installed_cacti_is_within_a_third_of_the_interpolation(array: tuple[int, int, int, Device]) -> None:
    assert INSTALLED is not None
    price, live = sram(*array), cacti.ask(INSTALLED.resolve(), *array)
    assert price.how is How.INTERPOLATED
    for name in ("read_pj", "write_pj", "area_mm2", "access_ns"):
        assert getattr(price, name) == pytest.approx(float(getattr(live, name)), rel=0.3)
