"""The gradient of one parameter for each of N examples, and inner products of such.

A linear map's gradient is a sum of outer products of what came in and what came back. Two of them
have an inner product that needs neither written out: ⟨Σ_t g_t x_tᵀ, Σ_s h_s y_sᵀ⟩ =
Σ_ts (g_t·h_s)(x_t·y_s). Each pair is contracted in the cheaper way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from math import prod

import torch
from torch import Tensor

_BLOCK_BYTES = 64 << 20  # of what is written out at a time


class Factor(ABC):
    """The gradients of N examples by one parameter of P entries."""

    size: int  # P

    @abstractmethod
    def __len__(self) -> int:
        """N."""

    @abstractmethod
    def flat(self) -> Tensor:
        """All of them written out, (N, P)."""

    @abstractmethod
    def narrow(self, start: int, length: int) -> Factor:
        """Those of some examples."""

    def squares(self) -> Tensor:
        """Their squared lengths, (N,)."""
        return torch.cat([part.flat().square().sum(1) for part in self.blocks()])

    def dot(self, other: Factor) -> Tensor:
        """Inner products with other examples' gradients by the same parameter, (M, N)."""
        mine = self.kept
        return side_by_side([mine @ part.flat().T for part in other.blocks()])

    def sum(self) -> Tensor:
        """The gradient of all examples together, (P,)."""
        return torch.stack([part.flat().sum(0) for part in self.blocks()]).sum(0)

    @cached_property
    def kept(self) -> Tensor:
        """All written out, and remembered: for queries that meet many batches."""
        return self.flat()

    def blocks(self) -> Iterator[Factor]:
        """In parts whose gradients fit in memory."""
        count = len(self)
        step = max(1, _BLOCK_BYTES // (8 * self.size))
        if step >= count:
            yield self
            return
        for start in range(0, count, step):
            yield self.narrow(start, min(step, count - start))


@dataclass(eq=False)
class Whole(Factor):
    """Gradients as they are, (N, P)."""

    values: Tensor

    @property
    def size(self) -> int:  # type: ignore[override]  # known from the values
        return self.values.shape[1]

    def __len__(self) -> int:
        return len(self.values)

    def flat(self) -> Tensor:
        return self.values

    def narrow(self, start: int, length: int) -> Whole:
        return Whole(self.values.narrow(0, start, length))


@dataclass(eq=False)
class Outer(Factor):
    """Σ_t g_t x_tᵀ for a weight of shape (groups · b, a), or the transposed of that.

    Args:
        inputs: x, (N, T, groups, a); or what makes it, where it is larger than what it is made of.
        gradients: g, (N, T, groups, b).
        swapped: the weight is (a, b).
    """

    inputs: Tensor | Callable[[], Tensor]
    gradients: Tensor
    a: int
    swapped: bool = False

    @property
    def size(self) -> int:  # type: ignore[override]  # known from the parts
        return prod(self.gradients.shape[2:]) * self.a

    def __len__(self) -> int:
        return len(self.gradients)

    @property
    def x(self) -> Tensor:
        return self.inputs() if callable(self.inputs) else self.inputs

    def sides(self) -> tuple[Tensor, Tensor]:
        """What varies along the weight's rows and its columns, (N, T, groups, ·) each."""
        return (self.x, self.gradients) if self.swapped else (self.gradients, self.x)

    def flat(self) -> Tensor:
        rows, columns = self.sides()
        if rows.shape[1] == 1:
            made = rows[:, 0].unsqueeze(-1) * columns[:, 0].unsqueeze(-2)
        else:
            made = torch.einsum("ntgb,ntga->ngba", rows, columns)
        return made.reshape(len(rows), -1)

    def narrow(self, start: int, length: int) -> Outer:
        inputs = self.inputs
        part: Tensor | Callable[[], Tensor]
        if callable(inputs):
            made = inputs
            part = lambda: made().narrow(0, start, length)  # noqa: E731 - one line, one idea
        else:
            part = inputs.narrow(0, start, length)
        return Outer(part, self.gradients.narrow(0, start, length), self.a, self.swapped)

    def squares(self) -> Tensor:
        if self.gradients.shape[1] > 1:
            return super().squares()
        x, g = self.x, self.gradients
        return (x.square().sum(-1) * g.square().sum(-1)).sum((1, 2))

    def dot(self, other: Factor) -> Tensor:
        if not isinstance(other, Outer) or not self._pays(other):
            return super().dot(other)
        x, g, y, h = self.x, self.gradients, other.x, other.gradients
        if g.shape[1] == h.shape[1] == 1:
            groups = range(g.shape[2])
            return added(
                (g[:, 0, k] @ h[:, 0, k].T).mul_(x[:, 0, k] @ y[:, 0, k].T) for k in groups
            )
        pairs = len(other) * g.shape[1] * h.shape[1]
        step = max(1, _BLOCK_BYTES // (8 * pairs))
        rows = []
        for i in range(0, len(g), step):
            ours = slice(i, i + step)
            both = torch.einsum("mtgb,nsgb->mtnsg", g[ours], h)
            both = both * torch.einsum("mtga,nsga->mtnsg", x[ours], y)
            rows.append(both.sum((1, 3, 4)))
        return torch.cat(rows)

    def _pays(self, other: Outer) -> bool:
        """Whether pairs of positions are fewer products than the gradients' entries."""
        m, n, t, s = len(self), len(other), self.gradients.shape[1], other.gradients.shape[1]
        groups, b = self.gradients.shape[2:]
        once = t == s == 1
        pairs = m * n * t * s * groups * (self.a + b) * (1.0 if once else 1.5)
        written = m * n * self.size + (m * t + n * s) * self.size
        return pairs < written


@dataclass(eq=False)
class Lookup(Factor):
    """Σ_t g_t in row id_t of a table (V, d).

    Args:
        ids: (N, T).
        gradients: g, (N, T, d).
        rows: V.
    """

    ids: Tensor
    gradients: Tensor
    rows: int

    @property
    def size(self) -> int:  # type: ignore[override]  # known from the parts
        return self.rows * self.gradients.shape[2]

    def __len__(self) -> int:
        return len(self.ids)

    def flat(self) -> Tensor:
        n, _, d = self.gradients.shape
        made = self.gradients.new_zeros(n, self.rows, d)
        made.scatter_add_(1, self.ids.unsqueeze(-1).expand(-1, -1, d), self.gradients)
        return made.flatten(1)

    def narrow(self, start: int, length: int) -> Lookup:
        return Lookup(
            self.ids.narrow(0, start, length), self.gradients.narrow(0, start, length), self.rows
        )

    def squares(self) -> Tensor:
        """Σ_tu [id_t = id_u] g_t·g_u."""
        same = self.ids.unsqueeze(2) == self.ids.unsqueeze(1)
        products = self.gradients @ self.gradients.transpose(1, 2)
        return (products * same).sum((1, 2))

    def dot(self, other: Factor) -> Tensor:
        if not isinstance(other, Lookup):
            return super().dot(other)
        m, t, d = self.gradients.shape
        n, s = other.ids.shape
        pairs = n * t * s
        if m * pairs * d > m * n * self.size + (m + n) * self.size:
            return super().dot(other)
        step = max(1, _BLOCK_BYTES // (8 * pairs))
        rows = []
        for i in range(0, m, step):
            mine = slice(i, i + step)
            same = self.ids[mine, :, None, None] == other.ids
            products = torch.einsum("mtd,nsd->mtns", self.gradients[mine], other.gradients)
            rows.append((products * same).sum((1, 3)))
        return torch.cat(rows)


@dataclass(eq=False)
class Together(Factor):
    """One parameter used in several ways: its gradient is the sum."""

    parts: list[Factor]

    @property
    def size(self) -> int:  # type: ignore[override]  # known from the parts
        return self.parts[0].size

    def __len__(self) -> int:
        return len(self.parts[0])

    def flat(self) -> Tensor:
        return torch.stack([part.flat() for part in self.parts]).sum(0)

    def narrow(self, start: int, length: int) -> Together:
        return Together([part.narrow(start, length) for part in self.parts])


def together(parts: list[Factor]) -> Factor:
    """The sum of a parameter's uses: side by side where they are of one kind."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if all(isinstance(p, Whole) for p in parts):
        return Whole(torch.stack([p.flat() for p in parts]).sum(0))
    outers = [p for p in parts if isinstance(p, Outer)]
    if len(outers) == len(parts) and len({p.swapped for p in outers}) == 1:
        xs = [p.x for p in outers]
        gradients = torch.cat([p.gradients for p in outers], 1)
        return Outer(torch.cat(xs, 1), gradients, outers[0].a, outers[0].swapped)
    lookups = [p for p in parts if isinstance(p, Lookup)]
    if len(lookups) == len(parts):
        ids = torch.cat([p.ids for p in lookups], 1)
        return Lookup(ids, torch.cat([p.gradients for p in lookups], 1), lookups[0].rows)
    return Together(parts)


def inner(one: Mapping[str, Factor], other: Mapping[str, Factor]) -> Tensor:
    """Inner products (M, N) of M examples' gradients with N others', over all parameters."""
    return added(one[name].dot(other[name]) for name in one)


def added(parts: Iterable[Tensor]) -> Tensor:
    """The sum of new tensors, into the first of them; parameters may be on several devices."""
    return reduce(lambda total, part: total.add_(part.to(total.device)), parts)


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Columns together, without a copy of a single one."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)
