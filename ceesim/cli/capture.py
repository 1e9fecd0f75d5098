"""`ceesim capture`: run a checkpoint over a data split and write the trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ceesim.errors import OptionError


@click.command("capture")
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--data", help="Data set: a directory, a tar, or cifar10, cifar100, fashion-mnist, digits.")
@click.option("--data-name", help="What results call the data set [default: as in training].")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Part of the data."
)
@click.option("--policy", type=click.Path(path_type=Path, dir_okay=False), help="policy.json [default: nobody leaves].")
@click.option("--quantize", type=click.Choice(["int8"]), help="Run as int8 hardware computes [default: float32].")
@click.option("--density", is_flag=True, help="Measure the share of non-zeros in each op's ifmap [default: off].")
@click.option("--batch", type=click.IntRange(1), default=250, show_default=True, help="Inputs per forward pass.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads [default: one per core].")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Trace to write (.npz).")
def command(source: Path, policy: Path | None, out: Path, **options: Any) -> None:
    """Run the checkpoint SOURCE over a data split and write what every exit said as a trace.

    SOURCE may also be a trace with logits: with --policy it is written again under that policy, without running
    anything, and without torch.

    Example: ceesim capture vgg_w050_c10.npz --policy policy.json --out restated.npz
    """
    from ceesim.exits.policy_file import read_policy
    from ceesim.exits.trace import load_trace, save_trace

    chosen = read_policy(policy).policy if policy else None
    if source.suffix == ".npz":
        if chosen is None:
            raise OptionError("a trace is only rewritten under another policy", where=str(source), fix="add --policy")
        trace = load_trace(source).under(chosen)
    else:
        trace = _run(source, chosen, options)
    save_trace(trace, out)
    click.echo(out)


def _run(source: Path, policy: Any, options: dict[str, Any]) -> Any:
    from ceesim.frontend import require_torch

    require_torch("ceesim capture")
    if options["data"] is None:
        raise OptionError("a checkpoint is run over data", where="--data", fix="name the data set it was trained on")
    from rich.console import Console
    from rich.progress import Progress

    from ceesim.frontend.capture import capture
    from ceesim.frontend.checkpoint import Checkpoint
    from ceesim.frontend.data.load import load_images
    from ceesim.frontend.distributed import choose_device, limit_threads

    limit_threads(options["threads"])
    trained_on = Checkpoint.load(source).config.dataset
    data = load_images(options["data"], name=options["data_name"] or trained_on)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("capturing", total=None)
        return capture(
            source,
            data,
            options["split"],
            policy=policy,
            quantize=options["quantize"],
            density=options["density"],
            batch=options["batch"],
            device=choose_device(options["device"]),
            advance=lambda num_inputs: bar.advance(task, num_inputs),
        )
