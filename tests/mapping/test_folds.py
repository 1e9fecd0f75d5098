"""What must hold of fold timing whatever the array, and what each profile is documented to cost."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceesim.errors import HardwareError
from ceesim.hardware.array import ArrayTiming, Dataflow, Drain, EdgeTiles, Profile
from ceesim.hardware.profiles import PROFILES
from ceesim.mapping.folds import FoldTiming, fold_timing, gemm_timing, tile_timing
from ceesim.mapping.macs import array_timing
from ceesim.workload.ops import Gemm

KNOWN = [
    (profile, dataflow)
    for profile in Profile
    for dataflow in Dataflow
    if PROFILES[profile].timing(dataflow) is not None
]
sizes = st.integers(1, 40)
gemms = st.builds(Gemm, st.integers(1, 100), st.integers(1, 100), st.integers(1, 100), st.integers(1, 4))


@st.composite
def arrays(draw: st.DrawFn) -> FoldTiming:
    """Named arrays, and arrays of one's own."""
    rows, cols = draw(sizes), draw(sizes)
    if draw(st.booleans()):
        profile, dataflow = draw(st.sampled_from(KNOWN))
        if profile is Profile.GEMMINI:
            rows = cols = 16
        return fold_timing(rows, cols, dataflow, profile)
    few = st.integers(0, 5)
    timing = ArrayTiming(
        row_pitch=draw(few),
        col_pitch=draw(few),
        pe_latency=draw(few),
        edge_registers=draw(few),
        load_cycles=draw(st.none() | st.integers(0, 40)),
        weight_buffers=draw(st.sampled_from((1, 2))),
        drain=draw(st.sampled_from(Drain)),
        shadow_registers=draw(st.booleans()),
        overhead_cycles=draw(few),
        edge_tiles=draw(st.sampled_from(EdgeTiles)),
    )
    return fold_timing(rows, cols, draw(st.sampled_from(Dataflow)), None, timing)


def cycles(array: FoldTiming, gemm: Gemm) -> int:
    return gemm_timing(array, gemm).compute_cycles


def used_pes(array: FoldTiming, dataflow: Dataflow, gemm: Gemm) -> list[tuple[int, int, int]]:
    """(used rows, used cols, streamed steps) of every fold, spelt out."""
    down, across, streamed = {
        Dataflow.OS: (gemm.m, gemm.n, gemm.k),
        Dataflow.WS: (gemm.k, gemm.n, gemm.m),
        Dataflow.IS: (gemm.k, gemm.m, gemm.n),
    }[dataflow]
    return [
        (min(array.rows, down - i), min(array.cols, across - j), streamed)
        for i in range(0, down, array.rows)
        for j in range(0, across, array.cols)
    ] * gemm.count


@pytest.mark.parametrize("dataflow", Dataflow)
@given(rows=sizes, cols=sizes, gemm=gemms)
def test_macs_are_conserved_from_the_product_to_its_folds(dataflow: Dataflow, rows: int, cols: int, gemm: Gemm) -> None:
    array = fold_timing(rows, cols, dataflow, Profile.TEXTBOOK)
    folds = used_pes(array, dataflow, gemm)
    num_folds, fold_pes, _, _ = tile_timing(array, gemm.m, gemm.k, gemm.n)
    assert gemm.count * num_folds == len(folds)
    assert gemm.count * fold_pes == sum(used_rows * used_cols for used_rows, used_cols, _ in folds)
    assert sum(used_rows * used_cols * steps for used_rows, used_cols, steps in folds) == gemm.macs


@given(arrays(), gemms)
def test_no_array_does_more_than_it_has_pes_for(array: FoldTiming, gemm: Gemm) -> None:
    price = gemm_timing(array, gemm)
    assert 0 < price.utilisation <= price.mapping_efficiency <= 1


