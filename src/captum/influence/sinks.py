"""Where scores go as they are made: a matrix, or the K largest of each row."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.ranks import World
from captum.influence.base import KMostInfluentialResults


class Sink(Protocol):
    """Takes scores (M, n) of the training examples from number `start` on."""

    def add(self, start: int, scores: Tensor) -> None: ...


class Matrix:
    """All of them, (M, N)."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, Tensor]] = []

    def add(self, start: int, scores: Tensor) -> None:
        self._parts.append((start, scores))

    def result(self, world: World) -> Tensor:
        return world.joined(self._parts, 1)


class TopK:
    """The K largest of each row, or the least; memory does not grow with what passes.

    >>> top = TopK(2)
    >>> top.add(0, torch.tensor([[1., 5., 3.]]))
    >>> top.add(3, torch.tensor([[4., 0.]]))
    >>> top.result(World()).indices
    tensor([[1, 3]])
    """

    def __init__(self, k: int, largest: bool = True) -> None:
        self.k, self.largest = k, largest
        self._found: tuple[Tensor, Tensor] | None = None  # scores, indices

    def add(self, start: int, scores: Tensor) -> None:
        values, indices = self._top(scores)
        indices = indices + start
        if self._found is not None:
            values = torch.cat([self._found[0], values], 1)
            indices = torch.cat([self._found[1], indices], 1)
            values, places = self._top(values)
            indices = indices.gather(1, places)
        self._found = values, indices

    def _top(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        values, places = scores.topk(min(self.k, scores.shape[1]), 1, largest=self.largest)
        return values, places

    def result(self, world: World) -> KMostInfluentialResults:
        own = self._found
        values, indices = (
            world.joined([] if own is None else [(world.rank, own[i])], 1) for i in range(2)
        )
        values, places = self._top(values)
        return KMostInfluentialResults(indices.gather(1, places), values)


def joined(
    found: list[Tensor] | list[KMostInfluentialResults] | list[Tensor | KMostInfluentialResults],
) -> Tensor | KMostInfluentialResults:
    """The results of several groups of rows as one."""
    if isinstance(found[0], Tensor):
        return torch.cat([each for each in found if isinstance(each, Tensor)])
    tops = [each for each in found if isinstance(each, KMostInfluentialResults)]
    return KMostInfluentialResults(
        torch.cat([top.indices for top in tops]),
        torch.cat([top.influence_scores for top in tops]),
    )


def sink_for(k: Any, proponents: bool) -> Matrix | TopK:
    """What a user's k asks for: all scores, or so many of each row."""
    if k is None:
        return Matrix()
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise wrong(ValueError, "k of at least 1, or None for all scores", describe(k), "k=10")
    return TopK(k, proponents)
