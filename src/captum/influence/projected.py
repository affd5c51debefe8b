"""Influence by stored random projections of whole gradients: made once, asked many times."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine import store
from captum._engine.errors import wrong
from captum._engine.layers import parameters_of
from captum._engine.per_sample.sketch import Sketch
from captum._engine.per_sample.source import Batch, GradientSource, Loss
from captum._engine.progress import Progress
from captum._engine.ranks import together
from captum._engine.shards import InMemory, Kept, Rows, Shards
from captum._engine.words import Words
from captum.influence.base import KMostInfluentialResults
from captum.influence.batches import Data, agree, batches, count
from captum.influence.checkpoints import Load, load_state
from captum.influence.losses import LossFunction
from captum.influence.scoring import rowwise, scored
from captum.influence.sharing import Share
from captum.influence.tracin import TracInCPBase

_SHARD = 2048  # examples of a file
_VECTORS, _LENGTHS = "vectors", "lengths"


class ProjectedInfluence(TracInCPBase):
    """What methods share that keep a projected gradient of each training example and checkpoint.

    Vectors are kept at length 1, in `dtype`, with their lengths beside them.
    """

    @together
    def __init__(
        self,
        model: nn.Module,
        train_dataset: Data,
        checkpoints: Any,
        checkpoints_load_func: Load,
        layers: list[str] | None,
        loss_fn: LossFunction | None,
        batch_size: int | None,
        test_loss_fn: LossFunction | None,
        projection_dim: int,
        seed: int,
        path: str | Path | None,
        dtype: torch.dtype,
        show_progress: bool,
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
        if projection_dim < 1:
            raise wrong(
                ValueError,
                "projection_dim of at least 1",
                repr(projection_dim),
                "projection_dim=4096",
            )
        self.layers, self.projection_dim, self.seed = layers, projection_dim, seed
        self.path = None if path is None else Path(path)
        self.dtype = dtype
        names = parameters_of(model, layers, "layers=['layer4', 'fc']")
        self._source = GradientSource(model, self._loss, names)
        self._sketch = Sketch(self._source.parameters, projection_dim, seed)
        self._share = Share(self.train_dataloader, self.device)
        self._kept: list[Kept] = []
        self._rates: list[float] = []
        self._project(show_progress)

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
        progress = Progress(self.get_name(), show_progress)
        if self._share.expected is not None:
            progress.expect(self._share.expected)

        def ask(given: Data) -> list[Tensor]:
            return self._solved(list(map(vectors_of, self._rows_of(given, self._test_loss))))

        def meet(queries: list[Tensor], parts: list[Rows]) -> Tensor:
            met = zip(queries, map(vectors_of, parts), strict=True)
            return self._weighed(reduce(Tensor.add, [q @ v.T for q, v in met]), parts)

        return scored([inputs], ask, self._parts, meet, k, proponents, progress, self._share.world)

    def self_influence(self, inputs: Data = None, show_progress: bool = False) -> Tensor:
        """Scores of examples for themselves, (N,).

        Args:
            inputs: other examples than the training data, as a batch or a DataLoader.
            show_progress: accepted: the training data's projections are kept.
        """

        def of(parts: list[Rows]) -> Tensor:
            vectors = list(map(vectors_of, parts))
            met = zip(self._solved(vectors), vectors, strict=True)
            rows = reduce(Tensor.add, [(q * v).sum(1) for q, v in met])
            return self._weighed(rows, parts)

        if inputs is not None:
            return of(self._rows_of(inputs, self._loss))
        with self._share.world.meeting():
            return rowwise(self._parts(), of, Progress(), self._share.world)

    def compute_intermediate_quantities(self, inputs: Data) -> list[Tensor]:
        """The projected gradients of examples at every checkpoint, (M, D) each.

        Args:
            inputs: examples, as a batch or a DataLoader.
        """
        return list(map(vectors_of, self._rows_of(inputs, self._loss)))

    # ---------------------------------------------------------------------- of each method

    @abstractmethod
    def _solved(self, vectors: list[Tensor]) -> list[Tensor]:
        """What meets training examples' vectors, of test examples' at every checkpoint."""

    def _weighed(self, scores: Tensor, parts: list[Rows]) -> Tensor:
        """Scores (…, n), of sums over checkpoints and the training examples' rows at each."""
        return scores

    def _beside(self, batch: Batch) -> Rows:
        """What else is kept of examples."""
        return {}

    # ------------------------------------------------------------------------ what is kept

    def _project(self, show: bool) -> None:
        share = self._share
        progress = Progress(f"{self.get_name()}: projections", show)
        with self._checkpoints.opened() as checkpoints:
            if share.expected is not None:
                progress.expect(share.expected * len(checkpoints))
            for c in range(len(checkpoints)):
                self._rates.append(checkpoints.use(c))
                kept = self._opened(c)
                for start, block in share.blocks(_SHARD, None if self.path is None else kept.has):
                    made = [self._rows(batch, self._loss) for batch in block]
                    kept.put(start, {k: torch.cat([rows[k] for rows in made]) for k in made[0]})
                    progress.add(sum(map(len, block)))
                self._kept.append(kept)
        progress.close()
        share.world.wait()

    def _opened(self, checkpoint: int) -> Kept:
        """Where a checkpoint's rows are kept; in a folder, beside what they hang on."""
        if self.path is None:
            return InMemory()
        first = next(islice(batches(self.train_dataloader, self.device), 1))
        about = {
            "method": self.get_name(),
            "model": store.digest_of_model(self.model),
            "layers": self.layers,
            "loss": Words({}).of(self.loss_fn),
            "examples": count(self.train_dataloader),
            "first examples": store.digest([first.args, dict(first.kwargs), first.targets]),
            "projection_dim": self.projection_dim,
            "seed": self.seed,
            "dtype": str(self.dtype),
        }
        return Shards(self.path / f"checkpoint-{checkpoint}", about)

    def _parts(self) -> Iterator[tuple[int, list[Rows]]]:
        """This process's rows at all checkpoints, for some training examples after the other."""
        for parts in zip(*(kept.mine(self._share.world) for kept in self._kept), strict=True):
            rows = [{k: t.to(self.device) for k, t in part.items()} for _, part in parts]
            yield parts[0][0], rows

    def _rows_of(self, inputs: Data, loss: Loss) -> list[Rows]:
        """The rows of other examples at every checkpoint."""
        found = []
        with self._checkpoints.opened() as checkpoints:
            for c in range(len(checkpoints)):
                checkpoints.use(c)
                parts = [self._rows(batch, loss) for batch in batches(inputs, self.device)]
                found.append({k: torch.cat([rows[k] for rows in parts]) for k in parts[0]})
        return found

    def _rows(self, batch: Batch, loss: Loss) -> Rows:
        vectors = self._sketch.of(self._source.factors(batch, loss))
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        vectors = vectors / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)[:, None]
        return {_VECTORS: vectors.to(self.dtype), _LENGTHS: lengths, **self._beside(batch)}


