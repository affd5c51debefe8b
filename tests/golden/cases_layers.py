"""Methods whose scores land on layers."""

from __future__ import annotations

import torch

from .cases import QUADRATURES, Attr, Case
from .models import (
    Bag,
    Image,
    Pairs,
    Rows,
    Tabular,
    Text,
    Two,
    filled,
    ids,
    image,
    tabular,
    two,
    wave,
)

CASES: dict[str, Case] = {}
x = tabular()


def both_sides(name: str, method: str, options: dict[str, object], **init: object) -> None:
    """One case at each side of a layer behind which a skip connection begins."""
    for side in (False, True):

        def case(attr: Attr, side: bool = side) -> object:
            model = filled(Tabular())
            made = getattr(attr, method)(model, model.act, **init)
            return made.attribute(x, attribute_to_layer_input=side, **options)

        CASES[f"{name}, {'input' if side else 'output'} side"] = case


both_sides("activation", "LayerActivation", {})
both_sides("layer gxa", "LayerGradientXActivation", {"target": [0, 2, 1]})
both_sides("layer gradient", "LayerGradientXActivation", {"target": 1}, multiply_by_inputs=False)
both_sides(
    "layer ig",
    "LayerIntegratedGradients",
    {"target": 2, "n_steps": 8, "baselines": 0.3, "return_convergence_delta": True},
)
both_sides(
    "layer ig sensitivities",
    "LayerIntegratedGradients",
    {"target": 2, "n_steps": 8},
    multiply_by_inputs=False,
)
both_sides(
    "conductance",
    "LayerConductance",
    {"target": 2, "n_steps": 8, "baselines": wave(1, 4), "return_convergence_delta": True},
)
both_sides("influence", "InternalInfluence", {"target": 2, "n_steps": 8, "baselines": 0.3})

for quadrature in QUADRATURES:
    for steps in (2, 7):
        both_sides(
            f"layer ig/{quadrature} {steps}",
            "LayerIntegratedGradients",
            {"target": 0, "n_steps": steps, "method": quadrature},
        )
        both_sides(
            f"conductance/{quadrature} {steps}",
            "LayerConductance",
            {"target": 0, "n_steps": steps, "method": quadrature, "return_convergence_delta": True},
        )
        both_sides(
            f"influence/{quadrature} {steps}",
            "InternalInfluence",
            {"target": 0, "n_steps": steps, "method": quadrature},
        )
for steps in (2, 7):
    # Of the trapezoid rule, conductance uses the positions alone: no weight can be wrong.
    both_sides(
        f"conductance/riemann_trapezoid {steps}",
        "LayerConductance",
        {"target": 0, "n_steps": steps, "method": "riemann_trapezoid", "baselines": 0.3},
    )


def several(attr: Attr, method: str, **options: object) -> object:
    """A list of layers of the model with two inputs."""
    model, inputs = filled(Two()), two()
    made = getattr(attr, method)(model, [model.left, model.right])
    return made.attribute(inputs, additional_forward_args=1.5, **options)


def pairs(attr: Attr, method: str, **options: object) -> object:
    """A layer that takes and returns tuples."""
    model = filled(Pairs())
    return getattr(attr, method)(model, model.split).attribute(x, **options)


def picture(attr: Attr, method: str, layer: str, **options: object) -> object:
    model = filled(Image())
    return getattr(attr, method)(model, getattr(model, layer)).attribute(image(), **options)


def words(attr: Attr, **options: object) -> object:
    """Scores of a text's words and positions, from the embeddings in one call."""
    model = filled(Text())
    layers = [model.embeddings.words, model.embeddings.positions]
    positions = torch.arange(5).expand(2, 5)
    return attr.LayerIntegratedGradients(model, layers).attribute(
        (ids(), positions), (torch.zeros_like(ids()), torch.zeros_like(positions)), **options
    )


def rows(attr: Attr, method: str, **options: object) -> object:
    """Extra arguments and targets with a row per example, in small passes."""
    model = filled(Rows())
    return getattr(attr, method)(model, model.first).attribute(
        x, target=[0, 2, 1], additional_forward_args=(wave(3, 5), 2), **options
    )


