"""Features: groups of entries that are there or not there together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.nest import Tensors


@dataclass(frozen=True)
class Features:
    """For every value a mask (1 or N, *F) with the number of each entry's group, 0 to G - 1."""

    masks: Tensors
    count: int

    def absent(self, values: Tensors, baselines: Tensors, groups: slice) -> Tensors:
        """Rows in which one group each is at its baseline: (k * N, *F) for k groups."""
        rows = []
        for value, base, mask in zip(values, baselines, self.masks, strict=True):
            ids = torch.arange(groups.start, groups.stop, device=mask.device)
            gone = mask == ids.view(-1, *[1] * mask.ndim)
            rows.append(torch.where(gone, base, value).flatten(0, 1))
        return tuple(rows)

    def spread(self, scores: Tensor) -> Tensors:
        """Scores per group, (*lead, G, N), to the entries of every value, (*lead, N, *F)."""
        return tuple(self._spread_one(scores, mask) for mask in self.masks)

    def _spread_one(self, scores: Tensor, mask: Tensor) -> Tensor:
        by_row = scores.transpose(-1, -2)  # (*lead, N, G)
        mask = mask.to(scores.device)
        if len(mask) == 1:
            return by_row[..., mask.flatten()].reshape(*by_row.shape[:-1], *mask.shape[1:])
        index = mask.flatten(1).expand(*by_row.shape[:-1], -1)
        return by_row.gather(-1, index).reshape(*by_row.shape[:-1], *mask.shape[1:])


def make_features(values: Tensors, given: Tensors | None) -> Features:
    """Groups as the user numbers them; without a mask every entry is its own.

    The same number in the masks of two inputs means one feature that spans both. Numbers need
    not be dense.
    """
    if given is None:
        masks, start = [], 0
        for value in values:
            size = value[0].numel()
            ids = torch.arange(start, start + size, device=value.device)
            masks.append(ids.view(1, *value.shape[1:]))
            start += size
        return Features(tuple(masks), start)
    if len(given) != len(values):
        raise wrong(
            ValueError,
            f"a feature_mask for each of the {len(values)} tensors",
            f"{len(given)} masks",
            "a tuple of masks, in the order of the tensors",
        )
    for value, mask in zip(values, given, strict=True):
        _check_mask(value, mask)
    ids = torch.unique(torch.cat([m.flatten().cpu() for m in given]))
    dense = tuple(torch.searchsorted(ids.to(m.device), m.contiguous()) for m in given)
    return Features(dense, len(ids))


def _check_mask(value: Tensor, mask: Any) -> None:
    wanted = ((1, *value.shape[1:]), tuple(value.shape))
    if mask.is_floating_point() or tuple(mask.shape) not in wanted:
        raise wrong(
            ValueError,
            f"a feature_mask of integers of shape {wanted[0]} or {wanted[1]}",
            describe(mask),
            "feature_mask=torch.arange(inputs[0].numel()).view(1, *inputs.shape[1:])",
        )
