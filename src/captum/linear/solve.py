"""Least squares, ridge and lasso in closed form or by coordinate descent, many problems at once.

Every problem of a batch has the rows x in common; the values y are its own, and the weights may be.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from captum._engine.errors import describe, warn, wrong
from captum._engine.paths import wide


class _Centred(NamedTuple):
    """√w (x - x̄) and √w (y - ȳ), with weights of sum one.

    P problems with weights of their own have one column of values each; problems that share their
    weights are the R columns of a single one.
    """

    x: Tensor  # (P, K, G)
    y: Tensor  # (P, K, R)
    x_mean: Tensor  # (P, 1, G)
    y_mean: Tensor  # (P, 1, R)
    spread: Tensor  # (P, G): Σ w x² of the columns as they came
    total: Tensor  # (P, 1, 1): Σ w as it came
    batch: torch.Size

    def finish(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (P, G, R) as (*B, G), with their intercepts (*B,)."""
        intercepts = self.y_mean - self.x_mean @ coefficients
        flat = coefficients.mT.flatten(0, 1)
        return flat.reshape(*self.batch, flat.shape[1]), intercepts.reshape(self.batch)


@torch.no_grad()
def ridge(
    x: Tensor,
    y: Tensor,
    weights: Tensor | None = None,
    alpha: float = 0.0,
    intercept: bool = True,
) -> tuple[Tensor, Tensor]:
    r"""argmin over b, c of Σₖ wₖ (yₖ - xₖ·b - c)² + alpha |b|².

    With alpha = 0 it is least squares, and of all solutions the one of the least norm.

    Args:
        x: rows (K, G), the same for all problems.
        y: values (*B, K).
        weights: (K,) for all problems or (*B, K), not negative; None weighs all rows with 1.
        alpha: the strength of the penalty.
        intercept: whether there is a constant c; without it c = 0.

    Returns:
        Coefficients (*B, G) and intercepts (*B,), in float32 or better.

    Raises:
        ValueError: shapes that do not fit, weights below zero or of sum zero, a negative alpha.

    >>> x = torch.tensor([[0.0], [1.0], [2.0]])
    >>> b, c = ridge(x, torch.tensor([[1.0, 3.0, 5.0], [0.0, 0.0, 0.0]]))
    >>> [[round(float(v), 4) for v in values] for values in (b, c)]
    [[2.0, 0.0], [1.0, 0.0]]
    """
    data = _centred(x, y, weights, intercept)
    penalty = _penalty(alpha) / data.total
    if data.x.numel() == 0:
        return data.finish(data.x.new_zeros(len(data.x), data.x.shape[2], data.y.shape[2]))
    found, sound = _normal_equations(data, penalty)
    if not bool(sound.all()):
        bad = ~sound
        found[bad] = _by_singular_values(data.x[bad], data.y[bad], penalty[bad])
    return data.finish(found)


@torch.no_grad()
def lasso(
    x: Tensor,
    y: Tensor,
    weights: Tensor | None = None,
    alpha: float = 1.0,
    intercept: bool = True,
    tol: float | None = None,
    sweeps: int = 1000,
) -> tuple[Tensor, Tensor]:
    r"""argmin over b, c of Σₖ wₖ (yₖ - xₖ·b - c)² / (2 Σₖ wₖ) + alpha |b|₁.

    Coordinate descent on the Gram matrix (Friedman, Hastie, Tibshirani 2010), each coordinate in
    all problems at once. Now and then the linear equations on the nonzero coefficients are solved:
    once descent has found the right ones, that ends the search with the exact solution.

    Args:
        x: rows (K, G), the same for all problems.
        y: values (*B, K).
        weights: (K,) for all problems or (*B, K), not negative; None weighs all rows with 1.
        alpha: the strength of the penalty.
        intercept: whether there is a constant c; without it c = 0.
        tol: by how much the optimality conditions may be missed, relative to the largest
            correlation of a column with y; None is as much as the precision of the numbers allows.
        sweeps: how often to go through the coordinates before giving up, with a warning.

    Returns:
        Coefficients (*B, G) and intercepts (*B,), in float32 or better.

    Raises:
        ValueError: shapes that do not fit, weights below zero or of sum zero, a negative alpha.

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> b, c = lasso(x, x @ torch.tensor([3.0, 0.5]), alpha=0.5)
    >>> [round(float(v), 4) for v in b]
    [2.0, 0.0]
    """
    if _penalty(alpha) == 0:
        return ridge(x, y, weights, 0.0, intercept)
    data = _centred(x, y, weights, intercept)
    gram, pull = data.x.mT @ data.x, data.x.mT @ data.y
    if pull.numel() == 0:
        return data.finish(pull)
    # What is left of a constant column after centring is rounding, and says nothing of y.
    precision = torch.finfo(gram.dtype).eps
    flat = gram.diagonal(dim1=-2, dim2=-1) <= (32 * precision) ** 2 * data.spread
    search = _Descent(gram, pull, flat, alpha, precision**0.75 if tol is None else tol)
    if not search.run(sweeps, len(x)):
        warn(
            f"lasso: not converged after {sweeps} sweeps; the coefficients are close, not exact. "
            "A larger alpha or more sweeps help."
        )
    return data.finish(search.coefficients())


