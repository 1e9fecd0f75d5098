"""Logits and accuracies of a network over images, in float32: also on a GPU, whose convolutions would round to TF32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ceesim.frontend.data.images import ImagePart
from ceesim.frontend.data.preprocess import Preprocessing
from ceesim.frontend.modes import evaluating


@contextmanager
def exactly(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and float32 throughout: a GPU's TF32 would make logits depend on the batch they come in."""
    flags = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with torch.no_grad(), evaluating(network), flags:
        yield


def collect_logits(
    network: nn.Module,
    part: ImagePart,
    preprocessing: Preprocessing,
    *,
    batch: int = 250,
    device: torch.device | None = None,
    advance: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Logits [inputs, exits + 1, classes] in evaluation mode; the final classifier's come last.

    Args:
        advance: called with the number of inputs after each batch.
    """
    rows = []
    with exactly(network):
        for start in range(0, len(part), batch):
            images = torch.from_numpy(part.images[start : start + batch])
            inputs = preprocessing(images.to(device) if device else images)
            logits: tuple[Tensor, ...] = network(inputs)
            rows.append(torch.stack(logits, dim=1).float().cpu().numpy())
            if advance is not None:
                advance(len(images))
    return np.concatenate(rows)


def accuracies(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> tuple[float, ...]:
    """The share of inputs that each exit, and last the final classifier, gets right."""
    return tuple(float(value) for value in (logits.argmax(axis=2) == labels[:, None]).mean(axis=0))
