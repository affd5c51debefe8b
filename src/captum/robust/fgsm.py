"""FGSM: one step up the loss, as long in every entry."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum._engine.model import Model
from captum.robust.base import Attack, tell_masked
from captum.robust.losses import LossFunction
from captum.robust.norms import by_example


class FGSM(Attack):
    r"""x' = x + ε sign ∇ℓ(f(x), y); for a wanted answer t, x' = x - ε sign ∇ℓ(f(x), t).

    Paper: Goodfellow et al., Explaining and harnessing adversarial examples (2014),
    https://arxiv.org/abs/1412.6572.

    Args:
        forward_func: the model.
        loss_func: of output and labels: losses one by one, or their sum or mean. -log f of the
            target's output f by default, as of probabilities; of what is not positive, -f.
        lower_bound: of what inputs may become.
        upper_bound: likewise. Another `bound`, a function of a tensor, may be set instead.

    >>> import torch
    >>> from captum.robust import FGSM
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.tensor([[1., -1.], [-1., 1.]])
    >>> FGSM(model, torch.nn.CrossEntropyLoss()).perturb(torch.zeros(1, 2), 0.1, target=0)
    tensor([[-0.1000,  0.1000]])
    """

    def __init__(
        self,
        forward_func: Model,
        loss_func: LossFunction | str | None = None,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
    ) -> None:
        super().__init__(forward_func, loss_func, lower_bound, upper_bound)
        self.zero_thresh = 10**-6

    def perturb(
        self,
        inputs: Any,
        epsilon: float | Tensor,
        target: Any,
        additional_forward_args: Any = None,
        targeted: bool = False,
        mask: Any = None,
    ) -> Any:
        """x', in the inputs' own shape.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            epsilon: how far, for all or for each example. Entries whose gradient is smaller than
                `zero_thresh` stay.
            target: the true labels, or the wanted ones: as the loss takes them, or one for all.
            additional_forward_args: see the glossary: what else the model takes, by position.
            targeted: `target` is wanted: the loss is to fall.
            mask: of the inputs' shape: 0 where nothing may change.

        Raises:
            TypeError: inputs of integers.
            ValueError: labels that do not belong to the examples, or a negative epsilon.
        """
        with self._opened(inputs, target, additional_forward_args, targeted, mask) as assault:
            lengths = by_example(epsilon, assault.call, "epsilon")
            slopes = assault.slopes(assault.start)[1]
            tell_masked(slopes)
            moved = tuple(
                x + length * torch.where(g.abs() < self.zero_thresh, 0, g.sign())
                for x, length, g in zip(assault.start, lengths, slopes, strict=True)
            )
            return assault.result(assault.within(moved))
