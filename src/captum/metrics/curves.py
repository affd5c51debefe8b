"""Deletion and insertion: the model's answer as features go, or come, by their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import extra, wrong
from captum._engine.model import Model
from captum.metrics.measure import measure
from captum.metrics.opened import at_least_one
from captum.metrics.removal import Removal, removal

_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class RemovalCurve:
    """The explained number after each of S steps, and before.

    Args:
        shares: of the features that are gone, or that are back, (S + 1,).
        values: the number, (S + 1, N).
        area: under the curve, over the shares from 0 to 1, (N,).
    """

    shares: Tensor
    values: Tensor
    area: Tensor

    def plot(self, axis: Any = None, label: str | None = None, show: bool = False) -> Any:
        """The mean over examples, and where half of them lie, on a matplotlib axis."""
        pyplot = extra("matplotlib.pyplot", "viz")
        if axis is None:
            axis = pyplot.subplots(figsize=(5, 3.5))[1]
        shares, values = self.shares.tolist(), self.values.float().cpu()
        (line,) = axis.plot(shares, values.mean(1).tolist(), label=label)
        low, high = values.quantile(0.25, 1).tolist(), values.quantile(0.75, 1).tolist()
        axis.fill_between(shares, low, high, color=line.get_color(), alpha=0.15)
        axis.set_xlabel("share of the features")
        axis.set_ylabel("explained output")
        if label is not None:
            axis.legend()
        if show:
            pyplot.show()
        return axis


@measure(float("-inf"), float("inf"), "lower", "removal")
def deletion(
    forward_func: Model,
    inputs: Any,
    attributions: Any,
    baselines: Any = None,
    feature_mask: Any = None,
    additional_forward_args: Any = None,
    target: Any = None,
    n_steps: int = 20,
    return_curve: bool = False,
) -> Any:
    r"""Area under f as features go, largest scores first, (N,): within f's range, lower is better.

    Paper: Petsiuk et al., RISE: randomized input sampling for explanation of black-box models
    (2018), https://arxiv.org/abs/1806.07421.

    Args:
        forward_func: the model.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        attributions: the scores, in the inputs' form.
        baselines: see the glossary: what features become, zeros by default.
        feature_mask: see the glossary: which entries go together; each by itself by default.
        additional_forward_args: see the glossary: what else the model takes, by position.
        target: see the glossary: the output to look at.
        n_steps: S, in which all features go; at most as many as there are.
        return_curve: the whole `RemovalCurve`.

    Raises:
        ValueError: scores of another shape than the inputs.

    >>> import torch
    >>> from captum.metrics import deletion
    >>> model = lambda x: x.sum(1)
    >>> x = torch.tensor([[4., 2., 2.]])
    >>> deletion(model, x, x, n_steps=3)  # 8, 4, 2, 0 over thirds
    tensor([3.3333])
    >>> deletion(model, x, -x, n_steps=3)  # 8, 6, 4, 0
    tensor([4.6667])
    """
    given = (inputs, attributions, baselines, feature_mask, additional_forward_args, target)
    with removal(forward_func, *given) as game:
        curve = _curve(game, n_steps, gone=True)
    return curve if return_curve else curve.area


@measure(float("-inf"), float("inf"), "higher", "removal")
def insertion(
    forward_func: Model,
    inputs: Any,
    attributions: Any,
    baselines: Any = None,
    feature_mask: Any = None,
    additional_forward_args: Any = None,
    target: Any = None,
    n_steps: int = 20,
    return_curve: bool = False,
) -> Any:
    r"""Area under f as features come to a baseline, largest scores first, (N,): higher is better.

    Paper: as `deletion`.

    Args:
        forward_func: the model.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        attributions: the scores, in the inputs' form.
        baselines: see the glossary: where features come to, zeros by default.
        feature_mask: see the glossary: which entries come together; each by itself by default.
        additional_forward_args: see the glossary: what else the model takes, by position.
        target: see the glossary: the output to look at.
        n_steps: S, in which all features come; at most as many as there are.
        return_curve: the whole `RemovalCurve`.

    Raises:
        ValueError: scores of another shape than the inputs.

    >>> import torch
    >>> from captum.metrics import insertion
    >>> x = torch.tensor([[4., 2., 2.]])
    >>> insertion(lambda x: x.sum(1), x, x, n_steps=3)  # 0, 4, 6, 8 over thirds
    tensor([4.6667])
    """
    given = (inputs, attributions, baselines, feature_mask, additional_forward_args, target)
    with removal(forward_func, *given) as game:
        curve = _curve(game, n_steps, gone=False)
    return curve if return_curve else curve.area


@measure(float("-inf"), float("inf"), "higher", "removal")
def pixel_flipping(
    forward_func: Model,
    inputs: Any,
    attributions: Any,
    baselines: Any = None,
    feature_mask: Any = None,
    additional_forward_args: Any = None,
    target: Any = None,
    n_steps: int = 20,
    return_curve: bool = False,
) -> Any:
    r"""Mean of f(x) - f(x without the k largest) over the steps, (N,): AOPC, higher is better.

    Paper: Samek et al., Evaluating the visualization of what a deep neural network has learned
    (2016), https://arxiv.org/abs/1509.06321.

    Args:
        forward_func: the model.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        attributions: the scores, in the inputs' form.
        baselines: see the glossary: what features become, zeros by default.
        feature_mask: see the glossary: which entries go together; each by itself by default.
        additional_forward_args: see the glossary: what else the model takes, by position.
        target: see the glossary: the output to look at.
        n_steps: S, in which all features go; at most as many as there are.
        return_curve: the whole `RemovalCurve`.

    Raises:
        ValueError: scores of another shape than the inputs.

    >>> import torch
    >>> from captum.metrics import pixel_flipping
    >>> x = torch.tensor([[4., 2., 2.]])
    >>> pixel_flipping(lambda x: x.sum(1), x, x, n_steps=3)  # (0 + 4 + 6 + 8) / 4
    tensor([4.5000])
    """
    given = (inputs, attributions, baselines, feature_mask, additional_forward_args, target)
    with removal(forward_func, *given) as game:
        curve = _curve(game, n_steps, gone=True)
    return curve if return_curve else (curve.values[0] - curve.values).mean(0)


@measure(float("-inf"), float("inf"), "higher", "removal")
def comprehensiveness(
    forward_func: Model,
    inputs: Any,
    attributions: Any,
    baselines: Any = None,
    feature_mask: Any = None,
    additional_forward_args: Any = None,
    target: Any = None,
    shares: Sequence[float] = _SHARES,
) -> Tensor:
    r"""Mean over shares of f(x) - f(x without that share), (N,): higher is better.

    The features of a share are those with the largest scores.

    Paper: DeYoung et al., ERASER: a benchmark to evaluate rationalized NLP models (2020),
    https://arxiv.org/abs/1911.03429.

    Args:
        forward_func: the model.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        attributions: the scores, in the inputs' form.
        baselines: see the glossary: what features become, zeros by default.
        feature_mask: see the glossary: which entries go together; each by itself by default.
        additional_forward_args: see the glossary: what else the model takes, by position.
        target: see the glossary: the output to look at.
        shares: of the features; at least one goes.

    Raises:
        ValueError: shares outside 0 to 1, or scores of another shape than the inputs.

    >>> import torch
    >>> from captum.metrics import comprehensiveness
    >>> x = torch.tensor([[4., 2., 2.]])
    >>> comprehensiveness(lambda x: x.sum(1), x, x, shares=[0.3])
    tensor([4.])
    """
    given = (inputs, attributions, baselines, feature_mask, additional_forward_args, target)
    with removal(forward_func, *given) as game:
        return (game.full - game.numbers(~_largest(game, shares))).mean(0)


@measure(float("-inf"), float("inf"), "lower", "removal")
def sufficiency(
    forward_func: Model,
    inputs: Any,
    attributions: Any,
    baselines: Any = None,
    feature_mask: Any = None,
    additional_forward_args: Any = None,
    target: Any = None,
    shares: Sequence[float] = _SHARES,
) -> Tensor:
    r"""Mean over shares of f(x) - f(that share alone), (N,): lower is better.

    The features of a share are those with the largest scores.

    Paper: as `comprehensiveness`.

    Args:
        forward_func: the model.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        attributions: the scores, in the inputs' form.
        baselines: see the glossary: what the others become, zeros by default.
        feature_mask: see the glossary: which entries go together; each by itself by default.
        additional_forward_args: see the glossary: what else the model takes, by position.
        target: see the glossary: the output to look at.
        shares: of the features; at least one stays.

    Raises:
        ValueError: shares outside 0 to 1, or scores of another shape than the inputs.

    >>> import torch
    >>> from captum.metrics import sufficiency
    >>> x = torch.tensor([[4., 2., 2.]])
    >>> sufficiency(lambda x: x.sum(1), x, x, shares=[0.3])
    tensor([4.])
    """
    given = (inputs, attributions, baselines, feature_mask, additional_forward_args, target)
    with removal(forward_func, *given) as game:
        return (game.full - game.numbers(_largest(game, shares))).mean(0)


def _curve(game: Removal, n_steps: int, gone: bool) -> RemovalCurve:
    at_least_one(n_steps, "n_steps")
    steps = min(n_steps, game.count)
    counts = (torch.arange(steps + 1) * game.count / steps).round().long()
    first = _first(game.ranked(), counts)
    values = game.numbers(~first if gone else first)
    shares = counts / game.count
    return RemovalCurve(shares, values, torch.trapezoid(values, shares.to(values), dim=0))


def _largest(game: Removal, shares: Sequence[float]) -> Tensor:
    """Which features are among each share of the largest, (K, N, G)."""
    given = torch.as_tensor(shares, dtype=torch.float64)
    if given.ndim != 1 or not len(given) or bool(((given <= 0) | (given > 1)).any()):
        raise wrong(ValueError, "shares above 0 and at most 1", repr(shares), f"shares={_SHARES}")
    counts = (given * game.count).round().long().clamp(min=1)
    return _first(game.ranked(), counts)


def _first(ranked: Tensor, counts: Tensor) -> Tensor:
    """Which features are among the first of a ranking (N, G), for several counts, (K, N, G)."""
    places = ranked.argsort(1)  # of each feature in the ranking
    return places[None] < counts.to(places.device)[:, None, None]
