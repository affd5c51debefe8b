"""Square attack: random squares of the largest change, kept where they help; no gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import wrong
from captum._engine.model import Model
from captum._engine.nest import Tensors
from captum.robust.base import Assault, Attack
from captum.robust.losses import LossFunction, margins
from captum.robust.norms import by_example, shortened

_IMAGE_DIMS = 4
# The share of entries that a square covers is halved after so many of 10,000 queries.
_HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class Square(Attack):
    r"""x' = Π_r(x + δ), δ = ±r in squares, one more of them a query where the loss grows by it.

    Of pictures (N, C, H, W) a query sets a square of δ, whose sides shrink, to r times a sign for
    each channel; of other inputs, as many entries anywhere. An example whose answer has become
    wrong (or the wanted one) is left alone. What it breaks was never robust, whatever gradients
    say.

    Paper: Andriushchenko et al., Square attack: a query-efficient black-box adversarial attack via
    random search (2020), https://arxiv.org/abs/1912.00049.

    Args:
        forward_func: the model, of logits (N, C) unless there is a loss.
        loss_func: of output and labels: losses one by one. max_{i≠y} z_i - z_y by default.
        lower_bound: of what inputs may become.
        upper_bound: likewise.

    >>> import torch
    >>> from captum.robust import Square
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.tensor([[1., -1.], [-1., 1.]])
    >>> x = Square(model).perturb(torch.tensor([[0.1, 0.]]), radius=0.25, target=0, query_num=20)
    >>> model(x).argmax(1)
    tensor([1])
    """

    def __init__(
        self,
        forward_func: Model,
        loss_func: LossFunction | None = None,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
    ) -> None:
        self._stops = loss_func is None
        super().__init__(forward_func, loss_func or _wrongness, lower_bound, upper_bound)

    def perturb(
        self,
        inputs: Any,
        radius: float | Tensor,
        target: Any,
        additional_forward_args: Any = None,
        targeted: bool = False,
        query_num: int = 1000,
        share: float = 0.8,
        mask: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Any:
        """The point of the largest loss, in the inputs' own shape.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            radius: r, the largest change of an entry, for all or for each example.
            target: the true labels, or the wanted ones.
            additional_forward_args: see the glossary: what else the model takes, by position.
            targeted: `target` is wanted: the loss is to fall.
            query_num: how often the model is asked.
            share: of the entries that the first square covers.
            mask: of the inputs' shape: 0 where nothing may change.
            generator: of the squares.

        Raises:
            TypeError: inputs of integers.
            ValueError: a share outside 0 to 1, or labels that do not belong to the examples.
        """
        if not 0 < share <= 1 or query_num < 1:
            raise wrong(
                ValueError,
                "share above 0 and at most 1, and query_num of at least 1",
                f"share={share}, query_num={query_num}",
                "share=0.8, query_num=1000",
            )
        with self._opened(inputs, target, additional_forward_args, targeted, mask) as assault:
            radii = by_example(radius, assault.call, "radius")
            best = _placed(assault, radii, [_stripes(x, generator) for x in assault.start])
            height = assault.numbers(best)
            for query in range(query_num - 1):
                going = (height <= 0).nonzero()[:, 0] if self._stops else torch.arange(len(height))
                if not len(going):
                    break
                covered = share / 2 ** sum(query * 10_000 >= q * query_num for q in _HALVED)
                tried = _tried(assault, best, radii, going, covered, generator)
                found = assault.of(going).numbers(tried)
                better = found > height[going]
                rows = going[better]
                height[rows] = found[better]
                for each, new in zip(best, tried, strict=True):
                    each[rows] = new[better]
            return assault.result(best)


def _wrongness(output: Any, labels: Tensor) -> Tensor:
    return -margins(output, labels)


def _placed(assault: Assault, radii: list[Tensor], signs: list[Tensor]) -> Tensors:
    """Points with ±r added."""
    each = zip(assault.start, radii, signs, assault.free, strict=True)
    return tuple(x.clone() for x in assault.within(tuple(x + r * s * m for x, r, s, m in each)))


def _tried(
    assault: Assault,
    best: Tensors,
    radii: list[Tensor],
    rows: Tensor,
    share: float,
    generator: torch.Generator | None,
) -> Tensors:
    """The best points of some examples, each with one more square."""
    masks = assault.masks or (None,) * len(best)
    found = []
    for x, point, radius, mask in zip(assault.start, best, radii, masks, strict=True):
        there, now = x[rows], point[rows]
        limit = radius if len(radius) == 1 else radius[rows]
        where = _window(there, share, generator)
        if mask is not None:
            where = where & (mask.expand_as(x)[rows] != 0)
        change = torch.where(where, _signs(there, generator) * limit, now - there)
        found.append(there + shortened(change, limit, "Linf"))
    return assault.within(tuple(found))


def _window(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Where a square is: (n, 1, H, W), or (n, *F) of other inputs than pictures."""
    if x.ndim != _IMAGE_DIMS:
        chances = torch.rand(x.shape, generator=generator).flatten(1)
        count = max(1, round(share * chances.shape[1]))
        least = chances.kthvalue(count, 1).values[:, None]
        found: Tensor = (chances <= least).reshape(x.shape).to(x.device)
        return found
    height, width = x.shape[2:]
    side = min(max(1, round((share * height * width) ** 0.5)), height, width)
    inside = []
    for size in (height, width):
        first = torch.randint(size - side + 1, (len(x), 1), generator=generator)
        places = torch.arange(size)
        inside.append((places >= first) & (places < first + side))
    made: Tensor = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return made.to(x.device)


def _signs(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """One for each channel of a picture, or for each entry."""
    shape = (*x.shape[:2], 1, 1) if x.ndim == _IMAGE_DIMS else x.shape
    return (2 * torch.randint(2, shape, generator=generator) - 1).to(x)


def _stripes(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """A sign for each channel and column: where the search starts."""
    shape = (*x.shape[:2], 1, x.shape[3]) if x.ndim == _IMAGE_DIMS else x.shape
    return (2 * torch.randint(2, shape, generator=generator) - 1).to(x)
