"""Every shipped hardware loads, says what is known and what is assumed, and agrees with its published numbers."""

import pickle

import pytest
from ruamel.yaml import YAML

from ceesim.hardware.figures import figures
from ceesim.hardware.load import load_hardware, parse_hardware
from ceesim.hardware.model import Hardware
from ceesim.hardware.sheet import sheet
from ceesim.shipped import Shelf

FILES = Shelf.HARDWARE.files()
NAMES = [path.stem for path in FILES]


def test_the_seven_of_the_specification_are_there() -> None:
    wanted = {"edge_npu", "mcu_npu", "gemmini_16", "eyeriss_like", "edge_tpu_like", "tpu_v1", "scalesim_default"}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_under_its_own_name_and_says_what_is_assumed(name: str) -> None:
    hardware = load_hardware(name)
    assert hardware.name == name
    assert "Assumed: " in hardware.description
    assert "Public" in hardware.description


@pytest.mark.parametrize("name", NAMES)
def test_the_canonical_form_loads_to_the_same(name: str) -> None:
    hardware = load_hardware(name)
    assert Hardware.model_validate(hardware.to_yaml_dict()) == hardware
    written = "\n".join(f"{key}: {_flow(value)}" for key, value in hardware.to_yaml_dict().items())
    assert parse_hardware(written) == hardware


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else repr(value)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_value(name: str) -> None:
    first, second = load_hardware(name), load_hardware(name)
    assert {first: "priced"}[second] == "priced"
    assert pickle.loads(pickle.dumps(first)) == first
    with pytest.raises(ValueError, match="frozen"):
        first.clock_hz = 1  # type: ignore[misc]


def test_they_differ() -> None:
    assert len({load_hardware(name) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_file_is_plain_yaml_with_its_sources(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    assert YAML(typ="safe").load(text)["name"]
    assert text.startswith("# ")
    assert "http" in text or "JSSC" in text or "ISCA" in text


def derived(name: str, overrides: tuple[str, ...] = ()) -> dict[str, float | int | None]:
    return {figure.name: figure.value for figure in figures(load_hardware(name, overrides))}


def test_tpu_v1_has_the_ridge_and_peak_its_authors_published() -> None:
    numbers = derived("tpu_v1")
    assert numbers["peak_macs_per_s"] == pytest.approx(92e12 / 2, rel=0.01)  # 92 TOPS
    assert numbers["ridge_macs_per_byte"] == pytest.approx(1350, rel=0.01)


def test_edge_tpu_has_the_tops_and_memory_of_its_data_sheet() -> None:
    assert derived("edge_tpu_like")["peak_macs_per_s"] == pytest.approx(4e12 / 2, rel=0.02)
    assert derived("edge_tpu_like")["on_chip_bytes"] == 8 * 2**20


def test_eyeriss_has_the_pes_buffer_and_link_of_the_chip() -> None:
    hardware = load_hardware("eyeriss_like")
    buffers = hardware.buffers
    assert hardware.array.num_pes == 168
    assert buffers.weight_bytes + buffers.activation_bytes + buffers.psum_bytes == 108 * 1024
    assert hardware.dram.bandwidth_bytes_per_s == 60_000_000 * 8


def test_mcu_npu_has_the_macs_and_flash_rate_of_vela() -> None:
    numbers = derived("mcu_npu")
    assert numbers["num_pes"] == 128
    assert numbers["dram_bytes_per_cycle"] == 8 / 8
    assert numbers["dram_latency_cycles"] == 64


def test_figures_follow_from_the_record() -> None:
    numbers = derived("edge_npu")
    assert numbers == {
        "num_pes": 256,
        "peak_macs_per_s": 256 * 500_000_000,
        "dram_bytes_per_cycle": 12.8,
        "dma_bytes_per_cycle": 12.8,
        "ridge_macs_per_byte": 20.0,
        "dram_latency_cycles": 30,
        "array_weights_bytes": 256,
        "weight_buffer_loads": 256.0,
        "on_chip_bytes": 424 * 1024,
    }
    unlimited = derived("edge_npu", ("dram.bandwidth=unlimited",))
    assert (unlimited["dram_bytes_per_cycle"], unlimited["dma_bytes_per_cycle"]) == (None, None)
    assert unlimited["ridge_macs_per_byte"] == 0
    pins = derived("edge_npu", ("dram.bandwidth=unlimited", "dram.model=banked"))
    assert (pins["dma_bytes_per_cycle"], pins["ridge_macs_per_byte"]) == (12.8, 20)
    slow = derived("edge_npu", ("clock=250 MHz",))
    assert (slow["dram_bytes_per_cycle"], slow["dma_bytes_per_cycle"]) == (25.6, 16)


def test_the_sheet_is_in_the_units_of_a_person() -> None:
    lines = dict(sheet(load_hardware("edge_npu", ("vector.lanes=unlimited",))))
    assert lines["clock"] == "500 MHz"
    assert lines["buffers"] == "weight 128 KiB, activation 256 KiB, psum 32 KiB, head 8 KiB"
    assert lines["vector"] == "lanes unlimited, latency_cycles 4"
    assert lines["dram"].startswith("type lpddr4-3200, bandwidth 6.4 GB/s, latency 60 ns, duplex false, model flat")
