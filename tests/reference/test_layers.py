"""Our methods beside the literal ones: layers, class activation maps, perturbations, statistics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from captum import attr

from . import twins
from .nets import Problem, pictures, problems
from .test_gradients import RULES, SIDES, equal, few, multiply, steps


@pytest.mark.parametrize("side", SIDES)
@few
@given(problems(), multiply)
def test_layer_gradient_x_activation(side: str, p: Problem, product: bool) -> None:
    ours = attr.LayerGradientXActivation(p.net, p.net.layer, multiply_by_inputs=product).attribute(
        p.x, p.targets, attribute_to_layer_input=side == "input"
    )
    equal(
        ours,
        p.each(
            lambda i, x, _: twins.layer_gradient_x_activation(
                p.rest(i, side), p.y(side), x, product
            )
        ),
    )


@pytest.mark.parametrize("side", SIDES)
@few
@given(problems())
def test_layer_activation(side: str, p: Problem) -> None:
    ours = attr.LayerActivation(p.net, p.net.layer).attribute(
        p.x, attribute_to_layer_input=side == "input"
    )
    equal(ours, p.each(lambda _i, x, _x0: p.y(side)(x)))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("rule", RULES)
@few
@given(problems(), steps, multiply)
def test_layer_integrated_gradients(
    rule: str, side: str, p: Problem, n: int, product: bool
) -> None:
    ours, delta = attr.LayerIntegratedGradients(
        p.net, p.net.layer, multiply_by_inputs=product
    ).attribute(
        p.x,
        p.x0,
        p.targets,
        n_steps=n,
        method=rule,
        return_convergence_delta=True,
        attribute_to_layer_input=side == "input",
    )
    nodes, y = twins.quadrature(rule, n), p.y(side)

    def twin(product: bool) -> Tensor:
        return p.each(
            lambda i, x, x0: twins.layer_integrated_gradients(
                p.rest(i, side), y, x, x0, nodes, product
            )
        )

    equal(ours, twin(product))
    change = p.each(lambda i, x, x0: p.rest(i, side)(y(x), x) - p.rest(i, side)(y(x0), x))
    equal(delta, twin(True).flatten(1).sum(1) - change)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("rule", RULES)
@few
@given(problems(), steps)
def test_layer_conductance_and_internal_influence(rule: str, side: str, p: Problem, n: int) -> None:
    options = {"n_steps": n, "method": rule, "attribute_to_layer_input": side == "input"}
    ours, delta = attr.LayerConductance(p.net, p.net.layer).attribute(
        p.x, p.x0, p.targets, return_convergence_delta=True, **options
    )
    points = [a for a, _ in twins.quadrature(rule, n + 1)]
    twin = p.each(
        lambda i, x, x0: twins.layer_conductance(p.rest(i, side), p.y(side), x, x0, points)
    )
    equal(ours, twin)
    change = p.each(lambda i, x, x0: p.f(i)(x) - p.f(i)(x0))
    equal(delta, twin.sum(1) - change)

    ours = attr.InternalInfluence(p.net, p.net.layer).attribute(p.x, p.x0, p.targets, **options)
    nodes = twins.quadrature(rule, n)
    equal(
        ours,
        p.each(lambda i, x, x0: twins.internal_influence(p.rest(i, side), p.y(side), x, x0, nodes)),
    )


@pytest.mark.parametrize("examples", [1, 2, 3])
def test_layer_integrated_gradients_of_a_recurrent_layer(examples: int) -> None:
    """Its states are (2, N, H): with two examples they look as if they had a row per example."""
    torch.manual_seed(examples)
    rnn = torch.nn.LSTM(3, 2, batch_first=True, bidirectional=True).double()
    last = torch.nn.Linear(4, 1).double()
    x = torch.randn(examples, 4, 3, dtype=torch.float64)

    def rest(y: Tensor) -> Tensor:
        return last(torch.tanh(y)).sum((1, 2))

    model = torch.nn.Module()
    model.rnn = rnn
    model.forward = lambda v: rest(model.rnn(v)[0])
    values, (hidden, cell) = attr.LayerIntegratedGradients(model, rnn).attribute(x, n_steps=4)
    rule = twins.quadrature("gausslegendre", 4)
    y, y0 = rnn(x)[0].detach(), rnn(x * 0)[0].detach()
    for i in range(examples):
        row = slice(i, i + 1)
        equal(values[row], twins.integrated_gradients(rest, y[row], y0[row], rule))
    assert not hidden.any()
    assert not cell.any()


CAMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "LayerGradCam": twins.grad_cam_weights,
    "LayerHiResCam": twins.hires_cam_weights,
    "LayerCam": twins.layer_cam_weights,
    "LayerGradCamPlusPlus": twins.grad_cam_plus_plus_weights,
}


@pytest.mark.parametrize("name", CAMS)
@few
@given(pictures(), st.booleans())
def test_class_activation_maps(name: str, p: Problem, relu: bool) -> None:
    ours = getattr(attr, name)(p.net, p.net.layer).attribute(p.x, p.targets, relu_attributions=relu)

    def twin(i: int, x: Tensor, _: Tensor) -> Tensor:
        value = p.y()(x).detach()
        found = twins.cam(CAMS[name](value, twins.slope(lambda v: p.rest(i)(v, x), value)), value)
        return found.clamp(min=0) if relu else found

    equal(ours, p.each(twin))


@few
@given(pictures(), st.booleans())
def test_score_cam(p: Problem, relu: bool) -> None:
    ours = attr.LayerScoreCam(p.net, p.net.layer).attribute(p.x, p.targets, relu_attributions=relu)
    twin = p.each(lambda i, x, _: twins.score_cam(p.f(i), p.y(), x))
    equal(ours, twin.clamp(min=0) if relu else twin)


@st.composite
def masks(draw: st.DrawFn, p: Problem) -> Tensor:
    """Groups with gaps between their numbers, for all examples or for each."""
    shape = (draw(st.sampled_from([1, len(p.x)])), *p.x.shape[1:])
    count = torch.Size(shape).numel()
    numbers = draw(st.lists(st.sampled_from([0, 1, 4]), min_size=count, max_size=count))
    return torch.tensor(numbers).view(shape)


@few
@given(st.data(), problems())
def test_feature_ablation(data: st.DataObject, p: Problem) -> None:
    mask = data.draw(masks(p))
    alone = torch.arange(p.x[0].numel()).view(1, *p.x.shape[1:])
    for given_mask, groups in ((mask, mask), (None, alone)):
        ours = attr.FeatureAblation(p.net).attribute(p.x, p.x0, p.targets, feature_mask=given_mask)
        each = groups.expand_as(p.x)
        equal(
            ours,
            p.each(lambda i, x, x0, m=each: twins.feature_ablation(p.f(i), x, x0, m[i : i + 1])),
        )


@few
@given(problems())
def test_feature_ablation_at_a_layer(p: Problem) -> None:
    """The layer's value is the free variable; what lies beside it stays at the input."""
    ours = attr.FeatureAblation(p.net, at=p.net.layer).attribute(p.x, p.x0, p.targets)

    def twin(i: int, x: Tensor, x0: Tensor) -> Tensor:
        value, base = p.y()(x).detach(), p.y()(x0).detach()
        groups = torch.arange(value.numel()).view(value.shape)
        return twins.feature_ablation(lambda v: p.rest(i)(v, x), value, base, groups)

    equal(ours, p.each(twin))


