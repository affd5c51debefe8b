"""Completeness: contributions sum to f(x) - f(x0), and a delta says how far they are from it."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from captum import attr
from laws import nets
from laws.compare import assert_same_scores, each, total
from laws.methods import FromInputs, Method, keeping, name_of


def change(method: Method, net: nets.Net, x: Tensor, start: Tensor) -> Tensor:
    return method.value(net, x) - method.value(net, start)


def starts_of(method: Method, x: Tensor) -> list[Tensor]:
    """The baselines that the method is given, each as a batch."""
    given = method.options.get("baselines", 0.0)
    if isinstance(given, FromInputs):
        return [given.of(x)]
    if callable(given):
        return [row.expand_as(x) for row in given(x)]
    levels = given if isinstance(given, list) else [given]
    return [torch.full_like(x, level) for level in levels]


def assert_complete(method: Method, net: nets.Net, x: Tensor) -> None:
    changes = [change(method, net, x, start) for start in starts_of(method, x)]
    wanted = torch.stack(changes).mean(0)
    torch.testing.assert_close(
        method.total(method.scores(net, x), x), wanted, atol=method.close, rtol=method.close
    )


@pytest.mark.parametrize("method", keeping(lambda m: m.complete), ids=name_of)
def test_scores_sum_to_the_change_of_the_output(method: Method) -> None:
    assert_complete(method, method.net(), nets.images())


@pytest.mark.parametrize("method", keeping(lambda m: m.sums == "any"), ids=name_of)
@each("act", ["relu", "relu in place", "gelu", "hardswish", "sin", "square"])
def test_scores_sum_exactly_on_any_net(method: Method, act: str) -> None:
    """Slopes between two points need no derivative, and no step to be small enough."""
    assert_complete(method, nets.Net(act=_ACTS[act]), nets.images())


@pytest.mark.parametrize("method", keeping(lambda m: m.sums == "unbiased"), ids=name_of)
@each("act", ["relu", "relu in place", "gelu", "hardswish", "sin", "square"])
def test_scores_sum_to_the_output_without_biases(method: Method, act: str) -> None:
    net, x = nets.Net(act=_ACTS[act], bias=False), nets.images()
    wanted = method.value(net, x)
    found = total(method.scores(net, x))
    torch.testing.assert_close(found, wanted, atol=method.close, rtol=method.close)


_ACTS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x, inplace=True),
    "gelu": F.gelu,
    "hardswish": F.hardswish,
    "sin": torch.sin,
    "square": torch.square,
}


@pytest.mark.parametrize("method", keeping(lambda m: m.complete), ids=name_of)
def test_scores_sum_from_a_baseline_of_each_example(method: Method) -> None:
    net, x, start = method.net(), nets.images(), nets.images(seed=5) / 2
    found = method.scores(net, x, baselines=start)
    wanted = change(method, net, x, start)
    if method.averages:
        wanted = method.value(net, x) - method.value(net, start).mean()
    close = max(method.close, 1e-9)
    torch.testing.assert_close(method.total(found, x), wanted, atol=close, rtol=close)


@pytest.mark.parametrize("method", keeping(lambda m: m.sums is not None), ids=name_of)
def test_scores_sum_exactly_on_a_linear_model(method: Method) -> None:
    net, x = nets.linear(), nets.images()
    start = torch.zeros_like(x[:1])
    more = {"baselines": start} if "baselines" in method.accepts(net) else {}
    wanted = change(method, net, x, start)
    close = max(1e-10, method.close if method.sums == "unbiased" else 0.0)
    found = method.total(method.scores(net, x, **more), x)
    torch.testing.assert_close(found, wanted, atol=close, rtol=close)


def _with_delta(method: Method) -> bool:
    return "return_convergence_delta" in method.accepts(nets.smooth())


def _from_baselines(method: Method) -> bool:
    return _with_delta(method) and "baselines" in method.accepts(nets.smooth())


@pytest.mark.parametrize("method", keeping(_from_baselines), ids=name_of)
def test_the_delta_is_what_is_missing(method: Method) -> None:
    """Of sampled methods the mean over the draws, which come example by example."""
    net, x = method.net(), nets.images()
    start = torch.full_like(x[:1], 0.2)
    scores, delta = method.scores(net, x, baselines=start, return_convergence_delta=True)
    if isinstance(delta, list):  # a delta for each layer, of which each is all that moves
        for score, each in zip(scores, delta, strict=True):
            missing = total(score) - change(method, net, x, start)
            torch.testing.assert_close(each, missing, atol=1e-10, rtol=1e-10)
        return
    per_example = delta.view(len(x), -1)
    draws = [method.options.get(name, 1) for name in ("n_samples", "nt_samples")]
    assert per_example.shape[1] == math.prod(draws)
    if method.sums is not None:
        missing = total(scores) - change(method, net, x, start)
        torch.testing.assert_close(per_example.mean(1), missing, atol=1e-10, rtol=1e-10)
    if method.complete:
        assert float(delta.abs().max()) <= method.close * 10


@pytest.mark.parametrize(
    "method", keeping(lambda m: _with_delta(m) and m.sums == "unbiased"), ids=name_of
)
def test_the_delta_is_what_biases_absorbed(method: Method) -> None:
    """Each layer of several has all of the relevance, or its branch's share: a delta each."""
    net, x = method.net(), nets.images()
    scores, delta = method.scores(net, x, return_convergence_delta=True)
    pairs = zip(scores, delta, strict=True) if method.lands == "layers" else [(scores, delta)]
    for score, missing in pairs:
        wanted = method.value(net, x) - total(score)
        torch.testing.assert_close(missing, wanted, atol=1e-10, rtol=1e-10)
        assert float(missing.abs().max()) > 1e-3


