"""AlexNet on 224×224 images, one tower, with five exits; the parameter names are torchvision's.

Convolutions 64-192-384-256-256 and FC 9216-4096-1024-M: the second FC is narrower than the original's 4096, so
ImageNet weights fit all layers but the last two. Source: arXiv 2309.13443, Table I. 697,519,808 MACs and 44,428,106
parameters at width 1 and 10 classes; heads 11,570.
"""

from __future__ import annotations

from torch import Tensor, nn

from ceesim.frontend.models.scaling import scaled
from ceesim.frontend.network import ExitNetwork

_TAPS = ("features.2", "features.5", "features.7", "features.9", "features.12")


class AlexNet(nn.Module):
    """The backbone: images [batch, 3, 224, 224] to logits [batch, num_classes]."""

    def __init__(self, num_classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = (scaled(channels, width) for channels in (64, 192, 384, 256, 256))
        self.features = nn.Sequential(
            nn.Conv2d(3, c1, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(c1, c2, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(c2, c3, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c3, c4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c4, c5, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        f1, f2 = scaled(4096, width), scaled(1024, width)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(c5 * 6 * 6, f1),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(f1, f2),
            nn.ReLU(),
            nn.Linear(f2, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return logits


def alexnet(num_classes: int, *, width: float = 1.0) -> ExitNetwork:
    """AlexNet with exits after pool1, pool2, relu3, relu4 and pool5."""
    return ExitNetwork(AlexNet(num_classes, width=width), _TAPS, num_classes, input_shape=(3, 224, 224))
