"""Our methods beside the literal ones: gradients and their integrals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from captum import attr

from . import twins
from .nets import Net, Problem, problems

RULES = [
    "gausslegendre",
    "riemann_left",
    "riemann_middle",
    "riemann_right",
    "riemann_trapezoid",
]
SIDES = ["output", "input"]
few = settings(max_examples=8, derandomize=True, deadline=None, database=None)
steps = st.integers(1, 5)
multiply = st.booleans()


def equal(ours: Tensor, twin: Tensor) -> None:
    assert_close(ours, twin, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 5, 20, 50])
def test_the_twin_knows_its_gauss_legendre_rule(n: int) -> None:
    """Exact for polynomials up to degree 2n - 1: a check of the twin, which no paper's table is."""
    rule = twins.gauss_legendre(n)
    for degree in range(2 * n):
        assert sum(w * a**degree for a, w in rule) == pytest.approx(1 / (degree + 1), abs=1e-13)


@few
@given(problems(), st.booleans())
def test_saliency(p: Problem, magnitude: bool) -> None:
    ours = attr.Saliency(p.net).attribute(p.x, target=p.targets, abs=magnitude)
    twin = twins.saliency if magnitude else twins.slope
    equal(ours, p.each(lambda i, x, _: twin(p.f(i), x)))


@few
@given(problems())
def test_input_x_gradient(p: Problem) -> None:
    ours = attr.InputXGradient(p.net).attribute(p.x, target=p.targets)
    equal(ours, p.each(lambda i, x, _: twins.input_x_gradient(p.f(i), x)))


@pytest.mark.parametrize("rule", RULES)
@few
@given(problems(), steps, multiply)
def test_integrated_gradients(rule: str, p: Problem, n: int, product: bool) -> None:
    ours, delta = attr.IntegratedGradients(p.net, product).attribute(
        p.x, p.x0, p.targets, n_steps=n, method=rule, return_convergence_delta=True
    )
    nodes = twins.quadrature(rule, n)
    equal(ours, p.each(lambda i, x, x0: twins.integrated_gradients(p.f(i), x, x0, nodes, product)))
    full = p.each(lambda i, x, x0: twins.integrated_gradients(p.f(i), x, x0, nodes))
    change = p.each(lambda i, x, x0: p.f(i)(x) - p.f(i)(x0))
    equal(delta, full.flatten(1).sum(1) - change)


@few
@given(problems(), steps)
def test_integrated_gradients_averages_over_baselines(p: Problem, n: int) -> None:
    other = p.x0.flip(0) * 2 - 1
    ours = attr.IntegratedGradients(p.net).attribute(p.x, [p.x0, other, 0.5], p.targets, n_steps=n)
    nodes = twins.quadrature("gausslegendre", n)
    starts = [p.x0, other, torch.full_like(p.x0, 0.5)]
    each = [
        p.each(
            lambda i, x, _, start=start: twins.integrated_gradients(
                p.f(i), x, start[i : i + 1], nodes
            )
        )
        for start in starts
    ]
    equal(ours, sum(each, torch.zeros_like(p.x)) / len(starts))


@pytest.mark.parametrize("rule", ["gausslegendre", "riemann_middle", "riemann_trapezoid"])
@few
@given(problems(), steps)
def test_integrated_gradients_on_a_path_of_ones_own(rule: str, p: Problem, n: int) -> None:
    """A parabola beside the line, the derivative written out by hand in the twin."""

    def path(alphas: Tensor, start: Tensor, end: Tensor) -> Tensor:
        a = alphas.view(-1, *[1] * end.ndim)
        return start + a**2 * (end - start) + a * (1 - a) * start.sin()

    ours = attr.IntegratedGradients(p.net).attribute(
        p.x, p.x0, p.targets, n_steps=n, method=rule, path=path
    )
    nodes = twins.quadrature(rule, n)
    equal(
        ours,
        p.each(
            lambda i, x, x0: twins.path_integrated_gradients(
                p.f(i),
                nodes,
                lambda a: x0 + a**2 * (x - x0) + a * (1 - a) * x0.sin(),
                lambda a: 2 * a * (x - x0) + (1 - 2 * a) * x0.sin(),
            )
        ),
    )


