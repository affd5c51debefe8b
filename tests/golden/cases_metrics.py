"""How far explanations can be trusted: the published package's two numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .cases import Attr, Case
from .cases_influence import module
from .models import filled, wave

CASES: dict[str, Case] = {}

X, PHI = wave(3, 4, start=0.4, step=0.8), wave(3, 4, start=2.4, step=0.6)
Y = torch.tensor([2, 0, 1])


def small() -> nn.Module:
    return filled(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)))


def noise(inputs: Tensor) -> tuple[Tensor, Tensor]:
    made = 0.1 * torch.randn_like(inputs)
    return made, inputs - made


def told(name: str, perturb: Any, decorated: bool | None = None, **options: Any) -> None:
    def call(attr: Attr) -> Any:
        metrics = module(attr, "captum.metrics")
        function = perturb
        if decorated is not None:
            function = metrics.infidelity_perturb_func_decorator(decorated)(perturb)
        with torch.no_grad():
            return metrics.infidelity(small(), function, X, PHI, target=Y, **options)

    CASES[f"infidelity, {name}"] = call


def half(inputs: Tensor, baselines: Any = 0) -> Tensor:
    return torch.where(torch.arange(4) % 2 == 0, inputs, torch.zeros_like(inputs) + baselines)


told("noise", noise)
told("of some rows at a time", noise, n_perturb_samples=6, max_examples_per_batch=7)
told("whatever its scale", noise, normalize=True)
told("features that go", half, decorated=True)
told("features that go to a baseline", half, decorated=True, baselines=0.5)
told("of a sensitivity", lambda inputs: inputs + 0.1, decorated=False)


def moved(name: str, explain: Callable[[Any], Any], **options: Any) -> None:
    def call(attr: Attr) -> Any:
        metrics = module(attr, "captum.metrics")
        return metrics.sensitivity_max(explain(attr), X, **options)

    CASES[f"sensitivity_max, {name}"] = call


def saliency(attr: Attr) -> Any:
    return attr.Saliency(small()).attribute


def paths(attr: Attr) -> Any:
    return attr.IntegratedGradients(small()).attribute


moved("saliency", saliency, target=Y)
moved("along paths", paths, target=Y, baselines=X.flip(0), n_steps=5, perturb_radius=0.1)
moved("of some rows at a time", saliency, target=1, n_perturb_samples=5, max_examples_per_batch=4)
moved("the sum of sizes", saliency, target=Y, norm_ord=1)
moved("the largest size", saliency, target=Y, norm_ord=float("inf"))
moved(
    "of the user's own",
    saliency,
    target=Y,
    perturb_func=lambda x: x[0] * 1.1 if isinstance(x, tuple) else x * 1.1,
)
