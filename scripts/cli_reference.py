"""Write docs/cli.md, the reference of the command line, from the commands themselves.

python scripts/cli_reference.py
"""

from __future__ import annotations

from pathlib import Path

import click

from ceesim.cli import COMMANDS, group

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 100


def reference() -> str:
    """The page."""
    parts = [
        "# The command line\n",
        "Written by `python scripts/cli_reference.py`. Data goes to stdout, everything else to stderr.\n"
        "Exit codes: 0 done; 1 an error, in words; 2 usage; 3 finished, but some points failed; 130 interrupted.\n",
    ]
    with click.Context(group, info_name="ceesim") as context:
        for name in COMMANDS:
            command = group.get_command(context, name)
            assert command is not None
            parts += _parts(command, name, "##")
    return "\n".join(parts)


def _parts(command: click.Command, name: str, level: str) -> list[str]:
    """A command and, one level down, the commands below it."""
    parts = [f"{level} ceesim {name}\n\n```text\n{_help(command, name)}\n```\n"]
    if isinstance(command, click.Group):
        for below, each in command.commands.items():
            parts += _parts(each, f"{name} {below}", f"{level}#")
    return parts


def _help(command: click.Command, name: str) -> str:
    settings = {"terminal_width": WIDTH, "max_content_width": WIDTH, "help_option_names": ["-h", "--help"]}
    with click.Context(command, info_name=f"ceesim {name}", **settings) as context:
        return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
