"""The JSON Schema accepts what loading accepts, refuses what it can of the rest, and the reference page is current."""

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from ceesim import cli
from ceesim.hardware import keys, schema
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.shipped import Shelf
from tests.hardware.broken import broken_files

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema.json_schema())
    return jsonschema.Draft202012Validator(schema.json_schema())


@pytest.mark.parametrize("path", Shelf.HARDWARE.files(), ids=lambda path: path.stem)
def test_every_shipped_file_satisfies_it_as_written_and_as_dumped(
    path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    validator.validate(YAML(typ="safe").load(path))
    validator.validate(load_hardware(path).to_yaml_dict())


def test_it_refuses_what_an_editor_can_see(validator: jsonschema.Draft202012Validator) -> None:
    visible = ("unknown", "missing", "value for section", "section for", "wrong unit", "wrong word", "fraction", "zero")
    seen = [broken for broken in broken_files() if broken.label.startswith(visible)]
    assert len(seen) > 100
    accepted = [broken.label for broken in seen if validator.is_valid(YAML(typ="safe", pure=True).load(broken.text))]
    assert accepted == []


def test_every_key_is_described() -> None:
    for path, record in keys.sections(Hardware):
        for key, field in keys.keys(record).items():
            assert field.description, (*path, key)
            assert field.examples or not field.is_required() or keys.section(field), (*path, key)


def test_the_reference_page_is_current() -> None:
    page = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    assert page == schema.reference(), "run: ceesim schema --format markdown > docs/hardware.md"


def test_the_command_prints_both(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["schema"]) == 0
    assert json.loads(capfd.readouterr().out) == schema.json_schema()
    assert cli.exit_code(["schema", "--format", "markdown"]) == 0
    assert capfd.readouterr().out == schema.reference()
