"""Linear models of scikit-learn, behind the same interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from inspect import signature
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import extra, warn, wrong
from captum._engine.paths import wide
from captum.linear.data import Batch, together
from captum.linear.model import LinearModel


class NormLayer(nn.Module):
    """x ↦ (x - mean) / (std + eps)."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, n: int | None = None, eps: float = 1e-8) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.n, self.eps = n, eps

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / (self.std + self.eps)


class SkLearnLinearModel(LinearModel):
    """The coefficients that an estimator of scikit-learn finds; needs the extra `sklearn`.

    `fit` takes norm_input=True to standardise the columns of x first, and what else the
    estimator's own `fit` takes.

    Args:
        sklearn_module: the estimator's name within scikit-learn, such as "linear_model.Lasso".
        kwargs: what the estimator is made with.

    Raises:
        AttributeError: by `fit`, for an estimator that there is not, or that is not linear.

    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> model = SkLearnLinearModel("linear_model.Ridge", alpha=2.0)
    >>> statistics = model.fit([(x, 2 * x[:, 0])])
    >>> round(float(model.representation()), 4)
    1.0
    """

    def __init__(self, sklearn_module: str, **kwargs: Any) -> None:
        train = partial(sklearn_train_linear_model, sklearn_trainer=sklearn_module)
        super().__init__(train, **kwargs)
        self.sklearn_module = sklearn_module


class SkLearnLasso(SkLearnLinearModel):
    """`sklearn.linear_model.Lasso`. See `SkLearnLinearModel`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("linear_model.Lasso", **kwargs)


class SkLearnRidge(SkLearnLinearModel):
    """`sklearn.linear_model.Ridge`. See `SkLearnLinearModel`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("linear_model.Ridge", **kwargs)


class SkLearnLinearRegression(SkLearnLinearModel):
    """`sklearn.linear_model.LinearRegression`. See `SkLearnLinearModel`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("linear_model.LinearRegression", **kwargs)


class SkLearnLogisticRegression(SkLearnLinearModel):
    """`sklearn.linear_model.LogisticRegression`. See `SkLearnLinearModel`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("linear_model.LogisticRegression", **kwargs)


class SkLearnSGDClassifier(SkLearnLinearModel):
    """`sklearn.linear_model.SGDClassifier`. See `SkLearnLinearModel`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("linear_model.SGDClassifier", **kwargs)


def sklearn_train_linear_model(
    model: LinearModel,
    dataloader: Iterable[Any],
    construct_kwargs: Mapping[str, Any],
    sklearn_trainer: str = "Lasso",
    norm_input: bool = False,
    **fit_kwargs: Any,
) -> dict[str, float]:
    """Fit an estimator of scikit-learn to all batches at once, and take its coefficients over.

    Args:
        model: what is fitted.
        dataloader: batches (x, y) or (x, y, weights).
        construct_kwargs: what the estimator is made with.
        sklearn_trainer: its name within scikit-learn, "linear_model.Lasso" or "Lasso".
        norm_input: standardise the columns of x, in the fit and in the model.
        fit_kwargs: what else the estimator's `fit` takes.

    Returns:
        train_time in seconds.
    """
    data = together(dataloader)
    x = data.x.to(wide(data.x.dtype))
    norm = NormLayer(x.mean(0), x.std(0, correction=0)) if norm_input else None
    estimator = _estimator(sklearn_trainer)(**construct_kwargs)
    start = perf_counter()
    _fit(estimator, data._replace(x=x if norm is None else norm(x)), fit_kwargs)
    seconds = perf_counter() - start
    _take_over(model, estimator, x)
    model.norm = norm
    return {"train_time": seconds}


def _estimator(name: str) -> Callable[..., Any]:
    extra("sklearn", "sklearn")
    module, _, kind = name.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(
            import_module(f"sklearn.{module or 'linear_model'}"), kind
        )
    except (ImportError, AttributeError) as error:
        raise wrong(
            AttributeError,
            "the name of an estimator within scikit-learn",
            repr(name),
            "SkLearnLinearModel('linear_model.Ridge')",
        ) from error
    return found


def _fit(estimator: Any, data: Batch, options: dict[str, Any]) -> None:
    x, y = data.x.numpy(force=True), data.y.numpy(force=True)
    if data.weights is not None:
        if "sample_weight" in signature(estimator.fit).parameters:
            options = {"sample_weight": data.weights.numpy(force=True), **options}
        else:
            warn(f"{type(estimator).__name__} takes no weights: all rows count the same")
    estimator.fit(x, y[:, 0] if y.shape[1:] == (1,) else y, **options)


def _take_over(model: LinearModel, estimator: Any, x: Tensor) -> None:
    if not hasattr(estimator, "coef_"):
        raise wrong(
            AttributeError,
            "a linear estimator, with coefficients `coef_`",
            type(estimator).__name__,
            "SkLearnLinearModel('linear_model.Ridge')",
        )
    weight = torch.as_tensor(estimator.coef_, dtype=x.dtype, device=x.device)
    weight = weight.reshape(-1, x.shape[1])
    bias = torch.as_tensor(estimator.intercept_, dtype=x.dtype, device=x.device)
    classes = getattr(estimator, "classes_", None)
    model._construct_model_params(
        weight_values=weight,
        bias_value=bias.expand(len(weight)).clone(),
        classes=None if classes is None else torch.as_tensor(classes, device=x.device),
    )
