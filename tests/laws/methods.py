"""The one table of methods: how each is made, called, and which laws it promises to keep."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from captum import attr
from captum._engine.nest import map_tensors
from laws.unchanged import unchanged

Make = Callable[[Any, Any], attr.Attribution]  # of a net and of what is asked about its neuron
_SIZES = ("internal_batch_size", "perturbations_per_eval", "nt_samples_batch_size")


@dataclass(frozen=True)
class Method:
    """A row: a method at a place, asked a question.

    lands: what the scores have the shape of: "inputs", "layer", "layer input", "layers", or "map"
        where channels are summed.
    sums: to f(x) - f(x0) on which nets: "smooth" (all of them), "linear" (those without bias, x0
        being zero), or None.
    close: how exactly, on smooth nets.
    linear: the scores of a weighted sum of outputs are the weighted sum of their scores.
    draws: uses random numbers; noise: one per entry of the inputs, so no symmetry is exact.
    per_unit: what has no influence scores zero.
    kinks: keeps its promise on models with kinks too, so that it has nothing to warn of.
    """

    name: str
    make: Make
    options: Mapping[str, Any] = field(default_factory=dict)
    lands: Literal["inputs", "layer", "layer input", "layers", "map"] = "inputs"
    asks: Literal["target", "neuron_selector", "of", "nothing"] = "target"
    sums: Literal["smooth", "linear"] | None = None
    close: float = 1e-10
    linear: bool = True
    draws: bool = False
    noise: bool = False
    per_unit: bool = True
    kinks: bool = True

    @property
    def question(self) -> Any:
        """Output 1, or neuron 1."""
        return None if self.asks == "nothing" else 1

    def on(self, model: Any, what: Any = None, places: Any = None) -> attr.Attribution:
        """The method on a model; `places` has the modules where the model only wraps them."""
        net = model if places is None else _Placed(model, places)
        return self.make(net, self.question if what is None else what)

    def scores(
        self, model: Any, x: Any, what: Any = None, *, places: Any = None, **more: Any
    ) -> Any:
        """What `attribute` returns, once it has left everything as it was."""
        made = self.on(model, what, places)
        given: dict[str, Any] = {**self.options, **more}
        if self.asks in ("target", "neuron_selector"):
            given = {self.asks: self.question if what is None else what, **given}
        with unchanged(model, x, given, rng=not self.draws or given.get("generator") is not None):
            return made.attribute(x, **given)

    def accepts(self, model: Any) -> set[str]:
        """The parameters of `attribute`; a tunnel passes on those of the method inside."""
        made = self.on(model)
        names = set(inspect.signature(made.attribute).parameters)
        inner = getattr(made, "attribution_method", None)
        return (
            names if inner is None else names | set(inspect.signature(inner.attribute).parameters)
        )

    def sizes(self, model: Any) -> list[str]:
        """The parameters that split the work into passes."""
        return [name for name in _SIZES if name in self.accepts(model)]

    def value(self, net: Any, x: Any, what: Any = None) -> Tensor:
        """The number that is explained, straight from the net, (N,)."""
        what = self.question if what is None else what
        if self.asks == "target":
            out = net(x)
        else:
            found: list[Tensor] = []
            handle = net.neuron.register_forward_hook(lambda _m, _i, out: found.append(out.clone()))
            net(x)
            handle.remove()
            (out,) = found
        chosen: Tensor = what(out) if callable(what) else out[:, what]
        return chosen.detach()


@dataclass(frozen=True)
class _Placed:
    """A model, and a net inside it whose modules are named."""

    model: Any
    places: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.places, name)


def rows(inputs: Any) -> Any:
    """Baselines to draw from, (2, *F) for every input, alike in all channels."""

    def two(x: Tensor) -> Tensor:
        levels = torch.tensor([-0.5, 1.0], dtype=x.dtype, device=x.device)
        return levels.view(2, *[1] * (x.ndim - 1)).expand(2, *x.shape[1:])

    # A list of baselines means several of them, so inputs in a list have theirs in a tuple.
    return map_tensors(two, tuple(inputs) if isinstance(inputs, list) else inputs)


def bent(alphas: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """A curved way from start to end, another one for every entry."""
    a = alphas.view(-1, *[1] * end.ndim)
    return start + (a + a * (1 - a) * torch.tanh(end)) * (end - start)


def model_of(net: Any) -> Any:
    return net.model if isinstance(net, _Placed) else net


# ------------------------------------------------------------------------- methods on inputs

_QUADRATURES = {
    "gausslegendre": 1e-10,
    "riemann_trapezoid": 1e-2,
    "riemann_middle": 1e-2,
    "riemann_left": 0.5,
    "riemann_right": 0.5,
}


def _on_inputs(kind: type[attr.Attribution], **settings: Any) -> Make:
    return lambda net, what: kind(model_of(net), **settings)


_IG = Method("IntegratedGradients", _on_inputs(attr.IntegratedGradients), sums="smooth")
_SHAP = Method(
    "GradientShap",
    _on_inputs(attr.GradientShap),
    {"baselines": rows, "n_samples": 4},
    sums="linear",
    draws=True,
)
_XGRAD = Method("InputXGradient", _on_inputs(attr.InputXGradient), sums="linear")
_SIGNED = Method("Saliency signed", _on_inputs(attr.Saliency), {"abs": False})
_ABLATION = Method("FeatureAblation", _on_inputs(attr.FeatureAblation), sums="linear")

ON_INPUTS = [
    Method("Saliency", _on_inputs(attr.Saliency), linear=False),
    _SIGNED,
    _XGRAD,
    _IG,
    *(
        replace(_IG, name=f"{_IG.name} {name}", options={"method": name}, close=close)
        for name, close in _QUADRATURES.items()
        if name != "gausslegendre"
    ),
    replace(
        _IG,
        name="IntegratedGradients auto",
        options={"n_steps": "auto", "tol": 1e-9},
        close=1e-8,
        kinks=False,
    ),
    replace(_IG, name="IntegratedGradients path", options={"path": bent}),
    replace(_IG, name="IntegratedGradients baseline", options={"baselines": 0.3}),
    replace(_IG, name="IntegratedGradients baselines", options={"baselines": [0.3, -0.2]}),
    replace(
        _IG,
        name="IntegratedGradients sensitivity",
        make=_on_inputs(attr.IntegratedGradients, multiply_by_inputs=False),
        sums=None,
    ),
    _SHAP,
    replace(
        _SHAP,
        name="GradientShap noisy",
        options={**_SHAP.options, "stdevs": 0.2},
        sums=None,
        noise=True,
    ),
    replace(
        _SHAP,
        name="GradientShap sensitivity",
        make=_on_inputs(attr.GradientShap, multiply_by_inputs=False),
        sums=None,
    ),
    _ABLATION,
    replace(_ABLATION, name="FeatureAblation baseline", options={"baselines": 0.3}),
]


# ------------------------------------------------- the same methods with `at=`, `of=` and both

_PLACES: dict[str, tuple[Any, Any]] = {
    "at layer": ("layer", lambda net: net.layer),
    "at layers": ("layers", lambda net: net.layers),
    "at layer input": ("layer input", lambda net: attr.Layer(net.layer, side="input")),
}


def _placed(base: Method, place: str | None, neuron: bool) -> Method:
    lands, at = _PLACES[place] if place else (base.lands, lambda net: None)
    kind = type(base.make(torch.nn.Identity(), None))

    def make(net: Any, what: Any) -> attr.Attribution:
        of = attr.Neuron(net.neuron, what) if neuron else None
        return kind(model_of(net), at=at(net), of=of)  # type: ignore[call-arg]

    words = [base.name, *([place] if place else []), *(["of neuron"] if neuron else [])]
    asks = "of" if neuron else base.asks
    return replace(base, name=" ".join(words), make=make, lands=lands, asks=asks)


_BASES = [_SIGNED, _XGRAD, _IG, _SHAP, _ABLATION]
AT_AND_OF = [
    *(_placed(base, place, neuron=False) for base in _BASES for place in _PLACES),
    *(_placed(base, None, neuron=True) for base in _BASES),
    *(_placed(base, "at layer", neuron=True) for base in _BASES),
]


# ------------------------------------------------------------------------- methods on layers


def _on_layer(kind: type[attr.Attribution], **settings: Any) -> Make:
    return lambda net, what: kind(model_of(net), net.layer, **settings)  # type: ignore[call-arg]


def _on_layers(kind: type[attr.Attribution]) -> Make:
    return lambda net, what: kind(model_of(net), net.layers)  # type: ignore[call-arg]


_PER_LAYER = [
    Method(
        "LayerActivation",
        _on_layer(attr.LayerActivation),
        asks="nothing",
        linear=False,
        per_unit=False,
    ),
    Method("LayerGradientXActivation", _on_layer(attr.LayerGradientXActivation), sums="linear"),
    Method("LayerIntegratedGradients", _on_layer(attr.LayerIntegratedGradients), sums="smooth"),
    replace(_SHAP, name="LayerGradientShap", make=_on_layer(attr.LayerGradientShap)),
    Method(
        "LayerConductance",
        _on_layer(attr.LayerConductance),
        {"method": "riemann_trapezoid", "n_steps": 60},
        sums="smooth",
        close=0.2,
    ),
    Method("InternalInfluence", _on_layer(attr.InternalInfluence), {"n_steps": 10}),
]
_SEVERAL = {
    "LayerActivation": attr.LayerActivation,
    "LayerGradientXActivation": attr.LayerGradientXActivation,
    "LayerIntegratedGradients": attr.LayerIntegratedGradients,
    "LayerGradientShap": attr.LayerGradientShap,
    "LayerConductance": attr.LayerConductance,
    "InternalInfluence": attr.InternalInfluence,
}
_CHANNELS = {"attr_dim_summation": False}
_CAMS = [
    Method("LayerGradCam", _on_layer(attr.LayerGradCam), _CHANNELS),
    Method("LayerHiResCam", _on_layer(attr.LayerHiResCam), _CHANNELS, sums="linear"),
    Method("LayerGradCamPlusPlus", _on_layer(attr.LayerGradCamPlusPlus), _CHANNELS, linear=False),
    Method("LayerCam", _on_layer(attr.LayerCam), _CHANNELS, linear=False),
]
ON_LAYERS = [
    *(replace(m, lands="layer") for m in (*_PER_LAYER, *_CAMS)),
    *(
        replace(
            m,
            name=f"{m.name} input",
            lands="layer input",
            options={**m.options, "attribute_to_layer_input": True},
        )
        for m in (*_PER_LAYER, *_CAMS)
    ),
    *(
        replace(m, name=f"{m.name} of several", lands="layers", make=_on_layers(_SEVERAL[m.name]))
        for m in _PER_LAYER
    ),
    Method(
        "LayerIntegratedGradients path",
        _on_layer(attr.LayerIntegratedGradients),
        {"path": bent},
        lands="layer",
        sums="smooth",
    ),
    Method(
        "LayerGradientXActivation gradient",
        _on_layer(attr.LayerGradientXActivation, multiply_by_inputs=False),
        lands="layer",
    ),
    Method("LayerGradCam map", _on_layer(attr.LayerGradCam), lands="map", per_unit=False),
    Method("LayerScoreCam", _on_layer(attr.LayerScoreCam), lands="map", per_unit=False),
]


# ------------------------------------------------------------------------ methods on neurons


def _on_neuron(kind: type[attr.Attribution]) -> Make:
    return lambda net, what: kind(model_of(net), net.neuron)  # type: ignore[call-arg]


def _conductance(net: Any, what: Any) -> attr.Attribution:
    return attr.NeuronConductance(model_of(net), net.neuron)


ON_NEURONS = [
    Method("NeuronGradient", _on_neuron(attr.NeuronGradient), asks="neuron_selector"),
    Method(
        "NeuronIntegratedGradients",
        _on_neuron(attr.NeuronIntegratedGradients),
        asks="neuron_selector",
        sums="smooth",
    ),
    replace(
        _SHAP,
        name="NeuronGradientShap",
        make=_on_neuron(attr.NeuronGradientShap),
        asks="neuron_selector",
    ),
    Method("NeuronConductance", _conductance, {"neuron_selector": 1, "n_steps": 10}),
]


# ----------------------------------------------------------------------------- noise tunnels


def _tunnel(base: Method, nt_type: str) -> Method:
    return replace(
        base,
        name=f"NoiseTunnel {nt_type} {base.name}",
        make=lambda net, what: attr.NoiseTunnel(base.make(net, what)),
        options={**base.options, "nt_type": nt_type, "nt_samples": 4, "stdevs": 0.2},
        sums=None,
        linear=base.linear and nt_type == "smoothgrad",
        draws=True,
        noise=True,
    )


_BY_NAME = {m.name: m for m in (*ON_INPUTS, *AT_AND_OF, *ON_LAYERS, *ON_NEURONS)}
TUNNELS = [
    *(_tunnel(_SIGNED, nt_type) for nt_type in ("smoothgrad", "smoothgrad_sq", "vargrad")),
    *(
        _tunnel(_BY_NAME[name], "smoothgrad")
        for name in (
            "Saliency",
            "IntegratedGradients",
            "GradientShap",
            "FeatureAblation",
            "LayerGradientXActivation of several",
            "LayerIntegratedGradients",
            "LayerConductance",
            "NeuronGradient",
            "InputXGradient at layer of neuron",
        )
    ),
]

METHODS = [*ON_INPUTS, *AT_AND_OF, *ON_LAYERS, *ON_NEURONS, *TUNNELS]


def keeping(law: Callable[[Method], Any]) -> list[Any]:
    """The rows a law is for, as pytest parameters."""
    return [m for m in METHODS if law(m)]


def name_of(method: Method) -> str:
    return method.name.replace(" ", "-")
