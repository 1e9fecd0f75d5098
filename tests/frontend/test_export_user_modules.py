"""Modules as users write them, none of them shipped: exported without help, with the MACs that PyTorch counts.

Together they hold most of what image networks are made of: branches, joins, squeeze and excitation, attention in four
spellings, norms that fold and norms that do not, 1-d convolutions, grouped and dilated ones, writes in place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ceesim.frontend.export import export
from ceesim.frontend.measure.audit import audit
from ceesim.workload.network import Workload
from ceesim.workload.ops import OpKind


class SqueezeExcite(nn.Module):
    """Hard activations, and a product that broadcasts one number per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(inplace=True))
        self.reduce, self.expand = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.early, self.last = nn.Linear(16, 10), nn.Linear(16, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(images)
        early = self.early(F.adaptive_avg_pool2d(x, 1).flatten(1))
        scale = F.hardsigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))
        return early, self.last((x * scale).amax(dim=(2, 3)))


class Dense(nn.Module):
    """Pre-activation norms, which fold into nothing, and maps that grow by joining."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 + 4 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1, bias=False) for i in range(3))
        self.classifier = nn.Linear(20, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x), inplace=True))], 1)
        return self.classifier(F.avg_pool2d(x, x.shape[-1]).squeeze())


class Inception(nn.Module):
    """Parallel branches of several kernels, one of them a pool, all convolutions 'same'."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding="same")
        self.wide = nn.Conv2d(3, 4, (1, 7), padding=(0, 3))
        self.dilated = nn.Conv2d(3, 4, 3, dilation=2, padding="same")
        self.classifier = nn.Linear(19 * 4, 10)

    def forward(self, images: Tensor) -> Tensor:
        pooled = F.max_pool2d(images, 3, stride=1, padding=1)
        x = torch.cat((self.one(images), self.three(images), self.wide(images), self.dilated(images), pooled), dim=-3)
        return self.classifier(F.adaptive_max_pool2d(x, 2).view(x.size(0), -1))


class PaddedShortcut(nn.Module):
    """The parameter-free CIFAR shortcut: every second pixel, new channels of zeros, added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        out = self.bn2(self.conv2(x))
        out += F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        return self.fc(torch.relu_(out).mean([2, 3]))


class ClassToken(nn.Module):
    """PyTorch's own encoder layer behind a class token and position embeddings; the exit reads the token too."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, stride=4)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, 24)), nn.Parameter(torch.zeros(1, 17, 24))
        self.encoder = nn.TransformerEncoderLayer(24, 4, 48, batch_first=True, norm_first=True)
        self.attention = nn.MultiheadAttention(24, 2, batch_first=True)
        self.early, self.last = nn.Linear(24, 10), nn.Linear(24, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(tokens.shape[0], -1, -1), tokens], dim=1) + self.positions
        tokens = self.encoder(tokens)
        early = self.early(tokens[:, 0])
        mixed, _ = self.attention(tokens, tokens, tokens)
        return early, self.last((tokens + mixed)[:, 0])


class Audio(nn.Module):
    """Convolutions and pools along one axis, norms folded into them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(2, 8, 9, stride=2, padding=4, bias=False),
            nn.BatchNorm1d(8),
            nn.PReLU(8),
            nn.MaxPool1d(2),
            nn.Conv1d(8, 16, 3, groups=4),
            nn.LeakyReLU(0.1),
            nn.AvgPool1d(2),
            nn.AdaptiveAvgPool1d(3),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(48, 10),
        )

    def forward(self, samples: Tensor) -> Tensor:
        return self.layers(samples)


class Mixer(nn.Module):
    """Linear layers over tokens and over features by turns."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.norm = nn.LayerNorm(12)
        self.tokens = nn.Sequential(nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 16))
        self.head = nn.Linear(12, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).permute(0, 2, 1)
        x = x + self.tokens(self.norm(x).mT).mT
        return self.head(x.mean(1))


