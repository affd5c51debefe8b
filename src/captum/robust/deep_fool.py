"""DeepFool: the shortest way over the nearest border, as if borders were straight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.model import Model
from captum._engine.nest import Tensors
from captum._engine.target import by_row
from captum.robust.base import Assault, Attack
from captum.robust.losses import labels_of
from captum.robust.norms import NORMS, check


class DeepFool(Attack):
    r"""x ← x + (1 + o) |f_k - f_y| / ‖w‖² w, w = ∇f_k - ∇f_y, for the class k that is nearest.

    Until the answer is another. Borders are nearest by |f_k - f_y| / ‖w‖; for "Linf" the length is
    the sum of w's sizes, and the step goes along its sign.

    Paper: Moosavi-Dezfooli et al., DeepFool: a simple and accurate method to fool deep neural
    networks (2016), https://arxiv.org/abs/1511.04599.

    Args:
        forward_func: the model, of logits (N, C).
        lower_bound: of what inputs may become.
        upper_bound: likewise.

    >>> import torch
    >>> from captum.robust import DeepFool
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> DeepFool(model).perturb(torch.tensor([[2., 1.]]), overshoot=0.02)
    tensor([[1.4900, 1.5100]])
    """

    def __init__(
        self,
        forward_func: Model,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
    ) -> None:
        super().__init__(forward_func, "ce", lower_bound, upper_bound)

    def perturb(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        step_num: int = 50,
        classes: int = 10,
        overshoot: float = 0.02,
        norm: str = "L2",
        mask: Any = None,
    ) -> Any:
        """The point behind the border, in the inputs' own shape.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            target: the answers to leave: the model's own by default. An example that is answered
                otherwise stays as it is.
            additional_forward_args: see the glossary: what else the model takes, by position.
            step_num: at most so many steps.
            classes: how many of the most likely ones count.
            overshoot: o, how much further than the border.
            norm: "L2" or "Linf".
            mask: of the inputs' shape: 0 where nothing may change.

        Raises:
            TypeError: inputs of integers.
            ValueError: another norm, or an output that is not (N, C) with two classes or more.
        """
        check(norm, NORMS, "norm")
        with self._opened(inputs, 0, additional_forward_args, False, mask) as assault:
            points = tuple(x.clone() for x in assault.start)
            logits = _logits(assault, points)
            own = logits.argmax(1) if target is None else labels_of(target, assault.rows)
            own = own.to(logits.device)
            others = logits.scatter(1, own[:, None], float("-inf"))
            ranked = others.topk(min(classes, logits.shape[1] - 1), 1).indices
            for _ in range(step_num):
                going = (logits.argmax(1) == own).nonzero()[:, 0]
                if not len(going):
                    break
                some = assault.of(going)
                there = tuple(point[going] for point in points)
                moved = _moved(some, there, own[going], ranked[going], overshoot, norm)
                for point, new in zip(points, moved, strict=True):
                    point[going] = new
                logits[going] = _logits(some, moved)
            return assault.result(points)


def _logits(assault: Assault, points: Tensors) -> Tensor:
    logits = assault.outputs(points)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise wrong(
            ValueError, "logits (N, C) of two classes or more", describe(logits), "a classifier"
        )
    return logits


def _moved(
    assault: Assault, points: Tensors, own: Tensor, others: Tensor, overshoot: float, norm: str
) -> Tensors:
    """Points as far as the border that seems nearest, and a little further."""
    asked = torch.cat([own[:, None], others], 1)
    targets = tuple(by_row(column[:, None]) for column in asked.T)
    call = replace(assault.call, targets=targets, several=True)
    numbers, _, slopes = assault.engine.differentiated(call, inputs=points)
    gaps = (numbers[1:] - numbers[0]).abs()  # (K, n)
    ways = [(g[1:] - g[:1]) * m for g, m in zip(slopes, assault.free, strict=True)]  # (K, n, *F)
    flat = torch.cat([way.flatten(2) for way in ways], 2)
    size = flat.square().sum(2).sqrt() if norm == "L2" else flat.abs().sum(2)
    size = size.clamp_min(torch.finfo(size.dtype).tiny)
    nearest = (gaps / size).argmin(0)
    each = torch.arange(len(own), device=nearest.device)
    far = (1 + overshoot) * (gaps / size)[nearest, each]
    moved = []
    for x, way in zip(points, ways, strict=True):
        chosen = way[nearest, each]
        rows = (len(x), *[1] * (x.ndim - 1))
        unit = chosen / size[nearest, each].view(rows) if norm == "L2" else chosen.sign()
        moved.append(x + far.view(rows) * unit)
    return assault.within(tuple(moved))
