"""``ceesim optimize``: hardware, thresholds and exits together, found on validation data, reported on test data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ceesim.cli.sweep import FAILED_POINTS
from ceesim.errors import OptionError, OutputError

if TYPE_CHECKING:
    from ceesim.explore.optimize import Design

_GOES_ON_IN: Final = "goes_on_in"
"""In the manifest of a table that an interrupt left: the name of the storage; None: all trials were done, or lost."""


@click.command(
    epilog="Example: ceesim optimize --hw edge_npu.yaml --trace vgg_w025_c10_val.npz --test vgg_w025_c10.npz "
    "--set array.rows,array.cols=8:32:8 --tolerance 0,0.02 --trials 20"
)
@click.option("--hw", required=True, metavar="H", help="Hardware YAML to start from; a bare name may be a shipped one.")
@click.option("--trace", "val", required=True, metavar="VAL", help="Trace with logits to choose by: validation data.")
@click.option("--test", required=True, metavar="TEST", help="Trace of the same network to report on: test data.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUES", help="As in ceesim sweep; repeatable. Default: none."
)
@click.option("--space", metavar="FILE", help="Design space in YAML, as in ceesim sweep. Default: none.")
@click.option(
    "--tolerance",
    metavar="T,T,…",
    help="Accuracies that may be lost, as shares: thresholds and exits are searched for each hardware. "
    "Default: thresholds are keys of the space, or stay as in the trace.",
)
@click.option(
    "--objective",
    type=click.Choice(["latency", "energy", "dram_bytes"]),
    default="latency",
    show_default=True,
    help="What that search lowers: cycles, pJ or bytes per input.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Proposals in all; if there are no more designs, each once.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the proposals.")
@click.option("--storage", type=click.Path(path_type=Path), help="File that keeps the study, to go on. Default: none.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Table to write, .csv. Default: none.")
@click.option("--json", "as_json", is_flag=True, help="Print the designs as JSON. Default: off.")
def command(
    hw: str,
    val: str,
    test: str,
    settings: tuple[str, ...],
    space: str | None,
    tolerance: str | None,
    objective: str,
    trials: int,
    seed: int,
    storage: Path | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Find the designs that no other beats in latency, energy, area and accuracy together.

    With tolerances alone, the hardware stays as it is: what a loss of accuracy buys on it.

    Designs that cannot be built or mapped are listed with their reasons, and the exit code is then 3. Ctrl-C ends the
    search: what it found so far is reported, and with --storage the same command goes on from there.
    """
    from ceesim.cli.first_use import tell_of_first_use
    from ceesim.cli.headline import headline, network_text
    from ceesim.cli.notes import note_supplies, notes
    from ceesim.cli.sweep_page import Bar, print_failures
    from ceesim.exits.pair import check_pair
    from ceesim.exits.trace import load_trace
    from ceesim.explore.experiment import Experiment
    from ceesim.explore.notation import Written, design_space, read_settings, read_space, replaced
    from ceesim.explore.optimize import (
        Task,
        best_designs,
        check_evidence,
        design_rows,
        on_test,
        open_study,
        optimise,
        tally,
    )
    from ceesim.explore.table import manifest_path
    from ceesim.hardware.load import load_hardware
    from ceesim.provenance import record
    from ceesim.results.write import csv_text, json_text, write_text
    from ceesim.shipped import Shelf, find
    from ceesim.sim.run import PrecisionWarning, warn_of_precision
    from ceesim.units import format_count

    hardware = load_hardware(hw)
    fitted, tested = (load_trace(name) for name in (val, test))
    check_pair(fitted, tested, test)
    check_evidence(tested, "--test")
    with notes(PrecisionWarning):
        warn_of_precision(hardware, fitted)
    written = Written({}) if space is None else read_space(Path(space))
    shares = _shares(tolerance)
    parameters = replaced(written, read_settings(settings))
    if not parameters.parameters and not shares:
        raise OptionError(
            "nothing to choose", fix="add --tolerance 0,0.01,0.02, --set array.rows=8,16,32, or --space FILE"
        )
    designs = design_space(parameters, hardware, fitted.policy, may_be_empty=True)
    note_supplies(designs)
    task = Task(Experiment(hardware, fitted), designs, shares, objective)
    goes_on = out is not None and _prepare(out, task.identity, storage)
    tell_of_first_use()
    study = open_study(task, storage, seed)
    stopped = None
    try:
        with Bar("designs") as bar:
            optimise(task, study, trials, lambda done, total, failed: bar.advance(done, failed, total))
    except KeyboardInterrupt as interrupt:
        stopped = interrupt
    found, best = tally(study), best_designs(study)
    if stopped is not None:
        done = format_count(sum(trial.state.is_finished() for trial in study.trials), "trial")
        then = "the same command goes on from there" if storage else "with --storage FILE it could go on from there"
        click.echo(f"stopped after {done}; {then}", err=True)
    print_failures(found.failures, found.num_failed, "design", "trial", to_stderr=as_json or not best)
    if not best and stopped is not None:
        raise stopped
    if not best:
        lost = ((found.num_failed, "that failed"), (found.num_outside, "outside of the constraints"))
        raise OptionError(
            "no design was found",
            got=" and ".join(f"{format_count(number, 'design')} {where}" for number, where in lost if number),
            fix="give the keys other values, loosen a constraint, or raise --trials",
        )
    table = design_rows(best, task, on_test(best, task, tested))
    unwritten = None
    if out is not None:  # first: whoever reads what is printed may go away
        try:
            if out.exists() and not goes_on:
                raise OutputError("exists by now", where=str(out), fix="choose another --out")
            write_text(out, csv_text(table))
            files = [find(hw, Shelf.HARDWARE), *(find(name, Shelf.TRACES) for name in (val, test))]
            made = record({"command": "optimize"}, files + ([] if space is None else [Path(space)]), seed=seed)
            onward = storage.name if stopped is not None and storage is not None else None
            network = network_text(tested.workload)
            told = {"identity": task.identity, "network": network, _GOES_ON_IN: onward, "provenance": made.to_dict()}
            write_text(manifest_path(out), json_text(told))
        except OutputError as problem:
            unwritten = problem
    if as_json:
        click.echo(json.dumps(table, indent=2, ensure_ascii=False))
    else:
        tried = format_count(found.num_measured, "measured design")
        repeated = f" ({format_count(found.num_repeated, 'proposal')} repeated one)" if found.num_repeated else ""
        verb = "is" if len(best) == 1 else "are"
        click.echo(headline(tested, hw))
        click.echo(f"{len(best):,} of {tried}{repeated} {verb} beaten by no other; chosen on {val}, reported on {test}")
        for line in _page(best, table):
            click.echo(line)
    if unwritten is not None:
        raise unwritten
    if stopped is not None:
        raise stopped
    return FAILED_POINTS if found.num_failed else 0


