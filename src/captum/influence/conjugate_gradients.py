"""Influence functions with the whole Hessian, by solving for each test example."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import wrong
from captum._engine.per_sample.curvature import Hessian, conjugate_gradients
from captum._engine.per_sample.factors import Whole
from captum._engine.per_sample.source import Factors
from captum._engine.progress import Progress
from captum.influence.base import KMostInfluentialResults
from captum.influence.batches import Data, batches, count
from captum.influence.checkpoints import Load, load_state
from captum.influence.functions import InfluenceFunctionBase
from captum.influence.losses import LossFunction
from captum.influence.sinks import Matrix, TopK
from captum.influence.tracin import _positive


class ConjugateGradientInfluence(InfluenceFunctionBase):
    r"""Score of training example z for test example z': ∇ℓ(z')ᵀ (H + λ)⁻¹ ∇ℓ(z).

    H = Σ ∂²ℓ/∂θ² over the training data. The systems of all test examples are solved together, by
    conjugate gradients, with one product for all of them at a time. Exact where H + λ is positive
    definite, as of a regression; elsewhere a system ends where the loss bends down.

    Paper: Koh, Liang, Understanding black-box predictions via influence functions (2017),
    https://arxiv.org/abs/1703.04730; Martens, Deep learning via Hessian-free optimization (2010).

    Args:
        model: the model; it is left as it was.
        train_dataset: a data set or a DataLoader of (inputs …, labels) or dicts with "labels".
        checkpoint: a path, a state dict, or what `checkpoints_load_func` reads.
        checkpoints_load_func: of model and checkpoint: loads it.
        layers: names of modules whose parameters count; all by default.
        loss_fn: of output and labels: losses one by one, their sum, or their mean.
        batch_size: of the loader, where `train_dataset` is a data set. No choice changes a score.
        hessian_dataset: whose loss is differentiated twice; the training data by default.
        test_loss_fn: the loss of test examples, where it is another.
        n_steps: products at most.
        tol: a remainder of so much of ∇ℓ(z') ends its system.
        damping: λ, such as the weight decay of training.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from captum.influence import ConjugateGradientInfluence
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> data = TensorDataset(torch.tensor([[1.], [2.]]), torch.zeros(2, 1))
    >>> method = ConjugateGradientInfluence(model, data, {"weight": torch.ones(1, 1)},
    ...     loss_fn=torch.nn.MSELoss(reduction="none"), damping=0)
    >>> method.influence(data[:2])  # (2 x²) (2 x'²) / 10
    tensor([[0.4000, 1.6000],
            [1.6000, 6.4000]])
    """

    def __init__(
        self,
        model: nn.Module,
        train_dataset: Data,
        checkpoint: Any,
        checkpoints_load_func: Load = load_state,
        layers: list[str] | None = None,
        loss_fn: LossFunction | None = None,
        batch_size: int | None = 1,
        hessian_dataset: Data = None,
        test_loss_fn: LossFunction | None = None,
        *,
        n_steps: int = 50,
        tol: float = 1e-4,
        damping: float = 1e-3,
    ) -> None:
        super().__init__(
            model,
            train_dataset,
            checkpoint,
            checkpoints_load_func,
            layers,
            loss_fn,
            batch_size,
            hessian_dataset,
            test_loss_fn,
        )
        if n_steps < 1 or damping < 0:
            raise wrong(
                ValueError,
                "n_steps of at least 1 and damping of at least 0",
                f"n_steps={n_steps}, damping={damping}",
                "n_steps=50, damping=1e-3",
            )
        self.n_steps, self.tol, self.damping = n_steps, tol, damping

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
        sink = Matrix() if k is None else TopK(_positive(k), proponents)
        progress = Progress(self.get_name(), show_progress)
        total = count(self.train_dataloader)
        if total is not None:
            progress.expect(total)
        with self._opened() as source:
            hessian = Hessian(source, batches(self.hessian_dataloader, self.device))
            queries = [
                self._solved(hessian, source.factors(batch, self._test_loss))
                for batch in batches(inputs, self.device)
            ]
            for batch in batches(self.train_dataloader, self.device):
                here = source.factors(batch)
                rows = [reduce(Tensor.add, [q[n].dot(here[n]) for n in here]) for q in queries]
                sink.add(torch.cat(rows))
                progress.add(len(batch))
        progress.close()
        return sink.result()

    def self_influence(self, inputs: Data = None, show_progress: bool = False) -> Tensor:
        """Scores of examples for themselves, (N,): a system for each.

        Args:
            inputs: other examples than the training data, as a batch or a DataLoader.
            show_progress: a progress bar of examples.
        """
        data = self.train_dataloader if inputs is None else inputs
        progress = Progress(self.get_name(), show_progress)
        parts = []
        with self._opened() as source:
            hessian = Hessian(source, batches(self.hessian_dataloader, self.device))
            for batch in batches(data, self.device):
                here = source.factors(batch)
                solved = self._solved(hessian, here)
                rows = [(solved[name].flat() * here[name].flat()).sum(1) for name in here]
                parts.append(reduce(Tensor.add, rows))
                progress.add(len(batch))
        progress.close()
        return torch.cat(parts)

    def _solved(self, hessian: Hessian, found: Factors) -> Factors:
        """(H + λ)⁻¹ times every example's gradients."""
        right = torch.cat([factor.flat() for factor in found.values()], 1)

        def times(vectors: Tensor) -> Tensor:
            return hessian.times(vectors) + self.damping * vectors

        solved = conjugate_gradients(times, right, self.n_steps, self.tol)
        parts = torch.split(solved, hessian.sizes, 1)
        return {name: Whole(part) for name, part in zip(found, parts, strict=True)}
