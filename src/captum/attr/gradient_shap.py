"""Gradient SHAP: integrated gradients in expectation over a distribution of baselines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.call import Call, matched
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine
from captum._engine.explained import Explained
from captum._engine.nest import Tensors, is_real
from captum._engine.progress import Progress
from captum._engine.sampling import Moments, blocks, check_samples, drawn, noisy, stdevs_of
from captum._engine.site import Site
from captum.attr.base import (
    Attribution,
    InputContributions,
    LayerContributions,
    NeuronContributions,
    Scores,
)


@dataclass(frozen=True)
class Expectation:
    """How the expectation over baselines, noise and positions is sampled."""

    samples: int = 5
    stdevs: Any = 0.0
    multiply: bool = True
    observe: bool = False  # at a layer: the inputs move and the gradient is read there
    tol: float | None = None
    generator: torch.Generator | None = None


@dataclass
class Expected:
    """Running moments per tensor, and every sample's delta, (S, N)."""

    moments: list[Moments] = field(default_factory=list)
    kinds: list[torch.dtype] = field(default_factory=list)
    deltas: list[Tensor] = field(default_factory=list)

    def scores(self, read: Callable[[Moments], Tensor]) -> Tensors:
        return tuple(read(m).to(kind) for m, kind in zip(self.moments, self.kinds, strict=True))


def gradient_shap(
    engine: Engine, call: Call, baselines: Tensors, how: Expectation, delta: bool = False
) -> Expected:
    """E[(x̃ - b) ⊙ ∂f/∂x(b + α(x̃ - b))] with x̃ = x + noise, b a baseline, α uniform in [0, 1]."""
    check_samples(how.samples, "n_samples")
    spread = stdevs_of(how.stdevs, call)
    found = Expected()
    for samples in blocks(how.samples, call.inputs, stopping=how.tol is not None):
        ends = tuple(
            noisy(x, samples, s, how.generator) for x, s in zip(call.inputs, spread, strict=True)
        )
        starts = drawn(baselines, samples * call.rows, how.generator)
        items, gap = _sampled(engine, call, samples, ends, starts, how, delta)
        found.moments = found.moments or [Moments() for _ in items]
        found.kinds = [item.dtype for item in items]
        for moments, item in zip(found.moments, items, strict=True):
            moments.add(engine.by_copy(item, samples), engine.lead)
        if gap is not None:
            by_row = gap.shape[-1] == samples * call.rows  # else one total of all of them
            found.deltas.append(engine.by_copy(gap, samples) if by_row else gap.unsqueeze(-1))
        if how.tol is not None and all(m.within(how.tol) for m in found.moments):
            break
    return found


def _sampled(
    engine: Engine,
    call: Call,
    samples: int,
    ends: Tensors,
    starts: Tensors,
    how: Expectation,
    delta: bool,
) -> tuple[Tensors, Tensor | None]:
    """One block's scores, a row per sample and example, and their deltas."""
    kind = torch.float64 if ends[0].dtype == torch.float64 else torch.float32
    alphas = torch.rand(
        samples * call.rows, generator=how.generator, device=ends[0].device, dtype=kind
    )
    # Token ids cannot move; their layer values can.
    by_inputs = how.observe and all(map(is_real, ends))
    if by_inputs:
        _, grads = engine.gradients(call, samples, inputs=_between(starts, ends, alphas))
        ends_at, starts_at = (engine.read(call, samples, inputs=x) for x in (ends, starts))
    else:
        ends_at, starts_at = (engine.read(call, samples, inputs=x) for x in (ends, starts))
        points = _between(starts_at, ends_at, alphas)
        _, grads = engine.gradients(call, samples, values=points)
    steps = [b - a for a, b in zip(starts_at, ends_at, strict=True)]
    shares = tuple(g * d for g, d in zip(grads, steps, strict=True))
    gap = None
    if delta:
        after, before = (
            engine.evaluate(call, samples, inputs=inputs)
            if by_inputs
            else engine.evaluate(call, samples, values=values)
            for inputs, values in ((ends, ends_at), (starts, starts_at))
        )
        change = after - before
        gap = engine.missing(call, shares, change)
    return (shares if how.multiply else grads), gap