class Causal(nn.Module):
    """Fused attention under a mask, queries, keys and values from one projection."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(16, 48)
        self.head = nn.Linear(16, 5)
        self.register_buffer("mask", torch.zeros(9, 9))

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.project(tokens).chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed = F.scaled_dot_product_attention(mixed, key, value, attn_mask=self.mask)
        return self.head(mixed[:, -1])


class Shuffle(nn.Module):
    """Grouped convolutions, shuffled and split channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.grouped, self.depthwise = nn.Conv2d(16, 16, 1, groups=4), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.fc = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu6(self.grouped(self.stem(images)))
        batch, channels, height, width = x.shape
        x = x.reshape(batch, 4, channels // 4, height, width).transpose(1, 2).reshape(batch, channels, height, width)
        left, right = x.split(8, dim=1)
        stacked = torch.stack((left, self.depthwise(right)), dim=1).flatten(1, 2)
        return self.fc(torch.concat([stacked.mean((-1, -2)), stacked.mean((-1, -2))], dim=1))


class Branchy(nn.Module):
    """Exits with convolutions of their own, returned as a plain tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 8, 5), nn.Conv2d(8, 16, 5), nn.Conv2d(16, 16, 3)
        self.branch = nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(100, 10))
        self.second = nn.Linear(16, 10)
        self.last = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = torch.relu(self.conv1(images))
        first = self.branch(x)
        x = torch.relu(self.conv2(F.max_pool2d(x, 2)))
        second = self.second(x.amax((2, 3)))
        x = torch.tanh(self.conv3(x)).sigmoid()
        return first, second, self.last(x.mean((2, 3)))


class Handwritten(nn.Module):
    """Products with bare parameters, einsum attention, group norm, constants worked out in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.norm = nn.GroupNorm(2, 8)
        self.weight, self.bias = nn.Parameter(torch.zeros(8, 12)), nn.Parameter(torch.zeros(12))
        self.gain = nn.Parameter(torch.ones(12))
        self.head = nn.Linear(12, 7)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.stem(images)).flatten(2).transpose(1, 2)
        x = x @ self.weight + self.bias * torch.arange(12)
        scores = torch.einsum("bnd,bmd->bnm", x, x) * 12**-0.5
        x = torch.bmm(scores.softmax(dim=1), x) * self.gain - x / 2
        with torch.no_grad():
            x = 1 - x**2
        return torch.addmm(self.head.bias, x.mean(1), self.head.weight.T)


class ConvNext(nn.Module):
    """Layer norm over channels by permuting, an inverted bottleneck of linear layers, a learned scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.depthwise = nn.Conv2d(16, 16, 7, padding=3, groups=16)
        self.norm, self.wide, self.narrow = nn.LayerNorm(16), nn.Linear(16, 64), nn.Linear(64, 16)
        self.scale = nn.Parameter(torch.ones(16))
        self.fc = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = self.narrow(F.silu(self.wide(self.norm(y)))) * self.scale
        return self.fc((x + y.permute(0, 3, 1, 2)).mean([-2, -1]))


class Perceptron(nn.Module):
    """No images at all: 64 features, norms folded into linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 32, bias=False), nn.Linear(32, 10)
        self.norm = nn.BatchNorm1d(32)

    def forward(self, features: Tensor) -> Tensor:
        return self.second(self.norm(self.first(features)).clamp(min=0))


