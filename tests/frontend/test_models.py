"""The shipped networks are those of Table I, to the unit; taps and heads say what is wrong with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ceesim.errors import OptionError, WorkloadError
from ceesim.frontend.models import NETWORKS, build_network
from ceesim.frontend.network import ExitNetwork


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "num_classes", "macs", "backbone", "heads", "num_exits"),
    [
        ("alexnet", 10, 697_519_808, 44_428_106, 11_570, 5),
        ("vggsmall", 10, 616_966_144, 14_031_754, 17_980, 6),
        ("vggsmall", 100, 617_058_304, 14_124_004, 717_400, 6),
        ("resnet50", 100, 1_298_014_208, 23_705_252, 186_000, 4),
    ],
)
def test_table_1(name: str, num_classes: int, macs: int, backbone: int, heads: int, num_exits: int) -> None:
    network = build_network(name, num_classes).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.backbone(torch.zeros(1, *network.input_shape))
    assert counter.get_total_flops() == 2 * macs
    assert parameters(network.backbone) == backbone
    assert parameters(network.heads) == heads
    assert network.num_exits == num_exits


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_returns_one_row_of_logits_per_exit_and_exports_whole(name: str) -> None:
    network = build_network(name, 7, width=0.125).eval()
    images = torch.randn(2, *network.input_shape)
    logits = network(images)
    assert [tuple(each.shape) for each in logits] == [(2, 7)] * (network.num_exits + 1)
    exported = torch.export.export(network, (images,)).module()(images)
    for ours, theirs in zip(logits, exported, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not any(module._forward_hooks for module in network.modules())


def test_alexnet_takes_torchvision_parameter_names() -> None:
    backbone = build_network("alexnet", 10, width=0.125).backbone
    convolutions = [f"features.{index}.{kind}" for index in (0, 3, 6, 8, 10) for kind in ("weight", "bias")]
    assert set(convolutions) | {"classifier.1.weight", "classifier.4.weight"} <= set(backbone.state_dict())


def test_vgg_taps_before_or_after_the_pool() -> None:
    before, after = (build_network("vggsmall", 10, width=0.125, tap=tap) for tap in ("before_pool", "after_pool"))
    assert before.taps[:2] == ("features.relu1", "features.relu2")
    assert after.taps[:2] == ("features.relu1", "features.pool2")
    assert parameters(before) == parameters(after)


def test_width_scales_channels_to_multiples_of_8() -> None:
    network = build_network("vggsmall", 10, width=0.3)
    channels = [module.out_channels for module in network.backbone.modules() if isinstance(module, nn.Conv2d)]
    assert channels == [40, 40, 80, 80, 152, 152]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("lenet", 10), {}, "unknown network (got lenet; expected one of alexnet, vggsmall"),
        (("vggsmall", 1), {}, "too few classes (got 1; expected at least 2)"),
        (("vggsmall", 10), {"width": 0}, "width out of range (got 0"),
        (("vggsmall", 10), {"tap": "inside"}, "unknown tap position (got inside; expected before_pool or after_pool)"),
        (("alexnet", 10), {"tap": "after_pool"}, "alexnet has no such option (got tap; expected none)"),
    ],
)
def test_what_cannot_be_built(arguments: tuple[str, int], options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError) as error:
        build_network(*arguments, **options)
    assert words in str(error.value)


class Toy(nn.Module):
    """A user's module: a convolution whose in-place activation spoils the tapped tensor, and a shared block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.relu(self.conv(images))
        features = self.twice(self.twice(features))
        logits: torch.Tensor = self.fc(features.mean(dim=(2, 3)))
        return logits


def test_a_tap_is_read_before_a_later_in_place_op() -> None:
    network = ExitNetwork(Toy(), ["conv"], 5, input_shape=(3, 8, 8)).eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        first, _ = network(images)
        expected = network.heads[0](network.backbone.conv(images))
    torch.testing.assert_close(first, expected)


def test_training_mode_survives_construction() -> None:
    backbone = Toy()
    backbone.relu.eval()
    ExitNetwork(backbone, ["conv"], 5, input_shape=(3, 8, 8))
    assert backbone.training
    assert not backbone.relu.training


@pytest.mark.parametrize(
    ("taps", "num_classes", "words"),
    [
        (["convolution"], 5, "no such submodule to tap (got convolution; expected names among conv, relu, twice, fc)"),
        (["conv", "conv"], 5, "a submodule is tapped twice"),
        (["relu", "conv"], 5, "exactly once, in the listed order (got taps relu, conv that ran as conv, relu"),
        (["twice"], 5, "that ran as twice, twice"),
        (["conv"], 4, "the backbone's output is not one row of logits (got (1, 5); expected (batch, 4))"),
    ],
)
def test_taps_that_cannot_be_read(taps: list[str], num_classes: int, words: str) -> None:
    with pytest.raises(WorkloadError) as error:
        ExitNetwork(Toy(), taps, num_classes, input_shape=(3, 8, 8))
    assert words in str(error.value)
