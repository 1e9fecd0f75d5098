"""``ceesim search``: thresholds and exits, found on validation data, reported on test data."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ceesim.errors import OptionError

if TYPE_CHECKING:
    from ceesim.exits.outcome import Outcome, Prices
    from ceesim.exits.search import Space
    from ceesim.exits.trace import ExitTrace
    from ceesim.explore.codesign import Comparison, Difference, HardwarePrices
    from ceesim.results.accuracy import Lost

_POLICIES = ("exclude", "ratio", "confidence", "margin", "entropy", "patience", "fixed")
"""As `exits.search.SEARCHABLE`, which --help need not import."""


@click.command(
    epilog="Example: ceesim search --trace vgg_w025_c10_val.npz --test vgg_w025_c10.npz "
    "--tolerance 0.02 --out policy.json"
)
@click.option("--trace", "val", required=True, metavar="FILE", help="Trace with logits to fit on: validation data.")
@click.option("--test", required=True, metavar="FILE", help="Trace of the same network to report on: test data.")
@click.option(
    "--policy", type=click.Choice(_POLICIES), default="exclude", show_default=True, help="Which family of policies."
)
@click.option(
    "--method",
    type=click.Choice(["paper", "budgeted"]),
    default="budgeted",
    show_default=True,
    help="paper: exit after exit, largest segment first; budgeted: always the move that saves most per input lost.",
)
@click.option(
    "--objective",
    type=click.Choice(["macs", "flops", "latency", "energy", "dram_bytes"]),
    default="macs",
    show_default=True,
    help="Mean cost per input to lower: operations (flops: convention std), or cycles, pJ, bytes on --hw.",
)
@click.option("--hw", metavar="FILE", help="Hardware that prices latency, energy and dram_bytes. Default: none.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Accuracy that may be lost on --trace against running to the end, as a share (0.01: one point).",
)
@click.option(
    "--exits",
    default="all",
    show_default=True,
    metavar="all|choose|i,j,…",
    help="Which exits to keep: all, those that pay (choose), or these.",
)
@click.option(
    "--calibration",
    type=click.Choice(["none", "prior", "odds"]),
    default="none",
    show_default=True,
    help="Before exclude and ratio decide. prior: undo the positive-class weight α the heads were trained with; odds: "
    "compare odds instead of probabilities, which needs no α.",
)
@click.option(
    "--recovery/--no-recovery", default=True, show_default=True, help="Re-admit each head's argmax (exclude)."
)
@click.option(
    "--final",
    type=click.Choice(["unmasked", "masked"]),
    default="unmasked",
    show_default=True,
    help="Final argmax over all classes, or over those that remain (exclude).",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Policy file to write. Default: none.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table. Default: off.")
def command(
    val: str,
    test: str,
    policy: str,
    method: str,
    objective: str,
    hw: str | None,
    tolerance: float,
    exits: str,
    calibration: str,
    recovery: bool,
    final: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Find thresholds on a validation trace, and say on a test trace what they are worth."""
    from ceesim.cli.headline import headline
    from ceesim.exits.exclusion import ODDS
    from ceesim.exits.identity import identity
    from ceesim.exits.outcome import outcome, prices_of
    from ceesim.exits.pair import check_pair
    from ceesim.exits.policy_file import PolicyFile, write_policy
    from ceesim.exits.search import Method, Space, search
    from ceesim.exits.trace import load_trace
    from ceesim.files import check_apart, check_folder
    from ceesim.provenance import SourceFile
    from ceesim.results.accuracy import lost_accuracy
    from ceesim.shipped import Shelf, find
    from ceesim.workload.flops import Convention

    if out is not None:
        check_folder(out)
    paths = [find(name, Shelf.TRACES) for name in (val, test)]
    if out is not None:
        check_apart(out, [*paths, *([] if hw is None else [find(hw, Shelf.HARDWARE)])])
    fitted, tested = (load_trace(path) for path in paths)
    check_pair(fitted, tested, test)
    if not fitted.workload.num_exits:
        raise OptionError("the network has no exits", where=val, fix="train it with --heads exclusion or confidence")
    space = Space(
        policy=policy,
        alpha=ODDS if calibration == "odds" else _alpha(fitted, val) if calibration == "prior" else None,
        recovery=recovery,
        masked_final=final == "masked",
        kept=_kept(exits, fitted.workload.num_exits),
        choose_exits=exits == "choose",
    )
    prices, on_hardware = _prices(objective, hw, fitted, space)
    found = search(fitted, space, Method(method), prices, tolerance)
    inputs = {"validation": fitted, "test": tested}
    results = {name: outcome(found, one, prices) for name, one in inputs.items()}
    content: dict[str, object] = {
        "method": method,
        "objective": objective,
        "hardware": hw,
        "tolerance": tolerance,
        **identity(fitted),
        "traces": [{"name": file.name, "sha256": file.sha256} for file in map(SourceFile.of, paths)],
    } | {name: _record(result) for name, result in results.items()}
    against = None
    if on_hardware is not None:
        from ceesim.explore.codesign import compare, flop_optimal

        against = compare(found, flop_optimal(fitted, space, Method(method), tolerance), tested, on_hardware)
        content["against_flop_optimal"] = asdict(against)
    if out is not None:
        write_policy(PolicyFile(found, content), out, fitted.workload.num_exits)
    if as_json:
        click.echo(json.dumps({"policy": found.to_json(), **content}, indent=2, ensure_ascii=False))
    else:
        click.echo(headline(fitted, hw))
        told = {objective: results}
        if objective == "flops":
            macs = prices_of(fitted.workload, Convention.MACS)
            told = {"macs": {name: outcome(found, one, macs) for name, one in inputs.items()}, **told}
        lost = {name: lost_accuracy(one.under(found)) for name, one in inputs.items()}
        click.echo(_page(json.dumps(found.to_json(), ensure_ascii=False), told, lost))
        if (note := _exceeded(lost["test"], tolerance)) is not None:
            click.echo(f"note: {note}", err=True)
        if against is not None:
            click.echo(_against(against))


