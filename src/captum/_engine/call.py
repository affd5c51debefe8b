"""One call of the model: the inputs that receive scores, what rides along, and the target.

The user's inputs are read once, at the door; inside they are a tuple of tensors, and results
leave in the user's own shape.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum._engine.errors import describe, wrong
from captum._engine.model import inside
from captum._engine.nest import Tensors, map_tensors
from captum._engine.target import Target, Targets, make_targets


@dataclass(frozen=True)
class Form:
    """How the inputs enter the model and how results leave: alone, by position or by key."""

    kind: str  # "tensor", "tuple", "dict" (one argument) or "keywords"
    names: tuple[Any, ...]  # all places, also those that hold None
    filled: tuple[int, ...]  # the places that hold tensors

    def arrange(self, items: Sequence[Any]) -> Any:
        """Items, one per tensor, in the user's shape: a tensor, a tuple or a dict."""
        if self.kind == "tensor":
            return items[0]
        places: list[Any] = [None] * len(self.names)
        for place, item in zip(self.filled, items, strict=True):
            places[place] = item
        if self.kind == "tuple":
            return tuple(places)
        return dict(zip(self.names, places, strict=True))

    def title(self, i: int) -> str:
        """The user's name of the i-th tensor, for messages."""
        return "inputs" if self.kind == "tensor" else f"inputs[{self.names[self.filled[i]]!r}]"


_KEYED = ("dict", "keywords")
_ALONE = Form("tensor", (0,), (0,))


@dataclass(frozen=True)
class Call:
    """`inputs` get scores, `args` and `kwargs` ride along, `targets` select; N rows each."""

    inputs: Tensors
    form: Form
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    targets: tuple[Target, ...]
    several: bool = False  # the user asked for several targets: a list of results goes back

    @property
    def rows(self) -> int:
        return self.inputs[0].shape[0]

    @property
    def aligned(self) -> bool:
        """Whether every input has one row per example, so that rows can be split and repeated."""
        return all(x.shape[0] == self.rows for x in self.inputs)

    def bind(self, inputs: Tensors) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The positional and keyword arguments of the model."""
        arranged = self.form.arrange(inputs)
        if self.form.kind == "keywords":
            return self.args, {**arranged, **self.kwargs}
        if self.form.kind == "tuple":
            return (*arranged, *self.args), self.kwargs
        return (arranged, *self.args), self.kwargs

    def moved(self, inputs: Tensors | None) -> Call:
        return self if inputs is None else replace(self, inputs=inputs)

    def tile(self, copies: int, inputs: Tensors | None = None) -> Call:
        """`copies` times the rows, copy after copy, or those rows' own inputs."""
        if copies == 1:
            return self.moved(inputs)
        rows = self.rows

        def tiled(x: Tensor) -> Tensor:
            if not x.ndim or x.shape[0] != rows:
                return x
            return x.expand(copies, *x.shape).flatten(0, 1)

        return self._mapped(tiled, lambda target: target.tile(copies), inputs)

    def narrow(self, start: int, length: int, inputs: Tensors | None = None) -> Call:
        """The call of `length` examples from `start` on; views only."""
        rows = self.rows
        if length == rows:
            return self.moved(inputs)

        def narrowed(x: Tensor) -> Tensor:
            return x.narrow(0, start, length) if x.ndim and x.shape[0] == rows else x

        return self._mapped(narrowed, lambda target: target.narrow(start, length), inputs)

    def chosen(self, rows: Tensor) -> Call:
        """The call of some examples, by their numbers (n,)."""
        every = self.rows

        def taken(x: Tensor) -> Tensor:
            return x[rows.to(x.device)] if x.ndim and x.shape[0] == every else x

        return self._mapped(taken, lambda target: target.chosen(rows), None)

    def spread(self, times: int) -> Call:
        """Each row so many times, side by side."""
        return self.chosen(torch.arange(self.rows).repeat_interleave(times))

    def _mapped(
        self,
        tensor: Callable[[Tensor], Tensor],
        target: Callable[[Target], Target],
        inputs: Tensors | None,
    ) -> Call:
        return Call(
            tuple(map(tensor, self.inputs)) if inputs is None else inputs,
            self.form,
            map_tensors(tensor, self.args) if self.args else self.args,
            map_tensors(tensor, self.kwargs) if self.kwargs else self.kwargs,
            tuple(map(target, self.targets)),
            self.several,
        )


