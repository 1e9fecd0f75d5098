"""`ceesim search`: fits on one trace, reports on both, writes a policy that `read_policy` takes; refuses in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ceesim.cli import exit_code
from ceesim.cli.search import _exceeded
from ceesim.exits.exclusion import Exclude
from ceesim.exits.outcome import outcome, prices_of
from ceesim.exits.policy_file import policy_from_json, read_policy
from ceesim.exits.references import Never
from ceesim.exits.trace import ExitTrace, load_trace, save_trace
from ceesim.results.accuracy import Lost
from ceesim.workload.flops import Convention
from tests.exits.toys import chain, toy_trace

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in a folder with ``val.npz`` and ``test.npz``: exit code, stdout, stderr."""
    save_trace(toy_trace(300, 3, 5, seed=1, split="val", training={"alpha": 4.0}), tmp_path / "val.npz")
    save_trace(toy_trace(200, 3, 5, seed=2, split="test"), tmp_path / "test.npz")
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        code = exit_code(["search", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


PAIR = ("--trace", "val.npz", "--test", "test.npz")


def test_the_policy_is_written_and_is_worth_what_is_printed(run: Run, tmp_path: Path) -> None:
    code, out, err = run(*PAIR, "--tolerance", "0.05", "--out", "policy.json", "--json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    file = read_policy(tmp_path / "policy.json")
    assert file.policy.to_json() == content["policy"]
    assert {key: value for key, value in content.items() if key != "policy"} == file.found
    for name, path in (("validation", "val.npz"), ("test", "test.npz")):
        trace = load_trace(tmp_path / path)
        result = outcome(file.policy, trace, prices_of(trace.workload, Convention.MACS))
        assert content[name]["accuracy"] == result.accuracy == trace.under(file.policy).accuracy
        assert content[name]["mean_cost"] == result.mean_cost
    assert content["validation"]["accuracy"] >= content["validation"]["static_accuracy"] - 0.05
    assert content["validation"]["reduction"] > 0


def test_the_page_shows_both_sets_side_by_side(run: Run) -> None:
    code, out, _ = run(*PAIR, "--method", "paper")
    assert code == 0
    headline, *lines = out.splitlines()
    trace = load_trace("val.npz")
    assert headline == f"{trace.workload.name} on {trace.dataset}"
    assert json.loads(lines[0].removeprefix("policy "))["name"] == "exclude"
    assert "validation (300)" in lines[2]
    assert "test (200)" in lines[2]
    ends = [" ".join(line.split()[:4]) for line in lines[-4:]]
    assert ends == ["left at exit 1", "left at exit 2", "left at exit 3", "ran to the end"]


@pytest.mark.parametrize(
    ("lost", "tolerance", "says"),
    [
        (Lost(2.0, 1.5, 2.5), 0.02, None),
        (
            Lost(2.3, 1.9, 2.7),
            0.02,
            "on test 2.30 points were lost where 2 may be, as chance may do (95%: from 1.90 on)",
        ),
        (Lost(2.8, 2.4, 3.2), 0.02, "on test 2.80 points were lost where 2 may be, more than chance explains"),
        (Lost(-0.1, -0.3, 0.1), 0.0, None),
        (None, 0.0, None),
    ],
)
def test_a_tolerance_that_does_not_hold_on_test_is_noted(lost: Lost | None, tolerance: float, says: str | None) -> None:
    note = _exceeded(lost, tolerance)
    assert (note is None) == (says is None)
    assert says is None or says in str(note)


def test_macs_stand_before_flops(run: Run) -> None:
    page = run(*PAIR, "--objective", "flops", "--tolerance", "0.1")[1]
    content = json.loads(run(*PAIR, "--objective", "flops", "--tolerance", "0.1", "--json")[1])
    lines = page.splitlines()
    macs, flops = (lines.index(next(line for line in lines if line.startswith(f"mean {unit} per")))
                   for unit in ("MACs", "FLOPs (std)"))  # fmt: skip
    assert macs == flops - 4
    assert lines[flops].split()[-1] == f"{content['test']['mean_cost']:,.0f}"
    trace = load_trace("test.npz")
    found = outcome(policy_from_json(content["policy"]), trace, prices_of(trace.workload, Convention.MACS))
    assert [lines[macs + i].split()[-1] for i in range(3)] == [
        f"{found.mean_cost:,.0f}",
        f"{found.static_cost:,.0f}",
        f"{found.reduction:.2%}",
    ]
    assert "FLOPs" not in run(*PAIR, "--tolerance", "0.1")[1]


def test_no_page_prints_flops_without_their_convention(run: Run) -> None:
    page = run(*PAIR, "--objective", "latency", "--hw", "edge_npu.yaml", "--tolerance", "0.1")[1]
    assert "against the policy that saves most FLOPs (std), on test" in page


@pytest.mark.parametrize("policy", ["exclude", "ratio", "confidence", "margin", "entropy", "patience", "fixed"])
@pytest.mark.parametrize("objective", ["macs", "flops"])
def test_every_family_and_every_count(run: Run, policy: str, objective: str) -> None:
    code, out, _ = run(*PAIR, "--policy", policy, "--objective", objective, "--tolerance", "0.1", "--json")
    assert code == 0
    assert json.loads(out)["policy"]["name"] == policy


def test_the_options_of_exclusion_reach_the_policy(run: Run, tmp_path: Path) -> None:
    words = ("--calibration", "prior", "--final", "masked", "--exits", "1,3", "--out", "policy.json")
    assert run(*PAIR, *words)[0] == 0
    policy = read_policy(tmp_path / "policy.json").policy
    assert isinstance(policy, Exclude)
    assert (policy.alpha, policy.masked_final, policy.kept(3)) == (4.0, True, (1, 3))


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_an_alpha_that_has_no_logarithm_is_refused(run: Run, tmp_path: Path, alpha: float) -> None:
    trace = load_trace(tmp_path / "val.npz")
    save_trace(replace(trace, training={"alpha": alpha}), tmp_path / "odd.npz")
    assert "α out of range" in refusal(run, "--trace", "odd.npz", "--test", "test.npz", "--calibration", "prior")


def test_the_same_search_writes_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        assert run(*PAIR, "--exits", "choose", "--tolerance", "0.1", "--out", name)[0] == 0
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_hardware_prices_cycles_bytes_and_energy(run: Run) -> None:
    for objective, whole in (("latency", True), ("dram_bytes", True), ("energy", False)):
        words = ("--objective", objective, "--hw", "edge_npu.yaml", "--tolerance", "0.1", "--json")
        code, out, err = run(*PAIR, *words)
        assert (code, err) == (0, "")
        content = json.loads(out)
        assert content["hardware"] == "edge_npu.yaml"
        assert content["test"]["static_cost"] > 0
        assert (content["test"]["static_cost"] == int(content["test"]["static_cost"])) is whole


def refusal(run: Run, *words: str) -> str:
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    return err


def test_what_makes_no_sense_is_refused_in_words(run: Run, tmp_path: Path) -> None:
    assert "on the same data" in refusal(run, "--trace", "val.npz", "--test", "val.npz")
    assert "add --hw" in refusal(run, *PAIR, "--objective", "latency")
    assert "do not depend" in refusal(run, *PAIR, "--hw", "edge_npu.yaml")
    for exits in ("0", "4", "1,,2", "1,1", "few", "-1"):
        assert "--exits" in refusal(run, *PAIR, "--exits", exits)
    assert "recovery" in refusal(run, *PAIR, "--policy", "margin", "--no-recovery")
    assert "no such file" in refusal(run, "--trace", "missing.npz", "--test", "test.npz")
    assert "no such folder" in refusal(run, *PAIR, "--out", "missing/policy.json")
    save_trace(toy_trace(10, 3, 5, split="val"), tmp_path / "untold.npz")
    words = ("--trace", "untold.npz", "--test", "test.npz", "--calibration", "prior")
    assert "α" in refusal(run, *words)
    trace = toy_trace(10, 3, 5, split="val")
    save_trace(replace(trace, logits=None, final_logits=None), tmp_path / "bare.npz")
    assert "decisions only" in refusal(run, "--trace", "bare.npz", "--test", "test.npz")
    save_trace(replace(trace, labels=np.full(10, -1)), tmp_path / "nameless.npz")
    assert "label" in refusal(run, "--trace", "nameless.npz", "--test", "test.npz")
    save_trace(replace(trace, workload=chain(3, 5, width=0.5)), tmp_path / "narrow.npz")
    assert "different networks" in refusal(run, "--trace", "narrow.npz", "--test", "test.npz")


def test_usage_errors_are_usage_errors(run: Run) -> None:
    for words in (("--trace", "val.npz"), (*PAIR, "--tolerance", "2"), (*PAIR, "--method", "luck")):
        assert run(*words)[0] == 2


def test_the_example_of_the_help_works(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    words = out.split("Example: ceesim search ")[1].split("\n\n")[0].split()
    assert run(*words)[0] == 0


def test_a_folder_that_is_not_there_is_said_before_the_search(run: Run) -> None:
    code, out, err = run("--trace", "missing.npz", "--test", "missing.npz", "--out", "nowhere/policy.json")
    assert (code, out) == (1, "")
    assert err.startswith("error: nowhere: no such folder")


def test_a_network_without_exits_has_no_thresholds(run: Run, tmp_path: Path) -> None:
    for split, seed in (("val", 1), ("test", 2)):
        whole = toy_trace(50, 3, 5, seed=seed, split=split)
        assert whole.final_logits is not None
        plain = ExitTrace.from_logits(
            whole.workload.with_exits(()),
            whole.labels,
            np.empty((50, 0, 5), np.float16),
            whole.final_logits,
            Never(),
            dataset="made up",
            split=split,
        )
        save_trace(plain, tmp_path / f"plain_{split}.npz")
    code, _, err = run("--trace", "plain_val.npz", "--test", "plain_test.npz")
    assert code == 1
    assert "the network has no exits" in err


def test_prior_calibration_of_heads_that_do_not_exclude_names_the_other(run: Run, tmp_path: Path) -> None:
    trained = {"heads": "confidence", "alpha": None}
    save_trace(toy_trace(300, 3, 5, seed=1, split="val", training=trained), tmp_path / "sure.npz")
    code, _, err = run("--trace", "sure.npz", "--test", "test.npz", "--calibration", "prior")
    assert code == 1
    assert "were not trained to exclude" in err
    assert "fix: --calibration odds needs none" in err
