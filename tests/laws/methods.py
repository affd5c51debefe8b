"""The one table of methods: how each is made, called, and which laws it promises to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from captum import attr
from captum.attr import lrp_rules
from laws.making import PLACES, on_inputs, on_layer, on_layers, on_neuron, placed, tunnel
from laws.method import FromInputs, Method, bent, by_hand, model_of, rows
from laws.methods_perturbation import PERTURBING

# ------------------------------------------------------------------------- methods on inputs

_QUADRATURES = {
    "gausslegendre": 1e-10,
    "riemann_trapezoid": 1e-2,
    "riemann_middle": 1e-2,
    "riemann_left": 0.5,
    "riemann_right": 0.5,
}


_COMPOSITES: dict[str, Any] = {
    "epsilon plus": lrp_rules.epsilon_plus(),
    "epsilon plus flat": lrp_rules.epsilon_plus_flat(),
    "epsilon alpha beta": lrp_rules.epsilon_alpha2_beta1(),
    "epsilon gamma box": lrp_rules.epsilon_gamma_box(-4.0, 4.0),
    "gamma": [("*", lrp_rules.GammaRule())],
}


_IG = Method("IntegratedGradients", on_inputs(attr.IntegratedGradients), sums="smooth")
_SHAP = Method(
    "GradientShap",
    on_inputs(attr.GradientShap),
    {"baselines": rows, "n_samples": 4},
    sums="linear",
    draws=True,
)
_XGRAD = Method("InputXGradient", on_inputs(attr.InputXGradient), sums="linear")
_SIGNED = Method("Saliency signed", on_inputs(attr.Saliency), {"abs": False})

_LIFT = Method("DeepLift", on_inputs(attr.DeepLift), sums="any")
_LIFT_SHAP = replace(
    _LIFT,
    name="DeepLiftShap",
    make=on_inputs(attr.DeepLiftShap),
    options={"baselines": rows},
    averages=True,
)
_LRP = Method("LRP", on_inputs(attr.LRP), sums="unbiased", close=1e-6)
_GUIDED = Method("GuidedBackprop", on_inputs(attr.GuidedBackprop), linear=False, rectified=True)
_DECONV = replace(_GUIDED, name="Deconvolution", make=on_inputs(attr.Deconvolution))

ON_INPUTS = [
    Method("Saliency", on_inputs(attr.Saliency), linear=False),
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
        make=on_inputs(attr.IntegratedGradients, multiply_by_inputs=False),
        sums=None,
    ),
    _SHAP,
    replace(
        _SHAP,
        name="GradientShap noisy",
        options={**_SHAP.options, "stdevs": 0.2},
        sums=None,
        noise=True,
        symmetric=False,
    ),
    replace(
        _SHAP,
        name="GradientShap sensitivity",
        make=on_inputs(attr.GradientShap, multiply_by_inputs=False),
        sums=None,
    ),
    _LIFT,
    replace(_LIFT, name="DeepLift baseline", options={"baselines": 0.3}),
    replace(
        _LIFT,
        name="DeepLift baseline per row",
        options={"baselines": FromInputs(lambda x: x / 4)},
    ),
    replace(_LIFT, name="DeepLift strict", options={"strict": True}),
    replace(_LIFT, name="DeepLift custom", options={"custom_attribution_func": by_hand}),
    replace(
        _LIFT,
        name="DeepLift sensitivity",
        make=on_inputs(attr.DeepLift, multiply_by_inputs=False),
        sums=None,
    ),
    _LIFT_SHAP,
    replace(
        _LIFT_SHAP,
        name="DeepLiftShap sensitivity",
        make=on_inputs(attr.DeepLiftShap, multiply_by_inputs=False),
        sums=None,
    ),
    _LRP,
    replace(_LRP, name="LRP strict", options={"strict": True}),
    *(
        replace(
            _LRP,
            name=f"LRP {name}",
            make=on_inputs(attr.LRP, rules=rules),
            # Where nothing excites a unit, rules that look for it have nobody to hand it to.
            sums="unbiased" if "gamma" in name else None,
            close=1e-4,  # a stabiliser keeps its share
            # Relevance by position alone reaches what has no influence.
            per_unit="flat" not in name,
        )
        for name, rules in _COMPOSITES.items()
    ),
    _GUIDED,
    _DECONV,
    replace(
        _GUIDED,
        name="GuidedGradCam",
        make=lambda net, what: attr.GuidedGradCam(model_of(net), net.right),
    ),
]


# ------------------------------------------------- the same methods with `at=`, `of=` and both

_BASES = [_SIGNED, _XGRAD, _IG, _SHAP, _LIFT, _LIFT_SHAP, _LRP, _GUIDED, _DECONV]
AT_AND_OF = [
    *(placed(base, place, neuron=False) for base in _BASES for place in PLACES),
    *(placed(base, None, neuron=True) for base in _BASES),
    *(placed(base, "at layer", neuron=True) for base in _BASES),
]


# ------------------------------------------------------------------------- methods on layers


def _of_neuron(kind: type[attr.Attribution]) -> Method:
    """A neuron's contributions from a layer, all of it from one pass."""
    return Method(
        f"{kind.__name__} of neuron",
        lambda net, what: kind(  # type: ignore[call-arg]
            model_of(net), net.layer, of=attr.Neuron(net.neuron, what)
        ),
        lands="layer",
        asks="of",
        sums="unbiased" if kind is attr.LayerLRP else "any",
        close=1e-6 if kind is attr.LayerLRP else 1e-10,
    )


