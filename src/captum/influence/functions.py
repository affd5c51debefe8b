"""Influence functions: what a test loss would be without a training example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import wrong
from captum._engine.layers import parameters_of
from captum._engine.model import device_of
from captum._engine.per_sample.curvature import Hessian, inverse_root, lanczos
from captum._engine.per_sample.source import Factors, GradientSource, Loss
from captum._engine.progress import Progress
from captum._engine.ranks import together
from captum.influence.base import DataInfluence, KMostInfluentialResults
from captum.influence.batches import Data, agree, loader_of
from captum.influence.checkpoints import Checkpoints, Load, load_state
from captum.influence.losses import LossFunction, summed
from captum.influence.scoring import rowwise, scored
from captum.influence.sharing import Share, shared


class InfluenceFunctionBase(DataInfluence):
    """What influence functions share: one checkpoint, and a Hessian there.

    Args:
        model: the model; it is left as it was.
        train_dataset: a data set or a DataLoader of (inputs …, labels) or dicts with "labels".
        checkpoint: a path, a state dict, or what `checkpoints_load_func` reads.
        checkpoints_load_func: of model and checkpoint: loads it.
        layers: names of modules whose parameters count; all by default.
        loss_fn: of output and labels: losses one by one, their sum, or their mean.
        batch_size: of the loader, where `train_dataset` is a data set.
        hessian_dataset: whose loss is differentiated twice; the training data by default.
        test_loss_fn: the loss of test examples, where it is another.
        sample_wise_grads_per_batch: accepted for code written for the published package.
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
        sample_wise_grads_per_batch: bool = False,
    ) -> None:
        self.model = model
        self.checkpoint = checkpoint
        self.train_dataloader = loader_of(train_dataset, batch_size)
        self.hessian_dataloader = (
            self.train_dataloader
            if hessian_dataset is None
            else loader_of(hessian_dataset, batch_size, "hessian_dataset")
        )
        self.loss_fn, self.test_loss_fn = loss_fn, test_loss_fn
        self.layers, self.batch_size = layers, batch_size
        self.sample_wise_grads_per_batch = sample_wise_grads_per_batch
        self._checkpoints = Checkpoints(model, [checkpoint], checkpoints_load_func)
        self._names = parameters_of(model, layers, "layers=['layer4', 'fc']")
        self._loss = summed(loss_fn)
        self._test_loss = self._loss if test_loss_fn is None else summed(test_loss_fn)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return device_of(self.model)

    @contextmanager
    def _opened(self) -> Iterator[GradientSource]:
        """The model at its checkpoint, and what makes gradients there."""
        with self._checkpoints.opened():
            yield GradientSource(self.model, self._loss, self._names)

    def _hessian(self, source: GradientSource) -> Hessian:
        share = Share(self.hessian_dataloader, self.device)
        return Hessian(source, (batch for _, batch in share.batches()), share.world)

    def _progress(self, share: Share, show: bool, times: int = 1) -> Progress:
        progress = Progress(self.get_name(), show)
        if share.expected is not None:
            progress.expect(share.expected * times)
        return progress


class IntermediateQuantitiesInfluenceFunction(InfluenceFunctionBase):
    """Influence as an inner product of vectors: gradients times R, where R Rᵀ ≈ H⁻¹."""

    _root: Tensor | None = None  # R, (P, k)
    projection_on_cpu = True

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
        agree(inputs)
        queries = self.compute_intermediate_quantities(inputs, test=True, return_on_cpu=False)
        share = Share(self.train_dataloader, self.device)
        with self._opened() as source:
            return scored(
                [queries],
                lambda vectors: vectors,
                share.batches,
                lambda vectors, batch: vectors @ self._embedded(source.factors(batch)).T,
                k,
                proponents,
                self._progress(share, show_progress),
                share.world,
            )

    def self_influence(self, inputs_dataset: Data = None, show_progress: bool = False) -> Tensor:
        """Scores of examples for themselves, (N,).

        Args:
            inputs_dataset: other examples than the training data, as a batch or a DataLoader.
            show_progress: a progress bar of examples.
        """
        data = self.train_dataloader if inputs_dataset is None else inputs_dataset
        return self._rowwise(data, lambda rows: rows.square().sum(1), self._loss, show_progress)

    def compute_intermediate_quantities(
        self,
        inputs_dataset: Data,
        aggregate: bool = False,
        show_progress: bool = False,
        return_on_cpu: bool = True,
        test: bool = False,
    ) -> Tensor:
        """Vectors (M, k) whose inner products are the scores; or their sum, (1, k).

        Args:
            inputs_dataset: examples, as a batch or a DataLoader.
            aggregate: the sum over examples.
            show_progress: a progress bar of examples.
            return_on_cpu: bring them to the CPU.
            test: by the loss of test examples.
        """
        loss = self._test_loss if test else self._loss
        found = self._rowwise(inputs_dataset, lambda rows: rows, loss, show_progress)
        found = found.sum(0, keepdim=True) if aggregate else found
        return found.cpu() if return_on_cpu else found

    @shared
    def _rowwise(
        self, data: Data, of: Callable[[Tensor], Tensor], loss: Loss, show: bool
    ) -> Tensor:
        """What is made of each example's vector, of a data set."""
        share = Share(data, self.device)
        with self._opened() as source:
            return rowwise(
                share.batches(),
                lambda batch: of(self._embedded(source.factors(batch, loss))),
                self._progress(share, show),
                share.world,
            )

    def _embedded(self, found: Factors) -> Tensor:
        """Gradients times R, (N, k), a parameter after the other."""
        assert self._root is not None  # for mypy: made in __init__
        root = self._root.to(self.device)
        sizes = [factor.size for factor in found.values()]
        parts = zip(found.values(), torch.split(root, sizes), strict=True)
        return reduce(
            Tensor.add,
            [torch.cat([part.flat() @ own for part in f.blocks()]) for f, own in parts],
        )

    def _keep(self, root: Tensor) -> None:
        self._root = root.cpu() if self.projection_on_cpu else root


