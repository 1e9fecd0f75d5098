"""A scenario in numbers: its measures under the keys of summary.json, and the files that only scenarios have.

`scenario.json` splits latency into waiting and service and says who was busy; `queue.csv` is the queue over time;
`arrivals.csv` has a row per input that was served.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from ceesim.hardware.energy.actions import Component, State
from ceesim.hardware.energy.price import Waiting
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.model import Hardware
from ceesim.program.command import Amount, Unit
from ceesim.sim.scenarios.outcome import PipelineOutcome, Played, ScenarioResult
from ceesim.units import cycles_to_seconds

SCENARIO_SCHEMA: Final = "ceesim.scenario/1"
JOULES_PER_PJ: Final = 1e-12
OPERANDS: Final = {
    "ifmap": Amount.IFMAP_DRAM_BYTES,
    "weight": Amount.WEIGHT_DRAM_BYTES,
    "ofmap": Amount.OFMAP_DRAM_BYTES,
    "head_weight": Amount.HEAD_WEIGHT_DRAM_BYTES,
}
QUEUE_COLUMNS: Final = ("network", "end_cycle", "mean_length", "largest_length")
ARRIVAL_COLUMNS: Final = ("number", "input", "unit", "arrival_cycle", "begin_cycle", "answer_cycle")
DISTRIBUTION_POINTS: Final = 200


def played_measures(played: Played, clock_hz: int) -> dict[str, Any]:
    """Means over the inputs that were served; `deadline_misses` counts late answers and drops.

    `power_w` is the energy of all work over the time from the first arrival to the last command; waiting is not in it.
    """
    served = max(played.num_served, 1)
    pj = float(played.energy.total[0]) / served
    return {
        "macs": {"mean": played.path_macs / served},
        "flops": {"mean": played.path_flops / served},
        "latency_cycles": {
            "mean": played.latency.mean,
            **{f"p{percent}": value for percent, value in played.latency_percentiles.items()},
            "max": played.latency_max,
        },
        "latency_s": {"mean": cycles_to_seconds(played.latency.mean, clock_hz)},
        "energy_pj": {
            "mean": pj,
            "by_component": {
                component.key: float(played.energy.by_component[0, component]) / served for component in Component
            },
        },
        "dram_bytes": {
            "mean": played.dram_bytes / served,
            "by_operand": {name: int(played.amounts[amount]) / served for name, amount in OPERANDS.items()},
        },
        "executed_macs": {"mean": played.executed_macs / served},
        "wasted_macs": {"mean": played.wasted_macs / served},
        "wasted_dram_bytes": {"mean": played.wasted_dram_bytes / served},
        "power_w": float(played.energy.total[0]) * JOULES_PER_PJ * clock_hz / max(played.end_cycle, 1),
        "edp_js": pj * JOULES_PER_PJ * cycles_to_seconds(played.latency.mean, clock_hz),
        "throughput_per_s": played.num_served * clock_hz / max(played.end_cycle, 1),
        "deadline_misses": None if played.num_late is None else played.num_late + played.num_dropped,
    }


def scenario_record(result: ScenarioResult, hardware: Hardware) -> dict[str, Any]:
    """scenario.json."""
    return {
        "schema": SCENARIO_SCHEMA,
        "scenario": result.scenario.model_dump(mode="json", exclude_none=True),
        "dynamic": _record(result.dynamic, hardware),
        "static": None if result.static is None else _record(result.static, hardware),
        "static_load": result.static_load,
    }


def idle_energy_pj(played: Played, hardware: Hardware, waiting: Waiting) -> float:
    """Energy of all accelerators between groups, asleep or awake, and of their DRAM, which they may share."""
    state = State.ASLEEP if waiting is Waiting.RACE_TO_SLEEP else State.AWAKE
    per_cycle = energy_table(hardware).state_pj[state].sum(axis=-1)
    of_dram = float(per_cycle[Component.DRAM])
    return played.idle_cycles * (float(per_cycle.sum()) - of_dram) + played.dram_idle_cycles * of_dram


def _record(played: Played, hardware: Hardware) -> dict[str, Any]:
    span = max(played.end_cycle, 1) * len(played.unit_utilisation)
    return {
        "load": played.load,
        "arrived": played.num_arrived,
        "served": played.num_served,
        "dropped": played.num_dropped,
        "late": played.num_late,
        "miss_rate": None if played.miss_rate is None else played.miss_rate.to_json(),
        "end_cycle": played.end_cycle,
        "waiting_cycles": played.waiting.to_json()
        | {f"p{percent}": value for percent, value in played.waiting_percentiles.items()}
        | {"max": played.waiting_max},
        "service_cycles": {"mean": played.latency.mean - played.waiting.mean},
        "latency_cycles": played.latency.to_json()
        | {f"p{percent}": value for percent, value in played.latency_percentiles.items()}
        | {"max": played.latency_max},
        "queue_length": {"mean": played.queue_mean, "max": played.queue_most},
        "unit_utilisation": list(played.unit_utilisation),
        "queue_utilisation": {unit.name.lower(): int(played.busy_cycles[unit]) / span for unit in Unit},
        "dma_utilisation": played.dma_utilisation,
        "groups": played.num_groups,
        "inputs_per_group": played.num_members / max(played.num_groups, 1),
        "patterns_priced": played.num_patterns,
        "idle_energy_pj": {
            waiting.value: idle_energy_pj(played, hardware, waiting) / max(played.num_served, 1) for waiting in Waiting
        },
        "latency_distribution": distribution(played),
        "pipeline": None if played.pipeline is None else _pipeline(played.pipeline, hardware.clock_hz),
    }


def _pipeline(pipeline: PipelineOutcome, clock_hz: int) -> dict[str, Any]:
    return {
        "stages": [
            {
                "segments": list(stage.segments),
                "units": stage.units,
                "work_cycles_per_input": stage.work_cycles,
                "busy": stage.busy,
                "blocked": stage.blocked,
                "queue_length": {"mean": stage.queue_mean, "max": stage.queue_most},
            }
            for stage in pipeline.stages
        ],
        "shifts": [
            {
                "factor": shift.factor,
                "pipeline_per_s": shift.pipeline * clock_hz,
                "units_apart_per_s": shift.apart * clock_hz,
            }
            for shift in pipeline.shifts
        ],
    }


def distribution(played: Played) -> list[list[float]]:
    """[latency in cycles, share of inputs that had their answer by then], at most `DISTRIBUTION_POINTS` + 1 points."""
    values, counts = played.latency_points
    if not len(values):
        return []
    below = np.cumsum(counts) / counts.sum()
    ranks = np.arange(0, DISTRIBUTION_POINTS + 1) / DISTRIBUTION_POINTS
    chosen = np.unique(np.minimum(np.searchsorted(below, ranks), len(values) - 1))
    return [[int(values[i]), float(below[i])] for i in chosen]


def queue_rows(result: ScenarioResult) -> Iterator[dict[str, Any]]:
    """The rows of queue.csv."""
    for name, played in (("dynamic", result.dynamic), ("static", result.static)):
        if played is not None:
            for end, mean, most in zip(*(column.tolist() for column in played.queue_samples), strict=True):
                yield dict(zip(QUEUE_COLUMNS, (name, end, mean, most), strict=True))


def arrival_columns(result: ScenarioResult) -> dict[str, Any]:
    """The columns of arrivals.csv, by number of arrival."""
    rows = result.dynamic.rows
    if rows is None:
        return {name: [] for name in ARRIVAL_COLUMNS}
    columns = (rows.number, rows.index, rows.unit, rows.arrival_cycle, rows.begin_cycle, rows.answer_cycle)
    order = np.argsort(np.array(rows.number), kind="stable")
    return {name: np.array(column)[order] for name, column in zip(ARRIVAL_COLUMNS, columns, strict=True)}
