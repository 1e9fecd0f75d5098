"""Fold timing: how many cycles a matrix product takes on a PE array, in one closed form for every array we know.

A fold maps two of (m, k, n) onto rows × cols and streams T steps of the third (os: m × n, T = k; ws: k × n, T = m; is:
k × m, T = n). A product of F folds takes ``overhead + L + (F − 1)·I + S + D`` cycles:

* L, weight load before the first operand (ws, is);
* S = (T−1) + (rows−1)·row_pitch + (cols−1)·col_pitch + pe_latency + edge_registers, first operand in to last result;
* D, the drain of the last results (os);
* I, the interval between folds: the smallest at which back-to-back folds stay bit-exact on that array. Results that
  drain from shadow registers (os), and weights that wait in a second buffer (ws, is), leave room for the next fold's
  while this one streams; I is then the larger of T and the time that the drain or the reload keeps its registers.

Whatever the integers, a fold streams its T steps: neither S nor I is less than T, so that no array multiplies more than
it has PEs for. (Only arrays of one's own come that near: those without PE latency, or without time to load.)

Cycles are differences of clock edges; the inclusive count is one more. `tests/oracle` moves every operand of every such
array cycle by cycle and confirms S, D and I, partial folds included.

With ``edge_tiles: used`` a partial fold costs what it would on an array of its own size; the interval is charged to the
earlier of two folds, which is exact for os and never too short in sum for ws and is.

`tile_timing` holds the arithmetic. It is plain Python over ints and calls nothing, so that numba compiles it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from ceesim.errors import HardwareError
from ceesim.hardware.array import ArrayTiming, Dataflow, Drain, EdgeTiles, Profile
from ceesim.hardware.profiles import GEMMINI_SIZE, PROFILES, Law
from ceesim.units import ceil_div
from ceesim.workload.ops import Gemm

_OS: Final = 0
_WS: Final = 1
_IS: Final = 2
_STATIONARY: Final = {Dataflow.OS: _OS, Dataflow.WS: _WS, Dataflow.IS: _IS}

_DRAIN_PARALLEL: Final = 0
_DRAIN_ROWS: Final = 1
_DRAIN_COLS: Final = 2
_DRAIN: Final = {Drain.PARALLEL: _DRAIN_PARALLEL, Drain.ROWS: _DRAIN_ROWS, Drain.COLS: _DRAIN_COLS}

_IDEAL: Final = int(Law.IDEAL)
_GEMMINI: Final = int(Law.GEMMINI)
_SCALESIM: Final = int(Law.SCALESIM)

_GEMMINI_LEAST_ROWS: Final = 4


class FoldTiming(NamedTuple):
    """An array under one dataflow, as ints alone: a tuple, because that is what compiled code takes.

    `stationary` is 0 os, 1 ws, 2 is; `drain` 0 parallel, 1 rows, 2 cols; flags are 0 or 1; `load_cycles` and
    `reload_cycles` of −1 follow from the rows and skews. The rest are the keys of `ArrayTiming`. (The overhead of
    `scalesim` is −1: its op ends on its last cycle, where ours ends after it.)
    """

    law: int
    stationary: int
    rows: int
    cols: int
    row_pitch: int
    col_pitch: int
    pe_latency: int
    edge_registers: int
    input_registers: int
    load_cycles: int
    weight_buffers: int
    reload_cycles: int
    load_skew_rows: int
    load_skew_cols: int
    drain: int
    shadow_registers: int
    overhead_cycles: int
    used_edges: int


@dataclass(frozen=True, slots=True)
class GemmTiming:
    """What one untiled product costs.

    Args:
        folds: array loads.
        compute_cycles: the whole op, first weight or operand in to last result out, overhead included.
        fold_cycles: one full fold alone.
        interval_cycles: one full fold followed by another.
        mapping_efficiency: busy PEs / PEs over all folds.
        utilisation: MACs / (cycles·rows·cols); for `scalesim` with the last cycle, which its count leaves out.
    """

    folds: int
    compute_cycles: int
    fold_cycles: int
    interval_cycles: int
    mapping_efficiency: float
    utilisation: float


def fold_timing(
    rows: int, cols: int, dataflow: Dataflow, profile: Profile | None, timing: ArrayTiming | None = None
) -> FoldTiming:
    """The ints of an array: those of `timing` if given, else those of the named profile (textbook by default).

    Raises:
        HardwareError: if the profile does not know the dataflow or the size.
    """
    law = Law.ARRAY
    if timing is None:
        profile = profile or Profile.TEXTBOOK
        law, of_size = PROFILES[profile].law, PROFILES[profile].timing(dataflow)
        if of_size is None:
            able = [flow.value for flow in Dataflow if PROFILES[profile].timing(flow)]
            raise HardwareError(
                f"profile {profile.value} has no dataflow {dataflow.value}",
                got=dataflow.value,
                expected=" or ".join(able),
            )
        timing = of_size(rows, cols)
    if law is Law.GEMMINI and (rows, cols) != (GEMMINI_SIZE, GEMMINI_SIZE):
        raise HardwareError(
            "profile gemmini was measured at one array size only",
            got=f"{rows}×{cols}",
            expected=f"{GEMMINI_SIZE}×{GEMMINI_SIZE}",
            fix="write rows: 16 and cols: 16, or describe the array with array.timing",
        )
    skew_rows = min(1, timing.row_pitch) if timing.load_skew_rows is None else timing.load_skew_rows
    skew_cols = min(1, timing.col_pitch) if timing.load_skew_cols is None else timing.load_skew_cols
    return FoldTiming(
        law=int(law),
        stationary=_STATIONARY[dataflow],
        rows=rows,
        cols=cols,
        row_pitch=timing.row_pitch,
        col_pitch=timing.col_pitch,
        pe_latency=timing.pe_latency,
        edge_registers=timing.edge_registers,
        input_registers=timing.input_registers,
        load_cycles=-1 if timing.load_cycles is None else timing.load_cycles,
        weight_buffers=timing.weight_buffers,
        reload_cycles=-1 if timing.reload_cycles is None else timing.reload_cycles,
        load_skew_rows=skew_rows,
        load_skew_cols=skew_cols,
        drain=_DRAIN[timing.drain],
        shadow_registers=int(timing.shadow_registers),
        overhead_cycles=timing.overhead_cycles - (law is Law.SCALESIM),
        used_edges=int(timing.edge_tiles is EdgeTiles.USED),
    )


def tile_timing(array: FoldTiming, m: int, k: int, n: int) -> tuple[int, int, int, int]:
    """What an m×k by k×n product costs: (folds, PEs that hold work summed over folds, occupancy, latency).

    The occupancy is the sum of the fold intervals, after which the array takes the next product; the latency is the
    time to the last result. The op's overhead is in neither. Products back to back therefore cost the occupancies of
    all but the last plus the latency of the last: the closed form of the op. (`ideal` rounds up once per call.)
    """
    rows, cols = array.rows, array.cols
    if array.stationary == _OS:
        down, across, streamed = m, n, k
    elif array.stationary == _WS:
        down, across, streamed = k, n, m
    else:
        down, across, streamed = k, m, n
    num_folds = -(-down // rows) * -(-across // cols)
    if array.law == _IDEAL:
        cycles = -(-m * k * n // (rows * cols))
        return num_folds, num_folds * rows * cols, cycles, cycles

    first_load = -1
    occupancy = latency = 0
    for row_edge in range(2):  # full folds, then the partial ones, which may be done before them
        used_rows = down % rows if row_edge else rows
        num_down = min(1, used_rows) if row_edge else down // rows
        for col_edge in range(2):
            used_cols = across % cols if col_edge else cols
            num_across = min(1, used_cols) if col_edge else across // cols
            if num_down * num_across == 0:
                continue
            r = used_rows if array.used_edges else rows
            c = used_cols if array.used_edges else cols
            skew = (r - 1) * array.row_pitch + (c - 1) * array.col_pitch + array.pe_latency + array.edge_registers
            tail = max(streamed, streamed - 1 + skew)
            if array.stationary == _OS:
                load = 0
                drain_busy = drain = 0
                if array.drain == _DRAIN_ROWS:
                    drain_busy, drain = (r - 1) * max(1, array.row_pitch) + 1, r - 1
                elif array.drain == _DRAIN_COLS:
                    drain_busy = (r - 1) * array.row_pitch + (c - 1) * (array.col_pitch + 1) + 1
                    drain = c - 1
                tail += drain
                interval = max(streamed, drain_busy) if array.shadow_registers else tail
            else:
                load = r if array.load_cycles < 0 else array.load_cycles
                reload = load + array.input_registers
                reload += max(0, array.row_pitch - array.load_skew_rows) * (r - 1)
                reload += max(0, array.col_pitch - array.load_skew_cols) * (c - 1)
                if array.weight_buffers == 1:
                    least = r if array.reload_cycles < 0 else array.reload_cycles
                    interval = max(streamed, reload + streamed - 1, least)
                else:
                    interval = max(streamed, max(r, reload) if array.reload_cycles < 0 else array.reload_cycles)
            if array.law == _SCALESIM:
                interval = load + tail
            elif array.law == _GEMMINI:  # rows come in tiles of the array's size; the op's last tile preloads nothing
                interval = -(-streamed // rows) * rows
                last = streamed - (interval - rows) if array.stationary != _OS else rows
                tail = interval - rows + max(last, _GEMMINI_LEAST_ROWS) - 1 + skew
            if first_load < 0:
                first_load = load
            occupancy += num_down * num_across * interval
            latency = max(latency, first_load + occupancy - interval + tail)
    return num_folds, down * across, occupancy, latency


def one_step(array: FoldTiming) -> int:
    """Cycles of a full fold of a single step, or from one to the next; a fold of T steps takes no more than T times."""
    shape = (array.rows, 1, array.cols)
    if array.stationary != _OS:
        shape = (1, array.rows, array.cols) if array.stationary == _WS else (array.cols, array.rows, 1)
    _, _, interval, latency = tile_timing(array, *shape)
    return max(interval, latency)


def gemm_timing(array: FoldTiming, gemm: Gemm) -> GemmTiming:
    """What `gemm` costs untiled, its `count` products one after the other."""
    num_folds, fold_pes, occupancy, latency = tile_timing(array, gemm.m, gemm.k, gemm.n)
    cycles = array.overhead_cycles + (gemm.count - 1) * occupancy + latency
    if array.law == _IDEAL:
        cycles = ceil_div(gemm.macs, array.rows * array.cols)
    uncounted = int(array.law == _SCALESIM)  # its last cycle, in which its last MACs are
    full = {
        _OS: (array.rows, gemm.k, array.cols),
        _WS: (gemm.m, array.rows, array.cols),
        _IS: (array.cols, array.rows, gemm.n),
    }
    _, _, interval_cycles, fold_cycles = tile_timing(array, *full[array.stationary])
    return GemmTiming(
        folds=gemm.count * num_folds,
        compute_cycles=cycles,
        fold_cycles=fold_cycles,
        interval_cycles=interval_cycles,
        mapping_efficiency=fold_pes / (num_folds * array.rows * array.cols),
        utilisation=gemm.macs / ((cycles + uncounted) * array.rows * array.cols),
    )
