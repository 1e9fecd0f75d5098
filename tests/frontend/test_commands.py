"""`ceesim train` on the command line: its example works as printed, and what is wrong is one error with a fix."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch

from ceesim.cli import exit_code, group
from ceesim.cli.capture import command as capture_command
from ceesim.cli.train import command
from ceesim.exits.exclusion import Exclude
from ceesim.exits.trace import load_trace
from ceesim.frontend.checkpoint import Checkpoint
from ceesim.frontend.train import CHECKPOINT

TINY = ["vggsmall", "--data", "digits", "--val", "1300", "--width", "0.06", "--batch", "30", "--recipe", "quick"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CEESIM_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_the_example_of_the_help_works(capsys: pytest.CaptureFixture[str]) -> None:
    example = (command.epilog or "").removeprefix("Example: ceesim ").split()
    assert example[0] == "train"
    assert exit_code([*example, "--threads", "1"]) == 0
    assert capsys.readouterr().out == "runs/digits/checkpoint.pt\n"


def test_the_example_of_capture_works(capsys: pytest.CaptureFixture[str]) -> None:
    example = (capture_command.epilog or "").removeprefix("Example: ceesim ").split()
    assert exit_code(example) == 0
    assert load_trace(capsys.readouterr().out.strip()).accuracy is not None


def test_a_trace_that_is_rewritten_takes_no_option_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--policy", "never", "--quantize", "int8", "--split", "val", "--out", "again.npz"]
    assert exit_code(["capture", "vgg_w025_c10.npz", *options]) == 1
    assert "a trace is rewritten, not run\n  fix: leave --quantize, --split out" in capsys.readouterr().err
    assert not Path("again.npz").exists()


def test_every_option_states_its_default() -> None:
    for parameter in (*command.params, *capture_command.params):
        if isinstance(parameter, click.Option) and not parameter.required:
            shown = parameter.show_default or "[default:" in (parameter.help or "")
            assert shown, f"{parameter.name} does not say its default"
    assert {"train", "capture"} <= set(group.list_commands(click.Context(group)))


def test_options_reach_the_checkpoint() -> None:
    options = "--epochs 1 --heads confidence --seed 7 --learning-rate 0.01 --weights paper --amp off --tap after_pool"
    options += " --cutout 3 --label-smoothing 0.2"
    assert exit_code(["train", *TINY, *options.split(), "--data-name", "Digits", "--out", "run"]) == 0
    config = Checkpoint.load(Path("run") / CHECKPOINT).config
    assert (config.network, config.width, config.heads, config.seed, config.num_val) == (
        "vggsmall",
        0.06,
        "confidence",
        7,
        1300,
    )
    assert (config.recipe.learning_rate, config.recipe.weights, config.recipe.batch) == (0.01, "paper", 30)
    assert (config.recipe.cutout, config.recipe.label_smoothing) == (3, 0.2)
    assert (config.dataset, config.amp, config.options) == ("Digits", "off", {"tap": "after_pool"})


def test_a_seed_that_torch_cannot_take_is_a_wrong_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["train", *TINY, "--seed", str(2**63), "--out", "run"]) == 2
    assert "--seed" in capsys.readouterr().err


@pytest.mark.parametrize(("heads", "taken"), [("exclusion", True), ("confidence", False)])
def test_a_run_starts_from_another_run_s_weights(heads: str, taken: bool) -> None:
    """Its heads only where they learnt the same."""
    assert exit_code(["train", *TINY, "--epochs", "1", "--out", "one"]) == 0
    initial = ["--initial", "one/checkpoint.pt", "--learning-rate", "0", "--heads", heads]
    assert exit_code(["train", *TINY, "--epochs", "1", *initial, "--seed", "9", "--out", "two"]) == 0
    one, two = (Checkpoint.load(Path(run) / CHECKPOINT).model for run in ("one", "two"))
    assert torch.equal(one["backbone.features.conv3.weight"], two["backbone.features.conv3.weight"])
    assert torch.equal(one["heads.0.linear.weight"], two["heads.0.linear.weight"]) == taken


def test_a_plain_network_is_captured_without_exits(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["train", *TINY, "--epochs", "1", "--heads", "none", "--out", "run"]) == 0
    assert exit_code(["capture", "run", "--data", "digits", "--split", "val", "--out", "plain.npz"]) == 0
    trace = load_trace(Path("plain.npz"))
    assert (trace.workload.num_exits, trace.logits.shape, len(trace.labels)) == (0, (1300, 0, 10), 1300)
    checkpoint = Checkpoint.load(Path("run") / CHECKPOINT)
    monitored = checkpoint.history[-1]["final_accuracy"]
    assert checkpoint.history[-1]["val_images"] == 1300
    assert trace.accuracy == pytest.approx(monitored, abs=2 / 1300)  # float16 may tip a close input
    assert exit_code(["capture", "run", "--data", "digits", "--policy", "fixed:1", "--out", "no.npz"]) == 1
    assert capsys.readouterr().err.count("\n  fix: ") == 1


def test_a_run_that_goes_on_elsewhere_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", *TINY, "--epochs", "1", "--out", "run"]
    assert exit_code(arguments) == 0
    path = Path("run") / CHECKPOINT
    checkpoint = Checkpoint.load(path)
    replace(checkpoint, history=(), made_with=checkpoint.made_with | {"processes": "8"}).save(path)
    capsys.readouterr()
    assert exit_code([*arguments, "--resume"]) == 0
    assert (
        "note: run/checkpoint.pt was made with processes 8, the run goes on with processes 1:"
        in capsys.readouterr().err
    )


def test_a_time_budget_is_kept_on_resume(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["train", *TINY, "--minutes", "0.0001", "--out", "run"]) == 0
    assert Checkpoint.load(Path("run") / CHECKPOINT).config.epochs == 1
    assert exit_code(["train", *TINY, "--minutes", "5", "--out", "run", "--resume"]) == 0
    assert Checkpoint.load(Path("run") / CHECKPOINT).epoch == 1
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["lenet", "--data", "digits", "--out", "run"],
            "unknown network (got lenet; expected one of alexnet, vggsmall",
        ),
        (["vggsmall", "--data", "cifar100", "--out", "run"], "fix: get cifar-100-python.tar.gz from https://"),
        (["vggsmall", "--data", "digits", "--out", "run"], "validation hold-out does not fit the training set"),
        ([*TINY, "--epochs", "1", "--minutes", "1", "--out", "run"], "--epochs and --minutes exclude each other"),
        ([*TINY, "--device", "abacus", "--out", "run"], "--device: no such device"),
        ([*TINY, "--width", "0", "--out", "run"], "width out of range"),
        ([*TINY, "--alpha", "-1", "--out", "run"], "alpha out of range"),
        ([*TINY, "--minutes", "0", "--out", "run"], "the time budget is out of range"),
        ([*TINY, "--minutes", "nan", "--out", "run"], "--minutes: not a finite number"),
        ([*TINY, "--learning-rate", "nan", "--out", "run"], "--learning-rate: not a finite number"),
        ([*TINY, "--alpha", "nan", "--out", "run"], "--alpha: not a finite number"),
        ([*TINY, "--device", "meta", "--out", "run"], "--device: no such device"),
        (
            [*TINY, "--heads", "confidence", "--alpha", "5", "--reduction", "sum_classes", "--out", "run"],
            "--alpha, --reduction: --heads confidence has no use for it",
        ),
        (
            ["alexnet", *TINY[1:], "--recipe", "code", "--mirror", "alternate", "--out", "run"],
            "--mirror: recipe code of alexnet has no use for it",
        ),
        ([*TINY, "--heads", "none", "--weights", "paper", "--out", "run"], "--weights: --heads none has no use for it"),
        ([*TINY, "--initial", __file__, "--out", "run"], "the file cannot be read"),
        ([*TINY, "--cutout", "32", "--out", "run"], "cutout does not fit the images"),
        ([*TINY, "--initial", "nothing.pth", "--out", "run"], "nothing.pth: no such file"),
    ],
)
def test_errors_are_one_error(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["train", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert not Path("run", CHECKPOINT).exists()


def test_a_folder_that_is_not_there_is_said_before_the_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["capture", "no.pt", "--data", "digits", "--out", "nowhere/trace.npz"]) == 1
    assert capsys.readouterr().err.startswith("error: nowhere: no such folder\n  fix: make it first")


@pytest.mark.parametrize("arguments", [["train", *TINY, "--out", "run"], ["capture", "run.pt", "--out", "run.npz"]])
def test_without_torch_the_error_says_what_to_install(arguments: list[str]) -> None:
    program = f"import sys; sys.modules['torch'] = None; from ceesim.cli import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: ceesim {arguments[0]} needs the package torch, which is not installed",
        "  fix: pip install 'ceesim[torch]'",
    ]


@pytest.mark.parametrize("heads", ["exclusion", "none"])
def test_two_processes_train_one_network(heads: str) -> None:
    arguments = ["train", *TINY, "--epochs", "2", "--amp", "off", "--threads", "1", "--heads", heads, "--out", "run"]
    environment = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "ceesim", *arguments],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    (first, log), (second, silence) = (process.communicate(timeout=300) for process in processes)
    assert [process.returncode for process in processes] == [0, 0], log + silence
    assert (first, second) == ("run/checkpoint.pt\n", "")
    assert "epoch 2: loss " in log
    assert "Warning" not in log + silence
    checkpoint = Checkpoint.load(Path("run") / CHECKPOINT)
    assert [row["epoch"] for row in checkpoint.history] == [1, 2]
    assert checkpoint.history[1]["loss"] < checkpoint.history[0]["loss"]
    fresh = checkpoint.config.build().state_dict()["heads.0.linear.weight"]
    assert torch.equal(checkpoint.model["heads.0.linear.weight"], fresh) == (heads == "none")


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_target_that_is_the_same_for_all_classes_is_a_usage_error() -> None:
    assert exit_code(["train", *TINY, "--label-smoothing", "1", "--out", "run"]) == 2


def test_auto_precision_is_decided_once_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that began where bfloat16 is slow goes on in float32 where it is not, and the other way round."""
    arguments = ["train", *TINY, "--minutes", "0.0001", "--threads", "1", "--out", "run"]
    monkeypatch.setattr("ceesim.frontend.amp._has_bf16_unit", lambda: False)
    assert exit_code(arguments) == 0
    monkeypatch.setattr("ceesim.frontend.amp._has_bf16_unit", lambda: True)
    assert exit_code([*arguments, "--resume"]) == 0
    assert Checkpoint.load(Path("run") / CHECKPOINT).config.amp == "off"


