"""Infidelity: how far an explanation is from what a perturbation really does."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from captum._engine.call import Call, make_call
from captum._engine.call import baselines as baselines_of
from captum._engine.errors import describe, wrong
from captum._engine.model import Model
from captum._engine.nest import Tensors, map_tensors, tensors
from captum._engine.target import Targets
from captum.metrics.measure import measure
from captum.metrics.opened import asked, at_least_one, flat, repeated, scores_of, shares


def infidelity_perturb_func_decorator(
    multiply_by_inputs: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., tuple[Any, Any]]]:
    r"""Of a function that makes perturbed inputs x', one that makes perturbations I as well.

    I = (x - x') / (x - baseline) where scores are contributions, and 0 where x is its baseline;
    I = x - x' for scores that are sensitivities.

    Args:
        multiply_by_inputs: scores are contributions: their method multiplies by inputs.

    >>> import torch
    >>> from captum.metrics import infidelity_perturb_func_decorator
    >>> @infidelity_perturb_func_decorator(multiply_by_inputs=False)
    ... def darker(inputs):
    ...     return inputs - 0.5
    >>> darker(torch.ones(1, 2))
    (tensor([[0.5000, 0.5000]]), tensor([[0.5000, 0.5000]]))
    """

    def decorated(perturb_func: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
        @wraps(perturb_func)
        def both(inputs: Any, baselines: Any = None) -> tuple[Any, Any]:
            given = (inputs,) if baselines is None else (inputs, baselines)
            changed = perturb_func(*given)
            xs, moved = tuple(tensors(inputs)), tuple(tensors(changed))
            if len(xs) != len(moved) or any(
                a.shape != b.shape for a, b in zip(xs, moved, strict=True)
            ):
                raise wrong(
                    ValueError,
                    "perturbed inputs of the inputs' shapes",
                    f"{describe(changed)} for {describe(inputs)}",
                    "return inputs + noise",
                )
            made = [x - y for x, y in zip(xs, moved, strict=True)]
            if multiply_by_inputs:
                call = make_call(perturb_func, inputs)
                spans = [x - b for x, b in zip(xs, baselines_of(call, baselines), strict=True)]
                made = [
                    torch.where(span == 0, 0, change / torch.where(span == 0, 1, span))
                    for change, span in zip(made, spans, strict=True)
                ]
            rest = iter(made)
            return map_tensors(lambda _: next(rest), inputs), changed

        return both

    return decorated


@measure(0.0, float("inf"), "lower", "removal")
def infidelity(
    forward_func: Model,
    perturb_func: Callable[..., Any],
    inputs: Any,
    attributions: Any,
    baselines: Any = None,
    additional_forward_args: Any = None,
    target: Any = None,
    n_perturb_samples: int = 10,
    max_examples_per_batch: int | None = None,
    normalize: bool = False,
) -> Any:
    r"""E_I[(β I·φ - (f(x) - f(x - I)))²], (N,): 0 or more, lower is better.

    I is a random perturbation and φ the explanation. β = 1; with `normalize`, the β that makes the
    number least, β = E[I·φ (f(x) - f(x - I))] / E[(I·φ)²], so that the scale of φ does not count.

    Paper: Yeh et al., On the (in)fidelity and sensitivity of explanations (2019),
    https://arxiv.org/abs/1901.09392.

    Args:
        forward_func: the model.
        perturb_func: of the inputs, each row S times side by side, and of baselines where there are
            any: I and the perturbed inputs, both in the inputs' form. Of a function that makes
            perturbed inputs alone, `infidelity_perturb_func_decorator` makes one.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        attributions: φ, in the inputs' form.
        baselines: for `perturb_func`: see the glossary.
        additional_forward_args: see the glossary: what else the model takes, by position.
        target: see the glossary. Of several `Targets`, a list of numbers, of a list of φ.
        n_perturb_samples: S.
        max_examples_per_batch: rows that are perturbed at once; all by default. Passes of the
            model are as large as its memory allows.
        normalize: whether the scale of φ does not count.

    Raises:
        ValueError: attributions or perturbations of another shape than the inputs.

    >>> import torch
    >>> from captum.metrics import infidelity
    >>> model = lambda x: x @ torch.tensor([1., 2.])
    >>> def noise(inputs):
    ...     made = 0.1 * torch.randn_like(inputs)
    ...     return made, inputs - made
    >>> x = torch.ones(3, 2)
    >>> infidelity(model, noise, x, torch.tensor([[1., 2.]]).expand(3, 2)).abs() < 1e-9
    tensor([True, True, True])
    """
    at_least_one(n_perturb_samples, "n_perturb_samples")
    with asked(forward_func, inputs, target, additional_forward_args) as (engine, call):
        rows, lead = call.rows, len(call.targets)
        several = isinstance(target, Targets)
        each = attributions if several else [attributions]
        if len(each) != lead:
            raise wrong(
                ValueError, f"attributions of {lead} targets", str(len(each)), "a list of them"
            )
        scores = torch.stack([flat(scores_of(call, one)) for one in each])  # (K, N, D)
        numbers = engine.evaluate(call).reshape(lead, rows)
        told, truth = [], []
        for times in shares(n_perturb_samples, rows, max_examples_per_batch):
            change, moved = _perturbed(perturb_func, call, inputs, baselines, times)
            there = engine.evaluate(call.spread(times), inputs=moved).reshape(lead, rows, times)
            told.append(torch.einsum("nsd,knd->kns", change, scores.to(change)))
            truth.append(numbers.unsqueeze(-1) - there)
    found = _distance(torch.cat(told, 2), torch.cat(truth, 2), normalize)
    return list(found) if several else found[0]


def _distance(told: Tensor, truth: Tensor, normalize: bool) -> Tensor:
    """E[(β told - truth)²] over the last dimension, with the best β or 1."""
    truth = truth.to(told)
    if normalize:
        square = told.square().mean(-1, keepdim=True)
        told = told * (told * truth).mean(-1, keepdim=True) / torch.where(square == 0, 1, square)
    return (told - truth).square().mean(-1)


def _perturbed(
    perturb_func: Callable[..., Any], call: Call, inputs: Any, baselines: Any, times: int
) -> tuple[Tensor, Tensors]:
    """Perturbations as rows (N, S, D), and perturbed inputs (N · S, *F)."""
    given = [repeated(inputs, call.rows, times)]
    if baselines is not None:
        given.append(repeated(baselines, call.rows, times))
    found = perturb_func(*given)
    if not isinstance(found, tuple) or len(found) != 2:
        raise wrong(
            TypeError,
            "a perturb_func that returns perturbations and perturbed inputs",
            describe(found),
            "@infidelity_perturb_func_decorator(), for one that returns perturbed inputs",
        )
    parts = []
    for one in found:
        made = tuple(tensors(one))
        shapes = [(call.rows * times, *x.shape[1:]) for x in call.inputs]
        if [tuple(t.shape) for t in made] != shapes:
            raise wrong(
                ValueError,
                f"perturbations and perturbed inputs of shapes {shapes}",
                describe(one),
                "return noise, inputs - noise",
            )
        parts.append(made)
    change, moved = parts
    return flat(change).reshape(call.rows, times, -1), moved
