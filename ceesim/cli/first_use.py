"""Say why the first command takes long, before it does: a silent minute looks like a program that hangs."""

from __future__ import annotations

import click


def tell_of_first_use() -> None:
    """Say on stderr that kernels are about to be compiled, unless those of this version are there already."""
    from ceesim.program.jit import cache_directory

    if not any(cache_directory().rglob("*.nbi")):  # numba makes the directories as soon as a kernel is imported
        click.echo(
            "note: first use of this version: its kernels are compiled for this machine (once; half a minute or so)",
            err=True,
        )
