"""APGD: PGD that chooses its own steps, and goes back to the best point where it is stuck."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import wrong
from captum._engine.model import Model
from captum._engine.nest import Tensors
from captum.robust.base import Assault, Attack, tell_masked
from captum.robust.losses import LossFunction
from captum.robust.norms import NORMS, anywhere, by_example, check, chosen_rows, near, unit

_KEEP = 0.75  # of a new step; the rest is the step before
_ENOUGH = 0.75  # of the steps between two looks have to go up
_FIRST, _LESS, _LEAST = 0.22, 0.03, 0.06  # of all steps, between two looks


class APGD(Attack):
    r"""z = Π_r(x_t + η s(∇ℓ)); x_{t+1} = Π_r(x_t + ¾ (z - x_t) + ¼ (x_t - x_{t-1})); the best x_t.

    s is the sign, or for L2 the direction. η starts at 2 r and is halved, for each example alone,
    where fewer than ¾ of its steps went up since the last look, or none went higher than before;
    it then goes on from the best point so far.

    Paper: Croce, Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks (2020), https://arxiv.org/abs/2003.01690.

    Args:
        forward_func: the model; of logits (N, C) for the losses by name.
        loss_func: "ce", cross-entropy; "dlr", which no scale of the logits can hide; or a function
            of output and labels: losses one by one.
        lower_bound: of what inputs may become.
        upper_bound: likewise.

    >>> import torch
    >>> from captum.robust import APGD
    >>> model = torch.nn.Linear(2, 3, bias=False)
    >>> model.weight.data = torch.tensor([[1., -1.], [-1., 1.], [0., 0.]])
    >>> APGD(model).perturb(torch.zeros(1, 2), radius=0.25, target=0, step_num=10)
    tensor([[-0.2500,  0.2500]])
    """

    def __init__(
        self,
        forward_func: Model,
        loss_func: LossFunction | str | None = "ce",
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
    ) -> None:
        super().__init__(forward_func, loss_func, lower_bound, upper_bound)

    def perturb(
        self,
        inputs: Any,
        radius: float | Tensor,
        target: Any,
        additional_forward_args: Any = None,
        targeted: bool = False,
        step_num: int = 100,
        random_start: bool = False,
        norm: str = "Linf",
        mask: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Any:
        """The point of the largest loss, in the inputs' own shape.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            radius: r, for all or for each example; every tensor of a tuple has its own ball.
            target: the true labels, or the wanted ones.
            additional_forward_args: see the glossary: what else the model takes, by position.
            targeted: `target` is wanted: the loss is to fall.
            step_num: how many steps.
            random_start: start anywhere in the ball.
            norm: "Linf", the largest change of an entry, or "L2", the length of the change.
            mask: of the inputs' shape: 0 where nothing may change.
            generator: of the random start.

        Raises:
            TypeError: inputs of integers.
            ValueError: another norm, or labels that do not belong to the examples.
        """
        check(norm, NORMS, "norm")
        if step_num < 1:
            raise wrong(ValueError, "step_num of at least 1", repr(step_num), "step_num=100")
        with self._opened(inputs, target, additional_forward_args, targeted, mask) as assault:
            radii = by_example(radius, assault.call, "radius")
            start = assault.start
            if random_start:
                start = assault.within(anywhere(start, radii, norm, assault.masks, generator))
            return assault.result(_climbed(assault, start, radii, norm, step_num))


def _climbed(
    assault: Assault, start: Tensors, radii: list[Tensor], norm: str, step_num: int
) -> Tensors:
    """The best point of every example."""

    def projected(points: Tensors) -> Tensors:
        return assault.within(near(assault.start, points, radii, norm))

    height, slopes = assault.slopes(start)
    tell_masked(slopes)
    at = before = best = start
    best_height, best_slopes = height, slopes
    steps = 2 * torch.ones_like(height)  # η, in radii
    went_up = torch.zeros_like(height)
    last_best, halved = best_height, torch.ones_like(height, dtype=torch.bool)
    looks, last_look = _looks(step_num), 0
    for t in range(step_num):
        ways = tuple(g.sign() if norm == "Linf" else unit(g) for g in slopes)
        moved = projected(
            tuple(x + _rows(steps, x) * r * w for x, r, w in zip(at, radii, ways, strict=True))
        )
        if t:
            moved = projected(
                tuple(
                    x + _KEEP * (z - x) + (1 - _KEEP) * (x - y)
                    for x, y, z in zip(at, before, moved, strict=True)
                )
            )
        before, at = at, moved
        higher, slopes = assault.slopes(at)
        went_up += higher > height
        height = higher
        better = height > best_height
        best = chosen_rows(better, at, best)
        best_slopes = chosen_rows(better, slopes, best_slopes)
        best_height = torch.where(better, height, best_height)
        if t + 1 in looks:
            stuck = went_up < _ENOUGH * (t + 1 - last_look)
            stuck |= ~halved & (best_height <= last_best)
            steps = torch.where(stuck, steps / 2, steps)
            at, slopes = chosen_rows(stuck, best, at), chosen_rows(stuck, best_slopes, slopes)
            height = torch.where(stuck, best_height, height)
            last_best, halved, last_look = best_height, stuck, t + 1
            went_up = torch.zeros_like(went_up)
    return best


def _looks(step_num: int) -> set[int]:
    """The steps after which an example's step is looked at: ever more often."""
    found, share, gap = [], _FIRST, _FIRST
    while share <= 1:
        found.append(max(1, round(share * step_num)))
        gap = max(gap - _LESS, _LEAST)
        share += gap
    return set(found)


def _rows(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))
