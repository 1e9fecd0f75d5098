"""Operating points: each is the chip it says, time and joules are its own, and the choice keeps the deadline."""

import itertools
from dataclasses import replace

import pytest

import ceesim
from ceesim.hardware.energy.operating_points import at_operating_point
from ceesim.hardware.load import load_hardware
from ceesim.shipped import Shelf, find
from ceesim.sim.operating_points import PointCost, cost_of_points, is_cheapest
from ceesim.sim.run import replay

POINTS = "technology.operating_points=[{clock: 300 MHz, voltage: 0.5 V}, {clock: 600 MHz, voltage: 0.7 V}]"


@pytest.fixture(scope="module")
def costs() -> tuple[PointCost, ...]:
    inputs = ceesim.load_trace(find("vgg_w025_c10.npz", Shelf.TRACES))
    return cost_of_points(replay(load_hardware("edge_npu.yaml", [POINTS]), inputs))


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


def test_there_is_nothing_to_choose_without_other_points() -> None:
    inputs = ceesim.load_trace(find("vgg_w025_c10.npz", Shelf.TRACES))
    assert cost_of_points(replay(load_hardware("edge_npu.yaml"), inputs)) == ()


def test_a_point_is_compiled_for_the_exit_rates_of_the_run() -> None:
    inputs, rated = (
        ceesim.load_trace(find(name, Shelf.TRACES)) for name in ("vgg_w025_c10.npz", "vgg_w025_c10_val.npz")
    )
    hardware = load_hardware("edge_npu.yaml", [POINTS, "residency=auto", "buffers.weight=1 MiB"])
    for cost in cost_of_points(replay(hardware, inputs, rated)):
        there = replay(at_operating_point(hardware, cost.point), inputs, rated)
        assert there.dynamic.program.warm_up_dram_bytes > 0
        assert cost.energy_pj == pytest.approx(there.energy(there.dynamic).total[there.rows].mean())


def test_the_points_to_choose_from_are_the_cheapest_of_their_deadlines(costs: tuple[PointCost, ...]) -> None:
    for cost in costs:
        assert cost.deadline_s == cost.transition_s + cost.worst_latency_s
    chosen = [cost for cost, is_one in zip(costs, is_cheapest(costs), strict=True) if is_one]
    assert min(costs, key=lambda cost: cost.energy_pj) in chosen
    assert min(costs, key=lambda cost: cost.deadline_s) in chosen
    for deadline_s in sorted(cost.deadline_s for cost in costs):
        in_time = [cost for cost in costs if cost.deadline_s <= deadline_s]
        best = min(in_time, key=lambda cost: cost.energy_pj)
        assert best == max((cost for cost in chosen if cost.deadline_s <= deadline_s), key=lambda cost: cost.deadline_s)


@pytest.mark.parametrize("energies", list(itertools.product([1.0, 2.0], repeat=3)))
def test_of_equal_points_one_is_chosen(costs: tuple[PointCost, ...], energies: tuple[float, ...]) -> None:
    alike = [replace(costs[0], energy_pj=energy) for energy in energies]
    flags = is_cheapest(alike)
    assert sum(flags) == 1
    assert flags.index(True) == energies.index(min(energies))
    later = replace(costs[0], worst_latency_s=costs[0].worst_latency_s * 2)
    assert is_cheapest([later, costs[0]]) == (False, True)
    assert is_cheapest([]) == ()
