"""Shapley values: what a feature adds, on average over all orders in which features arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import comb
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.coalitions import in_pairs, prefixes, shuffled
from captum._engine.errors import wrong
from captum._engine.game import Game
from captum._engine.sampling import Moments, check_samples
from captum.attr.base import PerturbationAttribution, Scores

_MOST_PLAYERS = 24  # 16.8 million coalitions
_STEP = 16  # pairs of orders between two looks at the tolerance
_SAMPLE_BYTES = 64 << 20


def shapley_values(game: Game) -> Tensor:
    """φ_i = Σ_S |S|! (G - |S| - 1)! / G! · (v(S ∪ i) - v(S)), from every coalition once.

    Shape (*lead, G, N).
    """
    check_players(game.players)
    total = torch.zeros_like(game.full).unsqueeze(game.engine.lead)
    for coalitions, worths in game.everything():
        total = total + shares(coalitions).T.to(worths) @ worths
    return total


def shares(coalitions: Tensor) -> Tensor:
    """How much v of each coalition (K, G) counts in φ: for its members, and for the others."""
    n = coalitions.shape[1]
    counts = [1 / (n * comb(n - 1, s)) for s in range(n)]
    members = torch.tensor([0.0, *counts], dtype=torch.float64)
    others = torch.tensor([*(-count for count in counts), 0.0], dtype=torch.float64)
    sizes = coalitions.sum(1)
    return torch.where(coalitions, members[sizes].unsqueeze(1), others[sizes].unsqueeze(1))


def sampled_shapley_values(
    game: Game, draw: Callable[[], Tensor], orders: int, tol: float | None = None
) -> tuple[Tensor, Tensor]:
    """The mean of v(those before i, and i) - v(those before i) over orders that are drawn.

    And its standard error. Orders come in pairs, one the reverse of the other, and a pair is one
    sample; a single order has no error that is known. Both have the shape (*lead, G, N).
    """
    lead = game.engine.lead
    moments, done = Moments(), 0
    ranks = in_pairs(draw, orders)
    size = _orders_at_once(game, stopping=tol is not None)
    while done < orders:
        count = min(size, orders - done)
        gains = _gains(game, torch.stack([next(ranks) for _ in range(count)]))
        pairs = gains.reshape(*gains.shape[:lead], -1, min(2, count), *gains.shape[lead + 1 :])
        moments.add(pairs.mean(lead + 1), lead)
        done += count
        if tol is not None and done < orders and moments.within(tol):
            game.skip((orders - done) * (game.players - 1))
            break
    return torch.as_tensor(moments.mean), moments.standard_error()


def in_whole_pairs(orders: int) -> int:
    """So many orders, less one that would be left without its reverse."""
    return max(1, orders - orders % 2)


def _gains(game: Game, ranks: Tensor) -> Tensor:
    """What every player adds in each of P orders, (*lead, P, G, N)."""
    orders, n = ranks.shape
    lead = game.engine.lead

    def coalitions(numbers: Tensor) -> Tensor:
        return prefixes(ranks[numbers // (n - 1)], numbers % (n - 1) + 1)

    ends = [
        end.unsqueeze(lead).unsqueeze(lead).expand(*end.shape[:lead], orders, 1, end.shape[-1])
        for end in (game.empty, game.full)
    ]
    if n > 1:
        inner = game.stream(orders * (n - 1), coalitions)
        ends.insert(1, inner.reshape(*inner.shape[:lead], orders, n - 1, -1))
    gains = torch.cat(ends, lead + 1).diff(dim=lead + 1)  # in the order of arrival
    places = ranks.to(gains.device).unsqueeze(-1).expand(orders, n, gains.shape[-1])
    return gains.gather(lead + 1, places.expand(gains.shape))


def _orders_at_once(game: Game, stopping: bool) -> int:
    """An even number of orders whose gains fit in memory."""
    room = _SAMPLE_BYTES // (game.full.numel() * game.full.element_size() * game.players)
    pairs = max(1, room // 2)
    return 2 * (min(pairs, _STEP) if stopping else pairs)


def check_players(n: int) -> None:
    if n > _MOST_PLAYERS:
        raise wrong(
            ValueError,
            f"at most {_MOST_PLAYERS} features, as {_MOST_PLAYERS} already have "
            f"{2**_MOST_PLAYERS:,} coalitions",
            f"{n} features",
            "a feature_mask that groups them, or ShapleyValueSampling(model)",
        )


class ShapleyValues(PerturbationAttribution):
    r"""Score: φ_i = Σ_S |S|! (G - |S| - 1)! / G! · (f(x_S∪i) - f(x_S)) over all coalitions S.

    In x_S the features of S are those of x and all others are at their baseline. Scores sum to
    f(x) - f(x0); G features cost 2^G model rows per example.

    Paper: Shapley, A value for n-person games (1953); Štrumbelj, Kononenko, An efficient
    explanation of individual classifications using game theory (2010).

    Args:
        forward_func: the model; no gradient is needed.
        at: where the features are: the inputs, or the values of a layer.
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import ShapleyValues
    >>> ShapleyValues(lambda x: x[:, 0] * x[:, 1]).attribute(torch.tensor([[2., 3.]]))
    tensor([[3., 3.]])
    """

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: what an absent feature is replaced by, zeros by default;
                a list, or rows (B, *F), to average over.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: see the glossary: entries with one number are one feature.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: more than 24 features; a mask or baselines that do not fit the inputs.
        """
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._play(
            given, baselines, feature_mask, rows=perturbations_per_eval, show_progress=show_progress
        ) as game:
            check_players(game.players)
            game.expect(2**game.players)
            return game.arrange(shapley_values(game))


class ShapleyValueSampling(PerturbationAttribution):
    r"""Score: the mean of f(x_P∪i) - f(x_P) over random orders; P are the features before i.

    In x_P the features of P are those of x and all others are at their baseline. Orders come in
    pairs, one the reverse of the other. Scores sum to f(x) - f(x0). Where the samples would do
    for all 2^G coalitions, the scores are exact.

    Paper: Castro, Gómez, Tejada, Polynomial calculation of the Shapley value based on sampling
    (2009); Mitchell et al., Sampling permutations for Shapley value estimation (2022).

    Args:
        forward_func: the model; no gradient is needed.
        at: where the features are: the inputs, or the values of a layer.
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import ShapleyValueSampling
    >>> ShapleyValueSampling(lambda x: x[:, 0] * x[:, 1]).attribute(torch.tensor([[2., 3.]]))
    tensor([[3., 3.]])
    """

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int = 25,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        tol: float | None = None,
        return_std: bool = False,
        generator: torch.Generator | None = None,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; with `return_std` their standard errors too.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: what an absent feature is replaced by, zeros by default;
                a list, or rows (B, *F), to average over.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: see the glossary: entries with one number are one feature.
            n_samples: orders, of G - 1 model rows per example each; at most, with `tol`. An odd
                one has no reverse and is left out.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            tol: stop once every standard error is at most tol times the largest score.
            return_std: also the standard errors of the scores, in their shape.
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
            n = game.players
            if n <= _MOST_PLAYERS and n_samples * (n - 1) >= 2**n - 2:
                game.expect(2**n)
                scores = shapley_values(game)
                errors = torch.zeros_like(scores)
            else:
                orders = in_whole_pairs(n_samples)
                game.expect(orders * (n - 1) + 1)
                draw = partial(shuffled, n, generator)
                scores, errors = sampled_shapley_values(game, draw, orders, tol)
            result = game.arrange(scores)
            return (result, game.arrange(errors)) if return_std else result
