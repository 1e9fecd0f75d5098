"""Open a data set by path or by name, whatever its layout.

A path is a directory or a tar. The names `cifar10`, `cifar100` and `fashion-mnist` look for the original downloads in
the working directory, its `data/`, and `$CEESIM_DATA`; `digits` needs no file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ceesim.errors import DataError
from ceesim.frontend.data.cache import cached
from ceesim.frontend.data.cifar import read_cifar
from ceesim.frontend.data.digits import read_digits
from ceesim.frontend.data.files import read_files
from ceesim.frontend.data.folder import read_class_folders
from ceesim.frontend.data.idx import read_idx
from ceesim.frontend.data.images import ImageData

_LAYOUTS: Final = (read_cifar, read_idx, read_class_folders)
_CIFAR_PAGE: Final = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True, slots=True)
class _Known:
    """A data set that people download: what results call it, the files or folders it comes as, where it is from."""

    title: str
    files: tuple[str, ...]
    page: str


_KNOWN: Final = {
    "cifar10": _Known(
        "CIFAR-10",
        ("cifar-10-batches-py", "cifar-10-python.tar.gz", "cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
        _CIFAR_PAGE,
    ),
    "cifar100": _Known(
        "CIFAR-100",
        ("cifar-100-python", "cifar-100-python.tar.gz", "cifar-100-binary", "cifar-100-binary.tar.gz"),
        _CIFAR_PAGE,
    ),
    "fashion-mnist": _Known(
        "Fashion-MNIST", ("fashion-mnist", "FashionMNIST"), "https://github.com/zalandoresearch/fashion-mnist"
    ),
}


def load_images(source: str, *, name: str | None = None) -> ImageData:
    """The data set at a path, or of a known name.

    Args:
        name: what results call it; by default the known name, or the name of the file.

    Raises:
        DataError: if nothing is found (the error says where it looked and how to get it) or it cannot be read.
    """
    if source == "digits":
        data = read_digits()
    else:
        path, title = _locate(source)
        data = cached(path, title, _read)
    return replace(data, name=name) if name else data


def _locate(source: str) -> tuple[Path, str]:
    path = Path(source).expanduser()
    if path.exists():
        return path, path.resolve().name.split(".")[0]
    known = _KNOWN.get(source.lower())
    places = [Path(), Path("data")] + ([Path(os.environ["CEESIM_DATA"])] if os.environ.get("CEESIM_DATA") else [])
    looked = [place / file for place in places for file in (known.files if known else (source,))]
    for candidate in looked:
        if candidate.exists():
            return candidate, known.title if known else candidate.name.split(".")[0]
    wanted = known.files[1] if known and len(known.files) > 2 else None
    raise DataError(
        f"data set {source} not found",
        where="--data",
        expected=f"one of {', '.join(str(candidate.absolute()) for candidate in looked)}",
        fix=(
            f"get {wanted or known.title} from {known.page} and put it in one of these places (or set CEESIM_DATA)"
            if known
            else f"give the path of a directory or tar, or one of the names {', '.join((*_KNOWN, 'digits'))}"
        ),
    )


def _read(path: Path, name: str) -> ImageData:
    files = read_files(path)
    for layout in _LAYOUTS:
        data = layout(files, name)
        if data is not None:
            return data
    raise DataError(
        "no known data layout",
        where=str(path),
        got=f"{len(files)} files such as {next(iter(files), 'none')}",
        expected="train/<class>/*.jpg and test/<class>/*.jpg, CIFAR's python or binary files, or MNIST's IDX files",
    )
