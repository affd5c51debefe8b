"""Guided backpropagation, deconvolution, and guided Grad-CAM: sharp pictures of what is there.

The two rules stand in `captum._engine.rules.rectified`. Both show the image's structure more than
the model's decision (Adebayo et al., Sanity checks for saliency maps, 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum._engine.batching import Rows
from captum._engine.errors import warn
from captum._engine.explained import Explained, Neuron
from captum._engine.model import Model
from captum._engine.rules.rectified import RectifiedRules
from captum._engine.site import Site
from captum.attr.base import (
    Attribution,
    GradientAttribution,
    LayerGradientAttribution,
    Layers,
    NeuronGradientAttribution,
    Scores,
)
from captum.attr.grad_cam import channels_first, class_map, grad_cam_weights


class _Rectified(Attribution):
    """What the input and neuron forms share."""

    _masked: bool

    def _backprop(
        self,
        given: tuple[Any, Any, Any, Mapping[str, Any] | None],
        of: Explained | None = None,
        rows: Rows = "auto",
    ) -> Any:
        rules = RectifiedRules(self._masked)
        with self._open(*given, of=of, rows=rows) as (engine, call):
            run = engine.ruled(call, rules)
            result = engine.arrange(call, run.multipliers)
        warn_without_relu(rules)
        return result


def warn_without_relu(rules: RectifiedRules) -> None:
    if not rules.report.served:
        warn(
            "no ReLU ran in the model, as a module or as a function: the scores are the plain "
            "gradient. Saliency(model) says so by its name."
        )


class _OnInputs(_Rectified, GradientAttribution):
    def __init__(
        self, model: Model, *, at: Site | Layers | None = None, of: Explained | None = None
    ) -> None:
        super().__init__(model, at=at, of=of)

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: an output the target does not fit, or a ReLU that no rule can see.
            TypeError: a TorchScript or quantised model.
        """
        given = (inputs, target, additional_forward_args, forward_kwargs)
        return self._backprop(given, rows=internal_batch_size)


class GuidedBackprop(_OnInputs):
    r"""Score = ∂f/∂x, with gradients g at every ReLU replaced by g⁺ · [x > 0].

    Every ReLU is meant: modules, subclasses and functions, however often they run.

    Paper: Springenberg et al., Striving for simplicity: the all convolutional net (2014),
    https://arxiv.org/abs/1412.6806.

    >>> import torch
    >>> from captum.attr import GuidedBackprop
    >>> f = lambda x: torch.relu(x).sum(1) - 2 * torch.relu(x[:, 0])
    >>> GuidedBackprop(f).attribute(torch.tensor([[1.0, 1.0, -1.0]]))
    tensor([[1., 1., 0.]])
    """

    _masked = True


class Deconvolution(_OnInputs):
    r"""Score = ∂f/∂x, with gradients g at every ReLU replaced by g⁺, whatever the ReLU's input.

    Paper: Zeiler, Fergus, Visualizing and understanding convolutional networks (2014),
    https://arxiv.org/abs/1311.2901.

    >>> import torch
    >>> from captum.attr import Deconvolution
    >>> Deconvolution(lambda x: torch.relu(x).sum(1)).attribute(torch.tensor([[1.0, -1.0]]))
    tensor([[1., 1.]])
    """

    _masked = False


