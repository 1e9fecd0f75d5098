"""summary.json: the numbers of a run under one fixed set of keys, `null` where a part was not computed.

Percentiles are nearest-rank: a latency that inputs really had. Intervals are 95% bootstrap percentiles; because an
input's latency depends on its exit alone, resampling inputs is resampling the multinomial of exits.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ceesim.exits.metrics import mean_interval
from ceesim.hardware.energy.actions import Component
from ceesim.hardware.energy.table import energy_table
from ceesim.program.command import Int64s
from ceesim.results.scenario import JOULES_PER_PJ, OPERANDS, played_measures
from ceesim.sim.costs import Priced
from ceesim.sim.result import RunResult
from ceesim.sim.scenarios.statistics import saved
from ceesim.units import ceil_div, cycles_to_seconds
from ceesim.workload.flops import Convention

SCHEMA: Final = "ceesim.summary/1"
PERCENTILES: Final = (50, 95, 99)
REDUCED: Final = ("macs", "flops", "latency", "energy", "dram_bytes")


def summary(result: RunResult, *, intervals: bool = True) -> dict[str, Any]:
    """The summary of a run, JSON-ready; without `intervals` the bootstrap is left out, which takes longest."""
    hardware, trace = result.hardware, result.trace
    num_inputs = trace.num_inputs
    counts = result.exit_counts
    rates = np.zeros(trace.workload.num_exits + 1)
    rates[np.array(result.dynamic.exit_indices) - 1] = counts / num_inputs
    scenario = result.scenario
    if scenario is None:
        dynamic = _measures(result, result.dynamic, counts)
        static: dict[str, Any] | None = _measures(result, result.static, np.array([num_inputs]))
        ci95 = _intervals(result, counts) if intervals else None
    else:
        dynamic = played_measures(scenario.dynamic, hardware.clock_hz)
        static = None if scenario.static is None else played_measures(scenario.static, hardware.clock_hz)
        bounds = None if scenario.static is None else saved(scenario.dynamic.latency, scenario.static.latency)
        ci95 = dict.fromkeys(REDUCED) | {"latency": None if bounds is None else list(bounds)}
    return {
        "schema": SCHEMA,
        "hardware": hardware.name,
        "network": trace.workload.name,
        "dataset": trace.dataset,
        "num_inputs": num_inputs if scenario is None else scenario.dynamic.num_arrived,
        "width": trace.workload.width,
        "policy": trace.policy.to_json(),
        "scenario": "closed" if scenario is None else scenario.scenario.label,
        "batch": 1 if scenario is None else scenario.scenario.batch.size,
        "clock_hz": hardware.clock_hz,
        "flops_convention": Convention.STD.value,
        "area_mm2": energy_table(hardware).area_mm2,
        "accuracy": {"static": trace.static_accuracy, "dynamic": trace.accuracy},
        "exit_rate": rates.tolist(),
        "dynamic": dynamic,
        "static": static,
        "reduction": _reductions(dynamic, static) | {"ci95": ci95},
    }


def _measures(result: RunResult, priced: Priced, counts: Int64s) -> dict[str, Any]:
    """Means over inputs, and percentiles of latency, of one network."""
    costs, clock_hz = priced.costs, result.hardware.clock_hz

    def mean(per_exit: npt.NDArray[Any]) -> float:
        return float(np.dot(per_exit, counts) / counts.sum())

    latency, energy = mean(costs.latency_cycles), result.energy(priced)
    joules = mean(energy.total) * JOULES_PER_PJ
    return {
        "macs": {"mean": mean(priced.path_macs)},
        "flops": {"mean": mean(priced.path_flops)},
        "latency_cycles": {
            "mean": latency,
            **{f"p{percent}": percentile(costs.latency_cycles, counts, percent) for percent in PERCENTILES},
            "max": int(costs.latency_cycles[counts > 0].max()),
        },
        "latency_s": {"mean": cycles_to_seconds(latency, clock_hz)},
        "energy_pj": {
            "mean": mean(energy.total),
            "by_component": {component.key: mean(energy.by_component[:, component]) for component in Component},
        },
        "dram_bytes": {
            "mean": mean(costs.dram_bytes),
            "by_operand": {name: mean(costs.amounts[:, amount]) for name, amount in OPERANDS.items()},
        },
        "executed_macs": {"mean": mean(costs.executed_macs)},
        "wasted_macs": {"mean": mean(costs.wasted_macs)},
        "wasted_dram_bytes": {"mean": mean(costs.wasted_dram_bytes)},
        "power_w": joules * clock_hz / mean(costs.occupancy_cycles),
        "edp_js": joules * cycles_to_seconds(latency, clock_hz),
        "throughput_per_s": clock_hz / mean(costs.occupancy_cycles),
        "deadline_misses": None,
    }


def percentile(values: Int64s, counts: Int64s, percent: int) -> int:
    """Nearest-rank percentile of `values` that occur `counts` times each."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(counts[order])
    rank = ceil_div(percent * int(below[-1]), 100)
    return int(values[order][np.searchsorted(below, rank)])


def _reductions(dynamic: dict[str, Any], static: dict[str, Any] | None) -> dict[str, Any]:
    """1 − dynamic / static of each measure."""

    def of(key: str) -> float | None:
        return None if static is None or not static[key]["mean"] else 1 - dynamic[key]["mean"] / static[key]["mean"]

    keys = dict(zip(REDUCED, ("macs", "flops", "latency_cycles", "energy_pj", "dram_bytes"), strict=True))
    return {name: of(key) for name, key in keys.items()}


def _intervals(result: RunResult, counts: Int64s) -> dict[str, list[float] | None]:
    """95% bootstrap interval of each reduction, over inputs; None from a single one."""
    if counts.sum() < 2:
        return dict.fromkeys(REDUCED)
    pairs = {
        "macs": (result.dynamic.path_macs, result.static.path_macs),
        "flops": (result.dynamic.path_flops, result.static.path_flops),
        "latency": (result.dynamic.costs.latency_cycles, result.static.costs.latency_cycles),
        "energy": (result.energy(result.dynamic).total, result.energy(result.static).total),
        "dram_bytes": (result.dynamic.costs.dram_bytes, result.static.costs.dram_bytes),
    }
    return {
        name: list(mean_interval(counts, 1 - dynamic / float(static[-1]))) for name, (dynamic, static) in pairs.items()
    }
