"""Layer-wise relevance propagation, with rules that stand on the modules.

The published package passes relevance through ReLU, Tanh and Dropout, sees modules alone, and
takes each rule off after a run; so every case builds its model anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .cases import Attr, Case
from .models import Join, Stages, filled, image, tabular, wave

CASES: dict[str, Case] = {}
x = tabular()
Rules = dict[str, Any]  # of the package that runs, by a module's name


def rule(kind: str, *args: Any, **kwargs: Any) -> Any:
    """A rule by its class's name, from where both packages have it."""
    from captum.attr._utils import lrp_rules

    return getattr(lrp_rules, kind)(*args, **kwargs)


def subclass(change: Any) -> Any:
    """A user's rule, that says what the weights are and nothing else."""
    from captum.attr._utils.lrp_rules import PropagationRule

    class Own(PropagationRule):
        def _manipulate_weights(self, module: Any, inputs: Any, outputs: Any) -> None:
            if hasattr(module, "weight"):
                change(module)

    return Own()


def excitation(module: nn.Module) -> None:
    module.weight.data = module.weight.data.clamp(min=0)
    if module.bias is not None:
        module.bias.data = torch.zeros_like(module.bias.data)


def inhibition(module: nn.Module) -> None:
    module.weight.data = module.weight.data.clamp(max=0)


def flat(module: nn.Module) -> None:
    module.weight.data = torch.ones_like(module.weight.data)
    if module.bias is not None:
        module.bias.data = torch.zeros_like(module.bias.data)


EPSILON = [1e-9, 1e-3, 0.25, 3.0]  # with zero it divides by the zeros of a ReLU
RULES: dict[str, Any] = {
    **{f"epsilon {e}": lambda e=e: rule("EpsilonRule", e) for e in EPSILON},
    "gamma": lambda: rule("GammaRule"),
    "gamma 2": lambda: rule("GammaRule", 2.0),
    "gamma, no bias": lambda: rule("GammaRule", 0.5, set_bias_to_zero=True),
    "alpha beta": lambda: rule("Alpha1_Beta0_Rule"),
    "alpha beta, no bias": lambda: rule("Alpha1_Beta0_Rule", set_bias_to_zero=True),
    "own excitation": lambda: subclass(excitation),
    "own inhibition": lambda: subclass(inhibition),
    "own flat": lambda: subclass(flat),
}


def ruled(net: nn.Module, rules: dict[str, str]) -> nn.Module:
    for name, key in rules.items():
        net.get_submodule(name).rule = RULES[key]()
    return net


def mlp(bias: bool = True, act: type[nn.Module] = nn.ReLU) -> nn.Module:
    linear = nn.Linear
    layers = [linear(4, 5, bias), act(), linear(5, 4, bias), nn.Dropout(), linear(4, 4, bias)]
    return filled(nn.Sequential(*layers, act(), linear(4, 3, bias)))


def picture(bias: bool = True, pool: nn.Module | None = None) -> nn.Module:
    """(N, 1, 6, 6) to (N, 3)."""
    features = [nn.Conv2d(1, 2, 3, padding=1, bias=bias), nn.ReLU(), pool or nn.MaxPool2d(2)]
    features += [nn.Conv2d(2, 3, 2, bias=bias), nn.Tanh()]
    return filled(Stages(features, [nn.Linear(12, 4, bias), nn.ReLU(), nn.Linear(4, 3, bias)]))