_PER_LAYER = [
    Method(
        "LayerActivation",
        on_layer(attr.LayerActivation),
        asks="nothing",
        linear=False,
        per_unit=False,
    ),
    Method("LayerGradientXActivation", on_layer(attr.LayerGradientXActivation), sums="linear"),
    Method("LayerIntegratedGradients", on_layer(attr.LayerIntegratedGradients), sums="smooth"),
    replace(_SHAP, name="LayerGradientShap", make=on_layer(attr.LayerGradientShap)),
    Method(
        "LayerConductance",
        on_layer(attr.LayerConductance),
        {"method": "riemann_trapezoid", "n_steps": 60},
        sums="smooth",
        close=0.2,
    ),
    Method("InternalInfluence", on_layer(attr.InternalInfluence), {"n_steps": 10}),
    replace(_LIFT, name="LayerDeepLift", make=on_layer(attr.LayerDeepLift)),
    replace(_LIFT_SHAP, name="LayerDeepLiftShap", make=on_layer(attr.LayerDeepLiftShap)),
    replace(_LRP, name="LayerLRP", make=on_layer(attr.LayerLRP)),
]
_SEVERAL = {
    "LayerActivation": attr.LayerActivation,
    "LayerGradientXActivation": attr.LayerGradientXActivation,
    "LayerIntegratedGradients": attr.LayerIntegratedGradients,
    "LayerGradientShap": attr.LayerGradientShap,
    "LayerConductance": attr.LayerConductance,
    "InternalInfluence": attr.InternalInfluence,
    "LayerDeepLift": attr.LayerDeepLift,
    "LayerDeepLiftShap": attr.LayerDeepLiftShap,
    "LayerLRP": attr.LayerLRP,
}
_CHANNELS = {"attr_dim_summation": False}
_CAMS = [
    Method("LayerGradCam", on_layer(attr.LayerGradCam), _CHANNELS),
    Method("LayerHiResCam", on_layer(attr.LayerHiResCam), _CHANNELS, sums="linear"),
    Method("LayerGradCamPlusPlus", on_layer(attr.LayerGradCamPlusPlus), _CHANNELS, linear=False),
    Method("LayerCam", on_layer(attr.LayerCam), _CHANNELS, linear=False),
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
        replace(m, name=f"{m.name} of several", lands="layers", make=on_layers(_SEVERAL[m.name]))
        for m in _PER_LAYER
    ),
    Method(
        "LayerIntegratedGradients path",
        on_layer(attr.LayerIntegratedGradients),
        {"path": bent},
        lands="layer",
        sums="smooth",
    ),
    Method(
        "LayerGradientXActivation gradient",
        on_layer(attr.LayerGradientXActivation, multiply_by_inputs=False),
        lands="layer",
    ),
    replace(
        _LIFT,
        name="LayerDeepLift sensitivity",
        make=on_layer(attr.LayerDeepLift, multiply_by_inputs=False),
        lands="layer",
        sums=None,
    ),
    replace(
        _LRP,
        name="LayerLRP epsilon plus",
        make=on_layer(attr.LayerLRP, rules=_COMPOSITES["epsilon plus"]),
        lands="layer",
        sums=None,
    ),
    *(_of_neuron(m) for m in (attr.LayerDeepLift, attr.LayerLRP)),
    Method("LayerGradCam map", on_layer(attr.LayerGradCam), lands="map", per_unit=False),
    Method("LayerScoreCam", on_layer(attr.LayerScoreCam), lands="map", per_unit=False),
]