STEPS = {"n_steps": 6, "internal_batch_size": 7}
CASES |= {
    "activation/list": lambda attr: several(attr, "LayerActivation"),
    "activation/tuple": lambda attr: pairs(attr, "LayerActivation"),
    "activation/tuple, input side": lambda attr: pairs(
        attr, "LayerActivation", attribute_to_layer_input=True
    ),
    "activation/image": lambda attr: picture(attr, "LayerActivation", "pool"),
    "layer gxa/list": lambda attr: several(attr, "LayerGradientXActivation", target=1),
    "layer gxa/tuple": lambda attr: pairs(attr, "LayerGradientXActivation", target=1),
    "layer gxa/tuple, input side": lambda attr: pairs(
        attr, "LayerGradientXActivation", target=1, attribute_to_layer_input=True
    ),
    "layer gxa/image": lambda attr: picture(attr, "LayerGradientXActivation", "conv1", target=0),
    "layer gxa/rows": lambda attr: rows(attr, "LayerGradientXActivation"),
    "layer ig/list": lambda attr: several(attr, "LayerIntegratedGradients", target=1, n_steps=5),
    "layer ig/tuple": lambda attr: pairs(attr, "LayerIntegratedGradients", target=1, n_steps=5),
    "layer ig/tuple, input side": lambda attr: pairs(
        attr, "LayerIntegratedGradients", target=1, n_steps=5, attribute_to_layer_input=True
    ),
    "layer ig/image": lambda attr: picture(
        attr, "LayerIntegratedGradients", "conv2", target=0, n_steps=5, baselines=0.2
    ),
    "layer ig/rows": lambda attr: rows(
        attr, "LayerIntegratedGradients", return_convergence_delta=True, **STEPS
    ),
    "layer ig/words and positions": lambda attr: words(
        attr, target=1, n_steps=6, return_convergence_delta=True
    ),
    "layer ig/words and positions, small passes": lambda attr: words(
        attr, target=torch.tensor([0, 1]), n_steps=6, internal_batch_size=4
    ),
    "conductance/tuple": lambda attr: pairs(attr, "LayerConductance", target=1, n_steps=5),
    "conductance/tuple, input side": lambda attr: pairs(
        attr, "LayerConductance", target=1, n_steps=5, attribute_to_layer_input=True
    ),
    "conductance/image": lambda attr: picture(
        attr, "LayerConductance", "conv2", target=0, n_steps=5
    ),
    "conductance/rows": lambda attr: rows(
        attr, "LayerConductance", return_convergence_delta=True, **STEPS
    ),
    "influence/tuple": lambda attr: pairs(attr, "InternalInfluence", target=1, n_steps=5),
    "influence/image": lambda attr: picture(
        attr, "InternalInfluence", "conv1", target=0, n_steps=5
    ),
    "influence/rows": lambda attr: rows(attr, "InternalInfluence", **STEPS),
    "gradcam/plain": lambda attr: picture(attr, "LayerGradCam", "conv2", target=1),
    "gradcam/per example": lambda attr: picture(attr, "LayerGradCam", "conv1", target=[0, 2]),
    "gradcam/input side": lambda attr: picture(
        attr, "LayerGradCam", "conv2", target=1, attribute_to_layer_input=True
    ),
    "gradcam/relu": lambda attr: picture(
        attr, "LayerGradCam", "conv2", target=1, relu_attributions=True
    ),
    "gradcam/channels": lambda attr: picture(
        attr, "LayerGradCam", "conv2", target=1, attr_dim_summation=False
    ),
    "gradcam/flat layer": lambda attr: picture(attr, "LayerGradCam", "last", target=1),
    "interpolate/nearest": lambda attr: attr.LayerAttribution.interpolate(wave(2, 1, 3, 3), (7, 5)),
    "interpolate/int": lambda attr: attr.LayerAttribution.interpolate(wave(2, 2, 3), 7),
    "interpolate/bilinear": lambda attr: attr.LayerAttribution.interpolate(
        wave(2, 1, 3, 3), (7, 5), "bilinear"
    ),
}


def embedding(attr: Attr, **options: object) -> object:
    model = filled(Bag())
    return attr.LayerIntegratedGradients(model, model.embedding).attribute(
        ids(), torch.zeros_like(ids()), target=[0, 1], n_steps=9, **options
    )


CASES |= {
    "layer ig/ids": lambda attr: embedding(attr, return_convergence_delta=True),
    "layer ig/ids, small passes": lambda attr: embedding(attr, internal_batch_size=3),
}
