"""Class-folder layout: `train/<class>/*.jpg` and `test/<class>/*.jpg`; labels in order of class name.

A `val/` stands for the test part where there is none. Beside one it joins the training images, out of which the seeded
validation is held: it is never tested on.
"""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import Final

import numpy as np

from ceesim.errors import DataError, MissingExtraError
from ceesim.frontend.data.files import Files
from ceesim.frontend.data.images import ImageData, ImagePart, Images

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"})
_PARTS: Final = ("train", "val", "test")


def read_class_folders(files: Files, name: str) -> ImageData | None:
    """The data set, or None where no image lies in a class folder of a part.

    Raises:
        DataError: if an image cannot be decoded, images differ in size, or the parts differ in their classes.
        MissingExtraError: if Pillow is not installed.
    """
    found = sorted(path for path in files if _is_image(path))  # a hold-out is by place: not by an archive's order
    if not found:
        return None
    held_out = "train" if any(path.parts[-3] == "test" for path in found) else "test"
    part_of = {"train": "train", "val": held_out, "test": "test"}
    classes = sorted({path.parts[-2] for path in found if part_of[path.parts[-3]] == "train"})
    strangers = sorted({path.parts[-2] for path in found} - set(classes))
    if strangers or {part_of[path.parts[-3]] for path in found} != {"train", "test"}:
        raise DataError(
            "training and test part do not fit together",
            where=name,
            got=f"classes {', '.join(strangers[:5])} without a training image" if strangers else "one part alone",
            expected="train/<class>/*.jpg and test/<class>/*.jpg with the same classes",
        )
    label = {class_name: number for number, class_name in enumerate(classes)}
    images: dict[str, list[Images]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for path in found:
        pixels = _decode(files[path], f"{name}: {path}")
        part = part_of[path.parts[-3]]
        first = images["train"] or images["test"] or [pixels]
        if pixels.shape != first[0].shape:
            raise DataError(
                "images differ in size",
                where=f"{name}: {path}",
                got=f"{pixels.shape[1]}×{pixels.shape[2]}",
                expected=f"{first[0].shape[1]}×{first[0].shape[2]}",
                fix="resize them to one size first",
            )
        images[part].append(pixels)
        labels[part].append(label[path.parts[-2]])
    train, test = (ImagePart(np.stack(images[part]), np.array(labels[part], dtype=np.int64)) for part in images)
    return ImageData(name, tuple(classes), train, test)


def _is_image(path: PurePosixPath) -> bool:
    if path.name.startswith("."):  # macOS puts one beside each file of an archive
        return False
    return len(path.parts) >= 3 and path.parts[-3] in _PARTS and path.suffix.lower() in _SUFFIXES


def _decode(content: bytes, where: str) -> Images:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError.of("pillow", "torch", "reading images") from None
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would cut them off at 255
                raise DataError(
                    "an image of more than 8 bits per channel",
                    where=where,
                    got=f"Pillow's mode {image.mode}",
                    fix="convert the images to 8 bits first",
                )
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"an image cannot be decoded: {error}", where=where) from None