@pytest.mark.parametrize(
    ("dataflow", "timing", "latency"),
    [  # no load before the operands of one register: the next fold's first operand follows this one's last
        (Dataflow.WS, ArrayTiming(load_cycles=0, weight_buffers=1), 24 + 2 * 3 + 0),
        # nothing in the way of the last operand: its result is there when it has been multiplied, and not before
        (
            Dataflow.OS,
            ArrayTiming(shadow_registers=False, drain=Drain.PARALLEL, pe_latency=0, row_pitch=0, col_pitch=0),
            24,
        ),
    ],
)
def test_a_fold_streams_its_steps_one_a_cycle(dataflow: Dataflow, timing: ArrayTiming, latency: int) -> None:
    array = fold_timing(4, 4, dataflow, None, timing)
    product = Gemm(24, 16, 16) if dataflow is Dataflow.WS else Gemm(16, 24, 16)
    assert tile_timing(array, product.m, product.k, product.n) == (16, 16 * 16, 16 * 24, 15 * 24 + latency)
    assert gemm_timing(array, product).utilisation <= 1


def test_a_product_of_one_step_on_one_pe_takes_a_cycle() -> None:
    timing = ArrayTiming(shadow_registers=False, drain=Drain.PARALLEL, pe_latency=0, row_pitch=0, col_pitch=0)
    price = gemm_timing(fold_timing(1, 1, Dataflow.OS, None, timing), Gemm(1, 1, 1))
    assert (price.compute_cycles, price.interval_cycles, price.utilisation) == (1, 1, 1)


@given(arrays(), gemms, st.sampled_from(("m", "k", "n", "count")))
def test_a_larger_product_is_never_faster(array: FoldTiming, gemm: Gemm, name: str) -> None:
    sizes = {"m": gemm.m, "k": gemm.k, "n": gemm.n, "count": gemm.count}
    assert cycles(array, Gemm(**sizes | {name: sizes[name] + 1})) >= cycles(array, gemm)


@given(arrays(), gemms)
def test_paying_for_used_pes_alone_is_never_dearer(array: FoldTiming, gemm: Gemm) -> None:
    assert cycles(array._replace(used_edges=1), gemm) <= cycles(array._replace(used_edges=0), gemm)


def test_a_whole_fold_that_ends_after_the_partial_one_behind_it_is_waited_for() -> None:
    # os, k = 1: the second fold of 16 × 1 results begins a cycle after the first and has 16 + 16 fewer cycles to go
    array = fold_timing(16, 16, Dataflow.OS, None, ArrayTiming(edge_tiles=EdgeTiles.USED, drain=Drain.PARALLEL))
    assert [tile_timing(array, m, 1, 16)[3] for m in (16, 17, 32, 33)] == [31, 31, 32, 32]


@given(st.integers(1, 16), st.integers(1, 16), st.integers(1, 30))
def test_a_partial_fold_with_used_edges_costs_what_a_smaller_array_would(rows: int, cols: int, streamed: int) -> None:
    timing = ArrayTiming(edge_tiles=EdgeTiles.USED, drain=Drain.COLS)
    for dataflow, sizes in ((Dataflow.WS, (streamed, rows, cols)), (Dataflow.OS, (rows, streamed, cols))):
        large, small = (fold_timing(*shape, dataflow, None, timing) for shape in ((16, 16), (rows, cols)))
        assert tile_timing(large, *sizes) == tile_timing(small, *sizes)


@given(gemms, st.sampled_from([profile for profile, dataflow in KNOWN if dataflow is Dataflow.IS]))
def test_is_equals_ws_with_m_and_n_exchanged(gemm: Gemm, profile: Profile) -> None:
    stationary = [fold_timing(16, 16, dataflow, profile) for dataflow in (Dataflow.IS, Dataflow.WS)]
    exchanged = Gemm(gemm.n, gemm.k, gemm.m, gemm.count)
    assert gemm_timing(stationary[0], gemm) == gemm_timing(stationary[1], exchanged)


@given(arrays(), st.lists(st.integers(1, 5), min_size=1, max_size=5), sizes)
def test_tiles_back_to_back_reproduce_the_op(array: FoldTiming, cuts: list[int], streamed: int) -> None:
    """A product cut into tiles of whole folds: the occupancies of all but the last, and the last one's latency."""
    shapes: dict[int, Callable[[int], tuple[int, int, int]]] = {
        0: lambda folds: (array.rows * folds, streamed, array.cols),
        1: lambda folds: (streamed, array.rows * folds, array.cols),
        2: lambda folds: (array.cols, array.rows * folds, streamed),
    }
    stationary = shapes[array.stationary]
    tiles = [tile_timing(array, *stationary(folds)) for folds in cuts]
    whole = tile_timing(array, *stationary(sum(cuts)))
    assert sum(tile[2] for tile in tiles[:-1]) + tiles[-1][3] == whole[3]
    assert sum(tile[2] for tile in tiles) == whole[2]
    assert sum(tile[0] for tile in tiles) == whole[0]


