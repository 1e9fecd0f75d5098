"""Pricing: what must hold for any counts, times and price list."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ceesim.hardware.energy.actions import NUM_ACTIONS, Action, Component, Uncertainty, component_of
from ceesim.hardware.energy.price import Activity, Breakdown, Waiting, least_difference, price, ratio, total_band
from ceesim.hardware.energy.table import EnergyTable, energy_table
from ceesim.hardware.load import load_hardware

TABLE: EnergyTable = energy_table(load_hardware("edge_npu.yaml"))
ROWS = 3
STATIC = [Component.CLOCK, Component.LEAKAGE]

counts = arrays.arrays(np.int64, (ROWS, NUM_ACTIONS), elements=st.integers(0, 10**12))
cycles = arrays.arrays(np.int64, (ROWS,), elements=st.integers(0, 10**10))
activities = st.builds(
    Activity,
    path=counts,
    head=counts,
    wasted=counts,
    running_cycles=cycles,
    transferring_cycles=cycles,
    waiting_cycles=cycles,
)
waitings = st.sampled_from(Waiting)


def nothing() -> Activity:
    none = np.zeros((ROWS, NUM_ACTIONS), np.int64)
    still = np.zeros(ROWS, np.int64)
    return Activity(none, none, none, still, still, still)


@given(activities, waitings)
def test_the_lines_sum_to_the_total_to_the_last_bit(activity: Activity, waiting: Waiting) -> None:
    breakdown = price(activity, TABLE, waiting)
    for row in range(ROWS):
        lines = breakdown.lines(row)
        assert sum(lines.values()) == breakdown.total[row]
        assert list(lines) == [
            "array",
            "weight_buffer",
            "activation_buffer",
            "psum_buffer",
            "vector",
            "exit",
            "dma",
            "dram",
            "clock",
            "leakage",
            "wasted",
        ]


@given(activities, waitings)
def test_energy_is_counts_times_prices(activity: Activity, waiting: Waiting) -> None:
    breakdown = price(activity, TABLE, waiting)
    dynamic = sum(TABLE.dynamic_pj(part) for part in (activity.path, activity.head, activity.wasted))
    still = Activity(*(np.zeros_like(activity.path),) * 3, *_times(activity))
    assert breakdown.total == pytest.approx(dynamic + price(still, TABLE, waiting).total, rel=1e-9)
    for component in Component:
        expected = np.zeros(ROWS)
        for action in Action:
            each = TABLE.action_pj[action].sum()
            expected += activity.path[:, action] * each * (component_of(action) is component)
            expected += activity.head[:, action] * each * (component_of(action, head=True) is component)
            expected += activity.wasted[:, action] * each * (component is Component.WASTED)
        timed = price(still, TABLE, waiting).by_component[:, component]
        assert breakdown.by_component[:, component] == pytest.approx(expected + timed, rel=1e-9)


def _times(activity: Activity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return activity.running_cycles, activity.transferring_cycles, activity.waiting_cycles


@given(activities)
def test_everything_twice_costs_twice(activity: Activity) -> None:
    twice = Activity(*(2 * getattr(activity, name) for name in Activity.__slots__))
    assert price(twice, TABLE).by_component == pytest.approx(2 * price(activity, TABLE).by_component, rel=1e-12)


def test_nothing_costs_nothing() -> None:
    assert (price(nothing(), TABLE).total == 0).all()


@given(activities, activities, waitings)
def test_doing_more_never_costs_less_on_any_line(activity: Activity, more: Activity, waiting: Waiting) -> None:
    both = Activity(*(getattr(activity, name) + getattr(more, name) for name in Activity.__slots__))
    assert (price(both, TABLE, waiting).by_component >= price(activity, TABLE, waiting).by_component).all()


@given(activities)
def test_sleeping_never_costs_more_than_staying_on(activity: Activity) -> None:
    asleep, awake = (price(activity, TABLE, waiting) for waiting in (Waiting.RACE_TO_SLEEP, Waiting.STAY_ON))
    assert (asleep.by_component <= awake.by_component * (1 + 1e-12)).all()


def test_a_head_is_reported_as_exit_except_for_its_traffic() -> None:
    everything = np.ones((ROWS, NUM_ACTIONS), np.int64)
    none, still = np.zeros_like(everything), np.zeros(ROWS, np.int64)
    lines = price(Activity(none, everything, none, still, still, still), TABLE).lines(0)
    assert {name for name, pj in lines.items() if pj} == {"exit", "dma", "dram"}
    wasted = price(Activity(none, none, everything, still, still, still), TABLE).lines(0)
    assert {name for name, pj in wasted.items() if pj} == {"wasted"}


@given(activities, waitings)
def test_bands_enclose_the_nominal(activity: Activity, waiting: Waiting) -> None:
    breakdown = price(activity, TABLE, waiting)
    assert (breakdown.low <= breakdown.by_component).all()
    assert (breakdown.by_component <= breakdown.high).all()
    band = total_band(breakdown, 0)
    assert band.low == pytest.approx(breakdown.low[0].sum())
    assert band.high == pytest.approx(breakdown.high[0].sum())


kinds = arrays.arrays(np.float64, (5,), elements=st.floats(0, 1e6))


def of_kinds(values: np.ndarray, table: EnergyTable = TABLE) -> Breakdown:
    pj = np.zeros((1, len(Component), len(values)))
    pj[0, 0] = values
    return Breakdown(pj, table.bands, table.kin)


def ends(values: np.ndarray) -> np.ndarray:
    return TABLE.bands * values


@given(kinds, kinds)
def test_the_bands_of_comparisons_against_every_corner(first: np.ndarray, second: np.ndarray) -> None:
    second = second + 1.0
    corners = [np.array(factors) for factors in itertools.product(*TABLE.bands.T)]
    differences = [float(corner @ (first - second)) for corner in corners]
    quotients = [float(corner @ first / (corner @ second)) for corner in corners]
    least = least_difference(ends(first)[:, None], ends(second)[:, None], np.full((1, 5), True))
    over = ratio(of_kinds(first), 0, of_kinds(second), 0)
    assert least == pytest.approx(min(differences), rel=1e-9, abs=1e-6)
    assert (over.low, over.high) == pytest.approx((min(quotients), max(quotients)), rel=1e-9)
    assert over.nominal == pytest.approx(float(first.sum() / second.sum()))


def test_what_two_designs_share_cancels() -> None:
    cheap, dear = of_kinds(np.array([1.0, 2.0, 3.0, 4.0, 5.0])), of_kinds(np.array([2.0, 4.0, 6.0, 8.0, 10.0]))
    assert ratio(dear, 0, cheap, 0) == ratio(dear, 0, cheap, 0).__class__(2.0, 2.0, 2.0)
    assert ratio(dear, 0, cheap, 0).is_certain
    assert not total_band(dear, 0).low > total_band(cheap, 0).high


def test_two_technologies_err_on_their_own_but_in_their_dram() -> None:
    other = energy_table(load_hardware("edge_npu.yaml", ["technology.node=32 nm"]))
    assert (other.bands == TABLE.bands).all()  # as uncertain, but not wrong in the same way
    assert [one == its for one, its in zip(other.kin, TABLE.kin, strict=True)] == [False, False, True, False, False]
    cheap, dear = np.ones(5), 2 * np.ones(5)
    apart = np.array([kind != Uncertainty.DRAM for kind in Uncertainty])
    corners = [np.array(factors) for factors in itertools.product(*TABLE.bands.T)]
    pairs = [(own, np.where(apart, its, own)) for own, its in itertools.product(corners, corners)]
    over = ratio(of_kinds(dear, other), 0, of_kinds(cheap), 0)
    quotients = [float(own @ dear / (its @ cheap)) for own, its in pairs]
    assert (over.low, over.nominal, over.high) == pytest.approx((min(quotients), 2, max(quotients)))
    least = least_difference(ends(dear)[:, None], ends(cheap)[:, None], ~apart[None])
    assert least == pytest.approx(min(float(own @ dear - its @ cheap) for own, its in pairs))
    assert least < 0


def test_a_dram_of_its_own_leaves_the_chip_to_cancel() -> None:
    other = energy_table(load_hardware("edge_npu.yaml", ["dram.type=ddr4-2400"]))
    assert [one == its for one, its in zip(other.kin, TABLE.kin, strict=True)] == [True, True, False, True, True]
    profile = energy_table(load_hardware("edge_npu.yaml", ["technology.clock_profile=ideal"]))
    assert [one == its for one, its in zip(profile.kin, TABLE.kin, strict=True)] == [True, True, True, False, True]
    chip = np.where([kind == Uncertainty.DRAM for kind in Uncertainty], 0.0, 1.0)
    alike = ratio(of_kinds(chip, other), 0, of_kinds(chip), 0)
    assert (alike.low, alike.high) == pytest.approx((1, 1))
