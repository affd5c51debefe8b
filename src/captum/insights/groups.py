"""Which entries of an input go together, where a method takes features away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """The sizes of one example's input, and whether they are a picture's or a text's.

    >>> Shape.of("image", torch.zeros(1, 3, 8, 8))
    Shape(size=(3, 8, 8), picture=True, embedded=False)
    """

    size: tuple[int, ...]
    picture: bool  # the last two sizes are height and width
    embedded: bool  # the last size is that of a token's embedding

    @classmethod
    def of(cls, kind: str, x: Tensor) -> Shape:
        """What an input (1, *F), shown as `kind`, is."""
        picture = x.ndim == 4 or (kind == "image" and x.ndim == 3)
        return cls(tuple(x.shape[1:]), picture, kind == "text" and x.ndim == 3)

    def cells(self, patch: int) -> tuple[Tensor, int]:
        """The number of each entry's feature, (1, *F) or what broadcasts to it; how many there are.

        >>> Shape((1, 2, 4), True, False).cells(2)
        (tensor([[[[0, 0, 1, 1], [0, 0, 1, 1]]]]), 2)
        """
        if self.picture:
            height, width = (torch.arange(side) // patch for side in self.size[-2:])
            across = int(width[-1]) + 1
            cells = height[:, None] * across + width
            return cells.view(*(1 for _ in self.size[:-1]), *cells.shape), int(cells.max()) + 1
        kept = self.size[:-1] if self.embedded else self.size
        cells = torch.arange(prod(kept)).view(1, *kept)
        return cells[..., None] if self.embedded else cells, cells.numel()

    def alone(self, patch: int) -> Tensor:
        """One over the number of entries in each entry's feature, (1, *F).

        >>> Shape((2, 1, 3), True, False).alone(2)
        tensor([[[[0.2500, 0.2500, 0.5000]],
                 [[0.2500, 0.2500, 0.5000]]]])
        """
        cells = self.cells(patch)[0].expand(1, *self.size)
        return 1 / cells.flatten().bincount()[cells]

    def box(self, side: int) -> tuple[int, ...]:
        """A window of this side: all channels of a picture, one token, one number.

        >>> Shape((3, 8, 8), True, False).box(2), Shape((7, 12), False, True).box(2)
        ((3, 2, 2), (1, 12))
        """
        if self.picture:
            return (*self.size[:-2], *(min(side, size) for size in self.size[-2:]))
        ones = tuple(1 for _ in self.size)
        return (*ones[:-1], self.size[-1]) if self.embedded else ones


def masks(shapes: Sequence[Shape], inputs: Sequence[Tensor], patch: int) -> tuple[Tensor, ...]:
    """A feature mask for each input; no feature spans two of them.

    >>> masks([Shape((2,), False, False)] * 2, [torch.zeros(1, 2)] * 2, 1)
    (tensor([[0, 1]]), tensor([[2, 3]]))
    """
    found, used = [], 0
    for shape, x in zip(shapes, inputs, strict=True):
        cells, count = shape.cells(patch)
        found.append((cells + used).to(x.device))
        used += count
    return tuple(found)
