"""The page that `ceesim run` prints: what ran, the exits, the layers, dynamic against static, and one sentence."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ceesim.hardware.energy.actions import Component
from ceesim.hardware.energy.price import Waiting
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.model import DramModel
from ceesim.results.accuracy import lost_accuracy
from ceesim.results.dram import dram_sentence
from ceesim.results.energy_text import static_rate_text, totals_text
from ceesim.results.exit_value import exit_values
from ceesim.results.policy_text import policy_text
from ceesim.results.rounding import rounding_sentence
from ceesim.results.scenario_page import scenario_parts, scenario_sentence
from ceesim.results.summary import summary
from ceesim.results.tables import exits, layers, operating_points
from ceesim.results.terminal import plain_table
from ceesim.results.verdict import verdict
from ceesim.sim.result import RunResult
from ceesim.units import cycles_to_seconds, format_bytes, format_picojoules, format_seconds

PAGE_WIDTH: Final = 120
"""Columns of the page where it is not shown on a terminal."""

BAR_LENGTH: Final = 40
MOST_LAYERS: Final = 12
"""Layers shown on the page, the longest ones; layers.csv has them all."""


def print_page(result: RunResult, console: Console, *, tiles: bool = False) -> None:
    """Print the page, with the mapper's choices if `tiles`."""
    numbers = summary(result)
    scenario = result.scenario
    sentence = (
        verdict(result).sentence(result.hardware.name) if scenario is None else scenario_sentence(result, numbers)
    )
    parts: list[RenderableType] = [
        *_headline(result, numbers),
        *([] if scenario is None else scenario_parts(scenario, result.hardware)),
        _exits(result),
        _layers(result),
        *([_tiles(result)] if tiles else []),
        _comparison(numbers),
        _energy(result, numbers),
        *_operating_points(result),
        *_footnotes(result),
        Text(sentence, style="bold"),
    ]
    console.print(Group(*parts), soft_wrap=False)


def _headline(result: RunResult, numbers: dict[str, Any]) -> list[Text]:
    trace, hardware = result.trace, result.hardware
    width = f" at width {trace.workload.width:g}" if trace.workload.width != 1 else ""
    array = hardware.array
    lines = [
        Text(f"{trace.workload.name}{width} on {hardware.name}", style="bold"),
        Text(
            f"{trace.dataset} {trace.split}, {trace.num_inputs:,} inputs; policy {policy_text(numbers['policy'])}; "
            f"{array.rows}×{array.cols} {array.dataflow.value} at {hardware.clock_hz / 1e6:g} MHz, "
            f"lookahead {hardware.control.lookahead.value}; engine {result.engine}"
        ),
    ]
    accuracy = numbers["accuracy"]
    if accuracy["dynamic"] is not None:
        static = "" if accuracy["static"] is None else f"; final classifier alone {accuracy['static']:.2%}"
        known = int((trace.labels >= 0).sum())
        base = "" if known == trace.num_inputs else f", on the {known:,} inputs with a label"
        lost = lost_accuracy(trace)
        told = "" if lost is None else f"; {lost}"
        lines.append(Text(f"accuracy {accuracy['dynamic']:.2%}{static}{told}{base}"))
    if (rounded := rounding_sentence(trace)) is not None:
        lines.append(Text(rounded))
    return lines


def _exits(result: RunResult) -> Table:
    table = plain_table(
        "Exits",
        "leaves at",
        "inputs",
        "share",
        "cycles",
        "time",
        "energy",
        "DRAM",
        "wasted DRAM",
        "head cycles",
        "pays from",
    )
    values = {value.exit_index: value for value in exit_values(result)}
    end = result.trace.workload.num_exits + 1
    rows = exits(result)
    num_inputs = max(sum(row["num_inputs"] for row in rows), 1)
    for row in rows:
        index = row["exit_index"]
        value = values.get(index)
        pays = "" if value is None else "never" if value.break_even_rate is None else f"{value.break_even_rate:.1%}"
        table.add_row(
            "the end" if index == end else f"exit {index}",
            f"{row['num_inputs']:,}",
            f"{row['num_inputs'] / num_inputs:.1%}",
            f"{row['latency_cycles']:,}",
            format_seconds(cycles_to_seconds(row["latency_cycles"], result.hardware.clock_hz)),
            format_picojoules(row["energy_pj"]),
            format_bytes(row["dram_bytes"]),
            format_bytes(row["wasted_dram_bytes"]),
            "" if value is None else f"{value.head_cycles:,}",
            pays,
        )
    return table


def _layers(result: RunResult) -> Table:
    rows = layers(result.dynamic, result.hardware, result.density)
    total = sum(row["cycles"] for row in rows)
    shown = sorted(rows, key=lambda row: -row["cycles"])[:MOST_LAYERS]
    left_out = len(rows) - len(shown)
    title = "Layers, for an input that runs to the end"
    title += f" (the {MOST_LAYERS} longest; {left_out} more in layers.csv)" if left_out > 0 else ""
    table = plain_table(
        title, "layer", "kind", "segment", "cycles", "share", "busy", "stall", "use of PEs if busy", "bound by"
    )
    for row in (row for row in rows if row in shown):
        table.add_row(
            row["op"],
            row["kind"],
            str(row["segment"]),
            f"{row['cycles']:,}",
            f"{row['cycles'] / total:.1%}",
            f"{row['busy_cycles']:,}",
            f"{row['stall_cycles']:,}",
            "" if row["utilisation"] is None else f"{row['utilisation']:.0%}",
            row["bottleneck"],
        )
    return table


