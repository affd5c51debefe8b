"""Least squares, ridge and lasso, many problems at once.

Every problem of a batch has the rows x in common; the values y are its own, and the weights may be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from captum._engine.errors import describe, warn, wrong
from captum._engine.paths import wide

_NEAR = 1e-5  # the mean of parts · slack, relative to alpha, from where an active set is faster


class _Centred(NamedTuple):
    """√w (x - x̄) and √w (y - ȳ), with weights of sum one.

    P problems with weights of their own have one column of values each; problems that share their
    weights are the R columns of a single one.
    """

    x: Tensor  # (P, K, G)
    y: Tensor  # (P, K, R)
    x_mean: Tensor  # (P, 1, G)
    y_mean: Tensor  # (P, 1, R)
    size: Tensor  # (P, 1): the norm of √w x before it was centred
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
    if data.x.shape[2] > data.x.shape[1]:  # normal equations would be larger than the rows
        return data.finish(_by_singular_values(data.x, data.y, penalty, data.size))
    found, sound = _normal_equations(data, penalty)
    if not bool(sound.all()):
        bad = ~sound
        found[bad] = _by_singular_values(data.x[bad], data.y[bad], penalty[bad], data.size[bad])
    return data.finish(found)


@torch.no_grad()
def lasso(
    x: Tensor,
    y: Tensor,
    weights: Tensor | None = None,
    alpha: float = 1.0,
    intercept: bool = True,
    tol: float | None = None,
    steps: int = 1000,
) -> tuple[Tensor, Tensor]:
    r"""argmin over b, c of Σₖ wₖ (yₖ - xₖ·b - c)² / (2 Σₖ wₖ) + alpha |b|₁.

    An interior point method (Mehrotra 1992) comes near in some ten steps, whatever the rank of x;
    an active set (Osborne, Presnell, Turlach 2000) ends at the solution, with zeros that are zero.
    Of several solutions it is one in the middle: equal columns share their coefficient.

    Args:
        x: rows (K, G), the same for all problems.
        y: values (*B, K).
        weights: (K,) for all problems or (*B, K), not negative; None weighs all rows with 1.
        alpha: the strength of the penalty.
        intercept: whether there is a constant c; without it c = 0.
        tol: by how much the optimality conditions may be missed, relative to the norms of a column
            and of y, or of the largest xⱼ bⱼ; None is as much as the numbers' precision allows.
        steps: how many changes of the active set to try before giving up, with a warning.

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
    if data.x.shape[2] * data.y.shape[2] == 0:
        return data.finish(data.x.new_zeros(len(data.x), data.x.shape[2], data.y.shape[2]))
    problems = _Lasso.of(data, alpha, tol)
    b, solved = problems.solution(problems.near(), steps)
    if not solved:
        warn(
            f"lasso: not converged after {steps} steps; the coefficients are close, not exact. "
            "A larger alpha or more steps help."
        )
    return data.finish((b * problems.unit).mT.to(data.x.dtype))


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
    own = weights.ndim > 1
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
    if not intercept:
        x_mean, y_mean = torch.zeros_like(x_mean), torch.zeros_like(y_mean)
    root = w.sqrt()
    rows, columns = root * (x - x_mean), root * (columns - y_mean)
    # What is left of a constant column after centring is rounding, and says nothing of y.
    norms = (w * x.square()).sum(1).sqrt()
    flat = torch.linalg.vector_norm(rows, dim=1) <= 32 * torch.finfo(kind).eps * norms
    rows, norms = rows.masked_fill(flat[:, None], 0.0), norms.masked_fill(flat, 0.0)
    size = torch.linalg.vector_norm(norms, dim=1, keepdim=True)
    return _Centred(rows, columns, x_mean, y_mean, size, total, y.shape[:-1])


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


def _by_singular_values(x: Tensor, y: Tensor, penalty: Tensor, size: Tensor) -> Tensor:
    """The solution of least norm, whatever the rank, for rows as exact as their size allows."""
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    floor = torch.finfo(x.dtype).eps * max(x.shape[1:]) * size
    inverse = torch.where(s > floor, s / (s.square() + penalty[:, 0]), 0.0)
    found: Tensor = v.mT @ (inverse[..., None] * (u.mT @ y))
    return found.masked_fill(~x.any(1)[..., None], 0.0)


