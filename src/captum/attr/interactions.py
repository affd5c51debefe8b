"""Shapley interactions: what two features do together beyond what each does alone."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.coalitions import prefixes, shuffled
from captum._engine.errors import wrong
from captum._engine.game import Game
from captum._engine.sampling import check_samples
from captum.attr.base import PerturbationAttribution
from captum.attr.shapley import shares

_MOST_PLAYERS = 20


def interactions(game: Game) -> tuple[Tensor, Tensor]:
    """Σ_S |S|! (G - |S| - 2)! / (G - 1)! · Δ_ij v(S), from every coalition once, (*lead, G, G, N).

    Δ_ij v(S) = v(S ∪ ij) - v(S ∪ i) - v(S ∪ j) + v(S). The diagonal is zero. And the Shapley
    values, (*lead, G, N).
    """
    n, lead = game.players, game.engine.lead
    pairs = values = torch.zeros_like(game.full).unsqueeze(lead)
    for coalitions, worths in game.everything():
        pairs = pairs + _pair_shares(coalitions).flatten(1).T.to(worths) @ worths
        values = values + shares(coalitions).T.to(worths) @ worths
    return pairs.reshape(*pairs.shape[:lead], n, n, -1), values


def _pair_shares(coalitions: Tensor) -> Tensor:
    """How much v of each coalition (K, G) counts for a pair: with both, one or none in it."""
    n = coalitions.shape[1]
    exact = [1 / ((n - 1) * comb(n - 2, s)) for s in range(n - 1)]
    counts = torch.tensor(exact, dtype=torch.float64)
    both, one, none = (torch.cat([torch.zeros(k), counts, torch.zeros(2 - k)]) for k in (2, 1, 0))
    size, there = coalitions.sum(1), coalitions.double()
    met = there.unsqueeze(2) + there.unsqueeze(1)  # how many of i and j
    by_met = torch.stack([none[size], -one[size], both[size]], 1)
    return by_met.gather(1, met.long().flatten(1)).view_as(met) * (1 - torch.eye(n))


def sampled_interactions(
    game: Game, draws: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """The mean of Δ_ij v(those before both) over orders in which i and j are neighbours.

    And the Shapley values from the same orders: (*lead, G, G, N) and (*lead, G, N).
    """
    n, lead = game.players, game.engine.lead
    orders = _dealt(n, draws, generator)
    ranks = orders.argsort(1)
    count = len(orders)
    sizes = torch.arange(n + 1)
    path = game.stream(count * (n + 1), lambda i: prefixes(ranks[i // (n + 1)], sizes[i % (n + 1)]))

    def skipping(i: Tensor) -> Tensor:
        """Those before place p, and the one after it."""
        order, place = i // (n - 1), i % (n - 1)
        there = prefixes(ranks[order], place)
        return there.scatter_(1, orders[order, place + 1].unsqueeze(1), value=True)

    without = game.stream(count * (n - 1), skipping)
    shape = (*path.shape[:lead], count)
    path = path.reshape(*shape, n + 1, -1)
    gains = path.diff(dim=lead + 1)
    bends = gains.narrow(lead + 1, 1, n - 1) - (
        without.reshape(*shape, n - 1, -1) - path.narrow(lead + 1, 0, n - 1)
    )
    return _by_pair(bends, orders, lead), _by_player(gains, orders, lead)


def _by_pair(bends: Tensor, orders: Tensor, lead: int) -> Tensor:
    """The mean of every pair's Δ, symmetric, (*lead, G, G, N)."""
    n = orders.shape[1]
    codes = (orders[:, :-1] * n + orders[:, 1:]).flatten()
    flat = bends.flatten(lead, lead + 1)
    sums = flat.new_zeros(*flat.shape[:lead], n * n, flat.shape[-1])
    sums.index_add_(lead, codes.to(flat.device), flat)
    counts = torch.bincount(codes, minlength=n * n).to(flat).view(n, n)
    sums = sums.reshape(*flat.shape[:lead], n, n, -1)
    together = sums + sums.transpose(lead, lead + 1)
    return together / (counts + counts.T).clamp(min=1).unsqueeze(-1)


