"""What the engine needs to know of a model: its wrappers, its modules, whether it mixes rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import getclosurevars
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from captum._engine.errors import wrong
from captum._engine.nest import map_tensors

Model = Callable[..., Any]


def unwrapped(model: Model) -> Model:
    """The model whose layers can be seen: wrappers that compile or replicate it run no hooks."""
    model = replica(getattr(model, "_orig_mod", model))
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


def replica(model: Model) -> Model:
    """What DistributedDataParallel replicates: a pass of it waits for no other process."""
    inner = getattr(model, "_orig_mod", model)
    return inner.module if isinstance(inner, DistributedDataParallel) else model


def inside(model: Any) -> Any:
    """What wrappers compile or replicate: its layers and parameters have the user's names."""
    while True:
        wraps = isinstance(model, nn.DataParallel | DistributedDataParallel)
        inner = model.module if wraps else getattr(model, "_orig_mod", model)
        if inner is model:
            return model
        model = inner


def takes_all_processes(model: Model) -> bool:
    """Whether a pass is all processes' work together.

    Each has a shard of the parameters; or a function runs a wrapper that sends buffers around.
    """
    return any(
        (isinstance(part, DistributedDataParallel) and model is not module) or _is_sharded(part)
        for module in modules_behind(replica(model))
        for part in module.modules()
    )


def _is_sharded(module: nn.Module) -> bool:
    # By its class: after a pass `fully_shard` may have whole parameters there for a while.
    return any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__) or any(
        hasattr(p, "full_tensor") or hasattr(p, "_is_flat_param")
        for p in module.parameters(recurse=False)
    )


def modules_behind(model: Any) -> list[nn.Module]:
    """The modules that a model is seen to run: itself, what a function closes over or names.

    >>> net = nn.Linear(2, 2)
    >>> modules_behind(lambda x: net(x) + 1) == [net]
    True
    """
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    waiting: list[Any] = [model]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, nn.Module):
            found[id(value)] = value
        elif isinstance(value, partial):
            waiting += [value.func, *value.args, *value.keywords.values()]
        elif isinstance(value, MethodType):
            waiting += [value.__self__]
        elif isinstance(value, FunctionType) and id(value) not in seen:
            seen.add(id(value))
            used = getclosurevars(value)
            waiting += [*used.nonlocals.values(), *used.globals.values()]
    return list(found.values())


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
    """Where inputs go: to a model's parameters; the CPU where it has none.

    Parameters that accelerate fetches when they are needed are nowhere until then.
    """
    for parameter in model.parameters():
        if not parameter.is_meta:
            return parameter.device
    for module in model.modules():
        device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    return torch.device("cpu")
