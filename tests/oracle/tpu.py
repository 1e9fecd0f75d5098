"""Our fold timing and our simulator against TPUs: 855 matrix products by the clock, and the first TPU's own counters.

``python -m tests.oracle.tpu`` prints both comparisons (docs/validation.md shows them).

Products: time = overhead + cycles/clock; both are fitted, by least squares of relative errors, on a tenth of the rows,
and the rest is predicted. The source names no chip. It counts for a 128×128 array that streams the smaller of M and N,
and so do we; `streams M` is what the same array costs without that choice.

Counters: Jouppi et al. publish layers, weights, batch, and operations per weight, not shapes. The shapes here follow
from them: MLP0, 5 layers and 20 M weights: 2000×2000, batch 200. LSTM0, 24 fully connected layers and 52 M weights:
1472×1472, batch 64. CNN0, 16 convolutions and 8 M weights at 2888 operations per weight, batch 8: 361 = 19×19 pixels,
so 3×3 on 240 channels. (CNN0's batch is one tall map; its edges differ in 16 of 152 rows.)
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from ceesim.exits.policy import DecisionCost
from ceesim.hardware.array import Dataflow, Profile
from ceesim.hardware.load import load_hardware
from ceesim.mapping.folds import fold_timing, gemm_timing
from ceesim.program.command import Unit
from ceesim.sim.run import price_network
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Function, Gemm, Op, Shape, conv, elementwise, linear, reshape

DATA = Path(__file__).parent.parent / "data"
ARRAY_SIZE = 128
TRAINING_SHARE = 0.1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Products:
    """The measured products: M, N, K, microseconds, and what SCALE-Sim was reported to say, in cycles."""

    m: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]
    k: npt.NDArray[np.int64]
    measured_us: Floats
    scalesim_cycles: Floats


@dataclass(frozen=True, slots=True)
class Fit:
    """What the training rows gave, and how the rest was predicted."""

    overhead_us: float
    cycles_per_us: float
    rank_correlation: float
    mape_percent: float


def products() -> Products:
    rows = _read("tpu_matmul_measured_us.csv")
    m, n, k = (np.array([int(row[f"kernel_dim{i}"]) for row in rows]) for i in (1, 2, 3))
    times, cycles = (
        np.array([float(row[name]) for row in rows]) for name in ("fusion_us_avg", "scalesim_cycles_reported_by_source")
    )
    return Products(m, n, k, times, cycles)


def cycles(measured: Products, profile: Profile, *, stream_smaller: bool) -> Floats:
    """Weight-stationary cycles of every product on the 128×128 array."""
    array = fold_timing(ARRAY_SIZE, ARRAY_SIZE, Dataflow.WS, profile)
    gemms = [
        Gemm(m=int(min(m, n) if stream_smaller else m), k=int(k), n=int(max(m, n) if stream_smaller else n))
        for m, n, k in zip(measured.m, measured.n, measured.k, strict=True)
    ]
    return np.array([gemm_timing(array, gemm).compute_cycles for gemm in gemms], dtype=np.float64)


def predictors(measured: Products) -> dict[str, Floats]:
    return {
        "ours: profile tpu": cycles(measured, Profile.TPU, stream_smaller=True),
        "ours: profile tpu, streams M": cycles(measured, Profile.TPU, stream_smaller=False),
        "SCALE-Sim, as reported by the source": measured.scalesim_cycles,
        "SCALE-Sim's formula, streams M": cycles(measured, Profile.SCALESIM, stream_smaller=False),
        "plain MACs": (measured.m * measured.n * measured.k).astype(np.float64),
    }


def fit(predicted: Floats, measured_us: Floats, seed: int) -> Fit:
    """Fit on a tenth of the rows, chosen by `seed`; predict the others."""
    order = np.random.default_rng(seed).permutation(len(measured_us))
    training, held_out = np.split(order, [round(TRAINING_SHARE * len(order))])
    design = np.stack([np.ones(len(training)), predicted[training]], axis=1) / measured_us[training, None]
    (overhead, per_cycle), *_ = np.linalg.lstsq(design, np.ones(len(training)))
    errors = np.abs((overhead + per_cycle * predicted[held_out]) / measured_us[held_out] - 1)
    rank = spearmanr(predicted[held_out], measured_us[held_out]).statistic
    return Fit(float(overhead), float(1 / per_cycle), float(rank), float(errors.mean() * 100))


def mlp0() -> Workload:
    return _stack("MLP0", 5, (200, 2000), Function.RELU)


def lstm0() -> Workload:
    return _stack("LSTM0", 24, (64, 1472), Function.SIGMOID)


def cnn0() -> Workload:
    return _stack("CNN0", 16, (240, 8 * 19, 19), Function.RELU)


def _stack(name: str, num_layers: int, shape: Shape, function: Function) -> Workload:
    """Layers of one shape, fully connected or 3×3 convolutions, each with its activation."""
    ops: list[Op] = []
    last = INPUT
    for layer in range(num_layers):
        if len(shape) == 3:
            ops.append(conv(f"layer{layer}", last, shape, shape[0], (3, 3), padding=(1, 1), bias=True))
        else:
            ops.append(linear(f"layer{layer}", last, shape, shape[1], bias=True))
        ops.append(elementwise(f"act{layer}", (f"layer{layer}",), shape, function))
        last = f"act{layer}"
    num_logits = shape[0] if len(shape) == 3 else shape[1]
    ops.append(reshape("out", last, shape, (num_logits,)))
    return Workload(name, num_logits, shape, tuple(ops), (), "out")


def counters(workload: Workload) -> dict[str, float]:
    """Percent of cycles on the shipped tpu_v1: useful MACs of the peak, and what the array did, by the chip's names.

    active: operands stream; shift: weights move into the array and nothing streams; stall: the array is idle while
    weights are fetched; other: it is idle otherwise.
    """
    hardware = load_hardware("tpu_v1.yaml")
    rows, cols = hardware.array.rows, hardware.array.cols
    priced = price_network(workload, (), hardware, DecisionCost(compares=0, state_bits=0))
    program, timeline = priced.program, priced.costs.timeline
    total = int(priced.costs.latency_cycles[-1])
    gemms = [op.gemm for op in workload.ops if op.gemm]
    active = sum(-(-gemm.k // rows) * -(-gemm.n // cols) * gemm.m for gemm in gemms)

    def busy(unit: Unit) -> npt.NDArray[np.bool_]:
        changes = np.zeros(total + 1, np.int64)
        mine = program.unit == int(unit)
        start = timeline.start_cycles[mine]
        np.add.at(changes, start, 1)
        np.add.at(changes, np.minimum(start + program.occupancy_cycles[mine], total), -1)
        return np.cumsum(changes)[:-1] > 0

    array, load = busy(Unit.ARRAY), busy(Unit.LOAD)
    parts = {
        "useful": sum(gemm.macs for gemm in gemms) / (rows * cols),
        "active": active,
        "stall": np.count_nonzero(~array & load),
        "shift": np.count_nonzero(array) - active,
        "other": np.count_nonzero(~array & ~load),
    }
    return {name: float(100 * part / total) for name, part in parts.items()}


def measured_counters() -> Mapping[str, Mapping[str, float]]:
    """The chip's own, by application, under the names of `counters`."""
    columns = {
        "useful": "useful_macs_pct_of_peak",
        "active": "array_active_pct",
        "stall": "weight_stall_pct",
        "shift": "weight_shift_pct",
        "other": "non_matrix_pct",
    }
    rows = _read("tpu_v1_counters.csv")
    return {row["application"]: {name: float(row[key]) for name, key in columns.items()} for row in rows}


def _read(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def main() -> None:
    measured = products()
    print("| predictor | rank correlation | MAPE | MAPE over 100 splits | overhead | cycles per µs |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, predicted in predictors(measured).items():
        found = fit(predicted, measured.measured_us, seed=0)
        spread = [fit(predicted, measured.measured_us, seed).mape_percent for seed in range(100)]
        low, high = np.percentile(spread, [5, 95])
        print(
            f"| {name} | {found.rank_correlation:.4f} | {found.mape_percent:.1f} % | {low:.1f} to {high:.1f} % "
            f"| {found.overhead_us:.2f} µs | {found.cycles_per_us:,.0f} |"
        )
    print("\n| application | | useful MACs | active | weight stall | weight shift | other |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for workload in (mlp0(), lstm0(), cnn0()):
        for who, found in (("chip", measured_counters()[workload.name]), ("ours", counters(workload))):
            print(f"| {workload.name} | {who} | " + " | ".join(f"{value:.1f} %" for value in found.values()) + " |")


if __name__ == "__main__":
    main()
