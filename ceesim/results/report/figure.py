"""What a page is made of: figures with their data, tables, and text that may say anything without being run.

A figure is a Plotly specification as plain dicts (https://plotly.com/javascript/reference), the caption that says what
to see in it, and the numbers behind it as a table. Colours are names of CSS variables (``--c1``), which the page
replaces by the colours of its theme, so that one specification serves light, dark and paper.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

Spec: TypeAlias = dict[str, Any]
Cell: TypeAlias = str | int | float | bool | None

SERIES: Final = tuple(f"--c{i}" for i in range(1, 9))
"""Colours of things that have no order, in the order in which neighbours are told apart best."""
RAMP: Final = [[i / 4, f"--ramp{i}"] for i in range(5)]
"""A colour scale from nothing to much."""

_LONGEST_LABEL: Final = 26


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns; the page can sort it, and `--csv` writes it.

    Args:
        units: column → how its numbers are shown: one of ``int``, ``percent``, ``float`` (the default for floats).
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture.

    Args:
        name: unique on its page section, a file name without its suffix.
        caption: what to see, in plain text.
        data: the Plotly traces.
        layout: the Plotly layout, less what the theme adds.
        table: the numbers that are drawn.
    """

    name: str
    title: str
    caption: str
    data: Sequence[Spec]
    layout: Spec
    table: Table


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table that stands for itself, with its caption."""

    name: str
    title: str
    caption: str
    table: Table


@dataclass(frozen=True, slots=True)
class Card:
    """One number of the headline: what it is, the number, and lines about it.

    Args:
        band: what it may be at other prices.
        interval: what it may be for other inputs.
    """

    label: str
    value: str
    detail: str
    band: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: a run, a sweep, or a comparison.

    Args:
        facts: what ran, as (word, value) pairs.
        notes: what is missing or was left out, and why.
        record: the provenance as JSON text, or empty.
    """

    name: str
    title: str
    sentence: str
    facts: Sequence[tuple[str, str]] = ()
    cards: Sequence[Card] = ()
    parts: Sequence[Figure | Sheet] = ()
    notes: Sequence[str] = ()
    record: str = ""


def cell(value: Any) -> Any:
    """A value of a data frame or an array as one of a page: Python's own type, and nothing where it is NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value


def label(text: str, longest: int = _LONGEST_LABEL) -> str:
    """`text` as a label that Plotly shows as it is: no markup, no line breaks, its end kept if it is too long."""
    plain = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text)
    plain = plain if len(plain) <= longest else f"…{plain[1 - longest :]}"
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def rows_axis(names: Sequence[str]) -> Spec:
    """A vertical axis with one labelled position per name, the first on top; equal names stay apart."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": [label(name) for name in names],
        "range": [len(names) - 0.4, -0.6],
        "showgrid": False,
        "zeroline": False,
        "ticklabelstandoff": 4,
        "automargin": True,
    }


Ends: TypeAlias = tuple[Sequence[float], Sequence[float]]
"""The low and the high end of each of some numbers."""


def whiskers(values: Sequence[float], ends: Ends) -> Spec:
    """From the low to the high end of each value, as Plotly's error bars."""
    low, high = ends
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(end - value, 0) for value, end in zip(values, high, strict=True)],
        "arrayminus": [max(value - end, 0) for value, end in zip(values, low, strict=True)],
        "color": "--muted",
        "thickness": 1,
        "width": 3,
    }


def bars(
    names: Sequence[str], values: Sequence[float | None], name: str, color: str, hover: str = "%{x:,.4~g}"
) -> Spec:
    """Horizontal bars over a `rows_axis`."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": list(values),
        "y": list(range(len(names))),
        "customdata": [label(each, 80) for each in names],
        "marker": {"color": color},
        "hovertemplate": f"%{{customdata}}<br>{name}: {hover}<extra></extra>",
    }


def legend_above() -> Spec:
    """A legend over the plot, which costs no width."""
    return {"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
