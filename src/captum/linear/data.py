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
    weights = None if weights is None else weights.detach().reshape(-1)
    found = Batch(x.detach(), y.detach(), weights)
    return found if device is None else Batch(*(None if t is None else t.to(device) for t in found))


def together(batches: Iterable[Any]) -> Batch:
    """All batches as one."""
    parts = [read(batch) for batch in batches]
    xs, ys, weights = ([part[i] for part in parts] for i in range(3))
    some = [w for w in weights if w is not None]
    if not parts or len(some) not in {0, len(parts)}:
        got = "none" if not parts else "weights in some of them only"
        raise wrong(ValueError, "at least one batch, all alike", got, "model.fit([(x, y)])")
    return Batch(torch.cat(xs), torch.cat(ys), torch.cat(some) if some else None)
