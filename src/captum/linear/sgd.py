"""Linear models by stochastic gradient descent: for data that comes in batches, and any loss."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import describe, wrong
from captum._engine.paths import wide
from captum.linear.data import Batch, read
from captum.linear.model import LinearModel

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def l2_loss(x1: Tensor, x2: Tensor, weights: Tensor | None = None) -> Tensor:
    """Half the mean squared distance; with weights, Σ w (x1 - x2)² / (2 Σ w).

    >>> float(l2_loss(torch.tensor([1.0, 3.0]), torch.zeros(2), torch.tensor([3.0, 1.0])))
    1.5
    """
    squares = (x1 - x2) ** 2
    if weights is None:
        return squares.mean() / 2
    loss: Tensor = ((squares / weights.norm(p=1)) * weights).sum() / 2
    return loss


class SGDLinearModel(LinearModel):
    r"""argmin of loss(W x + b, y, w) + alpha |W|ₚ, by stochastic gradient descent.

    `fit` takes the parameters of `sgd_train_linear_model`.

    Args:
        kwargs: for the layers: norm_type=None, "batch_norm" or "layer_norm", affine_norm, bias.

    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> model = SGDLinearModel()
    >>> statistics = model.fit([(x, 2 * x[:, 0])], alpha=0.5, initial_lr=0.5, threshold=1e-7)
    >>> round(float(model.representation()), 2)
    1.5
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(sgd_train_linear_model, **kwargs)


class SGDLasso(SGDLinearModel):
    """Half the mean squared error, plus alpha |W|₁. See `SGDLinearModel`.

    Descent brings no weight to zero exactly; `Lasso` does.
    """

    def fit(self, train_data: Iterable[Any], **kwargs: Any) -> Any:
        """See `sgd_train_linear_model`; loss_fn and reg_term are set."""
        return super().fit(train_data, loss_fn=l2_loss, reg_term=1, **kwargs)


class SGDRidge(SGDLinearModel):
    """Half the mean squared error, plus alpha |W|₂, which is not squared. See `SGDLinearModel`."""

    def fit(self, train_data: Iterable[Any], **kwargs: Any) -> Any:
        """See `sgd_train_linear_model`; loss_fn and reg_term are set."""
        return super().fit(train_data, loss_fn=l2_loss, reg_term=2, **kwargs)


class SGDLinearRegression(SGDLinearModel):
    """Half the mean squared error, without a penalty. See `SGDLinearModel`."""

    def fit(self, train_data: Iterable[Any], **kwargs: Any) -> Any:
        """See `sgd_train_linear_model`; loss_fn and reg_term are set."""
        return super().fit(train_data, loss_fn=l2_loss, reg_term=None, **kwargs)


def sgd_train_linear_model(
    model: LinearModel,
    dataloader: Iterable[Any],
    construct_kwargs: Mapping[str, Any],
    max_epoch: int = 100,
    reduce_lr: bool = True,
    initial_lr: float = 0.01,
    alpha: float = 1.0,
    loss_fn: Loss = l2_loss,
    reg_term: int | None = 1,
    patience: int = 10,
    threshold: float = 1e-4,
    running_loss_window: int | None = None,
    device: str | None = None,
    init_scheme: str | None = "zeros",
    debug: bool = False,
) -> dict[str, float]:
    r"""Fit until the running mean of the loss stands still, or for `max_epoch` epochs.

    Args:
        model: what is fitted.
        dataloader: batches (x, y) or (x, y, weights), gone through once per epoch.
        construct_kwargs: for the layers of the model.
        max_epoch: the largest number of epochs.
        reduce_lr: halve the learning rate where the running loss does not fall.
        initial_lr: the learning rate.
        alpha: the strength of the penalty.
        loss_fn: called with predictions (N, C), y (N, C) and weights (N, 1) or None.
        reg_term: the p of the penalty |W|ₚ; None is no penalty.
        patience: after how many steps in a row without progress the fit ends.
        threshold: a fall of the running loss that counts as progress.
        running_loss_window: how many losses the mean goes back; None is one per example.
        device: where to move data and model; None leaves them where they are.
        init_scheme: first weights: "zeros", "xavier" or None for those of `nn.Linear`.
        debug: print the learning rate and the losses of each step.

    Returns:
        train_time in seconds, train_loss (the running mean), train_iter and train_epoch.

    Raises:
        ValueError: data of the wrong shapes, or max_epoch below 1.
    """
    start = perf_counter()
    data = dataloader if hasattr(dataloader, "__len__") else list(dataloader)
    first = _first(data, device, max_epoch)
    _build(model, first, construct_kwargs, init_scheme, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=initial_lr)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=threshold
    )
    progress = _Progress(running_loss_window or _examples(data, first), patience, threshold)
    steps, epochs = 0, 0
    with torch.enable_grad():
        while epochs < max_epoch and not progress.over:
            for batch in data:
                loss = _loss(model, read(batch, device), loss_fn, alpha, reg_term)
                steps += 1
                progress.update(loss.detach())
                if progress.over:
                    break
                if debug:
                    print(f"lr={optimizer.param_groups[0]['lr']}, {loss=:.6g}, {progress}")
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call] # torch gives it no types
                optimizer.step()
                if reduce_lr:
                    plateau.step(progress.mean)
            else:
                epochs += 1
    model.zero_grad()
    return {
        "train_time": perf_counter() - start,
        "train_loss": float(progress.mean),
        "train_iter": steps,
        "train_epoch": epochs,
    }


