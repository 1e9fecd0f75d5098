"""CIFAR-10 and CIFAR-100 in their original layouts, python pickles and binary records.

The pickles are read by an unpickler that knows numpy arrays and nothing else, so a file from elsewhere cannot run
code. Layouts: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

import numpy as np

from ceesim.errors import DataError
from ceesim.frontend.data.files import Files, by_name
from ceesim.frontend.data.images import ImageData, ImagePart

_PIXELS: Final = 3 * 32 * 32
_TRAIN10: Final = tuple(f"data_batch_{number}" for number in range(1, 6))


def read_cifar(files: Files, name: str) -> ImageData | None:
    """The data set, or None where the files are not CIFAR's.

    Raises:
        DataError: if a file is missing, truncated, or holds something else than its layout says.
    """
    names = {path.name for path in files}
    if "data_batch_1" in names:
        return _python(files, name, _TRAIN10, ("test_batch",), "labels", "batches.meta", "label_names")
    if "data_batch_1.bin" in names:
        train10 = tuple(f"{file}.bin" for file in _TRAIN10)
        return _binary(files, name, train10, ("test_batch.bin",), 1, "batches.meta.txt", 10)
    if {"train", "test", "meta"} <= names:
        return _python(files, name, ("train",), ("test",), "fine_labels", "meta", "fine_label_names")
    if {"train.bin", "test.bin"} <= names:
        return _binary(files, name, ("train.bin",), ("test.bin",), 2, "fine_label_names.txt", 100)
    return None


def _python(
    files: Files, name: str, train: tuple[str, ...], test: tuple[str, ...], labels: str, meta: str, classes: str
) -> ImageData:
    def part(names: tuple[str, ...]) -> ImagePart:
        records = [_unpickled(files, name, file) for file in names]
        try:
            pixels = np.concatenate([np.asarray(record["data"], dtype=np.uint8) for record in records])
            numbers = np.concatenate([np.asarray(record[labels], dtype=np.int64) for record in records])
            return ImagePart(pixels.reshape(-1, 3, 32, 32), numbers)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"not a CIFAR batch: {error}", where=f"{name}: {', '.join(names)}") from None

    label_names = _unpickled(files, name, meta).get(classes, ())
    return ImageData(name, tuple(str(each) for each in label_names), part(train), part(test))


def _binary(
    files: Files,
    name: str,
    train: tuple[str, ...],
    test: tuple[str, ...],
    label_bytes: int,
    meta: str,
    num_classes: int,
) -> ImageData:
    def part(names: tuple[str, ...]) -> ImagePart:
        content = b"".join(_content(files, name, file) for file in names)
        if len(content) % (label_bytes + _PIXELS):
            raise DataError(
                "a binary batch is truncated",
                where=f"{name}: {', '.join(names)}",
                got=f"{len(content)} bytes",
                expected=f"a multiple of {label_bytes + _PIXELS}",
            )
        records = np.frombuffer(content, dtype=np.uint8).reshape(-1, label_bytes + _PIXELS)
        # CIFAR-100 has the coarse label first; the last label byte is the class
        numbers = records[:, label_bytes - 1].astype(np.int64)
        return ImagePart(np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, 3, 32, 32), numbers)

    listed = (by_name(files, meta) or b"").decode(errors="replace").split()
    classes = listed if len(listed) == num_classes else [str(number) for number in range(num_classes)]
    return ImageData(name, tuple(classes), part(train), part(test))


def _content(files: Files, name: str, file: str) -> bytes:
    content = by_name(files, file)
    if content is None:
        raise DataError(f"the file {file} is missing", where=name, fix="unpack the whole archive, or give the archive")
    return content


def _unpickled(files: Files, name: str, file: str) -> dict[str, Any]:
    try:
        record = _ArraysOnly(io.BytesIO(_content(files, name, file)), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise DataError(f"not a CIFAR pickle: {error}", where=f"{name}: {file}") from None
    if not isinstance(record, dict):
        raise DataError("not a CIFAR pickle", where=f"{name}: {file}", got=type(record).__name__, expected="a dict")
    return record


class _ArraysOnly(pickle.Unpickler):
    """Reads dicts, lists, strings and numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module == "_codecs" and name == "encode":
            import _codecs

            return _codecs.encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
