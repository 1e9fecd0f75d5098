"""``ceesim sweep``: a design space, evaluated point by point into a table that survives being stopped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click

from ceesim.cli.scenario_options import asked_scenario, scenario_files, scenario_options
from ceesim.errors import OptionError, OutputError

FAILED_POINTS: Final = 3
"""Exit code: finished, but some points failed."""


@click.command(
    epilog="Example: ceesim sweep --hw edge_npu.yaml --trace vgg_w025_c10.npz "
    "--set array.rows,array.cols=8:32:8 --out sweep.csv"
)
@click.option("--hw", required=True, metavar="H", help="Hardware YAML; a bare name may be a shipped one.")
@click.option("--trace", required=True, metavar="T", help="Trace npz; a bare name may be a shipped one.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUES",
    help="Values of a hardware key, or of policy.beta or policy.threshold: 8,16,32, or first:last:step, or "
    "first:last:*factor; keys with commas between them are equal; repeatable. Default: none.",
)
@click.option("--space", metavar="FILE", help="Design space in YAML; --set replaces its keys. Default: none.")
@click.option("--policy", metavar="FILE", help="policy.json to decide by. Default: the trace's own policy.")
@click.option(
    "--rates", metavar="VAL", help="Validation trace whose exit rates `residency: auto` goes by. Default: none."
)
@scenario_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Table to write: .csv or .parquet.")
@click.option("--resume", is_flag=True, help="Continue the table of the same sweep, if there is one. Default: off.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes on this machine. Default: one per core.")
@click.option(
    "--dask", metavar="ADDRESS", help="Scheduler of a dask cluster to use instead, like tcp://host:8786. Default: none."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON. Default: off.")
def command(
    hw: str,
    trace: str,
    settings: tuple[str, ...],
    space: str | None,
    policy: str | None,
    rates: str | None,
    scenario: str | None,
    batch: int | None,
    batch_mode: str | None,
    units: int | None,
    out: Path,
    resume: bool,
    workers: int | None,
    dask: str | None,
    as_json: bool,
) -> int:
    """Replay a trace on every point of a design space, and say which designs no other beats.

    A point that cannot be built or mapped, or cannot serve the arrivals of the scenario, is a row with its reason, and
    the exit code is then 3. A sweep that was
    stopped goes on with --resume.
    """
    from ceesim.cli.first_use import tell_of_first_use
    from ceesim.cli.headline import headline
    from ceesim.cli.notes import note_supplies, notes
    from ceesim.cli.sweep_page import Bar, duration, print_findings
    from ceesim.exits.choice import choose_policy
    from ceesim.exits.identity import identity
    from ceesim.exits.policy_file import PolicyWarning
    from ceesim.exits.trace import load_trace
    from ceesim.explore import sweep
    from ceesim.explore import workers as crews
    from ceesim.explore.experiment import Experiment, columns
    from ceesim.explore.notation import Written, design_space, read_settings, read_space, replaced
    from ceesim.explore.table import check_format, finish, open_table
    from ceesim.hardware.load import load_hardware
    from ceesim.provenance import record
    from ceesim.shipped import Shelf, find
    from ceesim.sim.run import PrecisionWarning, warn_of_precision
    from ceesim.units import ceil_div, format_count

    if workers is not None and dask is not None:
        raise OptionError("--workers are processes here, --dask a cluster", fix="drop one of the two")
    check_format(out)
    files = [find(hw, Shelf.HARDWARE)] + [find(name, Shelf.TRACES) for name in (trace, rates) if name is not None]
    hardware = load_hardware(hw)
    inputs, *rated = (load_trace(file) for file in files[1:])
    if policy is not None:
        with notes(PolicyWarning):
            chosen = choose_policy(policy, inputs.workload.num_exits, network=identity(inputs))
        inputs, *rated = (one.under(chosen) for one in (inputs, *rated))
    with notes(PrecisionWarning):
        warn_of_precision(hardware, inputs)
    written = Written({}) if space is None else read_space(Path(space))
    designs = design_space(replaced(written, read_settings(settings)), hardware, inputs.policy)
    note_supplies(designs)
    asked = asked_scenario(scenario, batch, batch_mode, units)
    experiment = Experiment(hardware, inputs, rated[0] if rated else None, asked)
    sweep.check_scenario(experiment)
    if dask is not None and asked is not None and asked.arrivals.file is not None:
        raise OptionError(
            "recorded arrivals are read where a point is played", where="--dask", fix="sweep with --workers here"
        )
    tell_of_first_use()
    num_points = designs.num_points()
    seconds = sweep.seconds_per_point(experiment, designs)
    num_chunks = ceil_div(num_points, sweep.CHUNK)
    local = min(workers or crews.num_cores(), num_chunks)
    names = columns(experiment, designs)
    files += [Path(given) for given in (policy, space) if given is not None] + scenario_files(scenario, asked)
    manifest = {"num_points": num_points, "provenance": record({"command": "sweep"}, files).to_dict()}
    with (
        open_table(out, names, sweep.identity(experiment, designs), manifest, resume=resume) as table,
        crews.dask_workers(experiment, dask) if dask else crews.local_workers(experiment, local) as crew,
    ):
        if table.num_rows > num_points:
            got, expected = format_count(table.num_rows, "row"), f"{num_points:,} at most"
            raise OutputError("is damaged", where=str(out), got=got, expected=expected, fix="choose another --out")
        done = f", {table.num_rows:,} of them done" if table.num_rows else ""
        estimate = duration(seconds * (num_points - table.num_rows) / crew.num_workers)
        hands = format_count(crew.num_workers, "worker")
        click.echo(f"{format_count(num_points, 'point')}{done}; about {estimate} on {hands}", err=True)
        started, before = time.monotonic(), table.num_rows
        try:
            with Bar("points", num_points, table.num_rows, table.num_failed) as bar:
                sweep.continue_sweep(designs, table, crew, lambda table: bar.advance(table.num_rows, table.num_failed))
        except KeyboardInterrupt:
            click.echo(
                f"{table.num_rows:,} of {format_count(num_points, 'row')} are in {out}; --resume goes on from there",
                err=True,
            )
            raise
        elapsed = max(time.monotonic() - started, 1e-9)
        click.echo(
            f"{format_count(table.num_rows, 'row')} in {out}, {table.num_failed:,} of them failed; "
            f"{duration(elapsed)}, {(table.num_rows - before) / elapsed:.0f} points/s",
            err=True,
        )
    finish(table, sweep.types(experiment, designs))
    if not as_json:
        click.echo(headline(inputs, hw))
    print_findings(out, as_json, {"network": inputs.workload.name, "width": inputs.workload.width})
    return FAILED_POINTS if table.num_failed else 0
