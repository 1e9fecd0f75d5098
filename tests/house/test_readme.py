"""The commands of the README and of the page about one's own network are commands, and the README's work as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from ceesim import cli

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/own-network.md", "docs/cluster.md", "docs/sweeps.md")


def commands(page: str) -> list[list[str]]:
    """Arguments of every indented line that calls ceesim, without comments."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in re.findall(r"^    ceesim (.+)$", text, re.MULTILINE)]


@pytest.mark.parametrize(("page", "args"), [(page, args) for page in PAGES for args in commands(page)], ids=str)
def test_a_printed_command_has_the_options_it_uses(page: str, args: list[str]) -> None:
    command: click.Command | None = cli.group
    while isinstance(command, click.Group):
        name, *args = args
        with click.Context(command) as context:
            command = command.get_command(context, name)
    assert command is not None
    with command.make_context(name, args):
        pass


def tables(page: Path) -> list[list[str]]:
    """The runs of consecutive lines that begin with a bar and a space."""
    found = re.findall(r"^\| .*(?:\n\|.*)*", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [table.split("\n") for table in found]


@pytest.mark.parametrize(
    "page", sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")}), ids=str
)
def test_a_table_has_a_rule_that_renders(page: Path) -> None:
    for head, rule, *_ in tables(page):
        assert re.fullmatch(r"(\| ?:?-+:? ?)+\|", rule), f"under {head}"
        assert len(rule.split("|")) == len(re.split(r"(?<!\\)\|", head)), head


def test_the_readme_has_its_commands() -> None:
    assert len(commands("README.md")) > 10


@pytest.mark.slow
def test_the_readme_works_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for args in commands("README.md"):
        assert cli.exit_code(args) == 0, args
    assert {"results", "policy.json", "sweep.csv", "report.html", "timeline.json", "run", "my_trace.npz"} <= {
        path.name for path in tmp_path.iterdir()
    }
