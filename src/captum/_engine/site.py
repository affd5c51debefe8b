"""WHERE scores land: the model's inputs, or the values of layers; read, replaced or observed.

A site hands every value that appears at it to a `Visitor`, which may put another in its place.
Values appear in the order of the forward pass; a module that runs twice appears twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum._engine.call import Call
from captum._engine.errors import describe, wrong
from captum._engine.lookups import Lookups, place
from captum._engine.nest import Tensors, is_real, map_tensors, replaced, scored, scores, tensors

Side = Literal["output", "input"]
Edit = Callable[[int, Tensors], Tensors]  # source, its values -> what goes on in the model

_SCORED, _OTHER = torch.empty(0), torch.empty(0, dtype=torch.bool)


# The pass that runs now. Hooks stand on the user's modules, where other threads and attributions
# inside attributions pass by: each hook answers to its own pass only.
current_pass: ContextVar[object] = ContextVar("current_pass", default=None)


class Stop(BaseException):
    """Leaves a forward pass when nothing after this point is needed."""


@dataclass
class Visitor:
    """Sees the values at a site during one pass and decides what goes on."""

    edit: Edit
    seen: list[tuple[int, Any]] = field(default_factory=list)  # source, the value's form
    stop_after: int | None = None
    every: bool = False  # also values that cannot hold scores, such as ids

    def visit(self, source: int, value: Any, note: Any = None) -> Any:
        if self.every:
            rest = iter(self.edit(source, tuple(tensors(value))))
            new = map_tensors(lambda _: next(rest), value)
            form = map_tensors(lambda _: _SCORED, value)
        else:
            new = replaced(value, self.edit(source, scored(value)))
            form = map_tensors(lambda t: _SCORED if is_real(t) else _OTHER, value)
        self.seen.append((source, form if note is None else note))
        if len(self.seen) == self.stop_after:
            raise Stop
        return new


@dataclass(frozen=True)
class Inputs:
    """The model's inputs; for integer inputs, their embedding lookups."""

    @contextmanager
    def opened(self, call: Call, visitor: Visitor) -> Iterator[Call]:
        # Ids are followed by identity: each gets an object of its own, also if one came twice.
        given = tuple(x if is_real(x) else x.view_as(x) for x in call.inputs)
        whole = {i: x for i, x in enumerate(given) if not is_real(x)}
        live = given if len(whole) == len(given) else visitor.visit(0, given)
        call = call.moved(live)
        if not whole:
            yield call
            return
        with Lookups(whole, lambda i, columns, rows: visitor.visit(i, rows, Looked(columns))):
            yield call

    def result(self, call: Call, seen: Sequence[tuple[int, Any]], items: Tensors, lead: int) -> Any:
        rest = iter(items)
        found: list[Tensor | None] = [next(rest) if is_real(x) else None for x in call.inputs]
        for source, note in seen:
            if isinstance(note, Looked):
                ids = call.inputs[source]
                score = place(next(rest), note.columns, ids, lead)
                earlier = found[source]
                found[source] = score if earlier is None else earlier + score
        kind = items[0].dtype
        scores = [
            torch.zeros(x.shape, dtype=kind, device=x.device) if score is None else score
            for x, score in zip(call.inputs, found, strict=True)
        ]
        return call.form.arrange(scores)

    def unused(
        self, call: Call, seen: Sequence[tuple[int, Any]], unused: Collection[int]
    ) -> list[str]:
        """The inputs without influence: no gradient arrives, or no lookup uses the ids."""
        owners = [i for i, x in enumerate(call.inputs) if is_real(x)]
        owners += [source for source, note in seen if isinstance(note, Looked)]
        used = {owner for i, owner in enumerate(owners) if i not in unused}
        return [call.form.title(i) for i in range(len(call.inputs)) if i not in used]


@dataclass(frozen=True)
class Looked:
    """The places, within one example, of the ids of one lookup."""

    columns: Tensor


