"""How a scenario shows itself on stderr while it is played: a bar with the time left, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress as bars

from ceesim.sim.scenarios.record import Progress

_STEP = 100  # inputs between two looks at the bar


@contextmanager
def scenario_progress() -> Iterator[Progress | None]:
    """The bar while the block runs; None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    columns = (bars.BarColumn(), bars.MofNCompleteColumn(), bars.TextColumn("inputs"), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: bars.Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, visible=False)
        self._done = 0

    def start(self, total: int) -> None:
        """See `Progress`."""
        self._bar.update(self._task, total=total, visible=True)

    def advance(self) -> None:
        """See `Progress`."""
        self._done += 1
        if self._done % _STEP == 0:
            self._bar.update(self._task, completed=self._done)
