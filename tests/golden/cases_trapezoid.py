"""The trapezoid rule, whose weights in the published package sum to (n - 1) / n instead of 1.

Its numbers times n / (n - 1) are the integral: with two points it takes that of 4z³ over [0, 1] for
1.0 where the trapezoid rule gives 2.0. `LayerConductance` uses positions only, no weights.
"""

from __future__ import annotations

from .cases import Attr, Case
from .models import Tabular, Two, filled, tabular, two, wave

x = tabular()
TRAPEZOID = "riemann_trapezoid"
CASES: dict[str, tuple[int, Case]] = {}


def layer(attr: Attr, method: str, steps: int) -> object:
    model = filled(Tabular())
    return getattr(attr, method)(model, model.act).attribute(
        x, 0.2, target=1, n_steps=steps, method=TRAPEZOID
    )


def neuron(attr: Attr, method: str, steps: int, **options: object) -> object:
    model = filled(Tabular())
    return getattr(attr, method)(model, model.act).attribute(
        x, 3, 0.2, n_steps=steps, method=TRAPEZOID, **options
    )


def by_default(attr: Attr) -> object:
    model = filled(Two())
    return attr.NeuronConductance(model, model.join).attribute(
        two(), (1,), (0.1, wave(1, 2, 2)), target=1
    )


for n in (2, 3, 10):
    CASES[f"ig/{n}"] = (
        n,
        lambda attr, n=n: attr.IntegratedGradients(filled(Tabular())).attribute(
            x, 0.2, target=1, n_steps=n, method=TRAPEZOID
        ),
    )
    CASES[f"layer ig/{n}"] = n, lambda attr, n=n: layer(attr, "LayerIntegratedGradients", n)
    CASES[f"influence/{n}"] = n, lambda attr, n=n: layer(attr, "InternalInfluence", n)
    CASES[f"neuron ig/{n}"] = n, lambda attr, n=n: neuron(attr, "NeuronIntegratedGradients", n)
    CASES[f"neuron conductance/{n}"] = (
        n,
        lambda attr, n=n: neuron(attr, "NeuronConductance", n, target=1),
    )
CASES["neuron conductance/default"] = 50, by_default
CASES["cube/2"] = (
    2,
    lambda attr: attr.IntegratedGradients(lambda v: (v**4).sum(1)).attribute(
        x[:, :1] ** 0, n_steps=2, method=TRAPEZOID
    ),
)
