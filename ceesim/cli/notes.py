"""Warnings, for people: one line each on stderr, as they come."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ceesim.explore.space import Space


@contextmanager
def notes(*kinds: type[Warning]) -> Iterator[None]:
    """Say every warning of these kinds as a note, and whatever else is warned of once."""
    with warnings.catch_warnings():
        for kind in kinds:
            warnings.simplefilter("always", kind)
        warnings.showwarning = lambda message, *_: click.echo(f"note: {message}", err=True)
        yield


def note_supplies(space: Space) -> None:
    """Note that a design space sets supplies that may not sustain the clock."""
    from ceesim.explore.supplies import doubtful_supplies

    doubts = doubtful_supplies(space)
    if doubts:
        more = f" (and {len(doubts) - 1} more such pairs)" if len(doubts) > 1 else ""
        click.echo(f"note: {doubts[0]}{more}", err=True)
