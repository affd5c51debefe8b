"""Losses in one form: a number for each example, or their sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.nest import first_tensor, tensors
from captum._engine.per_sample.source import Loss


def _output(output: Any, targets: Any) -> Tensor:
    found = first_tensor(output)
    if found is None:
        raise wrong(TypeError, "a model that returns losses", describe(output), "loss_fn=...")
    return found


LossFunction = Callable[[Any, Any], Tensor]


def summed(loss_fn: LossFunction | None) -> Loss:
    """What is summed over examples: losses one by one, their sum, or their mean times their number.

    A mean is of the examples of a batch; how it is meant is in `loss_fn.reduction`, and a function
    that says nothing is a sum. Without a function, the model's output is the losses.
    """
    if loss_fn is None:
        return _output
    if not callable(loss_fn):
        raise wrong(
            TypeError,
            "a loss of output and targets",
            describe(loss_fn),
            "loss_fn=nn.CrossEntropyLoss(reduction='none')",
        )
    mean = getattr(loss_fn, "reduction", "sum") == "mean"

    def loss(output: Any, targets: Any) -> Tensor:
        found = loss_fn(output, targets)
        if mean and found.ndim == 0:
            return found * len(next(tensors((targets, output))))
        return found

    return loss
