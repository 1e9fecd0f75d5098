"""The reference of the command line is what the commands say, and the commands say what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from ceesim.cli import COMMANDS, group

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    # in a process of its own: click remembers how a command was called first
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import cli_reference; sys.stdout.write(cli_reference.reference())"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == made.stdout, "run: python scripts/cli_reference.py"


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
