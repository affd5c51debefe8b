"""Model randomisation: what explains what was learnt has to change where that is thrown away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine.errors import wrong
from captum._engine.layers import modules_of
from captum._engine.nest import scored
from captum.metrics.agreement import pearson
from captum.metrics.measure import measure
from captum.metrics.opened import flat

_ORDERS = ("cascade", "independent")


@dataclass(frozen=True)
class Randomised:
    """How alike explanations are after layers have been randomised.

    Args:
        layers: in the order in which they were.
        similarity: with the explanation before, (layers, N): -1 to 1, lower is better.
    """

    layers: list[str]
    similarity: Tensor


@measure(-1.0, 1.0, "lower", "weights")
def parameter_randomisation(
    explanation_func: Callable[..., Any],
    model: nn.Module,
    inputs: Any,
    layers: Sequence[str] | None = None,
    order: str = "cascade",
    absolute: bool = True,
    *,
    generator: torch.Generator | None = None,
    **kwargs: Any,
) -> Randomised:
    r"""Spearman's ρ of the scores before and after layers are randomised: -1 to 1, lower is better.

    An explanation that stays as it is has not to do with what the model has learnt. Parameters are
    put in another order, each in itself; the model is as it was afterwards.

    Paper: Adebayo et al., Sanity checks for saliency maps (2018), https://arxiv.org/abs/1810.03292.

    Args:
        explanation_func: φ, such as `Saliency(model).attribute`.
        model: the model that it explains.
        inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
        layers: names of modules, from the output on; all that have parameters of their own by
            default, the last first.
        order: "cascade", where layers stay randomised, or "independent", each alone.
        absolute: of the scores' sizes.
        generator: of the orders.
        kwargs: for `explanation_func`.

    Raises:
        ValueError: another order, or layers that the model does not have.

    >>> import torch
    >>> from captum.attr import Saliency
    >>> from captum.metrics import parameter_randomisation
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(9, 9), torch.nn.Tanh(), torch.nn.Linear(9, 2))
    >>> explain = Saliency(model).attribute
    >>> found = parameter_randomisation(explain, model, torch.rand(3, 9), target=0)
    >>> found.layers, found.similarity.shape
    (['2', '0'], torch.Size([2, 3]))
    """
    if order not in _ORDERS:
        raise wrong(ValueError, "order 'cascade' or 'independent'", repr(order), "order='cascade'")
    if layers is None:
        layers = [n for n, m in model.named_modules() if list(m.parameters(recurse=False))][::-1]
    modules = modules_of(model, list(layers), "layers=['fc', 'layer4']")

    def explained() -> Tensor:
        rows = flat(tuple(t.detach() for t in scored(explanation_func(inputs, **kwargs))))
        return rows.abs() if absolute else rows

    before = explained()
    found = []
    with _kept(model):
        state = [p.detach().clone() for p in model.parameters()]
        for module in modules.values():
            if order == "independent":
                _put(model, state)
            _shuffle(module, generator)
            found.append(spearman(before, explained()))
    return Randomised(list(modules), torch.stack(found))


def spearman(one: Tensor, other: Tensor) -> Tensor:
    """Rank correlation of rows (N, D), (N,)."""
    return pearson(_ranks(one).T, _ranks(other).T)


def _ranks(rows: Tensor) -> Tensor:
    """Ranks in each row, equal numbers sharing theirs."""
    rising, order = rows.sort(1)
    first = torch.searchsorted(rising.contiguous(), rising.contiguous())
    last = torch.searchsorted(rising.contiguous(), rising.contiguous(), right=True)
    shared = (first + last - 1).to(torch.float64 if rows.dtype == torch.float64 else torch.float32)
    return torch.empty_like(shared).scatter_(1, order, shared / 2)


@contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """The parameters are afterwards what they were."""
    before = [p.detach().clone() for p in model.parameters()]
    try:
        yield
    finally:
        _put(model, before)


def _put(model: nn.Module, state: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for p, value in zip(model.parameters(), state, strict=True):
            p.copy_(value)


def _shuffle(module: nn.Module, generator: torch.Generator | None) -> None:
    """A parameter's own numbers in another order: as large, and nothing that was learnt."""
    with torch.no_grad():
        for p in module.parameters():
            order = torch.randperm(p.numel(), generator=generator).to(p.device)
            p.copy_(p.flatten()[order].reshape(p.shape))
