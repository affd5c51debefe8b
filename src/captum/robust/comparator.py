"""How a model fares under several perturbations, by any metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.model import Model
from captum._engine.nest import tensors
from captum.robust.asking import Asked
from captum.robust.base import Perturbation

_ORIGINAL = "Original"
_WORDS = {"mean": "Mean", "min": "Min", "max": "Max"}


@dataclass(frozen=True)
class _Entry:
    attack: Callable[..., Any]
    attempts: int
    before: bool  # the preprocessing
    kwargs: Mapping[str, Any]
    names: tuple[str, ...]  # of what it also takes from `evaluate`

    def versions(self, comparator: AttackComparator, inputs: Any, ready: Any, given: Any) -> Any:
        more = {name: given[name] for name in self.names if name in given}
        for _ in range(self.attempts):
            changed = self.attack(inputs if self.before else ready, **self.kwargs, **more)
            yield comparator._ready(changed) if self.before else changed


class AttackComparator:
    r"""Mean, least and largest metric of a model over attempts of each attack, and over batches.

    Args:
        forward_func: the model.
        metric: of its output, and of what `evaluate` was given by keyword: a number, a tensor with
            an entry for each example (or one for all), or a tuple or named tuple of such.
        preproc_fn: makes the model's inputs of what is evaluated.

    >>> import torch
    >>> from captum.robust import FGSM, AttackComparator
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.eye(2)
    >>> right = lambda output, target: (output.argmax(1) == target).float()
    >>> compare = AttackComparator(model, right)
    >>> fgsm = FGSM(model, torch.nn.CrossEntropyLoss())
    >>> compare.add_attack(fgsm, "far", attack_kwargs={"epsilon": 1.},
    ...     additional_attack_arg_names=["target"])
    >>> found = compare.evaluate(torch.tensor([[2., 1.]]), target=torch.tensor([0]))
    >>> found["Original"], found["far"]["mean"]
    (tensor([1.]), tensor([0.]))
    """

    def __init__(
        self,
        forward_func: Model,
        metric: Callable[..., Any],
        preproc_fn: Callable[..., Any] | None = None,
    ) -> None:
        self.forward_func, self.metric, self.preproc_fn = forward_func, metric, preproc_fn
        self.attacks: dict[str, _Entry] = {}
        self.reset()

    def add_attack(
        self,
        attack: Perturbation | Callable[..., Any],
        name: str | None = None,
        num_attempts: int = 1,
        apply_before_preproc: bool = True,
        attack_kwargs: dict[str, Any] | None = None,
        additional_attack_arg_names: list[str] | None = None,
    ) -> None:
        """One more attack to compare.

        Args:
            attack: of inputs: what becomes of them.
            name: its class's name by default.
            num_attempts: how often, where it is random.
            apply_before_preproc: attack what is evaluated, and not what the model gets.
            attack_kwargs: what it takes, too.
            additional_attack_arg_names: what it takes of what `evaluate` is given by keyword.

        Raises:
            RuntimeError: the name is taken.
        """
        name = name or type(attack).__name__
        if name in self.attacks or name == _ORIGINAL:
            raise wrong(
                RuntimeError,
                f"a name of its own for each attack, beside {_ORIGINAL!r}",
                repr(name),
                f"add_attack(attack, name={name + ' 2'!r})",
            )
        if num_attempts < 1:
            raise wrong(ValueError, "num_attempts of at least 1", repr(num_attempts), "1")
        self.attacks[name] = _Entry(
            attack,
            num_attempts,
            apply_before_preproc,
            dict(attack_kwargs or {}),
            tuple(additional_attack_arg_names or ()),
        )

    def evaluate(
        self,
        inputs: Any,
        additional_forward_args: Any = None,
        perturbations_per_eval: int = 1,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The metric of a batch: "Original", and of each attack "mean", and "min" and "max".

        "min" and "max" are there where there were several attempts. Summaries go on counting.

        Args:
            inputs: whatever the preprocessing takes, or the model.
            additional_forward_args: see the glossary: what else the model takes, by position.
            perturbations_per_eval: how many attempts go in one pass, of inputs that are tensors.
            kwargs: for the metric, and for attacks that name them.

        Raises:
            ValueError: attempts of several shapes in one pass.
        """
        asked = Asked(self.forward_func, additional_forward_args, perturbations_per_eval)
        found: dict[str, list[Any]] = {}
        with torch.no_grad():
            ready = self._ready(inputs)
        for output, name in asked.outputs(self._versions(inputs, ready, kwargs)):
            with torch.no_grad():
                found.setdefault(name, []).append(_as_tensors(self.metric(output, **kwargs)))
        results = {name: _folded(values) for name, values in found.items()}
        weight = next((len(t) for t in tensors(ready) if t.ndim), 1)
        self._count(results, weight)
        return {_ORIGINAL: results.pop(_ORIGINAL)["mean"], **results}

    def summary(self) -> dict[str, dict[str, Any]]:
        """The mean metric of all examples since the last reset, by attack; each attempt's fold.

        Of several attempts: "name Mean Attempt", "name Min Attempt" and "name Max Attempt".
        """
        return {
            name: {"mean": _mapped(lambda total: total / self._weight, total)}
            for name, total in self._totals.items()
        }

    def reset(self) -> None:
        """Forget what was counted."""
        self._totals: dict[str, Any] = {}
        self._weight = 0

    def _ready(self, inputs: Any) -> Any:
        return inputs if self.preproc_fn is None else self.preproc_fn(inputs)

    def _versions(self, inputs: Any, ready: Any, given: Any) -> Iterator[tuple[Any, str]]:
        yield ready, _ORIGINAL
        for name, entry in self.attacks.items():
            for version in entry.versions(self, inputs, ready, given):
                yield version, name

    def _count(self, results: Mapping[str, Mapping[str, Any]], weight: int) -> None:
        self._weight += weight
        for name, folds in results.items():
            for fold, value in folds.items():
                full = name if len(folds) == 1 else f"{name} {_WORDS[fold]} Attempt"
                sums = _mapped(lambda v: weight * _mean(v), value)
                known = self._totals.get(full)
                self._totals[full] = sums if known is None else _merged(torch.add, known, sums)