def _penalty(alpha: float) -> float:
    if not 0 <= alpha < float("inf"):
        raise wrong(ValueError, "alpha of at least 0", f"alpha={alpha!r}", "alpha=1.0")
    return alpha


def _centred(x: Tensor, y: Tensor, weights: Tensor | None, intercept: bool) -> _Centred:
    _check(x, y, weights)
    kind = torch.promote_types(x.dtype, y.dtype)
    kind = wide(kind if weights is None else torch.promote_types(kind, weights.dtype))
    x, values = x.to(kind), y.to(kind).reshape(-1, len(x))
    if weights is None:
        weights = x.new_ones(1, len(x))
    own = weights.ndim > 1 or y.ndim == 1
    w = weights.to(kind).reshape(-1, len(x), 1)
    total = w.sum(1, keepdim=True)
    if not bool((w >= 0).all() & (total > 0).all() & (total < float("inf")).all()):
        raise wrong(
            ValueError,
            "finite weights of at least 0, of which some are positive in each problem",
            f"weights from {float(w.min())} to {float(w.max())}",
            "weights=torch.ones(len(x))",
        )
    w = w / total
    columns = values[:, :, None] if own and len(w) == len(values) else values.mT[None]
    x_mean, y_mean = (w * x).sum(1, keepdim=True), (w * columns).sum(1, keepdim=True)
    spread = (w * x.square()).sum(1)
    if not intercept:
        x_mean, y_mean = torch.zeros_like(x_mean), torch.zeros_like(y_mean)
    root = w.sqrt()
    rows, columns = root * (x - x_mean), root * (columns - y_mean)
    return _Centred(rows, columns, x_mean, y_mean, spread, total, y.shape[:-1])


def _check(x: Tensor, y: Tensor, weights: Tensor | None) -> None:
    rows = x.shape[0] if x.ndim == 2 else 0
    fits = rows > 0 and y.ndim > 0 and y.shape[-1] == rows
    if fits and (weights is None or weights.shape in {y.shape, (rows,)}):
        return
    raise wrong(
        ValueError,
        "x of shape (K, G) with rows, y of shape (*B, K), weights of shape (K,) or (*B, K)",
        f"x {describe(x)}, y {describe(y)}, weights {describe(weights)}",
        "ridge(torch.rand(8, 3), torch.rand(5, 8), torch.rand(8))",
    )


