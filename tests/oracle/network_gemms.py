"""The distinct matrix products of VGGsmall (10 classes) and ResNet50 (100 classes), for SCALE-Sim and `ceesim gemm`.

``python tests/oracle/network_gemms.py > TABLE.csv`` (needs torch). Each product stands once per dataflow, with the
names of all layers that are that product.
"""

import csv
import sys

import torch
from torch import nn

from ceesim.frontend.models.resnet50 import ResNet50
from ceesim.frontend.models.vggsmall import VGGSmall
from ceesim.workload import ops

ROWS = COLS = 32


def products(backbone: nn.Module) -> dict[ops.Gemm, list[str]]:
    """Layers by the product they are, in the order in which they run on one 3×32×32 image."""
    layers: dict[ops.Gemm, list[str]] = {}

    def record(name: str, layer: nn.Module, images: torch.Tensor) -> None:
        shape = tuple(images.shape[1:])
        if isinstance(layer, nn.Conv2d):
            assert isinstance(layer.padding, tuple)
            op = ops.conv(
                name,
                "x",
                shape,
                layer.out_channels,
                layer.kernel_size,
                layer.stride,
                layer.padding,
                groups=layer.groups,
            )
        else:
            assert isinstance(layer, nn.Linear)
            op = ops.linear(name, "x", (1, *shape), layer.out_features)
        assert op.gemm
        layers.setdefault(op.gemm, []).append(name)

    for name, layer in backbone.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, images, _out, name=name: record(name, layer, images[0]))
    with torch.no_grad():
        backbone.eval()(torch.zeros(1, 3, 32, 32))
    return layers


if __name__ == "__main__":
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["network", "layers", "profile", "dataflow", "rows", "cols", "m", "k", "n"])
    for network, backbone in (("vggsmall", VGGSmall(10)), ("resnet50", ResNet50(100))):
        for gemm, names in products(backbone).items():
            for dataflow in ("os", "ws", "is"):
                writer.writerow([network, " ".join(names), "scalesim", dataflow, ROWS, COLS, gemm.m, gemm.k, gemm.n])
