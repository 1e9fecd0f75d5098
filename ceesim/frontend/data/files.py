"""The files of a data set, from a directory or a tar (gzip, bzip2 or xz) alike, as names and bytes.

A tar is read once, as a stream and in order: xz cannot seek. Everything is held in memory, as the decoded images
will be.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from ceesim.errors import DataError

Files: TypeAlias = Mapping[PurePosixPath, bytes]


def read_files(path: Path) -> Files:
    """Every regular file under the directory or in the tar `path`, in order of name or of the archive.

    Raises:
        DataError: if `path` is no directory and no readable tar.
    """
    if path.is_dir():
        names = sorted(file for file in path.rglob("*") if file.is_file())
        return {PurePosixPath(file.relative_to(path).as_posix()): file.read_bytes() for file in names}
    files: dict[PurePosixPath, bytes] = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    files[PurePosixPath(member.name)] = content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"the archive cannot be read: {error}", where=str(path), fix="fetch it again") from None
    return files


def by_name(files: Files, name: str) -> bytes | None:
    """The content of the file called `name`, in whatever folder it lies."""
    return next((content for path, content in files.items() if path.name == name), None)
