"""Our methods beside the literal ones where numbers are drawn: the twins get the same draws.

`captum._engine.sampling` documents the order: noise example by example, (N, S, *F), then a row of
the baselines for every sample, copy after copy, then the positions.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from captum import attr

from . import twins
from .nets import Problem, problems
from .test_gradients import SIDES, equal, few, multiply, selected

samples = st.integers(1, 4)
stdevs = st.sampled_from([0.0, 0.3])


class Draws:
    """What a generator gives in that order, sorted by example."""

    def __init__(self, p: Problem, samples: int, stdev: float, rows: Tensor | None) -> None:
        generator, n = p.generator, len(p.x)
        noise = torch.zeros(n, samples, *p.x.shape[1:], dtype=torch.float64)
        if stdev:
            noise = stdev * torch.randn(noise.shape, generator=generator, dtype=torch.float64)
        self.ends = [[p.x[i : i + 1] + each[None] for each in noise[i]] for i in range(n)]
        if rows is None:
            return
        chosen = torch.randint(len(rows), (samples * n,), generator=generator).view(samples, n)
        alphas = torch.rand(samples * n, generator=generator, dtype=torch.float64)
        self.starts = [[rows[k][None] for k in chosen[:, i]] for i in range(n)]
        self.alphas = [alphas.view(samples, n)[:, i].tolist() for i in range(n)]

    def of(self, i: int) -> tuple[list[Tensor], list[Tensor], list[float]]:
        return self.ends[i], self.starts[i], self.alphas[i]


def rows_of(p: Problem) -> Tensor:
    """A distribution of baselines: three times as many rows as examples."""
    return torch.cat([p.x0, p.x0 * 2, p.x0.cos()])


@few
@given(problems(), samples, stdevs, multiply)
def test_gradient_shap(p: Problem, count: int, stdev: float, product: bool) -> None:
    rows = rows_of(p)
    ours, delta, error = attr.GradientShap(p.net, product).attribute(
        p.x,
        rows,
        count,
        stdev,
        p.targets,
        return_convergence_delta=True,
        return_std=True,
        generator=p.generator,
    )
    draws = Draws(p, count, stdev, rows)
    equal(ours, p.each(lambda i, *_: twins.gradient_shap(p.f(i), *draws.of(i), product)))
    deltas = [d for i in range(len(p.x)) for d in twins.shap_deltas(p.f(i), *draws.of(i))]
    equal(delta, torch.stack(deltas).detach())
    if count == 1:
        assert bool(error.isinf().all())
        return

    def standard_error(i: int, *_: Tensor) -> Tensor:
        ends, starts, alphas = draws.of(i)
        each = [
            twins.gradient_shap(p.f(i), [end], [start], [a], product)
            for end, start, a in zip(ends, starts, alphas, strict=True)
        ]
        spread = twins.noise_tunnel("vargrad", each) * count / (count - 1)
        return (spread / count).sqrt()

    equal(error, p.each(standard_error))


@pytest.mark.parametrize("side", SIDES)
@few
@given(problems(), samples, stdevs)
def test_layer_gradient_shap(side: str, p: Problem, count: int, stdev: float) -> None:
    rows = rows_of(p)
    ours = attr.LayerGradientShap(p.net, p.net.layer).attribute(
        p.x,
        rows,
        count,
        stdev,
        p.targets,
        attribute_to_layer_input=side == "input",
        generator=p.generator,
    )
    draws = Draws(p, count, stdev, rows)
    equal(
        ours,
        p.each(lambda i, *_: twins.layer_gradient_shap(p.rest(i, side), p.y(side), *draws.of(i))),
    )


@pytest.mark.parametrize("side", SIDES)
@few
@given(problems(), samples, stdevs, multiply)
def test_neuron_gradient_shap(
    side: str, p: Problem, count: int, stdev: float, product: bool
) -> None:
    rows, (j, _) = rows_of(p), selected(p, side)
    ours = attr.NeuronGradientShap(p.net, p.net.layer, multiply_by_inputs=product).attribute(
        p.x,
        j,
        rows,
        count,
        stdev,
        attribute_to_neuron_input=side == "input",
        generator=p.generator,
    )
    draws = Draws(p, count, stdev, rows)

    def neuron(v: Tensor) -> Tensor:
        return p.y(side)(v)[:, j]

    equal(ours, p.each(lambda i, *_: twins.gradient_shap(neuron, *draws.of(i), product)))


@pytest.mark.parametrize("kind", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@few
@given(problems(), samples, st.integers(1, 4))
def test_noise_tunnel(kind: str, p: Problem, count: int, at_a_time: int) -> None:
    ours = attr.NoiseTunnel(attr.InputXGradient(p.net)).attribute(
        p.x,
        kind,
        count,
        at_a_time,
        0.4,
        target=p.targets,
        generator=p.generator,
    )
    draws = Draws(p, count, 0.4, None)
    equal(
        ours,
        p.each(
            lambda i, *_: twins.noise_tunnel(
                kind, [twins.input_x_gradient(p.f(i), end) for end in draws.ends[i]]
            )
        ),
    )


@few
@given(problems(), samples)
def test_noise_tunnel_at_a_layer_with_baselines_from_a_distribution(p: Problem, count: int) -> None:
    """Noise on the inputs, scores on the layer's value; each sample has a baseline of its own."""
    rows = rows_of(p)
    ours = attr.NoiseTunnel(attr.LayerIntegratedGradients(p.net, p.net.layer)).attribute(
        p.x,
        "smoothgrad",
        count,
        stdevs=0.4,
        draw_baseline_from_distrib=True,
        generator=p.generator,
        baselines=rows,
        target=p.targets,
        n_steps=3,
    )
    draws, nodes = Draws(p, count, 0.4, rows), twins.quadrature("gausslegendre", 3)

    def twin(i: int, *_: Tensor) -> Tensor:
        ends, starts, _alphas = draws.of(i)
        scores = [
            twins.layer_integrated_gradients(p.rest(i), p.y(), end, start, nodes)
            for end, start in zip(ends, starts, strict=True)
        ]
        return twins.noise_tunnel("smoothgrad", scores)

    equal(ours, p.each(twin))
