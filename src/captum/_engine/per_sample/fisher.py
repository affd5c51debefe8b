"""The Fisher information, a parameter at a time, in bases in which it is nearly diagonal: EK-FAC.

A linear map's gradient is Σ_t g_t x_tᵀ. In the eigenvectors of E[g gᵀ] and E[x xᵀ] its entries are
nearly uncorrelated, so their mean squares say how much the loss curves along each. Small vectors of
parameters have their whole matrix, everything else its diagonal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from captum._engine.per_sample.factors import Factor, Outer, Whole
from captum._engine.per_sample.source import Factors
from captum._engine.ranks import World

_WHOLE = 512  # parameters whose matrix is written out

Passes = Callable[[], Iterable[Factors]]  # the data's gradients; the same ones every time


class Curved(ABC):
    """F of one parameter: E[∇ ∇ᵀ], as far as it is kept."""

    _sum: Tensor

    @abstractmethod
    def see(self, factor: Factor) -> None:
        """The gradients of some examples."""

    def finish(self, world: World) -> None:
        """All processes have seen theirs."""
        world.sum(self._sum)

    @abstractmethod
    def solved(self, values: Tensor, damping: float, count: int) -> Tensor:
        """(F + damping · mean)⁻¹ of vectors (M, P)."""


class Kronecker:
    """Of a linear map: eigenvectors of what comes in and what comes back, and λ between them.

    Args:
        like: gradients by the map's weight.
        biased: its bias belongs to it: the weight of an input that is always 1.
    """

    def __init__(self, like: Outer, biased: bool) -> None:
        groups, b = like.gradients.shape[2:]
        a = like.a + biased
        self.swapped, self.biased = like.swapped, biased
        self._inputs = like.gradients.new_zeros(groups, a, a)
        self._gradients = like.gradients.new_zeros(groups, b, b)
        self._squares = like.gradients.new_zeros(groups, b, a)

    def see(self, factor: Outer) -> None:
        """The gradients of some examples, for the bases."""
        x, g = self._x(factor).flatten(0, 1), factor.gradients.flatten(0, 1)
        self._inputs += torch.einsum("nga,ngc->gac", x, x)
        self._gradients += torch.einsum("ngb,ngd->gbd", g, g)

    def settle(self, world: World) -> None:
        """The bases are known: their squares come next."""
        # (groups, a, a) and (groups, b, b); of one process, as signs are anybody's choice.
        self.along_x, self.along_g = (
            world.lead(torch.linalg.eigh(world.sum(each))[1])
            for each in (self._inputs, self._gradients)
        )

    def measure(self, factor: Outer) -> None:
        """The gradients once more, for the squares."""
        for part in factor.blocks():
            assert isinstance(part, Outer)  # for mypy
            g, x = self._turned(part)
            if g.shape[1] == 1:  # (g x)² = g² x²
                self._squares += torch.einsum("ngd,ngc->gdc", g[:, 0].square(), x[:, 0].square())
            else:
                self._squares += torch.einsum("ntgd,ntgc->ngdc", g, x).square().sum(0)

    def finish(self, world: World) -> None:
        """All processes have measured."""
        world.sum(self._squares)

    def solved(self, factor: Outer, damping: float, count: int) -> tuple[Tensor, Tensor | None]:
        """(F + damping · mean)⁻¹ of gradients, (M, P), and of their biases'."""
        squares = self._squares / count
        turned = torch.einsum("ntgd,ntgc->ngdc", *self._turned(factor))
        turned = turned / (squares + damping * _mean(squares))
        found = torch.einsum("gbd,ngdc,gac->ngba", self.along_g, turned, self.along_x)
        beside = None
        if self.biased:
            found, beside = found[..., :-1], found[..., -1].flatten(1)
        if self.swapped:
            found = found.transpose(-1, -2)
        return found.reshape(len(found), -1), beside

    def _turned(self, factor: Outer) -> tuple[Tensor, Tensor]:
        """What comes back and what comes in, in the bases."""
        g = torch.einsum("ntgb,gbd->ntgd", factor.gradients, self.along_g)
        return g, torch.einsum("ntga,gac->ntgc", self._x(factor), self.along_x)

    def _x(self, factor: Outer) -> Tensor:
        x = factor.x
        return torch.cat([x, x.new_ones(*x.shape[:-1], 1)], -1) if self.biased else x


