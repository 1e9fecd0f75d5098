"""The optimiser finds the front that trying everything finds, goes on where it was, and reports on other data."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ceesim.cli import exit_code
from ceesim.cli.sweep_page import Bar
from ceesim.errors import OptionError, OutputError
from ceesim.exits.exclusion import ODDS, Exclude
from ceesim.exits.trace import save_trace
from ceesim.explore.experiment import METRICS, Experiment
from ceesim.explore.notation import Written, design_space
from ceesim.explore.optimize import (
    Design,
    Tally,
    Task,
    best_designs,
    measured,
    on_test,
    open_study,
    optimise,
    tally,
)
from ceesim.explore.pareto import OBJECTIVES, findings
from ceesim.explore.report_designs import designs_section
from ceesim.explore.space import hardware_settings
from ceesim.explore.sweep import sweep
from ceesim.hardware.load import override
from tests.explore.toys import POLICY, experiment, files, space, trace

pytest.importorskip("optuna")

SPACE = {
    "array.rows, array.cols": [2, 4, 8],
    "buffers.weight": ["48 B", "256 B", "1 KiB"],
    "policy.beta.1": [None, 0.9],
    "policy.beta.3": [0.1, 0.8],
}
"""36 designs, 8 of them impossible."""


def task(parameters: dict[str, object] = SPACE, *constraints: str, tolerances: tuple[float, ...] = ()) -> Task:
    return Task(experiment(), space(parameters, *constraints), tolerances)


def test_it_finds_the_front_of_a_sweep() -> None:
    study = open_study(task(), None, 0)
    optimise(task(), study, 250)
    found = {design.values for design in best_designs(study)}
    table = findings([sweep(experiment().hardware, trace(), SPACE)], OBJECTIVES)
    assert found == {tuple(row) for row in table.front[list(OBJECTIVES)].itertuples(index=False)}


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    storage = tmp_path / "study.db"
    optimise(task(), open_study(task(), storage, 0), 12)
    study = open_study(task(), storage, 0)
    told: list[tuple[int, int, int]] = []
    optimise(task(), study, 20, lambda *numbers: told.append(numbers))
    assert [numbers[:2] for numbers in told] == [(done, 20) for done in range(13, 21)]
    assert len(study.trials) == 20
    with pytest.raises(OutputError, match="holds the study of another task"):
        open_study(task({"array.rows": [2, 4]}), storage, 0)


WHOLE = {"array.rows": [2, 4, 8, 16, 32]}
"""5 designs."""


@pytest.mark.parametrize("storage", [None, "study.db"])
def test_a_whole_space_goes_on_where_it_was(
    storage: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = None if storage is None else tmp_path / storage
    study = open_study(task(WHOLE), place, 0)
    began: list[int] = []

    def stopped_at_the_third(self: Task, chosen: dict[str, int]) -> Design:
        began.append(chosen["array.rows"])
        if len(began) == 3:
            raise KeyboardInterrupt
        return whole(self, chosen)

    whole = Task.design
    monkeypatch.setattr(Task, "design", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        optimise(task(WHOLE), study, 10)
    assert tally(study) == Tally(2, 0, 0, ())
    study = study if place is None else open_study(task(WHOLE), place, 0)
    optimise(task(WHOLE), study, 10)
    assert began == [0, 1, 2, 2, 3, 4]
    assert tally(study) == Tally(5, 0, 0, ())
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 5


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_while_sampling_loses_one_design(monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(task(), None, 0)
    optimise(task(), study, 10)
    before = tally(study)
    with monkeypatch.context() as patched:
        patched.setattr(Task, "design", interrupt)
        with pytest.raises(KeyboardInterrupt):
            optimise(task(), study, 35)
    after = tally(study)
    assert (after.num_measured, after.num_failed) == (before.num_measured, before.num_failed)
    optimise(task(), study, 35)
    assert sum(trial.state.is_finished() for trial in study.trials) == 35


def test_designs_outside_of_the_constraints_are_not_among_the_failed_ones() -> None:
    bounded = task({"array.rows, array.cols": [2, 4, 8], "buffers.weight": ["48 B", "1 KiB"]}, "array.rows <= 4")
    study = open_study(bounded, None, 0)
    told: list[tuple[int, int, int]] = []
    optimise(bounded, study, 6, lambda *numbers: told.append(numbers))  # every design
    found = tally(study)
    assert (found.num_measured, found.num_failed, found.num_outside, found.num_repeated) == (3, 1, 2, 0)
    assert told[-1] == (6, 6, 1)


def test_each_design_is_counted_once_and_every_other_proposal_as_repeated() -> None:
    bounded = task(SPACE, "array.rows <= 4")
    study = open_study(bounded, None, 0)
    told: list[tuple[int, int, int]] = []
    optimise(bounded, study, 35, lambda *numbers: told.append(numbers))
    found = tally(study)
    assert found.num_failed
    assert found.num_outside
    assert told[-1] == (35, 35, found.num_failed)
    proposed = [tuple(trial.params.values()) for trial in study.trials]
    assert found.num_repeated == 35 - len(set(proposed)) > 0


def test_a_storage_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("my own file" * 1000)
    for place in (tmp_path / "study.db", tmp_path / "nowhere" / "study.db"):
        with pytest.raises(OutputError, match="not a study"):
            open_study(task(), place, 0)
    assert (tmp_path / "study.db").read_text() == "my own file" * 1000


def test_thresholds_found_for_a_hardware_lose_no_more_than_they_may() -> None:
    searching = task({"array.rows": [2, 4]}, tolerances=(0.0, 0.1))
    static = experiment().trace.static_accuracy
    assert static is not None
    for rows in (0, 1):
        for choice, tolerance in enumerate(searching.tolerances):
            design = searching.design({"array.rows": rows, "tolerance": choice})
            accuracy = dict(zip(OBJECTIVES, design.values, strict=True))["accuracy.dynamic"]
            assert accuracy >= static - tolerance - 1e-9
            assert design.values == measured(experiment(), {"array.rows": (2, 4)[rows]}, design.policy)


def test_constraints_and_impossible_designs_are_left_out() -> None:
    bounded = task(SPACE, "array.rows <= 4")
    study = open_study(bounded, None, 0)
    optimise(bounded, study, 60)
    assert {design.point["array.rows"] for design in best_designs(study)} <= {2, 4}
    found = tally(study)
    assert all("buffer" in failure.reason for failure in found.failures)
    assert 0 < found.num_failed <= 4  # of 24 designs, 48 B of weights are too few for 4 x 4
    assert 0 < found.num_outside <= 12
    assert 0 < found.num_measured <= 20


def test_thresholds_are_not_both_searched_and_knobs() -> None:
    with pytest.raises(OptionError, match="thresholds are both searched and knobs"):
        task(tolerances=(0.01,))


def test_test_data_is_only_reported_on() -> None:
    study = open_study(task(), None, 0)
    optimise(task(), study, 30)
    best = best_designs(study)
    test = trace(seed=5)
    for design, values in zip(best, on_test(best, task(), test), strict=True):
        on_these = Experiment(experiment().hardware, test)
        assert values[: len(OBJECTIVES)] == measured(on_these, design.point, design.policy)
        under = replace(on_these, trace=test.under(design.policy))
        row = dict(zip(METRICS, under.metrics(hardware_settings(design.point)), strict=False))
        latencies = [float(row[f"{which}.latency_cycles.mean"]) for which in ("dynamic", "static")]
        energies = [float(row[f"{which}.energy_pj.mean"]) for which in ("dynamic", "static")]
        beside = (row["accuracy.static"], 1 - latencies[0] / latencies[1], 1 - energies[0] / energies[1])
        assert values[len(OBJECTIVES) :] == pytest.approx(beside)


@pytest.mark.parametrize("place", ["space", "hardware"])
def test_residency_that_needs_rates_is_refused(place: str) -> None:
    base = experiment()
    if place == "hardware":
        base = Experiment(override(base.hardware, {"residency": "auto"}), base.trace)
    parameters = {"array.rows": [2, 4]} | ({"residency": ["none", "auto"]} if place == "space" else {})
    around = design_space(Written(parameters), base.hardware, POLICY)
    with pytest.raises(OptionError, match=r"needs the exit rates of a third set(.|\n)*write residency: prefix"):
        Task(base, around)


def command(directory: Path, *options: str) -> int:
    """The command on toy traces in `directory`."""
    hw, test = files(directory)
    save_trace(trace(80, seed=7, split="val"), directory / "val.npz")
    return exit_code(["optimize", "--hw", hw, "--trace", str(directory / "val.npz"), "--test", test, *options])


FAILING = ("--set", "buffers.weight=48 B,1 KiB", "--set", "array.rows,array.cols=2,4", "--trials", "20")


def test_designs_that_failed_are_listed_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, *FAILING) == 3
    out, err = capsys.readouterr()
    assert out.startswith("1 design failed:\n  1 design (trial ")
    assert "buffers.weight: " in out
    assert "\nchain on made up, priced on " in out
    assert "of 3 measured designs" in out
    assert err == ""
    assert command(tmp_path, *FAILING, "--json") == 3
    out, err = capsys.readouterr()
    assert json.loads(out)
    assert err.startswith("1 design failed:")


def test_no_design_at_all_is_an_error_after_the_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "--set", "buffers.weight=1 B,2 B", "--trials", "5") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("2 designs failed:")
    assert "error: no design was found (got 2 designs that failed)\n  fix: " in err


def test_a_place_that_cannot_be_written_is_found_before_the_first_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Task, "design", lambda *_: pytest.fail("a trial began"))
    (tmp_path / "file").touch()
    (tmp_path / "there.csv").touch()
    for place, said in {
        "best.txt": "--out: not a table (got best.txt",
        "file/best.csv": "best.csv: cannot write here",
        "there.csv": "there.csv: exists already",
    }.items():
        assert command(tmp_path, "--set", "array.rows=2,4", "--out", str(tmp_path / place)) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err


def test_the_table_is_printed_even_if_its_file_cannot_be_written_in_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ceesim.cli.optimize._prepare", lambda *_: False)
    (tmp_path / "file").touch()
    (tmp_path / "there.csv").write_text("somebody else's")
    for place, said in {"file/best.csv": "best.csv: cannot write", "there.csv": "there.csv: exists by now"}.items():
        words = ("--set", "array.rows=2,4", "--trials", "4", "--out", str(tmp_path / place))
        assert command(tmp_path, *words) == 1
        out, err = capsys.readouterr()
        assert "beaten by no other" in out
        assert said in err
    assert (tmp_path / "there.csv").read_text() == "somebody else's"


def interrupted_at(trial: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C while a design is measured."""
    began = 0

    def design(self: Task, chosen: dict[str, int]) -> Design:
        nonlocal began
        began += 1
        if began == trial:
            raise KeyboardInterrupt
        return whole(self, chosen)

    whole = Task.design
    monkeypatch.setattr(Task, "design", design)


