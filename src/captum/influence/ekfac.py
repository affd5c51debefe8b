"""Influence functions with the Fisher information for a Hessian: two passes, and no products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import describe, wrong
from captum._engine.nest import first_tensor
from captum._engine.per_sample.fisher import Fisher
from captum._engine.per_sample.source import Batch, Factors, GradientSource
from captum._engine.progress import Progress
from captum._engine.ranks import together
from captum.influence.batches import Data, batches
from captum.influence.checkpoints import Load, load_state
from captum.influence.losses import LossFunction
from captum.influence.sharing import Share
from captum.influence.solved import SolvedInfluence

_BLOCK = 512  # examples whose draws hang together
_FEW = 8  # examples that show what kinds of gradients there are

# Targets for outputs, drawn from the distribution that the loss is the log-likelihood of.
Draw = Callable[[Any, torch.Generator], Any]


def categories(output: Any, generator: torch.Generator) -> Tensor:
    """Classes from logits (N, C), or (N, C, *) as of cross-entropy.

    >>> import torch
    >>> from captum.influence.ekfac import categories
    >>> categories(torch.tensor([[0., 100.], [100., 0.]]), torch.Generator())
    tensor([1, 0])
    """
    logits = first_tensor(output)
    if logits is None or logits.ndim < 2:
        raise wrong(
            ValueError,
            "logits (N, C) to draw classes from",
            describe(output),
            "draw=lambda output, generator: …, for the distribution that the loss is of",
        )
    last = logits.movedim(1, -1)
    chances = last.softmax(-1).reshape(-1, last.shape[-1])
    drawn = torch.multinomial(chances.float().cpu(), 1, generator=generator)
    return drawn.reshape(last.shape[:-1]).to(logits.device)


class EKFACInfluence(SolvedInfluence):
    r"""Score of training example z for test example z': ∇ℓ(z')ᵀ (F + λ)⁻¹ ∇ℓ(z) / N.

    F is the Fisher information of N examples' mean, with targets drawn from the model, in the
    eigenbases of each layer's inputs and gradients (EK-FAC); λ is a share of its mean, layer by
    layer. It stands for the Hessian, is never negative, and takes two passes over the data.

    Paper: George et al., Fast approximate natural gradient descent in a Kronecker-factored
    eigenbasis (2018), https://arxiv.org/abs/1806.03884; Grosse et al., Studying large language
    model generalization with influence functions (2023), https://arxiv.org/abs/2308.03296.

    Args:
        model: the model; it is left as it was.
        train_dataset: a data set or a DataLoader of (inputs …, labels) or dicts with "labels".
        checkpoint: a path, a state dict, or what `checkpoints_load_func` reads.
        checkpoints_load_func: of model and checkpoint: loads it.
        layers: names of modules whose parameters count; all by default.
        loss_fn: of output and labels: losses one by one, their sum, or their mean.
        batch_size: of the loader, where `train_dataset` is a data set. No choice changes a score.
        hessian_dataset: whose Fisher information is taken; the training data by default.
        test_loss_fn: the loss of test examples, where it is another.
        draws: targets per example. One is noise; with 16, scores hardly depend on the seed.
        damping: λ, as a share of the mean over a layer's F.
        draw: of output and generator: targets, where they are not classes of logits.
        seed: of the draws; the global generators are left alone.
        show_progress: a progress bar of examples.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from captum.influence import EKFACInfluence
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Linear(3, 2)
    >>> data = TensorDataset(torch.randn(8, 3), torch.tensor([0, 1] * 4))
    >>> loss = torch.nn.CrossEntropyLoss(reduction="none")
    >>> EKFACInfluence(model, data, model.state_dict(), loss_fn=loss).influence(data[:2]).shape
    torch.Size([2, 8])
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
        *,
        draws: int = 16,
        damping: float = 0.1,
        draw: Draw = categories,
        seed: int = 0,
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
        )
        if draws < 1 or damping <= 0:
            raise wrong(
                ValueError,
                "draws of at least 1 and damping above 0",
                f"draws={draws}, damping={damping}",
                "draws=16, damping=0.1",
            )
        self.draws, self.damping, self.draw, self.seed = draws, damping, draw, seed
        progress = Progress(self.get_name(), show_progress)
        share = Share(self.hessian_dataloader, self.device)
        if share.expected is not None:
            progress.expect(2 * draws * share.expected)
        with self._opened() as source:
            first = next(batches(self.hessian_dataloader, self.device))
            (like,) = self._of_drawn(
                source, first.narrow(0, min(_FEW, len(first))), torch.Generator(), 1
            )
            self._fisher = Fisher(like, lambda: self._drawn(source, share, progress), share.world)
        progress.close()
        self._examples = self._fisher.count // draws

    def _solver(self, source: GradientSource) -> Callable[[Factors], Factors]:
        return lambda found: self._fisher.solved(found, self.damping)

    def _drawn(self, source: GradientSource, share: Share, progress: Progress) -> Iterator[Factors]:
        """The gradients of drawn targets, the same ones in every pass, whoever draws them."""
        for first, block in share.blocks(_BLOCK, lambda start, end: False):
            generator = torch.Generator().manual_seed(self.seed + first)
            for batch in block:
                for found in self._of_drawn(source, batch, generator, self.draws):
                    yield found
                    progress.add(len(batch))

    def _of_drawn(
        self, source: GradientSource, batch: Batch, generator: torch.Generator, draws: int
    ) -> Iterator[Factors]:
        with torch.no_grad():
            output = source.model(*batch.args, **batch.kwargs)
        for _ in range(draws):
            targets = self.draw(output, generator)
            yield source.factors(Batch(batch.args, batch.kwargs, targets))
