"""Least squares, ridge and lasso as models, solved in torch on the device of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

from torch import Tensor

from captum.linear.data import together
from captum.linear.model import LinearModel
from captum.linear.solve import lasso, ridge


class LinearRegression(LinearModel):
    r"""argmin over W, b of Σₙ wₙ |yₙ - W xₙ - b|², the solution of least norm.

    Args:
        intercept: whether there is a bias b; without it b = 0.

    Raises:
        ValueError: by `fit`, for data of the wrong shapes or without weight.

    >>> import torch
    >>> x = torch.tensor([[0.0], [1.0], [2.0]])
    >>> model = LinearRegression()
    >>> statistics = model.fit([(x, 3 * x[:, 0])])
    >>> round(float(model.representation()), 4)
    3.0
    """

    def __init__(self, *, intercept: bool = True) -> None:
        super().__init__(partial(_train, ridge), intercept=intercept)


class Ridge(LinearModel):
    r"""argmin over W, b of Σₙ wₙ |yₙ - W xₙ - b|² + alpha |W|².

    Args:
        alpha: the strength of the penalty.
        intercept: whether there is a bias b; without it b = 0.

    Raises:
        ValueError: by `fit`, for data of the wrong shapes or without weight.

    >>> import torch
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> model = Ridge(alpha=2.0)
    >>> statistics = model.fit([(x, 2 * x[:, 0])])
    >>> round(float(model.representation()), 4)
    1.0
    """

    def __init__(self, alpha: float = 1.0, *, intercept: bool = True) -> None:
        super().__init__(partial(_train, ridge), alpha=alpha, intercept=intercept)


class Lasso(LinearModel):
    r"""argmin over W, b of Σₙ wₙ |yₙ - W xₙ - b|² / (2 Σₙ wₙ) + alpha |W|₁.

    Args:
        alpha: the strength of the penalty.
        intercept: whether there is a bias b; without it b = 0.

    Raises:
        ValueError: by `fit`, for data of the wrong shapes or without weight.

    Tibshirani, Regression shrinkage and selection via the lasso, 1996.

    >>> import torch
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> model = Lasso(alpha=0.5)
    >>> statistics = model.fit([(x, 2 * x[:, 0])])
    >>> round(float(model.representation()), 4)
    1.5
    """

    def __init__(self, alpha: float = 1.0, *, intercept: bool = True) -> None:
        super().__init__(partial(_train, lasso), alpha=alpha, intercept=intercept)


def _train(
    solve: Callable[..., tuple[Tensor, Tensor]],
    model: LinearModel,
    dataloader: Iterable[Any],
    construct_kwargs: Mapping[str, Any],
) -> dict[str, float]:
    start = perf_counter()
    x, y, weights = together(dataloader)
    values = y[None] if y.ndim == 1 else y.mT
    coefficients, bias = solve(x, values, weights, **construct_kwargs)
    model._construct_model_params(weight_values=coefficients, bias_value=bias)
    return {"train_time": perf_counter() - start}
