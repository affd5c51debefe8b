"""The methods on offer: which class, which of its parameters people tune, what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from captum import attr
from captum._engine.errors import wrong
from captum._engine.model import owner
from captum.insights.fields import Field, FieldsError, checked
from captum.insights.groups import Shape

_PATHS = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid")
TUNNEL = (
    Field("nt_type", "off", "average over noisy copies of the input",
          choices=("off", "smoothgrad", "smoothgrad_sq", "vargrad"), group="Noise tunnel"),
    Field("nt_samples", 10, "noisy copies", low=1, high=1000, group="Noise tunnel"),
    Field("nt_stdevs", 0.1, "standard deviation of the noise, in units of the ready input",
          high=1000, group="Noise tunnel"),
)  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One method of the library, as a page offers it.

    Args:
        make: its class.
        about: what its scores are, in a line.
        fields: its parameters.
        baselines: what it compares with: "none", a "point" at a time, or all "rows" at once.
        grouped: what becomes of `patch` or `window`: feature masks, sliding windows or nothing.
        layered: it needs a convolution, which the field `layer` names.
        called: what people call it, where that is not the class's name.
    """

    make: Callable[..., attr.Attribution]
    about: str
    fields: tuple[Field, ...] = ()
    baselines: str = "none"
    grouped: str = ""
    layered: bool = False
    called: str = ""

    @property
    def name(self) -> str:
        """The class's name."""
        return self.make.__name__

    @property
    def title(self) -> str:
        """The same for people."""
        return self.called or str(self.make.get_name())  # type: ignore[attr-defined]  # a class

    @property
    def tunnel(self) -> bool:
        """Whether a noise tunnel may stand around it."""
        return issubclass(self.make, attr.GradientAttribution)  # type: ignore[arg-type]  # a class


def _tuned(make: Any, name: str, about: str, low: float, high: float) -> Field:
    """A number with the default that the method's own signature has."""
    return Field(name, inspect.signature(make.attribute).parameters[name].default, about, low, high)


def _samples(make: Any, about: str) -> Field:
    return _tuned(make, "n_samples", about, 1, 100_000)


_PATCH = Field("patch", 1, "squares of this many pixels count as one feature", low=1, high=4096)
_WINDOW = Field("window", 1, "side of the square that is hidden, in pixels", low=1, high=4096)
_STRIDE = Field("strides", 1, "pixels from one position to the next", low=1, high=4096)

TABLE = (
    Method(
        attr.IntegratedGradients,
        "what each entry adds on the way from the baseline to the input",
        (
            _tuned(attr.IntegratedGradients, "n_steps", "points on the path", 1, 10_000),
            Field("method", "gausslegendre", "how the integral is computed", choices=_PATHS),
        ),
        "point",
    ),
    Method(
        attr.Saliency,
        "how fast the answer moves with each entry",
        (Field("abs", True, "the size of the slope without its sign"),),
    ),
    Method(attr.InputXGradient, "input times slope"),
    Method(
        attr.DeepLift,
        "differences from the baseline, handed back exactly",
        baselines="point",
        called="DeepLIFT",
    ),
    Method(
        attr.DeepLiftShap,
        "DeepLIFT, averaged over the baselines",
        baselines="rows",
        called="DeepLIFT SHAP",
    ),
    Method(
        attr.GradientShap,
        "gradients at random points between baselines and input",
        (
            _samples(attr.GradientShap, "random points"),
            _tuned(attr.GradientShap, "stdevs", "noise added to the input", 0, 1000),
        ),
        "rows",
        called="Gradient SHAP",
    ),
    Method(attr.LRP, "the answer's relevance, handed down layer by layer"),
    Method(attr.GuidedBackprop, "slopes through what is active and speaks for the answer"),
    Method(attr.Deconvolution, "slopes through what speaks for the answer"),
    Method(
        attr.FeatureAblation,
        "what the answer loses when a feature goes to its baseline",
        (_PATCH,),
        "point",
        "masks",
    ),
    Method(
        attr.Occlusion,
        "what the answer loses when a window is hidden, averaged over windows",
        (_WINDOW, _STRIDE),
        "point",
        "windows",
    ),
    Method(
        attr.ShapleyValueSampling,
        "what a feature adds on average over random orders",
        (_samples(attr.ShapleyValueSampling, "orders"), _PATCH),
        "point",
        "masks",
    ),
    Method(
        attr.KernelShap,
        "Shapley values from a weighted linear fit",
        (_samples(attr.KernelShap, "coalitions"), _PATCH),
        "point",
        "masks",
        called="Kernel SHAP",
    ),
    Method(
        attr.Lime,
        "weights of a sparse linear model fitted near the input",
        (_samples(attr.Lime, "coalitions"), _PATCH),
        "point",
        "masks",
        called="LIME",
    ),
    Method(
        attr.RISE,
        "how strong the answer is, on average, while an entry is visible",
        (
            _samples(attr.RISE, "random masks"),
            _tuned(attr.RISE, "grid", "cells of a mask along each side", 1, 256),
            _tuned(attr.RISE, "p", "chance of a cell to be visible", 0.01, 0.99),
        ),
        "point",
    ),
    Method(
        attr.LayerGradCam,
        "which regions a convolution answers to",
        (Field("relu_attributions", False, "only what speaks for the answer"),),
        layered=True,
        called="Grad-CAM",
    ),
    Method(
        attr.GuidedGradCam,
        "Grad-CAM times guided backpropagation",
        layered=True,
        called="Guided Grad-CAM",
    ),
)
METHODS = {method.name: method for method in TABLE}


