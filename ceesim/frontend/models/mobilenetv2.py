"""A MobileNetV2-like network for 32×32 images: inverted residuals with depthwise convolutions, exits after four stages.

Sandler et al., CVPR 2018, Table 2, with the strides of the stem and of the first strided stage taken out so that
32×32 images keep a 4×4 map at the end.
"""

from __future__ import annotations

from torch import Tensor, nn

from ceesim.frontend.models.scaling import scaled
from ceesim.frontend.network import ExitNetwork

# expansion, channels, blocks, stride
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_TAPPED = (1, 2, 4, 5)


def _conv(in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """Expand 1×1, depthwise 3×3, project 1×1 without activation; a shortcut where shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential(
            *([_conv(in_channels, hidden, 1)] if expansion > 1 else []),
            _conv(hidden, hidden, 3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        return features + out if self.shortcut else out


class MobileNetV2(nn.Module):
    """The backbone: images [batch, 3, 32, 32] to logits [batch, num_classes]."""

    def __init__(self, num_classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        in_channels = scaled(32, width)
        self.stem = _conv(3, in_channels, 3)
        stages = []
        for expansion, full, num_blocks, stride in _STAGES:
            out_channels = scaled(full, width)
            blocks = []
            for block in range(num_blocks):
                blocks.append(
                    InvertedResidual(in_channels, out_channels, stride=stride if block == 0 else 1, expansion=expansion)
                )
                in_channels = out_channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        features = scaled(1280, width)
        self.last = _conv(in_channels, features, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.last(self.stages(self.stem(images)))
        logits: Tensor = self.classifier(self.avgpool(features).flatten(1))
        return logits


def mobilenetv2(num_classes: int, *, width: float = 1.0) -> ExitNetwork:
    """MobileNetV2 with exits after the stages of 24, 32, 96 and 160 channels."""
    taps = [f"stages.{stage}" for stage in _TAPPED]
    return ExitNetwork(MobileNetV2(num_classes, width=width), taps, num_classes)