def _first(data: Any, device: Any, max_epoch: int) -> Batch:
    if max_epoch < 1:
        raise wrong(ValueError, "max_epoch of at least 1", f"max_epoch={max_epoch}", "max_epoch=9")
    for batch in data:
        return read(batch, device)
    raise wrong(ValueError, "at least one batch", "none", "model.fit([(x, y)])")


def _examples(data: Any, first: Batch) -> int:
    return (getattr(data, "batch_size", None) or len(first.x)) * len(data)


def _build(
    model: LinearModel, batch: Batch, options: Mapping[str, Any], scheme: str | None, device: Any
) -> None:
    if scheme not in {"zeros", "xavier", None}:
        raise wrong(
            ValueError,
            "init_scheme 'zeros', 'xavier' or None",
            describe(scheme),
            "init_scheme=None",
        )
    outputs = batch.y.shape[1] if batch.y.ndim == 2 else 1
    model._construct_model_params(in_features=batch.x.shape[1], out_features=outputs, **options)
    linear = model._fitted()
    if scheme is not None:
        init = nn.init.zeros_ if scheme == "zeros" else nn.init.xavier_uniform_
        init(linear.weight)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
    model.to(device=device, dtype=wide(batch.x.dtype))


def _loss(
    model: LinearModel, batch: Batch, loss_fn: Loss, alpha: float, norm: int | None
) -> Tensor:
    linear = model._fitted()
    x, y, weights = batch
    columns = y[:, None] if y.ndim == 1 else y
    loss = loss_fn(
        model(x.to(linear.weight.dtype)), columns, None if weights is None else weights[:, None]
    )
    return loss if norm is None else loss + alpha * torch.linalg.vector_norm(linear.weight, norm)


class _Progress:
    """The running mean of the loss, and whether it has stood still for `patience` steps."""

    def __init__(self, window: int, patience: int, threshold: float) -> None:
        # One more than it says, as in the published package, so that fits take the same steps.
        self.losses: deque[Tensor] = deque(maxlen=window + 1)
        self.patience, self.threshold = patience, threshold
        self.mean = self.least = torch.tensor(float("inf"))
        self.still = 0

    @property
    def over(self) -> bool:
        return self.still >= self.patience

    def update(self, loss: Tensor) -> None:
        self.losses.append(loss)
        self.mean = torch.stack(list(self.losses)).mean()
        first = len(self.losses) == 1 and not torch.isfinite(self.least)
        least = self.mean if first else self.least
        stands = self.mean >= least or torch.isclose(self.mean, least, atol=self.threshold)
        self.still = self.still + 1 if bool(stands) and not first else 0
        self.least = torch.minimum(least, self.mean)

    def __str__(self) -> str:
        return f"mean={float(self.mean):.6g}, least={float(self.least):.6g}"
