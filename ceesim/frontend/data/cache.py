"""Decoded images kept between runs, outside any repository: decoding an archive once, not at every start.

A cache entry is an uncompressed npz named by what was decoded (path, size and time of change), so that changed data
is decoded anew. It lies in `$CEESIM_CACHE`, or `ceesim` under `$XDG_CACHE_HOME` or `~/.cache`.
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

_VERSION: Final = "3"


def cache_dir() -> Path:
    """Where decoded data sets are kept."""
    chosen = os.environ.get("CEESIM_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ceesim"


def cached(path: Path, name: str, read: Callable[[Path, str], ImageData]) -> ImageData:
    """`read(path, name)`, or what it returned when the same files were decoded before."""
    entry = cache_dir() / f"images-{_fingerprint(path)}.npz"
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


def _fingerprint(path: Path) -> str:
    digest = hashlib.sha256(_VERSION.encode())
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        status = file.stat()
        digest.update(f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
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
