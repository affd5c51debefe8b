"""The data that models are fitted to: batches (x, y) or (x, y, weights)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong


class Batch(NamedTuple):
    """x (N, F), y (N,) or (N, C), and weights (N,) or None."""

    x: Tensor
    y: Tensor
    weights: Tensor | None


def read(batch: Any, device: Any = None) -> Batch:
    """A batch as the user's loader gives it; moved to the device, if one is named."""
    fits = isinstance(batch, tuple | list) and len(batch) in {2, 3}
    x, y, weights = (*batch, None)[:3] if fits else (None, None, None)
    fits = isinstance(x, Tensor) and isinstance(y, Tensor)
    fits = fits and x.ndim == 2 and y.ndim in {1, 2} and len(x) == len(y)
    if not fits or (weights is not None and weights.numel() != len(x)):
        raise wrong(
            ValueError,
            "batches of x (N, F), y (N,) or (N, C) and, if any, weights (N,)",
            describe(batch),
            "model.fit(DataLoader(TensorDataset(x, y, weights), batch_size=32))",
        )
    weights = None if weights is None else weights.detach().reshape(-1).to(device)
    return Batch(x.detach().to(device), y.detach().to(device), weights)


def together(batches: Iterable[Any]) -> Batch:
    """All batches as one."""
    parts = [read(batch) for batch in batches]
    some = [part.weights for part in parts if part.weights is not None]
    if not parts or len(some) not in {0, len(parts)}:
        got = "none" if not parts else "weights in some of them only"
        raise wrong(ValueError, "at least one batch, all alike", got, "model.fit([(x, y)])")
    x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])
    return Batch(x, y, torch.cat(some) if some else None)
