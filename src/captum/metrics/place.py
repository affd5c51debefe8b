"""Whether scores lie where one knows they should."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.nest import tensors
from captum.metrics.measure import measure
from captum.metrics.opened import flat


@measure(0.0, 1.0, "higher", "place")
def pointing_game(attributions: Any, masks: Any) -> Tensor:
    r"""1 where the largest score lies inside the known mask, else 0, (N,): higher is better.

    Paper: Zhang et al., Top-down neural attention by excitation backprop (2018),
    https://arxiv.org/abs/1608.00507.

    Args:
        attributions: φ, a tensor (N, *F) or a tuple or dict of them.
        masks: in the same form: true, or not 0, where what matters is; may broadcast.

    Raises:
        ValueError: masks that do not fit, or an example without anything inside.

    >>> import torch
    >>> from captum.metrics import pointing_game
    >>> inside = torch.tensor([[True, False, False]])
    >>> pointing_game(torch.tensor([[3., 1., 0.], [1., 3., 0.]]), inside)
    tensor([1., 0.])
    """
    scores, inside = _rows(attributions, masks)
    return inside.gather(1, scores.argmax(1, keepdim=True))[:, 0].to(scores)


@measure(0.0, 1.0, "higher", "place")
def relevance_mass(attributions: Any, masks: Any) -> Tensor:
    r"""Share of the positive scores that lies inside the known mask, (N,): higher is better.

    Paper: Arras et al., CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural
    network explanations (2022), https://arxiv.org/abs/2003.07258.

    Args:
        attributions: φ, a tensor (N, *F) or a tuple or dict of them.
        masks: in the same form: true, or not 0, where what matters is; may broadcast.

    Raises:
        ValueError: masks that do not fit, or an example without anything inside.

    >>> import torch
    >>> from captum.metrics import relevance_mass
    >>> inside = torch.tensor([[True, False, False]])
    >>> relevance_mass(torch.tensor([[3., 1., -9.], [0., 0., 0.]]), inside)
    tensor([0.7500, 0.0000])
    """
    scores, inside = _rows(attributions, masks)
    positive = scores.clamp_min(0)
    total = positive.sum(1)
    return (positive * inside).sum(1) / torch.where(total == 0, 1, total)


@measure(0.0, 1.0, "higher", "place")
def relevance_rank(attributions: Any, masks: Any) -> Tensor:
    r"""Share of the K largest scores inside a known mask of K entries, (N,): higher is better.

    Paper: as `relevance_mass`.

    Args:
        attributions: φ, a tensor (N, *F) or a tuple or dict of them.
        masks: in the same form: true, or not 0, where what matters is; may broadcast.

    Raises:
        ValueError: masks that do not fit, or an example without anything inside.

    >>> import torch
    >>> from captum.metrics import relevance_rank
    >>> inside = torch.tensor([[True, True, False]])
    >>> relevance_rank(torch.tensor([[3., 1., 2.]]), inside)
    tensor([0.5000])
    """
    scores, inside = _rows(attributions, masks)
    places = scores.argsort(dim=1, descending=True, stable=True).argsort(1)
    count = inside.sum(1, keepdim=True)
    return ((places < count) & inside).sum(1).to(scores) / count[:, 0]


def _rows(attributions: Any, masks: Any) -> tuple[Tensor, Tensor]:
    scores, given = tuple(tensors(attributions)), tuple(tensors(masks))
    fits = len(scores) == len(given) and all(
        m.ndim == s.ndim and all(a in (1, b) for a, b in zip(m.shape, s.shape, strict=True))
        for m, s in zip(given, scores, strict=False)
    )
    if not scores or not fits:
        raise wrong(
            ValueError,
            "masks of the scores' shapes",
            f"{describe(masks)} for {describe(attributions)}",
            "masks=inside, a tensor (N, *F) of booleans",
        )
    inside = flat(tuple((m != 0).expand_as(s) for m, s in zip(given, scores, strict=True)))
    if not bool(inside.any(1).all()):
        raise wrong(ValueError, "masks with something inside", "an empty one", "masks=inside")
    return flat(scores).detach(), inside.to(scores[0].device)
