"""The reference of the command line is what the commands say, and the commands say what they promise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
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


def commands(below: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, whatever the depth."""
    with click.Context(below) as context:
        for word in below.list_commands(context):
            command = below.get_command(context, word)
            assert command is not None
            yield (called := f"{name} {word}"), command
            if isinstance(command, click.Group):
                yield from commands(command, called)


EVERY = dict(commands(group, "ceesim"))


def test_every_command_is_on_the_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert {f"ceesim {name}" for name in COMMANDS} <= set(EVERY)
    assert "ceesim validate latency" in EVERY
    for name in EVERY:
        assert f"# {name}\n" in page


@pytest.mark.parametrize("name", EVERY)
def test_every_option_is_explained_and_states_its_default(name: str) -> None:
    command = EVERY[name]
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} --{option.name}"
            said = option.get_help_record(click.Context(command))
            assert option.required or (said and "efault" in said[1]), f"{name} --{option.name} does not say its default"
