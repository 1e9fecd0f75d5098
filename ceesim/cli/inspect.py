"""``ceesim inspect FILE``: what a hardware, trace or result file holds, told by its kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ceesim.errors import OptionError
from ceesim.shipped import Shelf

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.argument("file")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Hardware only: override a key, in the unit of the key; may be given several times. Default: none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables. Default: off.")
def command(file: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show what FILE holds: a hardware (.yaml), a trace (.npz), by path or as shipped.

    Example: ceesim inspect edge_npu.yaml
    """
    kind = Path(file).suffix or Shelf.HARDWARE.suffix
    if kind in {".yaml", ".yml"}:
        _hardware(file, overrides, as_json)
        return
    if overrides:
        raise OptionError("--set overrides a hardware", where=file, fix="leave --set out, or name a .yaml file")
    raise OptionError("no such kind of file", where=file, got=kind, expected=".yaml")


def _hardware(file: str, overrides: tuple[str, ...], as_json: bool) -> None:
    from ceesim.hardware.figures import figures
    from ceesim.hardware.load import load_hardware

    hardware = load_hardware(file, overrides)
    derived = figures(hardware)
    if as_json:
        content = {
            "kind": "hardware",
            "hardware": hardware.to_yaml_dict(),
            "derived": {figure.name: figure.value for figure in derived},
        }
        click.echo(json.dumps(content, indent=2))
        return
    from rich.table import Table

    from ceesim.hardware.sheet import sheet

    console = _console()
    console.print(f"[bold]{hardware.name}[/bold]")
    if hardware.description:
        console.print(hardware.description.strip(), style="dim")
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, text in sheet(hardware):
        table.add_row(key, text)
    console.print(table)
    console.print("\n[bold]derived[/bold]")
    table = Table(box=None, pad_edge=False, show_header=False)
    for figure in derived:
        table.add_row(figure.name, figure.text, figure.meaning)
    console.print(table)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)
