"""scikit-learn's 1,797 handwritten digits as 32×32 images: a data set for tests, without a download."""

from __future__ import annotations

import numpy as np

from ceesim.errors import MissingExtraError
from ceesim.frontend.data.images import ImageData, ImagePart


def read_digits() -> ImageData:
    """The digits, each of 8×8 pixels enlarged four times; every fifth image is a test image.

    Raises:
        MissingExtraError: if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError.of("scikit-learn", "notebook", "the digits data set") from None
    bunch = load_digits()
    grey = (bunch.images * 255 / 16).astype(np.uint8)
    images = np.repeat(grey.repeat(4, axis=1).repeat(4, axis=2)[:, None], 3, axis=1)
    labels = bunch.target.astype(np.int64)
    is_test = np.arange(len(labels)) % 5 == 0
    return ImageData(
        "digits",
        tuple(str(number) for number in range(10)),
        ImagePart(images[~is_test], labels[~is_test]),
        ImagePart(images[is_test], labels[is_test]),
    )
