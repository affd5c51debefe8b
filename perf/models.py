"""Seeded models and data for the benchmark."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def cnn(width: int = 16) -> nn.Sequential:
    """Four convolutions on 3 x 64 x 64 pictures."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, width), (width, width), (width, 2 * width), (2 * width, 4 * width)):
        conv = nn.Conv2d(before, after, 3, padding=1, stride=1 if after == width else 2)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10))


def mlp(inputs: int = 32, hidden: int = 128) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 2),
    )


class Pooled(nn.Module):
    """The mean over tokens."""

    def forward(self, states: Tensor) -> Tensor:
        return states.mean(1)


def text(width: int = 64) -> nn.Sequential:
    """Two transformer layers over an embedding."""
    torch.manual_seed(2)
    block = nn.TransformerEncoderLayer(width, 2, 4 * width, batch_first=True, dropout=0.0)
    encoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Embedding(1000, width), encoder, Pooled(), nn.Linear(width, 3)).eval()


def encoder(width: int = 512, layers: int = 6) -> nn.Sequential:
    """Transformer layers over states that are given."""
    torch.manual_seed(7)
    block = nn.TransformerEncoderLayer(
        width, 8, 4 * width, batch_first=True, dropout=0.0, activation="gelu"
    )
    stack = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
    return nn.Sequential(stack, Pooled(), nn.Linear(width, 3)).eval()


def states(count: int, length: int = 64, width: int = 512, seed: int = 8) -> Tensor:
    return torch.randn(count, length, width, generator=torch.Generator().manual_seed(seed))


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def rows(count: int, features: int = 32) -> Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(4))


def labels(count: int) -> Tensor:
    return torch.randint(10, (count,), generator=torch.Generator().manual_seed(5))


def token_ids(count: int, length: int) -> Tensor:
    return torch.randint(1, 1000, (count, length), generator=torch.Generator().manual_seed(6))
