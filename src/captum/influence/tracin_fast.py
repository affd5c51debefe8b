"""TracIn by the last linear layer alone: a forward pass is all it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import describe, wrong
from captum._engine.layers import modules_of
from captum._engine.model import inside
from captum._engine.per_sample.factors import Factor, Outer, side_by_side
from captum._engine.per_sample.source import Batch
from captum._engine.progress import Progress
from captum.influence.base import KMostInfluentialResults
from captum.influence.batches import Data
from captum.influence.checkpoints import Load, load_state
from captum.influence.losses import LossFunction
from captum.influence.neighbors import ExactNearestNeighbors, NearestNeighbors
from captum.influence.scoring import rowwise
from captum.influence.sharing import Share, shared
from captum.influence.tracin import _ByGradients


class TracInCPFast(_ByGradients):
    r"""Score: Σ_c η_c (a·a') (∇_y ℓ·∇_y' ℓ), for the weights of the last linear layer alone.

    a is what comes into the layer and y what comes out; its bias does not count.

    Paper: Pruthi et al., Estimating training data influence by tracing gradient descent (2020),
    https://arxiv.org/abs/2002.08484.

    Args:
        model: the model; it is left as it was.
        final_fc_layer: the last linear layer, or its name.
        train_dataset: a data set or a DataLoader of (inputs …, labels) or dicts with "labels".
        checkpoints: a folder, or a list of paths, of state dicts, or of what
            `checkpoints_load_func` reads.
        checkpoints_load_func: of model and checkpoint: loads it and returns its learning rate.
        loss_fn: of output and labels: losses one by one, their sum, or their mean.
        batch_size: of the loader, where `train_dataset` is a data set. No choice changes a score.
        test_loss_fn: the loss of test examples, where it is another.
        vectorize: accepted for code written for the published package.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from captum.influence import TracInCPFast
    >>> model = torch.nn.Linear(2, 1)
    >>> data = TensorDataset(torch.eye(2), torch.zeros(2, 1))
    >>> state = {"weight": torch.tensor([[1., 2.]]), "bias": torch.zeros(1)}
    >>> fast = TracInCPFast(model, model, data, [state], loss_fn=torch.nn.MSELoss(reduction="sum"))
    >>> fast.self_influence()
    tensor([ 4., 16.])
    """

    def __init__(
        self,
        model: nn.Module,
        final_fc_layer: nn.Module | str,
        train_dataset: Data,
        checkpoints: Any,
        checkpoints_load_func: Load = load_state,
        loss_fn: LossFunction | None = None,
        batch_size: int | None = 1,
        test_loss_fn: LossFunction | None = None,
        vectorize: bool = False,
    ) -> None:
        super().__init__(
            model,
            train_dataset,
            checkpoints,
            checkpoints_load_func,
            loss_fn,
            batch_size,
            test_loss_fn,
        )
        self.vectorize = vectorize
        self.final_fc_layer = final_fc_layer

    @property
    def final_fc_layer(self) -> nn.Module:
        """The layer whose weights count."""
        return self._layer

    @final_fc_layer.setter
    def final_fc_layer(self, layer: nn.Module | str) -> None:
        model, works = inside(self.model), "TracInCPFast(model, model.fc, …)"
        (found,) = modules_of(model, layer, works).values()
        weight = getattr(found, "weight", None)
        if not isinstance(weight, nn.Parameter):
            raise wrong(
                ValueError,
                "a linear layer of the model, or its name",
                describe(layer),
                works,
            )
        self._layer = found
        self._weight = [name for name, p in model.named_parameters() if p is weight]

    def _names(self) -> Sequence[str] | None:
        return self._weight

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
            show_progress: a progress bar of training examples, times checkpoints.

        Raises:
            ValueError: k below 1; batch normalisation in training mode.
        """
        return self._scores(inputs, k, proponents, show_progress)

    def self_influence(
        self,
        inputs: Data = None,
        show_progress: bool = False,
        outer_loop_by_checkpoints: bool = False,
    ) -> Tensor:
        """Scores of examples for themselves, (N,).

        Args:
            inputs: other examples than the training data, as a batch or a DataLoader.
            show_progress: a progress bar of examples, times checkpoints.
            outer_loop_by_checkpoints: accepted: every checkpoint is read once in any case.
        """
        return self._self_scores(inputs, show_progress)


