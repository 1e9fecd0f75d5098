"""The options that say how inputs meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ceesim.sim.scenarios.scenario import Scenario

_Command = TypeVar("_Command", bound=Callable[..., Any])


def scenario_options(command: _Command) -> _Command:
    """Give `command` the options `scenario`, `batch`, `batch_mode` and `units`, for `asked_scenario`."""
    options = (
        click.option(
            "--scenario",
            metavar="S",
            help="How inputs meet: closed, poisson:RATE (500/s, or load=0.6), period:TIME, recorded:FILE, pipeline, or "
            "a YAML file. Default: one input after another.",
        ),
        click.option("--batch", type=click.IntRange(1, 1024), help="Inputs per batch. Default: 1."),
        click.option(
            "--batch-mode",
            type=click.Choice(["static", "masked", "compacted", "refill"]),
            help="What happens to a batch when members leave. Default: static.",
        ),
        click.option("--units", type=click.IntRange(1, 1024), help="Accelerators that share the DRAM. Default: 1."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def asked_scenario(text: str | None, batch: int | None, batch_mode: str | None, units: int | None) -> Scenario | None:
    """The scenario that the options ask for; None: one input after another.

    Raises:
        ScenarioError: if there is no such scenario.
    """
    from ceesim.sim.scenarios.load import load_scenario

    sizes = {"size": batch, "mode": batch_mode}
    changes: dict[str, Any] = {"batch": {key: value for key, value in sizes.items() if value is not None}}
    changes = {key: value for key, value in changes.items() if value}
    if units is not None:
        changes["units"] = units
    return load_scenario(text or "closed", changes) if text is not None or changes else None


def scenario_files(text: str | None, asked: Scenario | None) -> list[Path]:
    """The files that the scenario comes from: its own, and that of its arrivals."""
    files = [Path(text)] if text is not None and Path(text).is_file() else []
    return files + ([Path(asked.arrivals.file)] if asked is not None and asked.arrivals.file is not None else [])
