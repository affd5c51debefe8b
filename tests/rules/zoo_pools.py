"""Pooling: windows of all shapes, and reductions over whole axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rules.entry import Entry, Over, normal, rows_of

LINE, IMAGE, VOLUME = (2, 9), (2, 6, 6), (2, 4, 4, 4)

_1D: dict[str, Callable[[Tensor], Tensor]] = {
    "max_pool1d": lambda h: F.max_pool1d(h, 2),
    "max_pool1d overlapping": nn.MaxPool1d(3, stride=1),
    "max_pool1d padded, dilated": nn.MaxPool1d(3, stride=2, padding=1, dilation=2),
    "avg_pool1d": nn.AvgPool1d(3, stride=2, padding=1),
    "adaptive_max_pool1d": nn.AdaptiveMaxPool1d(4),
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d(4),
}
_2D: dict[str, Callable[[Tensor], Tensor]] = {
    "max_pool2d": nn.MaxPool2d(2),
    "torch.max_pool2d": lambda h: torch.max_pool2d(h, 2),
    "max_pool2d overlapping": lambda h: F.max_pool2d(h, 3, stride=1),
    "max_pool2d padded": nn.MaxPool2d(3, stride=2, padding=1),
    "max_pool2d dilated": nn.MaxPool2d(2, stride=1, dilation=2),
    "max_pool2d ceil_mode": nn.MaxPool2d(4, stride=4, ceil_mode=True),
    "max_pool2d with indices": lambda h: F.max_pool2d(h, 2, return_indices=True)[0],
    "max_pool2d of a ReLU in place": lambda h: F.max_pool2d(h.relu_(), 3, 1, 1),
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d((2, 3)),
    "adaptive_max_pool2d uneven": lambda h: F.adaptive_max_pool2d(h, 4),
    "global max pool": nn.AdaptiveMaxPool2d(1),
    "avg_pool2d": lambda h: F.avg_pool2d(h, 3, 2),
    "avg_pool2d without its padding": nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    "avg_pool2d divided otherwise": nn.AvgPool2d(2, divisor_override=3),
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d((2, 5)),
    "lp_pool2d": lambda h: F.lp_pool2d(h.exp(), 2.0, 3, 1),
    "lp_pool2d of 3": lambda h: nn.LPPool2d(3, 2)(h.exp()),
    "amax": lambda h: h.amax((2, 3)),
    "amax of one axis": lambda h: h.amax(-1, keepdim=True),
    "amin": lambda h: torch.amin(h, dim=(1, 3)),
    "max over an axis": lambda h: h.max(dim=2).values,
    "torch.max over an axis": lambda h: torch.max(h, 3)[0],
    "max, values and indices": lambda h: h.flatten(2).max(-1, keepdim=True)[0],
    "min over an axis": lambda h: h.min(dim=1).values,
    "mean over axes": lambda h: h.mean((2, 3)),
    "sum over axes": lambda h: h.sum(dim=(1, 2)),
    "torch.maximum": lambda h: torch.maximum(h[:, :1], h[:, 1:]),
    "torch.minimum": lambda h: torch.minimum(h, h.flip(1)),
    "torch.max of two": lambda h: torch.max(h, h.roll(1, 2)),
    "fmax": lambda h: torch.fmax(h, h.transpose(2, 3)),
    "max of a max": lambda h: h.amax(2).amax(2),
    "logsumexp": lambda h: h.logsumexp((2, 3)),
    "soft pooling": lambda h: (h * h.flatten(2).softmax(-1).view_as(h)).sum((2, 3)),
}
_3D: dict[str, Callable[[Tensor], Tensor]] = {
    "max_pool3d": nn.MaxPool3d(2),
    "max_pool3d overlapping": nn.MaxPool3d(3, stride=1, padding=1),
    "avg_pool3d": nn.AvgPool3d(2),
    "adaptive_max_pool3d": nn.AdaptiveMaxPool3d((1, 2, 3)),
    "adaptive_avg_pool3d": nn.AdaptiveAvgPool3d(3),
}
# Averages and sums alone: nothing is left for a rule to do.
_LINEAR = {
    *("avg_pool1d", "adaptive_avg_pool1d", "avg_pool2d", "avg_pool2d without its padding"),
    *("avg_pool2d divided otherwise", "adaptive_avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool3d", "mean over axes", "sum over axes"),
}
_SOFT = {"lp_pool2d", "lp_pool2d of 3", "logsumexp", "soft pooling"}


class Tail(nn.Module):
    """conv -> ReLU -> max-pool -> conv -> max-pool -> linear, the order of the old vision nets."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(4, 4, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.features(x))


def over(
    stem: Callable[[], nn.Module], act: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> Callable[[], nn.Module]:
    return lambda: Over(stem(), act, shape)


_TABLES = (
    (_1D, LINE, lambda: nn.Conv1d(2, 2, 3, padding=1)),
    (_2D, IMAGE, lambda: nn.Conv2d(2, 2, 3, padding=1)),
    (_3D, VOLUME, lambda: nn.Conv3d(2, 2, 3, padding=1)),
)
POOLS: list[Entry] = [
    *(
        entry
        for table, shape, stem in _TABLES
        for entry in rows_of(
            "pooling",
            {name: over(stem, act, shape) for name, act in table.items()},
            normal(shape),
            conserves=set(table) - _SOFT,
            linear=_LINEAR,
        )
    ),
    Entry("conv, relu, pool", Tail, normal(IMAGE), "a plain vision net", conserves=True),
]
