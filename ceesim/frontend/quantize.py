"""A network as int8 hardware computes it: integer operands with one scale per weight channel and per activation tensor.

BatchNorm is folded into the layer before it. Then the ifmap of every convolution and linear layer is rounded to int8
with a symmetric scale per tensor, set by the largest value seen in calibration, its weights to −127..127 with a scale
per output channel, its bias to the product of the two. Products are summed as integers held in float32, exact up to
2²⁴. Rounding is to nearest, ties to even. Everything between these layers stays float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ceesim.errors import WorkloadError
from ceesim.frontend.modes import evaluating
from ceesim.frontend.network import ExitNetwork

_LIMIT = 127


class _Observer(nn.Module):
    """A layer that remembers the largest absolute value of its ifmap."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.largest = 0.0

    def forward(self, inputs: Tensor) -> Tensor:
        self.largest = max(self.largest, float(inputs.abs().amax()))
        output: Tensor = self.layer(inputs)
        return output


class Int8Layer(nn.Module):
    """A convolution or linear layer on int8 operands.

    Args:
        layer: the float layer; left as it is.
        largest: the largest absolute value its ifmap takes; larger ones saturate.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, largest: float) -> None:
        super().__init__()
        axes = tuple(range(1, layer.weight.ndim))
        weight_scale = layer.weight.detach().abs().amax(dim=axes).clamp_min(1e-12) / _LIMIT
        self.scale = max(largest, 1e-12) / _LIMIT
        self.layer = copy.deepcopy(layer)
        self.register_buffer("rescale", (weight_scale * self.scale).view(-1, *(1,) * (layer.weight.ndim - 2)))
        with torch.no_grad():
            self.layer.weight.copy_((layer.weight / weight_scale.view(-1, *(1,) * len(axes))).round())
            if layer.bias is not None and self.layer.bias is not None:
                self.layer.bias.copy_((layer.bias / (weight_scale * self.scale)).round())

    def integers(self, inputs: Tensor) -> Tensor:
        """`inputs` as int8 values, held in floats."""
        return (inputs / self.scale).round().clamp_(-_LIMIT - 1, _LIMIT)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layer(self.integers(inputs)) * self.get_buffer("rescale")
        return output


@torch.no_grad()
def quantized(network: ExitNetwork, calibration: Iterable[Tensor]) -> ExitNetwork:
    """An int8 copy of `network`, with scales from batches of preprocessed images.

    Raises:
        WorkloadError: if a BatchNorm follows no convolution or linear layer, or there is nothing to calibrate on.
    """
    batches = list(calibration)
    if not batches:
        raise WorkloadError("nothing to calibrate int8 scales on", fix="give at least one batch of images")
    copied = copy.deepcopy(network).eval()
    with evaluating(network):
        before = network(batches[0])
    _fold_batch_norms(copied)
    _check_folded(before, copied(batches[0]))
    observers: dict[str, _Observer] = {}
    for name, layer in list(copied.named_modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            observers[name] = _Observer(layer)
            _replace(copied, name, observers[name])
    for images in batches:
        copied(images)
    for name, observer in observers.items():
        _replace(copied, name, Int8Layer(observer.layer, observer.largest))
    return copied


def _fold_batch_norms(network: nn.Module) -> None:
    """Fold each BatchNorm into the layer registered just before it in the same module."""
    for parent_name, parent in list(network.named_modules()):
        before: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                if before is None or not isinstance(before[1], nn.Conv2d | nn.Linear):
                    raise WorkloadError(
                        "a BatchNorm follows no convolution or linear layer",
                        where=f"{parent_name}.{name}".lstrip("."),
                        fix="register it right after its layer",
                    )
                parent.register_module(before[0], _fused(before[1], child))
                parent.register_module(name, nn.Identity())
            before = (name, child)


def _check_folded(before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
    """See that folding changed no more than rounding does: forward need not follow the order of registration."""
    for exact, folded in zip(before, after, strict=True):
        if float((exact - folded).abs().max()) > 1e-3 * max(1.0, float(exact.abs().max())):
            raise WorkloadError(
                "a BatchNorm does not run right behind the layer that is registered before it",
                got="other logits once it is folded into that layer",
                fix="register each BatchNorm right after its layer",
            )


def _fused(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    return fuse_conv_bn_eval(layer, norm) if isinstance(layer, nn.Conv2d) else fuse_linear_bn_eval(layer, norm)


def _replace(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    root.get_submodule(parent).register_module(child, module)
