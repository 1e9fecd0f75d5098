"""Warnings, for people: one line each on stderr, as they come."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def notes(*kinds: type[Warning]) -> Iterator[None]:
    """Say every warning of these kinds as a note, and whatever else is warned of once."""
    with warnings.catch_warnings():
        for kind in kinds:
            warnings.simplefilter("always", kind)
        warnings.showwarning = lambda message, *_: click.echo(f"note: {message}", err=True)
        yield
