"""One point of a sweep: the hardware and the policy it names, one trace replayed on them, one row of plain values.

The columns are the paths of summary.json, and the ends of the energy by kind of price. Work is shared where points are
neighbours: a layer is not mapped again for a machine it was mapped for (`ceesim.mapping.plan`), a network is not
compiled again for the same hardware, and inputs are not replayed again under the same policy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeAlias

from ceesim.errors import CeesimError
from ceesim.exits.policy import DecisionCost
from ceesim.exits.trace import ExitTrace
from ceesim.explore.knobs import Value, policy_with
from ceesim.explore.reasons import in_one_line
from ceesim.explore.space import Point, Space, hardware_settings, policy_settings
from ceesim.hardware.energy.actions import Component, Uncertainty
from ceesim.hardware.load import override
from ceesim.hardware.model import Hardware, Lookahead
from ceesim.results.scenario import OPERANDS
from ceesim.results.summary import PERCENTILES, REDUCED, summary
from ceesim.sim.costs import Priced
from ceesim.sim.run import Engine, meeting, price_network, replay
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.workload.network import Workload

Row: TypeAlias = tuple[str, ...]
"""The cells of a point as they stand in a CSV file, in the order of `columns`."""

OK: Final = "ok"
FAILED: Final = "failed"

_MEASURES: Final = (
    "latency_cycles.mean", *(f"latency_cycles.p{percent}" for percent in PERCENTILES), "latency_cycles.max",
    "latency_s.mean", "energy_pj.mean", "dram_bytes.mean", "macs.mean", "flops.mean", "executed_macs.mean",
    "wasted_macs.mean", "wasted_dram_bytes.mean", "power_w", "edp_js", "throughput_per_s", "deadline_misses",
    *(f"dram_bytes.by_operand.{name}" for name in OPERANDS),
    *(f"energy_pj.by_component.{component.key}" for component in Component),
)  # fmt: skip
SUMMARY_METRICS: Final = (
    "area_mm2", "accuracy.dynamic", "accuracy.static",
    *(f"dynamic.{name}" for name in _MEASURES),
    *(f"static.{name}" for name in _MEASURES if not name.startswith("wasted")),
    *(f"reduction.{name}" for name in REDUCED),
)  # fmt: skip
"""Paths into summary.json that every row has; where summary.json says null, the cell is empty."""
ENERGY_ENDS: Final = tuple(
    tuple(f"dynamic.energy_pj.{end}.{kind.key}" for kind in Uncertainty) for end in ("low", "high")
)
"""[low or high][kind of price] what an input spends of a kind if all prices of that kind are at that end."""
DROPPED: Final = "dynamic.dropped"
"""Share of the inputs that found the queue full; empty where there is no scenario."""
METRICS: Final = (*SUMMARY_METRICS, DROPPED, *ENERGY_ENDS[0], *ENERGY_ENDS[1])
"""Every number of a row but the exit rates, which depend on the network."""


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """What stays the same at every point.

    Args:
        hardware: before a point changes it.
        trace: under the policy before a point changes that.
        rates: whose exit rates `residency: auto` goes by.
        scenario: how inputs meet; None: one after another.
    """

    hardware: Hardware
    trace: ExitTrace
    rates: ExitTrace | None = None
    scenario: Scenario | None = None

    def metrics(self, point: Point) -> tuple[Value, ...]:
        """The values of `METRICS` and of the exit rates at `point`.

        Raises:
            HardwareError, PolicyError, MappingError: if there is no such design, or the network does not fit it.
            ScenarioError: if it cannot serve the arrivals.
        """
        hardware = override(self.hardware, hardware_settings(point))
        trace, rates = self.trace, self.rates
        if thresholds := tuple(policy_settings(point).items()):
            trace, rates = _under(trace, thresholds), None if rates is None else _under(rates, thresholds)
        result = replay(hardware, trace, rates, pricer=_price)
        if self.scenario is not None:
            result = meeting(result, self.scenario)
        result = replace(result, hardware=_uncontrolled(hardware))  # all that is left to ask are clock, area and joules
        numbers = summary(result, intervals=False)
        spent, served, dropped = result.mean_energy()[0], 1, None
        if result.scenario is not None:
            played = result.scenario.dynamic
            spent, served, dropped = played.energy, played.num_served, played.num_dropped / played.num_arrived
        ends = (spent.bands * spent.pj[0].sum(axis=0) / served).ravel().tolist()
        return (*(_find(numbers, path) for path in SUMMARY_METRICS), dropped, *ends, *numbers["exit_rate"])

    def row(self, index: int, point: Point) -> Row:
        """The row of point number `index`; a design that cannot be is a row as well, with the reason."""
        metrics: Sequence[Value]
        try:
            metrics, status, reason = self.metrics(point), OK, ""
        except CeesimError as problem:
            metrics = [None] * (len(METRICS) + self.trace.workload.num_exits + 1)
            status, reason = FAILED, in_one_line(problem, point)
        return (str(index), status, *map(_cell, point.values()), *map(_cell, metrics), reason)


def columns(experiment: Experiment, space: Space) -> tuple[str, ...]:
    """The names of a row's cells."""
    rates = (f"exit_rate.{i + 1}" for i in range(experiment.trace.workload.num_exits + 1))
    return ("point", "status", *(knob.column for knob in space.knobs), *METRICS, *rates, "reason")


@lru_cache(maxsize=16)
def _under(trace: ExitTrace, thresholds: tuple[tuple[str, Value], ...]) -> ExitTrace:
    return trace.under(policy_with(trace.policy, dict(thresholds)))


def _price(
    workload: Workload, kept: tuple[int, ...], hardware: Hardware, cost: DecisionCost, rates: Any, engine: Engine
) -> Priced:
    """`price_network`, which does not do again what only decisions or joules depend on."""
    if not kept:
        hardware = _uncontrolled(hardware)
    return _priced(workload, kept, hardware, cost, rates, engine)


_priced = lru_cache(maxsize=16)(price_network)


def _uncontrolled(hardware: Hardware) -> Hardware:
    """`hardware` as far as it matters where nothing is decided: points that differ in control alone share it."""
    control = hardware.control.model_copy(update={"lookahead": Lookahead.STALL, "decision_cycles": 0})
    return hardware.model_copy(update={"control": control})


def _find(numbers: Any, path: str) -> Value:
    for key in path.split("."):
        if numbers is None:
            return None
        numbers = numbers[key]
    return numbers  # type: ignore[no-any-return]


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return repr(value) if isinstance(value, float) else str(value)
