"""Sensitivity: how much an explanation changes where the input hardly does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum._engine.call import make_call
from captum._engine.errors import describe, wrong
from captum._engine.nest import Tensors, map_tensors, scored, tensors
from captum.metrics.measure import measure
from captum.metrics.opened import at_least_one, flat, repeated, shares

Norm = int | float | str
_NUCLEAR = "nuc"


def default_perturb_func(inputs: Any, perturb_radius: float = 0.02) -> Any:
    """x + u, u evenly spread in [-r, r] for every entry.

    Args:
        inputs: a tensor or a tuple or dict of them.
        perturb_radius: r.

    >>> import torch
    >>> from captum.metrics.sensitivity import default_perturb_func
    >>> bool((default_perturb_func(torch.zeros(100), 0.1).abs() <= 0.1).all())
    True
    """

    def moved(x: Tensor) -> Tensor:
        noise = torch.empty(x.shape, device=x.device, dtype=torch.float32)
        return x + noise.uniform_(-perturb_radius, perturb_radius).to(x)

    return map_tensors(moved, inputs)


@measure(0.0, float("inf"), "lower", "stability")
def sensitivity_max(
    explanation_func: Callable[..., Any],
    inputs: Any,
    perturb_func: Callable[..., Any] = default_perturb_func,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    norm_ord: Norm = "fro",
    max_examples_per_batch: int | None = None,
    **kwargs: Any,
) -> Tensor:
    r"""max over S samples of ‖φ(x') - φ(x)‖ / ‖φ(x)‖, (N,): 0 or more, lower is better.

    Paper: Yeh et al., On the (in)fidelity and sensitivity of explanations (2019),
    https://arxiv.org/abs/1901.09392.

    Args:
        explanation_func: φ, such as `Saliency(model).attribute`.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        perturb_func: of the inputs, each row S times side by side, and of the radius where it takes
            one: x', in the inputs' form.
        perturb_radius: of the samples.
        n_perturb_samples: S.
        norm_ord: of an example's scores as one row: "fro", the length; a number; "nuc".
        max_examples_per_batch: rows that are explained at once; all by default.
        kwargs: for `explanation_func`; those with a row for each example follow them.

    Raises:
        ValueError: perturbed inputs of other shapes than the inputs.

    >>> import torch
    >>> from captum.attr import Saliency
    >>> from captum.metrics import sensitivity_max
    >>> model = torch.nn.Linear(3, 2)
    >>> sensitivity_max(Saliency(model).attribute, torch.rand(2, 3), target=0)
    tensor([0., 0.])
    """
    at_least_one(n_perturb_samples, "n_perturb_samples")

    def ratio(change: Tensor, scores: Tensor, _moved: Tensor, _x: Tensor) -> Tensor:
        size = lengths(scores, norm_ord)
        return lengths(change, norm_ord) / torch.where(size == 0, 1, size)

    samples = (n_perturb_samples, perturb_radius, max_examples_per_batch)
    return largest_ratio(explanation_func, inputs, perturb_func, samples, ratio, kwargs)


def largest_ratio(
    explain: Callable[..., Any],
    inputs: Any,
    perturb_func: Callable[..., Any],
    samples: tuple[int, float, int | None],
    ratio: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    kwargs: dict[str, Any],
) -> Tensor:
    """The largest over samples of a ratio of (N, S, D) rows.

    `ratio` gets the scores' change and the scores, what the inputs became and what they were.
    """
    count, radius, most = samples
    call = make_call(explain, inputs)
    rows = call.rows
    x = flat(call.inputs)
    scores = flat(_explained(explain, inputs, kwargs, rows))
    found = torch.full((rows,), -torch.inf, dtype=scores.dtype, device=scores.device)
    for times in shares(count, rows, most):
        moved = _perturbed(perturb_func, repeated(inputs, rows, times), radius)
        there = flat(_explained(explain, moved, repeated(kwargs, rows, times), rows * times))
        there = there.reshape(rows, times, -1)
        places = flat(tuple(tensors(moved))).reshape(rows, times, -1)
        made = ratio(there - scores[:, None], scores[:, None], places, x[:, None])
        found = torch.maximum(found, made.amax(1).to(found))
    return found


def lengths(rows: Tensor, norm: Norm) -> Tensor:
    """Norms of the last dimension; of a row, the nuclear norm is its length."""
    order = 2.0 if norm in ("fro", _NUCLEAR) else float(norm)
    made: Tensor = torch.linalg.vector_norm(rows, order, dim=-1)
    return made


def _explained(explain: Callable[..., Any], inputs: Any, kwargs: Any, rows: int) -> Tensors:
    found = scored(explain(inputs, **kwargs))
    if not found or any(t.ndim == 0 or len(t) != rows for t in found):
        raise wrong(
            ValueError,
            f"an explanation with a row for each of the {rows} inputs",
            describe(found),
            "explanation_func=Saliency(model).attribute",
        )
    return tuple(t.detach() for t in found)


def _perturbed(perturb_func: Callable[..., Any], inputs: Any, radius: float) -> Any:
    try:
        takes = len(inspect.signature(perturb_func).parameters) > 1
    except (TypeError, ValueError):
        takes = False
    found = perturb_func(inputs, radius) if takes else perturb_func(inputs)
    there, here = tuple(tensors(found)), tuple(tensors(inputs))
    if [t.shape for t in there] != [t.shape for t in here]:
        raise wrong(
            ValueError,
            "perturbed inputs of the inputs' shapes",
            f"{describe(found)} for {describe(inputs)}",
            "perturb_func=lambda x: x + 0.02 * torch.randn_like(x)",
        )
    rest = iter(there)
    return map_tensors(lambda _: next(rest), inputs)