def _check_rank(projection_dim: int) -> None:
    if projection_dim < 1:
        raise wrong(
            ValueError, "projection_dim of at least 1", repr(projection_dim), "projection_dim=50"
        )


class NaiveInfluenceFunction(IntermediateQuantitiesInfluenceFunction):
    r"""Score of training example z for test example z': ∇ℓ(z')ᵀ H⁻¹ ∇ℓ(z), with H written out.

    H = Σ ∂²ℓ/∂θ² over the training data. Its inverse is that of the `projection_dim` largest
    eigenvalues. For a few thousand parameters at most; a truth to compare others with.

    Paper: Koh, Liang, Understanding black-box predictions via influence functions (2017),
    https://arxiv.org/abs/1703.04730.

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
        sample_wise_grads_per_batch: accepted for code written for the published package.
        projection_dim: how many eigenvalues are inverted.
        seed: accepted: nothing is drawn.
        hessian_reg: is added to the eigenvalues.
        hessian_inverse_tol: smaller eigenvalues count as zero.
        projection_on_cpu: keep R on the CPU.
        show_progress: accepted: the Hessian is made at once.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from captum.influence import NaiveInfluenceFunction
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> data = TensorDataset(torch.tensor([[1.], [2.]]), torch.zeros(2, 1))
    >>> naive = NaiveInfluenceFunction(model, data, {"weight": torch.ones(1, 1)},
    ...     loss_fn=torch.nn.MSELoss(reduction="none"), hessian_reg=0)
    >>> naive.self_influence()  # (2 x²)² / 10
    tensor([0.4000, 6.4000])
    """

    @together
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
        sample_wise_grads_per_batch: bool = False,
        projection_dim: int = 50,
        seed: int = 42,
        hessian_reg: float = 1e-6,
        hessian_inverse_tol: float = 1e-5,
        projection_on_cpu: bool = True,
        show_progress: bool = False,
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
            sample_wise_grads_per_batch,
        )
        _check_rank(projection_dim)
        self.projection_dim, self.seed = projection_dim, seed
        self.hessian_reg, self.hessian_inverse_tol = hessian_reg, hessian_inverse_tol
        self.projection_on_cpu = projection_on_cpu
        with self._opened() as source:
            matrix = self._hessian(source).matrix()
        identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        self._keep(inverse_root(identity, matrix, projection_dim, hessian_reg, hessian_inverse_tol))


class ArnoldiInfluenceFunction(IntermediateQuantitiesInfluenceFunction):
    r"""Score of training example z for test example z': ∇ℓ(z')ᵀ H⁻¹ ∇ℓ(z), with H⁻¹ from products.

    The largest eigenvalues and their eigenvectors come from `arnoldi_dim` products of the Hessian
    with a vector, by Lanczos' iteration: H, of the sum of all losses, is symmetric.

    Paper: Schioppa et al., Scaling up influence functions (2022),
    https://arxiv.org/abs/2112.03052.

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
        sample_wise_grads_per_batch: accepted for code written for the published package.
        projection_dim: how many eigenvalues are inverted.
        seed: of the vector that the iteration begins with; the global generators are left alone.
        arnoldi_dim: products at most.
        arnoldi_tol: a remainder below it ends the iteration.
        hessian_reg: is added to the eigenvalues.
        hessian_inverse_tol: smaller eigenvalues count as zero.
        projection_on_cpu: keep R on the CPU.
        show_progress: a progress bar of products.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from captum.influence import ArnoldiInfluenceFunction
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> data = TensorDataset(torch.tensor([[1.], [2.]]), torch.zeros(2, 1))
    >>> arnoldi = ArnoldiInfluenceFunction(model, data, {"weight": torch.ones(1, 1)},
    ...     loss_fn=torch.nn.MSELoss(reduction="none"), hessian_reg=0)
    >>> arnoldi.self_influence()  # (2 x²)² / 10
    tensor([0.4000, 6.4000])
    """

    @together
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
        sample_wise_grads_per_batch: bool = False,
        projection_dim: int = 50,
        seed: int = 0,
        arnoldi_dim: int = 200,
        arnoldi_tol: float = 1e-1,
        hessian_reg: float = 1e-3,
        hessian_inverse_tol: float = 1e-4,
        projection_on_cpu: bool = True,
        show_progress: bool = False,
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
            sample_wise_grads_per_batch,
        )
        _check_rank(projection_dim)
        self.projection_dim, self.seed = projection_dim, seed
        self.arnoldi_dim, self.arnoldi_tol = arnoldi_dim, arnoldi_tol
        self.hessian_reg, self.hessian_inverse_tol = hessian_reg, hessian_inverse_tol
        self.projection_on_cpu = projection_on_cpu
        progress = Progress(self.get_name(), show_progress)
        progress.expect(arnoldi_dim)
        with self._opened() as source:
            hessian = self._hessian(source)
            like = next(iter(source.parameters.values()))
            generator = torch.Generator().manual_seed(seed)
            start = torch.randn(hessian.size, generator=generator).to(like)

            def times(vectors: Tensor) -> Tensor:
                progress.add(1)
                return hessian.times(vectors)

            basis, within = lanczos(times, start, min(arnoldi_dim, hessian.size), arnoldi_tol)
        progress.skip(arnoldi_dim - len(basis))
        progress.close()
        self._keep(inverse_root(basis, within, projection_dim, hessian_reg, hessian_inverse_tol))
