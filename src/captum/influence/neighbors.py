"""Which stored vectors have the largest inner products with a query."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import extra, wrong

_BLOCK_BYTES = 64 << 20  # of scores at a time


class NearestNeighbors(ABC):
    """Finds, for query vectors, the stored ones with the largest inner products."""

    @abstractmethod
    def setup(self, data: Tensor) -> None:
        """Store vectors (N, D)."""

    @abstractmethod
    def get_nearest_neighbors(self, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Positions and inner products of the k nearest of each of M queries, (M, k) each."""


class ExactNearestNeighbors(NearestNeighbors):
    """All inner products are looked at, block by block.

    >>> import torch
    >>> from captum.influence import ExactNearestNeighbors
    >>> nearest = ExactNearestNeighbors()
    >>> nearest.setup(torch.tensor([[1., 0.], [0., 2.]]))
    >>> nearest.get_nearest_neighbors(torch.tensor([[1., 1.]]), 1)
    (tensor([[1]]), tensor([[2.]]))
    """

    data: Tensor | None = None

    def setup(self, data: Tensor) -> None:
        """Store vectors (N, D)."""
        self.data = data

    def get_nearest_neighbors(self, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Positions and inner products of the k nearest of each of M queries, (M, k) each."""
        if self.data is None:
            raise wrong(RuntimeError, "stored vectors", "none yet", "setup(vectors) first")
        best: tuple[Tensor, Tensor] | None = None
        step = max(1, _BLOCK_BYTES // (query.element_size() * max(1, len(query))))
        for start in range(0, len(self.data), step):
            scores = query @ self.data[start : start + step].T
            scores, places = scores.topk(min(k, scores.shape[1]), 1)
            places = places + start
            if best is not None:
                scores, places = torch.cat([best[1], scores], 1), torch.cat([best[0], places], 1)
                scores, order = scores.topk(min(k, scores.shape[1]), 1)
                places = places.gather(1, order)
            best = places, scores
        assert best is not None  # for mypy: something is stored
        return best


class AnnoyNearestNeighbors(NearestNeighbors):
    """Approximate neighbours by random trees, for millions of vectors; needs the package annoy.

    Args:
        num_trees: more of them find more of the true neighbours.

    Raises:
        ImportError: annoy is missing.
    """

    def __init__(self, num_trees: int = 10) -> None:
        self._annoy: Any = extra("annoy", "annoy")
        self.num_trees = num_trees
        self._index: Any = None

    def setup(self, data: Tensor) -> None:
        """Store vectors (N, D)."""
        self._index = self._annoy.AnnoyIndex(data.shape[1], "dot")
        for i, vector in enumerate(data.tolist()):
            self._index.add_item(i, vector)
        self._index.build(self.num_trees)

    def get_nearest_neighbors(self, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Positions and inner products of the k nearest of each of M queries, (M, k) each."""
        if self._index is None:
            raise wrong(RuntimeError, "stored vectors", "none yet", "setup(vectors) first")
        rows = [self._index.get_nns_by_vector(q, k, include_distances=True) for q in query.tolist()]
        places = torch.tensor([row[0] for row in rows], device=query.device)
        return places, torch.tensor([row[1] for row in rows], device=query.device)
