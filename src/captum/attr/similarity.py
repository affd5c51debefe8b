"""How near a perturbed input is to the original: the weights of LIME's samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import wrong
from captum._engine.game import Game
from captum._engine.nest import Tensors, tensors
from captum._engine.paths import wide

_EPS = 1e-8  # the norm of a vector without a direction


@dataclass(frozen=True)
class ExpKernel:
    """π = exp(-d² / (2 σ²)) of the distance d between inputs, all their entries in one vector."""

    distance_mode: str = "cosine"
    kernel_width: float = 1.0

    def __post_init__(self) -> None:
        if self.distance_mode not in ("cosine", "euclidean"):
            raise wrong(
                ValueError,
                "distance_mode 'cosine' or 'euclidean'",
                repr(self.distance_mode),
                "get_exp_kernel_similarity_function('cosine', kernel_width=1.0)",
            )

    def __call__(
        self, original_inp: Any, perturbed_inp: Any, interpretable_inp: Any = None, **kwargs: Any
    ) -> float:
        """π of one perturbed input."""
        x, y = _vector(original_inp), _vector(perturbed_inp)
        return float(self._of(x @ x, x @ y, y @ y))

    def weights(self, game: Game, coalitions: Tensor) -> Tensor:
        """π of every coalition's input, (K, N), without making it: sums over features suffice."""
        here = coalitions.to(game.full.device, game.full.dtype)
        xx, xb, bb = _products(game)
        # One number for all examples: they are one vector.
        if game.full.shape[-1] != xx.shape[1]:
            xx, xb, bb = (each.sum(1, keepdim=True) for each in (xx, xb, bb))
        xx, xb, bb = (each.transpose(1, 2) for each in (xx, xb, bb))  # (B, G, N)
        self_ = xx.sum(1, keepdim=True)
        cross = here @ xx + (1 - here) @ xb
        other = here @ xx + (1 - here) @ bb
        return self._of(self_, cross, other).mean(0)

    def _of(self, xx: Tensor, xy: Tensor, yy: Tensor) -> Tensor:
        if self.distance_mode == "cosine":
            squared = (1 - xy / (xx * yy).sqrt().clamp(min=_EPS)).square()
        else:
            squared = (xx - 2 * xy + yy).clamp(min=0)
        return torch.exp(-squared / (2 * self.kernel_width**2))


def get_exp_kernel_similarity_function(
    distance_mode: str = "cosine", kernel_width: float = 1.0
) -> ExpKernel:
    r"""π(x, x̃) = exp(-d(x, x̃)² / (2 σ²)): a similarity function for `Lime` and `LimeBase`.

    Args:
        distance_mode: d is 1 - cos(x, x̃) for "cosine" and |x - x̃| for "euclidean"; all inputs
            are one vector.
        kernel_width: σ.

    Raises:
        ValueError: another distance.

    >>> import torch
    >>> from captum.attr import get_exp_kernel_similarity_function
    >>> near = get_exp_kernel_similarity_function("euclidean", kernel_width=1.0)
    >>> round(near(torch.tensor([[1., 1.]]), torch.tensor([[1., 0.]]), None), 4)
    0.6065
    """
    return ExpKernel(distance_mode, kernel_width)


def _vector(inputs: Any) -> Tensor:
    parts = [x.flatten().to(wide(x.dtype)) for x in tensors(inputs)]
    return torch.cat(parts)


def _products(game: Game) -> Tensors:
    """Σ x², Σ x b and Σ b² over the entries of every feature, each (B, N, G)."""
    kind = game.full.dtype
    totals: list[Tensor] = []
    for i, (value, base) in enumerate(zip(game.values, game.bases, strict=True)):
        x, b = value.to(kind).unsqueeze(0), base.to(kind)
        shape = (len(b), *value.shape)
        x, b = x.expand(shape), b.expand(shape)
        each = [game.groups.sums(i, e) for e in (x * x, x * b, b * b)]
        totals = [t + e.to(t) for t, e in zip(totals, each, strict=True)] if totals else each
    return tuple(totals)
