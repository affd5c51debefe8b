"""Integrated gradients: what each input adds on the way from a baseline to the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.call import Call, baselines
from captum._engine.errors import describe, warn, wrong
from captum._engine.evaluate import Engine
from captum._engine.explained import Explained
from captum._engine.nest import Tensors
from captum._engine.paths import Path, nodes, points, straight, velocity
from captum._engine.progress import Progress
from captum._engine.site import Site
from captum.attr.base import (
    Attribution,
    InputContributions,
    LayerContributions,
    NeuronContributions,
    Scores,
)

Steps = int | Literal["auto"]
_FIRST_STEPS, _MOST_STEPS = 8, 1024


@dataclass(frozen=True)
class Integral:
    """How the path integral is computed."""

    steps: Steps = 50
    method: str = "gausslegendre"
    path: Path = straight
    multiply: bool = True
    tol: float = 1e-3


@dataclass(frozen=True)
class Integrated:
    """Scores, how far they are from summing to the output's change, and the steps it took."""

    items: Tensors
    delta: Tensor
    steps: int


def integrated_gradients(
    engine: Engine, call: Call, starts: list[Tensors], how: Integral, delta: bool = False
) -> Integrated:
    """(v - v₀) ⊙ ∫₀¹ ∂f/∂v(v₀ + α(v - v₀)) dα at the site, averaged over the baselines v₀."""
    end = engine.read(call)
    begins = [_fitting(engine.read(call, inputs=start), end) for start in starts]
    if how.steps != "auto":
        change = _change(engine, call, begins, end) if delta else None
        return _integrated(engine, call, begins, end, how, how.steps, change)
    change, steps = _change(engine, call, begins, end), _FIRST_STEPS
    while True:
        found = _integrated(engine, call, begins, end, how, steps, change)
        if bool((found.delta.abs() <= how.tol * change.abs().clamp(min=1)).all()):
            return found
        if steps == _MOST_STEPS:
            worst = float(found.delta.abs().max())
            warn(
                f"{steps} steps leave a delta of {worst:.2g}, above tol={how.tol:g}: the model "
                "is not smooth along the path"
            )
            return found
        steps *= 2


def _integrated(
    engine: Engine,
    call: Call,
    begins: list[Tensors],
    end: Tensors,
    how: Integral,
    steps: int,
    change: Tensor | None,
) -> Integrated:
    slopes = [_integral(engine, call, start, end, how, steps) for start in begins]
    shares = slopes
    if how.path is straight:
        shares = [
            tuple(s * (b - a) for s, a, b in zip(slope, start, end, strict=True))
            for slope, start in zip(slopes, begins, strict=True)
        ]
    share = _mean(shares)
    items = share if how.multiply else _mean(slopes)
    delta = torch.zeros(()) if change is None else engine.missing(call, share, change)
    return Integrated(tuple(i.to(v.dtype) for i, v in zip(items, end, strict=True)), delta, steps)


def _integral(
    engine: Engine, call: Call, start: Tensors, end: Tensors, how: Integral, steps: int
) -> Tensors:
    """∫ ∂f/∂γ ⊙ γ' dα; on a straight path without the constant γ' = v - v₀."""
    alphas, weights = nodes(how.method, steps, end[0])

    def gradients(part: slice) -> Tensors:
        a, k = alphas[part], part.stop - part.start
        _, grads = engine.gradients(call, k, values=points(how.path, a, start, end))
        if how.path is straight:
            return grads
        ends = zip(start, end, strict=True)
        speeds = [velocity(how.path, a, *each, engine.create_graph) for each in ends]
        return tuple(g * s.flatten(0, 1) for g, s in zip(grads, speeds, strict=True))

    return engine.integral(call, weights, gradients)


def _change(engine: Engine, call: Call, begins: list[Tensors], end: Tensors) -> Tensor:
    """f at the end minus f at the start; with layers, everything else stays at the inputs."""
    first = torch.stack([engine.evaluate(call, values=start) for start in begins]).mean(0)
    return engine.evaluate(call, values=end) - first


