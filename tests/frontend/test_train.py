"""A run stopped at any moment and resumed ends with the weights of an uninterrupted one; what goes wrong is said."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

from ceesim.errors import CeesimError, DataError, OptionError, OutputError, TrainingError
from ceesim.frontend.amp import amp_dtype
from ceesim.frontend.average import WeightAverage
from ceesim.frontend.checkpoint import Checkpoint
from ceesim.frontend.config import TrainConfig
from ceesim.frontend.data.digits import read_digits
from ceesim.frontend.data.images import ImagePart
from ceesim.frontend.data.preprocess import Preprocessing
from ceesim.frontend.evaluate import accuracies, collect_logits
from ceesim.frontend.recipes import recipe
from ceesim.frontend.start import InitialWeightsWarning, ResumeWarning, read_weights, start_from
from ceesim.frontend.train import CHECKPOINT, EPOCHS_CSV, epochs_within, train

CPU = torch.device("cpu")
STEPS = 4


@pytest.fixture(scope="module")
def parts() -> Mapping[str, ImagePart]:
    every_fifth = read_digits().train.take(np.arange(0, 1000, 5))
    return {"train": every_fifth.take(np.arange(STEPS * 20)), "val": every_fifth.take(np.arange(STEPS * 20, 200))}


def config(epochs: int | None = None, **changes: object) -> TrainConfig:
    """AlexNet's dropout and the augmentation draw random numbers in every step; momentum is state beside weights."""
    settings: dict[str, object] = {
        "network": "alexnet",
        "width": 0.03,
        "num_classes": 10,
        "heads": "exclusion",
        "dataset": "digits",
        "classes": tuple("0123456789"),
        "preprocessing": Preprocessing((0.3, 0.3, 0.3), (0.4, 0.4, 0.4), 64),
        "recipe": replace(recipe("quick", "alexnet", "exclusion"), batch=20, epochs=3),
        "seed": 5,
        "num_val": 120,
        "amp": "off",
    }
    settings |= changes
    if epochs is not None:
        settings["recipe"] = replace(settings["recipe"], epochs=epochs)
    return TrainConfig(**settings)


class CrashError(Exception):
    """The process dies."""


class Quiet:
    """Counts, and dies after a given number of steps."""

    def __init__(self, dies_after: int = -1) -> None:
        self.dies_after = dies_after
        self.rows: list[Mapping[str, float]] = []

    def start(self, epochs: int, images_per_epoch: int, done: int) -> None:
        self.started = (epochs, images_per_epoch, done)

    def advance(self, num_images: int) -> None:
        self.dies_after -= 1
        if self.dies_after == 0:
            raise CrashError

    def epoch(self, row: Mapping[str, float]) -> None:
        self.rows.append(row)


def run(parts: Mapping[str, ImagePart], out: Path, progress: Quiet | None = None, **options: object) -> Checkpoint:
    chosen = options.pop("config", None) or config()
    return train(chosen, parts, out, device=CPU, progress=progress or Quiet(), **options)


def assert_same_weights(one: Checkpoint, other: Checkpoint) -> None:
    assert one.model.keys() == other.model.keys()
    for name, weight in one.model.items():
        assert torch.equal(weight, other.model[name]), name