def _prepare(out: Path, identity: Mapping[str, Any], storage: Path | None) -> bool:
    """See, before any work, that the table can be written: its folder is made, and the file is not there yet.

    Returns:
        Whether it is there after all, and may be replaced: an interrupt of the same task left it, and the study goes on
        in the same `storage`.
    """
    if out.suffix != ".csv":
        raise OptionError("not a table", where="--out", got=out.name, expected="a name that ends in .csv")
    if out.exists():
        if storage is not None and _left_by(out) == (json.loads(json.dumps(identity)), storage.name):
            return True
        raise OutputError("exists already", where=str(out), fix="choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("x").close()
        out.unlink()
    except OSError as problem:
        raise OutputError(
            f"cannot write here: {problem.strerror}", where=str(out), fix="choose another --out"
        ) from None
    return False


def _left_by(out: Path) -> tuple[Any, Any]:
    """The task that the table at `out` is of, and the storage in which it goes on, as its manifest says."""
    from ceesim.explore.table import manifest_path

    try:
        told = json.loads(manifest_path(out).read_text(encoding="utf-8"))
        return told["identity"], told[_GOES_ON_IN]
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


def _shares(text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = (-1.0,)
    if not all(0 <= share <= 1 for share in shares):
        raise OptionError("not shares of the inputs", where="--tolerance", got=text, fix="write it like 0,0.01,0.02")
    return shares


def _page(designs: list[Design], table: list[dict[str, Any]]) -> list[str]:
    """A line per design: what was set, what it costs and saves on test data, and the thresholds (–: not built)."""
    import pandas

    from ceesim.explore.optimize import BESIDE, POLICY_COLUMN
    from ceesim.explore.pareto import OBJECTIVES
    from ceesim.explore.pictures import measure_of, said
    from ceesim.results.policy_text import thresholds_text

    measures = {key: measure_of(key) for key in (*OBJECTIVES, *BESIDE)}
    rows = [
        {
            **{column: said(row[column], column) for column in takewhile(lambda name: name != POLICY_COLUMN, row)},
            **{shown.name: _short(float(row[f"test.{key}"]) * shown.factor) for key, shown in measures.items()},
            "policy": thresholds_text(design.policy.to_json()),
        }
        for design, row in zip(designs, table, strict=True)
    ]
    return pandas.DataFrame(rows).to_string(index=False).splitlines() if rows else []


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
