"""Methods that explain a neuron."""

from __future__ import annotations

import torch
from torch import Tensor

from .cases import QUADRATURES, Attr, Case
from .models import Image, Pairs, Rows, Tabular, Two, filled, image, tabular, two, wave

CASES: dict[str, Case] = {}
x = tabular()


def total(value: Tensor) -> Tensor:
    """A neuron selector of one's own: a quadratic form of the layer."""
    return (value**2).flatten(1).sum(1)


def neuron(
    attr: Attr, kind: str, selector: object, init: dict[str, object], **options: object
) -> object:
    """The neuron's layer is the first of the model with a skip connection."""
    model = filled(Tabular())
    made = getattr(attr, kind)(model, model.act, **init)
    return made.attribute(x, selector, **options)


def pixel(attr: Attr, kind: str, selector: object, **options: object) -> object:
    model = filled(Image())
    return getattr(attr, kind)(model, model.conv2).attribute(image(), selector, **options)


METHODS: dict[str, dict[str, object]] = {
    "NeuronGradient": {},
    "NeuronIntegratedGradients": {"n_steps": 6, "baselines": 0.3},
    "NeuronConductance": {"n_steps": 6, "method": "riemann_middle", "target": 1, "baselines": 0.3},
}
SELECTORS = {"int": 2, "negative": -1, "tuple": (3,), "slice": (slice(1, 4),), "function": total}
for method, options in METHODS.items():
    for name, selector in SELECTORS.items():
        if method == "NeuronConductance" and name == "slice":
            continue  # the published package has another answer: see test_golden
        CASES[f"{method}/{name}"] = lambda attr, m=method, s=selector, o=options: neuron(
            attr, m, s, {}, **o
        )
    CASES[f"{method}/input side"] = lambda attr, m=method, o=options: neuron(
        attr, m, 1, {}, attribute_to_neuron_input=True, **o
    )
    for name, selector in {"pixel": (2, 1, 3), "row": (1, slice(0, 3), 2)}.items():
        if method == "NeuronConductance" and name == "row":
            continue
        CASES[f"{method}/image {name}"] = lambda attr, m=method, s=selector, o=options: pixel(
            attr, m, s, **o
        )

for number in (1, 2, 3):
    CASES[f"NeuronConductance/neuron {number}"] = lambda attr, n=number: neuron(
        attr, "NeuronConductance", n, {}, **METHODS["NeuronConductance"]
    )
for method in ("NeuronIntegratedGradients", "NeuronConductance"):
    for quadrature in QUADRATURES:
        CASES[f"{method}/{quadrature}"] = lambda attr, m=method, q=quadrature: neuron(
            attr, m, 4, {}, n_steps=5, method=q, **({"target": 0} if "Cond" in m else {})
        )
    CASES[f"{method}/sensitivities"] = lambda attr, m=method: neuron(
        attr,
        m,
        4,
        {"multiply_by_inputs": False},
        n_steps=5,
        method="gausslegendre",
        **({"target": 0} if "Cond" in m else {}),
    )


def two_inputs(attr: Attr, kind: str, **options: object) -> object:
    model = filled(Two())
    made = getattr(attr, kind)(model, model.join)
    return made.attribute(two(), 1, additional_forward_args=0.8, **options)


def rows(attr: Attr, kind: str, **options: object) -> object:
    model = filled(Rows())
    made = getattr(attr, kind)(model, model.first)
    return made.attribute(x, 1, additional_forward_args=(wave(3, 5), 2), **options)


def tuple_neuron(attr: Attr, kind: str, **options: object) -> object:
    """A selector that is a function sees all tensors of a tuple-valued layer."""
    model = filled(Pairs())
    return getattr(attr, kind)(model, model.split).attribute(
        x, lambda pair: pair[0].sum(1) * pair[1][:, 0], **options
    )


CASES |= {
    "NeuronGradient/two inputs": lambda attr: two_inputs(attr, "NeuronGradient"),
    "NeuronIntegratedGradients/two inputs": lambda attr: two_inputs(
        attr, "NeuronIntegratedGradients", n_steps=5, baselines=(0.1, wave(1, 2, 2))
    ),
    "NeuronConductance/two inputs": lambda attr: two_inputs(
        attr,
        "NeuronConductance",
        n_steps=5,
        baselines=(0.1, wave(1, 2, 2)),
        method="gausslegendre",
        target=torch.tensor([1, 0, 1]),
    ),
    "NeuronGradient/rows": lambda attr: rows(attr, "NeuronGradient"),
    "NeuronIntegratedGradients/rows": lambda attr: rows(
        attr, "NeuronIntegratedGradients", n_steps=5, internal_batch_size=4
    ),
    "NeuronConductance/rows": lambda attr: rows(
        attr,
        "NeuronConductance",
        n_steps=5,
        internal_batch_size=4,
        method="riemann_left",
        target=[0, 1, 2],
    ),
    "NeuronGradient/tuple": lambda attr: tuple_neuron(attr, "NeuronGradient"),
    "NeuronIntegratedGradients/tuple": lambda attr: tuple_neuron(
        attr, "NeuronIntegratedGradients", n_steps=5
    ),
}
