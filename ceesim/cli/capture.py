"""`ceesim capture`: run a checkpoint over a data split and write the trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ceesim.errors import OptionError, TrainingError

if TYPE_CHECKING:
    from ceesim.exits.trace import ExitTrace


@click.command("capture", epilog="Example: ceesim capture vgg_w025_c10.npz --policy never --out everybody_stays.npz")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--data", help="A directory, a tar, cifar10, cifar100, fashion-mnist or digits [default: none].")
@click.option("--data-name", help="What results call the data set [default: as in training].")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Part of the data."
)
@click.option(
    "--policy", metavar="FILE|NAME", help="Who decides: policy.json, or a policy's name as in run [default: never]."
)
@click.option("--beta", metavar="B,B,…", help="With --policy exclude or ratio: one β per exit [default: none].")
@click.option("--threshold", metavar="T,T,…", help="What the other policies go by, as in run [default: none].")
@click.option("--quantize", type=click.Choice(["int8"]), help="Run as int8 hardware computes [default: float32].")
@click.option("--density", is_flag=True, help="Measure the share of non-zeros in each op's ifmap [default: off].")
@click.option("--inputs", type=click.IntRange(1), help="Evenly spaced inputs of the split [default: all].")
@click.option("--batch", type=click.IntRange(1), default=250, show_default=True, help="Inputs per forward pass.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads [default: one per core].")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Trace to write (.npz).")
@click.pass_context
def command(
    context: click.Context,
    /,
    source: Path,
    policy: str | None,
    beta: str | None,
    threshold: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Run the checkpoint SOURCE over a data split and write what every exit said as a trace.

    A folder that `ceesim train` wrote stands for the checkpoint.pt in it. SOURCE may also be a trace with logits: with
    --policy it is written again under that policy, without running anything, and without torch.
    """
    from ceesim.cli.notes import notes
    from ceesim.exits.choice import choose_policy
    from ceesim.exits.identity import identity
    from ceesim.exits.policy_file import PolicyWarning
    from ceesim.exits.trace import load_trace, save_trace
    from ceesim.files import check_apart, check_folder

    check_folder(out)  # before the long pass, not after it
    read = [source, *(source.iterdir() if source.is_dir() else ())]
    check_apart(out, read if policy is None else [*read, Path(policy)])
    if policy is None and (beta is not None or threshold is not None):
        raise OptionError("--beta and --threshold belong to a policy", fix="add --policy exclude (or confidence, …)")
    if source.suffix == ".npz":
        if policy is None:
            raise OptionError("a trace is only rewritten under another policy", where=str(source), fix="add --policy")
        surplus = sorted(
            f"--{name.replace('_', '-')}"
            for name in options
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        )
        if surplus:
            raise OptionError("a trace is rewritten, not run", where=str(source), fix=f"leave {', '.join(surplus)} out")
        before = load_trace(source)
        with notes(PolicyWarning):
            chosen = choose_policy(
                policy, before.workload.num_exits, network=identity(before), beta=beta, threshold=threshold
            )
        trace = before.under(chosen)
    else:
        trace = _run(source, policy, beta, threshold, options)
    save_trace(trace, out)
    click.echo(out)


def _run(
    source: Path, policy: str | None, beta: str | None, threshold: str | None, options: dict[str, Any]
) -> ExitTrace:
    from ceesim.frontend import require_torch

    require_torch("ceesim capture")
    if not source.exists():
        raise TrainingError("no such file", where=str(source), fix="give the folder that `ceesim train` wrote")
    if options["data"] is None:
        raise OptionError("a checkpoint is run over data", where="--data", fix="name the data set it was trained on")
    from rich.console import Console
    from rich.progress import Progress

    from ceesim.cli.notes import notes
    from ceesim.exits.choice import choose_policy
    from ceesim.exits.policy_file import PolicyWarning
    from ceesim.frontend.capture import capture, identity
    from ceesim.frontend.checkpoint import Checkpoint
    from ceesim.frontend.data.load import load_images
    from ceesim.frontend.distributed import choose_device, limit_threads
    from ceesim.frontend.train import CHECKPOINT

    if options["threads"]:
        limit_threads(options["threads"])
    source = source / CHECKPOINT if source.is_dir() else source
    checkpoint = Checkpoint.load(source)
    chosen = None
    if policy is not None:
        with notes(PolicyWarning):
            chosen = choose_policy(
                policy,
                checkpoint.network().num_exits,
                network=identity(checkpoint, source),
                beta=beta,
                threshold=threshold,
            )
    data = load_images(options["data"], name=options["data_name"] or checkpoint.config.dataset)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("capturing", total=None)
        return capture(
            source,
            data,
            options["split"],
            policy=chosen,
            quantize=options["quantize"],
            density=options["density"],
            num_inputs=options["inputs"],
            batch=options["batch"],
            device=choose_device(options["device"]),
            advance=lambda num_inputs, total: bar.update(task, advance=num_inputs, total=total),
        )
