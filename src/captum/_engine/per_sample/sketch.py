"""Random projections of gradients: count sketches, and tensor sketches that write no gradient out.

A count sketch R adds every entry, with a random sign, to a random one of K places:
E[⟨R v, R w⟩] = ⟨v, w⟩. Where the place of entry (i, j) of a matrix is h(i) + h'(j) modulo K, the
sketch of an outer product g xᵀ is the circular convolution of those of g and of x, a product of
their Fourier transforms (Pham and Pagh, 2013). Both ways make the same numbers; each gradient goes
the cheaper one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from math import prod

import torch
from torch import Tensor

from captum._engine.per_sample.factors import Factor, Lookup, Outer

_BYTES = 1 << 20  # of vectors that are transformed at a time
# Measured, in additions of one number into a random place: two transforms and their product, a
# number; and a product that goes into a gradient's entry.
_TRANSFORMS, _PRODUCT = 3.0, 0.12


class Sketch:
    """R for the gradients by several parameters together.

    Args:
        parameters: by name.
        size: K.
        seed: of places and signs; the global generators are left alone.
    """

    def __init__(self, parameters: Mapping[str, Tensor], size: int, seed: int = 0) -> None:
        self.size = size
        generator = torch.Generator().manual_seed(seed)
        every = [p.dtype for p in parameters.values()]
        kind = reduce(torch.promote_types, every, torch.float32)
        self._places = {
            name: _Places(p.detach().new_empty(0, dtype=kind), p.shape, size, generator)
            for name, p in parameters.items()
        }

    def of(self, found: Mapping[str, Factor]) -> Tensor:
        """R times each example's gradients, (N, K), in float32 or better."""
        count = len(next(iter(found.values())))
        sums = next(iter(self._places.values())).zeros(count)
        pairs = []
        for name, factor in found.items():
            places = self._places[name]
            if isinstance(factor, Outer) and _pays(factor, self.size):
                pairs.append((places, *factor.sides()))
            elif isinstance(factor, Lookup):
                places.add_rows(sums, factor)
            else:
                places.add(sums, factor)
        # A few examples at a time: what is transformed stays near the processor.
        for part in range(0, count if pairs else 0, step := max(1, _BYTES // (8 * self.size))):
            spectrum: Tensor | int = 0
            for places, rows, columns in pairs:
                spectrum = spectrum + places.transformed(
                    rows[part : part + step], columns[part : part + step]
                )
            sums[part : part + step] += torch.fft.irfft(torch.as_tensor(spectrum), self.size)
        return sums


def _pays(factor: Outer, size: int) -> bool:
    """Whether transforms of what comes in and comes back cost less than the gradient's entries."""
    positions, groups = factor.gradients.shape[1:3]
    return _TRANSFORMS * positions * groups * size < factor.size * (1 + _PRODUCT * positions)


class _Places:
    """Where the entries of one parameter go, as those of a matrix of rows and columns."""

    def __init__(
        self, like: Tensor, shape: torch.Size, size: int, generator: torch.Generator
    ) -> None:
        self.like, self.size = like, size
        rows, columns = (shape[0], prod(shape[1:])) if shape else (1, 1)
        self.row_places, self.row_signs = self._drawn(rows, generator)
        self.column_places, self.column_signs = self._drawn(columns, generator)

    def _drawn(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        places = torch.randint(self.size, (count,), generator=generator)
        signs = 2.0 * torch.randint(2, (count,), generator=generator) - 1.0
        return places.to(self.like.device), signs.to(self.like)

    def zeros(self, *shape: int) -> Tensor:
        return self.like.new_zeros(*shape, self.size)

    def add(self, sums: Tensor, factor: Factor) -> None:
        """Add the sketches of gradients, entry by entry."""
        places = (self.row_places[:, None] + self.column_places).flatten() % self.size
        signs = (self.row_signs[:, None] * self.column_signs).flatten()
        start = 0
        for part in factor.blocks():
            values = part.flat() * signs
            sums[start : start + len(part)].scatter_add_(1, places.expand_as(values), values)
            start += len(part)

    def add_rows(self, sums: Tensor, factor: Lookup) -> None:
        """The same of gradients of which only the rows that were looked up are not zero."""
        places = (self.row_places[factor.ids].unsqueeze(-1) + self.column_places) % self.size
        signs = self.row_signs[factor.ids].unsqueeze(-1) * self.column_signs
        values = factor.gradients * signs
        sums.scatter_add_(1, places.flatten(1), values.flatten(1))

    def transformed(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The transforms (N, K / 2 + 1) of Σ_t row_t columnᵀ_t, each (N, T, groups, ·)."""
        groups = rows.shape[2]
        row_places = self.row_places.view(groups, -1)
        row_signs = self.row_signs.view(groups, -1)
        made: Tensor | int = 0
        for t in range(rows.shape[1]):
            for g in range(groups):
                one = self._thrown(rows[:, t, g], row_places[g], row_signs[g])
                other = self._thrown(columns[:, t, g], self.column_places, self.column_signs)
                made = made + torch.fft.rfft(one) * torch.fft.rfft(other)
        return torch.as_tensor(made)

    def _thrown(self, values: Tensor, places: Tensor, signs: Tensor) -> Tensor:
        """Count sketches (N, K) of vectors."""
        values = values * signs
        return self.zeros(len(values)).scatter_add_(1, places.expand_as(values), values)