class Layer:
    """The values of a module, or of several, on their output or input side.

    For `at=`: `IntegratedGradients(model, at=Layer(model.conv, side="input"))`; a bare module
    means its output.
    """

    def __init__(
        self,
        layer: nn.Module | list[nn.Module] | tuple[nn.Module, ...],
        side: Side = "output",
        *,
        optional: bool = False,
    ) -> None:
        self.several, self.optional = False, optional  # whether modules may do without a value
        if isinstance(layer, list | tuple | nn.ModuleList):
            self.several = True
            self.modules = tuple(map(_eager, layer))
        else:
            self.modules = (_eager(layer),)
        if side not in ("output", "input"):
            raise wrong(ValueError, "side 'output' or 'input'", repr(side), "Layer(m, 'input')")
        self.side = side

    @contextmanager
    def opened(self, call: Call, visitor: Visitor) -> Iterator[Call]:
        with ExitStack() as stack:
            for i, module in enumerate(self.modules):
                stack.enter_context(tapped(module, self.side, i, visitor))
            yield call

    def result(self, call: Call, seen: Sequence[tuple[int, Any]], items: Tensors, lead: int) -> Any:
        """Per module its value's scores; a list where there are several modules or calls."""
        rest = iter(items)
        per_module: list[list[Any]] = [[] for _ in self.modules]
        for source, form in seen:
            per_module[source].append(scores(form, rest))
        results = [each[0] if len(each) == 1 else each for each in per_module if each]
        return results if self.several else results[0]

    def unused(
        self, call: Call, seen: Sequence[tuple[int, Any]], unused: Collection[int]
    ) -> list[str]:
        """The layers without influence. Of one that runs or returns several times, a part may."""
        owners = [source for source, form in seen for _ in scored(form)]
        used = {owner for i, owner in enumerate(owners) if i not in unused}
        idle = [m for i, m in enumerate(self.modules) if i not in used and not self.optional]
        return [f"the {self.side} of layer {_short(m)}" for m in idle]

    def missing(self, seen: Sequence[tuple[int, Any]]) -> str | None:
        """The module that did not run, or has nothing to score."""
        for i, module in enumerate(() if self.optional and any(seen) else self.modules):
            values = [form for source, form in seen if source == i]
            if not values:
                return f"layer {_short(module)} did not run in the model's forward pass"
            if not any(scored(form) for form in values):
                return f"the {self.side} of layer {_short(module)} has no floating-point tensor"
        return None


Site = Inputs | Layer


@contextmanager
def tapped(module: nn.Module, side: Side, source: int, visitor: Visitor) -> Iterator[None]:
    """Show a module's values in this pass to the visitor."""
    mine = current_pass.get()

    def after(_module: nn.Module, _args: Any, output: Any) -> Any:
        return visitor.visit(source, output) if current_pass.get() is mine else None

    def before(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        # Another thread may meet the hook before it is known to take keywords.
        if current_pass.get() is not mine or kwargs is None:
            return None
        if scored(args) or (visitor.every and args):
            return visitor.visit(source, args), kwargs
        return args, visitor.visit(source, kwargs)

    if side == "output":
        handle = module.register_forward_hook(after)
    else:
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def make_site(at: Any) -> Site:
    """What the user gave as `at=`: nothing, a module, a list of modules, or a site."""
    if at is None:
        return Inputs()
    if isinstance(at, Inputs | Layer):
        return at
    return Layer(at)


def _eager(module: Any) -> nn.Module:
    """The module whose hooks run: what torch.compile wrapped, and nothing that is scripted."""
    module = getattr(module, "_orig_mod", module)
    if not isinstance(module, nn.Module):
        raise wrong(
            TypeError,
            "a layer: a torch.nn.Module of the model, or a list of them",
            describe(module),
            "layer=model.layer4",
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise wrong(
            TypeError,
            "a layer of an eager model, whose values can be seen",
            f"{_short(module)}, a TorchScript module",
            "the original model, before torch.jit.script or torch.jit.trace",
        )
    return module


def _short(module: nn.Module) -> str:
    text = repr(module)
    return type(module).__name__ if "\n" in text or len(text) > 80 else text
