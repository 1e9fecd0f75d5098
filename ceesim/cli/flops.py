"""``ceesim flops``: MACs and FLOPs of a network, per op, segment and exit, under a named convention."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ceesim.cli.sizes import sizes
from ceesim.errors import OptionError
from ceesim.shipped import Shelf, meant

if TYPE_CHECKING:
    from ceesim.workload.flops import Convention
    from ceesim.workload.network import Workload


@click.command(epilog="Example: ceesim flops vgg_w025_c10.npz --convention std")
@click.argument("source", metavar="NETWORK|TRACE")
@click.option(
    "--num-classes", type=click.IntRange(2, 10**6), metavar="COUNT", help="Classes of a shipped network. Default: 10."
)
@click.option("--width", type=float, metavar="FACTOR", help="Channel multiplier of a shipped network. Default: 1.")
@click.option(
    "--input-shape", metavar="C,H,W", help="One input of your own module, in pixels. Default: the module's input_shape."
)
@click.option(
    "--convention",
    type=click.Choice(["std", "macs", "table1"]),
    default="std",
    help="What a FLOP is: every arithmetic operation (std), multiply-accumulates only (macs), or the count that "
    "reproduces Table I of the class-exclusion paper (table1). Default: std.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables. Default: off.")
def command(
    source: str, num_classes: int | None, width: float | None, input_shape: str | None, convention: str, as_json: bool
) -> None:
    """Count the MACs and FLOPs of a network, per op, segment and exit.

    NETWORK is a shipped one (alexnet, vggsmall, resnet50, mobilenetv2, vit) or your own module, as FILE.py:NAME or
    package.module:NAME; both need the extra torch. TRACE is an .npz, which carries its network and needs nothing.
    """
    from ceesim.workload.flops import Convention

    if source.endswith(".npz") or meant(source, Shelf.TRACES) is not None:
        given = {"--num-classes": num_classes, "--width": width, "--input-shape": input_shape}
        surplus = [name for name, value in given.items() if value is not None]
        if surplus:
            raise OptionError("a trace carries its network", where=source, fix=f"leave {', '.join(surplus)} out")
        from ceesim.exits.trace import load_trace

        workload = load_trace(source).workload
    else:
        workload = _exported(source, num_classes, width, input_shape)
    content = _content(workload, Convention(convention))
    if as_json:
        click.echo(json.dumps(content, indent=2))
    else:
        _print(content)


def _exported(source: str, num_classes: int | None, width: float | None, input_shape: str | None) -> Workload:
    from ceesim.frontend import require_torch

    require_torch("counting a network that is no trace")
    from ceesim.cli.notes import notes
    from ceesim.frontend.export import SharedWeightsWarning, export
    from ceesim.frontend.source import load_source

    shape = sizes(input_shape, "--input-shape", "3,32,32") if input_shape is not None else None
    found = load_source(
        source, num_classes=num_classes, width=1.0 if width is None else width, input_shape=shape, device="meta"
    )
    with notes(SharedWeightsWarning):
        return export(found.module, found.input_shape, name=found.name, width=found.width)


def _content(workload: Workload, convention: Convention) -> dict[str, Any]:
    """Everything that is printed; counts are of one input."""
    from ceesim.workload.flops import Convention, backbone_flops, op_flops, path_flops, segment_flops

    macs, flops = op_flops(workload, Convention.MACS), op_flops(workload, convention)
    segments = workload.segments
    return {
        "schema": "ceesim.flops/1",
        "network": workload.name,
        "width": workload.width,
        "num_classes": workload.num_classes,
        "input_shape": list(workload.input_shape),
        "convention": convention.value,
        "ops": [
            {
                "op": op.name,
                "kind": op.function.value if op.function else op.kind.value,
                "segment": segment.exit_index,
                "head": op in segment.head,
                "input_shapes": [list(shape) for shape in op.input_shapes],
                "output_shape": list(op.output_shape),
                "weights": op.num_weights + op.num_biases + op.num_constants,
                "macs": macs[op.name],
                "flops": flops[op.name],
            }
            for segment in segments
            for op in segment.ops
        ],
        "exits": [
            {
                "exit_index": segment.exit_index,
                "tap": exit_.tap if exit_ else None,
                "segment_macs": segment_macs,
                "segment_flops": segment_count,
                "head_macs": sum(op.macs for op in segment.head),
                "head_flops": sum(flops[op.name] for op in segment.head),
                "path_macs": path_macs,
                "path_flops": path,
            }
            for segment, exit_, segment_macs, segment_count, path_macs, path in zip(
                segments,
                (*workload.exits, None),
                segment_flops(workload, Convention.MACS),
                segment_flops(workload, convention),
                workload.path_macs(),
                path_flops(workload, convention),
                strict=True,
            )
        ],
        "backbone": {
            "macs": backbone_flops(workload, Convention.MACS),
            "flops": backbone_flops(workload, convention),
            "weights": sum(op.num_weights + op.num_biases + op.num_constants for op in workload.backbone.ops),
        },
    }


def _print(content: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ceesim.results.terminal import console_of

    convention = content["convention"]
    columns = ["MACs"] if convention == "macs" else ["MACs", f"FLOPs ({convention})"]
    keys = ["macs", "flops"][: len(columns)]
    console = console_of(160)

    def numbers(row: dict[str, Any], prefix: str = "") -> list[str]:
        return [f"{row[prefix + key]:,}" for key in keys]

    def table(title: str, left: int, *names: str) -> Table:
        made = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for number, name in enumerate(names):
            made.add_column(name, justify="left" if number < left else "right", no_wrap=True)
        return made

    width = f", width {content['width']:g}" if content["width"] != 1 else ""
    console.print(
        f"[bold]{escape(content['network'])}[/bold]{width}, {content['num_classes']} classes, one input of "
        f"{_times(content['input_shape'])}; FLOPs convention: {convention}\n"
    )
    ops = table("ops", 4, "op", "kind", "segment", "output", "weights", *columns)
    for row in content["ops"]:
        segment = f"{row['segment']}{' head' if row['head'] else ''}"
        shown = f"{row['weights']:,}" if row["weights"] else ""
        ops.add_row(escape(row["op"]), row["kind"], segment, _times(row["output_shape"]), shown, *numbers(row))
    console.print(ops, "")
    paths = [f"path {name}" for name in columns]
    exits = table(
        "exits: what segment and head add, and the whole path to the exit, heads passed included",
        2,
        "exit",
        "tap",
        *(f"segment {name}" for name in columns),
        *(f"head {name}" for name in columns),
        *paths,
        "of the backbone",
    )
    total = content["backbone"][keys[-1]]
    for row in content["exits"]:
        share = f"{row['path_' + keys[-1]] / total:.1%}" if total else ""
        tap = escape(row["tap"]) if row["tap"] is not None else "(end)"
        exits.add_row(
            str(row["exit_index"]),
            tap,
            *numbers(row, "segment_"),
            *numbers(row, "head_"),
            *numbers(row, "path_"),
            share,
        )
    console.print(exits, "")
    backbone = content["backbone"]
    counts = ", ".join(f"{number} {name}" for number, name in zip(numbers(backbone), columns, strict=True))
    console.print(f"backbone without heads: {counts}, {backbone['weights']:,} weights")


def _times(shape: list[int]) -> str:
    return "×".join(map(str, shape))