@dataclass(frozen=True)
class Offer:
    """The methods that fit these models and inputs, each with its form.

    >>> import torch
    >>> offer = Offer.to([nn.Linear(3, 2)], ["general"], [torch.zeros(1, 3)])
    >>> [field.name for field in offer["IntegratedGradients"].fields][:2]
    ['n_steps', 'method']
    >>> "LayerGradCam" in offer.methods, "RISE" in offer.methods
    (False, False)
    """

    methods: dict[str, Method]
    convolutional: list[int] = field(default_factory=list)  # the models that have a convolution

    @classmethod
    def to(cls, models: Sequence[Any], kinds: Sequence[str], inputs: Sequence[Tensor]) -> Offer:
        """Look at the models and at one example's ready inputs (1, *F)."""
        shapes = tuple(Shape.of(kind, x) for kind, x in zip(kinds, inputs, strict=True))
        pictures = [shape for shape in shapes if shape.picture]
        only_picture = len(shapes) == 1 and bool(pictures)
        layers = _convolutions(models) if only_picture else ()
        fitting = (
            method
            for method in TABLE
            if (layers or not method.layered) and (only_picture or method.make is not attr.RISE)
        )
        having = [i for i, model in enumerate(models) if _convolutions([model])]
        return cls({m.name: _completed(m, pictures, layers) for m in fitting}, having)

    def __getitem__(self, name: Any) -> Method:
        if isinstance(name, str) and name in self.methods:
            return self.methods[name]
        raise wrong(
            ValueError,
            f"a method that fits these models and inputs: {', '.join(self.methods)}",
            repr(name),
            'methods=["IntegratedGradients"]',
        )

    def checked(self, name: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """A value for each field of a method.

        Raises:
            FieldsError: values that do not fit.
            ValueError: an unknown method.
        """
        values = checked(self[name].fields, given)
        if values.get("strides", 1) > values.get("window", values.get("strides", 1)):
            raise FieldsError({"strides": f"at most the window, {values['window']}"})
        return values

    def described(self) -> list[dict[str, Any]]:
        """The same for a page."""
        return [
            {
                "name": method.name,
                "title": method.title,
                "about": method.about,
                "models": self.convolutional if method.layered else None,
                "fields": [field.described() for field in method.fields],
            }
            for method in self.methods.values()
        ]


def _completed(method: Method, pictures: Sequence[Shape], layers: tuple[str, ...]) -> Method:
    """The method with the parameters that only these models and inputs have."""
    fields = list(method.fields)
    if not pictures:
        fields = [f for f in fields if f.name not in ("patch", "window", "strides")]
    else:
        side = min(pictures[0].size[-2:])
        sizes = {"patch": side // 8, "window": side // 5, "strides": side // 10}
        fields = [replace(f, default=max(1, sizes.get(f.name, f.default))) if f.name in sizes
                  else f for f in fields]  # fmt: skip
    if method.layered:
        fields.append(Field("layer", layers[-1], "the convolution to look at", choices=layers))
    return replace(method, fields=(*fields, *(TUNNEL if method.tunnel else ())))


def _convolutions(models: Sequence[Any]) -> tuple[str, ...]:
    """The names of two-dimensional convolutions in any of the models, in their order."""
    modules = [module for module in map(owner, models) if module is not None]
    named = [name for m in modules for name, part in m.named_modules() if is_convolution(part)]
    return tuple(dict.fromkeys(named))


def is_convolution(module: nn.Module | None) -> bool:
    """Whether its values are maps of a picture."""
    return isinstance(module, nn.Conv2d)