def without_seconds(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("dies_after", [1, STEPS, STEPS + 1, 2 * STEPS + 3])
def test_stopped_and_resumed_is_as_never_stopped(
    parts: Mapping[str, ImagePart], tmp_path: Path, dies_after: int
) -> None:
    whole = run(parts, tmp_path / "whole")
    with pytest.raises(CrashError):
        run(parts, tmp_path / "broken", Quiet(dies_after))
    torch.manual_seed(dies_after)  # whatever another process's generators hold
    resumed = run(parts, tmp_path / "broken", resume=True)
    assert_same_weights(whole, resumed)
    assert without_seconds(tmp_path / "whole" / EPOCHS_CSV) == without_seconds(tmp_path / "broken" / EPOCHS_CSV)


def test_a_run_that_cannot_go_on_exactly_says_so(
    parts: Mapping[str, ImagePart], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    with pytest.raises(CrashError):
        run(parts, tmp_path, Quiet(STEPS + 1))
    before = Checkpoint.load(tmp_path / CHECKPOINT)
    threads = torch.get_num_threads()
    replace(before, made_with=before.made_with | {"threads": "7", "torch": "1.0"}).save(tmp_path / CHECKPOINT)
    with pytest.warns(
        ResumeWarning, match=rf"torch 1\.0, threads 7, the run goes on with torch .*, threads {threads}:"
    ):
        run(parts, tmp_path, resume=True)
    recwarn.clear()
    run(parts, tmp_path, resume=True)
    assert not [each for each in recwarn if each.category is ResumeWarning]


def test_a_crash_while_the_checkpoint_is_written_leaves_the_old_one(
    parts: Mapping[str, ImagePart], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(parts, tmp_path, config=config(epochs=2))
    before = (tmp_path / CHECKPOINT).read_bytes()
    save = torch.save

    def half(payload: object, file: object) -> None:
        save(payload, file)
        file.truncate(1000)
        raise CrashError

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(CrashError):
        Checkpoint.load(tmp_path / CHECKPOINT).save(tmp_path / CHECKPOINT)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, EPOCHS_CSV]


def test_sigkill_and_resume_on_the_command_line(tmp_path: Path) -> None:
    arguments = (
        "vggsmall --data digits --val 1200 --width 0.06 --recipe quick --batch 30 --epochs 3 --amp off --threads 1"
    )
    environment = os.environ | {"CEESIM_CACHE": str(tmp_path / "cache")}

    def start(out: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ceesim", "train", *arguments.split(), "--out", str(tmp_path / out), *more]
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    killed = start("killed")
    assert killed.stderr is not None
    assert killed.stderr.readline().startswith("epoch 1: loss ")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert Checkpoint.load(tmp_path / "killed" / CHECKPOINT).epoch < 3
    outputs = [process.communicate() for process in (start("whole"), start("killed", "--resume"))]
    assert outputs[0][0] == f"{tmp_path / 'whole' / CHECKPOINT}\n"
    assert "epoch 3: loss " in outputs[1][1]
    whole, resumed = (Checkpoint.load(tmp_path / out / CHECKPOINT) for out in ("whole", "killed"))
    assert (whole.epoch, resumed.epoch) == (3, 3)
    assert_same_weights(whole, resumed)


def test_the_csv_has_a_row_per_epoch(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    progress = Quiet()
    run(parts, tmp_path, progress)
    rows = without_seconds(tmp_path / EPOCHS_CSV)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    expected = ["epoch", "learning_rate", "loss", "val_images", "final_accuracy"]
    assert list(rows[0]) == expected + [f"exit{number}_accuracy" for number in range(1, 6)]
    assert rows[-1]["learning_rate"] == "0.00166667"  # of the last step: at the end of the run it is 0
    assert progress.started == (3, STEPS * 20, 0)
    assert len(progress.rows) == 3


def test_the_seed_decides(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    one, same, other = (
        run(parts, tmp_path / str(number), config=config(epochs=1, seed=seed)) for number, seed in enumerate((5, 5, 6))
    )
    assert_same_weights(one, same)
    assert not torch.equal(one.model["heads.0.linear.weight"], other.model["heads.0.linear.weight"])


def test_the_loss_falls(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    vgg = config(network="vggsmall", width=0.06, epochs=5, preprocessing=Preprocessing((0.3,) * 3, (0.4,) * 3, 32))
    history = run(parts, tmp_path, config=vgg).history
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]


@pytest.mark.parametrize("heads", ["confidence", "none"])
def test_other_heads_train(parts: Mapping[str, ImagePart], tmp_path: Path, heads: str) -> None:
    trained = run(parts, tmp_path, config=config(epochs=1, heads=heads))
    before = trained.config.build().state_dict()
    moved = {name for name, weight in trained.model.items() if not torch.equal(weight, before[name])}
    assert ("heads.0.linear.weight" in moved) == (heads == "confidence")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_bfloat16_trains_and_resumes(parts: Mapping[str, ImagePart], tmp_path: Path, optimizer: str) -> None:
    chosen = replace(recipe("quick", "alexnet", "exclusion"), batch=20, optimizer=optimizer, learning_rate=0.001)
    mixed = config(amp="bfloat16", recipe=chosen, epochs=2)
    whole = run(parts, tmp_path / "whole", config=mixed)
    with pytest.raises(CrashError):
        run(parts, tmp_path / "broken", Quiet(STEPS + 2), config=mixed)
    assert_same_weights(whole, run(parts, tmp_path / "broken", resume=True, config=mixed))


def test_muon_resumes(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    """On a network with batch norm, so that its matrices turn and the rest descends."""
    small = config(
        network="resnet50",
        preprocessing=Preprocessing((0.3, 0.3, 0.3), (0.4, 0.4, 0.4), 32),
        recipe=replace(recipe("quick", "resnet50", "exclusion"), batch=20),
        epochs=2,
    )
    whole = run(parts, tmp_path / "whole", config=small)
    with pytest.raises(CrashError):
        run(parts, tmp_path / "broken", Quiet(STEPS + 2), config=small)
    assert_same_weights(whole, run(parts, tmp_path / "broken", resume=True, config=small))


def averaging(**changes: object) -> TrainConfig:
    """On a network with batch norm, whose weights of the last half of three epochs are averaged."""
    return config(
        network="vggsmall",
        width=0.06,
        preprocessing=Preprocessing((0.3, 0.3, 0.3), (0.4, 0.4, 0.4), 32),
        recipe=replace(recipe("quick", "vggsmall", "exclusion"), batch=20, average=0.5),
        epochs=3,
        **changes,
    )


@pytest.mark.parametrize("dies_after", [STEPS + 1, 2 * STEPS + 2])
def test_averaging_resumes(parts: Mapping[str, ImagePart], tmp_path: Path, dies_after: int) -> None:
    """Before the average begins, and in the midst of it."""
    whole = run(parts, tmp_path / "whole", config=averaging())
    with pytest.raises(CrashError):
        run(parts, tmp_path / "broken", Quiet(dies_after), config=averaging())
    resumed = run(parts, tmp_path / "broken", resume=True, config=averaging())
    assert_same_weights(whole, resumed)
    assert whole.weights.keys() == resumed.weights.keys() == whole.model.keys()
    assert all(torch.equal(weight, resumed.weights[name]) for name, weight in whole.weights.items())
    assert without_seconds(tmp_path / "whole" / EPOCHS_CSV) == without_seconds(tmp_path / "broken" / EPOCHS_CSV)


def test_the_average_is_the_mean_over_the_last_steps(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    """Of the run's other half: the weights after each step, written down one by one, and the statistics of a network
    of their mean.
    """
    seen: list[torch.Tensor] = []

    class Watching(WeightAverage):
        def add(self) -> None:
            seen.append(self._network.state_dict()["backbone.features.conv3.weight"].clone())
            super().add()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ceesim.frontend.train.WeightAverage", Watching)
        ended = run(parts, tmp_path, config=averaging())
    assert len(seen) == 3 * STEPS / 2
    mean = torch.stack(seen).double().mean(dim=0)
    assert torch.allclose(ended.weights["backbone.features.conv3.weight"].double(), mean, atol=1e-6)
    assert torch.equal(ended.model["backbone.features.conv3.weight"], seen[-1])
    network = ended.network()
    images = ended.config.preprocessing(torch.from_numpy(parts["train"].images))
    with torch.no_grad():
        first = network.backbone.features.conv1(images)
    assert torch.allclose(network.backbone.features.bn1.running_mean, first.mean(dim=(0, 2, 3)), atol=1e-5)


def test_the_monitor_sees_the_averaged_network(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    ended = run(parts, tmp_path, config=averaging())
    logits = collect_logits(ended.network(), parts["val"], ended.config.preprocessing)
    assert ended.history[-1]["final_accuracy"] == accuracies(logits, parts["val"].labels)[-1]
    assert any(not torch.equal(weight, ended.model[name]) for name, weight in ended.weights.items())


def test_weights_are_averaged_from_the_step_on_that_was_asked_for(
    parts: Mapping[str, ImagePart], tmp_path: Path
) -> None:
    half = averaging()
    plain = run(parts, tmp_path / "plain", config=replace(half, recipe=replace(half.recipe, average=0.0)))
    assert plain.average is None
    assert plain.weights is plain.model
    assert_same_weights(plain, run(parts, tmp_path / "half", config=half))  # the steps themselves are the same
    with pytest.raises(CrashError):
        run(parts, tmp_path / "early", Quiet(STEPS + 1), config=half)
    assert Checkpoint.load(tmp_path / "early" / CHECKPOINT).average is None


@pytest.mark.parametrize(("heads", "taken"), [("exclusion", True), ("confidence", False), ("none", False)])
def test_initial_heads_are_taken_where_they_learnt_the_same(
    parts: Mapping[str, ImagePart], tmp_path: Path, heads: str, taken: bool
) -> None:
    ended = run(parts, tmp_path, config=averaging())
    later = averaging(heads=heads, seed=9)
    weights = read_weights(tmp_path / CHECKPOINT, later, parts["val"])
    network = later.build()
    fresh = network.state_dict()["heads.0.linear.weight"].clone()
    start_from(network, weights)
    started = network.state_dict()
    assert torch.equal(started["backbone.features.conv3.weight"], ended.weights["backbone.features.conv3.weight"])
    assert torch.equal(started["heads.0.linear.weight"], ended.weights["heads.0.linear.weight"] if taken else fresh)


@pytest.mark.parametrize(("heads", "alike"), [("exclusion", 7), ("confidence", 1)])
def test_a_narrower_network_of_this_kind_is_widened(
    parts: Mapping[str, ImagePart], tmp_path: Path, heads: str, alike: int
) -> None:
    """The wide network says what the narrow one does, where it takes the heads; it can be trained on."""
    narrow = run(parts, tmp_path / "narrow", config=averaging())
    later = replace(averaging(heads=heads), width=0.125)
    wide = later.build()
    start_from(wide, read_weights(tmp_path / "narrow" / CHECKPOINT, later, parts["val"]))
    images = later.preprocessing(torch.from_numpy(parts["val"].images))
    with torch.no_grad():
        outputs = list(zip(narrow.network()(images), wide.eval()(images), strict=True))
    for before, now in outputs[-alike:]:
        torch.testing.assert_close(now, before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
    initial = read_weights(tmp_path / "narrow" / CHECKPOINT, later, parts["val"])
    trained = run(parts, tmp_path / "wide", config=later, initial=initial)
    copies = trained.model["backbone.features.conv3.weight"].chunk(2)
    assert not torch.allclose(*copies, rtol=0.1)


def test_what_was_trained_on_should_not_be_held_out(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    run(parts, tmp_path, config=averaging())
    with pytest.warns(InitialWeightsWarning, match=r"will be too good; --val 120 --seed 5 holds out the same"):
        read_weights(tmp_path / CHECKPOINT, averaging(seed=9), parts["train"])
    with warnings.catch_warnings():  # of another data set, nothing is known
        warnings.simplefilter("error")
        read_weights(tmp_path / CHECKPOINT, averaging(dataset="other"), parts["train"])


def test_damaged_weights_are_one_error(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    ended = run(parts, tmp_path, config=averaging())
    fewer = {name: weight for name, weight in ended.average.items() if "conv3" not in name}
    for average in (fewer, {}, ended.average | {"module.backbone.features.conv3.weight": torch.zeros(3)}):
        with pytest.raises(TrainingError, match="not those of its network"):
            replace(ended, average=average).network()
    payload = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    for part in ("model", "average", "optimizer", "history"):
        torch.save(payload | {part: 3}, tmp_path / "damaged.pt")
        with pytest.raises(TrainingError, match="lacks a part"):
            Checkpoint.load(tmp_path / "damaged.pt")


def test_a_checkpoint_is_not_overwritten_by_accident(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    run(parts, tmp_path, config=config(epochs=1))
    with pytest.raises(TrainingError, match="a checkpoint is already there") as error:
        run(parts, tmp_path)
    assert error.value.fix == "add --resume to go on, or choose another --out"


def test_resuming_another_run_names_the_difference(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    run(parts, tmp_path, config=config(epochs=1))
    with pytest.raises(TrainingError) as error:
        run(parts, tmp_path, config=config(epochs=1, seed=6, heads="confidence"), resume=True)
    assert "another run (got heads confidence, seed 6; expected heads exclusion, seed 5)" in str(error.value)


def test_a_diverged_loss_stops_the_run(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    hot = config(recipe=replace(recipe("quick", "alexnet", "exclusion"), batch=20, learning_rate=1e6))
    with pytest.raises(TrainingError, match=r"the loss diverged in epoch 1 .*\n  fix: lower --learning-rate"):
        run(parts, tmp_path, config=hot)


def test_a_batch_larger_than_the_data(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="the batch does not fit"):
        run(parts, tmp_path, config=config(recipe=recipe("quick", "alexnet", "exclusion")))


def test_a_time_budget_becomes_epochs(parts: Mapping[str, ImagePart]) -> None:
    few, many = (epochs_within(minutes, config(), parts["train"], CPU) for minutes in (1e-6, 1.0))
    assert few == 1
    assert many > 3
    with pytest.raises(OptionError, match="time budget"):
        epochs_within(0, config(), parts["train"], CPU)


def test_a_time_budget_times_one_process_s_share_of_a_batch(
    parts: Mapping[str, ImagePart], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def step(self: object, images: torch.Tensor, labels: torch.Tensor, learning_rate: float) -> torch.Tensor:
        seen.append(len(images))
        return torch.zeros(())

    monkeypatch.setattr("ceesim.frontend.train._Step.__call__", step)
    monkeypatch.setattr("ceesim.frontend.distributed.world_size", lambda: 2)
    epochs_within(1.0, config(), parts["train"], CPU)
    assert set(seen) == {config().recipe.batch // 2}


def test_initial_weights_that_fit_are_taken(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    weights = config(seed=9).build().backbone.state_dict()
    torch.save(weights | {"classifier.6.weight": torch.zeros(1000, 4096)}, tmp_path / "weights.pth")
    network = config().build()
    with pytest.warns(InitialWeightsWarning, match=r"15 of 16 .*; these start fresh: classifier\.6\.weight$"):
        start_from(network, read_weights(tmp_path / "weights.pth", config(), parts["val"]))
    assert torch.equal(network.backbone.state_dict()["features.0.weight"], weights["features.0.weight"])


def test_initial_weights_of_another_network_are_refused() -> None:
    """One bias of the same length is no reason to take another network's weights for a beginning."""
    network, other = config().build(), config(network="vggsmall", width=0.06).build()
    for weights in ({"backbone.layer": torch.zeros(1)}, other.state_dict()):
        with pytest.raises(TrainingError, match="another network's") as error:
            start_from(network, weights)
        assert error.value.fix


def test_initial_weights_of_a_wider_network_are_told_apart_from_another_network_s(
    parts: Mapping[str, ImagePart], tmp_path: Path
) -> None:
    run(parts, tmp_path, config=replace(averaging(), width=0.125))
    weights = read_weights(tmp_path / CHECKPOINT, averaging(), parts["val"])
    with pytest.raises(TrainingError, match=r"another size .*conv1\.weight is \[16, 3, 3, 3\]; expected \[8,"):
        start_from(averaging().build(), weights)


def test_heads_at_other_taps_start_fresh(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    run(parts, tmp_path, config=averaging())
    for width in (0.06, 0.125):
        later = replace(averaging(options={"tap": "after_pool"}), width=width)
        assert all(name.startswith("backbone.") for name in read_weights(tmp_path / CHECKPOINT, later, parts["val"]))


def test_the_shortest_average_is_of_the_last_step(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    short = averaging()
    ended = run(parts, tmp_path, config=replace(short, recipe=replace(short.recipe, average=0.001)))
    name = "backbone.features.conv3.weight"
    assert ended.average is not None
    assert int(ended.average["n_averaged"]) == 1
    assert torch.equal(ended.weights[name], ended.model[name])


def test_images_that_changed_are_noticed(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        run(parts, tmp_path, Quiet(STEPS + 1))
    mirrored = ImagePart(np.ascontiguousarray(parts["train"].images[..., ::-1]), parts["train"].labels)
    with pytest.warns(ResumeWarning, match="made with images"):
        run({**parts, "train": mirrored}, tmp_path, resume=True)


def small_vgg(**changes: object) -> TrainConfig:
    plain = replace(recipe("quick", "vggsmall", "exclusion"), batch=20, augment=False)
    pre = Preprocessing((0.3, 0.3, 0.3), (0.4, 0.4, 0.4), 32)
    return config(network="vggsmall", width=0.03, preprocessing=pre, **({"epochs": 2, "recipe": plain} | changes))


def test_the_monitor_leaves_no_trace(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    """Batch norm keeps statistics in training mode: those of validation images must not be among them."""
    whole = run(parts, tmp_path / "one", config=small_vgg())
    few = {**parts, "val": parts["val"].take(np.arange(20))}
    assert_same_weights(whole, run(few, tmp_path / "two", config=small_vgg()))


@pytest.mark.parametrize("change", [{}, {"augment": True}, {"cutout": 12}])
def test_every_step_sees_its_own_images(
    parts: Mapping[str, ImagePart], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    seen: list[torch.Tensor] = []

    def step(self: object, images: torch.Tensor, labels: torch.Tensor, learning_rate: float) -> torch.Tensor:
        seen.append(images.clone())
        return torch.zeros(())

    monkeypatch.setattr("ceesim.frontend.train._Step.__call__", step)
    settings = small_vgg()
    run(parts, tmp_path, config=replace(settings, recipe=replace(settings.recipe, **change)))
    first, second = torch.cat(seen[:STEPS]), torch.cat(seen[STEPS:])
    assert not torch.equal(first, second)
    original = {image.tobytes() for image in parts["train"].images}
    untouched = [image.numpy().tobytes() in original for image in (*first, *second)]
    assert all(untouched) if not change else sum(untouched) < len(untouched) / 4
    if not change:  # both epochs are the whole set
        assert sorted(image.numpy().tobytes() for image in first) == sorted(original)


def test_alternate_mirroring_shows_each_image_both_ways(
    parts: Mapping[str, ImagePart], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bytes, bool]] = []

    def noted(images: torch.Tensor, *_: object, mirrored: torch.Tensor, border: str) -> torch.Tensor:
        assert border == "reflect"
        seen.extend(zip((image.numpy().tobytes() for image in images), mirrored.tolist(), strict=True))
        return images

    monkeypatch.setattr("ceesim.frontend.train.crop_and_flip", noted)
    settings = small_vgg()
    augmented = replace(settings.recipe, augment=True, mirror="alternate", border="reflect")
    run(parts, tmp_path, config=replace(settings, recipe=replace(augmented, epochs=3)))
    first, second, third = (dict(seen[n * len(seen) // 3 : (n + 1) * len(seen) // 3]) for n in range(3))
    assert first == third
    assert second == {image: not way for image, way in first.items()}
    assert 0.3 < np.mean(list(first.values())) < 0.7


def test_the_csv_tells_the_rate_of_an_epoch_s_last_step(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    steps = small_vgg(recipe=replace(recipe("code", "vggsmall", "exclusion"), batch=20), epochs=10)
    rates = [row["learning_rate"] for row in run(parts, tmp_path, config=steps).history]
    assert rates == pytest.approx([0.02] * 3 + [0.002] * 3 + [0.0002] * 2 + [0.00002] * 2)


def damage(path: Path, kind: str) -> None:
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    elif kind == "another version":
        torch.save({"format": "ceesim.checkpoint/9"}, path)
    elif kind == "a state dict":
        torch.save({"weight": torch.zeros(1)}, path)
    elif kind == "a part missing":
        payload = torch.load(path, weights_only=True)
        del payload["config"]["seed"]
        torch.save(payload, path)


@pytest.mark.parametrize(
    "kind", ["missing", "truncated", "empty", "pickle", "another version", "a state dict", "a part missing"]
)
def test_a_damaged_checkpoint_is_one_error(parts: Mapping[str, ImagePart], tmp_path: Path, kind: str) -> None:
    path = tmp_path / CHECKPOINT
    run(parts, tmp_path, config=config(epochs=1))
    damage(path, kind)
    with pytest.raises(CeesimError) as error:
        Checkpoint.load(path)
    assert str(error.value).startswith(str(path))
    assert len(str(error.value).splitlines()) <= 2


def test_amp_asks_for_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    for units, expected in (
        ({"amx_bf16": True}, "bfloat16"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": False, "avx2": True}, "off"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda units=units: units)
        assert amp_dtype("auto", CPU) == expected
        assert amp_dtype("on", CPU) == "bfloat16"
        assert amp_dtype("off", CPU) == "off"
    with pytest.raises(OptionError, match="unknown AMP choice"):
        amp_dtype("maybe", CPU)


def test_images_in_another_order_are_refused(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    """Some that were trained on would be held out; another decoder, a grey level off, holds out the same ones."""
    with pytest.raises(CrashError):
        run(parts, tmp_path, Quiet(STEPS + 1))
    swapped = {**parts, "val": ImagePart(parts["val"].images[::-1], parts["val"].labels[::-1])}
    with pytest.raises(DataError, match="other images are held out than in training"):
        run(swapped, tmp_path, resume=True)
    brighter = {**parts, "val": ImagePart(parts["val"].images + (parts["val"].images < 255), parts["val"].labels)}
    run(brighter, tmp_path, resume=True)


def test_a_checkpoint_of_before_goes_on(parts: Mapping[str, ImagePart], tmp_path: Path) -> None:
    """Checkpoints once kept the epochs beside the recipe, and nothing of the images held out."""
    whole = run(parts, tmp_path / "whole")
    with pytest.raises(CrashError):
        run(parts, tmp_path / "broken", Quiet(STEPS + 1))
    path = tmp_path / "broken" / CHECKPOINT
    content = torch.load(path, weights_only=True)
    content["config"]["epochs"] = content["config"]["recipe"]["epochs"]
    content["config"]["recipe"]["epochs"] = 18
    del content["held_out"]
    torch.save(content, path)
    assert_same_weights(whole, run(parts, tmp_path / "broken", resume=True))


def test_a_full_disk_is_an_error_and_leaves_the_checkpoint_before(
    parts: Mapping[str, ImagePart], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(parts, tmp_path, config=config(epochs=1))
    checkpoint = Checkpoint.load(tmp_path / CHECKPOINT)

    def full(content: object, file: BinaryIO) -> None:
        file.write(b"half of it")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="the checkpoint cannot be written") as error:
        checkpoint.save(tmp_path / CHECKPOINT)
    assert "--resume" in str(error.value)
    assert_same_weights(checkpoint, Checkpoint.load(tmp_path / CHECKPOINT))
    assert len(list(tmp_path.iterdir())) == 2


def test_every_process_needs_two_images_of_a_batch(
    parts: Mapping[str, ImagePart], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ceesim.frontend.distributed.world_size", lambda: 2)
    settings = config(recipe=replace(recipe("quick", "alexnet", "exclusion"), batch=3))
    with pytest.raises(OptionError, match=r"got 3; expected 4 to 80 images over 2 processes"):
        epochs_within(1.0, settings, parts["train"], CPU)
