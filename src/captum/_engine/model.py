"""What the engine needs to know of a model: its wrappers, its modules, whether it mixes rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from captum._engine.errors import wrong
from captum._engine.nest import map_tensors

Model = Callable[..., Any]


def unwrapped(model: Model) -> Model:
    """The model whose layers can be seen: wrappers that compile or replicate it run no hooks."""
    model = getattr(model, "_orig_mod", model)
    if isinstance(model, torch.jit.ScriptModule):
        raise wrong(
            TypeError,
            "an eager model, whose layers can be seen",
            f"a {type(model).__name__}, which is TorchScript",
            "the original model, before torch.jit.script or torch.jit.trace",
        )
    if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
        return _on_one_device(model.module, torch.device("cuda", model.device_ids[0]))
    return model


def _on_one_device(model: Model, device: torch.device) -> Model:
    def run(*args: Any, **kwargs: Any) -> Any:
        def moved(value: Any) -> Any:
            return map_tensors(lambda t: t.to(device), value)

        return model(*moved(args), **moved(kwargs))

    return run


def mixes_rows(model: Model) -> bool:
    """Batch norm in training mode: a row's output depends on the other rows of its pass."""
    module = owner(model)
    if module is None or not module.training:
        return False
    norm = nn.modules.batchnorm._BatchNorm
    return any(isinstance(m, norm) and m.training for m in module.modules())


def has_recurrent_layer(model: Model) -> bool:
    module = owner(model)
    return module is not None and any(isinstance(m, nn.RNNBase) for m in module.modules())


def owner(model: Model) -> nn.Module | None:
    """The module behind a model: itself, or the one whose method it is."""
    while isinstance(model, partial):
        model = model.func
    found = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    return found if isinstance(found, nn.Module) else None


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
