"""Feature ablation: what the output loses when a feature is replaced by its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.explained import Explained
from captum._engine.game import Game
from captum._engine.site import Site
from captum.attr.base import (
    LayerAttribution,
    Layers,
    NeuronAttribution,
    PerturbationAttribution,
    Scores,
)


def feature_ablation(game: Game) -> Tensor:
    """v(all) - v(all without g) for every feature g, shape (*lead, G, N)."""

    def without(features: Tensor) -> Tensor:
        return features.unsqueeze(1) != torch.arange(game.players)

    left = game.stream(game.players, without, once=True)
    return game.full.unsqueeze(game.engine.lead) - left


class _Ablating(PerturbationAttribution):
    """What the input, layer and neuron forms share."""

    def _ablate(
        self,
        given: tuple[Any, Any, Any, Mapping[str, Any] | None],
        baselines: Any,
        mask: Any,
        *,
        at: Site | None = None,
        of: Explained | None = None,
        rows: Rows = "auto",
        show_progress: bool = False,
    ) -> Scores:
        with self._play(
            given,
            baselines,
            mask,
            at=at,
            of=of,
            site_baselines=at is not None,
            rows=rows,
            show_progress=show_progress,
        ) as game:
            game.expect(game.players)
            return game.arrange(feature_ablation(game), game.kind_of_differences)


class FeatureAblation(_Ablating):
    r"""Score of a feature = f(x) - f(x with the feature at its baseline).

    Where f is one number for the whole batch, so are the scores: (1, *F).

    Args:
        forward_func: the model; no gradient is needed.
        at: where the features are: the inputs, or the values of a layer.
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import FeatureAblation
    >>> FeatureAblation(lambda x: x[:, 0] * x[:, 1]).attribute(torch.tensor([[2., 3.]]))
    tensor([[6., 6.]])
    """

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: what an absent feature is replaced by, zeros by default;
                a list, or rows (B, *F), to average over.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: see the glossary: entries with one number are one feature.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: a mask or baselines that do not fit the inputs.
        """
        return self._ablate(
            (inputs, target, additional_forward_args, forward_kwargs),
            baselines,
            feature_mask,
            rows=perturbations_per_eval,
            show_progress=show_progress,
        )


class LayerFeatureAblation(LayerAttribution, _Ablating):
    r"""Score of a part of a layer's value = f(x) - f(x with that part at its baseline).

    What lies before the layer runs once.

    Args:
        forward_func: the model; no gradient is needed.
        layer: a module of it, or a list of modules.
        device_ids: accepted for code written for `torch.nn.DataParallel`; not needed.
        of: explain a neuron instead of the output.

    >>> import torch
    >>> from captum.attr import LayerFeatureAblation
    >>> model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(2, 1, bias=False))
    >>> x = torch.tensor([[2., 3.]])
    >>> torch.allclose(LayerFeatureAblation(model, model[0]).attribute(x), x * model[1].weight)
    True
    """

    def __init__(
        self,
        forward_func: Any,
        layer: Layers,
        device_ids: list[int] | None = None,
        *,
        of: Explained | None = None,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._of = of

    @property
    def attributor(self) -> type[FeatureAblation]:
        """The method that does the same with parts of the inputs."""
        return FeatureAblation

    def attribute(
        self,
        inputs: Any,
        layer_baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        layer_mask: Any = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *L), as the layer's value; a tuple where that is one.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            layer_baselines: what a part is replaced by: a number or a tensor (1 or N, *L) per
                value of the layer, zeros by default.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            layer_mask: integers (1 or N, *L) per value: entries with one number are one part;
                by default every entry is.
            attribute_to_layer_input: take the layer's input instead of its output.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: a mask or baselines that do not fit the layer's value.
        """
        return self._ablate(
            (inputs, target, additional_forward_args, forward_kwargs),
            layer_baselines,
            layer_mask,
            at=self._site(attribute_to_layer_input),
            rows=perturbations_per_eval,
            show_progress=show_progress,
        )


class NeuronFeatureAblation(NeuronAttribution, _Ablating):
    r"""Score of a feature = y(x) - y(x with the feature at its baseline), for a neuron y.

    Args:
        forward_func: the model; no gradient is needed.
        layer: the neuron's layer.
        device_ids: accepted for code written for `torch.nn.DataParallel`; not needed.

    >>> import torch
    >>> from captum.attr import NeuronFeatureAblation
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3, bias=False), torch.nn.ReLU())
    >>> x = torch.tensor([[2., 3.]])
    >>> scores = NeuronFeatureAblation(model, model[0]).attribute(x, neuron_selector=1)
    >>> torch.allclose(scores, x * model[0].weight[1])
    True
    """

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        attribute_to_neuron_input: bool = False,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            neuron_selector: see the glossary: which neuron, or a function of the layer's value.
            baselines: see the glossary: what an absent feature is replaced by, zeros by default.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: see the glossary: entries with one number are one feature.
            attribute_to_neuron_input: select from the layer's input instead of its output.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: a mask or baselines that do not fit the inputs.
        """
        return self._ablate(
            (inputs, None, additional_forward_args, forward_kwargs),
            baselines,
            feature_mask,
            of=self._neuron(neuron_selector, attribute_to_neuron_input),
            rows=perturbations_per_eval,
            show_progress=show_progress,
        )
