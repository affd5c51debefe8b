"""DeepLIFT and the guided methods beside the literal ones."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from captum import attr
from captum.attr import Layer

from . import twins_rules as twins
from .test_gradients import few
from .twins_rules import (
    Affine,
    Entries,
    Gate,
    LogSoftmax,
    Maxima,
    Norm,
    Rectify,
    Size,
    Softmax,
    Step,
)

ACTS: dict[str, nn.Module] = {
    type(module).__name__: module
    for module in (
        *[
            nn.ReLU(),
            nn.Tanh(),
            nn.Sigmoid(),
            nn.ELU(),
            nn.Softplus(),
            nn.LeakyReLU(0.2),
            nn.GELU(),
        ],
        *[nn.SiLU(), nn.ReLU6(), nn.Hardtanh(), nn.SELU(), nn.CELU(0.7), nn.Mish(), nn.Hardswish()],
        *[nn.LogSigmoid(), nn.Softsign(), nn.Hardsigmoid(), nn.Tanhshrink()],
    )
}
seeds, sizes = st.integers(0, 9999), st.integers(1, 4)
act = pytest.mark.parametrize("name", ACTS)


def equal(ours: Tensor, twin: Tensor) -> None:
    torch.testing.assert_close(ours, twin, rtol=1e-9, atol=1e-9)


def drawn(*shape: int, scale: float = 1.5) -> Tensor:
    return scale * torch.randn(*shape, dtype=torch.float64)


def linear(inputs: int, outputs: int) -> nn.Linear:
    module = nn.Linear(inputs, outputs).double()
    with torch.no_grad():
        module.weight.copy_(drawn(outputs, inputs))
        module.bias.copy_(drawn(outputs))
    return module


def each(steps: Sequence[Step], x: Tensor, x0: Tensor, target: int) -> Tensor:
    """The twin over the examples."""
    pairs = zip(x.flatten(1), x0.flatten(1), strict=True)
    return torch.stack([twins.deep_lift(steps, a, b, target) for a, b in pairs]).view(x.shape)


def affine(module: nn.Linear) -> Affine:
    return Affine(module.weight.detach(), module.bias.detach())


class Mlp:
    """Two hidden layers, as a model and as steps."""

    def __init__(self, name: str, widths: Sequence[int]) -> None:
        first, second, last = (linear(a, b) for a, b in pairwise(widths))
        f = ACTS[name]
        self.model = nn.Sequential(first, f, second, deepcopy(f), last)
        self.steps = [affine(first), Entries(f), affine(second), Entries(f), affine(last)]


def mlp(name: str, widths: Sequence[int], seed: int) -> tuple[Mlp, Tensor, Tensor, int]:
    """A network, inputs, a baseline for each, and a target. Some entries do not move."""
    torch.manual_seed(seed)
    net = Mlp(name, widths)
    x, x0 = drawn(2, widths[0]), drawn(2, widths[0])
    x0[0, 0] = x[0, 0]
    return net, x, x0, seed % widths[-1]


@act
@few
@given(st.tuples(sizes, sizes, sizes, sizes), seeds)
def test_deep_lift(name: str, widths: tuple[int, ...], seed: int) -> None:
    net, x, x0, target = mlp(name, widths, seed)
    ours, delta = attr.DeepLift(net.model).attribute(x, x0, target, return_convergence_delta=True)
    equal(ours, each(net.steps, x, x0, target))
    equal(delta, torch.zeros(2, dtype=torch.float64))
    ours = attr.DeepLift(net.model, multiply_by_inputs=False).attribute(x, x0, target)
    equal(
        ours,
        torch.stack(
            [twins.multipliers(net.steps, a, b)[target] for a, b in zip(x, x0, strict=True)]
        ),
    )


@act
def test_multipliers_are_derivatives_where_nothing_moves(name: str) -> None:
    torch.manual_seed(3)
    first = linear(3, 4)
    model, x = nn.Sequential(first, ACTS[name]), drawn(2, 3)
    ours = attr.DeepLift(model, multiply_by_inputs=False).attribute(x, x, 2)
    steps = [affine(first), Entries(ACTS[name])]
    equal(ours, torch.stack([twins.multipliers(steps, a, a)[2] for a in x]))


@few
@given(st.tuples(sizes, sizes, sizes, sizes), seeds, st.integers(2, 4))
def test_deep_lift_shap(widths: tuple[int, ...], seed: int, count: int) -> None:
    net, x, _, target = mlp("ReLU", widths, seed)
    starts = drawn(count, widths[0])
    ours, delta = attr.DeepLiftShap(net.model).attribute(
        x, starts, target, return_convergence_delta=True
    )
    each = [[twins.deep_lift(net.steps, a, b, target) for b in starts] for a in x]
    equal(ours, torch.stack([sum(row) / count for row in each]))
    assert delta.shape == (2 * count,)


@pytest.mark.parametrize("side", ["output", "input"])
@pytest.mark.parametrize("place", range(5))
@few
@given(seeds)
def test_deep_lift_of_layers_and_neurons(place: int, side: str, seed: int) -> None:
    net, x, x0, target = mlp("Tanh", (3, 4, 2, 3), seed)
    layer, of_input = net.model[place], side == "input"
    here = place + (not of_input)
    below, above = net.steps[:here], net.steps[here:]
    pairs = list(zip(x, x0, strict=True))

    ends = [(twins.values(below, a)[-1], twins.values(below, b)[-1]) for a, b in pairs]
    ours = attr.LayerDeepLift(net.model, layer).attribute(
        x, x0, target, attribute_to_layer_input=of_input
    )
    twin = torch.stack([twins.deep_lift(above, u, v, target) for u, v in ends])
    equal(ours, twin)
    equal(attr.DeepLift(net.model, at=Layer(layer, side)).attribute(x, x0, target), twin)
    ours = attr.LayerDeepLiftShap(net.model, layer).attribute(
        x, x0, target, attribute_to_layer_input=of_input
    )
    starts = [v for _, v in ends]
    equal(
        ours,
        torch.stack(
            [sum(twins.deep_lift(above, u, v, target) for v in starts) / 2 for u, _ in ends]
        ),
    )

    ours = attr.NeuronDeepLift(net.model, layer).attribute(
        x, 1, x0, attribute_to_neuron_input=of_input
    )
    equal(ours, each(below, x, x0, 1))
    ours = attr.NeuronDeepLiftShap(net.model, layer).attribute(
        x, 1, x0, attribute_to_neuron_input=of_input
    )
    equal(ours, torch.stack([sum(twins.deep_lift(below, a, b, 1) for b in x0) / 2 for a in x]))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@few
@given(sizes, st.integers(2, 5), seeds, st.sampled_from([0.1, 1.0, 4.0]))
def test_softmax_by_the_logarithmic_mean(
    name: str, inputs: int, outputs: int, seed: int, scale: float
) -> None:
    torch.manual_seed(seed)
    first, last = linear(inputs, outputs), linear(outputs, 2)
    function = {"softmax": torch.softmax, "log_softmax": torch.log_softmax}[name]
    step = {"softmax": Softmax, "log_softmax": LogSoftmax}[name]()
    x, x0 = drawn(3, inputs, scale=scale), drawn(3, inputs, scale=scale)
    ours = attr.DeepLift(lambda v: last(function(first(v), 1))).attribute(x, x0, 1)
    steps = [affine(first), step, affine(last)]
    equal(ours, each(steps, x, x0, 1))


@pytest.mark.parametrize("centred", [True, False])
@few
@given(st.integers(2, 5), seeds)
def test_norms_step_by_step(centred: bool, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    first, last = linear(3, width), linear(width, 2)
    weight, bias = drawn(width), drawn(width) if centred else torch.zeros(width)

    def model(x: Tensor) -> Tensor:
        h = first(x)
        if centred:
            return last(F.layer_norm(h, (width,), weight, bias, 1e-3))
        return last(F.rms_norm(h, (width,), weight, 1e-3))

    x, x0 = drawn(3, 3), drawn(3, 3)
    steps = [affine(first), Norm(weight, bias, 1e-3, centred), affine(last)]
    equal(
        attr.DeepLift(model).attribute(x, x0, 1),
        each(steps, x, x0, 1),
    )


@few
@given(sizes, sizes, seeds)
def test_products_by_their_midpoints(inputs: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    left, right, last = linear(inputs, width), linear(inputs, width), linear(width, 2)
    x, x0 = drawn(3, inputs), drawn(3, inputs)
    gate = Gate([affine(left)], [affine(right), Entries(torch.sigmoid)])
    steps = [gate, Entries(torch.tanh), affine(last)]
    ours = attr.DeepLift(lambda v: last(torch.tanh(left(v) * torch.sigmoid(right(v))))).attribute(
        x, x0, 0
    )
    equal(ours, each(steps, x, x0, 0))


@few
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), seeds)
def test_attention(tokens: int, inputs: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    queries, keys, value = (linear(inputs, width) for _ in range(3))
    last = linear(width, 1)
    x, x0 = drawn(2, tokens, inputs), drawn(2, tokens, inputs)

    def by_hand(v: Tensor) -> Tensor:
        weights = torch.softmax(queries(v) @ keys(v).transpose(1, 2) / width**0.5, -1)
        return last(weights @ value(v)).sum((1, 2))

    def called(v: Tensor) -> Tensor:
        return last(F.scaled_dot_product_attention(queries(v), keys(v), value(v))).sum((1, 2))

    found = []
    for a, b in zip(x, x0, strict=True):
        moving = twins.moving(a, b)
        q, k, v = (moving.each_row([affine(m)]) for m in (queries, keys, value))
        q = q.each_row([Affine(torch.eye(width, dtype=torch.float64) / width**0.5)])
        weights = q.times(k.transposed()).each_row([Softmax()])
        out = weights.times(v).each_row([affine(last)])
        found.append(out.m.sum((0, 1)).view(tokens, inputs) * (a - b))
    for model in (by_hand, called):
        equal(attr.DeepLift(model).attribute(x, x0), torch.stack(found))


# ---------------------------------------------------------------------- pictures


class Pictures:
    """Convolution, ReLU, max-pool, convolution, ReLU, linear: as a model and as steps."""

    def __init__(self, kernel: int, stride: int, padding: int, size: Size = (2, 5, 6)) -> None:
        conv1 = nn.Conv2d(2, 2, 2, stride=1, padding=padding).double()
        conv2 = nn.Conv2d(2, 3, 2).double()
        self.size = size
        w1, b1, after1 = twins.convolution(conv1.weight, conv1.bias, size, 1, padding)
        pools, after2 = twins.windows(after1, kernel, stride)
        w2, b2, after3 = twins.convolution(conv2.weight, conv2.bias, after2)
        last = linear(torch.Size(after3).numel(), 3)
        self.sizes = [size, after1, after1, after2, after3, after3]
        self.model = nn.Sequential(
            conv1, nn.ReLU(), nn.MaxPool2d(kernel, stride), conv2, nn.ReLU(), nn.Flatten(), last
        )
        self.steps = [
            Affine(w1.detach(), b1.detach()),
            Rectify(),
            Maxima(pools),
            Affine(w2.detach(), b2.detach()),
            Rectify(),
            affine(last),
        ]


POOLS = {"apart": (2, 2, 0), "overlapping": (3, 1, 0), "padded": (2, 1, 1), "gaps": (1, 2, 1)}
pools = pytest.mark.parametrize("pool", POOLS)


@pools
@pytest.mark.parametrize("seed", range(3))
def test_max_pools_between_their_winners(pool: str, seed: int) -> None:
    torch.manual_seed(seed)
    net = Pictures(*POOLS[pool])
    x, x0 = drawn(2, *net.size), drawn(2, *net.size)
    ours, delta = attr.DeepLift(net.model).attribute(x, x0, 1, return_convergence_delta=True)
    equal(ours, each(net.steps, x, x0, 1))
    equal(delta, torch.zeros(2, dtype=torch.float64))


@pools
@pytest.mark.parametrize("seed", range(2))
def test_guided_backprop_and_deconvolution(pool: str, seed: int) -> None:
    torch.manual_seed(seed)
    net = Pictures(*POOLS[pool])
    x, start = drawn(2, *net.size), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    for kind, method in {
        "guided": attr.GuidedBackprop,
        "deconvolution": attr.Deconvolution,
        "gradient": attr.Saliency,
    }.items():
        options = {"abs": False} if kind == "gradient" else {}
        ours = method(net.model).attribute(x, 2, **options)
        twin = [twins.backward(net.steps, a, start, kind)[0] for a in x.flatten(1)]
        equal(ours.flatten(1), torch.stack(twin))
    neurons = {"guided": attr.NeuronGuidedBackprop, "deconvolution": attr.NeuronDeconvolution}
    for kind, method in neurons.items():
        ours = method(net.model, net.model[3]).attribute(x, (2, 0, 0))
        start = torch.zeros(torch.Size(net.sizes[4]).numel(), dtype=torch.float64)
        start[twins.flat_index(net.sizes[4], (2, 0, 0))] = 1.0
        twin = [twins.backward(net.steps[:4], a, start, kind)[0] for a in x.flatten(1)]
        equal(ours.flatten(1), torch.stack(twin))


@pools
@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_guided_grad_cam(pool: str, layer: int) -> None:
    torch.manual_seed(layer)
    net = Pictures(*POOLS[pool])
    x, start = drawn(2, *net.size), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    ours = attr.GuidedGradCam(net.model, net.model[layer]).attribute(x, 1)
    below = attr.GuidedGradCam(net.model, net.model[layer + 1]).attribute(
        x, 1, attribute_to_layer_input=True
    )
    twin = torch.stack(
        [twins.guided_grad_cam(net.steps, layer + 1, net.sizes, a, start) for a in x.flatten(1)]
    )
    equal(ours, twin)
    equal(below, twin)
