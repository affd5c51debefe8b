"""TracIn: what a training example's steps did to the loss of a test example."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.layers import parameters_of
from captum._engine.model import device_of
from captum._engine.per_sample.factors import Whole, added, inner, side_by_side
from captum._engine.per_sample.source import Batch, Factors, GradientSource
from captum._engine.progress import Progress
from captum._engine.ranks import together
from captum.influence.base import DataInfluence, KMostInfluentialResults
from captum.influence.batches import Data, agree, batches, loader_of, questions
from captum.influence.checkpoints import Checkpoints, Load, load_state
from captum.influence.losses import LossFunction, summed
from captum.influence.scoring import rowwise, scored
from captum.influence.sharing import Share, shared

_BLOCK = 4096  # training examples between two changes of the checkpoint


class TracInCPBase(DataInfluence):
    """What the methods that follow training by its checkpoints share.

    Args:
        model: the model.
        train_dataset: a data set or a DataLoader of (inputs …, labels) or dicts with "labels".
        checkpoints: a folder, or a list of paths, of state dicts, or of what
            `checkpoints_load_func` reads.
        checkpoints_load_func: of model and checkpoint: loads it and returns its learning rate.
        loss_fn: of output and labels: losses one by one, their sum, or their mean.
        batch_size: of the loader, where `train_dataset` is a data set.
        test_loss_fn: the loss of test examples, where it is another.
    """

    def __init__(
        self,
        model: nn.Module,
        train_dataset: Data,
        checkpoints: Any,
        checkpoints_load_func: Load = load_state,
        loss_fn: LossFunction | None = None,
        batch_size: int | None = 1,
        test_loss_fn: LossFunction | None = None,
    ) -> None:
        self.model = model
        self.train_dataloader = loader_of(train_dataset, batch_size)
        self._checkpoints = Checkpoints(model, checkpoints, checkpoints_load_func)
        self.loss_fn, self.test_loss_fn = loss_fn, test_loss_fn
        self.batch_size = batch_size
        self._loss = summed(loss_fn)
        self._test_loss = self._loss if test_loss_fn is None else summed(test_loss_fn)

    @property
    def checkpoints(self) -> list[Any]:
        """The checkpoints, as they were given."""
        return self._checkpoints.given

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return device_of(self.model)

    @abstractmethod
    def influence(  # type: ignore[override]  # test examples are needed
        self,
        inputs: Data,
        k: int | None = None,
        proponents: bool = True,
        unpack_inputs: bool = True,
        show_progress: bool = False,
    ) -> Tensor | KMostInfluentialResults:
        """Scores (M, N) of the training examples for M test examples; or the k largest of each."""

    @abstractmethod
    def self_influence(self, inputs: Data = None, show_progress: bool = False) -> Tensor:
        """The influence of examples on themselves, (N,)."""


class _ByGradients(TracInCPBase):
    """Influence as an inner product of gradients, at each checkpoint."""

    def _names(self) -> Sequence[str] | None:
        """The parameters that count; all by default."""
        return None

    @together
    def _scores(
        self, inputs: Data, k: int | None, proponents: bool, show: bool, aggregate: bool = False
    ) -> Tensor | KMostInfluentialResults:
        source = self._source()
        progress = Progress(self.get_name(), show)
        share = Share(self.train_dataloader, self.device)
        with self._checkpoints.opened() as checkpoints:
            weight = source.nbytes * len(checkpoints)
            if aggregate:
                agree(inputs)
            asked: Any = [inputs] if aggregate else questions(inputs, self.device, weight)
            if share.expected is not None:
                progress.expect(share.expected * len(checkpoints) * len(asked))

            def ask(group: Any) -> list[list[Factors]]:
                found = []
                for c in range(len(checkpoints)):
                    checkpoints.use(c)
                    found.append(self._queries(source, group, aggregate))
                return found

            def meet(queries: list[list[Factors]], block: list[Batch]) -> Tensor:
                columns: list[Tensor] = []
                for c, query in enumerate(queries):
                    rate = checkpoints.use(c)
                    for i, batch in enumerate(block):
                        if c == 0:
                            columns.append(self._met(source, query, batch).mul_(rate))
                        else:
                            columns[i].add_(self._met(source, query, batch), alpha=rate)
                return side_by_side(columns)

            return scored(
                asked,
                ask,
                lambda: share.blocks(_BLOCK),
                meet,
                k,
                proponents,
                progress,
                share.world,
                passes=len(checkpoints),
            )

    def _queries(self, source: GradientSource, given: Any, aggregate: bool) -> list[Factors]:
        """The gradients of test examples, batch by batch; or the sum of all as one."""
        if not aggregate:
            return [source.factors(batch, self._test_loss) for batch in given]
        sums: dict[str, Tensor] = {}
        for batch in batches(given, self.device):
            for name, factor in source.factors(batch, self._test_loss).items():
                made = factor.sum()
                sums[name] = sums[name] + made if name in sums else made
        return [{name: Whole(value.unsqueeze(0)) for name, value in sums.items()}]

    def _met(self, source: GradientSource, queries: list[Factors], batch: Batch) -> Tensor:
        """Inner products of the queries' and a batch's gradients, (M, n)."""
        here = source.factors(batch)
        parts = [inner(query, here) for query in queries]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @shared
    def _self_scores(self, inputs: Data, show: bool) -> Tensor:
        share = Share(self.train_dataloader if inputs is None else inputs, self.device)
        progress = Progress(self.get_name(), show)
        source = self._source()
        with self._checkpoints.opened() as checkpoints:
            if share.expected is not None:
                progress.expect(share.expected * len(checkpoints))

            def of(block: list[Batch]) -> Tensor:
                made: Any = 0
                for c in range(len(checkpoints)):
                    rate = checkpoints.use(c)
                    made = made + rate * torch.cat([_squares(source.factors(b)) for b in block])
                return torch.as_tensor(made)

            passes = len(checkpoints)
            return rowwise(share.blocks(_BLOCK), of, progress, share.world, passes)

    def _source(self) -> GradientSource:
        return GradientSource(self.model, self._loss, self._names())

    @shared
    def _vectors(self, inputs: Data, aggregate: bool) -> Tensor:
        """Gradients times √rate, of all checkpoints side by side: scores are inner products."""
        columns = []
        source = self._source()
        share = Share(inputs, self.device)

        def of(batch: Batch) -> Tensor:
            here = source.factors(batch)
            return torch.cat([f.flat() for f in here.values()], 1)

        with self._checkpoints.opened() as checkpoints:
            for c in range(len(checkpoints)):
                rate = checkpoints.use(c)
                found = rowwise(share.batches(), of, Progress(), share.world)
                found = found.sum(0, keepdim=True) if aggregate else found
                columns.append(found * rate**0.5)
        return torch.cat(columns, 1)


def _squares(found: Factors) -> Tensor:
    return added(factor.squares() for factor in found.values())


class TracInCP(_ByGradients):
    r"""Score of training example z for test example z': Σ_c η_c ∇ℓ(θ_c, z)·∇ℓ(θ_c, z').

    θ_c are the checkpoints of training and η_c their learning rates. Every parameter counts,
    whatever it is a parameter of; gradients are those of each example alone.

    Paper: Pruthi et al., Estimating training data influence by tracing gradient descent (2020),
    https://arxiv.org/abs/2002.08484.

    Args:
        model: the model; it is left as it was.
        train_dataset: a data set or a DataLoader of (inputs …, labels) or dicts with "labels".
        checkpoints: a folder, or a list of paths, of state dicts, or of what
            `checkpoints_load_func` reads.
        checkpoints_load_func: of model and checkpoint: loads it and returns its learning rate.
        layers: names of modules whose parameters count; all by default.
        loss_fn: of output and labels: losses one by one, their sum, or their mean
            (`reduction="mean"`); the model's output itself by default.
        batch_size: of the loader, where `train_dataset` is a data set. No choice changes a score.
        test_loss_fn: the loss of test examples, where it is another.
        sample_wise_grads_per_batch: accepted for code written for the published package: gradients
            always are made batch by batch.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from captum.influence import TracInCP
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> data = TensorDataset(torch.eye(2), torch.tensor([[1.], [0.]]))
    >>> state = {"weight": torch.tensor([[1., 2.]])}
    >>> tracin = TracInCP(model, data, [state], loss_fn=torch.nn.MSELoss(reduction="none"))
    >>> tracin.influence((torch.eye(2), torch.zeros(2, 1)))
    tensor([[ 0.,  0.],
            [ 0., 16.]])
    """

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
        sample_wise_grads_per_batch: bool = False,
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
        self.layers = layers
        self.sample_wise_grads_per_batch = sample_wise_grads_per_batch
        self._chosen = parameters_of(model, layers, "layers=['layer4', 'fc']")

    def _names(self) -> Sequence[str] | None:
        return self._chosen

    def influence(  # type: ignore[override]  # test examples are needed
        self,
        inputs: Data,
        k: int | None = None,
        proponents: bool = True,
        show_progress: bool = False,
        aggregate: bool = False,
    ) -> Tensor | KMostInfluentialResults:
        """Scores (M, N) of the N training examples for M test examples; or the k largest of each.

        Args:
            inputs: test examples, as a batch (inputs …, labels) or a DataLoader of such.
            k: only so many of each row, found without keeping the others: indices and scores
                (M, k).
            proponents: with k, the largest; False for the least, which are opponents.
            show_progress: a progress bar of training examples, times checkpoints.
            aggregate: scores for the sum of all test examples' losses, (1, N).

        Raises:
            ValueError: k below 1; batch normalisation in training mode.
        """
        return self._scores(inputs, k, proponents, show_progress, aggregate)

    def self_influence(
        self,
        inputs: Data = None,
        show_progress: bool = False,
        outer_loop_by_checkpoints: bool = False,
    ) -> Tensor:
        """Σ_c η_c |∇ℓ(θ_c, z)|², (N,): large for examples that are rare, or wrongly labelled.

        Args:
            inputs: other examples than the training data, as a batch or a DataLoader.
            show_progress: a progress bar of examples, times checkpoints.
            outer_loop_by_checkpoints: accepted: every checkpoint is read once in any case.
        """
        return self._self_scores(inputs, show_progress)

    def compute_intermediate_quantities(self, inputs: Data, aggregate: bool = False) -> Tensor:
        """Vectors (M, C · P) whose inner products are the scores; or their sum, (1, C · P).

        Args:
            inputs: examples, as a batch or a DataLoader.
            aggregate: the sum over examples.
        """
        return self._vectors(inputs, aggregate)