def make_call(
    model: Callable[..., Any],
    inputs: Any,
    target: Any = None,
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Call:
    """Read and check what the user gave."""
    form, given = _read_inputs(model, inputs)
    for i, x in enumerate(given):
        _check_input(x, form.title(i))
    extra = () if args is None else args if isinstance(args, tuple) else (args,)
    given = tuple(map(_usable, given))
    targets = make_targets(target, given[0].shape[0])
    return Call(given, form, extra, kwargs or {}, targets, isinstance(target, Targets))


def _read_inputs(model: Callable[..., Any], inputs: Any) -> tuple[Form, Tensors]:
    if isinstance(inputs, Tensor):
        return _ALONE, (inputs,)
    if isinstance(inputs, Mapping):
        names, values = tuple(inputs), tuple(inputs.values())
        kind = "keywords" if _takes_keywords(model, names) else "dict"
    elif isinstance(inputs, tuple | list):
        names, values, kind = tuple(range(len(inputs))), tuple(inputs), "tuple"
    else:
        raise _not_inputs(inputs)
    filled = tuple(i for i, x in enumerate(values) if x is not None)
    if not filled or not all(isinstance(values[i], Tensor) for i in filled):
        raise _not_inputs(inputs)
    return Form(kind, names, filled), tuple(values[i] for i in filled)


def _takes_keywords(model: Callable[..., Any], names: tuple[Any, ...]) -> bool:
    """A dict goes in by keyword, unless the model takes the dict itself as its one argument."""
    model = inside(model)
    function = model.forward if isinstance(model, nn.Module) else model
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True
    any_keyword = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return any_keyword or all(name in parameters for name in names)


def _usable(x: Tensor) -> Tensor:
    """A tensor made under inference_mode cannot take part in autograd: work on a copy."""
    return x.clone() if x.is_inference() else x


def _check_input(x: Tensor, title: str) -> None:
    if x.ndim == 0 or x.shape[0] == 0:
        raise wrong(
            ValueError,
            f"{title} with at least one example in its first dimension",
            describe(x),
            "a tensor of shape (N, *F), for one example x[None]",
        )
    if x.is_complex():
        raise wrong(
            TypeError,
            f"real {title}: a score has no phase",
            describe(x),
            "torch.view_as_real(inputs), and a model that puts the parts together",
        )
    # A sum is one cheap pass; only a NaN in it (also from inf - inf) asks for the exact answer.
    if x.is_floating_point() and isnan(x.sum().item()) and bool(x.isnan().any()):
        where = tuple(x.isnan().nonzero()[0].tolist())
        raise wrong(
            ValueError,
            f"{title} without NaN, which would make every score NaN",
            f"NaN at index {where}",
            "attribute(inputs.nan_to_num(0.0))",
        )


def _not_inputs(inputs: object) -> TypeError:
    return wrong(
        TypeError,
        "inputs: a tensor, or a tuple or dict of tensors and None",
        describe(inputs),
        "attribute(torch.as_tensor(x))",
    )


def matched(call: Call, given: Any, what: str) -> Tensors | None:
    """A companion of the inputs (baselines, masks) as a tuple of tensors, one per input.

    Numbers stand for every entry of their input. None where nothing was given.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        missing = [n for n in call.form.names if n not in given]
        if missing or call.form.kind not in _KEYED:
            raise _not_matched(call, what, given)
        items = [given[call.form.names[i]] for i in call.form.filled]
    elif isinstance(given, tuple):
        if len(given) == len(call.form.names):
            items = [given[i] for i in call.form.filled]
        elif len(given) == len(call.inputs):
            items = list(given)
        else:
            raise _not_matched(call, what, given)
    elif len(call.inputs) == 1:
        items = [given]
    else:
        raise _not_matched(call, what, given)
    return tuple(
        _like(x, item, call, i, what)
        for i, (x, item) in enumerate(zip(call.inputs, items, strict=True))
    )


def _like(x: Tensor, item: Any, call: Call, i: int, what: str) -> Tensor:
    if item is None:
        item = 0
    integers = not (x.dtype.is_floating_point or x.dtype.is_complex)
    title = f"{what} of an integer type for {call.form.title(i)}, which is {describe(x)}"
    if isinstance(item, Tensor):
        if item.dtype.is_floating_point and integers:
            raise wrong(TypeError, title, describe(item), f"{what}.long()")
        return item.to(x.device) if item.dtype == x.dtype else item.to(x.device, x.dtype)
    try:
        made = torch.as_tensor(item, dtype=x.dtype, device=x.device)
    except (TypeError, ValueError, RuntimeError):
        raise _not_matched(call, what, item) from None
    if integers and not np.array_equal(made.cpu().numpy(), np.asarray(item)):
        raise wrong(TypeError, title, describe(item), f"{what}=0")
    return made


def baselines(call: Call, given: Any) -> Tensors:
    """One baseline per input, broadcast against it: shape (N, *F), (1, *F), (*F) or a number."""
    items = matched(call, given, "baselines")
    if items is None:
        return tuple(torch.zeros_like(x[:1]).expand_as(x) for x in call.inputs)
    for i, (x, item) in enumerate(zip(call.inputs, items, strict=True)):
        broadcastable = item.ndim <= x.ndim and all(
            ours in (theirs, 1)
            for ours, theirs in zip(item.shape[::-1], x.shape[::-1], strict=False)
        )
        if not broadcastable:
            raise wrong(
                ValueError,
                f"baselines for {call.form.title(i)} that fit its shape {tuple(x.shape)}",
                describe(item),
                f"a number, or a tensor of shape {tuple(x.shape)} or {(1, *x.shape[1:])}",
            )
    return tuple(b.expand_as(x) for b, x in zip(items, call.inputs, strict=True))


def _not_matched(call: Call, what: str, got: object) -> ValueError:
    shape = "a dict with the keys of the inputs" if call.form.kind in _KEYED else "a tuple"
    return wrong(
        ValueError,
        f"{what} as the inputs come: {len(call.inputs)} of them",
        describe(got),
        f"{what}={shape if len(call.inputs) > 1 else 'a number or a tensor like the input'}",
    )
