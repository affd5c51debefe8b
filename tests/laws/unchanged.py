"""Pictures of models, tensors and global state: what must be the same before and after a call."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

# What an nn.Module keeps beside what its author put there; pictured on its own below.
_CONTAINERS = ("_parameters", "_buffers", "_modules")


def world() -> dict[str, Any]:
    """Modes and flags of the process; a leak here changes what the user computes next."""
    cudnn = torch.backends.cudnn
    picture: dict[str, Any] = {
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "anomaly mode": torch.is_anomaly_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "function modes": torch._C._len_torch_function_stack(),
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
    }
    for name, hooks in vars(torch_module).items():
        if name.startswith("_global_") and isinstance(hooks, Mapping):
            picture[name] = tuple(hooks)
    return picture


def randomness() -> dict[str, Any]:
    """The states of all global random number generators."""
    kind, keys, *rest = np.random.get_state()
    return {
        "torch RNG": torch.get_rng_state().numpy().tobytes(),
        "numpy RNG": (kind, keys.tobytes(), *rest),
        "python RNG": random.getstate(),
    }


def of_tensor(tensor: Tensor) -> dict[str, Any]:
    """Values, and all that autograd hangs on a tensor."""
    leaf = tensor.is_leaf
    return {
        "value": _bits(tensor),
        "requires_grad": tensor.requires_grad,
        "grad": _bits(tensor.grad) if leaf else None,
        "grad object": id(tensor.grad) if leaf else None,
        "grad_fn": tensor.grad_fn,
        "hooks": tuple(tensor._backward_hooks or ()),
        "attributes": sorted(vars(tensor)),
    }


def of_module(model: nn.Module) -> dict[str, Any]:
    """Every submodule's hooks, flags and attributes, every parameter and buffer."""
    picture: dict[str, Any] = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in _CONTAINERS:
                # Hook dictionaries stay the same object; their entries are what may leak.
                entries = tuple(value.items()) if isinstance(value, Mapping) else None
                picture[f"{name}.{key}"] = (id(value), entries)
        picture[f"{name}: children"] = [(key, id(child)) for key, child in module._modules.items()]
        picture[f"{name}: training"] = module.training
        for kind in ("_parameters", "_buffers"):
            for key, tensor in getattr(module, kind).items():
                if tensor is not None:
                    picture[f"{name}.{key}"] = (id(tensor), of_tensor(tensor))
    return picture


def picture_of(thing: Any) -> Any:
    if isinstance(thing, nn.Module):
        return of_module(thing)
    if isinstance(thing, Tensor):
        return of_tensor(thing)
    if isinstance(thing, Mapping):
        return {key: picture_of(item) for key, item in thing.items()}
    if isinstance(thing, tuple | list):
        return [picture_of(item) for item in thing]
    return id(thing)


@contextmanager
def unchanged(*things: Any, rng: bool = True) -> Iterator[None]:
    """What goes on inside leaves models, tensors, global state and (`rng`) randomness as found.

    Also when it raises: then the leak is reported in the place of the error.
    """
    before = [picture_of(thing) for thing in things]
    world_before, rng_before = world(), randomness()
    try:
        yield
    finally:
        assert_same(world_before, world(), "the process")
        if rng:
            assert_same(rng_before, randomness(), "randomness")
        for thing, was in zip(things, before, strict=True):
            assert_same(was, picture_of(thing), type(thing).__name__)


def assert_same(before: Any, after: Any, where: str) -> None:
    """Name what differs: a comparison of whole pictures is unreadable."""
    if isinstance(before, dict):
        names = [*before, *(key for key in after if key not in before)]
        missing = object()
        for key in names:
            assert_same(before.get(key, missing), after.get(key, missing), f"{where}: {key}")
    elif before != after:
        raise AssertionError(f"{where} is not what it was: {_short(before)} -> {_short(after)}")


def _bits(tensor: Tensor | None) -> Any:
    """Exact and comparable, NaN and the sign of zero included."""
    if tensor is None:
        return None
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return (tensor.dtype, tuple(tensor.shape), flat.numpy().tobytes())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:197]}..."
