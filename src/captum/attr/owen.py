"""Owen values: Shapley values where features join in groups, and groups in larger groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.coalitions import shuffled, subsets
from captum._engine.errors import describe, wrong
from captum._engine.game import Game
from captum._engine.sampling import check_samples
from captum.attr.base import PerturbationAttribution, Scores
from captum.attr.shapley import in_whole_pairs, sampled_shapley_values

_MOST = 1 << 24  # coalitions of an exact run


@dataclass(frozen=True)
class Group:
    """A feature, or a group of groups."""

    members: tuple[int, ...]
    parts: tuple[Group, ...] = ()

    @cached_property
    def coalitions(self) -> int:
        """How many an exact run asks for at most, for each one outside that the group may meet."""
        if not self.parts:
            return 2
        others: int = 2 ** (len(self.parts) - 1)
        return others * sum(part.coalitions for part in self.parts)

    def shuffled(self, generator: torch.Generator | None) -> list[int]:
        """The features in a random order that keeps groups together."""
        if not self.parts:
            return list(self.members)
        order = shuffled(len(self.parts), generator).tolist()
        return [feature for i in order for feature in self.parts[i].shuffled(generator)]

    def met(self, before: Tensor, weights: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Each feature, who may be there before it, (K, G), and how likely that is, (K,)."""
        if not self.parts:
            yield self.members[0], before, weights
            return
        m = len(self.parts)
        own = torch.zeros(m, before.shape[1], dtype=torch.bool)
        for i, part in enumerate(self.parts):
            own[i, list(part.members)] = True
        chosen = subsets(0, 2 ** (m - 1), m - 1)
        chances = torch.tensor([1 / (m * comb(m - 1, s)) for s in range(m)], dtype=torch.float64)
        for i, part in enumerate(self.parts):
            others = torch.cat([own[:i], own[i + 1 :]])
            joined = (chosen.unsqueeze(-1) & others).any(1)
            there = (before.unsqueeze(1) | joined).flatten(0, 1)
            yield from part.met(there, torch.outer(weights, chances[chosen.sum(1)]).flatten())


def owen_values(game: Game, root: Group) -> Tensor:
    """Σ_B w_B (v(B ∪ i) - v(B)) over who may arrive before i, if groups stay together.

    Shape (*lead, G, N).
    """
    lead = game.engine.lead
    scores = torch.zeros_like(game.full).unsqueeze(lead).repeat_interleave(game.players, lead)
    nobody = torch.zeros(1, game.players, dtype=torch.bool)
    for feature, before, weights in root.met(nobody, torch.ones(1, dtype=torch.float64)):
        after = before.clone()
        after[:, feature] = True
        gains = game.stream(len(after), after.__getitem__) - game.stream(
            len(before), before.__getitem__
        )
        scores.select(lead, feature).copy_(weights.to(gains) @ gains)
    return scores


class OwenValues(PerturbationAttribution):
    r"""Score: the mean of f(x_P∪i) - f(x_P) over the orders in which groups stay together.

    P are the features before i; in x_P they are those of x and all others are at their baseline.
    With one group of all features these are the Shapley values; a balanced binary tree of G
    features costs at most G² model rows. Scores sum to f(x) - f(x0), and those of a group to its
    share.

    Paper: Owen, Values of games with a priori unions (1977); Winter, A value for cooperative
    games with levels structure of cooperation (1989).

    Args:
        forward_func: the model; no gradient is needed.
        at: where the features are: the inputs, or the values of a layer.
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import OwenValues
    >>> f = lambda x: x[:, 0] * x[:, 1] + x[:, 1] * x[:, 2]
    >>> OwenValues(f).attribute(torch.ones(1, 3), hierarchy=[[0, 1], 2])
    tensor([[0.5000, 1.0000, 0.5000]])
    """

    def attribute(
        self,
        inputs: Any,
        hierarchy: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int | None = None,
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
            hierarchy: nested lists of feature numbers, [[0, 1], [2, [3, 4]]], with every feature
                once; or a linkage matrix (G - 1, 4) as of `scipy.cluster.hierarchy.linkage`,
                which joins the features in the order of their numbers.
            baselines: see the glossary: what an absent feature is replaced by, zeros by default;
                a list, or rows (B, *F), to average over.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: see the glossary: entries with one number are one feature.
            n_samples: random orders of G - 1 model rows each, in pairs; by default the values
                are exact.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            tol: with samples, stop once every standard error is at most tol times the largest
                score.
            return_std: also the standard errors of the scores, in their shape.
            generator: see the glossary: where random numbers come from.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: a hierarchy without each feature once, or too wide to be exact.
        """
        if n_samples is not None:
            check_samples(n_samples, "n_samples")
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._play(
            given, baselines, feature_mask, rows=perturbations_per_eval, show_progress=show_progress
        ) as game:
            root = _hierarchy(hierarchy, game)
            if n_samples is None:
                _check_width(root)
                game.expect(root.coalitions)
                scores = owen_values(game, root)
                errors = torch.zeros_like(scores)
            else:
                orders = in_whole_pairs(n_samples)
                game.expect(orders * (game.players - 1) + 1)
                draw = _drawn(root, generator)
                scores, errors = sampled_shapley_values(game, draw, orders, tol)
            result = game.arrange(scores)
            return (result, game.arrange(errors)) if return_std else result


def _drawn(root: Group, generator: torch.Generator | None) -> Callable[[], Tensor]:
    return lambda: torch.tensor(root.shuffled(generator))


def _check_width(root: Group) -> None:
    if root.coalitions > _MOST:
        raise wrong(
            ValueError,
            f"a hierarchy that asks for at most {_MOST:,} coalitions",
            f"{root.coalitions:.2g} of them: each of m parts meets 2^(m - 1) sets of the others, "
            "on every level",
            "n_samples=100, or a hierarchy of fewer levels with groups of few parts",
        )


def _hierarchy(given: Any, game: Game) -> Group:
    numbers = game.groups.numbers.tolist()
    if not isinstance(given, list | tuple):
        given = _linked(given, numbers)
    root = _group(given, {number: i for i, number in enumerate(numbers)})
    if sorted(root.members) != list(range(len(numbers))):
        raise _not_a_hierarchy(given, numbers)
    return root


def _group(given: Any, places: Mapping[int, int]) -> Group:
    if not isinstance(given, list | tuple):
        if given not in places:
            raise _not_a_hierarchy(given, list(places))
        return Group((places[given],))
    parts = tuple(_group(part, places) for part in given)
    if len(parts) == 1:
        return parts[0]
    return Group(tuple(m for part in parts for m in part.members), parts)


def _linked(given: Any, numbers: Sequence[int]) -> Any:
    """A linkage matrix as nested lists: row i joins two nodes to node G + i."""
    shape = tuple(getattr(given, "shape", ()))
    if len(shape) != 2 or shape[0] != len(numbers) - 1 or shape[-1] < 2:
        raise _not_a_hierarchy(given, numbers)
    nodes: list[Any] = list(numbers)
    for row in given.tolist():
        nodes.append([nodes[int(row[0])], nodes[int(row[1])]])
    return nodes[-1]


def _not_a_hierarchy(given: object, numbers: Sequence[int]) -> ValueError:
    some = ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")
    return wrong(
        ValueError,
        f"a hierarchy with each of the features {some} once",
        describe(given),
        "hierarchy=[[0, 1], [2, 3]], or a linkage matrix (G - 1, 4)",
    )
