"""Kernel SHAP: Shapley values as the solution of a weighted regression on coalitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.coalitions import Sample, kernel_sample
from captum._engine.errors import wrong
from captum._engine.explained import Explained
from captum._engine.game import Game
from captum._engine.model import Model
from captum._engine.sampling import check_samples
from captum._engine.site import Site
from captum.attr.base import Layers, Scores
from captum.attr.lime import Lime

_TEMPER = 0.1  # the share of its expectation in a matrix that may be singular by chance
_RANK = 1e-10  # below this share of the largest, an eigenvalue of a float64 matrix is zero


def kernel_shap(game: Game, sample: Sample) -> Tensor:
    """argmin_φ Σ_S w_S (v(S) - v(∅) - Σ_{i∈S} φ_i)² with Σ φ = v(all) - v(∅), (*lead, G, N).

    With φ = (v(all) - v(∅)) / G + u the constraint is that u sums to zero, as the rows of
    Z - |S| / G do: least squares of least norm meet it by themselves.
    """
    lead = game.engine.lead
    empty = game.empty
    gap = (game.full - empty).unsqueeze(lead)
    gains = game.stream(len(sample.weights), lambda rows: sample.coalitions[rows])
    gains = gains - empty.unsqueeze(lead)
    found = game.features.found
    if len(found) == 1:
        return _solved(sample, torch.arange(game.players), gains, gap)
    # Examples are grouped in different ways: those with the same features are solved together.
    scores = torch.zeros_like(gap).repeat_interleave(game.players, lead)
    for members in torch.unique(found, dim=0):
        rows = (found == members).all(1).nonzero().flatten().to(gains.device)
        players = members.nonzero().flatten()
        part = _solved(sample, players, gains[..., rows], gap[..., rows])
        scores[..., players.to(gains.device).unsqueeze(1), rows] = part
    return scores


def _solved(sample: Sample, players: Tensor, gains: Tensor, gap: Tensor) -> Tensor:
    """The scores of some of the players, as others do nothing for these examples."""
    present = sample.coalitions[:, players].double()
    sizes = present.sum(1, keepdim=True)
    root = sample.weights.sqrt().unsqueeze(1)
    design = root * (present - sizes / len(players))
    # D⁺ = (Dᵀ D)⁺ Dᵀ = Dᵀ (D Dᵀ)⁺, by the smaller of the two squares.
    tall = len(design) >= len(players)
    square = _tempered(design.T @ design if tall else design @ design.T, present)
    inverse = torch.linalg.pinv(square, hermitian=True, rtol=_RANK)
    solve = inverse @ design.T if tall else design.T @ inverse
    share = (sizes / len(players)).to(gains)
    best: Tensor = (solve * root.T).to(gains) @ (gains - share * gap)
    return gap / len(players) + best


def _tempered(square: Tensor, present: Tensor) -> Tensor:
    """Dᵀ D (or D Dᵀ), where equations hardly outnumber unknowns moved a little to its expectation.

    There its smallest eigenvalue is near zero by chance, and scores would be any size. Over the
    draws it is a multiple of the identity on what sums to zero, so all coalitions are not moved.
    """
    unknowns = present.shape[1] - 1
    ratio = len(present) / 2 / max(1, unknowns)  # a complement repeats its equation
    share = _TEMPER * min(1.0, max(0.0, 3 - 2 * ratio))
    if share == 0:
        return square
    mean = square.trace() / max(1, unknowns)
    identity = torch.eye(len(square), dtype=square.dtype)
    return (1 - share) * square + share * mean * identity


class KernelShap(Lime):
    r"""Score: φ = argmin Σ_S w_S (f(x_S) - f(x_∅) - Σ_{i∈S} φ_i)² with Σ φ = f(x) - f(x_∅).

    In x_S the features of S are those of x and all others are at their baseline; w_S is the
    Shapley kernel, 1 / (C(G, s) s (G - s)) up to a factor, for s members of G. Coalitions are
    drawn in pairs with their complements, as many of every size, each at most once: scores are
    the Shapley values where n_samples >= 2^G - 2, and their estimate otherwise; a fair one from
    some 3 G samples on.

    Paper: Lundberg, Lee, A unified approach to interpreting model predictions (2017),
    https://arxiv.org/abs/1705.07874; Musco, Witter, Provably accurate Shapley value estimation
    via leverage score sampling (2024), https://arxiv.org/abs/2410.01917.

    Args:
        forward_func: the model; no gradient is needed.
        at: where the features are: the inputs, or the values of a layer.
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import KernelShap
    >>> KernelShap(lambda x: x[:, 0] * x[:, 1]).attribute(torch.tensor([[2., 3.]]))
    tensor([[3., 3.]])
    """

    def __init__(
        self,
        forward_func: Model,
        *,
        at: Site | Layers | None = None,
        of: Explained | None = None,
    ) -> None:
        super().__init__(forward_func, at=at, of=of)

    def attribute(  # type: ignore[override]  # baselines come second, as published
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int = 25,
        perturbations_per_eval: Rows = "auto",
        return_input_shape: bool = True,
        show_progress: bool = False,
        *,
        generator: torch.Generator | None = None,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; or one per feature, (N, G).

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: what an absent feature is replaced by, zeros by default;
                a list, or rows (B, *F), to average over: marginal SHAP.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: see the glossary: entries with one number are one feature.
            n_samples: coalitions, one model row per example each; all of them from 2^G - 2 on.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            return_input_shape: False gives scores per feature, (N, G).
            show_progress: a progress bar of model rows.
            generator: see the glossary: where random numbers come from.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: no samples; a mask or baselines that do not fit the inputs.
        """
        check_samples(n_samples, "n_samples")
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._play(
            given, baselines, feature_mask, rows=perturbations_per_eval, show_progress=show_progress
        ) as game:
            sample = kernel_sample(game.players, n_samples, generator)
            game.expect(len(sample.weights) + 1)
            scores = kernel_shap(game, sample)
            return game.arrange(scores) if return_input_shape else game.per_feature(scores)

    def kernel_shap_similarity_kernel(
        self, _: Any, __: Any, interpretable_sample: Tensor, **kwargs: Any
    ) -> Tensor:
        """The weight of a coalition (1, G) for a regression in which the kernel is in the draws.

        1, and 10⁶ for the coalitions of none and of all, whose weight is infinite.
        """
        features = _needed(kwargs, "num_interp_features")
        ends = interpretable_sample.sum() in (0, features)
        return torch.tensor([1e6 if ends else 1.0])

    def kernel_shap_perturb_generator(self, original_inp: Any, **kwargs: Any) -> Iterator[Tensor]:
        """Coalitions (1, G): of all, of none, and then random ones with sizes as the kernel has."""
        features = _needed(kwargs, "num_interp_features")
        sizes = _needed(kwargs, "num_select_distribution")
        yield torch.ones(1, features, dtype=torch.long)
        yield torch.zeros(1, features, dtype=torch.long)
        while True:
            keys = torch.randn(1, features)
            threshold = keys.kthvalue(features - int(sizes.sample())).values
            yield (keys > threshold).long()


def _needed(kwargs: Mapping[str, Any], name: str) -> Any:
    if name not in kwargs:
        raise wrong(
            TypeError,
            f"the keyword {name}",
            f"only {sorted(kwargs)}",
            f"{name}=..., as Lime passes",
        )
    return kwargs[name]
