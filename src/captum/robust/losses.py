"""What attacks make large: a loss of the output and the labels, one number per example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.nest import map_tensors, tensors
from captum._engine.target import Loss, Target, as_tensor, make_targets

LossFunction = Callable[[Any, Any], Tensor]
_FEWEST = 3  # classes that a ratio of differences needs


@dataclass(frozen=True, kw_only=True)
class NegativeLog(Target):
    """`negative_log` of what a target picks."""

    of: Target

    def tile(self, copies: int) -> NegativeLog:
        return replace(self, of=self.of.tile(copies))

    def narrow(self, start: int, length: int) -> NegativeLog:
        return replace(self, of=self.of.narrow(start, length))

    def chosen(self, rows: Tensor) -> NegativeLog:
        return replace(self, of=self.of.chosen(rows))

    def select(self, output: Any) -> Tensor:
        return negative_log(self.of.select(output))


def negative_log(values: Tensor) -> Tensor:
    """-log f where f is positive, as of probabilities; else -f, which grows as f falls, too.

    >>> import torch
    >>> from captum.robust.losses import negative_log
    >>> negative_log(torch.tensor([1., -2.]))
    tensor([-0., 2.])
    """
    positive = values > 0
    return torch.where(positive, -torch.where(positive, values, 1).log(), -values)


def cross_entropy(output: Any, labels: Tensor) -> Tensor:
    """-log p of the label, of logits (N, C)."""
    return F.cross_entropy(as_tensor(output), labels, reduction="none")


def logit_ratio(output: Any, labels: Tensor) -> Tensor:
    r"""-(z_y - max_{i≠y} z_i) / (z_π1 - z_π3), of logits z in falling order π: DLR.

    Neither a shift nor a scale of the logits changes it, so it has a slope where a softmax has
    none.

    Paper: Croce, Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks (2020), https://arxiv.org/abs/2003.01690.

    >>> import torch
    >>> from captum.robust.losses import logit_ratio
    >>> logit_ratio(torch.tensor([[3., 1., 0.]]), torch.tensor([0]))
    tensor([-0.6667])
    """
    logits = as_tensor(output)
    if logits.ndim != 2 or logits.shape[1] < _FEWEST:
        raise wrong(
            ValueError,
            f"logits (N, C) of at least {_FEWEST} classes for the DLR loss",
            describe(logits),
            "loss_func='ce'",
        )
    largest = logits.topk(_FEWEST, 1).values
    spread = largest[:, 0] - largest[:, 2]
    return -margins(logits, labels) / spread.clamp_min(torch.finfo(spread.dtype).tiny)


def margins(output: Any, labels: Tensor) -> Tensor:
    """z_y - max_{i≠y} z_i: positive where the answer is right, (N,)."""
    logits = as_tensor(output)
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], float("-inf")).amax(1)


NAMED: dict[str, LossFunction] = {"ce": cross_entropy, "dlr": logit_ratio}


def loss_target(loss_func: LossFunction | str | None, target: Any, examples: int) -> Target:
    """The loss as what the engine explains."""
    if loss_func is None:
        (label,) = make_targets(target, examples)
        return NegativeLog(of=label)
    if isinstance(loss_func, str):
        if loss_func not in NAMED:
            names = " or ".join(map(repr, NAMED))
            raise wrong(ValueError, f"loss_func {names}", repr(loss_func), "loss_func='ce'")
        loss_func = NAMED[loss_func]
    return Loss(loss=loss_func, labels=labels_of(target, examples))


def labels_of(target: Any, examples: int) -> Any:
    """Labels with a row for each example: one for all is repeated."""

    def repeated(label: Tensor) -> Tensor:
        label = label.clone() if label.is_inference() else label  # a loss may keep it for autograd
        return label.reshape(1).expand(examples) if label.numel() == 1 else label

    if isinstance(target, int) or (
        isinstance(target, list) and all(isinstance(each, int) for each in target)
    ):
        target = torch.tensor(target)
    found = map_tensors(repeated, target)
    for label in tensors(found):
        if len(label) != examples:
            raise wrong(
                ValueError,
                f"a label for all, or one for each of the {examples} examples",
                describe(label),
                "target=labels, with a row for each example",
            )
    return found
