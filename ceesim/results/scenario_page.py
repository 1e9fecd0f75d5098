"""What the page of `ceesim run` says about a scenario: who came, who waited, who was busy, and one sentence."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ceesim.hardware.energy.price import Waiting
from ceesim.hardware.model import Hardware
from ceesim.program.command import Unit
from ceesim.results.scenario import idle_energy_pj
from ceesim.results.terminal import plain_table
from ceesim.results.verdict import less
from ceesim.sim.result import RunResult
from ceesim.sim.scenarios.outcome import PipelineOutcome, Played, ScenarioResult
from ceesim.sim.scenarios.statistics import Estimate
from ceesim.units import PICOSECONDS_PER_SECOND, cycles_to_seconds, format_picojoules, format_seconds


def scenario_parts(result: ScenarioResult, hardware: Hardware) -> list[RenderableType]:
    """The scenario's own table, and what has to be said about it."""
    scenario = result.scenario
    batch = f", batches of {scenario.batch.size} {scenario.batch.mode.value}" if scenario.batch.size > 1 else ""
    units = f", {scenario.units} units" if scenario.units > 1 else ""
    shared = f" ({'one DRAM' if scenario.contention else 'a DRAM each'})" if scenario.units > 1 else ""
    lines: list[RenderableType] = [_table(f"Scenario: {scenario.label}{batch}{units}{shared}", result, hardware)]
    pipeline = result.dynamic.pipeline
    if pipeline is not None:
        lines += [_stages(pipeline), _shifts(pipeline, hardware.clock_hz)]
    if result.static is None:
        lines.append(
            Text(
                f"the network without exits could not serve these arrivals: its load would be {result.static_load:.3g}"
            )
        )
    return lines


def _table(title: str, result: ScenarioResult, hardware: Hardware) -> Table:
    table = plain_table(title, "", "static", "dynamic")
    clock_hz = hardware.clock_hz

    def line(name: str, show: Any) -> None:
        table.add_row(name, "–" if result.static is None else show(result.static), show(result.dynamic))

    def time(estimate: Estimate) -> str:
        text = format_seconds(cycles_to_seconds(estimate.mean, clock_hz))
        return (
            text
            if estimate.ci95 is None
            else f"{text} ± {format_seconds(cycles_to_seconds(estimate.ci95[1] - estimate.mean, clock_hz))}"
        )

    line("arrived / served / dropped", lambda p: f"{p.num_arrived:,} / {p.num_served:,} / {p.num_dropped:,}")
    line("load", lambda p: "–" if p.load is None else f"{p.load:.3f}")
    line("throughput", lambda p: f"{p.num_served * clock_hz / max(p.end_cycle, 1):,.1f}/s")
    line("waiting", lambda p: time(p.waiting))
    line("service", lambda p: format_seconds(cycles_to_seconds(p.latency.mean - p.waiting.mean, clock_hz)))
    line("latency", lambda p: time(p.latency))
    line("queue length, mean / most", lambda p: f"{p.queue_mean:.2f} / {p.queue_most}")
    line("units busy", lambda p: f"{sum(p.unit_utilisation) / len(p.unit_utilisation):.1%}")
    line("DMA / array / vector busy", _busy)
    deadline = result.scenario.deadline
    if deadline is not None:
        line(
            f"later than {format_seconds(deadline / PICOSECONDS_PER_SECOND)}, or dropped",
            lambda p: _missed(p, result.scenario.warm_up),
        )
    if result.scenario.batch.size > 1:
        line("inputs per batch", lambda p: f"{p.num_members / max(p.num_groups, 1):.2f}")
    line("idle energy per input, asleep / awake", lambda p: _idle(p, hardware))
    return table


def _stages(pipeline: PipelineOutcome) -> Table:
    table = plain_table("Stages", "segments", "units", "cycles per input", "busy", "blocked", "waiting, mean / most")
    for stage in pipeline.stages:
        first, last = stage.segments
        table.add_row(
            f"{first}–{last}" if last > first else str(first),
            str(stage.units),
            f"{stage.work_cycles:,.0f}",
            f"{stage.busy:.1%}",
            f"{stage.blocked:.1%}",
            f"{stage.queue_mean:.2f} / {stage.queue_most}",
        )
    return table


def _shifts(pipeline: PipelineOutcome, clock_hz: int) -> Table:
    """Throughput bound when inputs that reach the last stage become rarer or more frequent."""
    title = "If more (or fewer) inputs reach the last stage"
    table = plain_table(title, "times as many", "pipeline", "the same units, undivided")
    for shift in pipeline.shifts:
        table.add_row(f"{shift.factor:g}", f"{shift.pipeline * clock_hz:,.1f}/s", f"{shift.apart * clock_hz:,.1f}/s")
    return table


def _busy(played: Played) -> str:
    span = max(played.end_cycle, 1) * len(played.unit_utilisation)
    array, vector = (int(played.busy_cycles[unit]) / span for unit in (Unit.ARRAY, Unit.VECTOR))
    return " / ".join(f"{share:.1%}" for share in (played.dma_utilisation, array, vector))


def _missed(played: Played, warm_up: int) -> str:
    missed = (played.num_late or 0) + played.num_dropped
    rate = played.miss_rate
    if rate is None:
        return f"{missed:,}"
    band = "" if rate.ci95 is None else f" ({rate.ci95[0]:.2%} – {rate.ci95[1]:.2%})"
    return f"{missed:,}; {rate.mean:.2%}{band} after warm-up" if warm_up else f"{missed:,}; {rate.mean:.2%}{band}"


def _idle(played: Played, hardware: Hardware) -> str:
    served = max(played.num_served, 1)
    return " / ".join(format_picojoules(idle_energy_pj(played, hardware, waiting) / served) for waiting in Waiting)


def scenario_sentence(result: RunResult, numbers: dict[str, Any]) -> str:
    """One sentence: what the MAC reduction became where inputs meet."""
    reduction, label = numbers["reduction"], numbers["scenario"]
    alone = 1 - result.mean(result.dynamic.path_macs) / float(result.static.path_macs[-1])
    place = f"on {result.hardware.name} under {label}"
    batch = numbers["batch"]
    place += f" in batches of {batch}" if batch > 1 else ""
    played = result.scenario
    if played is not None and played.scenario.units > 1:
        place += f" on {played.scenario.units} units"
    if reduction["latency"] is None:
        return f"{less(alone, 'MACs')} {place} make the difference between a queue that ends and one that does not."
    saved = (
        f"{less(reduction['macs'], 'MACs')}, {less(reduction['latency'], 'latency')} (waiting included), "
        f"{less(reduction['energy'], 'energy')} and {less(reduction['dram_bytes'], 'DRAM traffic')}"
    )
    return f"{less(alone, 'MACs')} for an input alone; {place} that is {saved}{_answered(played)}."


def _answered(played: ScenarioResult | None) -> str:
    """What means are means of, where some inputs were dropped."""
    if played is None or played.static is None or not (played.dynamic.num_dropped or played.static.num_dropped):
        return ""
    return (
        f", each per input that was answered: {played.dynamic.num_served:,} of {played.dynamic.num_arrived:,}, without "
        f"exits {played.static.num_served:,}"
    )
