"""``ceesim inspect FILE``: what a hardware, trace or policy file holds, told by its kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ceesim.errors import CeesimError, HardwareError, OptionError, OutputError
from ceesim.hardware.energy.actions import Action
from ceesim.shipped import Shelf, find, meant

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from ceesim.hardware.energy.table import EnergyTable, Line


SUMMARY = "summary.json"
PAGE_WIDTH = 120
"""Columns where it is not shown on a terminal."""
SUMMARY_SCHEMA = "ceesim.summary/1"
_OTHERS = {".pt": "epochs.csv tells how it went, and ceesim capture makes a trace of it"}
"""What to do with files of other kinds."""


@click.command(epilog="Example: ceesim inspect edge_npu.yaml")
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
    """Show what FILE holds: a hardware (.yaml), a trace (.npz), a policy (.json), by path or as shipped, or a result.

    A hardware shows its price list of energy, each price with its source. A result is a summary.json or its folder.
    """
    kind = Path(file).suffix or _kind_of_shipped(file)
    if kind in {".yaml", ".yml"}:
        _hardware(file, overrides, as_json)
        return
    if overrides:
        raise OptionError("--set overrides a hardware", where=file, fix="leave --set out, or name a .yaml file")
    if kind not in {".npz", ".json"} and not Path(file).is_dir():
        raise OptionError(
            "no such kind of file",
            where=file,
            got=kind,
            expected=".yaml, .npz or .json, or the folder of a run",
            fix=_OTHERS.get(kind, "a table of sweep or optimize: ceesim report draws it"),
        )
    if Path(file).joinpath("checkpoint.pt").is_file():
        raise OptionError("the folder of a training run", where=file, fix=_OTHERS[".pt"])
    path = Path(file) / SUMMARY if Path(file).is_dir() else Path(file)
    if _is_summary(path):
        _summary(path, as_json)
        return
    from ceesim.exits.describe import describe

    content = describe(find(file, Shelf.TRACES))
    if as_json:
        click.echo(json.dumps(content, indent=2))
    elif content["kind"] == "trace":
        _trace(content)
    else:
        _print(_pairs(_lines(content)))


def _is_scenario(file: str) -> bool:
    from ceesim.sim.scenarios.load import load_scenario

    try:
        load_scenario(file)
    except CeesimError:
        return False
    return True


def _kind_of_shipped(name: str) -> str:
    """The suffix that a name without one stands for."""
    if Path(name).is_dir():
        return ""
    found = (shelf.suffix for shelf in (Shelf.HARDWARE, Shelf.TRACES) if meant(name, shelf) is not None)
    return next(found, Shelf.HARDWARE.suffix)


def _hardware(file: str, overrides: tuple[str, ...], as_json: bool) -> None:
    from ceesim.hardware.energy.table import energy_table
    from ceesim.hardware.figures import figures
    from ceesim.hardware.load import load_hardware
    from ceesim.hardware.sheet import sheet

    try:
        hardware = load_hardware(file, overrides)
    except HardwareError:
        if _is_scenario(file):
            raise OptionError(
                "a scenario, not a hardware", where=file, fix="ceesim run --scenario FILE plays it"
            ) from None
        raise
    derived = figures(hardware)
    prices = energy_table(hardware)
    if as_json:
        content = {
            "kind": "hardware",
            "hardware": hardware.to_yaml_dict(),
            "derived": {figure.name: figure.value for figure in derived},
            "energy": [
                {
                    "per": _per(line),
                    "what": line.what,
                    "component": line.component.key,
                    "pj": line.pj,
                    "source": line.source,
                }
                for line in prices.lines
            ],
            "area": [{"what": term.what, "mm2": term.mm2, "source": term.source} for term in prices.area],
            "area_mm2": prices.area_mm2,
            "warnings": list(prices.warnings),
        }
        click.echo(json.dumps(content, indent=2))
        return
    numbers = ((figure.name, figure.text, figure.meaning) for figure in derived)
    _print(
        _title(hardware.name),
        hardware.description.strip(),
        _pairs(sheet(hardware)),
        _title("\nderived"),
        _pairs(numbers),
        _title(f"\nenergy (band of logic, SRAM, DRAM, clock, leakage: {_bands(prices)})"),
        _energy(prices),
        _title(f"\narea: {prices.area_mm2:.3g} mm²"),
        _pairs((term.what, f"{term.mm2:.3g} mm²", term.source) for term in prices.area),
        *(f"\nnote: {warning}" for warning in prices.warnings),
    )


def _energy(prices: EnergyTable) -> Table:
    """The price list: one line per price, with its source."""
    from rich.table import Table

    table = Table("component", "per", "what", "pJ", "source", box=None, pad_edge=False)
    for line in prices.lines:
        table.add_row(line.component.key, _per(line), line.what, f"{line.pj:.4g}", line.source)
    return table


def _per(line: Line) -> str:
    name = line.per.name.lower().replace("_", " ")
    return name if isinstance(line.per, Action) else f"cycle {name}"


def _bands(prices: EnergyTable) -> str:
    return ", ".join(f"×{low:g}–{high:g}" for low, high in prices.bands.T)


def _summary(path: Path, as_json: bool) -> None:
    """A result: the file of `ceesim run`, told in a few lines."""
    content = json.loads(path.read_bytes())
    if as_json:
        click.echo(json.dumps(content, indent=2))
        return
    told = ("hardware", "network", "width", "dataset", "num_inputs", "policy", "scenario", "accuracy", "exit_rate")
    missing = [key for key in (*told, "reduction") if key not in content]
    if missing or not isinstance(content["reduction"], dict):
        raise OutputError(
            "not a whole result",
            where=str(path),
            got=f"no {', '.join(missing)}" if missing else "a reduction without names",
            fix="write it again with ceesim run --out",
        )
    reductions = {name: value for name, value in content["reduction"].items() if name != "ci95"}
    _print(
        _pairs(_lines({key: content[key] for key in told})),
        _title("\nreduction against the static network"),
        _pairs(_lines(reductions)),
    )


def _is_summary(path: Path) -> bool:
    """Whether `path` is a summary.json; whatever else it is, its own reader will say."""
    if path.suffix != ".json":
        return False
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("schema") == SUMMARY_SCHEMA


def _trace(content: Mapping[str, Any]) -> None:
    """What it is, one line per exit for all that is counted per exit, and how it was made."""
    from rich.table import Table

    heads, excluded = content["head_accuracy"], content["excluded_per_exit"]
    columns = {
        "path MACs": content["path_macs"],
        "inputs leaving": content["inputs_per_exit"],
        "accuracy there": heads["on_released"],
        "accuracy on all": heads["on_all"],
        "classes excluded": excluded and [*excluded["of_all"], None],
    }
    columns = {name: values for name, values in columns.items() if values is not None}
    exits = Table("exit", *columns, box=None, pad_edge=False)
    for row, values in enumerate(zip(*columns.values(), strict=True), start=1):
        exits.add_row("end" if row > content["num_exits"] else str(row), *map(_text, values))
    arrays = [(name, f"{array['dtype']} {array['shape']}") for name, array in content["arrays"].items()]
    made = ("preprocessing", "training", "capture", "provenance")
    told = {"head_accuracy", "excluded_per_exit", "path_macs", "inputs_per_exit", "arrays", *made}
    facts = {key: value for key, value in content.items() if key not in told}
    _print(_pairs(_lines(facts)), "", exits, _title("\narrays"), _pairs(arrays))
    _print(_title("\nmade by"), _pairs(_lines({key: content[key] for key in made})))


def _lines(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One line per key."""
    return [(key, _text(value)) for key, value in content.items()]


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        inside = (
            f"{key} ({_text(inner)})" if isinstance(inner, Mapping) else f"{key} {_text(inner)}"
            for key, inner in value.items()
        )
        return ", ".join(inside) or "-"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _title(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="bold")


def _pairs(rows: Iterable[tuple[str, ...]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _print(*parts: str | Text | Table) -> None:
    from ceesim.results.terminal import console_of

    console = console_of(PAGE_WIDTH)
    for part in parts:
        console.print(part, markup=False)
