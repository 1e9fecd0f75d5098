"""No key of a hardware file is idle: for each there is a hardware on which changing it changes what a run says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.hardware import keys
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.results.summary import summary
from ceesim.results.tables import operating_points
from ceesim.shipped import Shelf, find
from ceesim.sim.run import replay

ONLY_TOLD = {"description"}
"""Keys for people."""
SPELT_OUT = ("array.profile=null", "array.timing={}")
OS_SPELT_OUT = (*SPELT_OUT, "array.dataflow=os")
POINT = "technology.operating_points=[{{clock: {clock}, voltage: {voltage}}}]"

CHANGES: dict[str, tuple[tuple[str, ...], str]] = {
    "name": ((), "other"),
    "clock": ((), "250 MHz"),
    "technology.node": ((), "45 nm"),
    "technology.device": ((), "hp"),
    "technology.voltage": ((), "0.64 V"),
    "technology.temperature": ((), "340 K"),
    "technology.clock_profile": ((), "ideal"),
    "technology.area_overhead": ((), "1.5"),
    "precision.weight_bits": ((), "16"),
    "precision.activation_bits": ((), "16"),
    "precision.psum_bits": ((), "24"),
    "array.rows": ((), "8"),
    "array.cols": ((), "8"),
    "array.dataflow": ((), "os"),
    "array.profile": ((), "tpu"),
    "array.timing.row_pitch": (SPELT_OUT, "2"),
    "array.timing.col_pitch": (SPELT_OUT, "2"),
    "array.timing.pe_latency": (SPELT_OUT, "3"),
    "array.timing.edge_registers": (SPELT_OUT, "2"),
    "array.timing.input_registers": ((*SPELT_OUT, "array.timing.edge_registers=2"), "2"),
    "array.timing.load_cycles": (SPELT_OUT, "32"),
    "array.timing.weight_buffers": (SPELT_OUT, "1"),
    "array.timing.reload_cycles": (SPELT_OUT, "64"),
    "array.timing.load_skew_rows": (SPELT_OUT, "0"),
    "array.timing.load_skew_cols": (SPELT_OUT, "0"),
    "array.timing.drain": (OS_SPELT_OUT, "cols"),
    "array.timing.shadow_registers": (OS_SPELT_OUT, "false"),
    "array.timing.overhead_cycles": (SPELT_OUT, "50"),
    "array.timing.edge_tiles": (SPELT_OUT, "used"),
    "vector.lanes": ((), "4"),
    "vector.latency_cycles": ((), "40"),
    "exit_unit.placement": ((), "vector"),
    "exit_unit.lanes": ((), "1"),
    "exit_unit.latency_cycles": ((), "80"),
    "exit_unit.exp_cycles": ((), "40"),
    "exit_unit.pooling": ((), "separate"),
    "buffers.weight": ((), "32 KiB"),
    "buffers.activation": ((), "64 KiB"),
    "buffers.psum": ((), "8 KiB"),
    "buffers.head": ((), "1 KiB"),
    "residency": ((), "prefix"),
    "dma.queues": ((), "split"),
    "dma.beat": ((), "8 B"),
    "dma.request": ((), "32 B"),
    "dma.setup_cycles": ((), "100"),
    "dma.max_outstanding": ((), "1"),
    "dma.turnaround_cycles": ((), "30"),
    "dram.type": ((), "ddr4-2400"),
    "dram.bandwidth": ((), "1.6 GB/s"),
    "dram.latency": ((), "300 ns"),
    "dram.duplex": (("dma.queues=split",), "true"),
    "dram.model": ((), "banked"),
    "dram.address_mapping": (("dram.model=banked",), "bank_row_column"),
    "control.lookahead": ((), "stall"),
    "control.decision_cycles": ((), "200"),
    "control.layer_cycles": ((), "500"),
    "mapping.objective": ((), "energy"),
}
"""Key → the settings under which it counts, and another value."""


def values(record: type[Any] = Hardware) -> Iterator[str]:
    for path, section in keys.sections(record):
        for key, field in keys.keys(section).items():
            if keys.section(field) is None:
                yield ".".join((*path, key))


@pytest.fixture(scope="module")
def inputs() -> ExitTrace:
    """Decisions by confidence, so that exponentials count."""
    return load_trace(find("vgg_w025_c10.npz", Shelf.TRACES)).under({"name": "confidence", "threshold": 0.7})


@pytest.fixture(scope="module")
def said(inputs: ExitTrace) -> Any:
    known: dict[tuple[str, ...], Any] = {}

    def say(*settings: str) -> Any:
        if settings not in known:
            result = replay(load_hardware("edge_npu.yaml", settings), inputs)
            known[settings] = summary(result), operating_points(result)
        return known[settings]

    return say


def test_every_key_is_tried() -> None:
    tried = {*CHANGES, *ONLY_TOLD, "technology.operating_points.clock", "technology.operating_points.voltage"}
    assert tried == set(values())


@pytest.mark.parametrize("key", CHANGES)
def test_a_key_changes_what_a_run_says(said: Any, key: str) -> None:
    settings, value = CHANGES[key]
    assert said(*settings) != said(*settings, f"{key}={value}")


def test_an_operating_point_changes_what_a_run_says(said: Any) -> None:
    points = [
        POINT.format(clock=clock, voltage=voltage)
        for clock, voltage in (("300 MHz", "0.5 V"), ("200 MHz", "0.5 V"), ("300 MHz", "0.56 V"))
    ]
    told = [said(), *(said(point) for point in points)]
    assert all(one != other for i, one in enumerate(told) for other in told[:i])
