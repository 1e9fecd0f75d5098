"""Decoded images kept between runs, outside any repository: decoding an archive once, not at every start.

A cache entry is an uncompressed npz named by what was decoded, so that changed data is decoded anew: the bytes of an
archive, the paths, sizes and times of change of a folder's files, and what results call the data set. It lies in
`$CEESIM_CACHE`, or `ceesim` under `$XDG_CACHE_HOME` or `~/.cache`.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from ceesim.files import replacing
from ceesim.frontend.data.images import ImageData, ImagePart

_VERSION: Final = "4"


def cache_dir() -> Path:
    """Where decoded data sets are kept."""
    chosen = os.environ.get("CEESIM_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ceesim"


def cached(path: Path, name: str, read: Callable[[Path, str], ImageData]) -> ImageData:
    """`read(path, name)`, or what it returned when the same files were decoded before."""
    entry = cache_dir() / f"images-{_fingerprint(path, name)}.npz"
    try:
        with entry.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            train, test = (ImagePart(stored[f"{part}_images"], stored[f"{part}_labels"]) for part in ("train", "test"))
            return ImageData(name, tuple(str(label) for label in stored["classes"]), train, test)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        pass  # absent or damaged: decode again
    data = read(path, name)
    with suppress(OSError):  # an unwritable cache costs time, never a result
        _write(entry, data)
    return data


def _fingerprint(path: Path, name: str) -> str:
    digest = hashlib.sha256(f"{_VERSION}\0{name}\0".encode())
    if path.is_file():
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]
    for entry in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        status = entry.stat()
        digest.update(f"{entry.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _write(entry: Path, data: ImageData) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    with replacing(entry) as file:
        np.savez(
            file,
            classes=np.array(data.classes),
            train_images=data.train.images,
            train_labels=data.train.labels,
            test_images=data.test.images,
            test_labels=data.test.labels,
        )