@few
@given(st.data(), problems(), st.integers(1, 3))
def test_data_set(data: st.DataObject, p: Problem, per_pass: int) -> None:
    mask = data.draw(masks(p))[:1]
    batches = [p.x, p.x0, p.x.flip(0) * p.x0]

    def metric(inputs: list[Tensor]) -> Tensor:
        outputs = torch.cat([p.net(batch) for batch in inputs])
        return torch.stack([outputs.square().mean(), outputs.sum()]).detach()

    ours = attr.DataLoaderAttribution(attr.FeatureAblation(p.net)).attribute(
        batches,
        baselines=0.5,
        feature_mask=mask,
        to_metric=lambda out: torch.stack([out.square().mean(), out.sum()]),
        perturbations_per_pass=per_pass,
    )
    start = torch.full_like(p.x[:1], 0.5)
    equal(ours, twins.data_set_ablation(metric, batches, start, mask))


@few
@given(problems(), st.integers(1, 6))
def test_statistics(p: Problem, count: int) -> None:
    values = [p.x * (k + 1) - p.x0 * k**2 for k in range(count)]
    summarizer = attr.Summarizer(
        [
            *(attr.Count(), attr.Mean(), attr.MSE(), attr.Sum(), attr.Min(), attr.Max()),
            *(attr.Var(), attr.StdDev(), attr.Var(order=1), attr.StdDev(order=1)),
        ]
    )
    for value in values:
        summarizer.update(value)
    twin = twins.statistics(values)
    assert isinstance(summarizer.summary, dict)
    assert set(summarizer.summary) == set(twin)
    for name, value in twin.items():
        if isinstance(value, Tensor):
            equal(summarizer.summary[name], value)
        else:
            assert summarizer.summary[name] == value
