"""The front against its definition; the knee; and influences of functions whose variance is known."""

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceesim.explore.experiment import METRICS
from ceesim.explore.pareto import findings, influences, knee, not_dominated


def dominates(better: NDArray[np.float64], worse: NDArray[np.float64]) -> bool:
    return bool((better <= worse).all() and (better < worse).any())


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32))
def test_the_front_is_what_no_other_dominates(num: int, objectives: int, spread: int, seed: int) -> None:
    costs = np.random.default_rng(seed).integers(0, spread, (num, objectives)).astype(float)
    expected = [not any(dominates(other, cost) for other in costs) for cost in costs]
    assert not_dominated(costs).tolist() == expected


def test_the_front_of_a_large_table_takes_no_time() -> None:
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


def test_influences_of_a_sum_are_its_variances() -> None:
    table = product(a=[0, 1], b=[0, 2], c=[5, 6, 7])
    table["y"] = np.exp(table["a"] + table["b"])  # variances 1/4 and 1
    found = {one.knob: (one.first_order, one.total) for one in influences(table, ["a", "b", "c"], "y")}
    assert found == {knob: pytest.approx((share, share)) for knob, share in {"a": 0.2, "b": 0.8, "c": 0.0}.items()}


def test_influences_of_an_exclusive_or_show_in_all_only() -> None:
    table = product(a=[0, 1], b=[0, 1])
    table["y"] = np.exp(np.abs(table["a"] - table["b"]))
    for one in influences(table, ["a", "b"], "y"):
        assert (one.first_order, one.total) == pytest.approx((0, 1))


def test_knobs_that_turn_together_count_as_one() -> None:
    table = product(a=[1, 2, 3], c=[0, 1])
    table["b"] = 10 * table["a"]
    table["y"] = np.exp(table["a"])
    (first, second) = influences(table, ["a", "b", "c"], "y")
    assert (first.knob, first.first_order, first.total) == ("a, b", pytest.approx(1), pytest.approx(1))
    assert (second.knob, second.total) == ("c", 0)


def results(**columns: list[object]) -> pandas.DataFrame:
    num = len(next(iter(columns.values())))
    empty: dict[str, list[object]] = {name: [None] * num for name in METRICS}
    given = {name: columns.pop(name) for name in list(columns) if name not in METRICS}
    return pandas.DataFrame({"point": range(num), "status": "ok", **given, **empty, **columns, "reason": ""})


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
    found = findings(table)
    assert found.objectives == ("dynamic.latency_s.mean", "accuracy.dynamic")
    assert found.front["point"].tolist() == [2, 0]
    assert list(found.influences) == ["dynamic.latency_s.mean"]
    assert [one.knob for one in found.influences["dynamic.latency_s.mean"]] == ["array.rows"]


def test_nothing_to_compare() -> None:
    found = findings(results(**{"array.rows": [2]}))
    assert (found.objectives, found.knee, len(found.front)) == ((), None, 0)
