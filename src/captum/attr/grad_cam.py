"""Class activation maps: where in a convolutional layer (or among its tokens) the answer lies.

Every member of the family is Σ over channels of some weight times the activation; they differ in
the weight alone, so each is one small function of activation A and gradient G.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum._engine.batching import Rows
from captum._engine.call import Call
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine
from captum._engine.explained import Explained
from captum._engine.model import Model
from captum._engine.paths import wide
from captum.attr.base import (
    GradientAttribution,
    LayerAttribution,
    Scores,
)

Arrange = Callable[[Tensor], Tensor]  # a layer's value to channels first: (N, C, *S)
_CHANNELS_FIRST = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d)
_TOKENS = (nn.LayerNorm, nn.MultiheadAttention, nn.Linear)


def grad_cam_weights(activation: Tensor, gradient: Tensor) -> Tensor:
    """The mean of G over all positions, one weight per channel."""
    positions = tuple(range(2, gradient.ndim))
    return gradient.mean(positions, keepdim=True) if positions else gradient


def hires_cam_weights(activation: Tensor, gradient: Tensor) -> Tensor:
    """G itself: no averaging over positions."""
    return gradient


def layer_cam_weights(activation: Tensor, gradient: Tensor) -> Tensor:
    """relu(G), position by position."""
    return gradient.relu()


def grad_cam_plus_plus_weights(activation: Tensor, gradient: Tensor) -> Tensor:
    """Σ over positions of α relu(G), with α = G² / (2 G² + G³ Σ A)."""
    positions = tuple(range(2, gradient.ndim))
    square = gradient.square()
    below = 2 * square + gradient.pow(3) * activation.sum(positions, keepdim=True)
    alpha = torch.where(below == 0, 0, square / torch.where(below == 0, 1, below))
    return (alpha * gradient.relu()).sum(positions, keepdim=True)


def class_map(
    arrange: Arrange,
    weights: Callable[[Tensor, Tensor], Tensor],
    value: Tensor,
    grad: Tensor,
    relu: bool,
    summed: bool,
) -> Tensor:
    """Weights times activation, (N, C, *S); summed over channels, (N, 1, *S)."""
    # Squares and cubes of small gradients vanish in half precision.
    kind = wide(value.dtype)
    activation, gradient = arrange(value).to(kind), arrange(grad).to(kind)
    cam = weights(activation, gradient) * activation
    cam = cam.sum(1, keepdim=True) if summed else cam
    return (cam.relu() if relu else cam).to(value.dtype)


class _Mapping(LayerAttribution):
    """What every map needs: a layer, and how its value becomes channels first."""

    def __init__(
        self,
        forward_func: Model,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        *,
        reshape_transform: Arrange | None = None,
        of: Explained | None = None,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._of = of
        self.reshape_transform = reshape_transform

    def _arranged(self, value: Tensor) -> Arrange:
        return self.reshape_transform or channels_first(self.layer, value)


class _Cam(_Mapping, GradientAttribution):
    """A map per example from a layer's activation and gradient."""

    weights: Callable[[Tensor, Tensor], Tensor]

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
    ) -> Scores:
        """Maps of shape (N, 1, *S), or (N, C, *S) without the sum over channels.

        Resize them with `LayerAttribution.interpolate(maps, inputs.shape[2:])`.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            attribute_to_layer_input: look at the layer's input, not its output.
            relu_attributions: keep only what speaks for the target.
            attr_dim_summation: sum over the channels.
            grad_kwargs: passed on to `torch.autograd.grad`.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the maps.

        Raises:
            ValueError: the layer does not run, or its value has no channels.
        """
        with self._open(
            inputs,
            target,
            additional_forward_args,
            forward_kwargs,
            at=self._site(attribute_to_layer_input),
            create_graph=create_graph,
            grad_kwargs=grad_kwargs,
        ) as (engine, call):
            values, grads = engine.gradients(call)
            maps = []
            for value, grad in zip(values, grads, strict=True):
                each = grad.unbind(0) if engine.lead else (grad,)
                cams = [self._map(value, g, relu_attributions, attr_dim_summation) for g in each]
                maps.append(torch.stack(cams) if engine.lead else cams[0])
            return engine.arrange(call, tuple(maps))

    def _map(self, value: Tensor, grad: Tensor, relu: bool, summed: bool) -> Tensor:
        return class_map(self._arranged(value), type(self).weights, value, grad, relu, summed)


class LayerGradCam(_Cam):
    r"""Map = Σ_c w_c A_c with w_c the mean of ∂f/∂A_c over all positions.

    For token layers (N, T, D) the map is (N, 1, T); a `reshape_transform` that brings tokens to
    (N, D, H, W) gives a picture.

    Paper: Selvaraju et al., Grad-CAM (2017), https://arxiv.org/abs/1610.02391.

    Args:
        forward_func: the model.
        layer: the layer whose activation is looked at, usually the last convolution.
        device_ids: not needed; see the glossary.
        reshape_transform: brings the layer's value to channels first, (N, C, *S).

    >>> import torch
    >>> from captum.attr import LayerGradCam
    >>> conv = torch.nn.Conv2d(1, 4, 3)
    >>> model = torch.nn.Sequential(conv, torch.nn.Flatten(), torch.nn.Linear(144, 2))
    >>> LayerGradCam(model, conv).attribute(torch.rand(1, 1, 8, 8), target=1).shape
    torch.Size([1, 1, 6, 6])
    """

    weights = staticmethod(grad_cam_weights)


