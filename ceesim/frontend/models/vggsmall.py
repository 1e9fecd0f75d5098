"""VGGsmall on 32×32 images: 128-128-P-256-256-P-512-512-P, three FC layers, an exit at each conv's ReLU.

Source: arXiv 2309.13443, Table I, and its authors' published configuration. 616,966,144 MACs and 14,031,754
parameters at width 1 and 10 classes; heads 17,980.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from torch import Tensor, nn

from ceesim.errors import OptionError
from ceesim.frontend.models.scaling import scaled
from ceesim.frontend.network import ExitNetwork

_CHANNELS: Final = (128, 128, 256, 256, 512, 512)
_HIDDEN: Final = 1024


class VGGSmall(nn.Module):
    """The backbone: images [batch, 3, 32, 32] to logits [batch, num_classes]."""

    def __init__(self, num_classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        in_channels = 3
        for number, full in enumerate(_CHANNELS, start=1):
            out_channels = scaled(full, width)
            layers[f"conv{number}"] = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
            layers[f"bn{number}"] = nn.BatchNorm2d(out_channels)
            layers[f"relu{number}"] = nn.ReLU()
            if number % 2 == 0:
                layers[f"pool{number}"] = nn.MaxPool2d(2)
            in_channels = out_channels
        self.features = nn.Sequential(layers)
        hidden = scaled(_HIDDEN, width)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_channels * 4 * 4, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images))
        return logits


def vggsmall(num_classes: int, *, width: float = 1.0, tap: str = "before_pool") -> ExitNetwork:
    """VGGsmall with 6 exits; heads read 1×1 averages, 2×2 from 100 classes on (Table I).

    Args:
        tap: "before_pool" taps each ReLU; "after_pool" taps the pool where one follows.
    """
    if tap not in ("before_pool", "after_pool"):
        raise OptionError("unknown tap position", got=tap, expected="before_pool or after_pool")
    pooled = tap == "after_pool"
    taps = [
        f"features.{'pool' if pooled and number % 2 == 0 else 'relu'}{number}"
        for number in range(1, len(_CHANNELS) + 1)
    ]
    return ExitNetwork(VGGSmall(num_classes, width=width), taps, num_classes, pool=2 if num_classes >= 100 else 1)