# ------------------------------------------------------------------------ methods on neurons


def _conductance(net: Any, what: Any) -> attr.Attribution:
    return attr.NeuronConductance(model_of(net), net.neuron)


ON_NEURONS = [
    Method("NeuronGradient", on_neuron(attr.NeuronGradient), asks="neuron_selector"),
    Method(
        "NeuronIntegratedGradients",
        on_neuron(attr.NeuronIntegratedGradients),
        asks="neuron_selector",
        sums="smooth",
    ),
    replace(
        _SHAP,
        name="NeuronGradientShap",
        make=on_neuron(attr.NeuronGradientShap),
        asks="neuron_selector",
    ),
    Method("NeuronConductance", _conductance, {"neuron_selector": 1, "n_steps": 10}),
    *(
        replace(m, name=f"Neuron{m.name}", make=on_neuron(kind), asks="neuron_selector")
        for m, kind in (
            (_LIFT, attr.NeuronDeepLift),
            (_LIFT_SHAP, attr.NeuronDeepLiftShap),
            (_GUIDED, attr.NeuronGuidedBackprop),
            (_DECONV, attr.NeuronDeconvolution),
        )
    ),
]


# ----------------------------------------------------------------------------- noise tunnels


_BY_NAME = {m.name: m for m in (*ON_INPUTS, *AT_AND_OF, *ON_LAYERS, *ON_NEURONS, *PERTURBING)}
TUNNELS = [
    *(tunnel(_SIGNED, nt_type) for nt_type in ("smoothgrad", "smoothgrad_sq", "vargrad")),
    *(
        tunnel(_BY_NAME[name], "smoothgrad")
        for name in (
            "Saliency",
            "IntegratedGradients",
            "GradientShap",
            "FeatureAblation",
            "FeatureAblation masks",
            "ShapleyValues",
            "LayerGradientXActivation of several",
            "LayerIntegratedGradients",
            "LayerConductance",
            "NeuronGradient",
            "InputXGradient at layer of neuron",
            "DeepLift",
            "DeepLift baseline",
            "DeepLiftShap",
            "LayerDeepLift",
            "LRP",
            "GuidedBackprop",
        )
    ),
]

METHODS = [*ON_INPUTS, *AT_AND_OF, *ON_LAYERS, *ON_NEURONS, *PERTURBING, *TUNNELS]


def keeping(law: Callable[[Method], Any]) -> list[Any]:
    """The rows a law is for, as pytest parameters."""
    return [m for m in METHODS if law(m)]


def name_of(method: Method) -> str:
    return method.name.replace(" ", "-")