def _as_tensors(value: Any) -> Any:
    def one(each: Any) -> Tensor:
        if isinstance(each, Tensor):
            return each.detach()
        if isinstance(each, int | float):
            return torch.tensor(float(each))
        raise wrong(
            TypeError,
            "a metric that is a number, a tensor, or a tuple of such",
            describe(value),
            "metric=lambda output, target: (output.argmax(1) == target).float()",
        )

    return _mapped(one, value)


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    if not isinstance(value, tuple):
        return change(value)
    made = [change(each) for each in value]
    return type(value)(*made) if hasattr(value, "_fields") else tuple(made)


def _merged(merge: Callable[[Tensor, Tensor], Tensor], one: Any, other: Any) -> Any:
    if not isinstance(one, tuple):
        return merge(one, other)
    made = [merge(a, b) for a, b in zip(one, other, strict=True)]
    return type(one)(*made) if hasattr(one, "_fields") else tuple(made)


def _mean(values: Tensor) -> Tensor:
    """Over examples, of a metric that has them; of counts and answers too."""
    values = values if values.is_floating_point() else values.float()
    return values.mean(0) if values.ndim else values


def _folded(values: list[Any]) -> dict[str, Any]:
    """The mean over attempts; the least and largest, where there were several."""
    if isinstance(values[0], tuple):
        columns = [_folded(list(column)) for column in zip(*values, strict=True)]
        kind = type(values[0])
        found = {}
        for fold in columns[0]:
            each = [column[fold] for column in columns]
            found[fold] = kind(*each) if hasattr(kind, "_fields") else tuple(each)
        return found
    if len(values) == 1:
        return {"mean": values[0]}
    rows = torch.stack(values)
    return {"mean": _mean(rows), "min": rows.amin(0), "max": rows.amax(0)}