def _mean(items: list[Tensors]) -> Tensors:
    if len(items) == 1:
        return items[0]
    return tuple(torch.stack(each).mean(0) for each in zip(*items, strict=True))


def _fitting(start: Tensors, end: Tensors) -> Tensors:
    if [a.shape for a in start] != [b.shape for b in end]:
        raise wrong(
            ValueError,
            f"baselines that give the site the shape it has for the inputs, {describe(end)}",
            describe(start),
            "baselines of the same shape as the inputs",
        )
    return start


def start_points(call: Call, given: Any) -> list[Tensors]:
    """The baselines: one, or a list of several to average over."""
    several = given if isinstance(given, list) else [given]
    if not several:
        raise wrong(ValueError, "at least one baseline", "an empty list", "baselines=[a, b]")
    return [baselines(call, each) for each in several]


class _Integrating(Attribution):
    """What the input, layer and neuron forms share: opening the call and handing back results."""

    steps_taken: int | None = None

    def _integrate(
        self,
        given: tuple[Any, Any, Any, Mapping[str, Any] | None],
        baselines: Any,
        how: Integral,
        *,
        at: Site | None = None,
        of: Explained | None = None,
        delta: bool = False,
        rows: Rows = "auto",
        create_graph: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> Any:
        if how.path is not straight and not how.multiply:
            raise wrong(
                ValueError,
                "multiply_by_inputs=True with a path of your own",
                "multiply_by_inputs=False",
                f"{type(self).__name__}(model)",
            )
        progress = Progress(self.get_name(), show_progress)
        with self._open(
            *given,
            at=at,
            of=of,
            rows=rows,
            create_graph=create_graph,
            grad_kwargs=grad_kwargs,
            progress=progress,
        ) as (engine, call):
            starts = start_points(call, baselines)
            if how.steps != "auto":
                k = len(starts)
                engine.expect(call, how.steps * k, k + 1, (k + 1) * delta)
            found = integrated_gradients(engine, call, starts, how, delta)
            self.steps_taken = found.steps
            items = engine.arrange(call, found.items)
            return (items, found.delta) if delta else items


class IntegratedGradients(_Integrating, InputContributions):
    r"""Score = (x - x₀) ⊙ ∫₀¹ ∂f/∂x(x₀ + α(x - x₀)) dα; the scores sum to f(x) - f(x₀).

    Paper: Sundararajan, Taly, Yan, Axiomatic attribution for deep networks (2017),
    https://arxiv.org/abs/1703.01365.

    Args:
        forward_func: the model.
        multiply_by_inputs: False leaves out the factor x - x₀: sensitivities, not contributions.

    >>> import torch
    >>> from captum.attr import IntegratedGradients
    >>> f = lambda x: x[:, 0] * x[:, 1]
    >>> IntegratedGradients(f).attribute(torch.tensor([[2., 3.]])).round(decimals=4)
    tensor([[3., 3.]])
    """

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: Steps = 50,
        method: str = "gausslegendre",
        internal_batch_size: Rows = "auto",
        return_convergence_delta: bool = False,
        *,
        tol: float = 1e-3,
        path: Path = straight,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; with their delta (N,) where asked.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: where the path starts, zeros by default; a list of
                baselines is averaged over.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            n_steps: points on the path; "auto" doubles them until every |δ| is at most
                tol · max(1, |f(x) - f(x₀)|), and leaves their number in `steps_taken`.
            method: gausslegendre, riemann_left, riemann_right, riemann_middle or
                riemann_trapezoid.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            return_convergence_delta: also δ = Σ scores - (f(x) - f(x₀)), shape (N,).
            tol: see `n_steps`.
            path: path(alphas, start, end) gives the points (S, N, *F) at alphas (S,), for one
                tensor; a straight line by default.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: baselines that do not fit, an unknown method, NaN in the inputs.
        """
        return self._integrate(
            (inputs, target, additional_forward_args, forward_kwargs),
            baselines,
            Integral(n_steps, method, path, self._multiply_by_inputs, tol),
            delta=return_convergence_delta,
            rows=internal_batch_size,
            create_graph=create_graph,
            show_progress=show_progress,
        )


class LayerIntegratedGradients(_Integrating, LayerContributions):
    r"""Score = (y - y₀) ⊙ ∫₀¹ ∂f/∂y(y₀ + α(y - y₀)) dα for a layer's value y.

    The layer's value moves from what it is at the baseline to what it is at the input, while
    everything else in the model stays at the input; of several layers, all move together. The
    delta measures that integral.

    Args:
        forward_func: the model.
        layer: a module, or a list of modules; scores then come as a list.
        device_ids: not needed; see the glossary.
        multiply_by_inputs: False leaves out the factor y - y₀.

    >>> import torch
    >>> from captum.attr import LayerIntegratedGradients
    >>> flat = torch.nn.Flatten()
    >>> model = torch.nn.Sequential(torch.nn.Embedding(9, 4), flat, torch.nn.Linear(8, 1))
    >>> ids = torch.tensor([[3, 5]])
    >>> method = LayerIntegratedGradients(model, model[0])
    >>> scores, delta = method.attribute(ids, return_convergence_delta=True)
    >>> scores.shape, bool(delta.abs().max() < 1e-5)
    (torch.Size([1, 2, 4]), True)
    """

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: Steps = 50,
        method: str = "gausslegendre",
        internal_batch_size: Rows = "auto",
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        tol: float = 1e-3,
        path: Path = straight,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *L), as the layer's value; with their delta (N,) where asked.

        Of a module that runs several times in one pass, a list with one result per run.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: the inputs whose layer value the path starts from.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            n_steps: points on the path, or "auto": see `IntegratedGradients`.
            method: the quadrature: see `IntegratedGradients`.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            return_convergence_delta: also δ = Σ scores - (f(y) - f(y₀)), shape (N,).
            attribute_to_layer_input: score the layer's input, not its output.
            grad_kwargs: passed on to `torch.autograd.grad`.
            tol: see `IntegratedGradients`.
            path: see `IntegratedGradients`; it runs through layer values.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: the layer does not run, or baselines that do not fit.
        """
        return self._integrate(
            (inputs, target, additional_forward_args, forward_kwargs),
            baselines,
            Integral(n_steps, method, path, self._multiply_by_inputs, tol),
            at=self._site(attribute_to_layer_input),
            delta=return_convergence_delta,
            rows=internal_batch_size,
            create_graph=create_graph,
            grad_kwargs=grad_kwargs,
            show_progress=show_progress,
        )


class NeuronIntegratedGradients(_Integrating, NeuronContributions):
    r"""Score = (x - x₀) ⊙ ∫₀¹ ∂y/∂x(x₀ + α(x - x₀)) dα for a neuron y; they sum to y(x) - y(x₀).

    >>> import torch
    >>> from captum.attr import NeuronIntegratedGradients
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
    >>> x = torch.ones(1, 2)
    >>> scores = NeuronIntegratedGradients(model, model[1]).attribute(x, 0)
    >>> torch.allclose(scores.sum(1), model(x)[:, 0], atol=1e-6)
    True
    """

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        n_steps: Steps = 50,
        method: str = "gausslegendre",
        internal_batch_size: Rows = "auto",
        attribute_to_neuron_input: bool = False,
        *,
        tol: float = 1e-3,
        path: Path = straight,
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            neuron_selector: see the glossary: the neuron within one example's layer value.
            baselines: see the glossary: where the path starts, zeros by default.
            additional_forward_args: see the glossary: what else the model takes, by position.
            n_steps: points on the path, or "auto": see `IntegratedGradients`.
            method: the quadrature: see `IntegratedGradients`.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            attribute_to_neuron_input: the neuron is in the layer's input, not its output.
            tol: see `IntegratedGradients`.
            path: see `IntegratedGradients`.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: the layer does not run, or the selector does not fit its value.
        """
        return self._integrate(
            (inputs, None, additional_forward_args, forward_kwargs),
            baselines,
            Integral(n_steps, method, path, self._multiply_by_inputs, tol),
            of=self._neuron(neuron_selector, attribute_to_neuron_input),
            rows=internal_batch_size,
            create_graph=create_graph,
            show_progress=show_progress,
        )
