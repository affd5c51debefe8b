"""Stability: changes of an explanation beside those of the input, or of the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum._engine.call import Call
from captum._engine.errors import describe, wrong
from captum._engine.model import Model
from captum._engine.nest import tensors
from captum._engine.target import Raw
from captum.metrics.measure import measure
from captum.metrics.opened import asked, at_least_one
from captum.metrics.sensitivity import default_perturb_func, largest_ratio, lengths

_SMALL = 1e-6  # what a relative change is at least divided by


@measure(0.0, float("inf"), "lower", "stability")
def local_lipschitz(
    explanation_func: Callable[..., Any],
    inputs: Any,
    perturb_func: Callable[..., Any] = default_perturb_func,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    max_examples_per_batch: int | None = None,
    **kwargs: Any,
) -> Tensor:
    r"""max over S samples of ‖φ(x') - φ(x)‖ / ‖x' - x‖, (N,): 0 or more, lower is better.

    Paper: Alvarez-Melis, Jaakkola, On the robustness of interpretability methods (2018),
    https://arxiv.org/abs/1806.08049.

    Args:
        explanation_func: φ, such as `Saliency(model).attribute`.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        perturb_func: of the inputs, each row S times side by side, and of the radius where it takes
            one: x', in the inputs' form.
        perturb_radius: of the samples.
        n_perturb_samples: S.
        max_examples_per_batch: rows that are explained at once; all by default.
        kwargs: for `explanation_func`; those with a row for each example follow them.

    Raises:
        ValueError: perturbed inputs of other shapes than the inputs.

    >>> import torch
    >>> from captum.metrics import local_lipschitz
    >>> local_lipschitz(lambda x: 3 * x, torch.rand(2, 4)).round(decimals=2)
    tensor([3., 3.])
    """
    at_least_one(n_perturb_samples, "n_perturb_samples")

    def ratio(change: Tensor, _scores: Tensor, moved: Tensor, x: Tensor) -> Tensor:
        way = lengths(moved - x, 2)
        return lengths(change, 2) / torch.where(way == 0, torch.inf, way)

    samples = (n_perturb_samples, perturb_radius, max_examples_per_batch)
    return largest_ratio(explanation_func, inputs, perturb_func, samples, ratio, kwargs)


@measure(0.0, float("inf"), "lower", "stability")
def relative_input_stability(
    explanation_func: Callable[..., Any],
    inputs: Any,
    forward_func: Model,
    perturb_func: Callable[..., Any] = default_perturb_func,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    max_examples_per_batch: int | None = None,
    **kwargs: Any,
) -> Tensor:
    r"""max of ‖(φ(x') - φ(x)) / φ(x)‖ / ‖(x' - x) / x‖, (N,): 0 or more, lower is better.

    Over those of S samples that the model answers as it answers x; entry by entry, of sizes of at
    least 1e-6.

    Paper: Agarwal et al., Rethinking stability for attribution-based explanations (2022),
    https://arxiv.org/abs/2203.06877.

    Args:
        explanation_func: φ, such as `Saliency(model).attribute`.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        forward_func: the model, of an output (N, C).
        perturb_func: of the inputs, each row S times side by side, and of the radius where it takes
            one: x', in the inputs' form.
        perturb_radius: of the samples.
        n_perturb_samples: S.
        max_examples_per_batch: rows that are explained at once; all by default.
        kwargs: for `explanation_func`; those with a row for each example follow them, and the model
            gets `additional_forward_args`.

    Raises:
        ValueError: perturbed inputs of other shapes, or an output that is not (N, C).

    >>> import torch
    >>> from captum.metrics import relative_input_stability
    >>> model = lambda x: torch.stack([x.sum(1), -x.sum(1)], 1)
    >>> relative_input_stability(lambda x: 3 * x, torch.rand(2, 4) + 1, model).round(decimals=2)
    tensor([1., 1.])
    """
    at_least_one(n_perturb_samples, "n_perturb_samples")
    outputs = _outputs(forward_func, inputs, kwargs)

    def ratio(change: Tensor, scores: Tensor, moved: Tensor, x: Tensor) -> Tensor:
        there = outputs(moved)
        way = lengths(_relative(moved - x, x), 2).clamp_min(_SMALL)
        made = lengths(_relative(change, scores), 2) / way.to(change)
        return torch.where(outputs.same(there).to(made.device), made, 0)

    samples = (n_perturb_samples, perturb_radius, max_examples_per_batch)
    return largest_ratio(explanation_func, inputs, perturb_func, samples, ratio, kwargs)


@measure(0.0, float("inf"), "lower", "stability")
def relative_output_stability(
    explanation_func: Callable[..., Any],
    inputs: Any,
    forward_func: Model,
    perturb_func: Callable[..., Any] = default_perturb_func,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    max_examples_per_batch: int | None = None,
    **kwargs: Any,
) -> Tensor:
    r"""max of ‖(φ(x') - φ(x)) / φ(x)‖ / ‖f(x') - f(x)‖, (N,): 0 or more, lower is better.

    f is the whole output; over those of S samples that the model answers as it answers x.

    Paper: as `relative_input_stability`.

    Args:
        explanation_func: φ, such as `Saliency(model).attribute`.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        forward_func: the model, of an output (N, C).
        perturb_func: of the inputs, each row S times side by side, and of the radius where it takes
            one: x', in the inputs' form.
        perturb_radius: of the samples.
        n_perturb_samples: S.
        max_examples_per_batch: rows that are explained at once; all by default.
        kwargs: for `explanation_func`; those with a row for each example follow them, and the model
            gets `additional_forward_args`.

    Raises:
        ValueError: perturbed inputs of other shapes, or an output that is not (N, C).

    >>> import torch
    >>> from captum.metrics import relative_output_stability
    >>> model = lambda x: torch.stack([x.sum(1), -x.sum(1)], 1)
    >>> relative_output_stability(lambda x: x * 0 + 1, torch.rand(2, 4) + 1, model)
    tensor([0., 0.])
    """
    at_least_one(n_perturb_samples, "n_perturb_samples")
    outputs = _outputs(forward_func, inputs, kwargs)

    def ratio(change: Tensor, scores: Tensor, moved: Tensor, x: Tensor) -> Tensor:
        there = outputs(moved)
        way = lengths(there - outputs.here[:, None], 2).clamp_min(_SMALL)
        made = lengths(_relative(change, scores), 2) / way.to(change)
        return torch.where(outputs.same(there).to(made.device), made, 0)

    samples = (n_perturb_samples, perturb_radius, max_examples_per_batch)
    return largest_ratio(explanation_func, inputs, perturb_func, samples, ratio, kwargs)


def _relative(change: Tensor, of: Tensor) -> Tensor:
    """A change entry by entry, as a share of what it is a change of."""
    size = of.abs().clamp_min(_SMALL)
    return change / size


class _outputs:  # noqa: N801 - a function that remembers its first answer
    """The model's outputs at rows (N, S, D) of inputs."""

    def __init__(self, model: Model, inputs: Any, kwargs: dict[str, Any]) -> None:
        self.model, self.inputs = model, inputs
        self.args = kwargs.get("additional_forward_args")
        self.shapes = [x.shape[1:] for x in tensors(inputs)]
        with asked(model, inputs, None, self.args) as (engine, call):
            self.here = engine.evaluate(_raw(call))
        if self.here.ndim != 2:
            raise wrong(
                ValueError, "an output (N, C)", describe(self.here), "a model that classifies"
            )

    def __call__(self, moved: Tensor) -> Tensor:
        rows, times = moved.shape[:2]
        parts = torch.split(moved.flatten(0, 1), [s.numel() for s in self.shapes], 1)
        points = tuple(p.reshape(-1, *s) for p, s in zip(parts, self.shapes, strict=True))
        with asked(self.model, self.inputs, None, self.args) as (engine, call):
            kinds = [x.dtype for x in call.inputs]
            points = tuple(p.to(kind) for p, kind in zip(points, kinds, strict=True))
            found = engine.evaluate(_raw(call).spread(times), inputs=points)
        return found.reshape(rows, times, -1)

    def same(self, there: Tensor) -> Tensor:
        """Whether each sample's answer is its example's, (N, S)."""
        return there.argmax(2) == self.here.argmax(1)[:, None]


def _raw(call: Call) -> Call:
    return replace(call, targets=(Raw(),))
