"""The tables of a run, as plain values under fixed column names: layers, exits, inputs, energy, operating points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ceesim.hardware.energy.actions import Component, Uncertainty
from ceesim.hardware.model import Hardware
from ceesim.program.command import Amount, Program, Unit
from ceesim.sim.costs import Priced
from ceesim.sim.energy import layer_energy
from ceesim.sim.operating_points import cost_of_points, is_cheapest
from ceesim.sim.result import RunResult

LAYER_COLUMNS: Final = (
    "op", "segment", "kind", "unit", "macs", "vector_ops", "folds", "cycles", "busy_cycles", "stall_cycles",
    "mapping_efficiency", "utilisation", "ifmap_dram_bytes", "weight_dram_bytes", "ofmap_dram_bytes", "energy_pj",
    "bottleneck",
)  # fmt: skip
EXIT_COLUMNS: Final = (
    "exit_index", "num_inputs", "latency_cycles", "occupancy_cycles", "energy_pj", "dram_bytes", "macs", "flops",
    "executed_macs", "wasted_macs", "wasted_dram_bytes",
)  # fmt: skip
INPUT_COLUMNS: Final = ("input", "exit_index", "prediction", "correct", "latency_cycles", "energy_pj", "dram_bytes")
ENERGY_COLUMNS: Final = ("network", "component", "price", "energy_pj", "low_pj", "high_pj")
POINT_COLUMNS: Final = (
    "clock_hz", "voltage_v", "transition_s", "mean_latency_s", "worst_latency_s", "energy_pj", "static_latency_s",
    "static_energy_pj", "cheapest_from_deadline_s",
)  # fmt: skip


def layers(priced: Priced, hardware: Hardware, density: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row per layer and decision, in program order, for an input that runs to the end.

    `cycles` is the layer's advance of the critical path (the latest finish so far), so the column sums to the latency;
    `busy_cycles` is the occupancy of its own unit, `stall_cycles` the part of the advance that this unit was not busy.

    Args:
        density: share of non-zero ifmap values by op name, for zero gating.
    """
    program, timeline = priced.program, priced.costs.timeline
    rows, reached = [], 0
    pes = hardware.array.rows * hardware.array.cols
    for i, layer in enumerate(program.layers):
        own = program.layer == i
        amounts = program.amounts[own].sum(axis=0)
        finish = int(timeline.finish_cycles[own].max(initial=0))
        cycles = max(0, finish - reached)
        reached = max(reached, finish)
        busy = [int(program.occupancy_cycles[own & (program.unit == unit)].sum()) for unit in Unit]
        own_busy = busy[layer.unit]
        folds, macs = int(amounts[Amount.FOLDS]), int(amounts[Amount.MACS])
        rows.append(
            {
                "op": layer.name,
                "segment": layer.segment,
                "kind": layer.kind,
                "unit": layer.unit.name.lower(),
                "macs": macs,
                "vector_ops": int(amounts[Amount.VECTOR_OPS]),
                "folds": folds,
                "cycles": cycles,
                "busy_cycles": own_busy,
                "stall_cycles": max(0, cycles - own_busy),
                "mapping_efficiency": int(amounts[Amount.FOLD_PES]) / (folds * pes) if folds else None,
                "utilisation": macs / (own_busy * pes) if folds and own_busy else None,
                "ifmap_dram_bytes": int(amounts[Amount.IFMAP_DRAM_BYTES]),
                "weight_dram_bytes": int(amounts[Amount.WEIGHT_DRAM_BYTES] + amounts[Amount.HEAD_WEIGHT_DRAM_BYTES]),
                "ofmap_dram_bytes": int(amounts[Amount.OFMAP_DRAM_BYTES]),
                "energy_pj": None,
                "bottleneck": _bottleneck(layer.is_decision, layer.is_head, busy, program),
            }
        )
    advances = np.array([row["cycles"] for row in rows])
    energies = layer_energy(program, priced.costs, hardware, density, advances)
    for row, energy in zip(rows, energies.tolist(), strict=True):
        row["energy_pj"] = energy
    return rows


def _bottleneck(is_decision: bool, is_head: bool, busy: list[int], program: Program) -> str:
    """What a layer is mostly waiting for: its decision, its head, the DRAM, or its own arithmetic.

    Args:
        busy: [units] cycles.
    """
    if is_decision:
        return "decision"
    if is_head:
        return "head"
    ways = (busy[Unit.LOAD], busy[Unit.STORE])
    moving = sum(ways) if program.has_one_dma_queue else max(ways)
    computing = {"compute": busy[Unit.ARRAY], "vector": busy[Unit.VECTOR]}
    slowest = max(computing, key=lambda name: computing[name])
    return "dram" if moving > computing[slowest] else slowest