def test_the_page_and_the_report_say_the_width(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hw, test = files(tmp_path)
    val, out = tmp_path / "val.npz", tmp_path / "best.csv"
    for path, made in ((val, trace(80, seed=7, split="val")), (Path(test), trace())):
        save_trace(replace(made, workload=replace(made.workload, width=0.5)), path)
    words = ["--hw", hw, "--trace", str(val), "--test", test, "--set", "array.rows=2,4", "--out", str(out)]
    assert exit_code(["optimize", *words]) == 0
    assert f"chain at width 0.5 on made up, priced on {hw}\n" in capsys.readouterr().out
    assert dict(designs_section(out, "designs1").facts)["network"] == "chain at width 0.5"


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_a_sweep_says_the_width(width: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hw, test = files(tmp_path)
    made = trace()
    save_trace(replace(made, workload=replace(made.workload, width=width)), Path(test))
    words = ["sweep", "--hw", hw, "--trace", test, "--set", "array.rows=2,4", "--out", str(tmp_path / "table.csv")]
    assert exit_code(words) == 0
    said = "chain" if width == 1 else "chain at width 0.5"
    assert capsys.readouterr().out.startswith(f"{said} on made up, priced on {hw}\n")
    assert exit_code([*words, "--resume", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["network"], found["width"]) == ("chain", width)


def test_the_bar_knows_how_many_there_will_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Bar] = []
    start = Bar.__enter__
    monkeypatch.setattr(Bar, "__enter__", lambda self: bars.append(self) or start(self))
    assert command(tmp_path, "--set", "array.rows=2,4,8") == 0
    assert "/s" not in capsys.readouterr().err  # no terminal
    (shown,) = bars[0]._progress.tasks
    assert (shown.completed, shown.total, shown.fields["failed"]) == (3, 3, 0)


def test_an_interrupt_reports_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_at(3, monkeypatch)
    out = tmp_path / "best.csv"
    assert command(tmp_path, "--set", "array.rows=2,4,8", "--out", str(out)) == 130
    page, err = capsys.readouterr()
    assert "of 2 measured designs" in page
    assert "stopped after 2 trials; with --storage FILE it could go on from there\n" in err
    assert err.endswith("error: interrupted\n")
    with out.open(newline="") as stream:
        assert {row["array.rows"] for row in csv.DictReader(stream)} <= {"2", "4"}
    assert command(tmp_path, "--set", "array.rows=2,4,8", "--out", str(out)) == 1  # the only copy
    assert "exists already" in capsys.readouterr().err


def test_the_same_command_goes_on_after_an_interrupt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, study = str(tmp_path / "best.csv"), str(tmp_path / "study.db")
    words = ("--set", "array.rows=2,4,8", "--out", out, "--storage", study)
    with monkeypatch.context() as patched:
        interrupted_at(3, patched)
        assert command(tmp_path, *words) == 130
    assert "stopped after 2 trials; the same command goes on from there" in capsys.readouterr().err
    for other in (("--set", "array.cols=2,4"), ("--storage", str(tmp_path / "other.db"))):
        assert command(tmp_path, *words, *other) == 1
        assert "exists already" in capsys.readouterr().err
    assert command(tmp_path, *words) == 0
    assert "of 3 measured designs are" in capsys.readouterr().out
    assert command(tmp_path, *words) == 1  # it is done
    assert command(tmp_path, "--set", "array.rows=2,4,8", "--out", str(tmp_path / "whole.csv")) == 0
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "best.csv").read_bytes()


def test_an_interrupt_before_the_first_design_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_at(1, monkeypatch)
    assert command(tmp_path, "--set", "array.rows=2,4", "--out", str(tmp_path / "best.csv")) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "stopped after 0 trials" in err
    assert not (tmp_path / "best.csv").exists()


def test_the_folder_of_the_table_is_made(tmp_path: Path) -> None:
    out = tmp_path / "new" / "best.csv"
    assert command(tmp_path, "--set", "array.rows=2,4", "--trials", "4", "--out", str(out)) == 0
    with out.open(newline="") as stream:
        assert {row["array.rows"] for row in csv.DictReader(stream)} <= {"2", "4"}


def test_traces_on_which_nothing_can_be_measured_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hw, test = files(tmp_path)
    val = tmp_path / "val.npz"
    save_trace(trace(80, seed=7, split="val"), val)
    for change, said in (({"logits": None, "final_logits": None}, "decisions only"), ({"labels": None}, "--test: no")):
        bad = trace()
        bad = replace(bad, **({"labels": np.full_like(bad.labels, -1)} if "labels" in change else change))
        save_trace(bad, Path(test))
        assert exit_code(["optimize", "--hw", hw, "--trace", str(val), "--test", test, "--set", "array.rows=2,4"]) == 1
        assert said in capsys.readouterr().err


def test_a_gap_in_precision_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hw, test = files(tmp_path)
    for path, made in ((tmp_path / "val.npz", trace(80, seed=7, split="val")), (Path(test), trace())):
        save_trace(replace(made, capture={"precision": "float32"}), path)
    words = ["optimize", "--hw", hw, "--trace", str(tmp_path / "val.npz"), "--test", test]
    assert exit_code([*words, "--set", "array.rows=2,4", "--trials", "2"]) == 0
    assert capsys.readouterr().err.count("note: the exits were decided in float32") == 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hw, test = files(tmp_path)
    save_trace(trace(80, seed=7, split="val"), tmp_path / "val.npz")
    out = tmp_path / "best.csv"
    words = ["optimize", "--hw", hw, "--trace", str(tmp_path / "val.npz"), "--test", test, "--trials", "10"]
    words += ["--set", "array.rows,array.cols=2,4,8", "--tolerance", "0,0.05", "--json"]
    assert exit_code([*words, "--out", str(out)]) == 0
    designs = json.loads(capsys.readouterr().out)
    assert designs
    for design in designs:
        assert json.loads(design["policy"])["name"] == POLICY.name
        assert design["test.area_mm2"] == design["validation.area_mm2"]
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["test.accuracy.dynamic"] for row in rows] == [str(d["test.accuracy.dynamic"]) for d in designs]
    assert exit_code([*words, "--out", str(out)]) == 1
    assert exit_code([*words, "--tolerance", "much"]) == 1
    said = capsys.readouterr().err
    assert "exists already" in said
    assert "not shares of the inputs" in said


