"""Normalisation, from modules and written out."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rules.entry import Entry, Over, normal, rows_of

IMAGE, TOKENS = (4, 3, 3), (3, 4)


class Rms(nn.Module):
    """As the language models write it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, h: Tensor) -> Tensor:
        return self.weight * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6))


class Written(nn.Module):
    """Layer norm from mean and variance; `spread` is how the latter is found."""

    def __init__(self, spread: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.bias = nn.Parameter(torch.zeros(4))
        self.spread = spread

    def forward(self, h: Tensor) -> Tensor:
        centred = h - h.mean(-1, keepdim=True)
        return self.weight * centred / self.spread(h) + self.bias


def var_mean(h: Tensor) -> Tensor:
    var, mean = torch.var_mean(h, dim=-1, keepdim=True, correction=0)
    return (h - mean) * (var + 1e-5).rsqrt()


def std_mean(h: Tensor) -> Tensor:
    std, mean = torch.std_mean(h, -1, keepdim=True)
    return (h - mean) / (std + 1e-5)


def _written(spread: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Written(spread)


_TOKENS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "LayerNorm": lambda: nn.LayerNorm(4),
    "LayerNorm without bias": lambda: nn.LayerNorm(4, bias=False),
    "LayerNorm plain": lambda: nn.LayerNorm(4, elementwise_affine=False),
    "LayerNorm of two axes": lambda: nn.LayerNorm((3, 4)),
    "F.layer_norm": lambda: lambda h: F.layer_norm(h, (4,)),
    "torch.layer_norm": lambda: lambda h: torch.layer_norm(h, (4,), eps=1e-3),
    "nn.RMSNorm": lambda: nn.RMSNorm(4),
    "nn.RMSNorm with eps": lambda: nn.RMSNorm(4, eps=1e-5, elementwise_affine=False),
    "F.rms_norm": lambda: lambda h: F.rms_norm(h, (4,)),
    "RMS norm written out": lambda: Rms(4),
    "layer norm by var": _written(
        lambda h: (h.var(-1, keepdim=True, unbiased=False) + 1e-5) ** 0.5
    ),
    "layer norm by std": _written(lambda h: h.std(-1, keepdim=True) + 1e-5),
    "layer norm by squares": _written(
        lambda h: ((h - h.mean(-1, keepdim=True)).pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    ),
    "var_mean": lambda: var_mean,
    "std_mean": lambda: std_mean,
    "F.normalize": lambda: lambda h: F.normalize(h, dim=-1),
    "F.normalize of p = 1": lambda: lambda h: F.normalize(h, p=1.0, dim=1),
    "over its norm": lambda: lambda h: h / h.norm(dim=-1, keepdim=True),
    "over its vector_norm": lambda: lambda h: h / torch.linalg.vector_norm(h, dim=-1, keepdim=True),
    "over its norm p = 3": lambda: lambda h: h / h.norm(p=3, dim=-1, keepdim=True),
    "over its linalg.norm": lambda: lambda h: h / torch.linalg.norm(h, dim=-1, keepdim=True),
    "over its mean abs": lambda: lambda h: h / h.abs().mean(-1, keepdim=True),
    "over its maximum": lambda: lambda h: h / (h.abs().amax(-1, keepdim=True) + 1e-3),
}
_IMAGES: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "BatchNorm2d": lambda: nn.BatchNorm2d(4),
    "BatchNorm2d plain": lambda: nn.BatchNorm2d(4, affine=False),
    "F.batch_norm": lambda: lambda h: F.batch_norm(h, h.new_zeros(4), h.new_full((4,), 2.0)),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "GroupNorm plain": lambda: nn.GroupNorm(4, 4, affine=False),
    "F.group_norm": lambda: lambda h: F.group_norm(h, 1),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(4),
    "InstanceNorm2d affine": lambda: nn.InstanceNorm2d(4, affine=True),
    "InstanceNorm2d that tracks": lambda: nn.InstanceNorm2d(4, track_running_stats=True),
    "channels-last LayerNorm": lambda: (
        lambda h: F.layer_norm(h.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2)
    ),
    "F.normalize of channels": lambda: F.normalize,
    "LocalResponseNorm": lambda: nn.LocalResponseNorm(2, alpha=0.5),
}
# In eval mode a scale and a shift; nothing is left for a rule of DeepLIFT to do.
_LINEAR = {"BatchNorm2d", "BatchNorm2d plain", "F.batch_norm", "InstanceNorm2d that tracks"}
# The normaliser is constant to LRP, where the rules can tell that it is one.
_CONSERVING = {
    *("LayerNorm", "LayerNorm without bias", "LayerNorm plain", "LayerNorm of two axes"),
    *("F.layer_norm", "torch.layer_norm", "nn.RMSNorm", "nn.RMSNorm with eps", "F.rms_norm"),
    *("RMS norm written out", "layer norm by var", "layer norm by std", "layer norm by squares"),
    *("var_mean", "std_mean", "F.normalize", "over its norm", "over its vector_norm"),
    *("BatchNorm2d", "BatchNorm2d plain", "F.batch_norm", "GroupNorm", "GroupNorm plain"),
    *("F.group_norm", "InstanceNorm2d", "InstanceNorm2d affine", "InstanceNorm2d that tracks"),
    *("channels-last LayerNorm", "F.normalize of channels"),
}


class Stack(nn.Module):
    """linear -> batch norm -> ReLU -> linear -> batch norm, (N, F)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3), nn.BatchNorm1d(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Batched(nn.Module):
    """conv -> batch norm -> ReLU in one or three dimensions."""

    def __init__(self, conv: type[nn.Module], norm: type[nn.Module], size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(2, 3, 2, bias=False), norm(3), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(size, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(x))


def over(
    stem: Callable[[], nn.Module],
    act: Callable[[], Callable[[Tensor], Tensor]],
    shape: tuple[int, ...],
) -> Callable[[], nn.Module]:
    return lambda: Over(stem(), act(), shape)


NORMS: list[Entry] = [
    *rows_of(
        "a norm of tokens",
        {name: over(lambda: nn.Linear(4, 4), act, TOKENS) for name, act in _TOKENS.items()},
        normal(TOKENS),
        conserves=_CONSERVING,
    ),
    *rows_of(
        "a norm of pictures",
        {name: over(lambda: nn.Conv2d(4, 4, 1), act, IMAGE) for name, act in _IMAGES.items()},
        normal(IMAGE),
        conserves=_CONSERVING,
        linear=_LINEAR,
    ),
    Entry("BatchNorm1d", Stack, normal((4,)), "batch norm of vectors", conserves=True),
    Entry(
        "BatchNorm1d of lines",
        lambda: Batched(nn.Conv1d, nn.BatchNorm1d, 12),
        normal((2, 5)),
        "conv without bias, then batch norm",
        conserves=True,
    ),
    Entry(
        "BatchNorm3d",
        lambda: Batched(nn.Conv3d, nn.BatchNorm3d, 24),
        normal((2, 3, 3, 3)),
        "conv without bias, then batch norm",
        conserves=True,
    ),
]