def _by_player(gains: Tensor, orders: Tensor, lead: int) -> Tensor:
    """The mean of what every player adds, (*lead, G, N)."""
    flat = gains.flatten(lead, lead + 1)
    sums = flat.new_zeros(*flat.shape[:lead], orders.shape[1], flat.shape[-1])
    sums.index_add_(lead, orders.flatten().to(flat.device), flat)
    return sums / len(orders)


def _dealt(n: int, draws: int, generator: torch.Generator | None) -> Tensor:
    """Orders of n players, (P, n), in which every two are neighbours equally often.

    Walecki's zigzags 0, 1, -1, 2, -2 ... around a circle, turned: half a turn has every two
    places as neighbours once, for an odd number a whole turn twice. Players take their places at
    random.
    """
    steps = torch.arange(n)
    zigzag = torch.where(steps % 2 == 1, (steps + 1) // 2, -(steps // 2))
    turns = n if n % 2 else n // 2
    places = (zigzag + torch.arange(turns).unsqueeze(1)) % n
    rounds = -(-draws // 2) if n % 2 else draws
    return torch.cat([shuffled(n, generator)[places] for _ in range(rounds)])


class ShapleyInteractions(PerturbationAttribution):
    r"""Φ_ij = ½ Σ_S |S|! (G - |S| - 2)! / (G - 1)! · (f(x_S∪ij) - f(x_S∪i) - f(x_S∪j) + f(x_S)).

    Half of the Shapley interaction index stands on either side of the diagonal; on it stands what
    is left of the Shapley value, Φ_ii = φ_i - Σ_j Φ_ij. So rows sum to the Shapley values, and
    everything to f(x) - f(x0). In x_S the features of S are those of x and all others are at
    their baseline.

    Paper: Grabisch, Roubens, An axiomatic approach to the concept of interaction among players in
    cooperative games (1999); Lundberg et al., From local explanations to global understanding
    with explainable AI for trees (2020).

    Args:
        forward_func: the model; no gradient is needed.
        at: where the features are: the inputs, or the values of a layer.
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import ShapleyInteractions
    >>> ShapleyInteractions(lambda x: x[:, 0] * x[:, 1]).attribute(torch.tensor([[2., 3.]]))
    tensor([[[0., 3.],
             [3., 0.]]])
    """

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int | None = None,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        generator: torch.Generator | None = None,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """A matrix of features for every example, (N, G, G); a list for several targets.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: what an absent feature is replaced by, zeros by default;
                a list, or rows (B, *F), to average over.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: see the glossary: entries with one number are one feature; rows and
                columns are in the order of the numbers.
            n_samples: estimate from so many draws of every pair, of about G² model rows each; by
                default the values are exact, from 2^G.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            generator: see the glossary: where random numbers come from.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: more than 20 features without n_samples; a mask that does not fit.
        """
        if n_samples is not None:
            check_samples(n_samples, "n_samples")
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._play(
            given, baselines, feature_mask, rows=perturbations_per_eval, show_progress=show_progress
        ) as game:
            n = game.players
            exact = n_samples is None or n < 3 or n_samples * n * n >= 2**n
            if n_samples is None and n > _MOST_PLAYERS:
                raise wrong(
                    ValueError,
                    f"at most {_MOST_PLAYERS} features for exact values",
                    f"{n} features",
                    "n_samples=10, or a feature_mask that groups them",
                )
            game.expect(2**n if exact else (n_samples or 0) * n * n)
            if exact:
                pairs, values = interactions(game)
            else:
                pairs, values = sampled_interactions(game, n_samples or 1, generator)
            return _matrix(game, pairs / 2, values)


def _matrix(game: Game, pairs: Tensor, values: Tensor) -> Any:
    lead = game.engine.lead
    rest = values - pairs.sum(lead + 1)
    matrix = pairs + torch.diag_embed(rest.transpose(-1, -2)).movedim(-3, -1)
    found = matrix.movedim(-1, lead).to(game.kind)
    return list(found) if game.call.several else found