class LayerHiResCam(_Cam):
    r"""Map = Σ_c (∂f/∂A)_c ⊙ A_c: Grad-CAM without averaging, faithful for CNNs.

    Paper: Draelos, Carin, Use HiResCAM instead of Grad-CAM (2020),
    https://arxiv.org/abs/2011.08891.
    """

    weights = staticmethod(hires_cam_weights)


class LayerGradCamPlusPlus(_Cam):
    r"""Map = Σ_c w_c A_c with w_c = Σ α relu(∂f/∂A_c): several objects of one class.

    Paper: Chattopadhyay et al., Grad-CAM++ (2018), https://arxiv.org/abs/1710.11063.
    """

    weights = staticmethod(grad_cam_plus_plus_weights)


class LayerCam(_Cam):
    r"""Map = Σ_c relu(∂f/∂A)_c ⊙ A_c: fine maps also from early layers.

    Paper: Jiang et al., LayerCAM (2021), https://doi.org/10.1109/TIP.2021.3089943.
    """

    weights = staticmethod(layer_cam_weights)


class LayerScoreCam(_Mapping):
    r"""Map = Σ_c (f(x ⊙ H_c) - f(x₀)) A_c, H_c the activation resized to x and scaled to [0, 1].

    No gradient is needed: every channel is tried as a mask.

    Paper: Wang et al., Score-CAM (2020), https://arxiv.org/abs/1910.01279.

    Args:
        forward_func: the model, of one image tensor (N, C, H, W).
        layer: the layer whose activation is looked at.
        device_ids: not needed; see the glossary.
        reshape_transform: brings the layer's value to channels first, (N, C, *S).

    >>> import torch
    >>> from captum.attr import LayerScoreCam
    >>> conv = torch.nn.Conv2d(1, 4, 3)
    >>> model = torch.nn.Sequential(conv, torch.nn.Flatten(), torch.nn.Linear(144, 2))
    >>> LayerScoreCam(model, conv).attribute(torch.rand(1, 1, 8, 8), target=1).shape
    torch.Size([1, 1, 6, 6])
    """

    def attribute(
        self,
        inputs: Tensor,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        *,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Maps of shape (N, 1, *S).

        Args:
            inputs: images (N, C, *P).
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            attribute_to_layer_input: look at the layer's input, not its output.
            relu_attributions: keep only what speaks for the target.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: the layer does not run, or its value has no channels.
        """
        given = (inputs, target, additional_forward_args, forward_kwargs)
        site = self._site(attribute_to_layer_input)
        with self._open(*given, at=site, rows=internal_batch_size) as (engine, call):
            value = engine.read(call)[0]
            activation = self._arranged(value)(value)
        with self._open(*given, rows=internal_batch_size) as (engine, call):
            rise = _rise(engine, call, activation)
        weights = rise.view(*rise.shape, *[1] * (activation.ndim - 2))
        cam = (weights * activation).sum(-activation.ndim + 1, keepdim=True)
        cam = cam.relu() if relu_attributions else cam
        return list(cam) if call.several else cam


def _rise(engine: Engine, call: Call, activation: Tensor) -> Tensor:
    """How much each channel, as a mask of the inputs, lifts the output over a blank: (N, C)."""
    (image,) = call.inputs
    span = activation.flatten(2)
    low, high = (s.view(*span.shape[:2], *[1] * (activation.ndim - 2)) for s in span.aminmax(dim=2))
    unit = (activation - low) / torch.where(high == low, 1, high - low)
    channels = activation.shape[1]
    blank = engine.evaluate(call, inputs=(torch.zeros_like(image),))
    scores = []
    for part in engine.copies(call, channels):
        masks = _resized(unit[:, part], image)
        points = (image * masks.transpose(0, 1).unsqueeze(2)).flatten(0, 1)
        k = part.stop - part.start
        scores.append(engine.by_copy(engine.evaluate(call, k, inputs=(points,)), k))
    return (torch.cat(scores, engine.lead) - blank.unsqueeze(engine.lead)).transpose(-1, -2)


def _resized(masks: Tensor, image: Tensor) -> Tensor:
    kinds = {1: "linear", 2: "bilinear", 3: "trilinear"}
    size = image.shape[2:]
    return F.interpolate(masks, size, mode=kinds[len(size)], align_corners=False)


def channels_first(layer: Any, value: Tensor) -> Arrange:
    """How a layer's value becomes (N, C, *S).

    (N, C, L) of a convolution and (N, T, D) of a transformer look alike: the kinds of modules in
    the layer tell them apart.
    """
    if value.ndim < 2:
        raise wrong(
            ValueError,
            "a layer with channels, whose value has the shape (N, C, *S)",
            describe(value),
            "a convolutional layer, or reshape_transform=lambda y: ...",
        )
    if value.ndim == 3 and _is_tokens(layer):
        return lambda y: y.transpose(1, 2)
    return lambda y: y


def _is_tokens(layer: nn.Module) -> bool:
    kinds = list(layer.modules())
    if any(isinstance(m, _CHANNELS_FIRST) for m in kinds):
        return False
    return any(isinstance(m, _TOKENS) or type(m).__name__.endswith("Norm") for m in kinds)
