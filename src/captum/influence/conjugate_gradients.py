"""Influence functions with the whole Hessian, by solving for each test example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import wrong
from captum._engine.per_sample.curvature import conjugate_gradients
from captum._engine.per_sample.factors import Whole
from captum._engine.per_sample.source import Factors, GradientSource
from captum.influence.batches import Data
from captum.influence.checkpoints import Load, load_state
from captum.influence.losses import LossFunction
from captum.influence.solved import SolvedInfluence


class ConjugateGradientInfluence(SolvedInfluence):
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

    _together = True  # each product is a sum over processes

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

    def _solver(self, source: GradientSource) -> Callable[[Factors], Factors]:
        hessian = self._hessian(source)

        def times(vectors: Tensor) -> Tensor:
            return hessian.times(vectors) + self.damping * vectors

        def solved(found: Factors) -> Factors:
            right = torch.cat([factor.flat() for factor in found.values()], 1)
            made = conjugate_gradients(times, right, self.n_steps, self.tol)
            parts = torch.split(made, hessian.sizes, 1)
            return {name: Whole(part) for name, part in zip(found, parts, strict=True)}

        return solved
