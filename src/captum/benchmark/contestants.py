"""Who is judged: attribution methods, as functions of a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum import attr
from captum.benchmark.tasks import Task

Contestant = Callable[[Task, torch.nn.Module], Tensor]


def _of(kind: Any, *, base: bool = True, **options: Any) -> Contestant:
    def scores(task: Task, model: torch.nn.Module) -> Tensor:
        given = {"baselines": task.baselines} if base else {}
        made: Tensor = kind(model).attribute(task.inputs, target=task.target, **given, **options)
        return made

    return scores


def _smooth(task: Task, model: torch.nn.Module) -> Tensor:
    tunnel = attr.NoiseTunnel(attr.InputXGradient(model))
    made: Tensor = tunnel.attribute(
        task.inputs, nt_type="smoothgrad", nt_samples=25, stdevs=0.2, target=task.target
    )
    return made


def _expected(task: Task, model: torch.nn.Module) -> Tensor:
    made: Tensor = attr.GradientShap(model).attribute(
        task.inputs, baselines=task.baselines, n_samples=25, target=task.target
    )
    return made


def _chance(task: Task, model: torch.nn.Module) -> Tensor:
    return torch.randn_like(task.inputs)


CONTESTANTS: dict[str, Contestant] = {
    "chance": _chance,
    "Saliency": _of(attr.Saliency, base=False),
    "InputXGradient": _of(attr.InputXGradient, base=False),
    "SmoothGrad x input": _smooth,
    "IntegratedGradients": _of(attr.IntegratedGradients, n_steps=50),
    "GradientShap": _expected,
    "DeepLift": _of(attr.DeepLift),
    "LRP": _of(attr.LRP, base=False),
    "GuidedBackprop": _of(attr.GuidedBackprop, base=False),
    "FeatureAblation": _of(attr.FeatureAblation),
    "ShapleyValueSampling": _of(attr.ShapleyValueSampling, n_samples=25),
    "KernelShap": _of(attr.KernelShap, n_samples=300),
    "Lime": _of(attr.Lime, n_samples=300),
}
