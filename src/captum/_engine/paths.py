"""Integrals along a path from a baseline to an input: nodes, weights, points."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from captum._engine.errors import wrong
from captum._engine.nest import Tensors

Quadrature = Literal[
    "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"
]
Path = Callable[[Tensor, Tensor, Tensor], Tensor]


@lru_cache(maxsize=64)
def quadrature(method: str, steps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    r"""Nodes and weights with ∫₀¹ g(α) dα ≈ Σₛ wₛ g(αₛ).

    >>> quadrature("riemann_trapezoid", 3)
    ((0.0, 0.5, 1.0), (0.25, 0.5, 0.25))
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise wrong(ValueError, "n_steps of at least 1", f"n_steps={steps!r}", "n_steps=50")
    if method == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return tuple(((nodes + 1) / 2).tolist()), tuple((weights / 2).tolist())
    if method == "riemann_trapezoid" and steps > 1:
        weights = np.full(steps, 1 / (steps - 1))
        weights[[0, -1]] /= 2
        return tuple(np.linspace(0, 1, steps).tolist()), tuple(weights.tolist())
    offsets = {
        "riemann_left": 0.0,
        "riemann_right": 1.0,
        "riemann_middle": 0.5,
        "riemann_trapezoid": 0.5,
    }
    if method not in offsets:
        known = ", ".join(["gausslegendre", *offsets])
        raise wrong(
            ValueError, f"one of the methods {known}", repr(method), "method='gausslegendre'"
        )
    nodes = (np.arange(steps) + offsets[method]) / steps
    return tuple(nodes.tolist()), (1 / steps,) * steps


def nodes(method: str, steps: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights as tensors of shape (S,), beside a value and as exact as it can use."""
    at, weights = quadrature(method, steps)
    kind = torch.float64 if like.dtype in (torch.float64, torch.complex128) else torch.float32
    return (
        torch.tensor(at, dtype=kind, device=like.device),
        torch.tensor(weights, dtype=kind, device=like.device),
    )


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type sums are kept in: float32 or better, whatever the model computes in."""
    return torch.promote_types(dtype, torch.float32)


def straight(alphas: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """The points x₀ + α(x - x₀), of shape (S, N, *F)."""
    weights = alphas.to(end.dtype).view(-1, *[1] * end.ndim)
    return torch.lerp(start.expand_as(end), end, weights)


def points(path: Path, alphas: Tensor, start: Tensors, end: Tensors) -> Tensors:
    """The points of every tensor's path, as rows for the model and in the dtype it takes."""
    return tuple(
        path(alphas.to(b.device), a, b).flatten(0, 1).to(b.dtype)
        for a, b in zip(start, end, strict=True)
    )


def velocity(
    path: Path, alphas: Tensor, start: Tensor, end: Tensor, create_graph: bool = False
) -> Tensor:
    """dγ/dα at every node, of shape (S, N, *F); a straight path has the same one everywhere."""
    if path is straight:
        return (end - start).unsqueeze(0)
    if not create_graph:
        start, end = start.detach(), end.detach()
    with torch.enable_grad():
        alphas = alphas.to(end.device).requires_grad_()
        curve = path(alphas, start, end)
        # A point depends on its own α alone, so Σ v·γ' is linear in v with slope γ'.
        probe = torch.zeros_like(curve, requires_grad=True)
        (along,) = torch.autograd.grad(curve, alphas, probe, create_graph=True)
        (tangent,) = torch.autograd.grad(along.sum(), probe, create_graph=create_graph)
    return tangent if create_graph else tangent.detach()