@pytest.mark.parametrize(
    "said", ["CUDA out of memory. Tried to allocate 2 GiB", "DefaultCPUAllocator: can't allocate memory"]
)
def test_too_large_a_batch_is_one_error(
    said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr("ceesim.frontend.train.train", fails)
    assert exit_code(["train", *TINY, "--epochs", "1", "--out", "run"]) == 1
    assert capsys.readouterr().err == "error: out of memory\n  fix: lower --batch\n"


def test_inspecting_a_training_run_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run", CHECKPOINT).touch()
    for source in ("run", f"run/{CHECKPOINT}"):
        assert exit_code(["inspect", source]) == 1
        assert "ceesim capture makes a trace of it" in capsys.readouterr().err


def test_capture_takes_a_policy_with_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--policy", "exclude", "--beta", "0.4", "--out", "again.npz"]
    assert exit_code(["capture", "vgg_w025_c10.npz", *options]) == 0
    assert load_trace("again.npz").policy == Exclude((0.4,) * 6)
    capsys.readouterr()
    assert exit_code(["capture", "vgg_w025_c10.npz", "--beta", "0.4", "--out", "third.npz"]) == 1
    assert "belong to a policy" in capsys.readouterr().err


def test_a_policy_found_for_other_classes_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["--trace", "vgg_w025_c10_val.npz", "--test", "vgg_w025_c10.npz", "--method", "paper"]
    assert exit_code(["search", *pair, "--out", "policy.json"]) == 0
    capsys.readouterr()
    for trace, named in (
        ("vgg_w025_c10.npz", None),
        ("vgg_w025_t100.npz", "num_classes 10"),
        ("vgg_w050_c10.npz", "width"),
    ):
        assert exit_code(["capture", trace, "--policy", "policy.json", "--out", "under.npz"]) == 0
        told = capsys.readouterr().err
        assert ("note: policy.json was found for" in told) is (named is not None)
        assert (named or "") in told