@pytest.mark.parametrize("method", keeping(_with_delta), ids=name_of)
def test_asking_for_the_delta_changes_no_score(method: Method) -> None:
    net, x = method.net(), nets.images()
    nets.reseed()
    alone = method.scores(net, x)
    nets.reseed()
    scores, _ = method.scores(net, x, return_convergence_delta=True)
    assert_same_scores(scores, alone, 1e-14)


def test_compute_convergence_delta_agrees() -> None:
    net, x, start = nets.smooth(), nets.images(), nets.images(seed=5)
    method = attr.IntegratedGradients(net)
    scores, delta = method.attribute(x, start, target=2, n_steps=3, return_convergence_delta=True)
    again = method.compute_convergence_delta(scores, start, x, target=2)
    assert float(delta.abs().min()) > 1e-6
    torch.testing.assert_close(again, delta, atol=1e-12, rtol=1e-10)


def test_the_conductances_of_all_neurons_sum_to_integrated_gradients() -> None:
    net, x = nets.smooth(), nets.images()
    method = attr.NeuronConductance(net, net.neuron)
    each = [method.attribute(x, i, target=1, method="gausslegendre", n_steps=20) for i in range(4)]
    whole = attr.IntegratedGradients(net).attribute(x, target=1, n_steps=20)
    assert_same_scores(torch.stack(each).sum(0), whole)


def test_layer_conductance_converges_to_completeness() -> None:
    net, x = nets.smooth(), nets.images()
    method = attr.LayerConductance(net, net.layer)
    deltas = [
        float(
            method.attribute(x, target=1, n_steps=n, return_convergence_delta=True)[1].abs().max()
        )
        for n in (25, 100, 400)
    ]
    assert deltas[1] < deltas[0] / 2
    assert deltas[2] < deltas[1] / 2


def test_expected_gradients_converge_to_the_mean_change() -> None:
    net, x, background = nets.smooth(), nets.images(), nets.images(8, seed=4)
    scores, errors = attr.GradientShap(net).attribute(
        x, background, n_samples=4000, target=0, return_std=True
    )
    wanted = (net(x)[:, :1] - net(background)[:, 0]).mean(1).detach()
    spread = errors.flatten(1).square().sum(1).sqrt()
    # Errors of features are correlated; ten of the combined standard errors are beyond doubt.
    assert bool(((total(scores) - wanted).abs() < 10 * spread).all())
    assert float(spread.max()) < 0.2


@given(
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    features=st.integers(1, 6),
    n=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_random_networks_are_complete(widths: list[int], features: int, n: int, seed: int) -> None:
    nets.reseed(seed)
    sizes = [features, *widths]
    layers = [
        module for a, b in itertools.pairwise(sizes) for module in (nn.Linear(a, b), nn.Sigmoid())
    ]
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], 2)).double()
    x, start = torch.randn(2, n, features, dtype=torch.float64)
    wanted = (model(x) - model(start))[:, 1].detach()
    for method in (
        attr.IntegratedGradients(model),
        attr.LayerIntegratedGradients(model, model[0]),
        attr.IntegratedGradients(model, at=attr.Layer(model[-1], side="input")),
    ):
        scores, delta = method.attribute(x, start, target=1, return_convergence_delta=True)
        torch.testing.assert_close(total(scores), wanted, atol=1e-7, rtol=1e-7)
        torch.testing.assert_close(delta, total(scores) - wanted, atol=1e-12, rtol=1e-12)
