"""policy.json: what is written is read, and whatever else is there is one error that names the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ceesim.errors import OutputError, PolicyError
from ceesim.exits.exclusion import ODDS, Exclude, Ratio
from ceesim.exits.policy import DecisionCost, ExitPolicy
from ceesim.exits.policy_file import NAMES, PolicyFile, policy_from_json, read_policy, write_policy
from ceesim.exits.references import External, Fixed, Never, Oracle, Patience
from ceesim.exits.scores import Score, ScoreKind

EVERY: tuple[ExitPolicy, ...] = (
    Exclude((0.07, None, 1.0)),
    Exclude((0.07, 0.5, 0.0), recovery=False, masked_final=True, alpha=36.0),
    Ratio((0.1, 0.2, None), alpha=4.0),
    Exclude((0.1, 0.2, None), alpha=ODDS),
    Score(ScoreKind.CONFIDENCE, (0.9123456789012345, None, 2.0)),
    Score(ScoreKind.MARGIN, (0.5, 0.5, 0.5)),
    Score(ScoreKind.ENTROPY, (0.5, -1.0, None)),
    Patience(2),
    Fixed(3),
    Never(),
    Oracle(),
    External(DecisionCost(20, 0, 10)),
)


def test_every_policy_has_an_example_here() -> None:
    assert {policy.name for policy in EVERY} == {*NAMES}


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)
def test_a_policy_comes_back(policy: ExitPolicy, tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    write_policy(PolicyFile(policy, {"method": "by hand"}), path, 3)
    assert read_policy(path) == PolicyFile(policy, {"method": "by hand"})
    first = path.read_bytes()
    write_policy(PolicyFile(policy, {"method": "by hand"}), path, 3)
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["policy.json"]


def record(**changes: Any) -> dict[str, Any]:
    whole = {
        "schema": "ceesim.policy/1",
        "policy": {"name": "exclude", "beta": [0.5, None]},
        "num_exits": 2,
        "kept": [1],
        "found": {},
    }
    return {key: value for key, value in (whole | changes).items() if value != "absent"}


def test_the_pattern_of_the_broken_ones_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(record()))
    assert read_policy(path).policy == Exclude((0.5, None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a policy file"),
        ("7", "not a policy file"),
        (json.dumps(record(schema="ceesim.policy/2")), "schema"),
        (json.dumps(record(extra=1)), "extra"),
        (json.dumps({"policy": record()["policy"], "found": 3}), "found: must be a JSON object"),
        (json.dumps(record(policy="absent")), "unknown policy"),
        (json.dumps(record(policy={"name": "exlude", "beta": [0.5]})), "unknown policy"),
        (json.dumps(record(policy={"name": ["exclude"], "beta": [0.5]})), "unknown policy"),
        (json.dumps(record(policy={"name": "exclude"})), "beta"),
        (json.dumps(record(policy={"name": "exclude", "beta": 0.5})), "beta"),
        (json.dumps(record(policy={"name": "exclude", "beta": ["0.5", None]})), "beta.0"),
        (json.dumps(record(policy={"name": "exclude", "beta": [0.5, 2.0]})), "β of exit 2"),
        (json.dumps(record(policy={"name": "exclude", "beta": [0.5, None], "gamma": 1})), "gamma"),
        (json.dumps(record(policy={"name": "exclude", "beta": [0.5, None], "final": "maybe"})), "final"),
        (json.dumps(record(policy={"name": "exclude", "beta": [0.5, None], "recovery": 1})), "recovery"),
        (json.dumps(record(policy={"name": "exclude", "beta": [0.5, None], "calibration": "prior"})), "α"),
        (json.dumps(record(policy={"name": "exclude", "beta": [0.5, None], "alpha": 36.0})), "α"),
        (json.dumps(record(policy={"name": "exclude", "beta": [0.1] * 2000})), "beta"),
        (json.dumps(record(policy={"name": "confidence", "threshold": [7.0, None]})), "threshold of exit 1"),
        (json.dumps(record(policy={"name": "patience", "heads": 1.5})), "heads"),
        (json.dumps(record(policy={"name": "fixed", "exit_index": 9}, kept=[9])), "no such exit"),
        (json.dumps(record(num_exits=3)), "another number of exits"),
        (json.dumps(record(num_exits=-1)), "num_exits"),
        (json.dumps(record(num_exits="2")), "num_exits"),
        (json.dumps(record(kept=[1, 2])), "kept"),
        (json.dumps(record(kept="absent")), "kept"),
        (json.dumps(record(found=[])), "found"),
        (json.dumps(record()).replace("0.5", "NaN"), "NaN is not JSON"),
        (json.dumps(record() | {"found": {"loss": 0.25}}).replace("0.25", "1e999"), "1e999 is out of range"),
        (json.dumps(record()).replace("0.5", "1e999"), "1e999 is out of range"),
        (" " * (1 << 20) + json.dumps(record()), "too large"),
    ],
)
def test_a_broken_file_is_one_error(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_binary_file_a_folder_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    for name in ("binary.json", "missing.json", "."):
        with pytest.raises(PolicyError):
            read_policy(tmp_path / name)


def test_a_file_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_policy(PolicyFile(Never()), tmp_path / "missing" / "policy.json", 2)


def test_a_record_that_is_no_object_is_no_policy() -> None:
    for value in (None, 3, "exclude", ["exclude"]):
        with pytest.raises(PolicyError, match="unknown policy"):
            policy_from_json(value)


@pytest.mark.parametrize("compares", [-1, 10**30, 9 * 10**18])
def test_decisions_that_take_forever_are_refused(compares: int) -> None:
    with pytest.raises(PolicyError, match="compares"):
        policy_from_json({"name": "external", "compares": compares})
