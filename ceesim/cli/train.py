"""`ceesim train`: train a network with exits; checkpoint and CSV row after every epoch."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ceesim.errors import OptionError
from ceesim.frontend import require_torch

if TYPE_CHECKING:
    from ceesim.cli.training_progress import SilentProgress

# options that change a recipe
_CHANGES: Final = (
    *("epochs", "learning_rate", "batch", "label_smoothing", "weights", "alpha_mode", "reduction"),
    *("cutout", "border", "mirror", "schedule", "average"),
)


@click.command(
    "train",
    epilog="Example: ceesim train vggsmall --data digits --val 200 "
    "--recipe quick --epochs 2 --width 0.125 --out runs/digits",
)
@click.argument("network")
@click.option(
    "--data", required=True, help="Data set: a directory, a tar, or cifar10, cifar100, fashion-mnist, digits."
)
@click.option("--data-name", help="What results call the data set [default: its known or file name].")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Directory of the run.")
@click.option(
    "--heads",
    type=click.Choice(["exclusion", "confidence", "none"]),
    default="exclusion",
    show_default=True,
    help="What the exit heads learn; none trains the final classifier alone.",
)
@click.option(
    "--recipe",
    type=click.Choice(["code", "paper", "quick"]),
    default="code",
    show_default=True,
    help="Training recipe: the published configurations, the paper's text, or few epochs.",
)
@click.option("--width", type=float, default=1.0, show_default=True, help="Factor on every channel count.")
@click.option("--tap", help="VGGsmall: before_pool or after_pool [default: before_pool].")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training images [default: the recipe's].")
@click.option("--minutes", type=float, help="Wall-clock budget; the schedule is fitted to it [default: none].")
@click.option("--learning-rate", type=click.FloatRange(0), help="Peak learning rate [default: the recipe's].")
@click.option(
    "--schedule",
    type=click.Choice(["constant", "steps", "cosine", "onecycle"]),
    help="Of the learning rate over the run [default: the recipe's].",
)
@click.option(
    "--average",
    type=click.FloatRange(0, 1),
    help="Last part of the run whose weights are averaged, 0 to 1 [default: the recipe's].",
)
@click.option("--batch", type=click.IntRange(2), help="Images per step, over all processes [default: the recipe's].")
@click.option("--cutout", type=click.IntRange(0), help="Side of the square to blank out [default: the recipe's].")
@click.option(
    "--border", type=click.Choice(["black", "reflect"]), help="What a shift brings in [default: the recipe's]."
)
@click.option(
    "--mirror",
    type=click.Choice(["random", "alternate"]),
    help="Mirror images by chance, or each in every other epoch [default: the recipe's].",
)
@click.option(
    "--label-smoothing",
    type=click.FloatRange(0, 1, max_open=True),
    help="Of the final classifier's loss [default: the recipe's].",
)
@click.option(
    "--weights", type=click.Choice(["code", "paper"]), help="Rule of the exit weights [default: the recipe's]."
)
@click.option("--alpha", type=float, help="Weight of the positive class [default: 4·(classes − 1)].")
@click.option(
    "--alpha-mode", type=click.Choice(["pos_weight", "scale"]), help="What alpha weighs [default: pos_weight]."
)
@click.option("--reduction", type=click.Choice(["mean", "sum_classes"]), help="Over classes [default: the recipe's].")
@click.option("--val", type=click.IntRange(1), default=10_000, show_default=True, help="Training images held out.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True, help="Of split, weights and batches."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--amp",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Mixed precision; auto uses it where the device has it.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads [default: one per core].")
@click.option(
    "--initial",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Weights to start from, .pth or checkpoint.pt, also a narrower network's; heads only if they learnt the same "
    "[default: fresh].",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out, if there is one [default: off].")
def command(network: str, **options: Any) -> None:
    """Train NETWORK (alexnet, vggsmall, resnet50, mobilenetv2, vit) with an exit head at each tap.

    Writes checkpoint.pt and epochs.csv to --out. A run that was stopped, by whatever, goes on with --resume and ends
    with the weights it would have had (on CPUs). Several GPUs: torchrun --nproc-per-node N -m ceesim train …
    """
    require_torch("ceesim train")
    _train(network, options)


def _train(network: str, options: Mapping[str, Any]) -> None:
    from ceesim.cli.notes import notes
    from ceesim.frontend import distributed
    from ceesim.frontend.amp import amp_dtype
    from ceesim.frontend.checkpoint import Checkpoint
    from ceesim.frontend.config import TrainConfig
    from ceesim.frontend.data.load import load_images
    from ceesim.frontend.data.preprocess import Preprocessing
    from ceesim.frontend.models import shipped
    from ceesim.frontend.recipes import recipe
    from ceesim.frontend.start import InitialWeightsWarning, ResumeWarning, read_weights
    from ceesim.frontend.train import CHECKPOINT, epochs_within, train
    from ceesim.provenance import SourceFile

    if options["epochs"] is not None and options["minutes"] is not None:
        raise OptionError("--epochs and --minutes exclude each other", fix="give one of them")
    _check_options(options)
    distributed.limit_threads(options["threads"])
    image_size = shipped(network).image_size
    device = distributed.choose_device(options["device"])
    data = load_images(options["data"], name=options["data_name"])
    parts = data.split(options["val"], options["seed"])
    chosen = recipe(options["recipe"], network, options["heads"])
    if not chosen.augment:
        _refuse(options, ("border", "mirror"), f"recipe {chosen.name} of {network}")
    chosen = replace(chosen, **{name: options[name] for name in _CHANGES if options[name] is not None})
    path = options["out"] / CHECKPOINT
    before = Checkpoint.load(path).config if options["resume"] and path.exists() else None
    amp = amp_dtype(options["amp"], device)
    if before is not None and options["amp"] == "auto":
        amp = before.amp  # auto is decided once in a run, wherever it goes on
    config = TrainConfig(
        network=network,
        width=options["width"],
        num_classes=len(data.classes),
        heads=options["heads"],
        dataset=data.name,
        classes=data.classes,
        preprocessing=Preprocessing.of(parts["train"].images, image_size),
        recipe=chosen,
        seed=options["seed"],
        num_val=options["val"],
        amp=amp,
        alpha=options["alpha"],
        options={"tap": options["tap"]} if options["tap"] else {},
    )
    initial = None
    if options["initial"]:
        with notes(InitialWeightsWarning):
            initial = read_weights(options["initial"], config, parts["val"])
        file = SourceFile.of(options["initial"])
        config = replace(config, initial=f"{options['initial'].name}, SHA-256 {file.sha256}")
    with distributed.process_group(device):
        if options["minutes"] is not None:
            if before is None:
                epochs = distributed.agreed(epochs_within(options["minutes"], config, parts["train"], device))
            else:  # a resumed run keeps the schedule that its first start was fitted to
                epochs = before.epochs
            config = replace(config, recipe=replace(chosen, epochs=epochs))
        progress = _progress()
        try:
            with notes(ResumeWarning, InitialWeightsWarning):
                train(
                    config,
                    parts,
                    options["out"],
                    device=device,
                    progress=progress,
                    resume=options["resume"],
                    initial=initial,
                )
        finally:
            progress.stop()
        if distributed.rank() == 0:
            click.echo(path)


def _check_options(options: Mapping[str, Any]) -> None:
    """See that numbers are numbers, and that no option is given that would not be heard."""
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise OptionError("not a finite number", where=f"--{name.replace('_', '-')}", got=value)
    unheard = {"exclusion": (), "confidence": ("alpha", "alpha_mode", "reduction")}.get(
        options["heads"], ("alpha", "alpha_mode", "reduction", "weights")
    )
    _refuse(options, unheard, f"--heads {options['heads']}")


def _refuse(options: Mapping[str, Any], unheard: Sequence[str], chosen: str) -> None:
    given = [f"--{name.replace('_', '-')}" for name in unheard if options[name] is not None]
    if given:
        raise OptionError(f"{chosen} has no use for it", where=", ".join(given), fix="leave it out")


def _progress() -> SilentProgress:
    from ceesim.cli.training_progress import BarProgress, LineProgress, SilentProgress
    from ceesim.frontend import distributed

    if distributed.rank() != 0:
        return SilentProgress()
    return BarProgress() if sys.stderr.isatty() else LineProgress()
