"""How far influence scores can be trusted: do they foresee what training on less data gives?"""

from __future__ import annotations

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong


def linear_datamodelling_score(scores: Tensor, subsets: Tensor, outcomes: Tensor) -> Tensor:
    r"""Spearman's ρ over subsets S of Σ_{i∈S} scores_i and what training on S gave, (M,).

    From -1 to 1, higher is better; what other seeds of training change is a ceiling below 1.

    Paper: Park et al., TRAK: attributing model behavior at scale (2023),
    https://arxiv.org/abs/2303.14186.

    Args:
        scores: of N training examples for M test examples, (M, N); positive where an example
            makes the outcome larger.
        subsets: which training examples S runs of training had, booleans (S, N).
        outcomes: what they gave for the test examples, (S, M): a margin, or minus the loss.

    Raises:
        ValueError: shapes that do not belong together, or fewer than three subsets.

    >>> import torch
    >>> from captum.influence import linear_datamodelling_score
    >>> subsets = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]]).bool()
    >>> outcomes = torch.tensor([[2.], [1.], [3.5], [0.]])
    >>> linear_datamodelling_score(torch.tensor([[2., 1.]]), subsets, outcomes)
    tensor([1.])
    """
    tests, examples = scores.shape
    runs = len(subsets)
    if subsets.shape != (runs, examples) or outcomes.shape != (runs, tests) or runs < 3:
        raise wrong(
            ValueError,
            f"subsets (S, {examples}) and outcomes (S, {tests}) of at least three runs",
            f"{describe(subsets)} and {describe(outcomes)}",
            "linear_datamodelling_score(scores, subsets, -losses)",
        )
    foreseen = subsets.to(scores) @ scores.T
    one, other = _ranks(foreseen), _ranks(outcomes.to(scores))
    one, other = one - one.mean(0), other - other.mean(0)
    lengths = torch.linalg.vector_norm(one, dim=0) * torch.linalg.vector_norm(other, dim=0)
    return torch.nan_to_num((one * other).sum(0) / lengths)


def _ranks(values: Tensor) -> Tensor:
    """Ranks down the columns of (S, M), equal values sharing theirs."""
    below = (values.unsqueeze(0) < values.unsqueeze(1)).sum(1)
    same = (values.unsqueeze(0) == values.unsqueeze(1)).sum(1)
    return (below + (same - 1) / 2).to(values)
