"""Code written for the published package runs here: the same names, parameters and defaults.

`api.json` holds the facts: module -> name -> method ("" of a function) -> parameters, each as
(name, kind, default as text or null). What is ours beside them is keyword-only.
"""

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from captum import _legacy

API: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("api.json").read_text())
NAMES = [(module, name) for module, names in API.items() for name in names]

# Defaults changed on purpose: the engine chooses.
_BETTER = {
    ("perturbations_per_eval", "1"): "'auto'",
    ("internal_batch_size", "None"): "'auto'",
}
Fact = tuple[str, str, str | None]


def text_of(default: object) -> str | None:
    """Defaults that are functions or objects are compared as such, not by their address."""
    if default is inspect.Parameter.empty:
        return None
    return re.sub(r"<.*>", "<object>", repr(default), flags=re.DOTALL)


def own_parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(function).parameters
    return {name: p for name, p in found.items() if name not in ("self", "cls")}


def differences(reference: list[Fact], function: Callable[..., Any]) -> Iterator[str]:
    ours = own_parameters(function)
    any_keyword = any(p.kind is p.VAR_KEYWORD for p in ours.values())
    order, last = list(ours), -1
    for name, kind, default in reference:
        if kind.startswith("VAR_"):
            continue
        if name not in ours:
            if not any_keyword:
                yield f"no parameter {name!r}"
            continue
        if kind != "KEYWORD_ONLY":
            if order.index(name) < last:
                yield f"{name!r} is out of order"
            last = max(last, order.index(name))
            if ours[name].kind is inspect.Parameter.KEYWORD_ONLY:
                yield f"{name!r} is keyword-only"
        wanted = None if default is None else re.sub(r"<.*>", "<object>", default, flags=re.DOTALL)
        if text_of(ours[name].default) not in (wanted, _BETTER.get((name, str(default)), wanted)):
            yield f"{name}={text_of(ours[name].default)} instead of {default}"
    known = {name for name, _, _ in reference}
    free = (inspect.Parameter.KEYWORD_ONLY, *_VARIADIC)
    for name, parameter in ours.items():
        if name not in known and parameter.kind not in free:
            yield f"{name!r} is our own and not keyword-only"
        if (
            name not in known
            and parameter.kind not in _VARIADIC
            and text_of(parameter.default) is None
        ):
            yield f"{name!r} is our own and required"


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda item: item)
def test_signatures_are_the_published_ones(module: str, name: str) -> None:
    ours = getattr(importlib.import_module(module), name)
    found = []
    for method, parameters in API[module][name].items():
        function = ours if method == "" else getattr(ours, method, None)
        if function is None:
            found.append(f"{method} is missing")
        elif parameters is not None:
            found += [f"{method}: {d}" for d in differences(parameters, function)]
    assert not found


def test_every_published_name_that_is_here_is_compared() -> None:
    """The file is a copy of the facts: nobody may thin it out."""
    assert len(API["captum.attr"]) >= 64
    for name in ("IntegratedGradients", "NoiseTunnel", "LayerGradCam", "LRP", "LLMAttribution"):
        assert API["captum.attr"][name]["attribute"]
    assert len(API["captum.attr._utils.lrp_rules"]) == 5


def f(a: int, b: int = 1, *, c: int = 2) -> int:
    return a + b + c


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ([("a", "P", None), ("b", "P", "1"), ("d", "P", "2")], "no parameter 'd'"),
        ([("b", "P", "1"), ("a", "P", None)], "out of order"),
        ([("a", "P", None), ("b", "P", "None")], "b=1 instead of None"),
        ([("a", "P", None)], "'b' is our own and not keyword-only"),
        ([("a", "P", None), ("b", "P", "1"), ("c", "P", "2")], "'c' is keyword-only"),
        ([("b", "P", "1")], "'a' is our own and required"),
    ],
)
def test_the_comparison_sees_differences(facts: list[Fact], complaint: str) -> None:
    assert complaint in " ".join(differences(facts, f))


def test_the_comparison_accepts_what_is_the_same() -> None:
    assert not list(differences([("a", "P", None), ("b", "P", "1")], f))


@pytest.mark.parametrize("path", _legacy.HOMES)
def test_deep_paths_resolve(path: str) -> None:
    module = importlib.import_module(path)
    assert module.__name__ == path
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize("path", [path for path, homes in _legacy.HOMES.items() if homes])
def test_deep_paths_hand_out_the_very_same_objects(path: str) -> None:
    """A class imported by its old path is the class, so isinstance and pickles agree."""
    old = importlib.import_module(path)
    for home in map(importlib.import_module, _legacy.HOMES[path]):
        public = [name for name, value in vars(home).items() if inspect.isclass(value)]
        assert public
        for name in public:
            assert getattr(old, name) is getattr(home, name)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("captum.attr._core.integrated_gradients", "IntegratedGradients"),
        ("captum.attr._core.deep_lift", "DeepLiftShap"),
        ("captum.metrics._core.infidelity", "infidelity"),
        ("captum.metrics._core.sensitivity", "sensitivity_max"),
        ("captum.module.stochastic_gates_base", "StochasticGatesBase"),
        ("captum.robust._core.fgsm", "FGSM"),
        ("captum.robust._core.metrics.min_param_perturbation", "MinParamPerturbation"),
        ("captum.attr._core.guided_backprop_deconvnet", "GuidedBackprop"),
        ("captum.attr._core.guided_grad_cam", "GuidedGradCam"),
        ("captum.attr._core.lrp", "LRP"),
        ("captum.attr._core.layer.grad_cam", "LayerGradCam"),
        ("captum.attr._core.layer.layer_deep_lift", "LayerDeepLift"),
        ("captum.attr._core.layer.layer_lrp", "LayerLRP"),
        ("captum.attr._core.neuron.neuron_deep_lift", "NeuronDeepLift"),
        ("captum.attr._core.neuron.neuron_gradient", "NeuronGradient"),
        ("captum.attr._core.noise_tunnel", "NoiseTunnelType"),
        ("captum.attr._core.dataloader_attr", "InputRole"),
        ("captum.attr._utils.attribution", "GradientAttribution"),
        ("captum.attr._utils.input_layer_wrapper", "ModelInputWrapper"),
        ("captum.attr._utils.lrp_rules", "EpsilonRule"),
        ("captum.attr._utils.stat", "Stat"),
        ("captum.attr._utils.summarizer", "Summarizer"),
        ("captum.attr._utils.visualization", "visualize_image_attr"),
        ("captum.attr._models.base", "InterpretableEmbeddingBase"),
        ("captum.attr._core.llm_attr", "LLMAttributionResult"),
        ("captum.concept._core.tcav", "TCAV"),
        ("captum.concept._utils.common", "concepts_to_str"),
        ("captum.concept._utils.data_iterator", "CustomIterableDataset"),
        ("captum.influence._core.tracincp", "TracInCP"),
        ("captum.influence._core.influence_function", "NaiveInfluenceFunction"),
        ("captum.influence._utils.common", "KMostInfluentialResults"),
        ("captum.attr._core.remote_provider", "VLLMProvider"),
        ("captum.attr._utils.interpretable_input", "TextTemplateInput"),
    ],
)
def test_names_users_import_from_deep_paths(path: str, name: str) -> None:
    assert getattr(importlib.import_module(path), name).__name__ == name


def test_an_unknown_deep_path_is_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("captum.attr._core.no_such_method")
