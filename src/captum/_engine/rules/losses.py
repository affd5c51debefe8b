"""Losses written out, for those who explain a loss: what a prediction got wrong, and why.

The arguments are those of `torch.nn.functional`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum._engine.rules.operation import Rule
from captum._engine.rules.written_out import written


def _reduced(rows: Tensor, reduction: str, weight: Tensor | None = None) -> Tensor:
    rows = rows if weight is None else rows * weight
    if reduction == "none":
        return rows
    return rows.sum() if reduction == "sum" else rows.mean()


def of_error(function: Callable[[Tensor], Tensor]) -> Rule:
    """A loss that is a function of the error, entry by entry."""

    @written
    def loss(
        x: Tensor,
        target: Tensor,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> Tensor:
        return _reduced(function(x - target), reduction, weight)

    return loss


@written
def huber(
    x: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """½ e² up to δ, δ (|e| - ½ δ) beyond: with m = min(|e|, δ), m (|e| - ½ m)."""
    error = (x - target).abs()
    small = error.clamp(max=delta)
    return _reduced(small * (error - small / 2), reduction, weight)


@written
def smooth(
    x: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    if beta == 0:
        return _reduced((x - target).abs(), reduction)
    error = (x - target).abs()
    small = error.clamp(max=beta)
    return _reduced(small * (error - small / 2) / beta, reduction)


@written
def cross_entropy(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    classes = 1 if x.ndim > 1 else 0
    log_p = torch.log_softmax(x, classes)
    of_class = torch.ones(x.shape[classes]).to(x) if weight is None else weight
    scaled = log_p * of_class.view(-1, *[1] * (x.ndim - classes - 1))
    smooth_rows = -scaled.mean(classes)
    if target.is_floating_point():
        rows = -(scaled * target).sum(classes) * (1 - label_smoothing)
        rows = rows + label_smoothing * smooth_rows
        return rows.sum() / max(len(x), 1) if reduction == "mean" else _reduced(rows, reduction)
    kept = target != ignore_index
    hard = F.nll_loss(log_p, target, weight, ignore_index=ignore_index, reduction=reduction)
    if not label_smoothing:
        return hard
    soft = smooth_rows * kept
    if reduction == "mean":
        soft = soft.sum() / (of_class[target * kept] * kept).sum()
    else:
        soft = _reduced(soft, reduction)
    return (1 - label_smoothing) * hard + label_smoothing * soft


@written
def binary_with_logits(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    more: Any = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    return _reduced((1 - target) * x + more * F.softplus(-x), reduction, weight)


@written
def binary(
    p: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    # Logarithms end at -100, as torch's do.
    hit, miss = torch.log(p).clamp(min=-100), torch.log(1 - p).clamp(min=-100)
    return _reduced(-(target * hit + (1 - target) * miss), reduction, weight)


LOSSES: dict[str, Rule] = {
    "mse_loss": of_error(torch.square),
    "l1_loss": of_error(torch.abs),
    "huber_loss": huber,
    "smooth_l1_loss": smooth,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy_with_logits": binary_with_logits,
    "binary_cross_entropy": binary,
}
