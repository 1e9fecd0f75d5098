"""How a training run shows itself on stderr: a bar with the time left on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class SilentProgress:
    """Shows nothing: the ranks above 0."""

    def start(self, epochs: int, images_per_epoch: int, done: int) -> None:
        """The run begins."""

    def advance(self, num_images: int) -> None:
        """Images were seen."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch ended."""

    def stop(self) -> None:
        """The run ended, done or not."""


class LineProgress(SilentProgress):
    """One line per epoch, for logs."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """Say how the epoch went."""
        click.echo(_line(row), err=True)


class BarProgress(SilentProgress):
    """A bar over all images of the run, with the time left, and a line per epoch above it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("training", total=None)

    def start(self, epochs: int, images_per_epoch: int, done: int) -> None:
        """Show the bar, with `done` epochs behind."""
        self._bar.update(self._task, total=epochs * images_per_epoch, completed=done * images_per_epoch)
        self._bar.start()

    def advance(self, num_images: int) -> None:
        """Move the bar."""
        self._bar.advance(self._task, num_images)

    def epoch(self, row: Mapping[str, float]) -> None:
        """Say how the epoch went, above the bar."""
        self._console.print(_line(row), highlight=False)

    def stop(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()


def _line(row: Mapping[str, float]) -> str:
    exits = " ".join(f"{100 * value:.1f}" for name, value in row.items() if name.startswith("exit"))
    return (
        f"epoch {row['epoch']:.0f}: loss {row['loss']:.3f}, {row['seconds']:.0f} s, "
        f"validation accuracy {100 * row['final_accuracy']:.1f} %" + (f", exits {exits} %" if exits else "")
    )
