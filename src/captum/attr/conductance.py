"""Conductance and internal influence: what passes through a layer on the way from a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.call import Call
from captum._engine.call import baselines as baselines_of
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine
from captum._engine.explained import Neuron
from captum._engine.model import Model, takes_all_processes
from captum._engine.nest import Tensors, is_real
from captum._engine.paths import nodes, points, straight, wide
from captum._engine.progress import Progress
from captum.attr.base import (
    GradientAttribution,
    LayerGradientAttribution,
    Layers,
    NeuronAttribution,
    Scores,
)


@dataclass(frozen=True)
class Sweep:
    """The points at which the inputs are put on their way from the baseline."""

    start: Tensors
    steps: int
    method: str

    def points(self, call: Call, alphas: Tensor) -> Tensors:
        return points(straight, alphas, self.start, call.inputs)


def sweep_of(call: Call, given: Any, steps: int, method: str) -> Sweep:
    """The way from the baselines to the inputs; token ids have none."""
    for i, x in enumerate(call.inputs):
        if not is_real(x):
            raise wrong(
                TypeError,
                f"floating-point inputs, which can move from the baseline; {call.form.title(i)}",
                describe(x),
                "embeddings as inputs, with configure_interpretable_embedding_layer(model, name)",
            )
    return Sweep(baselines_of(call, given), steps, method)


def layer_conductance(engine: Engine, call: Call, sweep: Sweep) -> Tensors:
    """Σₛ ∂f/∂y(xₛ) ⊙ (y(xₛ₊₁) - y(xₛ)), over n + 1 points xₛ on the way to the inputs."""
    alphas, _ = nodes(sweep.method, sweep.steps + 1, call.inputs[0])
    total: list[Tensor] = []
    last: list[tuple[Tensor, Tensor]] = []  # value and gradient at the point before this pass
    for part in engine.copies(call, len(alphas)):
        k = part.stop - part.start
        found = engine.gradients(call, k, inputs=sweep.points(call, alphas[part]), cut=True)
        pairs = [
            (v.reshape(k, -1, *v.shape[1:]), engine.by_copy(g, k))
            for v, g in zip(*found, strict=True)
        ]
        if last:
            pairs = [
                (torch.cat([v0, v]), torch.cat([g0, g], engine.lead))
                for (v0, g0), (v, g) in zip(last, pairs, strict=True)
            ]
        flows = [
            (g.narrow(engine.lead, 0, len(v) - 1) * v.diff(dim=0)).sum(
                engine.lead, dtype=wide(v.dtype)
            )
            for v, g in pairs
        ]
        total = [a + b for a, b in zip(total, flows, strict=True)] if total else flows
        last = [(v[-1:], g.narrow(engine.lead, len(v) - 1, 1)) for v, g in pairs]
    return tuple(t.to(v.dtype) for t, (v, _) in zip(total, last, strict=True))


def internal_influence(engine: Engine, call: Call, sweep: Sweep) -> Tensors:
    """∫₀¹ ∂f/∂y(x₀ + α(x - x₀)) dα at a layer's value y."""
    alphas, weights = nodes(sweep.method, sweep.steps, call.inputs[0])
    kinds: list[torch.dtype] = []

    def gradients(part: slice) -> Tensors:
        moved, k = sweep.points(call, alphas[part]), part.stop - part.start
        _, grads = engine.gradients(call, k, inputs=moved, cut=True)
        kinds[:] = [g.dtype for g in grads]
        return grads

    total = engine.integral(call, weights, gradients)
    return tuple(t.to(kind) for t, kind in zip(total, kinds, strict=True))


def neuron_conductance(
    engine: Engine, call: Call, sweep: Sweep, neuron: Neuron, multiply: bool
) -> Tensors:
    """(x - x₀) ⊙ ∫₀¹ ∂f/∂y ∂y/∂x dα for a neuron y."""
    alphas, weights = nodes(sweep.method, sweep.steps, call.inputs[0])

    def gradients(part: slice) -> Tensors:
        moved, k = sweep.points(call, alphas[part]), part.stop - part.start
        return engine.gradients_through(neuron, call, k, inputs=moved)

    total = engine.integral(call, weights, gradients)
    if multiply:
        total = tuple(t * (x - a) for t, a, x in zip(total, sweep.start, call.inputs, strict=True))
    return tuple(t.to(x.dtype) for t, x in zip(total, call.inputs, strict=True))


