"""Files that appear whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ceesim.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends well, and is deleted when it does not.

    It has reached the disk before it takes the place, so a reader, or a start after a power cut, sees the old content
    or the new. A link stays one: the file it points to is replaced. A pipe or a device is written into.

    Raises:
        OSError: if it cannot be written.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink()


def check_folder(path: Path) -> None:
    """See that there is a folder to put the file `path` into, before the work that it is to hold.

    Raises:
        OutputError: if not.
    """
    if not path.name:  # a shell variable that is not set
        raise OutputError("not a file's name", where="--out", got=str(path), fix="name a file")
    if not path.absolute().parent.is_dir():
        raise OutputError("no such folder", where=str(path.parent), fix="make it first, or choose another --out")


def check_apart(out: Path, inputs: Iterable[Path]) -> None:
    """See that `out` is none of the files that a command reads.

    Raises:
        OutputError: if it is.
    """
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise OutputError("would be written over, and is read", where=str(out), fix="choose another --out")
