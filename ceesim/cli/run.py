"""`ceesim run`: replay a trace on a hardware."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ceesim.cli.scenario_options import asked_scenario, scenario_files, scenario_options
from ceesim.errors import OptionError

if TYPE_CHECKING:
    from ceesim.sim.scenarios.scenario import Scenario


@click.command(
    "run",
    epilog="Example: ceesim run --hw edge_npu.yaml --trace vgg_c10.npz --set array.rows=32 --out results",
)
@click.option("--hw", required=True, metavar="H", help="Hardware YAML; a bare name may be a shipped one.")
@click.option("--trace", required=True, metavar="T", help="Trace npz; a bare name may be a shipped one.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a hardware key; repeatable. Default: none."
)
@click.option("--policy", metavar="FILE|NAME", help="Who decides. Default: the trace's own policy.")
@click.option("--beta", metavar="B,B,…", help="With --policy exclude or ratio: one β per exit, 0 to 1. Default: none.")
@click.option(
    "--threshold", metavar="T,T,…", help="What other policies go by: one for all exits, or one per exit. Default: none."
)
@click.option(
    "--rates", metavar="VAL", help="Validation trace whose exit rates `residency: auto` goes by. Default: none."
)
@click.option(
    "--engine",
    type=click.Choice(["simpy", "compiled"]),
    default="simpy",
    show_default=True,
    help="Executor; the numbers are the same.",
)
@scenario_options
@click.option("--tiles", is_flag=True, help="Add the mapper's tiling of every layer to the page. Default: off.")
@click.option(
    "--dram-trace",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write every DRAM burst of an input that runs to the end. Default: no file.",
)
@click.option(
    "--dram-trace-format",
    type=click.Choice(["ramulator2", "dramsim3"]),
    help="Who is to read --dram-trace: Ramulator 2 (LoadStoreTrace) or DRAMsim3. Default: by the suffix of FILE.",
)
@click.option(
    "--out",
    callback=lambda *given: _folder(given[-1]),
    metavar="DIR",
    help="Write the result files into this folder. Default: no files.",
)
@click.option("--parquet", is_flag=True, help="With --out: write inputs.parquet beside inputs.csv. Default: off.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the page. Default: off.")
def command(
    hw: str,
    trace: str,
    overrides: tuple[str, ...],
    policy: str | None,
    beta: str | None,
    threshold: str | None,
    rates: str | None,
    engine: str,
    scenario: str | None,
    batch: int | None,
    batch_mode: str | None,
    units: int | None,
    tiles: bool,
    dram_trace: Path | None,
    dram_trace_format: str | None,
    out: Path | None,
    parquet: bool,
    as_json: bool,
) -> None:
    """Replay a trace on a hardware: what leaving at each exit costs, and what that is worth against no exits at all."""
    from ceesim.cli.first_use import tell_of_first_use
    from ceesim.cli.notes import notes
    from ceesim.cli.scenario_progress import scenario_progress
    from ceesim.exits.trace import load_trace
    from ceesim.files import check_apart
    from ceesim.results.summary import summary
    from ceesim.results.write import check_out, json_text, write_run
    from ceesim.sim.run import run

    if dram_trace is not None:
        from ceesim.results.dram_trace import TraceFormat, write_dram_trace

        form = TraceFormat.of(dram_trace, dram_trace_format)
    elif dram_trace_format is not None:
        raise OptionError("a format without a DRAM trace", where="--dram-trace-format", fix="add --dram-trace FILE")
    inputs = load_trace(trace)
    asked = asked_scenario(scenario, batch, batch_mode, units)
    files = _files(hw, trace, rates, policy, scenario, asked)
    if dram_trace is not None:
        check_apart(dram_trace, files)
    if out is not None:
        check_out(out, files, parquet=parquet)
    elif parquet:
        raise OptionError("there is no folder to write to", where="--parquet", fix="add --out DIR")
    chosen = None
    if policy is not None:
        from ceesim.exits.choice import choose_policy
        from ceesim.exits.identity import identity
        from ceesim.exits.policy_file import PolicyWarning

        with notes(PolicyWarning):
            chosen = choose_policy(
                policy, inputs.workload.num_exits, network=identity(inputs), beta=beta, threshold=threshold
            )
    elif beta is not None or threshold is not None:
        raise OptionError("--beta and --threshold belong to a policy", fix="add --policy exclude (or confidence, …)")
    tell_of_first_use()
    with notes(Warning), scenario_progress() as progress:
        result = run(
            hw,
            inputs,
            overrides=overrides,
            policy=chosen,
            rates=rates,
            engine=engine,
            scenario=asked,
            detailed=out is not None,
            progress=progress,
        )
    if out is not None:
        given = {"policy": policy, "beta": beta, "threshold": threshold, "rates": rates}
        manifest = _manifest(files, overrides, given, asked)
        names = write_run(result, out, manifest, parquet=parquet)
        click.echo(f"wrote {', '.join(names)} into {out}", err=True)
    if dram_trace is not None:
        count = write_dram_trace(result.dynamic, result.hardware, dram_trace, form)
        click.echo(f"wrote {dram_trace}: {count:,} bursts for {form}", err=True)
    if as_json:
        click.echo(json_text(summary(result)), nl=False)
    else:
        from ceesim.results.page import PAGE_WIDTH, print_page
        from ceesim.results.terminal import console_of

        print_page(result, console_of(PAGE_WIDTH), tiles=tiles)


def _folder(name: str | None) -> Path | None:
    if name == "":  # a shell variable that is not set; as a path it would be the working directory
        raise OptionError("an empty name", where="--out", fix="name a folder")
    return None if name is None else Path(name)


def _files(
    hw: str, trace: str, rates: str | None, policy: str | None, scenario: str | None, asked: Scenario | None
) -> list[Path]:
    """The files that a run reads."""
    from ceesim.hardware.energy import cacti
    from ceesim.shipped import Shelf, find

    files = [find(hw, Shelf.HARDWARE), find(trace, Shelf.TRACES)]
    if rates is not None:
        files.append(find(rates, Shelf.TRACES))
    if policy is not None and Path(policy).is_file():
        files.append(Path(policy))
    files += scenario_files(scenario, asked)
    if (executable := cacti.installed()) is not None:  # it prices what the shipped table does not hold
        files.append(executable)
    return files


def _manifest(
    files: list[Path], overrides: tuple[str, ...], given: Mapping[str, Any], asked: Scenario | None
) -> dict[str, Any]:
    """Everything that shaped the result; files by their bare names."""
    from ceesim.provenance import record

    configuration: dict[str, Any] = {"set": list(overrides), "policy": None, "scenario": None}
    for name, value in given.items():
        if value is not None:
            configuration[name] = Path(value).name if name in {"policy", "rates"} else value
    if asked is None:
        return record(configuration, files).to_dict()
    scenario = asked.model_dump(mode="json", exclude_none=True)
    if asked.arrivals.file is not None:
        scenario["arrivals"]["file"] = Path(asked.arrivals.file).name
    return record(configuration | {"scenario": scenario}, files, seed=asked.seed).to_dict()
