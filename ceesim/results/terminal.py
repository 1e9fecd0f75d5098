"""How pages and tables look on a terminal: one style, names on the left, numbers on the right."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table


def console_of(width: int) -> Console:
    """Standard output, as wide as the terminal, or `width` columns where it is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


def plain_table(title: str, *columns: str) -> Table:
    """An empty table with these columns."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return table
