"""PGD: steps up the loss, never far from the inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import wrong
from captum.robust.base import Attack, tell_masked
from captum.robust.norms import NORMS, anywhere, by_example, check, near, unit

_STEPS = ("sign", "gradient")


class PGD(Attack):
    r"""x_{t+1} = Π_r(x_t + α sign ∇ℓ(f(x_t), y)): Π_r is the nearest point at most r from x.

    For a wanted answer the steps go down. With `step="gradient"` they go along ∇ℓ itself, at
    length α in each example.

    Paper: Madry et al., Towards deep learning models resistant to adversarial attacks (2017),
    https://arxiv.org/abs/1706.06083.

    Args:
        forward_func: the model.
        loss_func: of output and labels: losses one by one, or their sum or mean. -log f of the
            target's output f by default, as of probabilities; of what is not positive, -f.
        lower_bound: of what inputs may become.
        upper_bound: likewise. Another `bound`, a function of a tensor, may be set instead.

    >>> import torch
    >>> from captum.robust import PGD
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.tensor([[1., -1.], [-1., 1.]])
    >>> pgd = PGD(model, torch.nn.CrossEntropyLoss(reduction="none"))
    >>> pgd.perturb(torch.zeros(1, 2), radius=0.25, step_size=0.1, step_num=5, target=0)
    tensor([[-0.2500,  0.2500]])
    """

    def perturb(
        self,
        inputs: Any,
        radius: float | Tensor,
        step_size: float | Tensor,
        step_num: int,
        target: Any,
        additional_forward_args: Any = None,
        targeted: bool = False,
        random_start: bool = False,
        norm: str = "Linf",
        mask: Any = None,
        *,
        step: str = "sign",
        generator: torch.Generator | None = None,
    ) -> Any:
        """x_T after `step_num` steps, in the inputs' own shape.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            radius: r, for all or for each example; every tensor of a tuple has its own ball.
            step_size: α, likewise.
            step_num: T.
            target: the true labels, or the wanted ones: as the loss takes them, or one for all.
            additional_forward_args: see the glossary: what else the model takes, by position.
            targeted: `target` is wanted: the loss is to fall.
            random_start: start anywhere in the ball.
            norm: "Linf", the largest change of an entry, or "L2", the length of the change.
            mask: of the inputs' shape: 0 where nothing may change.
            step: "sign" or "gradient".
            generator: of the random start.

        Raises:
            TypeError: inputs of integers.
            ValueError: another norm or step, or labels that do not belong to the examples.
        """
        check(norm, NORMS, "norm")
        check(step, _STEPS, "step")
        if step_num < 0:
            raise wrong(ValueError, "step_num of at least 0", repr(step_num), "step_num=10")
        with self._opened(inputs, target, additional_forward_args, targeted, mask) as assault:
            radii = by_example(radius, assault.call, "radius")
            lengths = by_example(step_size, assault.call, "step_size")
            points = assault.start
            if random_start:
                points = assault.within(anywhere(points, radii, norm, assault.masks, generator))
            for t in range(step_num):
                slopes = assault.slopes(points)[1]
                if t == 0:
                    tell_masked(slopes)
                ways = tuple(g.sign() if step == "sign" else unit(g) for g in slopes)
                moved = tuple(x + a * w for x, a, w in zip(points, lengths, ways, strict=True))
                points = assault.within(near(assault.start, moved, radii, norm))
            return assault.result(points)
