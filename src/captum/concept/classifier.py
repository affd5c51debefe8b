"""Which direction in a layer tells concepts apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong


class Classifier(ABC):
    """Learns to tell concepts apart by their activations; its weights are the concepts' vectors.

    To use a classifier of your own, from scikit-learn say, subclass it.
    """

    def __init__(self) -> None:
        return

    @abstractmethod
    def train_and_eval(
        self, dataloader: Iterable[tuple[Tensor, Tensor]], **kwargs: Any
    ) -> dict[str, Any] | None:
        """Learn from batches of activations (n, F) and labels (n,).

        Returns:
            What is worth knowing of it, such as {"accs": accuracy}.
        """

    @abstractmethod
    def weights(self) -> Tensor:
        """A direction per class, (C, F); of two classes, one the other's negative."""

    @abstractmethod
    def classes(self) -> list[int]:
        """The labels, in the order of the weights."""


Fit = Callable[[Tensor, Tensor, float], Tensor]


def ridge(values: Tensor, wanted: Tensor, penalty: float) -> Tensor:
    """argmin_W |X W - Y|² / n + penalty · tr(X Xᵀ) / n² · |W|², of centred X (n, F), shape (F, C).

    In the n dimensions that the examples span, as F is mostly larger.
    """
    gram = values @ values.T
    scale = gram.diagonal().mean().clamp_min(torch.finfo(gram.dtype).tiny)
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    solved: Tensor = torch.linalg.solve(gram + penalty * scale * identity, wanted)
    return values.T @ solved


def mean_difference(values: Tensor, wanted: Tensor, penalty: float) -> Tensor:
    """The mean of a class less the mean of the others, (F, C): a fast vector."""
    inside = (wanted > 0).to(values)
    outside = 1 - inside
    return values.T @ (inside / inside.sum(0) - outside / outside.sum(0))


def logistic(values: Tensor, wanted: Tensor, penalty: float) -> Tensor:
    """argmin_W mean log(1 + exp(-Y X W)) + penalty · tr(X Xᵀ) / n² · |W|² / 2, (F, C).

    By Newton's steps in the n dimensions that the examples span.
    """
    count, classes = wanted.shape
    gram = values @ values.T
    scale = gram.diagonal().mean().clamp_min(torch.finfo(gram.dtype).tiny)
    identity = torch.eye(count, dtype=gram.dtype, device=gram.device)
    columns = []
    for c in range(classes):
        sign = wanted[:, c].sign()
        alpha = torch.zeros(count, dtype=gram.dtype, device=gram.device)
        for _ in range(30):
            margin = sign * (gram @ alpha)
            chance = torch.sigmoid(-margin)
            # Stationary where penalty · scale · alpha = sign · chance.
            slope = penalty * scale * alpha - sign * chance
            curve = (chance * (1 - chance)).unsqueeze(1) * gram + penalty * scale * identity
            step = torch.linalg.solve(curve, slope)
            alpha = alpha - step
            if bool(step.abs().max() <= 1e-6 * alpha.abs().max()):
                break
        columns.append(values.T @ alpha)
    return torch.stack(columns, 1)


FITS: dict[str, Fit] = {"ridge": ridge, "logistic": logistic, "mean difference": mean_difference}


class DefaultClassifier(Classifier):
    r"""A linear classifier, one class against the others, solved where the activations are.

    Args:
        fit: "ridge" (least squares), "logistic" (regression), or "mean difference", which needs no
            solving.
        penalty: of ridge and logistic regression, for activations of unit size.

    >>> import torch
    >>> from captum.concept import DefaultClassifier
    >>> _ = torch.manual_seed(0)
    >>> x, y = torch.randn(40, 3), torch.arange(40) % 2
    >>> x[:, 0] += 6 * y
    >>> classifier = DefaultClassifier()
    >>> classifier.train_and_eval([(x, y)])["accs"]
    tensor(1.)
    >>> classifier.weights().shape, int(classifier.weights()[1].abs().argmax())
    (torch.Size([2, 3]), 0)
    """

    def __init__(self, *, fit: str = "ridge", penalty: float = 0.01) -> None:
        super().__init__()
        if fit not in FITS:
            raise wrong(
                ValueError, f"one of {', '.join(map(repr, FITS))}", repr(fit), "fit='ridge'"
            )
        self.fit, self.penalty = fit, penalty
        self._weights: Tensor | None = None
        self._classes: list[int] = []

    def train_and_eval(
        self,
        dataloader: Iterable[tuple[Tensor, Tensor]],
        test_split_ratio: float = 0.33,
        *,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> dict[str, Any] | None:
        """Learn from a part of the examples, and say how many of the others are told rightly.

        Args:
            dataloader: batches of activations (n, F) and labels (n,).
            test_split_ratio: the share of the others, drawn at random; with 0 there are none, and
                the accuracy is that of all examples.
            generator: where random numbers come from.
            kwargs: accepted.

        Returns:
            {"accs": the share of the other examples with the right label}.

        Raises:
            ValueError: fewer than two classes among the examples that are learned from.
        """
        batches = [(values.flatten(1), labels) for values, labels in dataloader]
        values = torch.cat([each for each, _ in batches])
        values = values if values.dtype == torch.float64 else values.float()
        labels = torch.cat([torch.as_tensor(each) for _, each in batches]).to(values.device)
        order = torch.randperm(len(values), generator=generator).to(values.device)
        held = int(len(values) * test_split_ratio)
        test, train = order[:held], order[held:]
        classes = torch.unique(labels[train])
        if len(classes) < 2:
            raise wrong(
                ValueError,
                "examples of at least two classes to learn from",
                f"labels {describe(labels[train].tolist())}",
                "more examples, or a smaller test_split_ratio",
            )
        mean = values[train].mean(0)
        wanted = torch.where(labels[train].unsqueeze(1) == classes, 1.0, -1.0).to(values)
        shift = wanted.mean(0)
        found = FITS[self.fit](values[train] - mean, wanted - shift, self.penalty).T
        if len(classes) == 2:
            found = torch.stack([-found[1], found[1]])
        self._weights, self._classes = found, classes.tolist()
        judged = test if held else train
        scores = (values[judged] - mean) @ found.T + shift
        right = classes[scores.argmax(1)] == labels[judged]
        return {"accs": right.float().mean().cpu()}

    def weights(self) -> Tensor:
        """A direction per class, (C, F); of two classes, one the other's negative."""
        if self._weights is None:
            raise wrong(RuntimeError, "a trained classifier", "none yet", "train_and_eval(data)")
        return self._weights

    def classes(self) -> list[int]:
        """The labels, in the order of the weights."""
        return self._classes
