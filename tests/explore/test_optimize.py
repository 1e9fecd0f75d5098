"""The optimiser finds the front that trying everything finds, goes on where it was, and reports on other data."""

import csv
import json
from pathlib import Path

import pytest

from ceesim.cli import exit_code
from ceesim.errors import OptionError, OutputError
from ceesim.exits.trace import save_trace
from ceesim.explore.experiment import Experiment
from ceesim.explore.optimize import Task, best_designs, measured, on_test, open_study, optimise
from ceesim.explore.pareto import OBJECTIVES, findings
from ceesim.explore.sweep import sweep
from tests.explore.toys import POLICY, experiment, files, space, trace

pytest.importorskip("optuna")

SPACE = {
    "array.rows, array.cols": [2, 4, 8],
    "buffers.weight": ["16 B", "256 B", "1 KiB"],
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
    told: list[tuple[int, int]] = []
    optimise(task(), study, 20, lambda done, failed: told.append((done, failed)))
    assert [done for done, _ in told] == list(range(13, 21))
    assert len(study.trials) == 20
    with pytest.raises(OutputError, match="holds the study of another task"):
        open_study(task({"array.rows": [2, 4]}), storage, 0)


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
    reasons = {trial.user_attrs["reason"] for trial in study.trials if "reason" in trial.user_attrs}
    assert any("does not meet the constraints" in reason for reason in reasons)
    assert any("buffer" in reason for reason in reasons)


def test_thresholds_are_not_both_searched_and_knobs() -> None:
    with pytest.raises(OptionError, match="thresholds are both searched and knobs"):
        task(tolerances=(0.01,))


def test_test_data_is_only_reported_on() -> None:
    study = open_study(task(), None, 0)
    optimise(task(), study, 30)
    best = best_designs(study)
    test = trace(seed=5)
    for design, values in zip(best, on_test(best, task(), test), strict=True):
        assert values == measured(Experiment(experiment().hardware, test), design.point, design.policy)


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
