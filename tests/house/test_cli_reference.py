"""The reference of the command line is what the commands say, and the commands say what they promise."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click
import pytest

from ceesim.cli import COMMANDS, group

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    path = ROOT / "scripts" / "cli_reference.py"
    spec = importlib.util.spec_from_file_location("cli_reference", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == script.reference(), "run: python scripts/cli_reference.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_gives_an_example_and_explains_its_options(name: str) -> None:
    with click.Context(group) as context:
        command = group.get_command(context, name)
        assert command is not None
        text = command.get_help(context)
    assert "Example: ceesim" in text
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} --{option.name}"