@few
@given(problems(), problems(), steps)
def test_two_inputs_are_one_long_input(p: Problem, q: Problem, n: int) -> None:
    """Of f(x, y) the methods give what they give of f((x, y)) for the joined vector."""
    rows = min(len(p.x), len(q.x))
    x, y, x0, y0 = (v[:rows] for v in (p.x, q.x, p.x0, q.x0))
    width = x[0].numel()

    def f(u: Tensor, v: Tensor) -> Tensor:
        return p.net(u)[:, 0] * q.net(v)[:, -1]

    def joined(z: Tensor) -> Tensor:
        return f(z[:, :width].view(1, *x.shape[1:]), z[:, width:].view(1, *y.shape[1:]))

    def both(u: Tensor, v: Tensor) -> Tensor:
        return torch.cat([u.flatten(1), v.flatten(1)], 1)

    nodes = twins.quadrature("gausslegendre", n)
    groups = [torch.arange(v[0].numel()).remainder(2).view(1, *v.shape[1:]) for v in (x, y)]
    mask = both(*groups)
    ig = attr.IntegratedGradients(f).attribute((x, y), (x0, y0), n_steps=n)
    gxi = attr.InputXGradient(f).attribute((x, y))
    drop = attr.FeatureAblation(f).attribute((x, y), (x0, y0), feature_mask=tuple(groups))
    for i in range(rows):
        row = slice(i, i + 1)
        end, start = both(x[row], y[row]), both(x0[row], y0[row])
        equal(both(ig[0][row], ig[1][row]), twins.integrated_gradients(joined, end, start, nodes))
        equal(both(gxi[0][row], gxi[1][row]), twins.input_x_gradient(joined, end))
        equal(both(drop[0][row], drop[1][row]), twins.feature_ablation(joined, end, start, mask))


def selected(p: Problem, side: str) -> tuple[int, int]:
    """The last neuron at that side of the layer, and how many there are."""
    assert isinstance(p.net, Net)
    count = p.net.layer.out_features if side == "output" else p.net.layer.in_features
    return count - 1, count


@pytest.mark.parametrize("side", SIDES)
@few
@given(problems(), steps, multiply)
def test_neuron_gradient_and_integral(side: str, p: Problem, n: int, product: bool) -> None:
    j, _ = selected(p, side)
    at_input = side == "input"
    nodes = twins.quadrature("gausslegendre", n)

    def neuron(v: Tensor) -> Tensor:
        return p.y(side)(v)[:, j]

    ours = attr.NeuronGradient(p.net, p.net.layer).attribute(
        p.x, j, attribute_to_neuron_input=at_input
    )
    equal(ours, p.each(lambda _i, x, _x0: twins.slope(neuron, x)))
    ours = attr.NeuronIntegratedGradients(p.net, p.net.layer, multiply_by_inputs=product).attribute(
        p.x, j, p.x0, n_steps=n, attribute_to_neuron_input=at_input
    )
    equal(ours, p.each(lambda _, x, x0: twins.integrated_gradients(neuron, x, x0, nodes, product)))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("rule", RULES)
@few
@given(problems(), steps, multiply, st.booleans())
def test_neuron_conductance(
    rule: str, side: str, p: Problem, n: int, product: bool, several: bool
) -> None:
    j, _ = selected(p, side)
    ours = attr.NeuronConductance(p.net, p.net.layer, multiply_by_inputs=product).attribute(
        p.x,
        (slice(0, j + 1),) if several else j,
        p.x0,
        p.targets,
        n_steps=n,
        method=rule,
        attribute_to_neuron_input=side == "input",
    )
    nodes = twins.quadrature(rule, n)
    equal(
        ours,
        p.each(
            lambda i, x, x0: twins.neuron_conductance(
                p.rest(i, side), p.y(side), lambda k: several or k == (j,), x, x0, nodes, product
            )
        ),
    )
