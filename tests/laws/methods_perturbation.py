"""The rows of the methods that change the inputs and watch the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from captum import attr
from captum._engine.nest import map_tensors, tensors
from captum.linear import LinearRegression, Ridge
from laws.making import PLACES, PerPlace, on_inputs, on_layer, on_layers, on_neuron, placed
from laws.method import FromInputs, Method, PerInputs, model_of

# ------------------------------------------------------------------- options of features


@dataclass(frozen=True)
class Groups(PerPlace):
    """A mask of channel x columns; the columns in two halves, or each of its own.

    Group g is in channel g % C, so that 0 and 1 are in the channels that laws are about.
    `turned`: in every second example the columns come in the other order.
    """

    halves: bool = True
    turned: bool = False

    def of(self, inputs: Any) -> Any:
        given = tuple(inputs) if isinstance(inputs, list) else inputs
        channels = [x.shape[1] for x in tensors(given)]
        starts = iter(accumulate(channels, initial=0))

        def mask(x: Tensor) -> Tensor:
            columns = torch.arange(x.shape[-1], device=x.device) // (2 if self.halves else 1)
            each = torch.arange(x.shape[1], device=x.device).view(1, -1, 1, 1)
            ids = next(starts) + each + sum(channels) * columns
            if not self.turned:
                return ids
            odd = torch.arange(len(x), device=x.device).view(-1, 1, 1, 1) % 2 > 0
            return torch.where(odd, ids.flip(-1), ids)

        return map_tensors(mask, given)

    def at(self, place: str) -> Any:
        ids = torch.arange(6).view(2, 1, 3, 1, 1)
        return tuple(ids) if place == "layers" else ids[0]


@dataclass(frozen=True)
class Hierarchy(PerPlace):
    """The groups of a channel together; at a layer without groups, the first two channels."""

    def of(self, inputs: Any) -> Any:
        return [[0, 2], [1, 3]]

    def at(self, place: str) -> Any:
        return [[0, 1, 2], [3, 4, 5]] if place == "layers" else [[0, 1], 2]


@dataclass(frozen=True)
class Window(PerPlace):
    """The same window for every value; a smaller one where a layer is smaller."""

    sizes: tuple[int, ...]
    small: tuple[int, ...] = (1, 2, 1)

    def of(self, inputs: Any) -> Any:
        several = isinstance(inputs, tuple | list | Mapping)
        return (self.sizes,) * len(list(tensors(inputs))) if several else self.sizes

    def at(self, place: str) -> Any:
        return (self.sizes, self.sizes) if place == "layers" else self.small


MASK: dict[str, PerInputs] = {"feature_mask": Groups()}
LAYER_MASK = {"layer_mask": Groups().at("layer")}

# ------------------------------------------------------------------------- what they do


def near(original: Any, perturbed: Any, sample: Tensor, **kwargs: Any) -> float:
    """A similarity of the user's own."""
    return 0.5 + float(sample.double().mean())


def drawn(original: Any, **kwargs: Any) -> Tensor:
    """A perturbation of the user's own."""
    return torch.bernoulli(torch.full((1, kwargs["num_interp_features"]), 0.7))


_ABLATION = Method("FeatureAblation", on_inputs(attr.FeatureAblation), sums="linear")
_PERMUTATION = Method(
    "FeaturePermutation",
    on_inputs(attr.FeaturePermutation),
    draws=True,
    symmetric=False,
    mixes=True,
)
_OCCLUSION = Method(
    "Occlusion", on_inputs(attr.Occlusion), {"sliding_window_shapes": Window((1, 2, 3))}
)
_SHAPLEY = Method("ShapleyValues", on_inputs(attr.ShapleyValues), MASK, sums="any")
_SAMPLED = Method(
    "ShapleyValueSampling",
    on_inputs(attr.ShapleyValueSampling),
    {"n_samples": 3},
    sums="any",
    draws=True,
    symmetric=False,
)
_OWEN = Method(
    "OwenValues", on_inputs(attr.OwenValues), {**MASK, "hierarchy": Hierarchy()}, sums="any"
)
_PAIRS = Method(
    "ShapleyInteractions",
    on_inputs(attr.ShapleyInteractions),
    MASK,
    lands="pairs",
    sums="any",
    symmetric=False,  # rows and columns change places together: see tests/attr/test_shapley
)
_KERNEL = Method("KernelShap", on_inputs(attr.KernelShap), {**MASK, "n_samples": 64}, sums="any")
_KERNEL_SAMPLED = replace(
    _KERNEL,
    name="KernelShap sampled",
    options={"n_samples": 40},
    draws=True,
    symmetric=False,
    per_unit=False,
)
_LIME = Method(
    "Lime",
    on_inputs(attr.Lime),
    {"n_samples": 40},
    linear=False,
    draws=True,
    symmetric=False,
    per_unit=False,
)
_RISE = Method(
    "RISE",
    on_inputs(attr.RISE),
    {"n_samples": 9, "grid": 2},
    draws=True,
    noise=True,
    per_unit=False,
    centred=False,
)