def exits(result: RunResult) -> list[dict[str, Any]]:
    """One row per exit of the network as compiled, the last for running to the end.

    Under a scenario inputs are counted that were served; what leaving costs is that of an input alone.
    """
    priced, num_inputs = result.dynamic, result.exit_counts
    if result.scenario is not None:
        num_inputs = result.scenario.dynamic.leaving_counts
    costs, macs, flops = priced.costs, priced.path_macs, priced.path_flops
    energies = result.energy(priced).total
    return [
        {
            "exit_index": exit_index,
            "num_inputs": int(num_inputs[row]),
            "latency_cycles": int(costs.latency_cycles[row]),
            "occupancy_cycles": int(costs.occupancy_cycles[row]),
            "energy_pj": float(energies[row]),
            "dram_bytes": int(costs.dram_bytes[row]),
            "macs": int(macs[row]),
            "flops": int(flops[row]),
            "executed_macs": int(costs.executed_macs[row]),
            "wasted_macs": int(costs.wasted_macs[row]),
            "wasted_dram_bytes": int(costs.wasted_dram_bytes[row]),
        }
        for row, exit_index in enumerate(priced.exit_indices)
    ]


def input_columns(result: RunResult) -> dict[str, npt.NDArray[Any] | list[Any]]:
    """The columns of inputs.csv, one value per input; `correct` is empty where the label is unknown.

    Under a scenario these are the inputs that were served, in the order of their arrival; latency is from arrival to
    answer, and members of a group share its energy and bytes.
    """
    trace = result.trace
    known = trace.labels >= 0
    right = trace.predictions == trace.labels
    correct = np.where(known, right.astype(np.int64).astype(str), "")
    if result.scenario is None:
        index = np.arange(trace.num_inputs)
        latency, energy = result.latency_cycles, result.energy(result.dynamic).total[result.rows]
        dram_bytes: npt.NDArray[Any] = result.dram_bytes
    else:
        rows = result.scenario.dynamic.rows
        if rows is None:
            raise ValueError("the scenario was played without keeping a row per input")
        order = np.argsort(np.array(rows.number), kind="stable")
        index = np.array(rows.index)[order]
        latency = (np.array(rows.answer_cycle) - np.array(rows.arrival_cycle))[order]
        energy, dram_bytes = np.array(rows.energy_pj)[order], np.array(rows.dram_bytes)[order]
    return {
        "input": index,
        "exit_index": trace.exit_index[index],
        "prediction": trace.predictions[index],
        "correct": correct[index].tolist(),
        "latency_cycles": latency,
        "energy_pj": energy,
        "dram_bytes": dram_bytes,
    }


def by_segment(rows: list[dict[str, Any]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Layer rows grouped by segment, in order."""
    for segment in dict.fromkeys(row["segment"] for row in rows):
        yield segment, [row for row in rows if row["segment"] == segment]


def energy(result: RunResult) -> list[dict[str, Any]]:
    """Mean energy of an input alone, static and dynamic, by component and by kind of price, with the band of each.

    Prices of one kind are wrong together: by one factor in all rows of one technology.
    """
    rows = []
    for network, spent in zip(("dynamic", "static"), result.mean_energy(), strict=True):
        for component in Component:
            for kind in Uncertainty:
                pj = float(spent.pj[0, component, kind])
                if pj:
                    low, high = (pj * float(end[kind]) for end in spent.bands)
                    values = (network, component.key, kind.key, pj, low, high)
                    rows.append(dict(zip(ENERGY_COLUMNS, values, strict=True)))
    return rows


def operating_points(result: RunResult) -> list[dict[str, Any]]:
    """One row per clock and supply, the run's own first; none if the hardware has no others.

    `cheapest_from_deadline_s` is the deadline from which no other point that keeps it takes less energy; None where one
    always does.
    """
    costs = cost_of_points(result)
    rows = []
    for cost, chosen in zip(costs, is_cheapest(costs), strict=True):
        values = (
            cost.point.clock_hz, cost.point.voltage_mv / 1000, cost.transition_s, cost.mean_latency_s,
            cost.worst_latency_s, cost.energy_pj, cost.static_latency_s, cost.static_energy_pj,
            cost.deadline_s if chosen else None,
        )  # fmt: skip
        rows.append(dict(zip(POINT_COLUMNS, values, strict=True)))
    return rows