def _alpha(trace: ExitTrace, name: str) -> float:
    alpha, heads = trace.training.get("alpha"), trace.training.get("heads")
    if heads not in (None, "exclusion"):
        raise OptionError(
            "the heads were not trained to exclude, so there is no α to undo",
            where=name,
            got=f"heads {heads}",
            fix="--calibration odds needs none",
        )
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise OptionError(
            "the trace does not say which α its heads were trained with",
            where=name,
            got=alpha,
            fix="--calibration odds needs none",
        )
    if not 0 < alpha < math.inf:
        raise OptionError("α out of range", where=name, got=alpha, expected="a finite number above 0")
    return float(alpha)


def _kept(exits: str, num_exits: int) -> tuple[int, ...] | None:
    if exits in ("all", "choose"):
        return None
    words = exits.split(",")
    kept = tuple(sorted({int(word) for word in words if word.strip().isdecimal() and len(word) < 10}))
    if len(kept) != len(words) or not {*kept} <= {*range(1, num_exits + 1)}:
        expected = f"all, choose, or some of 1 to {num_exits}, separated by commas"
        raise OptionError("no such exits", where="--exits", got=exits, expected=expected)
    return kept


def _prices(objective: str, hw: str | None, trace: ExitTrace, space: Space) -> tuple[Prices, HardwarePrices | None]:
    """What leaving costs under the objective, and where it came from if that is a hardware."""
    from ceesim.exits.outcome import prices_of
    from ceesim.workload.flops import Convention

    if objective in ("macs", "flops"):
        if hw is not None:
            raise OptionError("operations do not depend on the hardware", where="--hw", fix="name another --objective")
        return prices_of(trace.workload, Convention.MACS if objective == "macs" else Convention.STD), None
    if hw is None:
        fix = "add --hw, for example --hw edge_npu.yaml"
        raise OptionError("this objective is priced on a hardware", where="--objective", got=objective, fix=fix)
    from ceesim.explore.codesign import HardwarePrices
    from ceesim.hardware.load import load_hardware

    on_hardware = HardwarePrices(load_hardware(hw), trace, space)
    return on_hardware.under(objective), on_hardware