def _between(starts: Tensors, ends: Tensors, alphas: Tensor) -> Tensors:
    """b + α(x - b), with one α per row."""
    points = []
    for a, b in zip(starts, ends, strict=True):
        weights = alphas.to(b.device, b.dtype).repeat_interleave(len(b) // len(alphas))
        points.append(torch.lerp(a, b, weights.view(-1, *[1] * (b.ndim - 1))))
    return tuple(points)


def distribution(call: Call, given: Any, inputs: Any) -> Tensors:
    """The baselines to draw from: (K, *F) per input, or what the user's function returns."""
    if callable(given):
        given = given(inputs) if inspect.signature(given).parameters else given()
    items = matched(call, given, "baselines")
    if items is None:
        items = tuple(torch.zeros_like(x[:1]) for x in call.inputs)
    items = tuple(
        item.expand(1, *x.shape[1:]) if item.ndim < x.ndim else item
        for item, x in zip(items, call.inputs, strict=True)
    )
    for i, (item, x) in enumerate(zip(items, call.inputs, strict=True)):
        if item.shape[1:] != x.shape[1:] or len(item) != len(items[0]) or not len(item):
            raise wrong(
                ValueError,
                f"baselines for {call.form.title(i)} of shape (K, {str(tuple(x.shape[1:]))[1:]}, "
                "with the same K for every input",
                describe(item),
                "GradientShap(model).attribute(x, baselines=training_rows)",
            )
    return items


class _Sampling(Attribution):
    """What the input, layer and neuron forms share."""

    takes_distribution = True  # of baselines: a wrapper must not repeat them per example

    def _sample(
        self,
        given: tuple[Any, Any, Any, Mapping[str, Any] | None],
        baselines: Any,
        how: Expectation,
        *,
        at: Site | None = None,
        of: Explained | None = None,
        delta: bool = False,
        std: bool = False,
        rows: Rows = "auto",
        create_graph: bool = False,
        show_progress: bool = False,
    ) -> Any:
        progress = Progress(self.get_name(), show_progress)
        with self._open(
            *given, at=at, of=of, rows=rows, create_graph=create_graph, progress=progress
        ) as (engine, call):
            engine.expect(call, how.samples, 2 * how.samples, 2 * how.samples * delta)
            found = gradient_shap(engine, call, distribution(call, baselines, given[0]), how, delta)
            mean = found.scores(lambda moments: torch.as_tensor(moments.mean))
            results = [engine.arrange(call, mean)]
            if delta:
                # Example by example, as the published package hands them out.
                results.append(torch.cat(found.deltas, engine.lead).transpose(-1, -2).flatten(-2))
            if std:
                errors = found.scores(Moments.standard_error)
                results.append(engine.arrange(call, errors))
        return tuple(results) if len(results) > 1 else results[0]


class GradientShap(_Sampling, InputContributions):
    r"""Score = E[(x̃ - b) ⊙ ∂f/∂x(b + α(x̃ - b))]: expected gradients.

    Every sample draws noise (x̃ = x + N(0, stdev²)), a row b of the baselines, and α uniform in
    [0, 1]. In expectation the scores sum to f(x) - E[f(b)].

    Paper: Lundberg, Lee, A unified approach to interpreting model predictions (2017),
    https://arxiv.org/abs/1705.07874; Erion et al., Improving performance of deep learning models
    with axiomatic attribution priors and expected gradients (2021).

    Args:
        forward_func: the model.
        multiply_by_inputs: False leaves out the factor x̃ - b.

    >>> import torch
    >>> from captum.attr import GradientShap
    >>> f = lambda x: 2 * x[:, 0] + x[:, 1]
    >>> GradientShap(f).attribute(torch.ones(1, 2), torch.zeros(3, 2))
    tensor([[2., 1.]])
    """

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        n_samples: int = 5,
        stdevs: float | tuple[float, ...] = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        *,
        tol: float | None = None,
        return_std: bool = False,
        generator: torch.Generator | None = None,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; then the deltas and errors that were asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: rows (K, *F) to draw from, paired across inputs; or a function that
                returns them, of the inputs or of nothing.
            n_samples: draws per example.
            stdevs: standard deviation of the noise, for all inputs or one each.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            return_convergence_delta: also δ per draw, shape (N * n_samples,), example by example.
            tol: stop once every standard error is at most tol times the largest score.
            return_std: also the standard errors of the scores, in their shape.
            generator: see the glossary: where random numbers come from.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: baselines or stdevs that do not fit the inputs.
        """
        return self._sample(
            (inputs, target, additional_forward_args, forward_kwargs),
            baselines,
            Expectation(n_samples, stdevs, self._multiply_by_inputs, tol=tol, generator=generator),
            delta=return_convergence_delta,
            std=return_std,
            rows=internal_batch_size,
            create_graph=create_graph,
            show_progress=show_progress,
        )


class LayerGradientShap(_Sampling, LayerContributions):
    r"""Score = E[(y(x̃) - y(b)) ⊙ ∂f/∂y(b + α(x̃ - b))] at a layer's value y.

    The inputs move; the layer's value and gradient are read there. (`GradientShap(model,
    at=layer)` moves the layer's value instead, and then sums exactly.)

    Args:
        forward_func: the model.
        layer: a module, or a list of modules; scores then come as a list.
        device_ids: not needed; see the glossary.
        multiply_by_inputs: False leaves out the factor y(x̃) - y(b).

    >>> import torch
    >>> from captum.attr import LayerGradientShap
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1, bias=False))
    >>> x, rows = torch.ones(1, 2), torch.zeros(4, 2)
    >>> scores = LayerGradientShap(model, model[0]).attribute(x, rows)
    >>> torch.allclose(scores.sum(1), (model(x) - model(rows[:1]))[:, 0], atol=1e-6)
    True
    """

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        n_samples: int = 5,
        stdevs: float | tuple[float, ...] = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        *,
        tol: float | None = None,
        return_std: bool = False,
        generator: torch.Generator | None = None,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *L), as the layer's value; then deltas and errors as asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: rows (K, *F) to draw from: see `GradientShap`.
            n_samples: draws per example.
            stdevs: standard deviation of the noise on the inputs.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            return_convergence_delta: also δ per draw, shape (N * n_samples,), example by example.
            attribute_to_layer_input: score the layer's input, not its output.
            tol: see `GradientShap`.
            return_std: see `GradientShap`.
            generator: see the glossary: where random numbers come from.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: the layer does not run, or baselines that do not fit.
        """
        return self._sample(
            (inputs, target, additional_forward_args, forward_kwargs),
            baselines,
            Expectation(n_samples, stdevs, self._multiply_by_inputs, True, tol, generator),
            at=self._site(attribute_to_layer_input),
            delta=return_convergence_delta,
            std=return_std,
            rows=internal_batch_size,
            create_graph=create_graph,
            show_progress=show_progress,
        )


class NeuronGradientShap(_Sampling, NeuronContributions):
    r"""Score = E[(x̃ - b) ⊙ ∂y/∂x(b + α(x̃ - b))] for a neuron y of a layer.

    >>> import torch
    >>> from captum.attr import NeuronGradientShap
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
    >>> x = torch.ones(1, 2)
    >>> scores = NeuronGradientShap(model, model[0]).attribute(x, 1, torch.zeros(3, 2))
    >>> torch.allclose(scores, x * model[0].weight[1])
    True
    """

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any,
        n_samples: int = 5,
        stdevs: float | tuple[float, ...] = 0.0,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        *,
        tol: float | None = None,
        return_std: bool = False,
        generator: torch.Generator | None = None,
        internal_batch_size: Rows = "auto",
        forward_kwargs: Mapping[str, Any] | None = None,
        create_graph: bool = False,
        show_progress: bool = False,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; then the errors where asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            neuron_selector: see the glossary: the neuron within one example's layer value.
            baselines: rows (K, *F) to draw from: see `GradientShap`.
            n_samples: draws per example.
            stdevs: standard deviation of the noise.
            additional_forward_args: see the glossary: what else the model takes, by position.
            attribute_to_neuron_input: the neuron is in the layer's input, not its output.
            tol: see `GradientShap`.
            return_std: see `GradientShap`.
            generator: see the glossary: where random numbers come from.
            internal_batch_size: see the glossary: rows per pass, chosen by default.
            forward_kwargs: what else the model takes, by keyword.
            create_graph: keep the graph, to train on the scores.
            show_progress: a progress bar of model rows.

        Raises:
            ValueError: the layer does not run, or baselines that do not fit.
        """
        return self._sample(
            (inputs, None, additional_forward_args, forward_kwargs),
            baselines,
            Expectation(n_samples, stdevs, self._multiply_by_inputs, tol=tol, generator=generator),
            of=self._neuron(neuron_selector, attribute_to_neuron_input),
            std=return_std,
            rows=internal_batch_size,
            create_graph=create_graph,
            show_progress=show_progress,
        )
