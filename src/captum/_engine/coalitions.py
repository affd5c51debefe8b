"""Which coalitions of G features are asked for: all of them, along permutations, or a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
from torch import Tensor


def subsets(start: int, stop: int, players: int) -> Tensor:
    """The coalitions whose members are the ones of the binary numbers start to stop - 1, (K, G)."""
    return (torch.arange(start, stop).unsqueeze(1) >> torch.arange(players)) & 1 > 0


def prefixes(ranks: Tensor, sizes: Tensor) -> Tensor:
    """The first members of permutations: ranks (K, G) of every player, sizes (K,)."""
    return ranks < sizes.unsqueeze(1)


def in_pairs(draw: Callable[[], Tensor], count: int) -> Iterator[Tensor]:
    """`count` orders of the players, each second one the reverse of the one before it.

    Given as ranks: the place of every player. Reversed, a player meets the others that it did not
    meet before, so errors cancel.
    """
    for i in range(count):
        if i % 2 == 0:
            order = draw()
            ranks = torch.empty_like(order)
            ranks[order] = torch.arange(len(order))
            yield ranks
        else:
            yield len(ranks) - 1 - ranks


def shuffled(players: int, generator: torch.Generator | None = None) -> Tensor:
    """The players in a random order."""
    device = "cpu" if generator is None else generator.device
    return torch.randperm(players, generator=generator, device=device).cpu()


@dataclass(frozen=True)
class Sample:
    """Coalitions (K, G), and how much each of them counts, (K,)."""

    coalitions: Tensor
    weights: Tensor


def kernel_sample(players: int, budget: int, generator: torch.Generator | None) -> Sample:
    """At most `budget` coalitions for the regression whose solution is the Shapley value.

    The kernel gives all coalitions of s members the weight 1 / (s (G - s)) together. Every size
    gets the same number of draws, or all of its coalitions where those are fewer: where budget
    is at least 2^G - 2, this is the sum itself. A coalition comes with its complement.
    """
    sizes = range(1, players // 2 + 1)
    room = list(_pairs_of_each_size(players, budget))
    found = [torch.zeros(0, players, dtype=torch.bool)]
    weights = [torch.zeros(0, dtype=torch.float64)]
    for s, pairs in zip(sizes, _shares(room, budget // 2), strict=True):
        if not pairs:
            continue
        half = _of_size(players, s, pairs, room[s - 1], generator)
        sides = 1 if 2 * s == players else 2  # a size and its complement's
        found += [half, ~half]
        weight = sides / (s * (players - s)) / (2 * pairs)
        weights.append(torch.full((2 * pairs,), weight, dtype=torch.float64))
    return Sample(torch.cat(found), torch.cat(weights))


def _pairs_of_each_size(players: int, budget: int) -> Iterator[int]:
    """How many coalitions of 1, 2 ... G / 2 members there are; beyond a budget, that they are more.

    Those of G / 2 members are counted with their complements. The numbers of many players are too
    large to be worth knowing.
    """
    count = 1
    for s in range(1, players // 2 + 1):
        if count <= 4 * budget:
            count = comb(players, s) if 2 * s < players else comb(players, s) // 2
        yield count


def _shares(room: list[int], budget: int) -> list[int]:
    """A budget in equal shares, none larger than its room; the smallest sizes get what is left."""
    shares = [0] * len(room)
    open_ = [i for i, r in enumerate(room) if r]
    while budget and open_:
        share = max(1, budget // len(open_))
        for i in list(open_):
            taken = min(share, room[i] - shares[i], budget)
            shares[i] += taken
            budget -= taken
            if shares[i] == room[i]:
                open_.remove(i)
    return shares


def _of_size(
    players: int, size: int, count: int, room: int, generator: torch.Generator | None
) -> Tensor:
    """`count` different coalitions of a size, (K, G); of each with its complement only one."""
    if room <= 4 * count:
        members = torch.tensor(list(combinations(range(players), size)))
        members = members[:room]  # of the middle size those that have player 0
        if count == room:  # nothing is left to chance
            return _with(players, members)
        return _with(players, members[shuffled(room, generator)[:count]])
    found: dict[bytes, Tensor] = {}
    while len(found) < count:
        for row in _draw(players, size, count, generator):
            key = row if 2 * size != players or row[0] else ~row
            found.setdefault(key.numpy().tobytes(), row)
    return torch.stack(list(found.values())[:count])


def _draw(players: int, size: int, count: int, generator: torch.Generator | None) -> Tensor:
    device = "cpu" if generator is None else generator.device
    keys = torch.rand(count, players, generator=generator, device=device).cpu()
    return _with(players, keys.topk(size, dim=1).indices)


def _with(players: int, members: Tensor) -> Tensor:
    return torch.zeros(len(members), players, dtype=torch.bool).scatter_(1, members, value=True)
