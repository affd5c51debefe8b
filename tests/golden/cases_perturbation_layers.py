"""Ablation and permutation at a layer, and of what a neuron sees."""

from __future__ import annotations

import torch
from torch import Tensor

from .cases import Attr, Case
from .models import (
    Image,
    Pairs,
    Rows,
    Sequence,
    Tabular,
    Two,
    filled,
    image,
    sequence,
    tabular,
    two,
    wave,
)

CASES: dict[str, Case] = {}
x, both = tabular(), two()
layer_mask = torch.tensor([[0, 1, 0, 2, 1]])
halves = (torch.tensor([[0, 1, 0]]), torch.tensor([[1, 2]]))
model_of_batch = filled(Tabular())


def layer(attr: Attr, name: str, **options: object) -> object:
    """A layer of the model with a skip connection."""
    model = filled(Tabular())
    ablation = attr.LayerFeatureAblation(model, getattr(model, name))
    return ablation.attribute(x, target=options.pop("target", 1), **options)


def maps(attr: Attr, name: str, **options: object) -> object:
    model = filled(Image())
    ablation = attr.LayerFeatureAblation(model, getattr(model, name))
    return ablation.attribute(image(), target=2, **options)


def pairs(attr: Attr, **options: object) -> object:
    """A layer whose value is a tuple, or which takes two tensors."""
    model = filled(Pairs())
    return attr.LayerFeatureAblation(model, model.split).attribute(x, target=0, **options)


def exchanged(attr: Attr, name: str, **options: object) -> object:
    """Two examples, which can only change places; one number for each of them."""
    model = filled(Tabular())

    def number(v: Tensor) -> Tensor:
        return model(v).prod(1)

    permutation = attr.LayerFeaturePermutation(number, getattr(model, name))
    return permutation.attribute(x[:2], **options)


def neuron(attr: Attr, name: str, selector: object, **options: object) -> object:
    model = filled(Tabular())
    ablation = attr.NeuronFeatureAblation(model, getattr(model, name))
    return ablation.attribute(x, selector, **options)


def pixel(attr: Attr, selector: object, **options: object) -> object:
    model = filled(Image())
    ablation = attr.NeuronFeatureAblation(model, model.conv2)
    return ablation.attribute(image(), selector, **options)


def square(value: Tensor) -> Tensor:
    """A neuron selector of one's own: a quadratic form of the layer."""
    return (value**2).flatten(1).sum(1)


# --------------------------------------------------------------------------- a layer

for name, options in {
    "plain": {},
    "baseline": {"layer_baselines": 0.3},
    "row": {"layer_baselines": wave(1, 5)},
    "tensor": {"layer_baselines": wave(3, 5)},
    "without the batch": {"layer_baselines": wave(5)},
    "mask": {"layer_mask": layer_mask, "layer_baselines": 0.3, "perturbations_per_eval": 2},
    "mask per example": {"layer_mask": torch.arange(15).view(3, 5) % 4},
    "targets": {"target": [0, 2, 1], "layer_mask": layer_mask},
    "tuple of one": {"layer_mask": (layer_mask,), "layer_baselines": (wave(1, 5),)},
    "all per pass": {"perturbations_per_eval": 50},
}.items():
    for place in ("act", "second"):
        CASES[f"LayerFeatureAblation/{place}, {name}"] = lambda attr, p=place, o=options: layer(
            attr, p, **o
        )
for place in ("first", "second", "last"):
    CASES[f"LayerFeatureAblation/input of {place}"] = lambda attr, p=place: layer(
        attr, p, attribute_to_layer_input=True, layer_baselines=0.2, perturbations_per_eval=3
    )
for place, channels, size in (("conv1", 2, 6), ("conv2", 3, 4), ("pool", 3, 2)):
    mask = torch.arange(channels).view(1, channels, 1, 1).expand(1, channels, size, size)
    CASES[f"LayerFeatureAblation/channels of {place}"] = lambda attr, p=place, m=mask: maps(
        attr, p, layer_mask=m, perturbations_per_eval=2
    )
