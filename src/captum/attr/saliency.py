"""Saliency: how much the output moves when an input moves a little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captum._engine.call import Call
from captum._engine.evaluate import Engine
from captum._engine.nest import Tensors
from captum.attr.base import (
    GradientAttribution,
    NeuronGradientAttribution,
    Scores,
)


def gradient(engine: Engine, call: Call, magnitude: bool = False) -> Tensors:
    """∂f/∂v at the site, or its magnitude."""
    grads = engine.gradients(call)[1]
    return tuple(g.abs() for g in grads) if magnitude else grads


class Saliency(GradientAttribution):
    r"""Score = |∂f(x)/∂x|, the magnitude of the gradient.

    Paper: Simonyan, Vedaldi, Zisserman, Deep inside convolutional networks (2013),
    https://arxiv.org/abs/1312.6034.

    >>> import torch
    >>> from captum.attr import Saliency
    >>> Saliency(lambda x: x[:, 0] - 2 * x[:, 1]).attribute(torch.rand(1, 2))
    tensor([[1., 2.]])
    """

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        abs: bool = True,
        additional_forward_args: Any = None,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            target: see the glossary: the output to explain.
            abs: the gradient's magnitude; False keeps its sign.
            additional_forward_args: see the glossary: what else the model takes, by position.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.

        Raises:
            ValueError: an empty batch, NaN in the inputs, or an output the target does not fit.
        """
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._open(*given, create_graph=create_graph) as (engine, call):
            return engine.arrange(call, gradient(engine, call, magnitude=abs))


class NeuronGradient(NeuronGradientAttribution):
    r"""Score = ∂y(x)/∂x for a neuron y of a layer.

    >>> import torch
    >>> from captum.attr import NeuronGradient
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    >>> scores = NeuronGradient(model, model[0]).attribute(torch.ones(1, 2), 1)
    >>> torch.equal(scores[0], model[0].weight[1])
    True
    """

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            neuron_selector: see the glossary: the neuron within one example's layer value.
            additional_forward_args: see the glossary: what else the model takes, by position.
            attribute_to_neuron_input: the neuron is in the layer's input, not its output.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.

        Raises:
            ValueError: the layer does not run, or the selector does not fit its value.
        """
        neuron = self._neuron(neuron_selector, attribute_to_neuron_input)
        with self._open(
            inputs,
            None,
            additional_forward_args,
            forward_kwargs,
            of=neuron,
            create_graph=create_graph,
        ) as (engine, call):
            return engine.arrange(call, gradient(engine, call))
