"""An image classification data set in memory, and the split of its training part into training and validation.

Validation is a seeded hold-out of the training set and is never augmented; the test part is never trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ceesim.errors import DataError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ImagePart:
    """Images uint8 [inputs, 3, height, width] and labels int64 [inputs]."""

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[1] != 3 or len(self.images) != len(self.labels):
            raise DataError(
                "images and labels do not fit together",
                got=f"images {self.images.shape}, labels {self.labels.shape}",
                expected="[inputs, 3, height, width] and [inputs]",
            )

    def __len__(self) -> int:
        return len(self.labels)

    def spread(self, at_most: int) -> ImagePart:
        """Up to `at_most` images, evenly spaced: files lie grouped by class, so the first ones are no sample."""
        count = min(at_most, len(self))
        return self.take(np.arange(count) * len(self) // count)

    def sha256(self) -> str:
        """Of the pixels and the labels: two decoders may differ by a grey level."""
        content = hashlib.sha256(np.ascontiguousarray(self.images).data)
        content.update(np.ascontiguousarray(self.labels, "<i8").data)
        return content.hexdigest()

    def brightness(self) -> npt.NDArray[np.float32]:
        """[inputs] mean grey level of each image; decoders agree on it within one."""
        return np.asarray(self.images.mean(axis=(1, 2, 3), dtype=np.float32), np.float32)

    def take(self, indices: npt.NDArray[np.int64]) -> ImagePart:
        """The images and labels at `indices`."""
        return ImagePart(self.images[indices], self.labels[indices])


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set: its name as results show it, the class names in label order, and the two parts it came in."""

    name: str
    classes: tuple[str, ...]
    train: ImagePart
    test: ImagePart

    def __post_init__(self) -> None:
        for part in (self.train, self.test):
            if not len(part) or part.labels.min() < 0 or part.labels.max() >= len(self.classes):
                raise DataError("labels out of range", where=self.name, expected=f"0 to {len(self.classes) - 1}")

    def split(self, num_val: int, seed: int) -> Mapping[str, ImagePart]:
        """The parts `train`, `val` and `test`; `val` is the start of a seeded permutation of the training set.

        Raises:
            DataError: if `num_val` does not leave a training image.
        """
        if not 0 < num_val < len(self.train):
            raise DataError(
                "validation hold-out does not fit the training set",
                where=self.name,
                got=num_val,
                expected=f"1 to {len(self.train) - 1}",
                fix=f"hold out fewer, e.g. --val {max(len(self.train) // 5, 1)}",
            )
        order = np.random.default_rng(seed).permutation(len(self.train))
        return {
            "train": self.train.take(np.sort(order[num_val:])),
            "val": self.train.take(np.sort(order[:num_val])),
            "test": self.test,
        }