class Ported(nn.Module):
    """As other frameworks pad: zeros of their own, more of them behind than before, pools that hang over the edge."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pad, self.depthwise = nn.ConstantPad2d((1, 2, 1, 2), 0.0), nn.Conv2d(8, 8, 5, groups=8)
        self.fc = nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(self.stem(images))
        return self.fc(self.depthwise(self.pad(x)).mean((2, 3)))


class Normalising(nn.Module):
    """Vectors of length one, a response normalised over the map, a norm of tokens' features, sums and quotients."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.instance = nn.InstanceNorm2d(8, affine=True)
        self.tokens, self.norm = nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8)
        self.gamma, self.fc = nn.Parameter(torch.zeros(8, 1, 1)), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.instance(self.stem(images))
        length = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        x = F.elu(self.gamma * (x * (length / (length.mean(1, keepdim=True) + 1e-6))) + x)
        y = self.tokens(x.flatten(2).transpose(1, 2))
        y = F.normalize(self.norm(y.flatten(0, 1)).reshape_as(y), dim=-1)
        weights = torch.exp(y)
        return self.fc((y * weights / weights.sum(1, keepdim=True)).sum(1))


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "squeeze_excite": (SqueezeExcite, (3, 32, 32)),
    "dense": (Dense, (3, 16, 16)),
    "inception": (Inception, (3, 16, 16)),
    "padded_shortcut": (PaddedShortcut, (3, 16, 16)),
    "class_token": (ClassToken, (3, 16, 16)),
    "audio": (Audio, (2, 200)),
    "mixer": (Mixer, (3, 32, 32)),
    "causal": (Causal, (9, 16)),
    "shuffle": (Shuffle, (3, 32, 32)),
    "branchy": (Branchy, (1, 28, 28)),
    "handwritten": (Handwritten, (3, 16, 16)),
    "convnext": (ConvNext, (3, 16, 16)),
    "perceptron": (Perceptron, (64,)),
    "ported": (Ported, (3, 19, 19)),
    "normalising": (Normalising, (3, 16, 16)),
}


@cache
def exported(name: str) -> tuple[nn.Module, Workload]:
    build, input_shape = MODULES[name]
    module = build()
    return module, export(module, input_shape, name=name)


@pytest.mark.parametrize("name", MODULES)
def test_macs_are_those_that_torch_counts(name: str) -> None:
    """Op by op, and in total by FlopCounterMode."""
    found = audit(*exported(name))
    assert found.differences == ()
    assert found.total > 0


@pytest.mark.parametrize("name", MODULES)
def test_stored_values_are_the_parameters_and_buffers(name: str) -> None:
    """Less what a folded BatchNorm's scale adds, and what is worked out of parameters before any input comes."""
    module, workload = exported(name)
    stored = sum(op.num_weights + op.num_biases + op.num_constants for op in workload.ops)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    assert stored == parameters + STORED_BESIDES_PARAMETERS.get(name, 0)


STORED_BESIDES_PARAMETERS = {
    "squeeze_excite": -16,  # BatchNorm's scale
    "padded_shortcut": -24 + 2 * 4 * 8 * 8,  # two BatchNorms' scales; zeros beside the shortcut
    "causal": 9 * 9 * 2,  # the two masks
    "audio": -8,
    "perceptron": -32,
    "normalising": -8,
}


def test_a_tuple_of_logits_needs_no_wrapper() -> None:
    _, workload = exported("branchy")
    assert [exit_.tap for exit_ in workload.exits] == ["relu", "relu_1"]
    assert [workload.op(name).kind for name in workload.exits[0].head] == [
        OpKind.CONV,
        OpKind.ELEMENTWISE,
        OpKind.MAX_POOL,
        OpKind.RESHAPE,
        OpKind.LINEAR,
    ]


def test_a_channels_last_module_is_the_same_network() -> None:
    module = SqueezeExcite()
    expected = export(module, (3, 32, 32), name="m")
    assert export(module.to(memory_format=torch.channels_last), (3, 32, 32), name="m") == expected


def test_export_leaves_the_module_as_it_was() -> None:
    module = PaddedShortcut().train()
    module.bn1.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    export(module, (3, 16, 16), name="m")
    assert module.training
    assert not module.bn1.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_zeros_and_windows_over_the_edge_cost_no_copy() -> None:
    _, workload = exported("ported")
    assert {op.kind for op in workload.ops} == {
        OpKind.CONV,
        OpKind.ELEMENTWISE,
        OpKind.MAX_POOL,
        OpKind.ADAPTIVE_AVERAGE_POOL,
        OpKind.RESHAPE,
        OpKind.LINEAR,
    }