CASES |= {
    "LayerFeatureAblation/pixels": lambda attr: maps(attr, "pool", layer_baselines=0.1),
    "LayerFeatureAblation/tuple": pairs,
    "LayerFeatureAblation/tuple, masks": lambda attr: pairs(
        attr, layer_mask=halves, layer_baselines=(0.2, wave(3, 2)), perturbations_per_eval=2
    ),
    "LayerFeatureAblation/two tensors in": lambda attr: pairs(
        attr,
        attribute_to_layer_input=True,
        layer_mask=(torch.tensor([[0, 1, 0, 1]]), torch.tensor([[1]])),
        layer_baselines=(wave(1, 4), 0.4),
    ),
    "LayerFeatureAblation/two inputs": lambda attr: attr.LayerFeatureAblation(
        model := filled(Two()), model.join
    ).attribute(
        both,
        target=1,
        additional_forward_args=0.7,
        attribute_to_layer_input=True,
        perturbations_per_eval=4,
    ),
    "LayerFeatureAblation/extra arguments": lambda attr: attr.LayerFeatureAblation(
        model := filled(Rows()), model.first
    ).attribute(
        x, target=2, additional_forward_args=(wave(3, 5), 3), layer_baselines=wave(3, 5, start=1.0)
    ),
    "LayerFeatureAblation/number for the batch": lambda attr: attr.LayerFeatureAblation(
        lambda v: (model_of_batch(v) ** 2).sum(), model_of_batch.act
    ).attribute(x, layer_mask=layer_mask, layer_baselines=0.1),
    "LayerFeatureAblation/several numbers for the batch": lambda attr: attr.LayerFeatureAblation(
        lambda v: (model_of_batch(v) ** 2).sum(0)[:2], model_of_batch.act
    ).attribute(x),
}

# ---------------------------------------------------------------- exchanged at a layer

for name, options in {
    "plain": {},
    "mask": {"layer_mask": layer_mask, "perturbations_per_eval": 2},
    "all per pass": {"perturbations_per_eval": 50},
}.items():
    for place in ("act", "second"):
        CASES[f"LayerFeaturePermutation/{place}, {name}"] = lambda attr, p=place, o=options: (
            exchanged(attr, p, **o)
        )

# --------------------------------------------------------------------------- a neuron

for place in ("first", "second"):
    for name, selector in {
        "int": 2,
        "negative": -1,
        "tuple": (3,),
        "slice": (slice(1, 4),),
        "function": square,
    }.items():
        CASES[f"NeuronFeatureAblation/{place}, {name}"] = lambda attr, p=place, s=selector: neuron(
            attr, p, s, baselines=0.3, perturbations_per_eval=3
        )
CASES |= {
    "NeuronFeatureAblation/input side": lambda attr: neuron(
        attr, "second", 1, attribute_to_neuron_input=True, baselines=wave(3, 4)
    ),
    "NeuronFeatureAblation/mask": lambda attr: neuron(
        attr, "act", 4, feature_mask=torch.tensor([[0, 1, 0, 2]]), baselines=wave(1, 4)
    ),
    "NeuronFeatureAblation/mask per example": lambda attr: neuron(
        attr,
        "act",
        0,
        feature_mask=torch.tensor([[0, 1, 0, 2], [2, 1, 1, 0], [0, 0, 1, 2]]),
        perturbations_per_eval=2,
    ),
    "NeuronFeatureAblation/number for the batch": lambda attr: neuron(
        attr, "act", lambda v: (v**2).sum()
    ),
    "NeuronFeatureAblation/extra arguments": lambda attr: neuron(
        attr, "last", 1, additional_forward_args=(0.5, wave(5))
    ),
    "NeuronFeatureAblation/image": lambda attr: pixel(
        attr,
        (2, 1, 3),
        feature_mask=torch.arange(36).view(1, 1, 6, 6) // 4,
        perturbations_per_eval=4,
    ),
    "NeuronFeatureAblation/image row": lambda attr: pixel(attr, (1, slice(0, 3), 2)),
    "NeuronFeatureAblation/tuple-valued layer": lambda attr: attr.NeuronFeatureAblation(
        model := filled(Pairs()), model.split
    ).attribute(x, lambda pair: pair[0].sum(1) * pair[1][:, 0]),
    "NeuronFeatureAblation/two inputs": lambda attr: attr.NeuronFeatureAblation(
        model := filled(Two()), model.right
    ).attribute(
        both,
        1,
        baselines=(0.1, wave(1, 2, 2)),
        additional_forward_args=0.8,
        feature_mask=(torch.tensor([[0, 1, 1]]), torch.tensor([[[2, 2], [1, 3]]])),
    ),
    "NeuronFeatureAblation/positions": lambda attr: attr.NeuronFeatureAblation(
        model := filled(Sequence()), model.mix
    ).attribute(sequence(), (1, 2), feature_mask=torch.arange(4).view(1, 4, 1).expand(1, 4, 3)),
}
