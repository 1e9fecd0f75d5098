"""Does it run: every shipped hardware with every shipped trace, and both executors agree to the cycle on each pair."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ceesim.errors import HardwareError, MappingError
from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.hardware.dram_timing import TIMINGS
from ceesim.hardware.load import load_hardware, override
from ceesim.program.command import Amount
from ceesim.program.executor import execute
from ceesim.results.dram import dram_use
from ceesim.results.summary import summary
from ceesim.results.tables import layers
from ceesim.results.verdict import verdict
from ceesim.sim.costs import price_by_events
from ceesim.sim.machine import simulate
from ceesim.sim.run import Engine, price_network, replay

ROOT = Path(__file__).parent.parent.parent
HARDWARE = sorted(path.name for path in (ROOT / "hw_configs").glob("*.yaml"))
TRACES = sorted(path.name for path in (ROOT / "traces").glob("*.npz") if not path.stem.endswith("_val"))


@cache
def trace(name: str) -> ExitTrace:
    return load_trace(ROOT / "traces" / name)


@pytest.mark.parametrize("trace_name", TRACES)
@pytest.mark.parametrize("hardware_name", HARDWARE)
def test_pair(hardware_name: str, trace_name: str) -> None:
    hardware = load_hardware(ROOT / "hw_configs" / hardware_name)
    try:
        result = replay(hardware, trace(trace_name), None, Engine.COMPILED)
    except MappingError as error:  # a network may be too large for a microcontroller, but says so with numbers
        assert "fits the buffers under no tiling" in str(error)  # noqa: PT017
        assert hardware_name == "mcu_npu.yaml"
        return
    numbers = summary(result, intervals=False)
    for measured in (numbers["dynamic"], numbers["static"]):
        for name in ("macs", "latency_cycles", "energy_pj", "dram_bytes"):
            assert math.isfinite(measured[name]["mean"])
            assert measured[name]["mean"] > 0
    static = result.static.costs
    rows = layers(result.static, hardware, result.density)
    assert sum(row["cycles"] for row in rows) == static.latency_cycles[-1]
    assert sum(row["macs"] for row in rows) == result.static.path_macs[-1]
    assert verdict(result).sentence(hardware.name).endswith(".")
    timeline = execute(result.dynamic.program)
    by_events = simulate(result.dynamic.program, result.dynamic.program.num_exits + 1).timeline
    assert np.array_equal(timeline.start_cycles, by_events.start_cycles)
    assert np.array_equal(timeline.finish_cycles, by_events.finish_cycles)


def assert_batches(hardware_name: str, sizes: tuple[int, ...], most_commands: int) -> None:
    """The weights of a batch come at most once per input; the batch does all the work of its members."""
    hardware, inputs = load_hardware(ROOT / "hw_configs" / hardware_name), trace("vgg_c10.npz")
    workload, cost = inputs.workload, inputs.policy.cost(inputs.workload.num_classes)
    kept = range(1, workload.num_exits + 1)
    one = price_network(workload, kept, hardware, cost).costs
    own_macs = np.diff(one.executed_macs - one.wasted_macs, prepend=0)
    weights = [Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]
    for size in sizes:
        shrinking = [max(1, size - 2 * i) for i in range(len(kept) + 1)]
        for batch, compacted in (([size] * (len(kept) + 1), False), (shrinking, True)):
            priced = price_network(workload, kept, hardware, cost, batch=batch, compacted=compacted)
            costs = priced.costs
            assert np.array_equal(np.diff(costs.executed_macs - costs.wasted_macs, prepend=0), batch * own_macs)
            assert costs.amounts[-1, weights].sum() <= size * one.amounts[-1, weights].sum()
            assert costs.latency_cycles[-1] > one.latency_cycles[-1]
            if priced.program.num_commands < most_commands:
                timeline = simulate(priced.program, workload.num_exits + 1).timeline
                assert np.array_equal(costs.timeline.start_cycles, timeline.start_cycles)
                assert np.array_equal(costs.timeline.finish_cycles, timeline.finish_cycles)


@pytest.mark.parametrize("hardware_name", HARDWARE)
def test_a_batch(hardware_name: str) -> None:
    assert_batches(hardware_name, (4,), 2_000)


@pytest.mark.slow
@pytest.mark.parametrize("hardware_name", HARDWARE)
def test_batches(hardware_name: str) -> None:
    assert_batches(hardware_name, (2, 8, 16), 500_000)


@pytest.mark.slow
@pytest.mark.parametrize("trace_name", TRACES)
@pytest.mark.parametrize("hardware_name", HARDWARE)
def test_every_exit_costs_the_same_by_events(hardware_name: str, trace_name: str) -> None:
    hardware = load_hardware(ROOT / "hw_configs" / hardware_name)
    try:
        result = replay(hardware, trace(trace_name), None, Engine.COMPILED)
    except MappingError:
        pytest.skip("does not fit, which test_pair holds")
    costs, by_events = result.dynamic.costs, price_by_events(result.dynamic.program)
    for name in ("latency_cycles", "occupancy_cycles", "busy_cycles", "amounts", "wasted", "heads", "layer_macs"):
        assert np.array_equal(getattr(costs, name), getattr(by_events, name)), name


@pytest.mark.parametrize("trace_name", TRACES)
@pytest.mark.parametrize("hardware_name", HARDWARE)
def test_pair_by_banks(hardware_name: str, trace_name: str) -> None:
    """Every shipped hardware whose DRAM has a timing table runs every trace by banks, and never faster than flat."""
    flat = load_hardware(ROOT / "hw_configs" / hardware_name)
    if flat.dram.type not in TIMINGS:
        with pytest.raises(HardwareError, match="no timing table"):
            override(flat, {"dram.model": "banked"})
        return
    banked = override(flat, {"dram.model": "banked"})
    slow, fast = (replay(hardware, trace(trace_name)) for hardware in (banked, flat))
    assert (slow.dynamic.costs.latency_cycles >= fast.dynamic.costs.latency_cycles).all()
    use = dram_use(slow.static, banked)
    assert 0.9 < use.row_hit_rate < 1
    assert use.bytes_per_s <= use.peak_bytes_per_s * 1.001  # a clock of 833 ps is a little faster than 2400 MT/s
    rows = layers(slow.static, banked, slow.density)
    assert sum(row["cycles"] for row in rows) == slow.static.costs.latency_cycles[-1]
    program = slow.dynamic.program
    by_events, timeline = simulate(program, program.num_exits + 1).timeline, execute(program)
    assert np.array_equal(timeline.start_cycles, by_events.start_cycles)
    assert np.array_equal(timeline.finish_cycles, by_events.finish_cycles)