def vectors_of(rows: Rows) -> Tensor:
    """The projected gradients as they were, (n, D)."""
    lengths = rows[_LENGTHS]
    return rows[_VECTORS].to(lengths) * lengths[:, None]


class TracInCPRandProj(ProjectedInfluence):
    r"""Score of training example z for test example z': Σ_c η_c ⟨R ∇ℓ(θ_c, z), R ∇ℓ(θ_c, z')⟩.

    R is a random projection to D numbers that keeps inner products on average; every parameter
    counts. `TracInCP` without a pass of the training data for every question.

    Paper: as TracInCP, appendix F.

    Args:
        model: the model; it is left as it was.
        train_dataset: a data set or a DataLoader of (inputs …, labels) or dicts with "labels".
        checkpoints: a folder, or a list of paths, of state dicts, or of what
            `checkpoints_load_func` reads.
        checkpoints_load_func: of model and checkpoint: loads it and returns its learning rate.
        layers: names of modules whose parameters count; all by default.
        loss_fn: of output and labels: losses one by one, their sum, or their mean.
        batch_size: of the loader, where `train_dataset` is a data set. No choice changes a score.
        test_loss_fn: the loss of test examples, where it is another.
        projection_dim: D. Errors of a score are some |∇ℓ| |∇ℓ'| / √D.
        seed: of the projection; the global generators are left alone.
        path: a folder to keep the projections in. A run that was stopped goes on where it was.
        dtype: in which they are kept, at length 1 and with their lengths.
        show_progress: a progress bar of training examples, times checkpoints.

    Raises:
        ValueError: `path` holds what was made of another model, loss or data, or cannot be read.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from captum.influence import TracInCPRandProj
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Linear(3, 2)
    >>> data = TensorDataset(torch.randn(8, 3), torch.tensor([0, 1] * 4))
    >>> loss = torch.nn.CrossEntropyLoss(reduction="none")
    >>> tracin = TracInCPRandProj(model, data, [model.state_dict()], loss_fn=loss)
    >>> tracin.influence(data[:2], k=3).indices.shape
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
        loss_fn: LossFunction | None = None,
        batch_size: int | None = 1,
        test_loss_fn: LossFunction | None = None,
        *,
        projection_dim: int = 4096,
        seed: int = 0,
        path: str | Path | None = None,
        dtype: torch.dtype = torch.float16,
        show_progress: bool = False,
    ) -> None:
        super().__init__(
            model,
            train_dataset,
            checkpoints,
            checkpoints_load_func,
            layers,
            loss_fn,
            batch_size,
            test_loss_fn,
            projection_dim,
            seed,
            path,
            dtype,
            show_progress,
        )

    def _solved(self, vectors: list[Tensor]) -> list[Tensor]:
        return [rate * v for rate, v in zip(self._rates, vectors, strict=True)]