def _tiles(result: RunResult) -> Table:
    """The tiling of every layer: extents of one tile, the outer loop, and how many tiles there are."""
    table = plain_table("Tiles", "layer", "groups", "rows", "width", "k", "n", "outer loop", "tiles", "commands")
    program = result.dynamic.program
    for i, layer in enumerate(program.layers):
        if not layer.tiling:
            continue
        own = program.layer == i
        *extents, m_outer = layer.tiling
        table.add_row(
            layer.name,
            *map(str, extents),
            "m" if m_outer else "n",
            str(int(program.tile[own].max()) + 1),
            str(int(own.sum())),
        )
    return table


def _comparison(numbers: dict[str, Any]) -> Table:
    table = plain_table("Dynamic against static", "per input", "static", "dynamic", "reduction", "95% interval")
    dynamic, static, reduction = numbers["dynamic"], numbers["static"], numbers["reduction"]
    clock_hz = numbers["clock_hz"]

    def line(name: str, key: str, measure: str, show: Any) -> None:
        interval = reduction["ci95"].get(measure)
        table.add_row(
            name,
            "–" if static is None else show(static[key]["mean"]),
            show(dynamic[key]["mean"]),
            "–" if static is None else f"{reduction[measure]:.2%}",
            "" if interval is None else f"{interval[0]:.2%} – {interval[1]:.2%}",
        )

    line("MACs", "macs", "macs", lambda value: f"{value:,.0f}")
    line(f"FLOPs ({numbers['flops_convention']})", "flops", "flops", lambda value: f"{value:,.0f}")
    line("latency, cycles", "latency_cycles", "latency", lambda value: f"{value:,.0f}")
    line("energy", "energy_pj", "energy", format_picojoules)
    line("DRAM bytes", "dram_bytes", "dram_bytes", lambda value: f"{value:,.0f}")
    latencies = dynamic["latency_cycles"]
    for name in ("p50", "p95", "p99", "max"):
        fixed = None if static is None else static["latency_cycles"][name]
        table.add_row(
            f"latency {name}",
            "–" if fixed is None else format_seconds(cycles_to_seconds(fixed, clock_hz)),
            format_seconds(cycles_to_seconds(latencies[name], clock_hz)),
            f"{1 - latencies[name] / fixed:.2%}" if fixed else "–",
            "",
        )
    return table


def _energy(result: RunResult, numbers: dict[str, Any]) -> Group:
    """Energy by component as bars, its band, and what saved time is worth asleep and awake."""
    dynamic = numbers["dynamic"]["energy_pj"]
    static = None if numbers["static"] is None else numbers["static"]["energy_pj"]
    bands = [] if result.scenario is not None else ["low … high"]
    table = plain_table("Energy by component", "component", "static", "dynamic", *bands, "share of dynamic")
    table.columns[-1].justify = "left"
    spent = result.mean_energy()[0]
    ends = {component.key: (spent.low[0, component], spent.high[0, component]) for component in Component}
    for name, value in dynamic["by_component"].items():
        share = value / dynamic["mean"]
        bar = "█" * round(BAR_LENGTH * share)
        before = "–" if static is None else format_picojoules(static["by_component"][name])
        band = [] if not bands else [" … ".join(map(format_picojoules, ends[name]))]
        table.add_row(name, before, format_picojoules(value), *band, f"{bar} {share:.1%}")
    met = result.scenario is not None
    asleep, awake = (result.saved_at_static_rate(waiting) for waiting in Waiting)
    worth = (asleep, awake) if result.keeps_static_rate else None
    technology = result.hardware.technology
    notes = [
        Text(
            f"{technology.node_nm} nm {technology.device.value} at {technology.voltage_mv / 1000:g} V, clock profile "
            f"{technology.clock_profile.value}"
        ),
        Text(totals_text(*result.mean_energy(), met=met)),
        Text(f"{'of an input alone: ' if met else ''}{static_rate_text(worth)}"),
    ]
    if not result.density:
        notes.append(Text("the trace has no densities of its activations: every MAC is taken to toggle"))
    notes += [Text(f"note: {warning}") for warning in energy_table(result.hardware).warnings]
    return Group(table, *notes)


def _operating_points(result: RunResult) -> list[Table]:
    """What the inputs cost at each clock and supply, if there is more than one."""
    rows = operating_points(result)
    if not rows:
        return []
    table = plain_table(
        "Operating points, for inputs that come alone",
        "supply and clock",
        "mean latency",
        "worst case",
        "energy",
        "static latency",
        "energy",
        "cheapest from a deadline of",
    )
    for row in rows:
        since = row["cheapest_from_deadline_s"]
        table.add_row(
            f"{row['voltage_v']:g} V, {row['clock_hz'] / 1e6:g} MHz",
            format_seconds(row["mean_latency_s"]),
            format_seconds(row["worst_latency_s"]),
            format_picojoules(row["energy_pj"]),
            format_seconds(row["static_latency_s"]),
            format_picojoules(row["static_energy_pj"]),
            "never" if since is None else format_seconds(since),
        )
    return [table]


def _footnotes(result: RunResult) -> list[Text]:
    worst = int(result.dynamic.costs.latency_cycles[-1])
    static = int(result.static.costs.latency_cycles[-1])
    lines = [
        Text(
            f"worst case: an input that runs to the end pays for every head, {worst / static - 1:+.2%} against static "
            f"({worst:,} instead of {static:,} cycles)"
        )
    ]
    if result.hardware.dram.model is DramModel.BANKED:
        lines.append(Text(dram_sentence(result.dynamic, result.hardware)))
    if result.dynamic.program.warm_up_dram_bytes:
        lines.append(
            Text(f"warm-up: {format_bytes(result.dynamic.program.warm_up_dram_bytes)} of weights pinned on chip, once")
        )
    return lines
