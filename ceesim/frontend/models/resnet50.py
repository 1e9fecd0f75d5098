"""ResNet50 for 32×32 images: a 3×3 stem without pool, bottlenecks 3-4-6-3, four exits.

The stride sits on the 3×3 convolution (ResNet v1.5) and every stage starts with a projection. Source: arXiv
2309.13443, Table I; He et al., CVPR 2016. 1,298,014,208 MACs and 23,705,252 parameters at width 1 and 100 classes;
heads 186,000. Parameter names follow torchvision.
"""

from __future__ import annotations

from torch import Tensor, nn

from ceesim.frontend.models.scaling import scaled
from ceesim.frontend.network import ExitNetwork

_EXPANSION = 4


class Bottleneck(nn.Module):
    """1×1, 3×3 (strided), 1×1 convolutions with BN, and a shortcut around them."""

    def __init__(self, in_channels: int, channels: int, *, stride: int, project: bool) -> None:
        super().__init__()
        out_channels = channels * _EXPANSION
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if project:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, features: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(features)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out)) + self.downsample(features)
        activated: Tensor = self.relu(out)
        return activated


class ResNet50(nn.Module):
    """The backbone: images [batch, 3, 32, 32] to logits [batch, num_classes]."""

    def __init__(self, num_classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        in_channels = scaled(64, width)
        self.conv1 = nn.Conv2d(3, in_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU()
        for stage, (full, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
            channels = scaled(full, width)
            blocks = [Bottleneck(in_channels, channels, stride=1 if stage == 1 else 2, project=True)]
            in_channels = channels * _EXPANSION
            blocks += [Bottleneck(in_channels, channels, stride=1, project=False) for _ in range(depth - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.relu(self.bn1(self.conv1(images)))
        for stage in range(1, 5):
            features = self.get_submodule(f"layer{stage}")(features)
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


def resnet50(num_classes: int, *, width: float = 1.0) -> ExitNetwork:
    """ResNet50 with exits after the stem, conv2_x, conv3_x and conv4_x."""
    return ExitNetwork(ResNet50(num_classes, width=width), ("relu", "layer1", "layer2", "layer3"), num_classes)
