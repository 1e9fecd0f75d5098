"""Open a data set by path, whatever its layout, and give it the name that results show."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ceesim.errors import DataError
from ceesim.frontend.data.cache import cached
from ceesim.frontend.data.folder import read_folder
from ceesim.frontend.data.images import ImageData

_CIFAR10: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load_images(source: str, *, name: str | None = None) -> ImageData:
    """The data set at the path `source`.

    Args:
        name: what results call it; by default the file's name, or "CIFAR-10 (JPEG copy)" where the classes are those.

    Raises:
        DataError: if there is nothing at `source`, or nothing that can be read.
    """
    path = Path(source)
    if not path.exists():
        raise DataError("no data set here", where=str(path.absolute()))
    data = cached(path, name or path.name.split(".")[0], read_folder)
    if name is None and data.classes == _CIFAR10:
        return ImageData("CIFAR-10 (JPEG copy)", data.classes, data.train, data.test)
    return data