_ON_INPUTS = [
    _ABLATION,
    replace(_ABLATION, name="FeatureAblation baseline", options={"baselines": 0.3}),
    replace(_ABLATION, name="FeatureAblation background", options={"baselines": [0.3, -0.2]}),
    replace(
        _ABLATION,
        name="FeatureAblation masks",
        options={"feature_mask": Groups(turned=True)},
        sums=None,  # entries of a group have its score each
    ),
    _PERMUTATION,
    replace(_PERMUTATION, name="FeaturePermutation groups", options=MASK),
    _OCCLUSION,
    replace(
        _OCCLUSION,
        name="Occlusion strides",
        options={
            "sliding_window_shapes": Window((1, 3, 2)),
            "strides": Window((1, 1, 1)),
            "baselines": 0.3,
        },
    ),
    _SHAPLEY,
    replace(
        _SHAPLEY,
        name="ShapleyValues background",
        options={**MASK, "baselines": [0.3, -0.2]},
    ),
    replace(
        _SHAPLEY,
        name="ShapleyValues masks",
        options={"feature_mask": Groups(turned=True), "baselines": FromInputs(lambda x: x / 4)},
    ),
    _SAMPLED,
    replace(
        _SAMPLED,
        name="ShapleyValueSampling exact",
        options={**MASK, "n_samples": 20},
        draws=False,
        symmetric=True,
    ),
    _OWEN,
    replace(
        _OWEN,
        name="OwenValues sampled",
        options={**_OWEN.options, "n_samples": 3},
        draws=True,
        symmetric=False,
    ),
    _PAIRS,
    replace(
        _PAIRS,
        name="ShapleyInteractions sampled",
        options={"feature_mask": Groups(halves=False), "n_samples": 2},
        draws=True,
    ),
    _KERNEL,
    replace(
        _KERNEL,
        name="KernelShap background",
        options={**_KERNEL.options, "baselines": [0.3, -0.2]},
    ),
    _KERNEL_SAMPLED,
    _LIME,
    replace(
        _LIME,
        name="Lime least squares",
        make=lambda net, what: attr.Lime(model_of(net), LinearRegression()),
        options={**MASK, "n_samples": 40},
        rounds=1e-4,
    ),
    replace(
        _LIME,
        name="Lime own functions",
        make=lambda net, what: attr.Lime(model_of(net), Ridge(), near, drawn),
        options={**MASK, "n_samples": 12},
        rounds=1e-4,
    ),
    _RISE,
]
_BASES = [
    *(_ABLATION, _PERMUTATION, _OCCLUSION, _SHAPLEY, _SAMPLED, _OWEN, _PAIRS),
    *(_KERNEL, _LIME, _RISE),
]
_LAYERS = [
    Method("LayerFeatureAblation", on_layer(attr.LayerFeatureAblation), sums="linear"),
    replace(
        _PERMUTATION, name="LayerFeaturePermutation", make=on_layer(attr.LayerFeaturePermutation)
    ),
]
_SEVERAL = {
    "LayerFeatureAblation": attr.LayerFeatureAblation,
    "LayerFeaturePermutation": attr.LayerFeaturePermutation,
}
PERTURBING = [
    *_ON_INPUTS,
    *(placed(base, place, neuron=False) for base in _BASES for place in PLACES),
    *(placed(base, None, neuron=True) for base in _BASES),
    *(placed(base, "at layer", neuron=True) for base in _BASES),
    *(replace(m, lands="layer") for m in _LAYERS),
    *(
        replace(
            m,
            name=f"{m.name} input",
            lands="layer input",
            options={"attribute_to_layer_input": True},
        )
        for m in _LAYERS
    ),
    *(
        replace(m, name=f"{m.name} of several", lands="layers", make=on_layers(_SEVERAL[m.name]))
        for m in _LAYERS
    ),
    replace(
        _LAYERS[0],
        name="LayerFeatureAblation groups",
        lands="layer",
        options={**LAYER_MASK, "layer_baselines": 0.2},
        sums=None,
    ),
    Method(
        "NeuronFeatureAblation",
        on_neuron(attr.NeuronFeatureAblation),
        asks="neuron_selector",
        sums="linear",
    ),
]
