"""Features: groups of entries that are there or not there together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from captum._engine.call import Call, matched
from captum._engine.errors import describe, wrong
from captum._engine.nest import Tensors, scored

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def chosen(here: Tensor, value: Tensor, base: Tensor) -> Tensor:
    """The value where it is there, the base elsewhere; all of them broadcast.

    Bit by bit, as `torch.where` takes several times as long on the CPU.
    """
    bits = _BITS.get(value.element_size())
    if bits is None or value.dtype != base.dtype or value.is_complex():
        return torch.where(here, value, base)
    ones = here.to(bits).neg_()  # all bits, or none
    found = (value.view(bits) & ones).bitwise_or_(base.view(bits) & ones.bitwise_not())
    return found.view(value.dtype)


class Players(Protocol):
    """What is there or not there: G groups of entries, of the values of N examples."""

    @property
    def count(self) -> int:
        """G."""

    @property
    def per_example(self) -> bool:
        """Whether examples are grouped in different ways."""

    @property
    def found(self) -> Tensor:
        """Whether each example has the group at all, (N or 1, G)."""

    def present(self, i: int, coalitions: Tensor, examples: slice) -> Tensor | None:
        """Which entries of value i are there: (K, 1 or n, *F) for K coalitions; None for all."""

    def spread(self, scores: Tensor) -> Tensors:
        """Scores per group, (*lead, G, N), to the entries of every value, (*lead, N, *F)."""


@dataclass(frozen=True)
class Features:
    """For every value a mask with the number of each entry's group, 0 to G - 1.

    A mask (1 or N, *F) may have dimensions of size 1 that stand for all of the value's.
    """

    masks: Tensors
    count: int
    shapes: tuple[torch.Size, ...]  # of the values
    numbers: Tensor  # of the groups, as the user gives them
    own: bool = False  # every entry is a group, in order

    @cached_property
    def per_example(self) -> bool:
        return any(len(mask) > 1 for mask in self.masks)

    @cached_property
    def groups(self) -> tuple[Tensor, ...]:
        """The numbers of the groups with entries in each value."""
        return tuple(torch.unique(mask).cpu() for mask in self.masks)

    @cached_property
    def found(self) -> Tensor:
        rows = max(map(len, self.masks))
        found = torch.zeros(rows, self.count, dtype=torch.bool)
        for mask in self.masks:
            found.scatter_(1, mask.flatten(1).cpu().expand(rows, -1), value=True)
        return found

    def present(self, i: int, coalitions: Tensor, examples: slice) -> Tensor | None:
        if self.own:
            start = sum(shape[1:].numel() for shape in self.shapes[:i])
            shape = self.shapes[i][1:]
            here = coalitions[:, start : start + shape.numel()]
            if len(self.shapes) > 1 and bool(here.all()):
                return None
            return here.reshape(len(here), 1, *shape)
        if len(self.masks) > 1 and bool(coalitions[:, self.groups[i]].all()):
            return None
        mask = self.masks[i]
        if len(mask) > 1:
            mask = mask[examples]
        here = coalitions.to(mask.device).index_select(1, mask.flatten())
        return here.view(len(here), *mask.shape)

    def entries(self, i: int) -> Tensor:
        """The group of every entry of value i, (1 or N, F)."""
        mask = self.masks[i]
        return mask.expand(len(mask), *self.shapes[i][1:]).flatten(1)

    def sums(self, i: int, entries: Tensor) -> Tensor:
        """Σ of the entries of value i, (R, N, *F), in every group, (R, N, G)."""
        rows = entries.flatten(2)
        mask = self.entries(i)
        totals = rows.new_zeros(*rows.shape[:2], self.count)
        return totals.scatter_add_(2, mask.expand_as(rows), rows)

    def spread(self, scores: Tensor) -> Tensors:
        return tuple(
            self._spread_one(scores, mask, shape)
            for mask, shape in zip(self.masks, self.shapes, strict=True)
        )

    def _spread_one(self, scores: Tensor, mask: Tensor, shape: torch.Size) -> Tensor:
        by_row = scores.transpose(-1, -2)  # (*lead, N, G)
        lead = by_row.shape[:-1]
        if self.own:
            start = int(mask.flatten()[0])
            return by_row.narrow(-1, start, mask.numel()).reshape(*lead, *shape[1:])
        mask = mask.to(scores.device)
        if len(mask) == 1:
            entries = by_row.index_select(-1, mask.flatten())
        else:
            entries = by_row.gather(-1, mask.flatten(1).expand(*lead, -1))
        return entries.reshape(*lead, *mask.shape[1:]).expand(*lead, *shape[1:])


def every_entry(values: Tensors) -> Features:
    """Each entry a group of its own."""
    masks, start = [], 0
    for value in values:
        size = value[0].numel()
        ids = torch.arange(start, start + size, device=value.device)
        masks.append(ids.view(1, *value.shape[1:]))
        start += size
    shapes = tuple(v.shape for v in values)
    return Features(tuple(masks), start, shapes, torch.arange(start), own=True)


def make_features(values: Tensors, given: Tensors | None) -> Features:
    """Groups as the user numbers them; without a mask every entry is its own.

    The same number in the masks of two inputs means one feature that spans both. Numbers need
    not be dense.
    """
    if given is None:
        return every_entry(values)
    if len(given) != len(values):
        raise wrong(
            ValueError,
            f"a feature_mask for each of the {len(values)} tensors",
            f"{len(given)} masks",
            "a tuple of masks, in the order of the tensors",
        )
    masks = tuple(_fitting(v, m) for v, m in zip(values, given, strict=True))
    ids = torch.unique(torch.cat([m.flatten().cpu() for m in masks]))
    dense = tuple(torch.searchsorted(ids.to(m.device), m.contiguous()) for m in masks)
    return Features(dense, len(ids), tuple(v.shape for v in values), ids)


def masks_of(call: Call, given: Any) -> Tensors | None:
    """A feature_mask as the inputs come: a tuple of tensors, one per input."""
    if given is None:
        return None
    if any(x.is_floating_point() for x in scored(given)):
        raise wrong(ValueError, "a feature_mask of integers", describe(given), "mask.long()")
    longs = call.moved(tuple(x.long() for x in call.inputs))  # masks are integers beside any input
    return matched(longs, given, "feature_mask")


def as_masks(given: Any) -> Tensors | None:
    """A mask for each of a site's values."""
    return None if given is None else tuple(given) if isinstance(given, tuple | list) else (given,)


def _fitting(value: Tensor, mask: Any) -> Tensor:
    """A mask with a row for one example or for each, that broadcasts against the value."""
    if isinstance(mask, Tensor) and not (mask.is_floating_point() or mask.is_complex()):
        full = mask.reshape((1,) * (value.ndim - mask.ndim) + tuple(mask.shape))
        pairs = zip(full.shape, value.shape, strict=False)
        if full.ndim == value.ndim and all(m in (1, v) for m, v in pairs):
            return full.to(value.device, torch.long)
    raise wrong(
        ValueError,
        f"a feature_mask of integers of shape {(1, *value.shape[1:])} or {tuple(value.shape)}, "
        "or one that broadcasts to it",
        describe(mask),
        "feature_mask=torch.arange(inputs[0].numel()).view(1, *inputs.shape[1:])",
    )