def _record(result: Outcome) -> dict[str, object]:
    return {
        "num_inputs": result.num_inputs,
        "accuracy": result.accuracy,
        "static_accuracy": result.static_accuracy,
        "mean_cost": result.mean_cost,
        "static_cost": result.static_cost,
        "reduction": result.reduction,
        "reduction_ci95": list(result.reduction_interval),
        "exit_rate": list(result.exit_rate),
    }


_UNITS = {"macs": "MACs", "flops": "FLOPs (std)", "latency": "cycles", "energy": "pJ", "dram_bytes": "DRAM bytes"}


def _exceeded(lost: Lost | None, tolerance: float) -> str | None:
    """That the test set lost more than it should have, and whether chance alone may do that; None if it did not."""
    points = 100 * tolerance
    if lost is None or lost.points <= points:
        return None
    why = "as chance may do" if lost.low <= points else "more than chance explains"
    return f"on test {lost.points:.2f} points were lost where {points:g} may be, {why} (95%: from {lost.low:.2f} on)"


def _page(policy: str, told: dict[str, dict[str, Outcome]], lost: dict[str, Lost | None]) -> str:
    """What a policy does to each data set, by one objective after the other; all else is the same for each of them.

    Args:
        lost: what it costs each data set in accuracy.
    """
    results = next(iter(told.values()))
    columns = list(results.values())

    def row(label: str, cells: list[str]) -> str:
        return f"{label:<34}" + "".join(f"{cell:>22}" for cell in cells)

    lines = [
        f"policy {policy}",
        "",
        row("", [f"{name} ({result.num_inputs:,})" for name, result in results.items()]),
        row("accuracy", [f"{result.accuracy:.2%}" for result in columns]),
        row("accuracy, all run to the end", [f"{result.static_accuracy:.2%}" for result in columns]),
        row("points lost", ["–" if one is None else f"{one.points:.2f}" for one in lost.values()]),
        row("  95% interval", ["–" if one is None else f"{one.low:.2f} to {one.high:.2f}" for one in lost.values()]),
    ]
    for objective, by_set in told.items():
        priced = list(by_set.values())
        lines += [
            row(f"mean {_UNITS[objective]} per input", [f"{result.mean_cost:,.0f}" for result in priced]),
            row("  of the plain network", [f"{result.static_cost:,.0f}" for result in priced]),
            row("reduction", [f"{result.reduction:.2%}" for result in priced]),
            row("  95% interval", ["{:.2%} to {:.2%}".format(*result.reduction_interval) for result in priced]),
        ]
    last = len(columns[0].exit_rate)
    for i, shares in enumerate(zip(*(result.exit_rate for result in columns), strict=True), 1):
        label = "ran to the end" if i == last else f"left at exit {i}"
        lines.append(row(label, [f"{share:.2%}" for share in shares]))
    return "\n".join(lines)


def _against(comparison: Comparison) -> str:
    """What the hardware's prices changed, for people."""

    def row(label: str, difference: Difference, unit: str) -> str:
        mean, low, high = (f"{100 * value:+.2f}{unit}" for value in (difference.mean, difference.low, difference.high))
        return f"{label:<34}{mean:>22}   (95%: {low} to {high})"

    lines = ["", f"against the policy that saves most {_UNITS['flops']}, on test"]
    lines += [row(name, difference, "%") for name, difference in comparison.costs.items()]
    return "\n".join([*lines, row("accuracy (points)", comparison.accuracy, "")])
