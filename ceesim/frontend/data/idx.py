"""MNIST's IDX layout (MNIST, Fashion-MNIST), plain or gzipped: 28×28 grey images, padded to 32×32 in three channels.

Layout: Y. LeCun's MNIST page; Fashion-MNIST: https://github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ceesim.errors import DataError
from ceesim.frontend.data.files import Files, by_name
from ceesim.frontend.data.images import ImageData, ImagePart

_FASHION: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_DIGITS: Final = tuple("0123456789")
_UNSIGNED_BYTE: Final = 8


def read_idx(files: Files, name: str) -> ImageData | None:
    """The data set, or None where there are no IDX files.

    Raises:
        DataError: if one of the four files is missing or damaged.
    """
    if _find(files, "train-images-idx3-ubyte") is None:
        return None
    train, test = (
        ImagePart(
            _square(_array(files, name, f"{part}-images-idx3-ubyte", 3)),
            _array(files, name, f"{part}-labels-idx1-ubyte", 1).astype(np.int64),
        )
        for part in ("train", "t10k")
    )
    return ImageData(name, _FASHION if "fashion" in name.lower() else _DIGITS, train, test)


def _find(files: Files, file: str) -> bytes | None:
    # unpacked copies are also seen with a dot in place of the dash before "idx"
    candidates = (file, file.replace("-idx", ".idx"))
    for candidate in candidates:
        for suffix in ("", ".gz"):
            content = by_name(files, candidate + suffix)
            if content is not None:
                return content
    return None


def _array(files: Files, name: str, file: str, ndim: int) -> npt.NDArray[np.uint8]:
    where = f"{name}: {file}"
    content = _find(files, file)
    if content is None:
        raise DataError("an IDX file is missing", where=where, fix="fetch all four files")
    try:
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        zero, kind, found = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{ndim}I", content, 4)
    except (struct.error, OSError, EOFError, zlib.error) as error:
        raise DataError(f"an IDX file is damaged: {error}", where=where) from None
    payload = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * ndim)
    if (zero, kind, found) != (0, _UNSIGNED_BYTE, ndim) or payload.size != int(np.prod(shape, dtype=object)):
        raise DataError(
            "an IDX file does not hold what its header says",
            where=where,
            got=f"type {kind}, {found} axes, {payload.size} bytes",
            expected=f"type {_UNSIGNED_BYTE}, {ndim} axes, shape {shape}",
        )
    return payload.reshape(shape)


def _square(grey: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    height, width = grey.shape[1:]
    above, left = (32 - height) // 2, (32 - width) // 2
    if above < 0 or left < 0:
        raise DataError("IDX images are larger than 32×32", got=f"{height}×{width}", expected="28×28")
    padded = np.pad(grey, ((0, 0), (above, 32 - height - above), (left, 32 - width - left)))
    return np.repeat(padded[:, None], 3, axis=1)