class _OnNeurons(_Rectified, NeuronGradientAttribution):
    def __init__(
        self,
        model: Model,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        *,
        at: Site | Layers | None = None,
    ) -> None:
        super().__init__(model, layer, device_ids, at=at)

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        *,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            neuron_selector: see the glossary: the neuron within one example's layer value.
            additional_forward_args: see the glossary: what else the model takes, by position.
            attribute_to_neuron_input: the neuron is in the layer's input, not its output.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: the layer does not run, or a ReLU that no rule can see.
            TypeError: a TorchScript or quantised model.
        """
        given = (inputs, None, additional_forward_args, forward_kwargs)
        neuron = self._neuron(neuron_selector, attribute_to_neuron_input)
        return self._backprop(given, of=neuron, rows=internal_batch_size)


class NeuronGuidedBackprop(_OnNeurons):
    r"""Score = ∂y/∂x for a neuron y, guided: see `GuidedBackprop`.

    >>> import torch
    >>> from captum.attr import NeuronGuidedBackprop
    >>> model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 2))
    >>> x = torch.tensor([[1.0, -1.0]])
    >>> scores = NeuronGuidedBackprop(model, model[1]).attribute(x, 0)
    >>> torch.equal(scores, model[1].weight[:1].clamp(min=0) * (x > 0))
    True
    """

    _masked = True


class NeuronDeconvolution(_OnNeurons):
    r"""Score = ∂y/∂x for a neuron y, deconvolved: see `Deconvolution`.

    >>> import torch
    >>> from captum.attr import NeuronDeconvolution
    >>> model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 2))
    >>> scores = NeuronDeconvolution(model, model[1]).attribute(torch.tensor([[1.0, -1.0]]), 0)
    >>> torch.equal(scores, model[1].weight[:1].clamp(min=0))
    True
    """

    _masked = False


class GuidedGradCam(LayerGradientAttribution):
    r"""Score = guided backpropagation ⊙ the layer's Grad-CAM⁺, resized to the input.

    Sharp as the one, of the class as the other; both from one pass through the model.

    Paper: Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based
    localization (2017), https://arxiv.org/abs/1610.02391.

    Args:
        model: the model.
        layer: the layer of the map, mostly the last convolution.
        device_ids: not needed; see the glossary.

    >>> import torch
    >>> from captum.attr import GuidedGradCam
    >>> conv, pool = torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)
    >>> model = torch.nn.Sequential(conv, torch.nn.ReLU(), pool, torch.nn.Flatten())
    >>> GuidedGradCam(model, conv).attribute(torch.ones(1, 3, 8, 8), target=1).shape
    torch.Size([1, 3, 8, 8])
    """

    def __init__(
        self,
        model: Model,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        *,
        of: Explained | None = None,
    ) -> None:
        super().__init__(model, layer, device_ids, of=of)
        self._layer = layer

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        interpolate_mode: str = "nearest",
        attribute_to_layer_input: bool = False,
        *,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, C, *S), as the inputs; empty where a map does not fit an input.

        Args:
            inputs: see the glossary: a tensor (N, C, *S), or a tuple or dict of them.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            interpolate_mode: how the map is resized: see `torch.nn.functional.interpolate`.
            attribute_to_layer_input: the map is of the layer's input, not its output.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: the layer does not run, or a ReLU that no rule can see.
            TypeError: a TorchScript or quantised model.
        """
        rules = RectifiedRules(masked=True)
        # Its values are read on the way; which of its neurons is never asked.
        layer = Neuron(self._layer, 0, "input" if attribute_to_layer_input else "output")
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._open(*given, rows=internal_batch_size) as (engine, call):
            run = engine.ruled(call, rules, through=layer)
            value = run.passed[0]
            arrange = channels_first(self._layer, value)

            def of_target(guided: Tensor, slope: Tensor) -> Tensor:
                cam = class_map(arrange, grad_cam_weights, value, slope, relu=True, summed=True)
                return _masked(guided, cam, interpolate_mode)

            slope = run.slopes[0]
            scores = tuple(
                torch.stack([of_target(*pair) for pair in zip(m, slope, strict=True)])
                if engine.lead
                else of_target(m, slope)
                for m in run.multipliers
            )
            result = engine.arrange(call, scores)
        warn_without_relu(rules)
        return result


def _masked(guided: Tensor, cam: Tensor, mode: str) -> Tensor:
    try:
        return guided * F.interpolate(cam, guided.shape[2:], mode=mode)
    except (ValueError, RuntimeError, NotImplementedError) as error:
        warn(
            f"a map of shape {tuple(cam.shape)} cannot be resized to an input of shape "
            f"{tuple(guided.shape)} ({error}): its scores are an empty tensor"
        )
        return torch.empty(0)
