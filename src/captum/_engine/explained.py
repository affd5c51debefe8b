"""WHAT is explained: the model's output at a target, or a neuron; one number per example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captum._engine.errors import wrong
from captum._engine.nest import Tensors
from captum._engine.site import Layer, Side, Visitor, tapped
from captum._engine.target import Target, as_tensor


@dataclass
class Watch:
    """Reads the explained number out of one forward pass."""

    read: Callable[[Any, Target], Tensor]
    visitor: Visitor | None = None
    value: Callable[[], Any] | None = None  # the neuron's layer value


@dataclass(frozen=True)
class Output:
    """The model's output, at the call's target."""

    @contextmanager
    def watched(self, calls: int | None) -> Iterator[Watch]:
        yield Watch(lambda output, target: target.select(output))


class Neuron:
    """One neuron of a layer, or a function of the layer's value.

    For `of=`: `Saliency(model, of=Neuron(model.conv, (3, 0, 0)))`. The selector is an int, a tuple
    of ints and slices behind the batch dimension (what a slice selects is summed), or a function
    of the layer's value that returns one number per example. Of a module that runs several times,
    `call` says which one is meant: the last by default.
    """

    def __init__(
        self, layer: nn.Module, selector: Any, side: Side = "output", call: int = -1
    ) -> None:
        if layer is None:
            raise wrong(TypeError, "a layer", "None", "Neuron(model.conv, (3, 0, 0))")
        self.layer = Layer(layer, side)
        self.call = call
        self.target = _selector(selector)

    @contextmanager
    def watched(self, calls: int | None) -> Iterator[Watch]:
        values: list[Any] = []

        def keep(_source: int, live: Tensors) -> Tensors:
            # What follows in the model may work in place: it gets the copy.
            values.append(live)
            return tuple(x.clone() for x in live)

        # Only a module known to run once can end the pass.
        visitor = Visitor(keep, stop_after=1 if calls == 1 else None)

        def read(_output: Any, _target: Target) -> Tensor:
            return self.select(self.value(values))

        with tapped(self.layer.modules[0], self.layer.side, 0, visitor):
            yield Watch(read, visitor, lambda: self.value(values))

    def value(self, values: list[Any]) -> Any:
        """The layer's value in the chosen call: a tensor, or a tuple of them."""
        if not -len(values) <= self.call < len(values):
            raise wrong(
                ValueError,
                f"a neuron's layer that runs at least {max(self.call + 1, -self.call)} times",
                f"{len(values)} runs of {type(self.layer.modules[0]).__name__}",
                "Neuron(layer, selector) of a layer that the forward pass uses",
            )
        chosen = values[self.call]
        return chosen[0] if len(chosen) == 1 else chosen

    def entries(self, value: Any) -> Tensor:
        """What the selector picks, before it is summed to one number per example."""
        if self.target.index is None:
            return self.target.select(value)
        self.select(value)  # refuses what is out of range
        behind = (slice(None), *self.target.index)
        return as_tensor(value)[behind]

    def select(self, value: Any) -> Tensor:
        return self.target.select(value)


Explained = Output | Neuron


def _selector(selector: Any) -> Target:
    if callable(selector):
        return Target(function=selector, word="neuron_selector")
    index = selector if isinstance(selector, tuple) else (selector,)
    if not all(isinstance(i, slice) or hasattr(i, "__index__") for i in index):
        raise wrong(
            TypeError,
            "a neuron_selector: an int, a tuple of ints and slices, or a function of the layer",
            repr(selector),
            "neuron_selector=(3, 0, 0)",
        )
    read = tuple(i if isinstance(i, slice) else i.__index__() for i in index)
    return Target(index=read, word="neuron_selector")
