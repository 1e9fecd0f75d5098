"""The main job: replay a trace on a hardware. Read this first.

    trace + hardware ──compile──▶ Program ──engine──▶ ExitCosts ──look-up per input──▶ RunResult

A trace says which exit every input took; a Program says what the accelerator does up to each exit; `price` or
`price_by_events` says what that costs. The rest is indexing. The backbone without exits goes the same way, as the
baseline that every reduction is measured against.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from ceesim.errors import HardwareError, OptionError, TraceError
from ceesim.exits.policy import DecisionCost
from ceesim.exits.policy_file import PolicyLike
from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.hardware.energy.operating_points import beyond_supply
from ceesim.hardware.load import Overrides, load_hardware, override
from ceesim.hardware.model import Hardware, Residency
from ceesim.mapping.compiler import compile_program
from ceesim.program.command import Int64s, Program
from ceesim.sim.costs import ExitCosts, Priced, price, price_by_events
from ceesim.sim.result import RunResult
from ceesim.sim.scenarios.load import load_scenario
from ceesim.sim.scenarios.record import Progress
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.workload.network import Workload


class Engine(StrEnum):
    """Who executes the Program. SimPy is the reference; the compiled executor gives the same numbers, sooner."""

    SIMPY = "simpy"
    COMPILED = "compiled"


_PRICE: Final[dict[Engine, Callable[[Program], ExitCosts]]] = {
    Engine.SIMPY: price_by_events,
    Engine.COMPILED: price,
}


class PrecisionWarning(UserWarning):
    """The trace was captured at another precision than the hardware computes in."""


class RatesWarning(UserWarning):
    """Exit rates were given, and nothing goes by them."""


class SupplyWarning(UserWarning):
    """A supply was set that may not sustain the clock."""


def run(
    hardware: Hardware | str | Path,
    trace: ExitTrace | str | Path,
    *,
    overrides: Overrides = (),
    policy: PolicyLike | None = None,
    rates: ExitTrace | str | Path | None = None,
    engine: Engine | str = Engine.SIMPY,
    scenario: Scenario | str | Path | None = None,
    detailed: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Replay `trace` on `hardware`.

    Args:
        hardware: a `Hardware`, or a YAML file (a bare name is looked up in the working directory, then as shipped).
        trace: an `ExitTrace`, or its file, likewise.
        overrides: hardware keys to set, like ``{"array.rows": 32}`` or ``["array.rows=32"]``.
        policy: decides instead of the policy stored in the trace; needs a trace with logits. A policy, its record like
            ``{"name": "exclude", "beta": 0.5}``, or a policy.json.
        rates: a validation trace whose exit rates `residency: auto` goes by, and the division of a pipeline.
        engine: ``simpy`` or ``compiled``.
        scenario: how inputs meet: a `Scenario`, its short form (``poisson:500/s``), or its YAML file; by default one
            comes after the other.
        detailed: under a scenario, keep a row per input.
        progress: under a scenario, told of every input.

    Raises:
        HardwareError, TraceError, PolicyError, ScenarioError: if an input is malformed, or they do not fit each other.
        MappingError: if the network does not fit the hardware.
        OptionError: if `residency: auto` has no rates, or there is no such engine.

    Warns:
        PrecisionWarning: if the trace was captured at another precision than the hardware computes in.
        SupplyWarning: if the supply may not sustain the clock.
        RatesWarning: if rates are given and nothing goes by them.
    """
    executor, accelerator = _engine(engine), _hardware(hardware, overrides)
    inputs = _trace(trace)
    rated = None if rates is None else _trace(rates)
    if policy is not None:
        inputs = inputs.under(policy)
        rated = None if rated is None else rated.under(policy)
    asked = load_scenario(scenario) if isinstance(scenario, str | Path) else scenario
    warn_of_precision(accelerator, inputs)
    if rated is not None and accelerator.residency is not Residency.AUTO and (asked is None or asked.pipeline is None):
        warnings.warn(
            f"nothing goes by the exit rates: residency is {accelerator.residency}, and there is no pipeline to divide",
            RatesWarning,
            stacklevel=2,
        )
    result = replay(accelerator, inputs, rated, executor)
    return result if asked is None else meeting(result, asked, detailed=detailed, progress=progress)


def meeting(
    result: RunResult, scenario: Scenario, *, detailed: bool = False, progress: Progress | None = None
) -> RunResult:
    """`result` with what becomes of its inputs where they meet as `scenario` says; arguments as of `run`.

    Raises:
        ScenarioError: if the hardware cannot serve such arrivals.
    """
    if scenario.is_plain:
        return result
    from ceesim.sim.scenarios.play import play

    trace = result.trace
    played = play(
        scenario,
        result.hardware,
        result.dynamic,
        result.static,
        result.rows,
        exit_cost=trace.policy.cost(trace.workload.num_classes),
        exit_rates=result.exit_rates,
        density=result.density,
        detailed=detailed,
        progress=progress,
    )
    return replace(result, scenario=played)


def price_network(
    workload: Workload,
    kept: Sequence[int],
    hardware: Hardware,
    exit_cost: DecisionCost,
    exit_rates: Sequence[float] | None = None,
    engine: Engine = Engine.COMPILED,
    batch: Sequence[int] | int = 1,
    compacted: bool = False,
) -> Priced:
    """The price of each exit of `workload` with only the `kept` exits built in (none: the plain backbone).

    Args:
        exit_rates: [kept exits + 1] for `residency: auto`.
        batch: [kept exits + 1] inputs that run each segment together, or one number for all; the price is the batch's.
        compacted: whether members that leave make the batch smaller.
    """
    built = workload.with_exits(kept)
    program = compile_program(
        built, hardware, exit_cost=exit_cost, exit_rates=exit_rates, batch=batch, compacted=compacted
    )
    return Priced(built, _named(program, kept), _PRICE[engine](program), (*kept, workload.num_exits + 1))


