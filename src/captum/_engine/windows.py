"""Windows that slide over values: groups of entries that may overlap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from math import prod

import torch
from torch import Tensor

from captum._engine.nest import Tensors


@dataclass(frozen=True)
class Grid:
    """The windows over one value: per dimension, which entries each covers, (P, F)."""

    covers: Tensors

    @property
    def count(self) -> int:
        return prod(len(c) for c in self.covers)

    def masks(self, numbers: Tensor) -> Tensor:
        """The entries of windows, by their numbers: (K, *F)."""
        places = torch.unravel_index(numbers, [len(c) for c in self.covers])
        sides = [c[p.to(c.device)] for c, p in zip(self.covers, places, strict=True)]
        shaped = [
            side.view(-1, *(side.shape[1] if d == i else 1 for d in range(len(sides))))
            for i, side in enumerate(sides)
        ]
        return reduce(torch.logical_and, shaped)

    def mean(self, scores: Tensor) -> Tensor:
        """Scores per window, (*lead, P₁ ... P_d, N), averaged over those at each entry."""
        first = scores.ndim - 1 - len(self.covers)
        for d, cover in enumerate(self.covers):
            share = cover.to(scores.device, scores.dtype)
            share = share / share.sum(0)
            scores = torch.tensordot(scores.movedim(first + d, -1), share, 1).movedim(-1, first + d)
        return scores.movedim(-1, first)


@dataclass(frozen=True)
class Windows:
    """The windows over every value, one after the other; a coalition lacks one of them at most."""

    grids: tuple[Grid, ...]

    per_example = False

    @cached_property
    def count(self) -> int:
        return sum(grid.count for grid in self.grids)

    @cached_property
    def found(self) -> Tensor:
        return torch.ones(1, self.count, dtype=torch.bool)

    def present(self, i: int, coalitions: Tensor, examples: slice) -> Tensor | None:
        start = sum(grid.count for grid in self.grids[:i])
        lacking = ~coalitions[:, start : start + self.grids[i].count]
        hit = lacking.any(1)
        if not bool(hit.any()):
            return None
        mask = self.grids[i].masks(lacking.to(torch.uint8).argmax(1))
        gone = mask & hit.view(-1, *[1] * (mask.ndim - 1)).to(mask.device)
        return ~gone.unsqueeze(1)

    def spread(self, scores: Tensor) -> Tensors:
        results, start = [], 0
        dim = scores.ndim - 2
        for grid in self.grids:
            own = scores.narrow(dim, start, grid.count)
            shape = (*own.shape[:dim], *(len(c) for c in grid.covers), own.shape[-1])
            results.append(grid.mean(own.reshape(shape)))
            start += grid.count
        return tuple(results)


def sliding(size: int, window: int, stride: int, device: torch.device) -> Tensor:
    """Which entries of a dimension each window covers, (P, size); the last one may be cut off."""
    count = -(-(size - window) // stride) + 1
    starts = stride * torch.arange(count, device=device).unsqueeze(1)
    entries = torch.arange(size, device=device)
    return (entries >= starts) & (entries < starts + window)
