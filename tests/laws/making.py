"""How the method of a row is made: on inputs, at layers, of neurons, inside a tunnel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch

from captum import attr
from laws.method import Make, Method, PerInputs, model_of

PLACES: dict[str, tuple[Any, Any]] = {
    "at layer": ("layer", lambda net: net.layer),
    "at layers": ("layers", lambda net: net.layers),
    "at layer input": ("layer input", lambda net: attr.Layer(net.layer, side="input")),
}


class PerPlace(PerInputs, ABC):
    """An option that depends on what is scored: the inputs, or values of layers."""

    @abstractmethod
    def at(self, place: str) -> Any:
        """The option for scores that land on "layer", "layer input" or "layers"."""


def on_inputs(kind: type[attr.Attribution], **settings: Any) -> Make:
    return lambda net, what: kind(model_of(net), **settings)


def on_layer(kind: type[attr.Attribution], **settings: Any) -> Make:
    return lambda net, what: kind(model_of(net), net.layer, **settings)  # type: ignore[call-arg]


def on_layers(kind: type[attr.Attribution]) -> Make:
    return lambda net, what: kind(model_of(net), net.layers)  # type: ignore[call-arg]


def on_neuron(kind: type[attr.Attribution]) -> Make:
    return lambda net, what: kind(model_of(net), net.neuron)  # type: ignore[call-arg]


def options_at(base: Method, lands: str) -> dict[str, Any]:
    """The options of a row, where its scores land."""
    return {k: v.at(lands) if isinstance(v, PerPlace) else v for k, v in base.options.items()}


def placed(base: Method, place: str | None, neuron: bool) -> Method:
    """A row on inputs with `at=`, `of=` or both."""
    lands, at = PLACES[place] if place else (base.lands, lambda net: None)
    kind = type(base.make(torch.nn.Identity(), None))

    def make(net: Any, what: Any) -> attr.Attribution:
        of = attr.Neuron(net.neuron, what) if neuron else None
        return kind(model_of(net), at=at(net), of=of)  # type: ignore[call-arg]

    return replace(
        base,
        name=" ".join([base.name, *([place] if place else []), *(["of neuron"] if neuron else [])]),
        make=make,
        options=options_at(base, lands) if place else base.options,
        lands=base.lands if base.lands == "pairs" else lands,
        asks="of" if neuron else base.asks,
    )


def tunnel(base: Method, nt_type: str) -> Method:
    return replace(
        base,
        name=f"NoiseTunnel {nt_type} {base.name}",
        make=lambda net, what: attr.NoiseTunnel(base.make(net, what)),
        options={**base.options, "nt_type": nt_type, "nt_samples": 4, "stdevs": 0.2},
        sums=None,
        linear=base.linear and nt_type == "smoothgrad",
        draws=True,
        noise=True,
        symmetric=False,
    )
