"""A small vision transformer for 32×32 images: 4×4 patches, six pre-norm blocks, an exit after every second one.

Attention is written as plain matrix products, so that every MAC of it is an op of the exported graph. After
Dosovitskiy et al., ICLR 2021, with averaged tokens in place of a class token. 64 tokens of 192 features at width 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ceesim.frontend.models.scaling import scaled
from ceesim.frontend.network import ExitNetwork

_FEATURES, _HEADS, _DEPTH, _PATCH, _IMAGE = 192, 4, 6, 4, 32


class Attention(nn.Module):
    """Multi-head self-attention over tokens [batch, tokens, features]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, features)
        self.key = nn.Linear(features, features)
        self.value = nn.Linear(features, features)
        self.out = nn.Linear(features, features)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, num_tokens, features = tokens.shape

        def split(projected: Tensor) -> Tensor:
            return projected.reshape(batch, num_tokens, _HEADS, features // _HEADS).transpose(1, 2)

        query, key, value = split(self.query(tokens)), split(self.key(tokens)), split(self.value(tokens))
        scores = torch.matmul(query, key.transpose(2, 3)) / math.sqrt(features // _HEADS)
        mixed = torch.matmul(scores.softmax(dim=-1), value)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, num_tokens, features))
        return out


class Block(nn.Module):
    """Pre-norm attention and a two-layer perceptron of twice the width, each with a shortcut."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(features)
        self.attention = Attention(features)
        self.norm2 = nn.LayerNorm(features)
        self.mlp = nn.Sequential(nn.Linear(features, 2 * features), nn.GELU(), nn.Linear(2 * features, features))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class ViT(nn.Module):
    """The backbone: images [batch, 3, 32, 32] to logits [batch, num_classes]."""

    def __init__(self, num_classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        features = scaled(_FEATURES, width)
        self.patches = nn.Conv2d(3, features, _PATCH, stride=_PATCH)
        self.positions = nn.Parameter(torch.empty(1, (_IMAGE // _PATCH) ** 2, features))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.blocks = nn.Sequential(*(Block(features) for _ in range(_DEPTH)))
        self.norm = nn.LayerNorm(features)
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.norm(self.blocks(tokens)).mean(dim=1))
        return logits


def vit(num_classes: int, *, width: float = 1.0) -> ExitNetwork:
    """The ViT with exits after blocks 2 and 4 of 6."""
    return ExitNetwork(ViT(num_classes, width=width), ("blocks.1", "blocks.3"), num_classes)
