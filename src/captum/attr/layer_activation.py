"""Layer activation: the value of a layer itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captum.attr.base import LayerAttribution, Scores


class LayerActivation(LayerAttribution):
    r"""Score = y, the value of a layer; a list of values for a list of layers.

    >>> import torch
    >>> from captum.attr import LayerActivation
    >>> model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> LayerActivation(model, model[0]).attribute(torch.tensor([[-1., 2.]]))
    tensor([[0., 2.]])
    """

    def attribute(
        self,
        inputs: Any,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Values of shape (N, *L); of a module that runs several times, a list of them.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            additional_forward_args: see the glossary: what else the model takes, by position.
            attribute_to_layer_input: the layer's input, not its output.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: the layer does not run in the model's forward pass.
        """
        site = self._site(attribute_to_layer_input)
        with self._open(inputs, None, additional_forward_args, forward_kwargs, at=site) as (
            engine,
            call,
        ):
            return engine.arrange(call, engine.read(call, every=True))
