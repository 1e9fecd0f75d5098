"""Weights of a narrow network made into those of a wider one that computes the same, for training to go on from.

Source: T. Chen, I. Goodfellow, J. Shlens, *Net2Net: Accelerating learning via knowledge transfer*, ICLR 2016. Channels
are repeated and what reads them is divided among the copies, unevenly: where the copies are equal the uneven parts
cancel, so the outputs stay, but each copy gets another gradient and goes its own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from ceesim.errors import TrainingError
from ceesim.frontend.network import ExitNetwork

_TOLERANCE: Final = 1e-3


def widened(weights: Mapping[str, Tensor], narrow: ExitNetwork, wide: ExitNetwork, seed: int) -> dict[str, Tensor]:
    """`weights` of the narrow network as weights of the wide one.

    A weight that reads r copies is a share 1/r of the old one and a random part that sums to zero over the copies, as
    large as brings its variance to 1/r of the old: what fan-in scaling gives a wider layer.

    Args:
        weights: by name, all of `narrow`'s or only its backbone's; the rest of `narrow` is not read.
        narrow, wide: of one architecture; both are left as they are, but for their weights.
        seed: of the random parts.

    Raises:
        TrainingError: if a weight is missing or no number comes out; if a layer's size is not a multiple of the old
            one's, or the outputs differ, as they do where a channel's place means something (attention heads).
    """
    missing = [name for name in narrow.state_dict() if name.startswith("backbone.") and name not in weights]
    if missing:
        raise TrainingError(
            "the initial weights are damaged: some are missing", got=", ".join(missing[:3]), fix="train them again"
        )
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: weight.shape for name, weight in wide.state_dict().items()}
    wider = {name: _repeated(name, weight, shapes[name], generator) for name, weight in weights.items()}
    outputs = []
    for network, its in ((narrow, weights), (wide, wider)):
        network.load_state_dict(network.state_dict() | dict(its))
        images = torch.randn(4, *network.input_shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            logits = network.eval()(images)
        heads_too = len(its) == len(network.state_dict())
        outputs.append(torch.stack(logits if heads_too else logits[-1:]))
    before, after = outputs
    if not bool(torch.stack([before, after]).isfinite().all()):
        raise TrainingError(
            "the initial weights are of a training that diverged: its logits are not finite",
            fix="train them again, with a lower --learning-rate",
        )
    if not torch.allclose(before, after, rtol=_TOLERANCE, atol=_TOLERANCE * float(before.abs().max())):
        raise TrainingError(
            "the initial weights cannot be widened: the wider network computes something else",
            got=f"logits that differ by {float((before - after).abs().max()):.2g}",
            fix="give weights of a network of this width",
        )
    return wider


def _repeated(name: str, weight: Tensor, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """`weight` [out, in, ...] or [out], its axes repeated to `shape`."""
    if weight.dim() != len(shape) or any(new % old for new, old in zip(shape, weight.shape, strict=True)):
        raise TrainingError(
            "the initial weights cannot be widened: a size is not a multiple of the old one",
            where=name.removeprefix("backbone."),
            got=list(shape),
            expected=f"multiples of {list(weight.shape)}",
            fix="choose a --width that is a multiple of theirs",
        )
    ratios = [new // old for new, old in zip(shape, weight.shape, strict=True)]
    copies = ratios[1] if len(ratios) > 1 else 1
    repeated = weight.repeat(ratios) if ratios else weight.clone()  # a count of batches has no axes
    if copies == 1:
        return repeated
    noise = torch.randn(shape, generator=generator).view(shape[0], copies, -1)
    noise -= noise.mean(dim=1, keepdim=True)
    size: float = (weight.square().mean() / copies).sqrt().item()
    return repeated / copies + noise.view(shape) * size
