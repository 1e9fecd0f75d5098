"""The scenario file's JSON Schema and reference page are made from the record, and current."""

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from ceesim import cli
from ceesim.hardware import keys
from ceesim.sim.scenarios import schema
from ceesim.sim.scenarios.scenario import Scenario

ROOT = Path(__file__).parents[3]


def test_every_key_is_described_with_an_example_or_a_default() -> None:
    for path, record in keys.sections(Scenario):
        for key, field in keys.keys(record).items():
            assert field.description, (*path, key)
            assert field.examples or keys.section(field) is not None, (*path, key)


def test_the_reference_page_is_current() -> None:
    page = (ROOT / "docs" / "scenario-file.md").read_text(encoding="utf-8")
    assert page == schema.reference(), "run: ceesim schema --of scenario --format markdown > docs/scenario-file.md"


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("arrivals: {process: poisson, rate: 500/s}\nqueue: 4\ndeadline: 2 ms", True),
        ("batch: {size: 8, mode: refill}", True),
        ("pipeline: {cuts: [2, 4], buffer: 1}", True),
        ("batch: {size: 8, mood: refill}", False),
        ("arrivals: {process: poissons}", False),
        ("queue: 0", False),
        ("arrivals: {process: poisson, rate: 10 MHz}", True),
        ("arrivals: {process: poisson, rate: 10 MHz or so}", False),
        ("arrivals: {process: poisson, rate: about 10 MHz}", False),
        ("units: 2000", False),
        ("deadline: 3 kHz", False),
        ("deadline: 0", True),
        ("deadline: 2", False),
        ('deadline: "2"', False),
        ("deadline: 0.5 us", True),
    ],
)
def test_an_editor_sees_what_is_wrong(text: str, is_valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(schema.json_schema())
    assert validator.is_valid(YAML(typ="safe", pure=True).load(text)) is is_valid


def test_the_command_prints_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["schema", "--of", "scenario"]) == 0
    assert json.loads(capfd.readouterr().out) == schema.json_schema()
    assert cli.exit_code(["schema", "--of", "scenario", "--format", "markdown"]) == 0
    assert capfd.readouterr().out == schema.reference()
