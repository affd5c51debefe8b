"""What absent features are replaced by: one baseline, or a background to average over."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from captum._engine.call import Call, baselines
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine
from captum._engine.nest import Tensors, map_tensors
from captum._engine.site import Inputs


def background(engine: Engine, call: Call, given: Any) -> Tensors:
    """The baselines at the site, (B, 1 or N, *F) for every value there.

    `given` is what one baseline can be, a list of such, or rows (B, *F) whose number is neither 1
    nor N, so that they cannot be one for each example.
    """
    each = [baselines(call, one) for one in _listed(call, given)]
    if not isinstance(engine.at, Inputs):
        each = [engine.read(call, inputs=one) for one in each]
    return tuple(torch.stack(_narrow(list(items))) for items in zip(*each, strict=True))


def like_values(values: Tensors, given: Any) -> Tensors:
    """Baselines that the user gives for a layer's own values, zeros by default."""
    each = (
        given if isinstance(given, tuple) else (given,) * (1 if given is not None else len(values))
    )
    if len(each) != len(values):
        raise wrong(
            ValueError,
            f"a baseline for each of the layer's {len(values)} values",
            describe(given),
            "layer_baselines=0, or a tuple with one for each value",
        )
    return tuple(_like(v, b).unsqueeze(0) for v, b in zip(values, each, strict=True))


def _like(value: Tensor, given: Any) -> Tensor:
    base = torch.as_tensor(0 if given is None else given, dtype=value.dtype, device=value.device)
    full = base.reshape((1,) * (value.ndim - base.ndim) + tuple(base.shape))
    if full.ndim != value.ndim or any(
        b not in (1, v) for b, v in zip(full.shape, value.shape, strict=True)
    ):
        raise wrong(
            ValueError,
            f"layer_baselines that fit the layer's value of shape {tuple(value.shape)}",
            describe(given),
            f"a number, or a tensor of shape {(1, *value.shape[1:])}",
        )
    return full.expand(len(full), *value.shape[1:])


def _listed(call: Call, given: Any) -> list[Any]:
    if isinstance(given, list):
        if not given:
            raise wrong(ValueError, "at least one baseline", "an empty list", "baselines=[a, b]")
        return given
    if isinstance(given, Mapping):
        found = list(given.values())
    else:
        found = list(given) if isinstance(given, tuple) else [given]
    rows = {len(x) for x in found if isinstance(x, Tensor) and x.ndim}
    shaped = all(
        isinstance(b, Tensor) and b.shape[1:] == x.shape[1:] and b.ndim == x.ndim
        for b, x in zip(found, call.inputs, strict=False)
    )
    if len(found) != len(call.inputs) or not shaped or len(rows) != 1 or rows <= {1, call.rows}:
        return [given]
    (count,) = rows
    return [
        map_tensors(partial(Tensor.narrow, dim=0, start=i, length=1), given) for i in range(count)
    ]


def _narrow(items: list[Tensor]) -> list[Tensor]:
    """One row of each where all examples share it."""
    if all(x.stride(0) == 0 or len(x) == 1 for x in items):
        return [x[:1] for x in items]
    return items
