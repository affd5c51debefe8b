"""Balls around the inputs: how long a change is, and the nearest one that is short enough."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum._engine.call import Call
from captum._engine.errors import describe, wrong
from captum._engine.nest import Tensors

NORMS = ("Linf", "L2")


def check(value: str, known: tuple[str, ...], name: str) -> None:
    if value not in known:
        names = " or ".join(map(repr, known))
        raise wrong(ValueError, f"{name} {names}", repr(value), f"{name}={known[0]!r}")


def near(start: Tensors, points: Tensors, radii: list[Tensor], norm: str) -> Tensors:
    """The nearest points at most r from the start."""
    return tuple(
        x + shortened(p - x, r, norm) for x, p, r in zip(start, points, radii, strict=True)
    )


def shortened(change: Tensor, radius: Tensor, norm: str) -> Tensor:
    """The nearest change of at most a radius."""
    if norm == "Linf":
        return torch.minimum(torch.maximum(change, -radius), radius)
    size = lengths_of(change)
    return change * (radius / size.clamp_min(torch.finfo(size.dtype).tiny)).clamp(max=1)


def unit(change: Tensor) -> Tensor:
    """Each example's at length 1; 0 stays."""
    size = lengths_of(change)
    return change / size.clamp_min(torch.finfo(size.dtype).tiny)


def lengths_of(change: Tensor) -> Tensor:
    """The length of each example's, (N, 1, ...)."""
    found: Tensor = torch.linalg.vector_norm(change.flatten(1), dim=1)
    return found.reshape(-1, *[1] * (change.ndim - 1))


def anywhere(
    start: Tensors,
    radii: list[Tensor],
    norm: str,
    masks: Tensors | None,
    generator: torch.Generator | None,
) -> Tensors:
    """Points that are evenly spread over the balls; a mask holds there, too."""
    found = []
    for x, radius, mask in zip(start, radii, masks or (None,) * len(radii), strict=True):
        if norm == "Linf":
            change = torch.empty_like(x).uniform_(-1, 1, generator=generator) * radius
        else:
            way = unit(torch.empty_like(x).normal_(generator=generator))
            share = x.new_empty(len(x), *[1] * (x.ndim - 1)).uniform_(generator=generator)
            change = way * radius * share ** (len(x) / x.numel())
        found.append(x + (change if mask is None else change * mask))
    return tuple(found)


def chosen_rows(chosen: Tensor, those: Tensors, others: Tensors) -> Tensors:
    """The rows of those that are chosen (N,), and of the others."""
    return tuple(
        torch.where(chosen.to(a.device).reshape(-1, *[1] * (a.ndim - 1)), a, b)
        for a, b in zip(those, others, strict=True)
    )


def by_example(value: Any, call: Call, name: str) -> list[Tensor]:
    """A number, or one for each example, that multiplies rows of every input."""
    found = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
    if found.ndim > 1 or (found.ndim == 1 and len(found) not in (1, call.rows)):
        raise wrong(
            ValueError,
            f"{name}: a number, or one for each of the {call.rows} examples",
            describe(value),
            f"{name}=0.1",
        )
    if bool((found < 0).any()):
        raise wrong(ValueError, f"{name} of at least 0", repr(value), f"{name}=0.1")
    return [found.to(x.device, x.dtype).reshape(-1, *[1] * (x.ndim - 1)) for x in call.inputs]
