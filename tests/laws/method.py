"""A row of the table of methods: how one is made and called, and which laws it keeps."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from captum import attr
from captum._engine.nest import map_tensors, scored, tensors
from laws import nets
from laws.compare import total
from laws.unchanged import unchanged

Make = Callable[[Any, Any], attr.Attribution]  # of a net and of what is asked about its neuron
_SIZES = ("internal_batch_size", "perturbations_per_eval", "nt_samples_batch_size")


@dataclass(frozen=True)
class Method:
    """A row: a method at a place, asked a question.

    lands: what the scores have the shape of: "inputs", "layer", "layer input", "layers", "map"
        where channels are summed, or "pairs" of features.
    sums: to f(x) - f(x0) on which nets: "any", "smooth", "linear" (those without bias, x0 being
        zero); to f(x), where what is added has a share of it: "unbiased"; or None.
    averages: its baselines are rows to average over, for every example.
    close: how exactly, on the nets where it sums.
    linear: the scores of a weighted sum of outputs are the weighted sum of their scores.
    draws: uses random numbers; noise: for each input its own, so in parts they are others.
    symmetric: interchangeable units score alike, whatever is drawn.
    mixes: takes other examples to explain one with.
    centred: what is added to the output changes nothing.
    rounds: how far rounding may take its scores, where it fits in float32.
    per_unit: what has no influence scores zero.
    kinks: keeps its promise on models with kinks too, so that it has nothing to warn of.
    rectified: changes ReLU alone, and warns of models without one: its nets have them.
    """

    name: str
    make: Make
    options: Mapping[str, Any] = field(default_factory=dict)
    lands: Literal["inputs", "layer", "layer input", "layers", "map", "pairs"] = "inputs"
    asks: Literal["target", "neuron_selector", "of", "nothing"] = "target"
    sums: Literal["any", "smooth", "linear", "unbiased"] | None = None
    averages: bool = False
    close: float = 1e-10
    linear: bool = True
    draws: bool = False
    noise: bool = False
    symmetric: bool = True
    mixes: bool = False
    centred: bool = True
    rounds: float = 0.0
    per_unit: bool = True
    kinks: bool = True
    rectified: bool = False

    @property
    def complete(self) -> bool:
        """Whether scores sum to f(x) - f(x0) on smooth nets, from any x0."""
        return self.sums in ("any", "smooth")

    @property
    def perturbs(self) -> bool:
        """Whether it asks for coalitions of features: absent in all examples, or in each."""
        made = self.on(nets.smooth())
        inner = getattr(made, "attribution_method", made)
        return isinstance(inner, attr.PerturbationAttribution)

    @property
    def act(self) -> Callable[[Tensor], Tensor]:
        return F.relu if self.rectified else F.softplus

    def net(self, make: Callable[..., nets.Net] = nets.Net) -> nets.Net:
        """A net that the method has nothing to warn of, smooth where it can be."""
        return make(act=self.act)

    def suits(self, net: nets.Net) -> bool:
        """Whether the method has nothing to warn of there."""
        has_relu = bool((net.act(torch.tensor([-1.0, 1.0])) == torch.tensor([0.0, 1.0])).all())
        return not self.rectified if not has_relu else self.kinks

    @property
    def question(self) -> Any:
        """Output 1, or neuron 1."""
        return None if self.asks == "nothing" else 1

    def on(self, model: Any, what: Any = None, places: Any = None) -> attr.Attribution:
        """The method on a model; `places` has the modules where the model only wraps them."""
        net = model if places is None else _Placed(model, places)
        return self.make(net, self.question if what is None else what)

    def scores(
        self, model: Any, x: Any, what: Any = None, *, places: Any = None, **more: Any
    ) -> Any:
        """What `attribute` returns, once it has left everything as it was."""
        made = self.on(model, what, places)
        given = self.given(x, **more)
        if self.asks in ("target", "neuron_selector"):
            given = {self.asks: self.question if what is None else what, **given}
        with unchanged(model, x, given, rng=not self.draws or given.get("generator") is not None):
            return made.attribute(x, **given)

    def given(self, x: Any, **more: Any) -> dict[str, Any]:
        """The options for these inputs."""
        options = {**self.options, **more}
        return {k: v.of(x) if isinstance(v, PerInputs) else v for k, v in options.items()}

    def total(self, scores: Any, x: Any) -> Tensor:
        """All scores of each example, added up, those of a group of entries once, (N,)."""
        items = scored(scores)
        options = self.given(x)
        groups = options.get("feature_mask", options.get("layer_mask"))
        if groups is None or self.lands == "pairs":
            return total(items)
        ids = [m.expand_as(s) for m, s in zip(tensors(groups), items, strict=True)]
        sizes = torch.cat([i.flatten() for i in ids]).bincount() / len(items[0])
        return total([s / sizes[i].to(s.dtype) for s, i in zip(items, ids, strict=True)])

    def accepts(self, model: Any) -> set[str]:
        """The parameters of `attribute`; a tunnel passes on those of the method inside."""
        made = self.on(model)
        names = set(inspect.signature(made.attribute).parameters)
        inner = getattr(made, "attribution_method", None)
        return (
            names if inner is None else names | set(inspect.signature(inner.attribute).parameters)
        )

    def sizes(self, model: Any) -> list[str]:
        """The parameters that split the work into passes."""
        return [name for name in _SIZES if name in self.accepts(model)]

    def value(self, net: Any, x: Any, what: Any = None) -> Tensor:
        """The number that is explained, straight from the net, (N,)."""
        what = self.question if what is None else what
        if self.asks == "target":
            out = net(x)
        else:
            found: list[Tensor] = []
            handle = net.neuron.register_forward_hook(lambda _m, _i, out: found.append(out.clone()))
            net(x)
            handle.remove()
            (out,) = found
        chosen: Tensor = what(out) if callable(what) else out[:, what]
        return chosen.detach()


class PerInputs(ABC):
    """An option that is made for the inputs at hand."""

    @abstractmethod
    def of(self, inputs: Any) -> Any:
        """The option."""


@dataclass(frozen=True)
class FromInputs(PerInputs):
    """An option that has a row for each row of the inputs."""

    make: Callable[[Tensor], Tensor]

    def of(self, inputs: Any) -> Any:
        given = tuple(inputs) if isinstance(inputs, list) else inputs
        return map_tensors(lambda x: self.make(x.detach()), given)


@dataclass(frozen=True)
class _Placed:
    """A model, and a net inside it whose modules are named."""

    model: Any
    places: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.places, name)


def rows(inputs: Any) -> Any:
    """Baselines to draw from, (2, *F) for every input, alike in all channels."""

    def two(x: Tensor) -> Tensor:
        levels = torch.tensor([-0.5, 1.0], dtype=x.dtype, device=x.device)
        return levels.view(2, *[1] * (x.ndim - 1)).expand(2, *x.shape[1:])

    # A list of baselines means several of them, so inputs in a list have theirs in a tuple.
    return map_tensors(two, tuple(inputs) if isinstance(inputs, list) else inputs)


def bent(alphas: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """A curved way from start to end, another one for every entry."""
    a = alphas.view(-1, *[1] * end.ndim)
    return start + (a + a * (1 - a) * torch.tanh(end)) * (end - start)


def by_hand(multipliers: Sequence[Tensor], xs: Sequence[Tensor], x0s: Sequence[Tensor]) -> Any:
    """Contributions, as a user's own function makes them."""
    return tuple(m * (x - x0) for m, x, x0 in zip(multipliers, xs, x0s, strict=True))


def model_of(net: Any) -> Any:
    return net.model if isinstance(net, _Placed) else net