def replay(
    hardware: Hardware,
    inputs: ExitTrace,
    rated: ExitTrace | None = None,
    engine: Engine = Engine.COMPILED,
    pricer: Callable[..., Priced] = price_network,
) -> RunResult:
    """`run` once everything is looked up: both networks priced, and every input's exit turned into its row.

    Args:
        rated: whose exit rates `residency: auto` goes by; under the same policy.
        pricer: `price_network`, or something that remembers what it returned.
    """
    rates = None if rated is None else _exit_rates(rated, inputs)
    return _replayed(hardware, inputs, rates, engine, pricer)


def on_hardware(result: RunResult, hardware: Hardware) -> RunResult:
    """The inputs of `result`, each alone, on another hardware; compiled for the same exit rates.

    Raises:
        MappingError: if the network does not fit the hardware.
    """
    return _replayed(hardware, result.trace, result.exit_rates, Engine.COMPILED, price_network)


def _replayed(
    hardware: Hardware,
    inputs: ExitTrace,
    rates: tuple[float, ...] | None,
    engine: Engine,
    pricer: Callable[..., Priced],
) -> RunResult:
    workload, policy = inputs.workload, inputs.policy
    cost = policy.cost(workload.num_classes)
    dynamic = pricer(workload, policy.kept(workload.num_exits), hardware, cost, rates, engine)
    static = pricer(workload, (), hardware, cost, None if rates is None else (1.0,), engine)
    return RunResult(hardware, inputs, dynamic, static, _rows(inputs, dynamic), engine.value, exit_rates=rates)


def _hardware(hardware: Hardware | str | Path, overrides: Overrides) -> Hardware:
    if not overrides:
        return hardware if isinstance(hardware, Hardware) else load_hardware(hardware)
    if isinstance(hardware, Hardware):
        changed = override(hardware, overrides)
        warn_of_supply(hardware, changed)
        return changed
    changed = load_hardware(hardware, overrides)
    with suppress(HardwareError):  # a file may be whole only with what was set
        warn_of_supply(load_hardware(hardware), changed)
    return changed


def warn_of_supply(before: Hardware, after: Hardware) -> None:
    """Warn if `after` has another supply than `before`, which may not sustain its clock."""
    clock_hz, voltage_mv = after.clock_hz, after.technology.voltage_mv
    if voltage_mv == before.technology.voltage_mv or _made_in(before) != _made_in(after):
        return
    if (doubt := beyond_supply(before, clock_hz, voltage_mv)) is not None:
        warnings.warn(doubt, SupplyWarning, stacklevel=4)


def _made_in(hardware: Hardware) -> tuple[int, str]:
    return hardware.technology.node_nm, hardware.technology.device


def _engine(name: Engine | str) -> Engine:
    if name not in list(Engine):
        raise OptionError("no such engine", where="engine", got=name, expected=" or ".join(Engine))
    return Engine(name)


def _trace(trace: ExitTrace | str | Path) -> ExitTrace:
    return trace if isinstance(trace, ExitTrace) else load_trace(trace)


def _named(program: Program, kept: Sequence[int]) -> Program:
    """`program` with its decisions called by the numbers that the exits have in the trace."""
    layers = (
        replace(layer, name=f"exit{kept[layer.segment - 1]}.{layer.kind}") if layer.is_decision else layer
        for layer in program.layers
    )
    return replace(program, layers=tuple(layers))


def _exit_rates(rated: ExitTrace, inputs: ExitTrace) -> tuple[float, ...]:
    """Share of inputs of another split of the same network that leave at each kept exit and at the end."""
    if rated.workload != inputs.workload:
        raise TraceError("the rates come from another network", got=rated.workload.name, expected=inputs.workload.name)
    if (rated.dataset, rated.split) == (inputs.dataset, inputs.split):
        raise TraceError(
            "the rates come from the very inputs that are measured", got=rated.split, fix="pass the validation trace"
        )
    exits = (*inputs.policy.kept(inputs.workload.num_exits), inputs.workload.num_exits + 1)
    return tuple(float(np.mean(rated.exit_index == exit_index)) for exit_index in exits)


def _rows(trace: ExitTrace, priced: Priced) -> Int64s:
    row_of = np.full(trace.workload.num_exits + 2, -1, np.int64)
    row_of[list(priced.exit_indices)] = np.arange(len(priced.exit_indices))
    rows = row_of[trace.exit_index]
    if (rows < 0).any():
        raise TraceError(
            "inputs leave at an exit that the policy does not keep",
            where="exit_index",
            got=int(trace.exit_index[rows < 0][0]),
        )
    return rows


def warn_of_precision(hardware: Hardware, trace: ExitTrace) -> None:
    """Warn if `trace` was captured at another precision than `hardware` computes in."""
    computed = f"int{hardware.precision.weight_bits}"
    captured = trace.capture.get("precision")  # whoever measured decisions elsewhere need not say
    if captured is not None and captured != computed:
        remedy = ": `ceesim capture --quantize int8` closes the gap" if computed == "int8" else ""  # it knows no other
        if "weights_sha256" in trace.capture:  # a network of one's own
            remedy = ": trace a copy of the network that rounds as the hardware does"
        warnings.warn(
            f"the exits were decided in {captured}, the cycles are those of {computed}{remedy}",
            PrecisionWarning,
            stacklevel=3,
        )
