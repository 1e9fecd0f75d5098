"""Class-folder data sets, as a directory or a tar of one: `train/<class>/*.jpg` and `test/<class>/*.jpg`.

Sorted class names give the labels. A tar is read as a stream, in order (xz cannot seek). The validation part of
ImageNet-like sets may be called `val` instead of `test`.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from ceesim.errors import DataError
from ceesim.frontend.data.images import ImageData, ImagePart

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
_PARTS: Final = {"train": "train", "test": "test", "val": "test"}


def read_folder(path: Path, name: str) -> ImageData:
    """The data set in the directory or tar `path`.

    Raises:
        DataError: if a part or a class is missing, an image cannot be decoded, or the images differ in size.
    """
    from PIL import Image, UnidentifiedImageError

    images: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    names: dict[str, list[str]] = {"train": [], "test": []}
    size: tuple[int, int] | None = None
    for member, content in _files(path):
        parts = member.parts
        if len(parts) < 3 or parts[-3] not in _PARTS or member.suffix.lower() not in _SUFFIXES:
            continue
        try:
            with Image.open(io.BytesIO(content)) as image:
                pixels = np.asarray(image.convert("RGB"))
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise DataError(f"an image cannot be decoded: {error}", where=f"{path}: {member}") from None
        size = size or pixels.shape[:2]
        if pixels.shape[:2] != size:
            raise DataError(
                "images differ in size",
                where=f"{path}: {member}",
                got=f"{pixels.shape[0]}×{pixels.shape[1]}",
                expected=f"{size[0]}×{size[1]}",
                fix="resize them to one size first",
            )
        part = _PARTS[parts[-3]]
        images[part].append(pixels.transpose(2, 0, 1))
        names[part].append(parts[-2])
    classes = sorted(set(names["train"]))
    if not images["train"] or not images["test"] or set(names["test"]) - set(classes):
        raise DataError(
            "not a class-folder data set",
            where=str(path),
            got=f"{len(images['train'])} training and {len(images['test'])} test images in {len(classes)} classes",
            expected="train/<class>/*.jpg and test/<class>/*.jpg with the same classes",
        )
    label = {name_: number for number, name_ in enumerate(classes)}
    train, test = (
        ImagePart(np.stack(images[part]), np.array([label[name_] for name_ in names[part]], dtype=np.int64))
        for part in ("train", "test")
    )
    return ImageData(name, tuple(classes), train, test)


def _files(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield PurePosixPath(file.relative_to(path).as_posix()), file.read_bytes()
        return
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                handle = archive.extractfile(member) if member.isfile() else None
                if handle is not None:
                    yield PurePosixPath(member.name), handle.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"the archive cannot be read: {error}", where=str(path)) from None