def normed(affine: bool = True) -> nn.Module:
    """A batch norm behind a convolution."""
    norm = nn.BatchNorm2d(2, affine=affine)
    features = [nn.Conv2d(1, 2, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(2)]
    net = filled(Stages(features, [nn.Linear(8, 3)]))
    norm.running_mean, norm.running_var = wave(2, size=0.3), 1 + wave(2, start=1.2) ** 2
    return net


def lrp(
    attr: Attr, net: nn.Module, rules: dict[str, str], inputs: object, target: object = 1
) -> object:
    return attr.LRP(ruled(net, rules)).attribute(inputs, target, return_convergence_delta=True)


NO_BIAS = {True: "", False: ", bias-free"}
for key in RULES:
    for bias, suffix in NO_BIAS.items():
        if key == "own inhibition" and not bias:
            continue  # after a ReLU all it sees is zero
        CASES |= {
            f"lrp/{key} first{suffix}": lambda attr, k=key, b=bias: lrp(attr, mlp(b), {"0": k}, x),
            f"lrp/{key} in the middle{suffix}": lambda attr, k=key, b=bias: lrp(
                attr, mlp(b), {"2": k}, x, [0, 2, 1]
            ),
            f"lrp/{key} on every layer{suffix}": lambda attr, k=key, b=bias: lrp(
                attr, mlp(b), dict.fromkeys("0246", k), x
            ),
            f"lrp/{key} behind tanh{suffix}": lambda attr, k=key, b=bias: lrp(
                attr, mlp(b, nn.Tanh), {"2": k, "6": k}, x, 2
            ),
            f"lrp/{key} on convolutions{suffix}": lambda attr, k=key, b=bias: lrp(
                attr, picture(b), {"features.0": k, "features.3": k}, image()
            ),
        }

MIXED = {
    "epsilon, gamma, alpha beta": ("epsilon 0.25", "gamma", "alpha beta", "epsilon 0.001"),
    "alpha beta, gamma, epsilon": ("alpha beta", "gamma 2", "epsilon 3.0", "gamma, no bias"),
    "own": ("own flat", "own excitation", "alpha beta, no bias", "own excitation"),
}
for name, keys in MIXED.items():
    for bias, suffix in NO_BIAS.items():
        CASES[f"lrp/mixed {name}{suffix}"] = lambda attr, k=keys, b=bias: lrp(
            attr, mlp(b), dict(zip("0246", k, strict=True)), x
        )


def identity(attr: Attr, place: str) -> object:
    """Rules of identity, where the published package has them right: not behind a ReLU."""
    linear = nn.Linear
    net = nn.Sequential(linear(4, 4), linear(4, 4), nn.ReLU(), linear(4, 4), linear(4, 4))
    filled(net).get_submodule(place).rule = rule("IdentityRule")
    return attr.LRP(net).attribute(x, 1, return_convergence_delta=True)


def pooled(attr: Attr, pool: nn.Module, key: str | None) -> object:
    return lrp(attr, picture(pool=pool), {} if key is None else {"features.2": key}, image())


def norm_rule(attr: Attr, key: str | None, affine: bool = True) -> object:
    return lrp(attr, normed(affine), {} if key is None else {"features.1": key}, image())


for place in ("0", "1", "4"):
    CASES[f"lrp/identity {place}"] = lambda attr, p=place: identity(attr, p)
for name, pool in {
    "max": nn.MaxPool2d(2),
    "overlapping max": nn.MaxPool2d(3, 2, 1),
    "average": nn.AvgPool2d(2),
    "adaptive average": nn.AdaptiveAvgPool2d(3),
}.items():
    for key in (None, "gamma", "alpha beta", "epsilon 0.25"):
        CASES[f"lrp/{name} pool with {key or 'no rule'}"] = lambda attr, p=pool, k=key: pooled(
            attr, p, k
        )
for key in (None, "epsilon 0.25", "epsilon 0.001"):
    for affine in (True, False):
        case = f"lrp/{'affine' if affine else 'plain'} norm with {key or 'no rule'}"
        CASES[case] = lambda attr, k=key, a=affine: norm_rule(attr, k, a)

CASES |= {
    "lrp/defaults": lambda attr: lrp(attr, mlp(), {}, x),
    "lrp/defaults, bias-free": lambda attr: lrp(attr, mlp(False), {}, x, [0, 1, 2]),
    "lrp/defaults, image": lambda attr: lrp(attr, picture(), {}, image(), (2,)),
    "lrp/two inputs": lambda attr: lrp(
        attr,
        filled(Join()),
        {"left": "gamma", "right": "epsilon 0.25", "join": "alpha beta"},
        (wave(3, 3, start=0.5), wave(3, 2, start=1.5, step=1.1)),
    ),
    "lrp/every module": lambda attr: lrp(
        attr, mlp(act=nn.Tanh), dict.fromkeys("0123456", "epsilon 1e-09"), x
    ),
    "lrp/every module, epsilon": lambda attr: lrp(
        attr, mlp(), dict.fromkeys("0123456", "epsilon 0.25"), x
    ),
    "lrp/every module, gamma": lambda attr: lrp(attr, mlp(), dict.fromkeys("0123456", "gamma"), x),
    "lrp/final relu": lambda attr: lrp(
        attr, nn.Sequential(*mlp(), nn.ReLU()), {"0": "gamma"}, x, [0, 2, 2]
    ),
}


# ---------------------------------------------------------------------- layers


def layer(attr: Attr, names: str | list[str], **options: object) -> object:
    keys = ("gamma", "alpha beta", "epsilon 0.25", "epsilon 0.001")
    net = ruled(mlp(), dict(zip("0246", keys, strict=True)))
    places = [net[int(n)] for n in names] if isinstance(names, list) else net[int(names)]
    return attr.LayerLRP(net, places).attribute(x, [0, 2, 1], **options)


def layer_of_picture(attr: Attr, name: str, **options: object) -> object:
    net = ruled(picture(), {"features.0": "gamma", "features.3": "alpha beta, no bias"})
    return attr.LayerLRP(net, net.get_submodule(name)).attribute(image(), 2, **options)


DELTA: dict[str, object] = {"return_convergence_delta": True}
INPUT: dict[str, object] = {"attribute_to_layer_input": True}
for name in "0246":
    CASES[f"layer lrp/{name}"] = lambda attr, n=name: layer(attr, n, **DELTA)
    CASES[f"layer lrp/{name}, input side"] = lambda attr, n=name: layer(attr, n, **INPUT, **DELTA)
for name in ("features.0", "features.2", "features.3", "head.0"):
    CASES |= {
        f"layer lrp/image {name}": lambda attr, n=name: layer_of_picture(attr, n, **DELTA),
        f"layer lrp/image {name}, input side": lambda attr, n=name: layer_of_picture(
            attr, n, **INPUT
        ),
    }
CASES |= {
    "layer lrp/list": lambda attr: layer(attr, ["0", "4"]),
    "layer lrp/list with deltas": lambda attr: layer(attr, ["4", "0", "6"], **DELTA),
    "layer lrp/list of one": lambda attr: layer(attr, ["2"], **DELTA),
    "layer lrp/list, input side": lambda attr: layer(attr, ["6", "2"], **INPUT, **DELTA),
}


def summed(attr: Attr) -> Tensor:
    method = attr.LRP(mlp())
    scores = method.attribute(x, 1)
    return method.compute_convergence_delta(scores, wave(3))


CASES["lrp/compute_convergence_delta"] = summed