class TracInCPFastRandProj(TracInCPFast):
    r"""The same from vectors that are made once: scores are inner products of stored projections.

    The vector of an example is √η_c (R a) ⊗ (S ∇_y ℓ) for every checkpoint, side by side, with
    random R and S; without a `projection_dim`, exact and long.

    Paper: as TracInCP, appendix F.

    Args:
        model: the model; it is left as it was.
        final_fc_layer: the last linear layer, or its name.
        train_dataset: a data set or a DataLoader of (inputs …, labels) or dicts with "labels".
        checkpoints: a folder, or a list of paths, of state dicts, or of what
            `checkpoints_load_func` reads.
        checkpoints_load_func: of model and checkpoint: loads it and returns its learning rate.
        loss_fn: of output and labels: losses one by one, their sum, or their mean.
        batch_size: of the loader, where `train_dataset` is a data set. No choice changes a score.
        test_loss_fn: the loss of test examples, where it is another.
        vectorize: accepted for code written for the published package.
        nearest_neighbors: finds the largest inner products; exact by default.
        projection_dim: at most so many numbers per checkpoint and example.
        seed: of the random maps.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from captum.influence import TracInCPFastRandProj
    >>> model = torch.nn.Linear(2, 1)
    >>> data = TensorDataset(torch.eye(2), torch.zeros(2, 1))
    >>> state = {"weight": torch.tensor([[1., 2.]]), "bias": torch.zeros(1)}
    >>> loss = torch.nn.MSELoss(reduction="sum")
    >>> stored = TracInCPFastRandProj(model, model, data, [state], loss_fn=loss)
    >>> stored.influence((torch.eye(2), torch.zeros(2, 1)), k=1).indices
    tensor([[0],
            [1]])
    """

    def __init__(
        self,
        model: nn.Module,
        final_fc_layer: nn.Module | str,
        train_dataset: Data,
        checkpoints: Any,
        checkpoints_load_func: Load = load_state,
        loss_fn: LossFunction | None = None,
        batch_size: int | None = 1,
        test_loss_fn: LossFunction | None = None,
        vectorize: bool = False,
        nearest_neighbors: NearestNeighbors | None = None,
        projection_dim: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            model,
            final_fc_layer,
            train_dataset,
            checkpoints,
            checkpoints_load_func,
            loss_fn,
            batch_size,
            test_loss_fn,
            vectorize,
        )
        if projection_dim is not None and projection_dim < 1:
            raise wrong(
                ValueError,
                "projection_dim of at least 1",
                repr(projection_dim),
                "projection_dim=100",
            )
        self.projection_dim, self.seed = projection_dim, seed
        self.nearest_neighbors = nearest_neighbors or ExactNearestNeighbors()
        self._maps: tuple[Tensor, Tensor] | None = None
        self._stored = self._embedded(self.train_dataloader, self._loss)
        self.nearest_neighbors.setup(self._stored)

    def influence(  # type: ignore[override]  # as published: k comes second, and is 5
        self, inputs: Data = None, k: int | None = 5, proponents: bool = True
    ) -> Tensor | KMostInfluentialResults:
        """The k largest scores of each of M test examples, (M, k); or all, (M, N), with k=None.

        Args:
            inputs: test examples, as a batch (inputs …, labels) or a DataLoader of such.
            k: how many of each row.
            proponents: the largest; False for the least, which are opponents.

        Raises:
            ValueError: k below 1.
        """
        vectors = self._embedded(inputs, self._test_loss)
        if k is None:
            return vectors @ self._stored.T
        found = self.nearest_neighbors.get_nearest_neighbors(
            vectors if proponents else -vectors, min(k, len(self._stored))
        )
        indices, scores = found
        return KMostInfluentialResults(indices, scores if proponents else -scores)

    def self_influence(
        self,
        inputs: Data = None,
        show_progress: bool = False,
        outer_loop_by_checkpoints: bool = False,
    ) -> Tensor:
        """Squared lengths of the vectors, (N,): `TracInCPFast` has them exact.

        Args:
            inputs: other examples than the training data, as a batch or a DataLoader.
            show_progress: accepted: the training data's vectors are stored.
            outer_loop_by_checkpoints: accepted.
        """
        vectors = self._stored if inputs is None else self._embedded(inputs, self._loss)
        return vectors.square().sum(1)

    def compute_intermediate_quantities(self, inputs: Data) -> Tensor:
        """The vectors (M, D) of examples; scores are inner products with the stored ones.

        Args:
            inputs: examples, as a batch or a DataLoader.
        """
        return self._embedded(inputs, self._loss)

    @shared
    def _embedded(self, inputs: Data, loss: Any) -> Tensor:
        columns = []
        source = self._source()
        share = Share(inputs, self.device)

        def of(batch: Batch) -> Tensor:
            (factor,) = source.factors(batch, loss).values()
            return self._projected(factor)

        with self._checkpoints.opened() as checkpoints:
            for c in range(len(checkpoints)):
                rate = checkpoints.use(c)
                found = rowwise(share.batches(), of, Progress(), share.world)
                columns.append(found.mul_(rate**0.5))
        return side_by_side(columns)

    def _projected(self, factor: Factor) -> Tensor:
        if self.projection_dim is None or factor.size <= self.projection_dim:
            flat: Tensor = factor.flat()
            return flat
        if not isinstance(factor, Outer):
            raise wrong(
                TypeError,
                "a final layer that is one linear map",
                describe(self._layer),
                "projection_dim=None, or TracInCPFast",
            )
        if self._maps is None:
            self._maps = self._drawn(factor.a, factor.gradients.shape[-1], factor.x)
        inward, outward = self._maps
        made = Outer(factor.x @ inward, factor.gradients @ outward, inward.shape[1])
        return made.flat()

    def _drawn(self, a: int, b: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Maps R (a, d) and S (b, e) with d e <= projection_dim; no larger than they have to be."""
        assert self.projection_dim is not None  # for mypy
        side = max(1, int(self.projection_dim**0.5))
        e = min(b, side)
        d = min(a, self.projection_dim // e)
        e = min(b, self.projection_dim // d)
        generator = torch.Generator().manual_seed(self.seed)

        def drawn(n: int, m: int) -> Tensor:
            if m == n:
                return torch.eye(n).to(like)
            found: Tensor = torch.randn(n, m, generator=generator) / m**0.5
            return found.to(like)

        return drawn(a, d), drawn(b, e)
