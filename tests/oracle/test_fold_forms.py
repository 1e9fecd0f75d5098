"""The closed form of fold timing against arrays that know nothing of it: same cycles, and the right products."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.array import ArrayTiming, Dataflow, Drain, Profile
from ceesim.hardware.profiles import PROFILES, Law
from ceesim.mapping.folds import FoldTiming, fold_timing, gemm_timing, tile_timing
from ceesim.workload.ops import Gemm
from tests.oracle.arrays import Matrix, OutputStationary, WeightStationary, exact, multiply, smallest_interval

Array: TypeAlias = WeightStationary | OutputStationary

# What each design is, in hardware words: which registers it has, and by which rule they are written.
ARRAYS: dict[tuple[Profile, Dataflow], Callable[[int, int], Array]] = {
    (Profile.TEXTBOOK, Dataflow.WS): WeightStationary,
    (Profile.TEXTBOOK, Dataflow.OS): OutputStationary,
    (Profile.SINGLE_BUFFER, Dataflow.WS): lambda rows, cols: WeightStationary(rows, cols, col_skew=0, double=False),
    (Profile.SINGLE_BUFFER_SKEWED, Dataflow.WS): lambda rows, cols: WeightStationary(rows, cols, double=False),
    (Profile.TPU, Dataflow.WS): lambda rows, cols: WeightStationary(
        rows, cols, col_skew=0, settle=4, output_registers=2, fetch=max(1, rows * rows // 64)
    ),
    (Profile.BROADCAST, Dataflow.WS): lambda rows, cols: WeightStationary(
        rows, cols, col_pitch=0, pe_latency=3, addressed=True
    ),
    (Profile.PIPELINED_PE, Dataflow.WS): lambda rows, cols: WeightStationary(
        rows, cols, row_pitch=4, pe_latency=4, input_registers=1, double=False, row_skew=0, col_skew=0
    ),
    (Profile.PIPELINED_PE, Dataflow.OS): lambda rows, cols: OutputStationary(
        rows, cols, pe_latency=4, input_registers=1, drain="parallel"
    ),
    (Profile.COLUMN_DRAIN, Dataflow.OS): lambda rows, cols: OutputStationary(
        rows, cols, pe_latency=2, output_registers=1, drain="cols"
    ),
}
EVERY = pytest.mark.parametrize(("profile", "dataflow"), ARRAYS)
SIZES = [(rows, cols) for rows in (1, 2, 3, 5) for cols in (1, 2, 4)]


def random_folds(array: Array, streamed: int, count: int, seed: int = 0) -> list[tuple[Matrix, Matrix]]:
    rng = np.random.default_rng(seed)
    rows, cols = array.rows, array.cols
    shapes = (
        ((streamed, rows), (rows, cols))
        if isinstance(array, WeightStationary)
        else ((rows, streamed), (streamed, cols))
    )
    return [(rng.integers(1, 10**6, shapes[0]), rng.integers(1, 10**6, shapes[1])) for _ in range(count)]


def full_fold(timing: FoldTiming, array: Array, streamed: int) -> tuple[int, int]:
    """Interval and latency of one full fold, by the closed form."""
    weights_stay = isinstance(array, WeightStationary)
    m, k, n = (streamed, array.rows, array.cols) if weights_stay else (array.rows, streamed, array.cols)
    _, _, interval, latency = tile_timing(timing, m, k, n)
    return interval, latency


def test_every_profile_that_claims_to_be_an_array_has_one_here() -> None:
    claimed = {
        (profile, dataflow)
        for profile, known in PROFILES.items()
        for dataflow in (Dataflow.WS, Dataflow.OS)
        if known.law is Law.ARRAY and known.timing(dataflow)
    }
    assert claimed == set(ARRAYS)


@EVERY
def test_a_fold_alone_takes_its_latency(profile: Profile, dataflow: Dataflow) -> None:
    for rows, cols in [*SIZES, (17, 3), (24, 24)]:
        array, timing = ARRAYS[profile, dataflow](rows, cols), fold_timing(rows, cols, dataflow, profile)
        folds = random_folds(array, 6, 1)
        assert exact(array, folds, 1)
        assert array.run(folds, 1).finished == full_fold(timing, array, 6)[1]


@EVERY
def test_the_interval_is_the_smallest_that_keeps_products_exact(profile: Profile, dataflow: Dataflow) -> None:
    for rows, cols in SIZES:
        array, timing = ARRAYS[profile, dataflow](rows, cols), fold_timing(rows, cols, dataflow, profile)
        for streamed in (1, 2, 5, 9):
            folds = random_folds(array, streamed, 4)
            interval, latency = full_fold(timing, array, streamed)
            assert smallest_interval(array, folds) == interval, (rows, cols, streamed)
            assert array.run(folds, interval).finished == 3 * interval + latency


@EVERY
def test_wider_spacing_stays_exact(profile: Profile, dataflow: Dataflow) -> None:
    array, timing = ARRAYS[profile, dataflow](3, 4), fold_timing(3, 4, dataflow, profile)
    folds = random_folds(array, 5, 3)
    interval, _ = full_fold(timing, array, 5)
    assert all(exact(array, folds, interval + wait) for wait in range(20))


@EVERY
def test_whole_products_partial_folds_included(profile: Profile, dataflow: Dataflow) -> None:
    rng = np.random.default_rng(1)
    for _ in range(12):
        rows, cols = (int(size) for size in rng.integers(1, 5, 2))
        m, k, n = (int(size) for size in rng.integers(1, 12, 3))
        array, timing = ARRAYS[profile, dataflow](rows, cols), fold_timing(rows, cols, dataflow, profile)
        left, right = rng.integers(-1000, 1000, (m, k)), rng.integers(-1000, 1000, (k, n))
        price = gemm_timing(timing, Gemm(m, k, n))
        product, finished = multiply(array, left, right, price.interval_cycles)
        assert np.array_equal(product, left @ right)
        assert finished == price.compute_cycles, (rows, cols, m, k, n)


@pytest.mark.parametrize("profile", [profile for profile, dataflow in ARRAYS if dataflow is Dataflow.WS])
def test_the_same_array_serves_is_with_the_operands_exchanged(profile: Profile) -> None:
    rng = np.random.default_rng(2)
    array, timing = ARRAYS[profile, Dataflow.WS](3, 2), fold_timing(3, 2, Dataflow.IS, profile)
    left, right = rng.integers(-1000, 1000, (5, 7)), rng.integers(-1000, 1000, (7, 4))
    price = gemm_timing(timing, Gemm(5, 7, 4))
    product, finished = multiply(array, right.T, left.T, price.interval_cycles)
    assert np.array_equal(product.T, left @ right)
    assert finished == price.compute_cycles


@st.composite
def own_weight_stationary(draw: st.DrawFn) -> tuple[WeightStationary, ArrayTiming]:
    """Any array that `timing:` can describe with weights that stay, once in registers and once in integers."""
    row_pitch, col_pitch = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    entry, leaving = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    latency, settle = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    addressed = draw(st.booleans()) and row_pitch > 0
    row_skew = min(row_pitch, 1) if addressed else draw(st.integers(0, 1))
    col_skew = 0 if addressed else draw(st.integers(0, min(col_pitch, 1)))
    rows, cols = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    double = draw(st.booleans())
    array = WeightStationary(
        rows,
        cols,
        row_pitch=row_pitch,
        col_pitch=col_pitch,
        pe_latency=latency,
        input_registers=entry,
        output_registers=leaving,
        addressed=addressed,
        row_skew=row_skew,
        col_skew=col_skew,
        double=double,
        settle=0 if addressed else settle,
    )
    timing = ArrayTiming(
        row_pitch=row_pitch,
        col_pitch=col_pitch,
        pe_latency=latency,
        edge_registers=entry + leaving,
        input_registers=entry,
        load_cycles=1 if addressed else rows + settle if settle else None,
        weight_buffers=2 if double else 1,
        load_skew_rows=row_skew,
        load_skew_cols=col_skew,
    )
    return array, timing


@given(own_weight_stationary(), st.integers(1, 6))
@settings(max_examples=150)
def test_any_weight_stationary_array_of_ones_own(own: tuple[WeightStationary, ArrayTiming], streamed: int) -> None:
    array, timing = own
    interval, latency = full_fold(fold_timing(array.rows, array.cols, Dataflow.WS, None, timing), array, streamed)
    folds = random_folds(array, streamed, 3)
    assert smallest_interval(array, folds) == interval
    assert array.run(folds, interval).finished == 2 * interval + latency


@st.composite
def own_output_stationary(draw: st.DrawFn) -> tuple[OutputStationary, ArrayTiming]:
    """Any array that `timing:` can describe with sums that stay, once in registers and once in integers."""
    shadow, drain = draw(st.booleans()), draw(st.sampled_from(Drain))
    entry = draw(st.integers(0, 2))
    leaving = draw(st.integers(0, 2)) if shadow else 0
    row_pitch, col_pitch, latency = draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.integers(1, 4))
    rows, cols = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    array = OutputStationary(
        rows,
        cols,
        row_pitch=row_pitch,
        col_pitch=col_pitch,
        pe_latency=latency,
        input_registers=entry,
        output_registers=leaving,
        drain=drain.value,
        shadow=shadow,
    )
    timing = ArrayTiming(
        row_pitch=row_pitch,
        col_pitch=col_pitch,
        pe_latency=latency,
        edge_registers=entry + leaving,
        input_registers=entry,
        drain=drain,
        shadow_registers=shadow,
    )
    return array, timing


@given(own_output_stationary(), st.integers(1, 6))
@settings(max_examples=150)
def test_any_output_stationary_array_of_ones_own(own: tuple[OutputStationary, ArrayTiming], streamed: int) -> None:
    """Without shadow registers the next fold starts when this one has left; its pipeline could fill while it leaves."""
    array, timing = own
    interval, latency = full_fold(fold_timing(array.rows, array.cols, Dataflow.OS, None, timing), array, streamed)
    folds = random_folds(array, streamed, 3)
    hidden = 0 if array.shadow else array.input_registers + array.pe_latency - 1
    assert exact(array, folds, interval)
    assert smallest_interval(array, folds) == max(interval - hidden, streamed)
    assert array.run(folds, interval).finished == 2 * interval + latency


@pytest.mark.parametrize("drain", Drain)
@pytest.mark.parametrize("row_pitch", [0, 1, 3])
@pytest.mark.parametrize("col_pitch", [0, 1, 3])
def test_every_drain_at_every_pitch(drain: Drain, row_pitch: int, col_pitch: int) -> None:
    array = OutputStationary(4, 3, row_pitch=row_pitch, col_pitch=col_pitch, drain=drain.value)
    timing = ArrayTiming(row_pitch=row_pitch, col_pitch=col_pitch, drain=drain)
    interval, _ = full_fold(fold_timing(4, 3, Dataflow.OS, None, timing), array, 2)
    assert smallest_interval(array, random_folds(array, 2, 4)) == interval
