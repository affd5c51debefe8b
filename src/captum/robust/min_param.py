"""The least perturbation that changes an answer: a search along one of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import tee
from math import ceil
from typing import Any

import torch
from torch import Tensor

from captum._engine.call import make_call
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine
from captum._engine.model import Model
from captum._engine.nest import map_tensors, tensors
from captum._engine.target import Raw, as_tensor
from captum.robust.asking import Asked
from captum.robust.base import Perturbation
from captum.robust.norms import check

_MODES = ("linear", "binary")


class MinParamPerturbation:
    r"""The least v in arg_min, arg_min + arg_step, …, < arg_max whose attack changes the answer.

    Args:
        forward_func: the model.
        attack: of inputs and, by the keyword `arg_name`, v: what becomes of them.
        arg_name: the name of the parameter.
        arg_min: the first v.
        arg_max: all v are below it.
        arg_step: between two v.
        mode: "linear" tries one v after the other; "binary" halves what is left, which finds the
            least where larger v change more.
        num_attempts: how often each v is tried, where the attack is random.
        preproc_fn: makes the model's inputs of what is evaluated.
        apply_before_preproc: attack what is evaluated, and not what the model gets.
        correct_fn: of the output and `correct_fn_kwargs` (the target, where nothing is given):
            whether it is right; all of its largest outputs at the targets by default.

    >>> import torch
    >>> from captum.robust import MinParamPerturbation
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.eye(2)
    >>> darker = lambda x, by: x - torch.tensor([by, 0.])
    >>> search = MinParamPerturbation(model, darker, "by", 0., 4., 0.5)
    >>> search.evaluate(torch.tensor([[2., 0.9]]), target=0)
    (tensor([[0.5000, 0.9000]]), 1.5)
    >>> search.evaluate_each(torch.tensor([[2., 0.9], [9., 0.]]), target=0)[1]
    tensor([1.5000,    nan])
    """

    def __init__(
        self,
        forward_func: Model,
        attack: Callable[..., Any] | Perturbation,
        arg_name: str,
        arg_min: float,
        arg_max: float,
        arg_step: float,
        mode: str = "linear",
        num_attempts: int = 1,
        preproc_fn: Callable[..., Any] | None = None,
        apply_before_preproc: bool = False,
        correct_fn: Callable[..., Any] | None = None,
    ) -> None:
        check(mode, _MODES, "mode")
        if not arg_step > 0 or not arg_min < arg_max or num_attempts < 1:
            raise wrong(
                ValueError,
                "arg_step above 0, arg_min below arg_max, num_attempts of at least 1",
                f"arg_min={arg_min}, arg_max={arg_max}, arg_step={arg_step}, "
                f"num_attempts={num_attempts}",
                "MinParamPerturbation(model, attack, 'std', 0.0, 1.0, 0.1)",
            )
        self.forward_func, self.attack, self.arg_name = forward_func, attack, arg_name
        self.arg_min, self.arg_max, self.arg_step = arg_min, arg_max, arg_step
        self.mode, self.num_attempts = mode, num_attempts
        self.preproc_fn, self.apply_before_preproc = preproc_fn, apply_before_preproc
        self.correct_fn = correct_fn

    def evaluate(
        self,
        inputs: Any,
        additional_forward_args: Any = None,
        target: Any = None,
        perturbations_per_eval: int = 1,
        attack_kwargs: dict[str, Any] | None = None,
        correct_fn_kwargs: dict[str, Any] | None = None,
    ) -> tuple[Any, Any]:
        """The changed inputs, and v; or None twice, where no v changes the answer.

        Of a batch, the least v that changes the answer for any of its examples: `evaluate_each`
        searches for each of them.

        Args:
            inputs: whatever the preprocessing takes, or the attack and the model.
            additional_forward_args: see the glossary: what else the model takes, by position.
            target: see the glossary: the right answer.
            perturbations_per_eval: how many attempts go in one pass, of inputs that are tensors.
            attack_kwargs: what the attack takes, too.
            correct_fn_kwargs: what `correct_fn` takes, too.

        Raises:
            ValueError: no target, and no `correct_fn`.
        """
        asked = Asked(self.forward_func, additional_forward_args, perturbations_per_eval)
        right = self._right(target, correct_fn_kwargs)
        more = attack_kwargs or {}

        def first(places: Iterator[int]) -> tuple[Any, int] | None:
            """The first attempt that changes the answer."""
            attempts = (place for place in places for _ in range(self.num_attempts))
            ahead, behind = tee(attempts)
            changes = self._changed(inputs, ahead, more)
            versions = (
                (version, (changed, place))
                for (changed, version), place in zip(changes, behind, strict=True)
            )
            for output, (changed, place) in asked.outputs(versions):
                if not bool(torch.as_tensor(right(output)).all()):
                    return changed, place
            return None

        found = self._search(first)
        return (None, None) if found is None else (found[0], self._value(found[1]))

    def evaluate_each(
        self,
        inputs: Any,
        additional_forward_args: Any = None,
        target: Any = None,
        attack_kwargs: dict[str, Any] | None = None,
        correct_fn_kwargs: dict[str, Any] | None = None,
    ) -> tuple[Any, Tensor]:
        """Each example's changed inputs, and its v, (N,): NaN where none changes its answer.

        All examples of a batch are searched at once; those that are done are left out.

        Args:
            inputs: a tensor (N, *F), or a tuple or dict of them.
            additional_forward_args: see the glossary: what else the model takes, by position.
            target: see the glossary: the right answers.
            attack_kwargs: what the attack takes, too. Of tensors with N rows it gets those that
                belong to the examples that are tried.
            correct_fn_kwargs: what `correct_fn` takes, likewise; it says for each example whether
                its output is right, (n,).

        Raises:
            ValueError: no target, and no `correct_fn`.
        """
        right = self._right(target, correct_fn_kwargs, single=True)
        rows = len(next(tensors(inputs)))
        best = inputs if self.apply_before_preproc else self._ready(inputs)
        best = map_tensors(torch.clone, best)
        places = torch.full((rows,), -1)
        low, high = torch.zeros(rows, dtype=torch.long), torch.full((rows,), self._count - 1)
        going = torch.arange(rows)
        while len(going):
            middle = low[going] if self.mode == "linear" else (low + high + 1)[going] // 2
            for place in sorted(set(middle.tolist())):
                tried = going[middle == place]
                for _ in range(self.num_attempts):
                    changed, wrong_ones = self._tried(
                        inputs, tried, rows, place, additional_forward_args, attack_kwargs, right
                    )
                    done = tried[wrong_ones]
                    _put(best, done, changed, wrong_ones)
                    places[done], high[done] = place, place - 1
                    tried = tried[~wrong_ones]
                    if not len(tried):
                        break
                low[tried] = place + 1
            going = (low <= high).nonzero()[:, 0]
        values = torch.where(places < 0, torch.nan, self.arg_min + places * self.arg_step)
        return best, values

    def _tried(
        self,
        inputs: Any,
        tried: Tensor,
        rows: int,
        place: int,
        args: Any,
        more: dict[str, Any] | None,
        right: Callable[..., Any],
    ) -> tuple[Any, Tensor]:
        """What becomes of some examples, and which of them are answered wrongly."""

        def some(value: Any) -> Any:
            return map_tensors(
                lambda t: t[tried.to(t.device)] if t.ndim and len(t) == rows else t, value
            )

        ((changed, version),) = self._changed(some(inputs), iter([place]), some(more or {}))
        call = make_call(self.forward_func, version, None, some(args))
        with torch.no_grad():
            call = replace(call, targets=(Raw(),))
            output = Engine(self.forward_func).evaluate(call)
        found = torch.as_tensor(right(output, tried)).cpu()
        if found.shape != (len(tried),):
            raise wrong(
                ValueError,
                "a correct_fn that answers for each example, (n,)",
                describe(found),
                "correct_fn=lambda output, target: output.argmax(1) == target",
            )
        return changed, ~found.bool()

    def _changed(
        self, inputs: Any, places: Iterator[int], more: dict[str, Any]
    ) -> Iterator[tuple[Any, Any]]:
        """What becomes of inputs at each place, and what the model gets of it."""
        for place in places:
            given = {self.arg_name: self._value(place), **more}
            if self.apply_before_preproc:
                changed = self.attack(inputs, **given)
                yield changed, self._ready(changed)
            else:
                changed = self.attack(self._ready(inputs), **given)
                yield changed, changed

    def _ready(self, inputs: Any) -> Any:
        return inputs if self.preproc_fn is None else self.preproc_fn(inputs)

    def _search(self, first: Callable[[Iterator[int]], Any]) -> Any:
        count = self._count
        if self.mode == "linear":
            return first(iter(range(count)))
        best, low, high = None, 0, count - 1
        while low <= high:
            middle = (low + high + 1) // 2
            found = first(iter([middle]))
            if found is None:
                low = middle + 1
            else:
                best, high = found, middle - 1
        return best

    def _right(
        self, target: Any, kwargs: dict[str, Any] | None, single: bool = False
    ) -> Callable[..., Any]:
        """Whether outputs are right, of all examples or of some of them."""
        given = {"target": target} if kwargs is None and target is not None else kwargs or {}
        if self.correct_fn is not None:
            function = self.correct_fn
            if not single:
                return lambda output: function(output, **given)

            def of_some(output: Any, rows: Tensor) -> Any:
                def own(value: Tensor) -> Tensor:
                    return value[rows.to(value.device)] if value.ndim and len(value) > 1 else value

                return function(output, **map_tensors(own, given))

            return of_some
        if target is None:
            raise wrong(ValueError, "a target, or a correct_fn", "neither", "evaluate(x, target=3)")

        def largest(output: Any, rows: Tensor | None = None) -> Tensor:
            logits = as_tensor(output)
            labels = torch.as_tensor(target, device=logits.device).flatten()
            if rows is not None and len(labels) > 1:
                labels = labels[rows.to(labels.device)]
            if logits.ndim != 2 or len(labels) not in (1, len(logits)):
                raise wrong(
                    ValueError,
                    "an output (N, C) and a target for all, or one for each example",
                    f"{describe(logits)} and {describe(target)}",
                    "correct_fn=lambda output, target: ..., for other outputs",
                )
            return logits.argmax(1) == labels

        return largest

    @property
    def _count(self) -> int:
        return ceil((self.arg_max - self.arg_min) / self.arg_step - 1e-9)

    def _value(self, place: int) -> float:
        return self.arg_min + place * self.arg_step


def _put(whole: Any, rows: Tensor, some: Any, chosen: Tensor) -> None:
    """The chosen ones of some examples, into their rows of all."""
    for each, new in zip(tensors(whole), tensors(some), strict=True):
        each[rows.to(each.device)] = new[chosen.to(new.device)]