class Block(Curved):
    """Of a few parameters: all of E[∇ ∇ᵀ]."""

    def __init__(self, like: Factor) -> None:
        self._sum = like.flat().new_zeros(like.size, like.size)

    def see(self, factor: Factor) -> None:
        flat = factor.flat()
        self._sum.addmm_(flat.T, flat)

    def solved(self, values: Tensor, damping: float, count: int) -> Tensor:
        mean = self._sum / count
        ridge = damping * _mean(mean.diagonal())
        identity = torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        found: Tensor = torch.linalg.solve(mean + ridge * identity, values.T).T
        return found


class Diagonal(Curved):
    """Of everything else: mean squares alone."""

    def __init__(self, like: Factor) -> None:
        self._sum = like.narrow(0, 1).flat().new_zeros(like.size)

    def see(self, factor: Factor) -> None:
        for part in factor.blocks():
            self._sum += part.flat().square().sum(0)

    def solved(self, values: Tensor, damping: float, count: int) -> Tensor:
        mean = self._sum / count
        return values / (mean + damping * _mean(mean))


class Fisher:
    """EK-FAC of all parameters, from two passes over a data set's gradients.

    Args:
        like: the gradients of a few examples, from which their kinds are seen.
        passes: makes the gradients, with targets drawn from the model, anew and alike each time.
        world: the processes that have the other gradients.
    """

    def __init__(self, like: Factors, passes: Passes, world: World | None = None) -> None:
        world = world or World()
        self.maps: dict[str, Kronecker] = {}
        self.biases: dict[str, str] = {}  # weight -> the bias that belongs to it
        self.others: dict[str, Curved] = {}
        self._sorted(like)
        count = torch.zeros((), dtype=torch.int64)
        for found in passes():
            count += len(next(iter(found.values())))
            for name, part in self.maps.items():
                part.see(_outer(found[name]))
            for name, other in self.others.items():
                other.see(found[name])
        self.count = int(world.sum(count))
        for other in self.others.values():
            other.finish(world)
        for part in self.maps.values():
            part.settle(world)
        for found in passes() if self.maps else ():
            for name, part in self.maps.items():
                part.measure(_outer(found[name]))
        for part in self.maps.values():
            part.finish(world)

    def solved(self, found: Factors, damping: float) -> Factors:
        """(F + damping)⁻¹ times every example's gradients."""
        made: Factors = {}
        for name, part in self.maps.items():
            weight, bias = part.solved(_outer(found[name]), damping, self.count)
            made[name] = Whole(weight)
            if bias is not None:
                made[self.biases[name]] = Whole(bias)
        for name, other in self.others.items():
            made[name] = Whole(other.solved(found[name].flat(), damping, self.count))
        return {name: made[name] for name in found}

    def _sorted(self, found: Factors) -> None:
        """Which parameters are kept in which way."""
        for name, factor in found.items():
            if isinstance(factor, Outer):
                beside = name.removesuffix("weight") + "bias"
                owned = _belongs(found.get(beside), factor)
                if owned:
                    self.biases[name] = beside
                self.maps[name] = Kronecker(factor, owned)
        for name, factor in found.items():
            if name not in self.maps and name not in self.biases.values():
                self.others[name] = (Block if factor.size <= _WHOLE else Diagonal)(factor)


def _belongs(bias: Factor | None, weight: Outer) -> bool:
    """Whether a bias is added where a weight is used, and nowhere else."""
    if bias is None or bias.size != weight.gradients.shape[2:].numel():
        return False
    return torch.allclose(bias.flat(), weight.gradients.sum(1).flatten(1), rtol=1e-4)


def _outer(factor: Factor) -> Outer:
    assert isinstance(factor, Outer)  # for mypy: of one parameter, always of one kind
    return factor


def _mean(values: Tensor) -> Tensor:
    """The mean, kept away from zero where nothing curves."""
    return values.mean().clamp_min(torch.finfo(values.dtype).tiny)
