"""How few features a set of scores needs: of the scores alone, without the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.nest import tensors
from captum.metrics.measure import measure
from captum.metrics.opened import flat


@measure(0.0, 1.0, "higher", "shape")
def sparseness(attributions: Any) -> Tensor:
    r"""Gini index of |φ|, (N,): 0 where all are alike, near 1 where one is all; higher is sparser.

    1 - 2 Σ_k (|φ|_(k) / ‖φ‖₁) (D - k + ½) / D, of the D scores in rising order.

    Paper: Chalasani et al., Concise explanations of neural networks using adversarial training
    (2020), https://arxiv.org/abs/1810.06583.

    Args:
        attributions: φ, a tensor (N, *F) or a tuple or dict of them.

    Raises:
        TypeError: no tensor of numbers.

    >>> import torch
    >>> from captum.metrics import sparseness
    >>> sparseness(torch.tensor([[1., 1., 1., 1.], [0., 0., 4., 0.]]))
    tensor([0.0000, 0.7500])
    """
    rising = _sizes(attributions).sort(1).values
    count = rising.shape[1]
    weights = (count - torch.arange(1, count + 1, device=rising.device) + 0.5) / count
    return (1 - 2 * (_shares(rising) * weights.to(rising)).sum(1)).clamp(0, 1)


@measure(0.0, float("inf"), "lower", "shape")
def complexity(attributions: Any) -> Tensor:
    r"""Entropy of |φ| / ‖φ‖₁ in nats, (N,): 0 where one score is all, to log D; lower is simpler.

    Paper: Bhatt et al., Evaluating and aggregating feature-based model explanations (2020),
    https://arxiv.org/abs/2005.00631.

    Args:
        attributions: φ, a tensor (N, *F) or a tuple or dict of them.

    Raises:
        TypeError: no tensor of numbers.

    >>> import torch
    >>> from captum.metrics import complexity
    >>> complexity(torch.tensor([[1., 1., 1., 1.], [0., 0., 4., 0.]]))
    tensor([1.3863, 0.0000])
    """
    shares = _shares(_sizes(attributions))
    return -torch.xlogy(shares, shares).sum(1) + 0.0  # not minus zero


def _sizes(attributions: Any) -> Tensor:
    """|φ| as rows (N, D), in float32 or better."""
    found = tuple(tensors(attributions))
    if not found or not all(t.is_floating_point() and t.ndim > 1 for t in found):
        raise wrong(TypeError, "scores (N, *F)", describe(attributions), "method.attribute(inputs)")
    rows = flat(found).detach().abs()
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def _shares(sizes: Tensor) -> Tensor:
    """Sizes as shares of their sum; alike where all are zero."""
    total = sizes.sum(1, keepdim=True)
    return torch.where(total == 0, 1 / sizes.shape[1], sizes / torch.where(total == 0, 1, total))