class LayerConductance(LayerGradientAttribution):
    r"""Score = Σₛ ∂f/∂y(xₛ) ⊙ (y(xₛ₊₁) - y(xₛ)) ≈ ∫ ∂f/∂y ∂y/∂x dx at a layer's value y.

    The inputs move from the baseline in n + 1 points xₛ. With many steps the scores sum to
    f(x) - f(x₀). Of a module that runs several times, each run has its own share.

    Paper: Dhamdhere, Sundararajan, Yan, How important is a neuron? (2018),
    https://arxiv.org/abs/1805.12233; this form: Shrikumar, Su, Kundaje, Computationally efficient
    measures of internal neuron importance (2018), https://arxiv.org/abs/1807.09946.

    Args:
        forward_func: the model.
        layer: a module, or a list of modules.
        device_ids: not needed; see the glossary.

    >>> import torch
    >>> from captum.attr import LayerConductance
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    >>> x = torch.ones(1, 2)
    >>> method = LayerConductance(model, model[0])
    >>> scores = method.attribute(x, method="riemann_trapezoid")
    >>> torch.allclose(scores.sum(1), (model(x) - model(0 * x))[:, 0], atol=1e-5)
    True
    """

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: Rows = "auto",
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *L), as the layer's value; with their delta (N,) where asked.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: where the path starts, zeros by default.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            n_steps: steps on the path.
            method: where the points lie: see `IntegratedGradients`.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            return_convergence_delta: also δ = Σ scores - (f(x) - f(x₀)), shape (N,).
            attribute_to_layer_input: score the layer's input, not its output.
            grad_kwargs: passed on to `torch.autograd.grad`.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.
            show_progress: a progress bar of model rows.

        Raises:
            TypeError: integer inputs, which have no way from a baseline.
            ValueError: the layer does not run, or baselines that do not fit.
        """
        progress = Progress(self.get_name(), show_progress)
        with self._open(
            inputs,
            target,
            additional_forward_args,
            forward_kwargs,
            at=self._site(attribute_to_layer_input),
            rows=internal_batch_size,
            create_graph=create_graph,
            grad_kwargs=grad_kwargs,
            progress=progress,
        ) as (engine, call):
            sweep = sweep_of(call, baselines, n_steps, method)
            engine.expect(call, n_steps + 1, evaluations=2 * return_convergence_delta)
            items = layer_conductance(engine, call, sweep)
            scores = engine.arrange(call, items)
            if not return_convergence_delta:
                return scores
            change = engine.evaluate(call) - engine.evaluate(call, inputs=sweep.start)
            return scores, engine.missing(call, items, change)


class InternalInfluence(LayerGradientAttribution):
    r"""Score = ∫₀¹ ∂f/∂y(x₀ + α(x - x₀)) dα at a layer's value y.

    Paper: Leino et al., Influence-directed explanations for deep convolutional networks (2018),
    https://arxiv.org/abs/1802.03788.

    >>> import torch
    >>> from captum.attr import InternalInfluence
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    >>> scores = InternalInfluence(model, model[0]).attribute(torch.ones(1, 2))
    >>> torch.allclose(scores, model[1].weight)
    True
    """

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: Rows = "auto",
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *L), as the layer's value.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: where the path starts, zeros by default.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            n_steps: points on the path.
            method: the quadrature: see `IntegratedGradients`.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            attribute_to_layer_input: score the layer's input, not its output.
            grad_kwargs: passed on to `torch.autograd.grad`.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.
            show_progress: a progress bar of model rows.

        Raises:
            TypeError: integer inputs, which have no way from a baseline.
            ValueError: the layer does not run, or baselines that do not fit.
        """
        progress = Progress(self.get_name(), show_progress)
        with self._open(
            inputs,
            target,
            additional_forward_args,
            forward_kwargs,
            at=self._site(attribute_to_layer_input),
            rows=internal_batch_size,
            create_graph=create_graph,
            grad_kwargs=grad_kwargs,
            progress=progress,
        ) as (engine, call):
            sweep = sweep_of(call, baselines, n_steps, method)
            engine.expect(call, n_steps)
            return engine.arrange(call, internal_influence(engine, call, sweep))


class NeuronConductance(NeuronAttribution, GradientAttribution):
    r"""Score = (x - x₀) ⊙ ∫₀¹ ∂f/∂y ∂y/∂x(x₀ + α(x - x₀)) dα for a neuron y of a layer.

    It says through which inputs a neuron contributes to the output; over all neurons of a layer
    that everything passes through, the scores sum to integrated gradients.

    Paper: Dhamdhere, Sundararajan, Yan, How important is a neuron? (2018),
    https://arxiv.org/abs/1805.12233.

    >>> import torch
    >>> from captum.attr import NeuronConductance
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    >>> scores = NeuronConductance(model, model[0]).attribute(torch.ones(1, 2), 1)
    >>> torch.allclose(scores[0], model[1].weight[0, 1] * model[0].weight[1])
    True
    """

    def __init__(
        self,
        forward_func: Model,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._multiply_by_inputs = multiply_by_inputs

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._multiply_by_inputs

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "riemann_trapezoid",
        internal_batch_size: Rows = "auto",
        attribute_to_neuron_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            neuron_selector: see the glossary: the neuron within one example's layer value.
            baselines: see the glossary: where the path starts, zeros by default.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            n_steps: points on the path.
            method: the quadrature: see `IntegratedGradients`.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            attribute_to_neuron_input: the neuron is in the layer's input, not its output.
            grad_kwargs: passed on to `torch.autograd.grad`.
            forward_kwargs: what else the model takes, by keyword.
            show_progress: a progress bar of model rows.

        Raises:
            TypeError: integer inputs, which have no way from a baseline.
            ValueError: the layer does not run, or the selector does not fit its value.
        """
        if takes_all_processes(self.forward_func):
            raise wrong(
                ValueError,
                "a model whose parameters are here: this takes second gradients",
                "shards of parameters",
                "the plain model, or NeuronIntegratedGradients",
            )
        neuron = self._neuron(neuron_selector, attribute_to_neuron_input)
        progress = Progress(self.get_name(), show_progress)
        with self._open(
            inputs,
            target,
            additional_forward_args,
            forward_kwargs,
            rows=internal_batch_size,
            grad_kwargs=grad_kwargs,
            progress=progress,
        ) as (engine, call):
            sweep = sweep_of(call, baselines, n_steps, method)
            engine.expect(call, n_steps)
            items = neuron_conductance(engine, call, sweep, neuron, self._multiply_by_inputs)
            return engine.arrange(call, items)