def _normal_equations(data: _Centred, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """The solution (P, G, R) by Cholesky's factors, and for which of the P it can be trusted.

    A step of refinement with the residual of the rows brings the accuracy of a QR decomposition
    back (Björck 1987). Diagonal entries that all but vanish are columns that depend on others.
    """
    identity = torch.eye(data.x.shape[2], dtype=data.x.dtype, device=data.x.device)
    gram = data.x.mT @ data.x + penalty * identity
    factor, info = torch.linalg.cholesky_ex(gram)
    found = torch.cholesky_solve(data.x.mT @ data.y, factor)
    rest = data.x.mT @ (data.y - data.x @ found) - penalty * found
    found = found + torch.cholesky_solve(rest, factor)
    heights = factor.diagonal(dim1=-2, dim2=-1) / gram.diagonal(dim1=-2, dim2=-1).sqrt()
    least = torch.finfo(gram.dtype).eps ** 0.25
    return found, (info == 0) & (heights > least).all(-1)


def _by_singular_values(x: Tensor, y: Tensor, penalty: Tensor) -> Tensor:
    """The solution of least norm, whatever the rank."""
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    floor = torch.finfo(x.dtype).eps * max(x.shape[1:]) * s[:, :1]
    inverse = torch.where(s > floor, s / (s.square() + penalty[:, 0]), 0.0)
    found: Tensor = v.mT @ (inverse[..., None] * (u.mT @ y))
    return found


class _Descent:
    """Coordinate descent in u = diag(A) b: minimises ½ b·A b - b·p + alpha |b|₁ for B problems.

    With z = p - A b + u, what the other coordinates leave to explain, a step in coordinate j is
    u_j = S(z_j), S the soft threshold at alpha; and u = S(z) for all j at once is the optimum.
    """

    def __init__(self, gram: Tensor, pull: Tensor, flat: Tensor, alpha: float, tol: float) -> None:
        self.gram, self.alpha, self.shape = gram, alpha, pull.shape  # (P, G, G)
        self.pull = pull.masked_fill(flat[..., None], 0.0)  # (P, G, R)
        diagonal = gram.diagonal(dim1=-2, dim2=-1)
        self.scale = torch.where(flat, 1.0, diagonal)[..., None]  # (P, G, 1)
        self.rest = self._columns(self.pull).clone()  # z: (G, B); steps are taken in place
        self.steps = list(self.rest.new_zeros(self.rest.shape))  # u: G rows (B,)
        self.tolerance = tol
        self.solution = torch.zeros_like(self.rest)
        self.done = torch.zeros_like(self.rest[0], dtype=torch.bool)
        # How a step in coordinate i changes the rest of the others: A_ji / A_ii, (G; G, P or 1).
        influence = gram / self.scale.mT
        influence.diagonal(dim1=-2, dim2=-1).zero_()
        self.influence = influence.masked_fill_(flat[:, None], 0.0).permute(2, 1, 0).contiguous()

    def run(self, sweeps: int, rank: int) -> bool:
        """Whether all problems were solved within so many sweeps."""
        every, used, round_ = range(len(self.steps)), 0, 2
        while used < sweeps:
            self._sweep(every)
            u = torch.stack(self.steps)
            active = u.any(1).nonzero()[:, 0].tolist()
            for _ in range(min(round_, sweeps - used) - 1):
                self._sweep(active)
            used, round_ = used + round_, round_ + round_ // 2
            u = torch.stack(self.steps)
            self._keep(u)
            self._keep(self._on_support(u, rank))
            if bool(self.done.all()):
                return True
        self.solution = torch.where(self.done, self.solution, u)
        return False

    def coefficients(self) -> Tensor:
        return self._rows(self.solution) / self.scale

    def _sweep(self, coordinates: range | list[int]) -> None:
        rest, steps = list(self.rest), self.steps
        for j in coordinates:
            step = softshrink(rest[j], self.alpha)
            self.rest.addcmul_(self.influence[j], step - steps[j], value=-1.0)
            steps[j] = step

    def _keep(self, u: Tensor) -> None:
        """Take over the problems that u solves."""
        rows = self._rows(u)
        rest = self._columns(self.pull - self.gram @ (rows / self.scale) + rows)
        missed = (softshrink(rest, self.alpha) - u).abs().amax(0)
        size = torch.maximum(self._columns(self.pull).abs().amax(0), u.abs().amax(0))
        solved = ~(missed > self.tolerance * size) & ~self.done
        self.solution = torch.where(solved, u, self.solution)
        self.done |= solved

    def _on_support(self, u: Tensor, rank: int) -> Tensor:
        """Solve A b = p - alpha sign(b) on the coordinates that are not zero."""
        signs = u.sign().mT  # (B, G)
        count = int(signs.abs().sum(1).max())
        if not 0 < count <= rank:
            return u
        here, where = signs.abs().topk(count, dim=1)  # (B, M), padded with zero coordinates
        problem = torch.arange(len(where), device=where.device)[:, None, None] % len(self.gram)
        gram = self.gram[problem, where[:, :, None], where[:, None, :]]
        gram = gram * here[:, :, None] * here[:, None, :] + torch.diag_embed(1 - here)
        wanted = (self._columns(self.pull).mT - self.alpha * signs).gather(1, where) * here
        factor, _ = torch.linalg.cholesky_ex(gram)
        values = torch.cholesky_solve(wanted[..., None], factor)[..., 0]
        b = torch.zeros_like(signs).scatter_(1, where, values * here)
        return self._columns(self._rows(b.mT) * self.scale)

    def _columns(self, rows: Tensor) -> Tensor:
        """(P, G, R) as (G, B)."""
        return rows.transpose(0, 1).flatten(1).contiguous()

    def _rows(self, columns: Tensor) -> Tensor:
        """(G, B) as (P, G, R)."""
        return columns.reshape(self.shape[1], self.shape[0], self.shape[2]).transpose(0, 1)
