"""From sections to the HTML page: one file, no network, the same bytes for the same sections.

All text goes through Jinja's autoescaping; specifications travel as JSON in which ``<`` cannot occur, so no name can
close a script element; a content security policy forbids the page to load anything at all. The page is Plotly's own
library (about 4.8 MB) and whatever there is to say.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from ceesim import __version__
from ceesim.results.report.figure import Cell, Figure, Section, Table
from ceesim.results.report.glossary import GLOSSARY
from ceesim.results.write import write_text

MOST_TABLE_ROWS: Final = 250
"""Rows of a figure's table that the page itself holds; ``--csv`` writes them all."""

MOST_COLUMNS: Final = 10
"""Columns of a table that stands for itself from which on it may be wider than text."""

LONGEST_LINE: Final = 48
"""Letters of a cell that stand in one line."""


def render(sections: Sequence[Section], title: str) -> str:
    """The page."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(cell=_shown, key=_sort_key, long=_is_long, numeric=_numeric)
    template = environment.from_string(_asset("page.html.j2"))
    specs = {
        f"{section.name}-{part.name}": {"data": part.data, "layout": part.layout}
        for section in sections
        for part in section.parts
        if isinstance(part, Figure)
    }
    return template.render(
        title=title,
        sections=sections,
        glossary=GLOSSARY,
        version=__version__,
        most_rows=MOST_TABLE_ROWS,
        most_columns=MOST_COLUMNS,
        is_figure=lambda part: isinstance(part, Figure),
        style=Markup(_asset("page.css")),  # noqa: S704 - ours
        script=Markup(_asset("page.js")),  # noqa: S704 - ours
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the installed package's
        specs=Markup(_json(specs)),  # noqa: S704 - cannot hold markup, see _json
    )


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that HTML cannot misread wherever it stands."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _shown(value: Cell, unit: str | None) -> str:
    """A cell for people."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if unit == "percent":
        return f"{value:.2%}"
    if isinstance(value, int) or unit == "int":
        return f"{value:,.0f}"
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _numeric(table: Table) -> list[bool]:
    """Whether each column holds numbers, which stand under each other by their last digit."""
    columns = zip(*table.rows[:MOST_TABLE_ROWS], strict=True) if table.rows else [()] * len(table.columns)
    kinds = [{type(cell) for cell in column} - {type(None)} for column in columns]
    return [bool(kind) and kind <= {int, float} for kind in kinds]


def _is_long(value: Cell) -> bool:
    """Whether a cell is text of more than one line."""
    return isinstance(value, str) and len(value) > LONGEST_LINE


def _sort_key(value: Cell) -> str:
    """A cell for the script that sorts: exact where it is a number."""
    return "" if value is None or isinstance(value, str) else repr(float(value))


def write_page(sections: Sequence[Section], title: str, out: Path) -> None:
    """Write the page to `out`, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    write_text(out, render(sections, title))


def write_data(sections: Sequence[Section], out: Path) -> list[Path]:
    """Write the table behind every figure of the page `out` into a folder beside it; returns the files.

    Raises:
        OutputError: if one cannot be written.
    """
    folder = out.with_name(f"{out.stem}_data")
    written = []
    for section in sections:
        for part in section.parts:
            path = folder / f"{section.name}-{part.name}.csv"
            write_text(path, _csv(part.table))
            written.append(path)
    return written


def _csv(table: Table) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.columns)
    rows: Iterable[Sequence[Cell]] = table.rows
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return stream.getvalue()