def test_tolerances_alone_are_a_front_on_one_hardware(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hw, test = files(tmp_path)
    save_trace(trace(80, seed=7, split="val"), tmp_path / "val.npz")
    words = ["optimize", "--hw", hw, "--trace", str(tmp_path / "val.npz"), "--test", test, "--json"]
    assert exit_code([*words, "--tolerance", "0,0.1,0.5"]) == 0
    designs = json.loads(capsys.readouterr().out)
    assert 1 < len(designs) <= 3
    assert len({design["test.area_mm2"] for design in designs}) == 1
    assert [design["tolerance"] for design in designs] == sorted({0, 0.1, 0.5}, reverse=True)[-len(designs) :]
    latencies = [design["validation.dynamic.latency_s.mean"] for design in designs]
    accuracies = [design["validation.accuracy.dynamic"] for design in designs]
    assert latencies == sorted(latencies)
    assert accuracies == sorted(accuracies)
    assert exit_code(words) == 1
    assert "nothing to choose" in capsys.readouterr().err


@pytest.mark.parametrize("alpha", [None, ODDS])
def test_the_search_compares_what_the_trace_s_policy_compares(alpha: float | None) -> None:
    policy = Exclude(POLICY.beta, alpha=alpha)
    settings = Task(
        replace(experiment(), trace=trace().under(policy)), space({"array.rows": [2, 4]}), tolerances=(0.05,)
    )
    found = settings.design({"array.rows": 0, "tolerance": 0}).policy
    assert isinstance(found, Exclude)
    assert found.alpha == alpha


def test_a_space_no_larger_than_the_trials_is_tried_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"array.rows, array.cols": [2, 4, 8], "policy.beta.3": [0.1, 0.8]}
    study = open_study(task(small), tmp_path / "study.db", 2)
    optimise(task(small), study, 10)
    assert len(study.trials) == 6 == tally(study).num_measured
    assert tally(study).num_repeated == 0
    optimise(task(small), study, 10)
    assert len(study.trials) == 6
