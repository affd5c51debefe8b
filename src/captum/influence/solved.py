"""Influence functions that solve for each test example, and meet the training data once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from captum._engine.per_sample.factors import added, inner
from captum._engine.per_sample.source import Batch, Factors, GradientSource
from captum._engine.ranks import World, together
from captum.influence.base import KMostInfluentialResults
from captum.influence.batches import Data, is_single, questions
from captum.influence.functions import InfluenceFunctionBase
from captum.influence.scoring import rowwise, scored
from captum.influence.sharing import Share


class SolvedInfluence(InfluenceFunctionBase):
    """Scores ∇ℓ(z')ᵀ H⁻¹ ∇ℓ(z), with H⁻¹ ∇ℓ(z') made first, whatever H is."""

    _examples = 1  # whose mean H is; 1 where it is their sum
    _together = False  # solving takes all processes: each of them solves for every example

    @abstractmethod
    def _solver(self, source: GradientSource) -> Callable[[Factors], Factors]:
        """What makes H⁻¹ times every example's gradients."""

    @together
    def influence(  # type: ignore[override]  # test examples are needed
        self,
        inputs: Data,
        k: int | None = None,
        proponents: bool = True,
        show_progress: bool = False,
    ) -> Tensor | KMostInfluentialResults:
        """Scores (M, N) of the N training examples for M test examples; or the k largest of each.

        Args:
            inputs: test examples, as a batch (inputs …, labels) or a DataLoader of such.
            k: only so many of each row, found without keeping the others: indices and scores
                (M, k).
            proponents: with k, the largest; False for the least, which are opponents.
            show_progress: a progress bar of training examples.

        Raises:
            ValueError: k below 1; batch normalisation in training mode.
        """
        with self._opened() as source:
            solved = self._solver(source)
            asked = questions(inputs, self.device, source.nbytes)
            share = Share(self.train_dataloader, self.device)

            def ask(group: list[Batch]) -> list[Factors]:
                return [solved(source.factors(batch, self._test_loss)) for batch in group]

            def meet(queries: list[Factors], batch: Batch) -> Tensor:
                here = source.factors(batch)
                return torch.cat([inner(query, here) for query in queries]) / self._examples

            return scored(
                asked,
                ask,
                share.batches,
                meet,
                k,
                proponents,
                self._progress(share, show_progress, len(asked)),
                share.world,
            )

    def self_influence(self, inputs: Data = None, show_progress: bool = False) -> Tensor:
        """Scores of examples for themselves, (N,).

        Args:
            inputs: other examples than the training data, as a batch or a DataLoader.
            show_progress: a progress bar of examples.
        """
        data = self.train_dataloader if inputs is None else inputs
        alone = is_single(data) and not self._together
        with (World() if alone else World.now()).meeting(), self._opened() as source:
            share = Share(data, self.device, World() if self._together else None)
            solved = self._solver(source)

            def of(batch: Batch) -> Tensor:
                here = source.factors(batch)
                found = solved(here)
                rows = ((found[name].flat() * here[name].flat()).sum(1) for name in here)
                return added(rows) / self._examples

            progress = self._progress(share, show_progress)
            return rowwise(share.batches(), of, progress, share.world)
