"""Second derivatives of a data set's loss: products of the Hessian with vectors, and all of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from captum._engine.per_sample.source import Batch, GradientSource, needing
from captum._engine.ranks import World

_CANCELLED = 0.7  # of a vector's length: less of it left calls for a second projection
_COLUMNS_BYTES = 64 << 20  # of vectors that are multiplied at once


class Hessian:
    """Σ_i ∂²ℓ_i/∂θ², as a map of vectors over all chosen parameters, (P,).

    Args:
        source: the model, its loss and the parameters.
        data: this process's batches. The graph of a single one is kept from product to product.
        world: the processes that have the other batches.
    """

    def __init__(
        self, source: GradientSource, data: Iterable[Batch], world: World | None = None
    ) -> None:
        self.source, self.data, self.world = source, list(data), world or World()
        self.chosen = list(source.parameters.values())
        self.sizes = [p.numel() for p in self.chosen]
        self._kept: list[Tensor] | None = None

    @property
    def size(self) -> int:
        """P."""
        return sum(self.sizes)

    def times(self, vectors: Tensor) -> Tensor:
        """The products with S vectors, (S, P)."""
        step = max(1, _COLUMNS_BYTES // (self.size * vectors.element_size()))
        total = torch.zeros_like(vectors)
        with (
            needing(self.chosen),
            sdpa_kernel(SDPBackend.MATH),
        ):  # which can be differentiated twice
            for batch in self.data:
                slopes = self._slopes(batch)
                for start in range(0, len(vectors), step):
                    part = vectors[start : start + step]
                    total[start : start + step] += self._of(slopes, part)
        return self.world.sum(total)

    def matrix(self) -> Tensor:
        """All of it, (P, P): for a few thousand parameters at most."""
        like = self.chosen[0]
        found = self.times(torch.eye(self.size, dtype=like.dtype, device=like.device))
        return (found + found.T) / 2

    def _slopes(self, batch: Batch) -> list[Tensor]:
        """∂ℓ/∂θ with its own graph."""
        if self._kept is not None:
            return self._kept
        with torch.enable_grad():
            total = self.source.losses(batch)
            made = torch.autograd.grad(total, self.chosen, create_graph=True, allow_unused=True)
            found = [p * 0 if g is None else g for g, p in zip(made, self.chosen, strict=True)]
        if len(self.data) == 1:
            self._kept = found
        return found

    def _of(self, slopes: list[Tensor], vectors: Tensor) -> Tensor:
        moving = [i for i, g in enumerate(slopes) if g.requires_grad]
        parts = torch.split(vectors, self.sizes, 1)
        along = [parts[i].reshape(-1, *self.chosen[i].shape) for i in moving]
        several = len(vectors) > 1
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            made = torch.autograd.grad(
                [slopes[i] for i in moving],
                self.chosen,
                along if several else [each[0] for each in along],
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=several,
            )
        rows = [
            vectors.new_zeros(len(vectors), size) if g is None else g.reshape(len(vectors), size)
            for g, size in zip(made, self.sizes, strict=True)
        ]
        return torch.cat(rows, 1)


def lanczos(
    times: Callable[[Tensor], Tensor], start: Tensor, steps: int, tol: float
) -> tuple[Tensor, Tensor]:
    """A basis (S, P) of what a symmetric map makes of a vector, and the map within it, (S, S).

    It ends early where nothing new comes: at a remainder below `tol`.
    """
    basis = start.new_empty(steps, len(start))
    basis[0] = start / torch.linalg.norm(start)
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for step in range(steps):
        known = basis[: step + 1]
        found = times(known[-1:])[0]
        along = known @ found
        diagonal.append(along[-1])
        before = torch.linalg.norm(found)
        found = found - along @ known
        if float(torch.linalg.norm(found)) < _CANCELLED * float(before):
            found = found - (known @ found) @ known  # what was lost to rounding
        size = torch.linalg.norm(found)
        if step + 1 == steps or float(size) < tol:
            basis = known
            break
        beside.append(size)
        basis[step + 1] = found / size
    within = torch.diag(torch.stack(diagonal))
    if beside:
        off = torch.stack(beside)
        within = within + torch.diag(off, 1) + torch.diag(off, -1)
    return basis, within


def inverse_root(
    basis: Tensor, within: Tensor, rank: int, regularisation: float, tol: float
) -> Tensor:
    """R (P, k) with R Rᵀ the inverse on the eigenvectors with the k largest eigenvalues.

    Eigenvalues below `tol`, negative ones too, count as zero.
    """
    identity = torch.eye(len(within), dtype=within.dtype, device=within.device)
    values, vectors = torch.linalg.eigh(within + regularisation * identity)
    values, vectors = values[-rank:], vectors[:, -rank:]
    kept = values > tol
    scaled = vectors[:, kept] / values[kept].sqrt()
    root: Tensor = basis.T @ scaled
    return root


def conjugate_gradients(
    times: Callable[[Tensor], Tensor], right: Tensor, steps: int, tol: float
) -> Tensor:
    """x with A x = b for each of S vectors b (S, P), by products with a positive definite A.

    A system ends at a remainder of `tol` times its b, or where A bends the other way; all end
    after `steps` products.
    """
    found = torch.zeros_like(right)
    left = right.clone()
    direction = left.clone()
    size = left.square().sum(1)
    enough = tol**2 * size
    for _ in range(steps):
        product = times(direction)
        bend = (direction * product).sum(1)
        going = (size > enough) & (bend > 0)
        if not bool(going.any()):
            break
        step = torch.where(going, size / torch.where(going, bend, 1), 0).unsqueeze(1)
        found = found + step * direction
        left = left - step * product
        after = left.square().sum(1)
        turn = torch.where(going, after / torch.where(size > 0, size, 1), 0).unsqueeze(1)
        direction = torch.where(going.unsqueeze(1), left + turn * direction, 0)
        size = torch.where(going, after, size)
    return found
