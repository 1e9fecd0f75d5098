"""``ceesim validate flops|latency``: counts and times against the real machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ceesim.cli.sizes import sizes
from ceesim.errors import OptionError, WorkloadError

if TYPE_CHECKING:
    from rich.table import Table

    from ceesim.exits.trace import ExitTrace
    from ceesim.frontend.measure.audit import FlopsAudit
    from ceesim.frontend.source import Source
    from ceesim.workload.network import Workload


@click.group(epilog="Example: ceesim validate flops vggsmall --width 0.25")
def command() -> None:
    """Check counts and predictions against a real machine (extra torch)."""


def _network_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which network, and on what."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables. Default: off."),
        click.option("--device", default="cpu", metavar="NAME", help="auto, cpu, cuda or cuda:N. Default: cpu."),
        click.option(
            "--input-shape",
            metavar="C,H,W",
            help="One input of your own module, in pixels. Default: the module's input_shape.",
        ),
        click.option("--width", type=float, metavar="FACTOR", help="Channels of a shipped network. Default: 1."),
        click.option(
            "--num-classes",
            type=click.IntRange(2, 10**6),
            metavar="COUNT",
            help="Classes of a shipped network. Default: 10.",
        ),
        click.argument("network"),
    ):
        function = option(function)
    return function


def _loaded(network: str, options: Mapping[str, Any]) -> tuple[Source, Workload, str, dict[str, Any]]:
    """The module on its device, its workload, that device, and what makes the module again in another process."""
    from ceesim.frontend import require_torch

    require_torch("ceesim validate")
    from ceesim.cli.notes import notes
    from ceesim.frontend.distributed import choose_device
    from ceesim.frontend.export import SharedWeightsWarning, export
    from ceesim.frontend.source import load_source

    given = {
        "source": network,
        "num_classes": options["num_classes"],
        "width": 1.0 if options["width"] is None else options["width"],
        "input_shape": sizes(options["input_shape"], "--input-shape", "3,32,32") if options["input_shape"] else None,
    }
    device = str(choose_device(options["device"]))
    source = load_source(**given, device=device)
    with notes(SharedWeightsWarning):
        workload = export(source.module, source.input_shape, name=source.name, width=source.width)
    return source, workload, device, given


@command.command("flops", epilog="Example: ceesim validate flops vggsmall --width 0.25")
@_network_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the rows as CSV, and beside it on what they were counted. Default: no file.",
)
def flops(network: str, as_json: bool, out: Path | None, **options: Any) -> None:
    """Compare our MACs with PyTorch's counters and with what the device executes, op by op.

    NETWORK is a shipped one or your own module, as FILE.py:NAME or package.module:NAME. A difference against PyTorch's
    FlopCounterMode is an error (exit code 1); one against its profiler or the device is a finding.
    """
    source, workload, device, given = _loaded(network, options)
    from ceesim.frontend.measure.audit import audit
    from ceesim.frontend.measure.records import flops_rows, write_flops

    found = audit(source.module, workload, device=device, source=given)
    rows = flops_rows(found, workload)
    if out is not None:
        write_flops(out, found, workload)
    if as_json:
        about = {
            "network": found.network,
            "width": workload.width,
            "num_classes": workload.num_classes,
            "device": found.device,
        }
        totals = {"operations": found.total, "flop_counter": found.flop_counter, "notes": list(found.notes)}
        click.echo(json.dumps({"schema": "ceesim.validate.flops/1", **about, **totals, "ops": rows}, indent=2))
    else:
        _print_flops(found, workload)
    if found.differences:
        raise WorkloadError("counts differ:\n" + "\n".join(f"- {line}" for line in found.differences), where=network)


def _print_flops(found: FlopsAudit, workload: Workload) -> None:
    from rich.markup import escape

    from ceesim.cli.headline import network_text
    from ceesim.results.terminal import console_of

    console = console_of(200)
    network = escape(network_text(workload))
    console.print(f"[bold]{network}[/bold] on {found.device}: operations of one input, 2 per MAC\n")
    table = _table(2, "op", "kind", "ours", "FlopCounterMode", "profiler", "executed", "executed/ours", "kernels")
    for row in found.rows:
        ratio = f"{row.executed_ratio:.3f}" if row.executed_ratio is not None else "–"
        counts = [
            f"{count:,}" if count is not None else "–" for count in (row.ours, row.torch, row.profiler, row.executed)
        ]
        table.add_row(escape(row.op), row.kind, *counts, ratio, escape(" | ".join(row.kernels)))
    console.print(table, "")
    console.print(f"total: {found.total:,} here, {found.flop_counter:,} by FlopCounterMode")
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


@command.command(
    "latency", epilog="Example: ceesim validate latency vggsmall --width 0.25 --hw edge_npu.yaml --batch 1 --samples 5"
)
@_network_options
@click.option("--trace", metavar="T", help="Trace of the same network, for its policy and exit rates. Default: none.")
@click.option(
    "--hw", multiple=True, metavar="H", help="Simulated hardware beside the device; repeatable. Default: none."
)
@click.option("--batch", default="1,8", metavar="B,B", help="Batch sizes, in inputs. Default: 1,8.")
@click.option("--samples", type=click.IntRange(2), default=50, metavar="COUNT", help="Timings of each. Default: 50.")
@click.option("--threads", type=click.IntRange(1), metavar="COUNT", help="CPU threads. Default: one per core.")
@click.option(
    "--clock",
    type=click.Choice(["wall", "thread"]),
    default="wall",
    help="Of a CPU: wall, or the thread's own processor time, for a machine that others use too (one thread). "
    "Default: wall.",
)
@click.option(
    "--energy",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Repeat under the energy meter. Default: 0, off.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write samples and tables into this folder. Default: no files.",
)
def latency(
    network: str,
    as_json: bool,
    trace: str | None,
    hw: tuple[str, ...],
    batch: str,
    samples: int,
    threads: int | None,
    clock: str,
    energy: float,
    out: Path | None,
    **options: Any,
) -> None:
    """Time the network truncated at each exit, and the loop that decides on the host, beside what is predicted.

    Predicted are shares of the whole network's time: by MACs, by FLOPs (std), and, for batch 1, by each simulated
    hardware. Exits that the policy of the trace does not keep are left out. Weights are random; time does not depend on
    them.
    """
    batches = sizes(batch, "--batch", "1,8")
    if out is not None:
        from ceesim.frontend.measure.folder import check_place

        check_place(out)
    source, workload, device, _ = _loaded(network, options)
    from rich.console import Console
    from rich.progress import Progress

    from ceesim.exits.exclusion import Exclude
    from ceesim.frontend.measure.latency import measure_latency
    from ceesim.frontend.measure.predict import counted, simulated
    from ceesim.frontend.measure.records import latency_record, write_latency
    from ceesim.frontend.measure.stopwatch import Clock
    from ceesim.workload.flops import Convention

    inputs = _inputs(trace, workload) if trace else None
    policy = Exclude((0.5,) * workload.num_exits) if inputs is None else inputs.policy
    kept = policy.kept(workload.num_exits)
    rates = None if inputs is None else _exit_rates(inputs, (*kept, workload.num_exits + 1))
    predictors = [counted(workload, convention, kept) for convention in (Convention.MACS, Convention.STD)]
    predictors += [simulated(workload, hardware, kept, policy.cost(workload.num_classes)) for hardware in hw]
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("measuring", total=samples * len(batches))
        run = measure_latency(
            source.module,
            source.input_shape,
            device=device,
            clock=Clock.CUDA if device.startswith("cuda") else Clock(clock),
            batches=batches,
            num_samples=samples,
            energy_seconds=energy,
            threads=threads or (1 if clock == "thread" else None),
            policy=policy,
            advance=lambda: bar.advance(task),
        )
    content = latency_record(workload, run, predictors, rates, None if inputs is None else policy)
    if out is not None:
        names = write_latency(out, run, predictors, content)
        click.echo(f"wrote {', '.join(names)} into {out}", err=True)
    if as_json:
        click.echo(json.dumps(content, indent=2))
    else:
        _print_latency(content)


def _inputs(trace: str, workload: Workload) -> ExitTrace:
    from ceesim.exits.trace import load_trace

    inputs = load_trace(trace)
    if inputs.workload != workload:
        raise OptionError(
            "the trace is of another network",
            where=trace,
            got=f"{inputs.workload.name}, width {inputs.workload.width:g}, {inputs.workload.num_classes} classes",
            expected=f"{workload.name}, width {workload.width:g}, {workload.num_classes} classes",
        )
    return inputs


def _exit_rates(inputs: ExitTrace, exits: Sequence[int]) -> tuple[float, ...]:
    """Share of the inputs that leave at each of `exits`."""
    import numpy as np

    return tuple(float(np.mean(inputs.exit_index == i)) for i in exits)


def _print_latency(content: Mapping[str, Any]) -> None:
    from rich.markup import escape

    from ceesim.results.terminal import console_of

    console = console_of(200)
    machine = ", ".join(f"{key} {value}" for key, value in content["machine"].items())
    console.print(f"[bold]{escape(content['network'])}[/bold], width {content['width']:g}\n{machine}\n")
    for part in content["batches"]:
        names = list(part["exits"][0]["predicted_share"])
        console.print(
            f"batch {part['batch']}: truncated networks, with 95% intervals, and the loop that decides on the host"
        )
        table = _table(
            0, "exit", "truncated ms", "interval", "loop ms", "J", "measured share", *(f"by {n}" for n in names)
        )
        for row in part["exits"]:
            low, high = row["truncated_interval_s"]
            joules = f"{row['joules']:.4g}" if row["joules"] is not None else "–"
            shares = [f"{row['predicted_share'][name]:.3f}" for name in names]
            times = (
                f"{row['truncated_s'] * 1e3:.3f}",
                f"{low * 1e3:.3f} to {high * 1e3:.3f}",
                f"{row['loop_s'] * 1e3:.3f}",
            )
            table.add_row(str(row["exit_index"]), *times, joules, f"{row['share']:.3f}", *shares)
        console.print(table, "")
        for name, found in part["scores"].items():
            numbers = (
                f"rank correlation {found['rank_correlation']:.3f}, error {found['mape_percent']:.1f}% of the share"
            )
            console.print(f"predicted by {name}: {numbers}")
        if part["reduction"]:
            saved = {"truncated": part["reduction"]["truncated"], "loop": part["reduction"]["loop"]}
            saved |= {f"by {name}": value for name, value in part["reduction"]["predicted"].items()}
            console.print("reduction at the trace's exit rates: " + ", ".join(f"{k} {v:.1%}" for k, v in saved.items()))
        console.print("")
    for note in content["notes"]:
        click.echo(f"note: {note}", err=True)


def _table(left: int, *names: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number < left or name == "kernels" else "right", no_wrap=True)
    return table
