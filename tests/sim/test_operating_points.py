"""Operating points: each is the chip it says, time and joules are its own, and the choice keeps the deadline."""

from dataclasses import replace

import pytest

import ceesim
from ceesim.hardware.energy.operating_points import at_operating_point
from ceesim.hardware.load import load_hardware
from ceesim.shipped import Shelf, find
from ceesim.sim.operating_points import PointCost, cheapest_within, cost_of_points
from ceesim.sim.run import replay

POINTS = "technology.operating_points=[{clock: 300 MHz, voltage: 0.5 V}, {clock: 600 MHz, voltage: 0.7 V}]"


@pytest.fixture(scope="module")
def costs() -> tuple[PointCost, ...]:
    inputs = ceesim.load_trace(find("vgg_w025_c10.npz", Shelf.TRACES))
    return cost_of_points(load_hardware("edge_npu.yaml", [POINTS]), inputs)


def test_each_point_costs_what_a_run_there_costs(costs: tuple[PointCost, ...]) -> None:
    hardware = load_hardware("edge_npu.yaml", [POINTS])
    inputs = ceesim.load_trace(find("vgg_w025_c10.npz", Shelf.TRACES))
    assert [(cost.point.clock_hz, cost.point.voltage_mv) for cost in costs] == [
        (500_000_000, 600),
        (300_000_000, 500),
        (600_000_000, 700),
    ]
    for cost in costs:
        result = replay(at_operating_point(hardware, cost.point), inputs)
        assert cost.mean_latency_s == pytest.approx(result.latency_cycles.mean() / cost.point.clock_hz)
        assert cost.worst_latency_s == max(result.dynamic.costs.latency_cycles) / cost.point.clock_hz
        assert cost.energy_pj == pytest.approx(result.energy(result.dynamic).total[result.rows].mean())
    assert [cost.transition_s for cost in costs] == pytest.approx([0, 10e-6, 10e-6])


def test_a_lower_supply_is_slower(costs: tuple[PointCost, ...]) -> None:
    by_supply = sorted(costs, key=lambda cost: cost.point.voltage_mv)
    for name in ("mean_latency_s", "worst_latency_s", "static_latency_s"):
        times = [getattr(cost, name) for cost in by_supply]
        assert times == sorted(times, reverse=True)


def test_the_cheapest_point_keeps_the_deadline_with_its_transition(costs: tuple[PointCost, ...]) -> None:
    cheap = min(costs, key=lambda cost: cost.energy_pj)
    assert cheapest_within(costs, 1.0) == cheap
    due = cheap.transition_s + cheap.worst_latency_s
    assert cheapest_within(costs, due) == cheap
    sooner = cheapest_within(costs, due * (1 - 1e-9))
    assert sooner != cheap
    assert cheapest_within([cheap], due * (1 - 1e-9)) is None
    assert cheapest_within([replace(cheap, transition_s=0)], due - cheap.transition_s / 2) is not None
    assert cheapest_within(costs, 0) is None