class _Lasso(NamedTuple):
    """½ |y - x b|² + alpha·|b| for many problems, with columns and values of norm one."""

    x: Tensor  # (P, K, G)
    y: Tensor  # (P, R, K)
    alpha: Tensor  # (P, R, G)
    unit: Tensor  # (P, R, G): b counts in these
    tol: float

    @classmethod
    def of(cls, data: _Centred, alpha: float, tol: float | None) -> _Lasso:
        """The same problems scaled, with no more rows than columns, and as exact as can be."""
        exact = torch.float32 if data.x.device.type == "mps" else torch.float64
        tol = torch.finfo(exact).eps ** 0.75 if tol is None else tol
        x, y = data.x.to(exact), data.y.mT.to(exact)
        norms, size = torch.linalg.vector_norm(x, dim=1), y.norm(dim=-1, keepdim=True)
        flat = norms == 0
        norms, size = norms.masked_fill(flat, 1.0)[:, None], size.masked_fill(size == 0, 1.0)
        x, y = x / norms, y / size
        if x.shape[1] > x.shape[2]:
            turned, x = torch.linalg.qr(x)
            y = y @ turned
        # An alpha of 1 leaves no coefficient, and one far below the tolerance is as good as none.
        level = (alpha / (norms * size)).clamp(tol / 8, 2.0).masked_fill(flat[:, None], 2.0)
        return cls(x, y, level, size / norms, tol)

    def near(self, rounds: int = 30) -> Tensor:
        """A point near the solution, zero where the solution seems to be, (P, R, G).

        An interior point method with predictor and corrector (Mehrotra 1992).
        """
        pull = self.y @ self.x
        inside = (self.alpha / pull.abs() / 2).amin(-1, keepdim=True).clamp(max=1.0)
        slack = torch.stack([self.alpha - inside * pull, self.alpha + inside * pull])
        at = _Point(slack.amin((0, -1))[..., None] / slack, slack, inside * self.y)
        for _ in range(rounds):
            gap, product = at.gap(), at.parts * at.slack
            done = gap <= _NEAR * self.alpha.amin(-1, keepdim=True)
            if bool(done.all()):
                break
            solve = self._dual((at.parts / at.slack).sum(0))
            way = self._newton(at, -product, solve)
            ahead = at.plus(way, at.room(way)).gap() / gap
            wanted = ahead**3 * gap - product - way.parts * way.slack
            way = self._newton(at, wanted, solve)
            still = done | way.r.isnan().any(-1, keepdim=True)
            at = at.plus(way, torch.where(still, 0.0, 0.99 * at.room(way)))
        return torch.where((at.parts > at.slack).any(0), at.parts[0] - at.parts[1], 0.0)

    def solution(self, b: Tensor, steps: int) -> tuple[Tensor, bool]:
        """The solution, from any b near it, and whether it was reached.

        A step goes towards the best values of the coordinates that are not zero, up to where the
        first of them becomes zero, and there it stays. After a step that met no zero, the
        coordinate that misses its condition most joins them (Osborne, Presnell, Turlach 2000). A
        last step takes what is within the tolerance to what the numbers hold.
        """
        x, alpha = self.x, self.alpha
        # Ever less of a ridge penalty on the step, for columns that depend on others.
        eps = torch.finfo(x.dtype).eps
        first, least = eps**0.5, eps**0.75 * x.shape[2] ** 0.5
        little = first
        free = last = torch.zeros_like(b[..., :1], dtype=torch.bool)
        for _ in range(steps):
            pull, on = (self.y - b @ x.mT) @ x, b != 0
            off = pull - torch.maximum(torch.minimum(pull, alpha), -alpha)
            missed = torch.where(on, pull - alpha * b.sign(), off)
            worst, where = missed.abs().max(-1, keepdim=True)
            done = ~(worst > self.tol * b.abs().amax(-1, keepdim=True).clamp(min=1.0))
            if bool((done & last).all()):
                return b, True
            joined = on.scatter(-1, where, on.gather(-1, where) | (free & ~done))
            ratio = joined / torch.where(done, first, little)
            way = ratio * missed
            way = way - ratio * (self._dual(ratio)(way @ x.mT) @ x)
            zero = torch.where(b * way < 0, -b / way, torch.inf)
            step = zero.amin(-1, keepdim=True)
            free, step = step > 1, step.clamp(max=1.0).masked_fill(done & last, 0.0)
            last = done
            b, little = torch.where(zero > step, _moved(b, way, step), 0.0), max(little / 4, least)
        return b, False

    def _newton(self, at: _Point, more: Tensor, solve: Callable[[Tensor], Tensor]) -> _Point:
        """The way along which parts · slack grows by so much, and x b + r becomes y."""
        lack = self.y - (at.parts[0] - at.parts[1]) @ self.x.mT - at.r
        grown = more / at.slack
        turn = solve(lack - (grown[0] - grown[1]) @ self.x.mT)
        back = turn @ self.x
        slack = torch.stack([-back, back])
        return _Point(grown - at.parts / at.slack * slack, slack, turn)

    def _dual(self, ratio: Tensor) -> Callable[[Tensor], Tensor]:
        """r ↦ (1 + x diag(ratio) xᵀ)⁻¹ r, for ratio (P, R, G) and r (P, R, K)."""
        x = self.x[:, None]
        matrix = (x * ratio[..., None, :]) @ x.mT
        matrix.diagonal(dim1=-2, dim2=-1).add_(1.0)
        factor, _ = torch.linalg.cholesky_ex(matrix)
        return lambda r: torch.cholesky_solve(r[..., None], factor)[..., 0]


class _Point(NamedTuple):
    """b as a difference of two positive parts, their slacks alpha ∓ xᵀr, and the residual r.

    At the solution, parts · slack is zero and r is y - x b.
    """

    parts: Tensor  # (2, P, R, G)
    slack: Tensor  # (2, P, R, G)
    r: Tensor  # (P, R, K)

    def gap(self) -> Tensor:
        return (self.parts * self.slack).mean((0, -1))[..., None]

    def room(self, way: _Point) -> Tensor:
        """How much of the way leaves parts and slacks positive, at most all: (P, R, 1)."""
        values, change = torch.cat(self[:2]), torch.cat(way[:2])
        ends = torch.where(change < 0, -values / change, torch.inf)
        return ends.amin((0, -1))[..., None].clamp(max=1.0)

    def plus(self, way: _Point, step: Tensor) -> _Point:
        return _Point(*(_moved(a, b, step) for a, b in zip(self, way, strict=True)))


def _moved(start: Tensor, way: Tensor, step: Tensor) -> Tensor:
    """Where a step of zero is none, even along a way that could not be found."""
    return torch.where(step > 0, start + step * way, start)
