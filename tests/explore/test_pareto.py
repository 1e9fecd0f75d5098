"""The front against its definition; the knee; and influences of functions whose variance is known."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceesim.explore.experiment import METRICS
from ceesim.explore.frame import SweepTable, read_sweep
from ceesim.explore.influence import Coder, Influence, Influences
from ceesim.explore.pareto import OBJECTIVES, Findings, findings, knee, not_dominated


def dominates(better: NDArray[np.float64], worse: NDArray[np.float64]) -> bool:
    return bool((better <= worse).all() and (better < worse).any())


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32))
def test_the_front_is_what_no_other_dominates(num: int, objectives: int, spread: int, seed: int) -> None:
    costs = np.random.default_rng(seed).integers(0, spread, (num, objectives)).astype(float)
    expected = [not any(dominates(other, cost) for other in costs) for cost in costs]
    assert not_dominated(costs).tolist() == expected


def test_the_front_of_a_large_table() -> None:
    costs = np.random.default_rng(0).random((50_000, 3))
    kept = costs[not_dominated(costs)]
    assert 50 < len(kept) < 500
    assert not_dominated(kept).all()


@pytest.mark.parametrize(
    ("costs", "row"),
    [
        ([[0, 10], [1, 1], [10, 0]], 1),
        ([[0, 10], [9, 9], [10, 0]], 0),
        ([[5, 5]], 0),
        ([[0, 1], [2, 1], [1, 1]], 0),
        ([[0, 100], [3, 20], [4, 19], [10, 0]], 1),
    ],
)
def test_the_knee_is_closest_to_the_ideal(costs: list[list[float]], row: int) -> None:
    assert knee(np.array(costs, float)) == row


def product(**levels: list[float]) -> pandas.DataFrame:
    return pandas.MultiIndex.from_product(levels.values(), names=list(levels)).to_frame(index=False)


def influences(table: pandas.DataFrame, *knobs: str, rows: int = 5, **settings: int) -> list[Influence]:
    """What moves `y`, the table read some rows at a time."""
    found = Influences({(knob,): Coder() for knob in knobs}, ["y"], **settings)
    for first in range(0, len(table), rows):
        found.add(table.iloc[first : first + rows])
    return found.of("y")


def test_influences_of_a_sum_are_its_variances() -> None:
    table = product(a=[0, 1], b=[0, 2], c=[5, 6, 7])
    table["y"] = np.exp(table["a"] + table["b"])  # variances 1/4 and 1
    found = {one.knob: (one.first_order, one.total) for one in influences(table, "a", "b", "c")}
    assert found == {knob: pytest.approx((share, share)) for knob, share in {"a": 0.2, "b": 0.8, "c": 0.0}.items()}


def test_influences_of_an_exclusive_or_show_in_all_only() -> None:
    table = product(a=[0, 1], b=[0, 1])
    table["y"] = np.exp(np.abs(table["a"] - table["b"]))
    for one in influences(table, "a", "b"):
        assert (one.first_order, one.total) == pytest.approx((0, 1))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(1, 60), st.integers(0, 2**32))
@settings(max_examples=50)
def test_influences_are_the_shares_of_variance_however_the_table_is_cut(
    a: int, b: int, c: int, rows: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    table = product(a=list(range(a)), b=list(range(b)), c=list(range(c)))
    table["y"] = np.exp(generator.normal(size=len(table)))
    table = table[generator.random(len(table)) < 0.8]
    if table.empty:
        return
    log = np.log(table["y"])
    variance = log.var(ddof=0)
    for one in influences(table, "a", "b", "c", rows=rows):
        others = [name for name in ("a", "b", "c") if name != one.knob]
        first = log.groupby(table[one.knob]).transform("mean").var(ddof=0)
        left = log - log.groupby([table[name] for name in others]).transform("mean")
        expected = (first, (left**2).mean()) if variance else (0, 0)
        assert (one.first_order * variance, one.total * variance) == pytest.approx(expected, abs=1e-12)


def test_influences_of_a_table_with_more_settings_than_are_kept_are_close() -> None:
    table = product(a=list(range(40)), b=list(range(40)), c=[0, 1])
    table["y"] = np.exp(table["a"] * table["b"] / 400 + table["c"] * (table["a"] % 7))
    exact = {one.knob: one for one in influences(table, "a", "b", "c", rows=100)}
    for one in influences(table, "a", "b", "c", rows=100, most_settings=256):
        assert one.first_order == exact[one.knob].first_order
        assert one.total == pytest.approx(exact[one.knob].total, rel=0.1)
    few = influences(table, "a", "b", "c", rows=100, most_settings=256)
    assert few != influences(table, "a", "b", "c", rows=100)  # c has 1,600 settings of the others


def results(**columns: list[object]) -> pandas.DataFrame:
    num = len(next(iter(columns.values())))
    empty: dict[str, list[object]] = {name: [None] * num for name in METRICS}
    given = {name: columns.pop(name) for name in list(columns) if name not in METRICS}
    return pandas.DataFrame({"point": range(num), "status": "ok", **given, **empty, **columns, "reason": ""})


def whole(table: pandas.DataFrame) -> Findings:
    return findings([table])


def test_knobs_that_turn_together_count_as_one() -> None:
    table = product(a=[1, 2, 3], c=[0, 1])
    found = whole(results(a=[*table["a"]], b=[*(10 * table["a"])], c=[*table["c"]], area_mm2=[*table["a"]]))
    (first, second) = found.influences["area_mm2"]
    assert (first.knob, first.first_order, first.total) == ("a, b", pytest.approx(1), pytest.approx(1))
    assert (second.knob, second.total) == ("c", pytest.approx(0))


def test_a_table_says_the_same_however_it_is_cut() -> None:
    generator = np.random.default_rng(0)
    table = product(a=list(range(6)), b=list(range(7)), c=[0, 1])
    costs = generator.integers(1, 9, (3, len(table))).astype(float)
    table = results(
        **{name: [*table[name]] for name in "abc"},
        **dict(zip(("dynamic.latency_s.mean", "dynamic.energy_pj.mean", "area_mm2"), costs.tolist(), strict=True)),
    )
    table["status"] = np.where(generator.random(len(table)) < 0.2, "failed", "ok")
    table["reason"] = np.where(table["status"] == "failed", "too small", "")
    expected = whole(table)
    for rows in (1, 2, 13, 60):
        found = findings([table.iloc[first : first + rows] for first in range(0, len(table), rows)])
        pandas.testing.assert_frame_equal(found.front, expected.front)
        assert (found.knee, found.failures, found.objectives) == (expected.knee, expected.failures, expected.objectives)
        assert found.num_failed == sum(failure.num_points for failure in found.failures) > 0
        for name, ranked in expected.influences.items():
            shares = {one.knob: (one.first_order, one.total) for one in found.influences[name]}
            assert shares == {one.knob: pytest.approx((one.first_order, one.total)) for one in ranked}


def test_a_table_is_read_in_memory_that_does_not_grow_with_it(tmp_path: Path) -> None:
    def peak(a: int, b: int) -> int:
        table = product(a=list(range(a)), b=list(range(b)), c=[0, 1])
        generator = np.random.default_rng(0)
        costs = {name: 1 + generator.random(len(table)) for name in OBJECTIVES}
        costs["area_mm2"] = costs["accuracy.dynamic"] = np.ones(len(table))
        path = tmp_path / f"{a}.csv"
        results(**{name: [*table[name]] for name in "abc"}, **{n: [*c] for n, c in costs.items()}).to_csv(
            path, index=False
        )
        tracemalloc.start()
        found = findings(SweepTable(path, OBJECTIVES))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found.num_points == 2 * a * b
        assert len(found.influences["dynamic.energy_pj.mean"]) == 3
        return most

    peak(10, 10)  # what is imported and cached on the way
    small, large = peak(40, 25), peak(160, 125)
    assert large < small + 2_000_000  # 38,000 rows more, of which the nine columns that are read take 2.7 MB in numbers
    whole_table = read_sweep(tmp_path / "160.csv", OBJECTIVES).memory_usage(index=True, deep=True).sum()
    assert whole_table > 2_000_000  # so the limit would be missed by holding it


def test_failures_are_counted_by_reason_with_the_first_of_each() -> None:
    table = results(**{"array.rows": list(range(40))})
    table["status"], table["reason"] = "failed", [f"reason {min(i % 16, 12)}" for i in range(40)]
    found = findings([table.iloc[:7], table.iloc[7:]])
    assert (found.num_points, found.num_failed, len(found.failures)) == (40, 40, 10)
    assert [failure.first for failure in found.failures] == list(range(10))
    assert [failure.num_points for failure in found.failures] == [3] * 8 + [2] * 2


def test_findings_leave_out_what_failed_and_what_does_not_vary() -> None:
    table = results(
        **{
            "array.rows": [2, 4, 8, 16],
            "clock_hz": [1, 1, 1, 1],
            "dynamic.latency_s.mean": [3.0, 2.0, 1.0, 0.1],
            "area_mm2": [1.0, 1.0, 1.0, 1.0],
            "accuracy.dynamic": [0.9, 0.8, 0.8, 0.7],
        }
    )
    table.loc[3, "status"] = "failed"
    found = whole(table)
    assert found.objectives == ("dynamic.latency_s.mean", "accuracy.dynamic")
    assert found.front["point"].tolist() == [2, 0]
    assert list(found.influences) == ["dynamic.latency_s.mean"]
    assert [one.knob for one in found.influences["dynamic.latency_s.mean"]] == ["array.rows"]


def test_nothing_to_compare() -> None:
    found = whole(results(**{"array.rows": [2]}))
    assert (found.objectives, found.knee, len(found.front)) == ((), None, 0)
