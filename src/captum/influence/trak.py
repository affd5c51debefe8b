"""TRAK: the model as if it were linear in random projections of its gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import describe, wrong
from captum._engine.nest import first_tensor
from captum._engine.per_sample.source import Batch
from captum._engine.ranks import together
from captum._engine.shards import Rows
from captum.influence.batches import Data
from captum.influence.checkpoints import Load, load_state
from captum.influence.projected import ProjectedInfluence, vectors_of

_OUTPUTS = "outputs"


def margin(output: Any, targets: Any) -> Tensor:
    """log p - log(1 - p) of the right class, (N,): of logits (N, C), or of one logit each.

    >>> import torch
    >>> from captum.influence.trak import margin
    >>> margin(torch.tensor([[2., 0.]]), torch.tensor([1])), margin(torch.ones(1), torch.zeros(1))
    (tensor([-2.]), tensor([-1.]))
    """
    logits = first_tensor(output)
    if not isinstance(targets, Tensor) or logits is None:
        raise wrong(
            TypeError,
            "logits and targets that are tensors",
            f"{describe(output)} and {describe(targets)}",
            "output_fn=lambda output, targets: …, for numbers (N,)",
        )
    if logits.shape == targets.shape:
        return (logits * (2 * targets - 1)).reshape(len(logits), -1).sum(1)
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise wrong(
            ValueError,
            "logits (N, C) with targets (N,), or both of one shape",
            f"{describe(logits)} and {describe(targets)}",
            "output_fn=lambda output, targets: …, for numbers (N,)",
        )
    right = logits.gather(1, targets[:, None])
    others = logits.scatter(1, targets[:, None], float("-inf"))
    return right[:, 0] - others.logsumexp(1)


def of_margin(values: Tensor) -> Tensor:
    """1 - p, which is how much the loss log(1 + e^-f) falls where f grows."""
    return (-values).sigmoid()


class TRAK(ProjectedInfluence):
    r"""Score: (1/C Σ_c φ_c(z')ᵀ (Φ_cᵀ Φ_c)⁻¹ φ_c(z)) · (1/C Σ_c Q_c(z)).

    φ = R ∇f is the projected gradient of the model's output f, the margin log p - log(1 - p) of the
    right class; Φ are those of all training examples; Q = 1 - p is what a training example still
    has to teach. θ_c are models that were trained apart, or one model's checkpoints. A score is
    what f(z') would lose without z.

    Paper: Park et al., TRAK: attributing model behavior at scale (2023),
    https://arxiv.org/abs/2303.14186.

    Args:
        model: the model; it is left as it was.
        train_dataset: a data set or a DataLoader of (inputs …, labels) or dicts with "labels".
        checkpoints: a folder, or a list of paths, of state dicts, or of what
            `checkpoints_load_func` reads.
        checkpoints_load_func: of model and checkpoint: loads it.
        layers: names of modules whose parameters count; all by default.
        batch_size: of the loader, where `train_dataset` is a data set. No choice changes a score.
        output_fn: f, of output and labels: (N,).
        weight_fn: Q of f: minus the slope of the loss that training made small.
        projection_dim: D, below the number of training examples.
        damping: added to Φᵀ Φ, as a share of the mean of its diagonal.
        seed: of the projection; the global generators are left alone.
        path: a folder to keep the projections in. A run that was stopped goes on where it was.
        dtype: in which they are kept, at length 1 and with their lengths.
        show_progress: a progress bar of training examples, times checkpoints.

    Raises:
        ValueError: `path` holds what was made of another model, output or data, or cannot be read.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from captum.influence import TRAK
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Linear(3, 2)
    >>> data = TensorDataset(torch.randn(8, 3), torch.tensor([0, 1] * 4))
    >>> trak = TRAK(model, data, [model.state_dict()], projection_dim=4)
    >>> trak.influence(data[:2], k=3).indices.shape
    torch.Size([2, 3])
    """

    @together
    def __init__(
        self,
        model: nn.Module,
        train_dataset: Data,
        checkpoints: Any,
        checkpoints_load_func: Load = load_state,
        layers: list[str] | None = None,
        batch_size: int | None = 1,
        *,
        output_fn: Callable[[Any, Any], Tensor] = margin,
        weight_fn: Callable[[Tensor], Tensor] = of_margin,
        projection_dim: int = 2048,
        damping: float = 0.1,
        seed: int = 0,
        path: str | Path | None = None,
        dtype: torch.dtype = torch.float16,
        show_progress: bool = False,
    ) -> None:
        if damping <= 0:
            raise wrong(ValueError, "damping above 0", repr(damping), "damping=0.1")
        self.output_fn, self.weight_fn, self.damping = output_fn, weight_fn, damping
        super().__init__(
            model,
            train_dataset,
            checkpoints,
            checkpoints_load_func,
            layers,
            output_fn,
            batch_size,
            None,
            projection_dim,
            seed,
            path,
            dtype,
            show_progress,
        )
        self._roots = self._products()  # Cholesky's factors of Φᵀ Φ at every checkpoint

    def _beside(self, batch: Batch) -> Rows:
        with torch.no_grad():
            values = self.output_fn(self._source.model(*batch.args, **batch.kwargs), batch.targets)
        return {_OUTPUTS: values}

    def _products(self) -> list[Tensor]:
        size, like = self.projection_dim, next(self.model.parameters())
        sums = [like.new_zeros(size, size) for _ in self._rates]
        for _, parts in self._parts():
            for total, rows in zip(sums, parts, strict=True):
                vectors = vectors_of(rows)
                total.addmm_(vectors.T, vectors)
        for each in map(self._share.world.sum, sums):
            diagonal = each.diagonal()
            diagonal += self.damping * diagonal.mean().clamp_min(torch.finfo(each.dtype).tiny)
        return [torch.linalg.cholesky(each) for each in sums]

    def _solved(self, vectors: list[Tensor]) -> list[Tensor]:
        met = zip(vectors, self._roots, strict=True)
        return [torch.cholesky_solve(v.T, root).T / len(vectors) for v, root in met]

    def _weighed(self, scores: Tensor, parts: list[Rows]) -> Tensor:
        weights = [self.weight_fn(rows[_OUTPUTS]) for rows in parts]
        return scores * torch.stack(weights).mean(0)
