"""The deep module paths of the published package, for code that imports from them.

One table: old path -> where its names live now. A path resolves to a module that hands out the
names of its new homes; nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_ATTR = "captum.attr."
_CORE = "captum.attr._core."

_INFLUENCE = "captum.influence."
_CONCEPT = "captum.concept."
_METRICS = "captum.metrics."
_ROBUST = "captum.robust."

HOMES: dict[str, tuple[str, ...]] = {
    "captum.concept._core": (),
    "captum.concept._utils": (),
    "captum.concept._core.cav": (_CONCEPT + "cav",),
    "captum.concept._core.concept": (_CONCEPT + "concept",),
    "captum.concept._core.tcav": (_CONCEPT + "tcav",),
    "captum.concept._utils.classifier": (_CONCEPT + "classifier",),
    "captum.concept._utils.common": (_CONCEPT + "concept",),
    "captum.concept._utils.data_iterator": (_CONCEPT + "data",),
    "captum.influence._core": (),
    "captum.influence._utils": (),
    "captum.influence._core.influence": (_INFLUENCE + "base",),
    "captum.influence._core.influence_function": (_INFLUENCE + "functions",),
    "captum.influence._core.arnoldi_influence_function": (_INFLUENCE + "functions",),
    "captum.influence._core.similarity_influence": (_INFLUENCE + "similarity",),
    "captum.influence._core.tracincp": (_INFLUENCE + "tracin",),
    "captum.influence._core.tracincp_fast_rand_proj": (_INFLUENCE + "tracin_fast",),
    "captum.influence._utils.common": (_INFLUENCE + "base",),
    "captum.influence._utils.nearest_neighbors": (_INFLUENCE + "neighbors",),
    "captum.metrics._core": (),
    "captum.metrics._core.infidelity": (_METRICS + "infidelity",),
    "captum.metrics._core.sensitivity": (_METRICS + "sensitivity",),
    "captum.module.binary_concrete_stochastic_gates": ("captum.module.binary_concrete",),
    "captum.module.gaussian_stochastic_gates": ("captum.module.gaussian",),
    "captum.module.stochastic_gates_base": ("captum.module.gates",),
    "captum.robust._core": (),
    "captum.robust._core.metrics": (),
    "captum.robust._core.fgsm": (_ROBUST + "fgsm",),
    "captum.robust._core.pgd": (_ROBUST + "pgd",),
    "captum.robust._core.perturbation": (_ROBUST + "base",),
    "captum.robust._core.metrics.attack_comparator": (_ROBUST + "comparator",),
    "captum.robust._core.metrics.min_param_perturbation": (_ROBUST + "min_param",),
    "captum.insights.attr_vis": ("captum.insights.visualizer", "captum.insights.examples"),
    "captum.insights.attr_vis.app": ("captum.insights.visualizer", "captum.insights.examples"),
    "captum.insights.attr_vis.features": ("captum.insights.features",),
    "captum._utils": (),
    "captum._utils.av": (_CONCEPT + "av",),
    "captum._utils.models": ("captum.linear",),
    "captum._utils.models.linear_model": ("captum.linear",),
    "captum._utils.models.linear_model.model": ("captum.linear",),
    "captum._utils.models.model": ("captum.linear",),
    "captum.attr._core": (),
    "captum.attr._core.layer": (),
    "captum.attr._core.neuron": (),
    "captum.attr._models": (),
    "captum.attr._utils": (),
    "captum.attr._models.base": (_ATTR + "embeddings",),
    "captum.attr._utils.attribution": (_ATTR + "base",),
    "captum.attr._utils.baselines": (_ATTR + "product_baselines",),
    "captum.attr._utils.class_summarizer": (_ATTR + "summary",),
    "captum.attr._utils.input_layer_wrapper": (_ATTR + "input_layer_wrapper",),
    "captum.attr._utils.custom_modules": (_ATTR + "lrp_rules",),
    "captum.attr._utils.lrp_rules": (_ATTR + "lrp_rules",),
    "captum.attr._utils.stat": (_ATTR + "summary",),
    "captum.attr._utils.summarizer": (_ATTR + "summary",),
    "captum.attr._utils.visualization": (_ATTR + "visualization",),
    _CORE + "dataloader_attr": (_ATTR + "dataloader",),
    _CORE + "deep_lift": (_ATTR + "deep_lift",),
    _CORE + "feature_ablation": (_ATTR + "feature_ablation",),
    _CORE + "feature_permutation": (_ATTR + "feature_permutation",),
    _CORE + "gradient_shap": (_ATTR + "gradient_shap",),
    _CORE + "guided_backprop_deconvnet": (_ATTR + "guided",),
    _CORE + "guided_grad_cam": (_ATTR + "guided",),
    _CORE + "input_x_gradient": (_ATTR + "input_x_gradient",),
    _CORE + "integrated_gradients": (_ATTR + "integrated_gradients",),
    _CORE + "kernel_shap": (_ATTR + "kernel_shap",),
    _CORE + "llm_attr": tuple(
        _ATTR + "llm." + name for name in ("attribution", "base", "gradients", "remote", "result")
    ),
    _CORE + "remote_provider": (_ATTR + "llm.provider",),
    "captum.attr._utils.interpretable_input": tuple(
        _ATTR + "llm." + name
        for name in ("image_mask", "interpretable", "text_template", "text_tokens")
    ),
    _CORE + "lime": (_ATTR + "lime", _ATTR + "lime_base", _ATTR + "similarity"),
    _CORE + "lrp": (_ATTR + "lrp", _ATTR + "lrp_rules"),
    _CORE + "noise_tunnel": (_ATTR + "noise_tunnel",),
    _CORE + "occlusion": (_ATTR + "occlusion",),
    _CORE + "saliency": (_ATTR + "saliency",),
    _CORE + "shapley_value": (_ATTR + "shapley",),
    _CORE + "layer.grad_cam": (_ATTR + "grad_cam",),
    _CORE + "layer.layer_feature_ablation": (_ATTR + "feature_ablation",),
    _CORE + "layer.layer_feature_permutation": (_ATTR + "feature_permutation",),
    _CORE + "layer.internal_influence": (_ATTR + "conductance",),
    _CORE + "layer.layer_activation": (_ATTR + "layer_activation",),
    _CORE + "layer.layer_conductance": (_ATTR + "conductance",),
    _CORE + "layer.layer_deep_lift": (_ATTR + "deep_lift",),
    _CORE + "layer.layer_lrp": (_ATTR + "lrp",),
    _CORE + "layer.layer_gradient_shap": (_ATTR + "gradient_shap",),
    _CORE + "layer.layer_gradient_x_activation": (_ATTR + "input_x_gradient",),
    _CORE + "layer.layer_integrated_gradients": (_ATTR + "integrated_gradients",),
    _CORE + "neuron.neuron_conductance": (_ATTR + "conductance",),
    _CORE + "neuron.neuron_deep_lift": (_ATTR + "deep_lift",),
    _CORE + "neuron.neuron_guided_backprop_deconvnet": (_ATTR + "guided",),
    _CORE + "neuron.neuron_feature_ablation": (_ATTR + "feature_ablation",),
    _CORE + "neuron.neuron_gradient": (_ATTR + "saliency",),
    _CORE + "neuron.neuron_gradient_shap": (_ATTR + "gradient_shap",),
    _CORE + "neuron.neuron_integrated_gradients": (_ATTR + "integrated_gradients",),
}


class _Old(MetaPathFinder, Loader):
    """Finds the old paths, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in HOMES:
            return None
        is_package = any(name.startswith(fullname + ".") for name in HOMES)
        return ModuleSpec(fullname, self, is_package=is_package)

    def exec_module(self, module: ModuleType) -> None:
        homes = HOMES[module.__name__]

        def look_up(name: str) -> Any:
            for home in homes:
                new = importlib.import_module(home)
                if hasattr(new, name):
                    return getattr(new, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__doc__ = "Moved to " + ", ".join(homes) if homes else None
        module.__dict__["__getattr__"] = look_up


def install() -> None:
    """Make the old paths importable."""
    if not any(isinstance(finder, _Old) for finder in sys.meta_path):
        sys.meta_path.append(_Old())
