"""Whether scores agree with what the model does without features: correlations and order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import wrong
from captum._engine.model import Model
from captum.metrics.measure import measure
from captum.metrics.opened import at_least_one
from captum.metrics.removal import Removal, removal


@measure(-1.0, 1.0, "higher", "removal")
def faithfulness_correlation(
    forward_func: Model,
    inputs: Any,
    attributions: Any,
    baselines: Any = None,
    feature_mask: Any = None,
    additional_forward_args: Any = None,
    target: Any = None,
    n_samples: int = 100,
    subset_size: int | None = None,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Pearson's r of Σ_{i∈S} φ_i and f(x) - f(x without S), (N,): -1 to 1, higher is better.

    Over random subsets S of the features.

    Paper: Bhatt et al., Evaluating and aggregating feature-based model explanations (2020),
    https://arxiv.org/abs/2005.00631.

    Args:
        forward_func: the model.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        attributions: φ, in the inputs' form.
        baselines: see the glossary: what features become, zeros by default.
        feature_mask: see the glossary: which entries go together; each by itself by default.
        additional_forward_args: see the glossary: what else the model takes, by position.
        target: see the glossary: the output to look at.
        n_samples: subsets.
        subset_size: features in each; a fifth of them by default.
        generator: of the subsets.

    Raises:
        ValueError: a subset of none or of all features.

    >>> import torch
    >>> from captum.metrics import faithfulness_correlation
    >>> x = torch.tensor([[4., 2., 1., 3.]])
    >>> faithfulness_correlation(lambda x: x.sum(1), x, x, subset_size=2).round(decimals=3)
    tensor([1.])
    """
    at_least_one(n_samples, "n_samples")
    given = (inputs, attributions, baselines, feature_mask, additional_forward_args, target)
    with removal(forward_func, *given) as game:
        size = max(1, round(game.count / 5)) if subset_size is None else subset_size
        return _correlation(game, size, n_samples, generator)


@measure(-1.0, 1.0, "higher", "removal")
def sensitivity_n(
    forward_func: Model,
    inputs: Any,
    attributions: Any,
    baselines: Any = None,
    feature_mask: Any = None,
    additional_forward_args: Any = None,
    target: Any = None,
    sizes: list[int] | None = None,
    n_samples: int = 100,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Pearson's r of Σ_{i∈S} φ_i and f(x) - f(x without S), |S| = n: higher is better.

    From -1 to 1, for each n, (n's, N), over random subsets S of n features.

    Scores are right where it is 1 for every n, as of a linear model.

    Paper: Ancona et al., Towards better understanding of gradient-based attribution methods for
    deep neural networks (2018), https://arxiv.org/abs/1711.06104.

    Args:
        forward_func: the model.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        attributions: φ, in the inputs' form.
        baselines: see the glossary: what features become, zeros by default.
        feature_mask: see the glossary: which entries go together; each by itself by default.
        additional_forward_args: see the glossary: what else the model takes, by position.
        target: see the glossary: the output to look at.
        sizes: each n; powers of two below the number of features by default.
        n_samples: subsets of each size.
        generator: of the subsets.

    Raises:
        ValueError: a subset of none or of all features.

    >>> import torch
    >>> from captum.metrics import sensitivity_n
    >>> x = torch.tensor([[4., 2., 1., 3.]])
    >>> sensitivity_n(lambda x: x.sum(1), x, x).round(decimals=3)
    tensor([[1.],
            [1.]])
    """
    at_least_one(n_samples, "n_samples")
    given = (inputs, attributions, baselines, feature_mask, additional_forward_args, target)
    with removal(forward_func, *given) as game:
        if sizes is None:
            sizes = [2**k for k in range(game.count.bit_length()) if 2**k < game.count]
        return torch.stack([_correlation(game, n, n_samples, generator) for n in sizes])


@measure(0.0, 1.0, "higher", "removal")
def monotonicity(
    forward_func: Model,
    inputs: Any,
    attributions: Any,
    baselines: Any = None,
    feature_mask: Any = None,
    additional_forward_args: Any = None,
    target: Any = None,
) -> Tensor:
    r"""Share of features that move f at least as the one before did, (N,): higher is better.

    From 0 to 1. They are added to a baseline, from the least score on.

    Paper: Luss et al., Leveraging latent features for local explanations (2021),
    https://arxiv.org/abs/1905.12698.

    Args:
        forward_func: the model.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        attributions: the scores, in the inputs' form.
        baselines: see the glossary: where features come to, zeros by default.
        feature_mask: see the glossary: which entries come together; each by itself by default.
        additional_forward_args: see the glossary: what else the model takes, by position.
        target: see the glossary: the output to look at.

    Raises:
        ValueError: a single feature, or scores of another shape than the inputs.

    >>> import torch
    >>> from captum.metrics import monotonicity
    >>> x = torch.tensor([[4., 2., 1.]])
    >>> monotonicity(lambda x: x.sum(1), x, x), monotonicity(lambda x: x.sum(1), x, -x)
    (tensor([1.]), tensor([0.]))
    """
    given = (inputs, attributions, baselines, feature_mask, additional_forward_args, target)
    with removal(forward_func, *given) as game:
        if game.count < 2:
            raise wrong(ValueError, "two features or more", str(game.count), "another feature_mask")
        places = game.ranked().flip(1).argsort(1)
        counts = torch.arange(game.count + 1, device=places.device)
        values = game.numbers(places[None] < counts[:, None, None])
        moves = values.diff(dim=0)
        return (moves.diff(dim=0) >= 0).to(values).mean(0)


def _correlation(
    game: Removal, size: int, n_samples: int, generator: torch.Generator | None
) -> Tensor:
    if not 0 < size < game.count:
        raise wrong(
            ValueError,
            f"subsets of 1 to {game.count - 1} of the {game.count} features",
            str(size),
            "subset_size=1",
        )
    shape = (n_samples, game.call.rows, game.count)
    gone = torch.rand(shape, generator=generator).argsort(2).argsort(2) < size
    told = torch.einsum("kng,ng->kn", gone.to(game.scores), game.scores)
    truth = (game.full - game.numbers(~gone)).to(told)
    return pearson(told, truth)


def pearson(one: Tensor, other: Tensor) -> Tensor:
    """Correlations over the first dimension; 0 where one side does not vary.

    >>> import torch
    >>> from captum.metrics.agreement import pearson
    >>> pearson(torch.tensor([[1.], [2.], [3.]]), torch.tensor([[2.], [4.], [6.]]))
    tensor([1.])
    """
    one, other = one - one.mean(0), other - other.mean(0)
    sizes = torch.linalg.vector_norm(one, dim=0) * torch.linalg.vector_norm(other, dim=0)
    made = (one * other).sum(0)
    return torch.where(sizes == 0, 0, made / torch.where(sizes == 0, 1, sizes)).clamp(-1, 1)
