"""What an interpretable model is, and the linear one that all fits of this package end in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from captum._engine.errors import wrong


class Model(ABC):
    """A model simple enough to be read: fitted to data, it explains itself by its representation.

    >>> import torch
    >>> class Mean(Model):
    ...     def fit(self, train_data, **kwargs):
    ...         self.mean = torch.cat([y for _, y in train_data]).mean()
    ...     def representation(self):
    ...         return self.mean
    ...     def __call__(self, x):
    ...         return self.mean.expand(len(x))
    >>> mean = Mean()
    >>> mean.fit([(torch.zeros(2, 3), torch.tensor([1.0, 3.0]))])
    >>> float(mean.representation())
    2.0
    """

    @abstractmethod
    def fit(self, train_data: Iterable[Any], **kwargs: Any) -> Mapping[str, Any] | None:
        """Fit to batches (x, y) or (x, y, weights); statistics of the fit, if there are any."""

    @abstractmethod
    def representation(self) -> Tensor:
        """What the model has to say; of a linear model, its coefficients."""

    @abstractmethod
    def __call__(self, x: Any) -> Any:
        """The prediction for a batch of examples."""


class LinearModel(nn.Module, Model):
    r"""x ↦ W n(x) + b, where `fit` finds W and b, and n is the identity or a normalisation.

    Before it is fitted `linear` is None; each fit starts afresh.

    Args:
        train_fn: called by `fit` as `train_fn(model, dataloader=…, construct_kwargs=…, **kwargs)`.
            It makes the layers with `model._construct_model_params` and returns statistics.
        kwargs: kept as `construct_kwargs`.

    >>> import torch
    >>> def answer(model, dataloader, construct_kwargs):
    ...     model._construct_model_params(weight_values=torch.tensor([[4.0, 2.0]]), bias=False)
    >>> model = LinearModel(answer)
    >>> model.fit([])
    >>> model.representation().tolist()
    [[4.0, 2.0]]
    """

    SUPPORTED_NORMS: ClassVar[list[str | None]] = [None, "batch_norm", "layer_norm"]

    def __init__(self, train_fn: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__()
        self.norm: nn.Module | None = None
        self.linear: nn.Linear | None = None
        self.train_fn = train_fn
        self.construct_kwargs = kwargs
        self._classes: Tensor | None = None

    def extra_repr(self) -> str:
        """What it was made with."""
        return ", ".join(f"{name}={value!r}" for name, value in self.construct_kwargs.items())

    def fit(self, train_data: Iterable[Any], **kwargs: Any) -> Any:
        """Fit to batches of x (N, F), y (N,) or (N, C) and, where given, weights (N,).

        Args:
            train_data: a DataLoader, or any iterable of batches.
            kwargs: what else the training function takes.

        Returns:
            Statistics of the fit, by name.
        """
        return self.train_fn(
            self, dataloader=train_data, construct_kwargs=self.construct_kwargs, **kwargs
        )

    def forward(self, x: Tensor) -> Tensor:
        """Predictions (N, C) for x (N, F)."""
        linear = self._fitted()
        predicted: Tensor = linear(x if self.norm is None else self.norm(x))
        return predicted

    def representation(self) -> Tensor:
        """The coefficients W, (C, F), without the bias."""
        return self._fitted().weight.detach()

    def bias(self) -> Tensor | None:
        """The bias b, (C,); None where there is none."""
        if self.linear is None or self.linear.bias is None:
            return None
        return self.linear.bias.detach()

    def classes(self) -> Tensor | None:
        """The classes that a classifier tells apart; None for other models."""
        return self._classes

    def _fitted(self) -> nn.Linear:
        if self.linear is None:
            raise wrong(
                RuntimeError, "a fitted model", "one never fitted", "model.fit([(x, y)]) first"
            )
        return self.linear

    def _construct_model_params(
        self,
        in_features: int | None = None,
        out_features: int | None = None,
        norm_type: str | None = None,
        affine_norm: bool = False,
        bias: bool = True,
        weight_values: Tensor | None = None,
        bias_value: Tensor | None = None,
        classes: Tensor | None = None,
    ) -> None:
        """Make the layers, from their sizes or from weights (C, F) or (F,)."""
        if norm_type not in self.SUPPORTED_NORMS:
            raise wrong(
                ValueError,
                f"norm_type out of {self.SUPPORTED_NORMS}",
                f"{norm_type!r} is not supported",
                "norm_type='layer_norm'",
            )
        if weight_values is not None:
            in_features = weight_values.shape[-1]
            out_features = 1 if weight_values.ndim == 1 else weight_values.shape[0]
        if in_features is None or out_features is None:
            raise wrong(
                ValueError,
                "`in_features` and `out_features`, or `weight_values`",
                f"in_features={in_features}, out_features={out_features}",
                "_construct_model_params(in_features=4, out_features=1)",
            )
        self.norm = _norm(norm_type, in_features, affine_norm)
        if weight_values is None:
            self.linear = nn.Linear(in_features, out_features, bias=bias)
        else:  # nothing is drawn at random for what is known
            self.linear = nn.Linear(in_features, out_features, bias=bias, device="meta")
            self.linear.to_empty(device=weight_values.device).to(weight_values.dtype)
            self.linear.weight = nn.Parameter(weight_values)
            if bias:
                nn.init.zeros_(self.linear.bias)
        if bias_value is not None:
            self.linear.bias = nn.Parameter(bias_value)
        self._classes = classes


def _norm(kind: str | None, features: int, affine: bool) -> nn.Module | None:
    if kind == "batch_norm":
        return nn.BatchNorm1d(features, eps=1e-8, affine=affine)
    if kind == "layer_norm":
        return nn.LayerNorm(features, eps=1e-8, elementwise_affine=affine)
    return None
