"""Where scores go as they are made: a matrix, or the K largest of each row."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum.influence.base import KMostInfluentialResults


class Sink(Protocol):
    """Takes scores (M, n) of n training examples after the other."""

    def add(self, scores: Tensor) -> None: ...


class Matrix:
    """All of them, (M, N)."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []

    def add(self, scores: Tensor) -> None:
        self._parts.append(scores)

    def result(self) -> Tensor:
        return torch.cat(self._parts, 1)


class TopK:
    """The K largest of each row, or the least; memory does not grow with what passes.

    >>> top = TopK(2)
    >>> top.add(torch.tensor([[1., 5., 3.]]))
    >>> top.add(torch.tensor([[4., 0.]]))
    >>> top.result().indices
    tensor([[1, 3]])
    """

    def __init__(self, k: int, largest: bool = True) -> None:
        self.k, self.largest = k, largest
        self._seen = 0
        self._scores: Tensor | None = None
        self._indices: Tensor | None = None

    def add(self, scores: Tensor) -> None:
        values, indices = self._top(scores)
        indices = indices + self._seen
        self._seen += scores.shape[1]
        if self._scores is not None and self._indices is not None:
            values = torch.cat([self._scores, values], 1)
            indices = torch.cat([self._indices, indices], 1)
            values, places = self._top(values)
            indices = indices.gather(1, places)
        self._scores, self._indices = values, indices

    def _top(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        values, places = scores.topk(min(self.k, scores.shape[1]), 1, largest=self.largest)
        return values, places

    def result(self) -> KMostInfluentialResults:
        assert self._indices is not None  # for mypy: there is training data
        assert self._scores is not None
        return KMostInfluentialResults(self._indices, self._scores)


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