@given(arrays(), gemms)
def test_results_come_no_sooner_than_the_array_is_free(array: FoldTiming, gemm: Gemm) -> None:
    """As a command: a fold alone may be done before the next one's weights can follow."""
    _, _, occupancy, latency = array_timing(array, gemm.count, gemm.m, gemm.k, gemm.n)
    assert 0 < occupancy <= latency


@given(sizes, sizes, gemms, st.sampled_from(Dataflow))
def test_ideal_keeps_every_pe_busy(rows: int, cols: int, gemm: Gemm, dataflow: Dataflow) -> None:
    price = gemm_timing(fold_timing(rows, cols, dataflow, Profile.IDEAL), gemm)
    assert 0 <= price.compute_cycles * rows * cols - gemm.macs < rows * cols
    assert price.mapping_efficiency == 1


def naive_gemmini(dataflow: Dataflow, m: int, k: int, n: int) -> int:
    """The measured array, tile by tile of 16×16×16."""
    tiles = [(j, i, h) for j in range(0, n, 16) for i in range(0, k, 16) for h in range(0, m, 16)]
    if dataflow is Dataflow.OS:
        return 78 + 16 * len(tiles)
    cycles = 62
    for number, (_, _, first_row) in enumerate(tiles):
        last_of_its_weights = first_row + 16 >= m
        carries_preload = last_of_its_weights and number < len(tiles) - 1
        cycles += 16 if carries_preload else max(min(16, m - first_row), 4)
    return cycles


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70))
def test_gemmini_costs_its_tiles(m: int, k: int, n: int) -> None:
    for dataflow in (Dataflow.OS, Dataflow.WS):
        assert cycles(fold_timing(16, 16, dataflow, Profile.GEMMINI), Gemm(m, k, n)) == naive_gemmini(dataflow, m, k, n)


@given(sizes, sizes, gemms, st.sampled_from(Dataflow))
def test_scalesim_serialises_its_folds(rows: int, cols: int, gemm: Gemm, dataflow: Dataflow) -> None:
    array = fold_timing(rows, cols, dataflow, Profile.SCALESIM)
    folds = used_pes(array, dataflow, gemm)
    period = folds[0][2] + rows + cols - 2 + (0 if dataflow is Dataflow.OS else rows)
    price = gemm_timing(array, gemm)
    assert (price.fold_cycles, price.interval_cycles) == (period, period)
    assert price.compute_cycles == len(folds) * period - 1


