"""`--set` edits the file before it is checked, and its complaints name the option."""

import re

import pytest

from ceesim.errors import HardwareError
from ceesim.hardware.array import Profile
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import load_hardware, override


@pytest.mark.parametrize(
    ("overrides", "attribute", "value"),
    [
        (["array.rows=32"], "array.rows", 32),
        (["array.rows=32", "array.rows=8"], "array.rows", 8),
        (["clock=1 GHz"], "clock_hz", 10**9),
        (["clock=250000000"], "clock_hz", 250_000_000),
        (["buffers.weight=1 MiB"], "buffers.weight_bytes", 2**20),
        (["dram.bandwidth=unlimited"], "dram.bandwidth_bytes_per_s", None),
        (["vector.lanes=unlimited"], "vector.lanes", None),
        (["dram.latency=0"], "dram.latency_ps", 0),
        (["dma.queues=split", "dram.duplex=true"], "dram.duplex", True),
        (["array={rows: 8, cols: 8, dataflow: os, profile: textbook}"], "array.num_pes", 64),
        (["array.profile=null", "array.timing.pe_latency=4"], "array.timing.pe_latency", 4),
        (["residency=none"], "residency", "none"),
        (["array.dataflow=is"], "array.dataflow", "is"),
    ],
)
def test_an_override_takes_effect(overrides: list[str], attribute: str, value: object) -> None:
    found: object = load_hardware("edge_npu.yaml", overrides)
    for name in attribute.split("."):
        found = getattr(found, name)
    assert found == value


def test_a_mapping_says_the_same_as_the_command_line() -> None:
    typed = load_hardware("edge_npu.yaml", {"array.rows": 32, "buffers.weight": "1 MiB"})
    assert typed == load_hardware("edge_npu.yaml", ["array.rows=32", "buffers.weight=1 MiB"])


def test_a_hardware_can_be_changed_and_is_checked_again() -> None:
    hardware = load_hardware("edge_npu.yaml")
    wider = override(hardware, {"array.cols": 32})
    assert (wider.array.cols, hardware.array.cols) == (32, 16)
    assert override(wider, {"array.cols": 16}) == hardware
    with pytest.raises(HardwareError, match=r"--set array\.cols=0: array\.cols: too small"):
        override(hardware, {"array.cols": 0})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["array.rows"], "--set array.rows: not a setting"),
        (["=3"], "not a setting"),
        (["array.rowz=3"], "--set array.rowz=3: array.rowz: unknown key"),
        (["aray.rows=3"], "did you mean array?"),
        (["clock.x=3"], "clock is a value, not a section"),
        (["array.rows=0"], "--set array.rows=0: array.rows: too small (got 0; expected at least 1)"),
        (["array.rows={"], "--set array.rows={: not YAML"),
        (["array.rows=&a 3"], "anchors and aliases are not used here"),
        (["array.rows=null"], "array.rows: the key is missing"),
        (["array="], "array: the key is missing"),
        (["dram={type: a}"], "--set dram={type: a}: dram.bandwidth: the key is missing"),
        (["array.rows=4096", "array.cols=4096"], "buffers.weight: the buffer cannot hold one tile"),
        (["array.timing={}"], "profile and timing exclude each other"),
    ],
)
def test_a_bad_override_is_refused_by_name(overrides: list[str], said: str) -> None:
    with pytest.raises(HardwareError) as caught:
        load_hardware("edge_npu.yaml", overrides)
    assert said in str(caught.value)


def test_an_override_mends_a_broken_key() -> None:
    assert (
        load_hardware("gemmini_16.yaml", {"array.profile": "textbook", "array.rows": 8}).array.profile
        is Profile.TEXTBOOK
    )


@pytest.mark.parametrize(
    ("override_", "fix"),
    [
        ("array.dataflow=OS", "did you mean os?"),
        ("dram.type=lpddr4", "did you mean lpddr4-3200?"),
        ("dram.type=DDR3", "did you mean ddr3-1600?"),
        ("technology.operating_points={clock: 250 MHz}", "operating_points: [{clock: 250 MHz, voltage: 0.5 V}]"),
    ],
)
def test_the_fix_is_what_was_meant(override_: str, fix: str) -> None:
    with pytest.raises(HardwareError, match=re.escape(fix)):
        load_hardware("edge_npu.yaml", [override_])


@pytest.mark.parametrize(
    ("name", "override_", "said"),
    [
        ("edge_npu.yaml", "dram.bandwidth=100 TB/s", "side by side pay for 100 TB/s, and a channel has 4 at most"),
        (
            "edge_npu.yaml",
            "clock=500",
            "a clock of 500 Hz is slower than any chip's (numbers without a unit are hertz)",
        ),
        ("edge_npu.yaml", "dram.bandwidth=12.8 GB/s", "beats of 16 B at 500 MHz move 8 GB/s"),
        ("eyeriss_like.yaml", "precision.weight_bits=8", "was measured with operands of 16 bits"),
    ],
)
def test_what_is_paid_for_in_vain_is_said(name: str, override_: str, said: str) -> None:
    assert not any(said in text for text in energy_table(load_hardware(name)).warnings)
    assert any(said in text for text in energy_table(load_hardware(name, [override_])).warnings)
