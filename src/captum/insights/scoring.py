"""One question to one method: from the values of a form to attributions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from captum import attr
from captum._engine.errors import wrong
from captum._engine.model import owner
from captum.insights.groups import Shape, masks
from captum.insights.methods import TUNNEL, Method, is_convolution

_SET_UP = {"layer", "patch", "window", "strides", *(field.name for field in TUNNEL)}


def scores(
    method: Method,
    model: Any,
    inputs: tuple[Tensor, ...],
    baselines: Sequence[tuple[Tensor, ...]],
    kinds: Sequence[str],
    values: Mapping[str, Any],
    target: int | None,
    args: tuple[Any, ...],
) -> tuple[Tensor, ...]:
    """Attributions (1, *F) of one example's ready inputs.

    Args:
        method: how.
        model: the model.
        inputs: ready inputs, (1, *F) each.
        baselines: K baselines of all inputs; scores are averaged over them.
        kinds: what each input is shown as.
        values: a value for each of the method's fields.
        target: the output to explain, or None where there is but one number.
        args: what else the model takes.
    """
    explain = _explainer(method, model, values)
    shapes = [Shape.of(kind, x) for kind, x in zip(kinds, inputs, strict=True)]
    given = _options(method, values, shapes, inputs)
    given |= {"target": target, "additional_forward_args": args or None}
    if method.baselines == "none":
        return tuple(explain(inputs, **given))
    if method.baselines == "rows":
        rows = tuple(torch.cat(each) for each in zip(*baselines, strict=True))
        return tuple(explain(inputs, baselines=rows, **given))
    found = [explain(inputs, baselines=each, **given) for each in baselines]
    return tuple(torch.stack(each).mean(0) for each in zip(*found, strict=True))


def alone(
    method: Method, values: Mapping[str, Any], kinds: Sequence[str], found: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Scores of which every entry has but its own part: Σ counts a patch or a window once."""
    shapes = [Shape.of(kind, score) for kind, score in zip(kinds, found, strict=True)]
    if method.grouped == "masks":
        patch = values.get("patch", 1)
        pairs = zip(shapes, found, strict=True)
        return tuple(score * shape.alone(patch).to(score) for shape, score in pairs)
    if method.grouped == "windows":
        side = values.get("window", 1)
        return tuple(s / prod(shape.box(side)) for shape, s in zip(shapes, found, strict=True))
    return tuple(found)


def _explainer(method: Method, model: Any, values: Mapping[str, Any]) -> Callable[..., Any]:
    """The method's `attribute`, in a noise tunnel where that is switched on."""
    made: Any = method.make(model, *(_layer(model, values["layer"]) if method.layered else ()))
    if values.get("nt_type", "off") != "off":
        made = _Tunnelled(made, values)
    return _pixels(made) if method.make is attr.LayerGradCam else made.attribute


def _layer(model: Any, name: str) -> tuple[nn.Module]:
    """The convolution of this name: other models may have others."""
    module = owner(model)
    layer = None if module is None else dict(module.named_modules()).get(name)
    if layer is None or not is_convolution(layer):
        got = f"{type(model).__name__}, which has none of that name"
        raise wrong(ValueError, f"a model with a convolution {name!r}", got, "another model")
    return (layer,)


class _Tunnelled:
    """A method in a noise tunnel, whose parameters are set."""

    def __init__(self, method: attr.Attribution, values: Mapping[str, Any]) -> None:
        self.tunnel = attr.NoiseTunnel(method)
        self.noise = {
            "nt_type": values["nt_type"],
            "nt_samples": values["nt_samples"],
            "stdevs": values["nt_stdevs"],
        }

    def attribute(self, inputs: Any, **given: Any) -> Any:
        return self.tunnel.attribute(inputs, **self.noise, **given)


def _pixels(made: Any) -> Callable[..., Any]:
    """A map of a layer's positions as one of the picture's pixels."""

    def attribute(inputs: tuple[Tensor, ...], **given: Any) -> tuple[Tensor, ...]:
        found = made.attribute(inputs, **given)
        cam = found[0] if isinstance(found, tuple) else found
        size = tuple(inputs[0].shape[-2:])
        return (attr.LayerAttribution.interpolate(cam, size, "bilinear"),)

    return attribute


def _options(
    method: Method, values: Mapping[str, Any], shapes: Sequence[Shape], inputs: Sequence[Tensor]
) -> dict[str, Any]:
    """What `attribute` is called with: its own parameters, and features made of patches."""
    options = {name: value for name, value in values.items() if name not in _SET_UP}
    if method.grouped == "masks":
        options["feature_mask"] = masks(shapes, inputs, values.get("patch", 1))
    if method.grouped == "windows":
        options["sliding_window_shapes"] = tuple(s.box(values.get("window", 1)) for s in shapes)
        options["strides"] = tuple(s.box(values.get("strides", 1)) for s in shapes)
    return options
