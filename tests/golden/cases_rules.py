"""Methods with rules of their own for the way back: DeepLIFT and the guided ones.

Models are made of modules that each run once, which is all that the published package sees.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .cases import Attr, Case
from .models import Branches, Join, Stages, filled, image, tabular, wave

CASES: dict[str, Case] = {}
ACTS = [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.Softplus, nn.LeakyReLU]
x = tabular()
ROWS = wave(3, 4, start=2.1, step=1.7)  # baselines, one per example
MANY = wave(5, 4, start=0.9, step=2.3, size=0.7)  # or all for each
PAIR = (wave(3, 3, start=0.5), wave(3, 2, start=1.5, step=1.1))
PAIRS = (wave(4, 3, start=0.2, step=1.9), wave(4, 2, start=0.8, step=2.9))


def mlp(act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """(N, 4) to (N, 3)."""
    linear = nn.Linear
    return filled(nn.Sequential(linear(4, 5), act(), linear(5, 4), act(), linear(4, 3)))


def picture(act: type[nn.Module] = nn.ReLU, pool: nn.Module | None = None) -> nn.Module:
    """(N, 1, 6, 6) to (N, 3)."""
    features = [nn.Conv2d(1, 2, 3, padding=1), act(), pool or nn.AvgPool2d(2)]
    return filled(Stages([*features, nn.Conv2d(2, 3, 2), act()], [nn.Linear(12, 3)]))


def curve(act: type[nn.Module] = nn.ReLU) -> nn.Module:
    """(N, 2, 8) to (N, 2)."""
    features = [nn.Conv1d(2, 3, 3, padding=1), act(), nn.MaxPool1d(2)]
    return filled(Stages(features, [nn.Linear(12, 2)]))


# ---------------------------------------------------------------------- DeepLIFT


def lift(attr: Attr, net: nn.Module, inputs: object, *given: object, **options: object) -> object:
    init = {k: options.pop(k) for k in ("multiply_by_inputs", "eps") if k in options}
    return attr.DeepLift(net, **init).attribute(inputs, *given, **options)


def shap(attr: Attr, net: nn.Module, inputs: object, *given: object, **options: object) -> object:
    init = {k: options.pop(k) for k in ("multiply_by_inputs",) if k in options}
    return attr.DeepLiftShap(net, **init).attribute(inputs, *given, **options)


def squares(multipliers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(m**2 for m in multipliers)


def with_inputs(multipliers: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> object:
    return tuple(m * v for m, v in zip(multipliers, inputs, strict=True))


def with_both(
    multipliers: tuple[Tensor, ...], inputs: tuple[Tensor, ...], starts: tuple[Tensor, ...]
) -> object:
    triples = zip(multipliers, inputs, starts, strict=True)
    return tuple(m.abs() * (v - 2 * s) for m, v, s in triples)


CUSTOM = {"one": squares, "two": with_inputs, "three": with_both}
DELTA = {"return_convergence_delta": True}

for act in ACTS:
    name = act.__name__
    CASES |= {
        f"deep lift/{name}": lambda attr, a=act: lift(attr, mlp(a), x, target=1, **DELTA),
        f"deep lift/{name}, multipliers": lambda attr, a=act: lift(
            attr, mlp(a), x, ROWS, target=[0, 2, 1], multiply_by_inputs=False
        ),
        f"deep lift/{name}, image": lambda attr, a=act: lift(
            attr, picture(a), image(), 0.2, target=2, **DELTA
        ),
        f"deep lift shap/{name}": lambda attr, a=act: shap(attr, mlp(a), x, MANY, target=0),
    }

for name, baseline in {
    "none": None,
    "int": 1,
    "float": 0.3,
    "one row": wave(1, 4),
    "rows": ROWS,
    "tuple": (ROWS,),
}.items():
    CASES[f"deep lift/baseline {name}"] = lambda attr, b=baseline: lift(
        attr, mlp(), x, b, 2, **DELTA
    )

for name, pool in {"max": nn.MaxPool2d, "average": nn.AvgPool2d}.items():
    # Far from its baseline a window may be won by another entry there: rules differ in whom they
    # credit, so the baseline is a shifted picture, with the same winners.
    CASES[f"deep lift/{name} pool"] = lambda attr, p=pool: lift(
        attr, picture(nn.Softplus, p(2)), image(), image() * 0.9, 1, **DELTA
    )

for name, function in CUSTOM.items():
    CASES |= {
        f"deep lift/custom of {name}": lambda attr, f=function: lift(
            attr, mlp(), x, 0.3, target=1, custom_attribution_func=f
        ),
        f"deep lift shap/custom of {name}": lambda attr, f=function: shap(
            attr, mlp(nn.Tanh), x, MANY, target=1, custom_attribution_func=f
        ),
        f"layer deep lift/custom of {name}": lambda attr, f=function: layer_lift(
            attr, mlp(), 1, ROWS, 0, custom_attribution_func=f
        ),
        f"neuron deep lift/custom of {name}": lambda attr, f=function: neuron_lift(
            attr, mlp(), 3, 2, ROWS, custom_attribution_func=f
        ),
    }

CASES |= {
    "deep lift/two inputs": lambda attr: lift(attr, filled(Join()), PAIR, target=1, **DELTA),
    "deep lift/two inputs, baselines": lambda attr: lift(
        attr, filled(Join()), PAIR, (0.4, wave(1, 2)), target=[0, 1, 0], **DELTA
    ),
    "deep lift/two inputs, custom": lambda attr: lift(
        attr, filled(Join()), PAIR, target=1, custom_attribution_func=with_both
    ),
    "deep lift/nothing changes": lambda attr: lift(attr, mlp(nn.Softplus), x, x, 1, **DELTA),
    "deep lift/batch norm": lambda attr: lift(
        attr,
        filled(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))),
        x,
        ROWS,
        1,
        **DELTA,
    ),
    "deep lift shap/delta": lambda attr: shap(attr, mlp(), x, MANY, [0, 2, 1], **DELTA),
    "deep lift shap/targets": lambda attr: shap(attr, mlp(), x, MANY, torch.tensor([2, 0, 1])),
    "deep lift shap/function": lambda attr: shap(attr, mlp(), x, lambda: MANY, 1),
    "deep lift shap/function of inputs": lambda attr: shap(
        attr, mlp(), x, lambda given: given[:2] * 0.5, 1
    ),
    "deep lift shap/multipliers": lambda attr: shap(
        attr, mlp(), x, MANY, 1, multiply_by_inputs=False
    ),
    "deep lift shap/two inputs": lambda attr: shap(
        attr, filled(Join()), PAIR, PAIRS, target=1, **DELTA
    ),
    "deep lift shap/image": lambda attr: shap(
        attr, picture(nn.ELU), image(), wave(3, 1, 6, 6, start=1.1), target=0, **DELTA
    ),
}


def layer_lift(attr: Attr, net: nn.Module, i: int, *given: object, **options: object) -> object:
    init = {k: options.pop(k) for k in ("multiply_by_inputs",) if k in options}
    return attr.LayerDeepLift(net, net[i], **init).attribute(x, *given, **options)


def layer_shap(attr: Attr, net: nn.Module, i: int, *given: object, **options: object) -> object:
    init = {k: options.pop(k) for k in ("multiply_by_inputs",) if k in options}
    return attr.LayerDeepLiftShap(net, net[i], **init).attribute(x, *given, **options)


for i in range(5):
    for act in (nn.ReLU, nn.Tanh):
        name = f"{i} of {act.__name__}"
        CASES |= {
            f"layer deep lift/{name}": lambda attr, a=act, i=i: layer_lift(
                attr, mlp(a), i, ROWS, 1, **DELTA
            ),
            f"layer deep lift shap/{name}": lambda attr, a=act, i=i: layer_shap(
                attr, mlp(a), i, MANY, [1, 0, 2], **DELTA
            ),
        }
        if i % 2 == 0:  # the input side of an activation is not complete there
            CASES |= {
                f"layer deep lift/{name}, input side": lambda attr, a=act, i=i: layer_lift(
                    attr, mlp(a), i, 0.3, 1, attribute_to_layer_input=True, **DELTA
                ),
                f"layer deep lift shap/{name}, input side": lambda attr, a=act, i=i: layer_shap(
                    attr, mlp(a), i, MANY, 1, attribute_to_layer_input=True
                ),
            }

CASES |= {
    "layer deep lift/multipliers": lambda attr: layer_lift(
        attr, mlp(), 1, ROWS, 1, multiply_by_inputs=False
    ),
    "layer deep lift shap/multipliers": lambda attr: layer_shap(
        attr, mlp(), 1, MANY, 1, multiply_by_inputs=False
    ),
    "layer deep lift/image": lambda attr: layer_of_picture(attr, 3),
    "layer deep lift/image, tuple in": lambda attr: layer_of_picture(attr, 0, (image(),)),
}


def layer_of_picture(attr: Attr, i: int, inputs: object = None) -> object:
    net = picture(nn.Tanh)
    inputs = image() if inputs is None else inputs
    return attr.LayerDeepLift(net, net.features[i]).attribute(inputs, 0.1, 1, **DELTA)


def layer_of_branches(attr: Attr) -> object:
    net = filled(Branches())
    return attr.LayerDeepLift(net, net.split).attribute(x, ROWS, 1, **DELTA)


CASES["layer deep lift/tuple"] = layer_of_branches


def neuron_lift(
    attr: Attr, net: nn.Module, i: int, selector: object, *given: object, **options: object
) -> object:
    init = {k: options.pop(k) for k in ("multiply_by_inputs",) if k in options}
    return attr.NeuronDeepLift(net, net[i], **init).attribute(x, selector, *given, **options)


def neuron_shap(
    attr: Attr, net: nn.Module, i: int, selector: object, *given: object, **options: object
) -> object:
    init = {k: options.pop(k) for k in ("multiply_by_inputs",) if k in options}
    return attr.NeuronDeepLiftShap(net, net[i], **init).attribute(x, selector, *given, **options)


def total(value: Tensor) -> Tensor:
    return value[:, 2] - value[:, 0] / 2


SELECTORS = {"int": 2, "tuple": (0,), "slice": (slice(0, 3),), "function": total}
for name, selector in SELECTORS.items():
    CASES |= {
        f"neuron deep lift/{name}": lambda attr, s=selector: neuron_lift(
            attr, mlp(nn.Tanh), 3, s, ROWS
        ),
        f"neuron deep lift shap/{name}": lambda attr, s=selector: neuron_shap(
            attr, mlp(), 3, s, MANY
        ),
        f"neuron deep lift/{name}, input side": lambda attr, s=selector: neuron_lift(
            attr, mlp(), 3, s, 0.3, attribute_to_neuron_input=True
        ),
    }
    for method in ("NeuronGuidedBackprop", "NeuronDeconvolution"):
        CASES |= {
            f"{method}/{name}": lambda attr, m=method, s=selector: neuron_guided(attr, m, s),
            f"{method}/{name}, input side": lambda attr, m=method, s=selector: neuron_guided(
                attr, m, s, attribute_to_neuron_input=True
            ),
        }

CASES |= {
    "neuron deep lift/multipliers": lambda attr: neuron_lift(
        attr, mlp(), 2, 1, ROWS, multiply_by_inputs=False
    ),
    "neuron deep lift shap/multipliers": lambda attr: neuron_shap(
        attr, mlp(), 2, 1, MANY, multiply_by_inputs=False
    ),
}


# ---------------------------------------------------------------------- guided


def neuron_guided(attr: Attr, method: str, selector: object, **options: object) -> object:
    net = mlp()
    return getattr(attr, method)(net, net[3]).attribute(x, selector, **options)


def grad_cam(attr: Attr, net: nn.Module, i: int, *given: object, **options: object) -> object:
    return attr.GuidedGradCam(net, net.features[i]).attribute(*given, **options)


class Final(nn.ReLU):
    """A subclass is a ReLU."""


for method in ("GuidedBackprop", "Deconvolution"):

    def guided(
        attr: Attr, net: nn.Module, inputs: object, target: object, m: str = method
    ) -> object:
        return getattr(attr, m)(net).attribute(inputs, target)

    CASES |= {
        f"{method}/tabular": lambda attr, g=guided: g(attr, mlp(), x, 1),
        f"{method}/targets": lambda attr, g=guided: g(attr, mlp(), x, [0, 2, 1]),
        f"{method}/image": lambda attr, g=guided: g(attr, picture(), image(), 2),
        f"{method}/max pool": lambda attr, g=guided: g(
            attr, picture(pool=nn.MaxPool2d(2)), image(), 0
        ),
        f"{method}/curve": lambda attr, g=guided: g(attr, curve(), wave(2, 2, 8), 1),
        f"{method}/two inputs": lambda attr, g=guided: g(attr, filled(Join()), PAIR, 1),
        f"{method}/final": lambda attr, g=guided: g(
            attr, nn.Sequential(*mlp(), Final()), x, torch.tensor([1, 2, 1])
        ),
        f"{method}/in place": lambda attr, g=guided: g(
            attr, filled(nn.Sequential(nn.Linear(4, 5), nn.ReLU(True), nn.Linear(5, 2))), x, 1
        ),
    }

for i in (0, 1, 2, 3, 4):
    CASES[f"guided gradcam/{i}"] = lambda attr, i=i: grad_cam(attr, picture(), i, image(), 1)
CASES |= {
    "guided gradcam/per example": lambda attr: grad_cam(attr, picture(), 3, image(), [0, 2]),
    "guided gradcam/max pool": lambda attr: grad_cam(
        attr, picture(pool=nn.MaxPool2d(2)), 1, (image(),), 1
    ),
    "guided gradcam/bilinear": lambda attr: grad_cam(
        attr, picture(), 3, image(), 1, interpolate_mode="bilinear"
    ),
    "guided gradcam/input side": lambda attr: grad_cam(
        attr, picture(), 3, image(), 1, attribute_to_layer_input=True
    ),
    "guided gradcam/curve": lambda attr: grad_cam(attr, curve(), 1, wave(2, 2, 8), 0),
}
