"""`ceesim timeline`: who worked when, for Perfetto."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from ceesim.errors import OptionError


@click.command(
    "timeline",
    epilog="Example: ceesim timeline --hw edge_npu.yaml --trace vgg_w025_c10.npz --exit 4 --out timeline.json",
)
@click.option("--hw", required=True, metavar="H", help="Hardware YAML; a bare name may be a shipped one.")
@click.option("--trace", required=True, metavar="T", help="Trace npz; a bare name may be a shipped one.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a hardware key; repeatable. Default: none."
)
@click.option("--exit", "exit_index", type=int, metavar="I", help="Leave at this exit, from 1. Default: never leave.")
@click.option(
    "--input",
    "input_index",
    type=int,
    metavar="N",
    help="Leave where this input of the trace does, from 0. Default: none.",
)
@click.option(
    "--rates", metavar="VAL", help="Validation trace whose exit rates `residency: auto` goes by. Default: none."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("timeline.json"),
    show_default=True,
    help="File to write.",
)
def command(
    hw: str,
    trace: str,
    overrides: tuple[str, ...],
    exit_index: int | None,
    input_index: int | None,
    rates: str | None,
    out: Path,
) -> None:
    """Write the commands of one inference as a trace for https://ui.perfetto.dev or chrome://tracing.

    A track per unit, arrows from load to compute to store, counters of DRAM bandwidth and buffers, exits as markers.
    One nanosecond on the time axis is one cycle. Work that an exit made useless is marked wasted; what it cancelled is
    a marker on the unit that would have done it.
    """
    from ceesim.cli.first_use import tell_of_first_use
    from ceesim.exits.trace import load_trace
    from ceesim.files import check_apart
    from ceesim.results.timeline import timeline, write_timeline
    from ceesim.shipped import Shelf, find
    from ceesim.sim.run import Engine, PrecisionWarning, run

    if exit_index is not None and input_index is not None:
        raise OptionError("an input leaves where it leaves", got="--exit and --input", fix="drop one of the two")
    check_apart(out, [find(hw, Shelf.HARDWARE), *(find(name, Shelf.TRACES) for name in (trace, rates) if name)])
    inputs = load_trace(trace)
    if input_index is not None:
        if not 0 <= input_index < inputs.num_inputs:
            expected = f"0 to {inputs.num_inputs - 1}"
            raise OptionError("no such input", where="--input", got=input_index, expected=expected)
        exit_index = int(inputs.exit_index[input_index])
    tell_of_first_use()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecisionWarning)  # no accuracy is told here
        result = run(hw, inputs, overrides=overrides, rates=rates, engine=Engine.COMPILED)
    write_timeline(timeline(result, exit_index), out)
    click.echo(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB); open it in https://ui.perfetto.dev", err=True)
