"""From uint8 images to the tensor a network reads: optional crop and flip, resize, normalise; written out in the trace.

Augmentation is drawn from the caller's generator on whole batches, so that an epoch is reproducible by its seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ceesim.errors import OptionError
from ceesim.frontend.data.images import Images

_CROP_PADDING = 4


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """(image / 255 − mean) / std per channel, after a bilinear resize to `image_size` where the size is another."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_size: int

    @classmethod
    def of(cls, images: Images, image_size: int) -> Preprocessing:
        """Mean and standard deviation of the training images, to four digits; a constant channel's is taken for 1."""
        counts = np.stack([np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(3)])
        levels = np.arange(256) / 255
        mean = counts @ levels / counts.sum(axis=1)
        std = np.sqrt(np.maximum(counts @ levels**2 / counts.sum(axis=1) - mean**2, 0))
        return cls(_rounded(mean), _rounded(np.where(std < 5e-5, 1, std)), image_size)

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [batch, 3, height, width] to float32 [batch, 3, image_size, image_size], channels last in memory."""
        floats = images.to(torch.float32).div_(255)
        if floats.shape[-1] != self.image_size or floats.shape[-2] != self.image_size:
            floats = functional.interpolate(floats, size=self.image_size, mode="bilinear", antialias=True)
        mean = torch.tensor(self.mean, device=floats.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=floats.device).view(3, 1, 1)
        return floats.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)

    @property
    def grey(self) -> tuple[int, int, int]:
        """The level of each channel, 0 to 255, that normalises to about 0."""
        red, green, blue = (round(255 * value) for value in self.mean)
        return red, green, blue


def _rounded(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 4) for value in values)
    return red, green, blue


def crop_and_flip(
    images: Tensor, generator: torch.Generator, *, border: str = "black", mirrored: Tensor | None = None
) -> Tensor:
    """Each image of uint8 [batch, 3, height, width] shifted by up to 4 pixels and mirrored or not.

    Args:
        border: what is shifted in, "black" or "reflect" (the image reflected in its outermost pixels).
        mirrored: which images are mirrored, bool [batch]; None draws it.
    """
    batch, _, height, width = images.shape
    shifts = torch.randint(0, 2 * _CROP_PADDING + 1, (2, batch), generator=generator).to(images.device)
    if mirrored is None:
        mirrored = torch.randint(0, 2, (batch,), generator=generator, dtype=torch.bool).to(images.device)
    rows = shifts[0][:, None] + torch.arange(-_CROP_PADDING, height - _CROP_PADDING, device=images.device)
    steps = torch.arange(width, device=images.device)
    columns = shifts[1][:, None] - _CROP_PADDING + torch.where(mirrored[:, None], steps.flip(0), steps)
    index = torch.arange(batch, device=images.device)[:, None, None]
    if border == "reflect":
        rows, columns = _reflected(rows, height), _reflected(columns, width)
    else:
        images = functional.pad(images, (_CROP_PADDING,) * 4)
        rows, columns = rows + _CROP_PADDING, columns + _CROP_PADDING
    # advanced indices around a slice put the channels last: [batch, height, width, channels]
    return images[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflected(positions: Tensor, size: int) -> Tensor:
    """Positions −size < p < 2·size − 1 reflected in the outermost of 0 … size − 1."""
    return size - 1 - (size - 1 - positions.abs()).abs()


def cutout(images: Tensor, side: int, colour: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """A square of side × side pixels, somewhere inside each of uint8 [batch, 3, height, width], painted over.

    Source: T. DeVries and G. Taylor, arXiv 1708.04552; there the square may also be cut off by the border.

    Raises:
        OptionError: if the square does not fit.
    """
    batch, _, height, width = images.shape
    if not 0 <= side < min(height, width):
        raise OptionError("cutout does not fit the images", got=side, expected=f"0 to {min(height, width) - 1} pixels")
    rows, columns = (
        _interval(torch.randint(0, size - side + 1, (batch,), generator=generator), side, size).to(images.device)
        for size in (height, width)
    )
    square = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(square, torch.tensor(colour, dtype=torch.uint8, device=images.device).view(3, 1, 1), images)


def _interval(first: Tensor, length: int, size: int) -> Tensor:
    """Which of positions 0 … size − 1 lie in `length` from each `first` [batch]: bool [batch, size]."""
    offset = torch.arange(size) - first[:, None]
    return (offset >= 0) & (offset < length)
