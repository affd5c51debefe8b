"""Layers by name, and their values for a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from captum._engine.call import make_call
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine
from captum._engine.model import device_of, inside
from captum._engine.nest import map_tensors
from captum._engine.site import Layer


def modules_of(model: nn.Module, layers: Any, works: str) -> dict[str, nn.Module]:
    """Modules by name, of names or modules, one or several; `works` is a call that does.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.ReLU(), nn.Linear(2, 2))
    >>> list(modules_of(model, ["0", model[1]], "TCAV(model, layers=['0'])"))
    ['0', '1']
    """
    every = dict(model.named_modules())
    names = {id(module): name for name, module in every.items()}
    given = list(layers) if isinstance(layers, list | tuple) else [layers]
    found = {}
    for layer in given:
        name = names.get(id(layer)) if isinstance(layer, nn.Module) else layer
        if isinstance(name, str) and name not in every:
            name = name.removeprefix("module.")  # of a wrapper, which is looked through
        if not isinstance(name, str) or name not in every:
            raise wrong(
                ValueError,
                f"modules of the model, or names such as {describe([n for n in every if n])}",
                describe(layer),
                works,
            )
        found[name] = every[name]
    if not found:
        raise wrong(ValueError, "at least one layer", "none", works)
    return found


def parameters_of(model: nn.Module, layers: Sequence[str] | None, works: str) -> list[str] | None:
    """The names of some modules' parameters; None for those of all."""
    if layers is None:
        return None
    model = inside(model)
    modules = modules_of(model, layers, works).values()
    owned = {id(p) for module in modules for p in module.parameters()}
    return [name for name, p in model.named_parameters() if id(p) in owned]


def layer_values(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    batch: Any,
    args: Any = None,
    inputs: bool = False,
) -> dict[str, Any]:
    """The values of layers, or their inputs, for one batch, in one pass.

    The batch is as large as the user made it: nothing is to be learnt about sizes.
    """
    device = device_of(model)
    site = Layer(list(layers.values()), "input" if inputs else "output")
    with torch.no_grad():
        call = make_call(model, map_tensors(lambda t: t.to(device), batch), None, args)
        engine = Engine(model, site, rows=call.rows)
        values = engine.arrange(call, engine.read(call))
    return dict(zip(layers, values, strict=True))
