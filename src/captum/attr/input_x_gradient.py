"""Input times gradient: each input's share of a linear view of the output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from captum._engine.call import Call
from captum._engine.evaluate import Engine
from captum._engine.explained import Explained
from captum._engine.model import Model
from captum._engine.nest import Tensors
from captum.attr.base import (
    GradientAttribution,
    LayerContributions,
    Layers,
    Scores,
)


def input_x_gradient(engine: Engine, call: Call) -> Tensors:
    """v ⊙ ∂f/∂v at the site."""
    values, grads = engine.gradients(call)
    return tuple(v * g for v, g in zip(values, grads, strict=True))


class InputXGradient(GradientAttribution):
    r"""Score = x ⊙ ∂f(x)/∂x.

    Paper: Shrikumar et al., Not just a black box (2016), https://arxiv.org/abs/1605.01713.

    >>> import torch
    >>> from captum.attr import InputXGradient
    >>> InputXGradient(lambda x: x[:, 0] - 2 * x[:, 1]).attribute(torch.tensor([[1., 3.]]))
    tensor([[ 1., -6.]])
    """

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.

        Raises:
            ValueError: an empty batch, NaN in the inputs, or an output the target does not fit.
        """
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._open(*given, create_graph=create_graph) as (engine, call):
            return engine.arrange(call, input_x_gradient(engine, call))


class LayerGradientXActivation(LayerContributions):
    r"""Score = y ⊙ ∂f/∂y at a layer's value y, or at those of a list of layers.

    Args:
        forward_func: the model.
        layer: a module, or a list of modules; scores then come as a list.
        device_ids: not needed; see the glossary.
        multiply_by_inputs: False gives the gradient alone.
        memory_efficient: accepted; no graph is kept here in any case.

    >>> import torch
    >>> from captum.attr import LayerGradientXActivation
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1, bias=False))
    >>> x = torch.ones(1, 2)
    >>> scores = LayerGradientXActivation(model, model[0]).attribute(x)
    >>> torch.allclose(scores.sum(1), model(x)[:, 0])
    True
    """

    def __init__(
        self,
        forward_func: Model,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        memory_efficient: bool = False,
        *,
        of: Explained | None = None,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, multiply_by_inputs, of=of)
        self.memory_efficient = memory_efficient

    def multiply_gradient_acts(
        self, gradients: tuple[Tensor, ...], evals: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The product, tensor by tensor; the gradients alone where nothing is multiplied."""
        if not self._multiply_by_inputs:
            return gradients
        return tuple(g * e for g, e in zip(gradients, evals, strict=True))

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
    ) -> Scores:
        """Scores of shape (N, *L), as the layer's value.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            attribute_to_layer_input: score the layer's input, not its output.
            grad_kwargs: passed on to `torch.autograd.grad`.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.

        Raises:
            ValueError: the layer does not run, or the output does not fit the target.
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
            return engine.arrange(call, self.multiply_gradient_acts(grads, values))