# (profile, dataflow, rows, cols, m, k, n): compute, fold and interval cycles, worked out by hand.
BY_HAND = [
    # ws 4×4, one fold of 8 rows: load 4, last row in at 7 more, 3 + 3 PEs on, 1 to add → 18
    ((Profile.TEXTBOOK, Dataflow.WS, 4, 4, 8, 4, 4), (18, 18, 8)),
    # 2×2 folds, each 8 apart: 18 + 3·8
    ((Profile.TEXTBOOK, Dataflow.WS, 4, 4, 8, 8, 8), (42, 18, 8)),
    # 2 rows stream in 2 cycles, but the next weights take 4 to load: 12 + 3·4
    ((Profile.TEXTBOOK, Dataflow.WS, 4, 4, 2, 8, 8), (24, 12, 4)),
    # os: 8 operand pairs, 6 PEs of skew, 1 to add, 3 to shift out → 7 + 6 + 1 + 3
    ((Profile.TEXTBOOK, Dataflow.OS, 4, 4, 4, 8, 4), (17, 17, 8)),
    # three sums of 2: the drain of 4 rows is the longer, 11 + 2·4
    ((Profile.TEXTBOOK, Dataflow.OS, 4, 4, 12, 2, 4), (19, 11, 4)),
    # one weight register: load 4 + stream 7 + 3 columns until the last PE is free → 14 apart, 18 + 14
    ((Profile.SINGLE_BUFFER, Dataflow.WS, 4, 4, 8, 8, 4), (32, 18, 14)),
    # the load follows the operands' skew: M + R − 1 = 11 apart
    ((Profile.SINGLE_BUFFER_SKEWED, Dataflow.WS, 4, 4, 8, 8, 4), (29, 18, 11)),
    # square 16: L = 4 + 16 + 4, S = 0 + 15 + 15 + 1 + 2, reload 2·16 + 3
    ((Profile.TPU, Dataflow.WS, 16, 16, 1, 32, 16), (24 + 33 + 35, 57, 35)),
    # L = 1, S = 7 + 3 + 0 + 3; eight rows cover the four cycles of a reload
    ((Profile.BROADCAST, Dataflow.WS, 4, 4, 8, 8, 4), (1 + 13 + 8, 14, 8)),
    # every row is 4 cycles on: S = 7 + 12 + 3 + 4 + 1, I = 4 + 8 − 1 + 1 + 12 + 3
    ((Profile.PIPELINED_PE, Dataflow.WS, 4, 4, 8, 8, 4), (4 + 27 + 27, 31, 27)),
    ((Profile.PIPELINED_PE, Dataflow.OS, 4, 4, 4, 8, 8), (7 + 3 + 3 + 4 + 1 + 8, 18, 8)),
    # S = 7 + 3 + 3 + 2 + 1, D = 3; the drain holds the first PE's result for 4 + 8 − 2 cycles
    ((Profile.COLUMN_DRAIN, Dataflow.OS, 4, 4, 8, 8, 4), (16 + 3 + 10, 19, 10)),
    # Gemmini: one tile 62 + 16, 17 rows cost one more tile of at least 4
    ((Profile.GEMMINI, Dataflow.WS, 16, 16, 16, 16, 16), (78, 64, 16)),
    ((Profile.GEMMINI, Dataflow.WS, 16, 16, 17, 16, 16), (82, 68, 32)),
    ((Profile.GEMMINI, Dataflow.OS, 16, 16, 16, 17, 16), (110, 64, 32)),
    ((Profile.IDEAL, Dataflow.WS, 4, 4, 3, 3, 3), (2, 3, 3)),
]


@pytest.mark.parametrize(("product", "expected"), BY_HAND)
def test_worked_out_by_hand(
    product: tuple[Profile, Dataflow, int, int, int, int, int], expected: tuple[int, int, int]
) -> None:
    profile, dataflow, rows, cols, m, k, n = product
    price = gemm_timing(fold_timing(rows, cols, dataflow, profile), Gemm(m, k, n))
    assert (price.compute_cycles, price.fold_cycles, price.interval_cycles) == expected


def test_a_double_buffered_array_is_almost_four_times_as_fast_as_scalesim_says() -> None:
    gemm = Gemm(16, 16 * 100, 16 * 100)
    ours, theirs = (cycles(fold_timing(16, 16, Dataflow.WS, p), gemm) for p in (Profile.TEXTBOOK, Profile.SCALESIM))
    assert 3.8 < theirs / ours < 4


def test_products_of_one_op_follow_each_other() -> None:
    array = fold_timing(4, 4, Dataflow.WS, Profile.TEXTBOOK)
    assert cycles(array, Gemm(8, 4, 4, count=3)) == 18 + 2 * 8


def test_the_kernel_compiles_as_it_is() -> None:
    numba = pytest.importorskip("numba")
    compiled = numba.njit(tile_timing)
    for profile, dataflow in KNOWN:
        array = fold_timing(16, 16, dataflow, profile)
        for product in ((1, 1, 1), (17, 40, 5), (300, 16, 33)):
            assert compiled(array, *product) == tile_timing(array, *product)


def test_a_profile_refuses_what_it_was_not_seen_doing() -> None:
    with pytest.raises(HardwareError) as refused:
        fold_timing(16, 16, Dataflow.WS, Profile.COLUMN_DRAIN)
    assert str(refused.value) == "profile column_drain has no dataflow ws (got ws; expected os)"
    with pytest.raises(HardwareError) as refused:
        fold_timing(8, 16, Dataflow.WS, Profile.GEMMINI)
    assert str(refused.value) == (
        "profile gemmini was measured at one array size only (got 8×16; expected 16×16)\n"
        "  fix: write rows: 16 and cols: 16, or describe the array with array.timing"
    )
