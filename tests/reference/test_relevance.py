"""LRP beside the literal one, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from captum import attr
from captum.attr import LRP, LayerLRP, lrp_rules

from . import twins_relevance as twins
from .test_gradients import few
from .test_rules import drawn, equal, linear, seeds, sizes
from .twins_relevance import Matrix, Row, Rule
from .twins_rules import Size, convolution, windows

LRP0 = twins.epsilon(1e-300)  # whatever is nothing keeps nothing
# Ours and the twin of each rule, by name.
RULES: dict[str, tuple[Callable[[], Any], Rule]] = {
    "epsilon": (lrp_rules.EpsilonRule, LRP0),  # an ε of 1e-9 is none
    "epsilon 0.3": (lambda: lrp_rules.EpsilonRule(0.3), twins.epsilon(0.3)),
    "gamma": (lrp_rules.GammaRule, twins.gamma(0.25)),
    "gamma, no bias": (lambda: lrp_rules.GammaRule(1.5, True), twins.gamma(1.5, bias=False)),
    "signed gamma": (lambda: lrp_rules.GammaRule(0.6, signed=True), twins.signed_gamma(0.6)),
    "alpha1 beta0": (lrp_rules.Alpha1_Beta0_Rule, twins.z_plus_without_split()),
    "alpha1 beta0, no bias": (
        lambda: lrp_rules.Alpha1_Beta0_Rule(set_bias_to_zero=True),
        twins.z_plus_without_split(bias=False),
    ),
    "z plus": (lrp_rules.ZPlusRule, twins.alpha_beta(1.0, 0.0)),
    "alpha 2 beta 1": (lrp_rules.AlphaBetaRule, twins.alpha_beta(2.0, 1.0)),
    "alpha 1.5": (
        lambda: lrp_rules.AlphaBetaRule(1.5, 0.5, 0.1),
        twins.alpha_beta(1.5, 0.5, 0.1),
    ),
    "w square": (lrp_rules.WSquareRule, twins.w_square),
    "flat": (lrp_rules.FlatRule, twins.flat),
    "z box": (lambda: lrp_rules.ZBoxRule(-5.0, 4.0), twins.z_box(-5.0, 4.0)),
}
MIDDLE = [name for name in RULES if name not in ("w square", "flat", "z box")]
every = pytest.mark.parametrize("name", RULES)
middle = pytest.mark.parametrize("name", MIDDLE)


def unit(value: Tensor, target: int) -> Row:
    """All the relevance, f, at the target."""
    return [v * (i == target) for i, v in enumerate(value.tolist())]


def matrix(module: nn.Linear) -> tuple[Matrix, Row]:
    bias = torch.zeros(module.out_features) if module.bias is None else module.bias
    return twins.rows(module.weight), bias.tolist()


Step = Callable[[Row], Row]  # the relevance of a step's output to that of its input


def handed(steps: list[Step], relevance: Row) -> list[Row]:
    """The relevance of each step's input, and of the output."""
    found = [relevance]
    for step in reversed(steps):
        found.insert(0, step(found[0]))
    return found


def layer(rule: Rule, x: Tensor, w: Matrix, b: Row) -> Step:
    return lambda r: rule(x.flatten().tolist(), w, b, r)


def activation(f: nn.Module, x: Tensor) -> Step:
    rule = twins.rectifier if isinstance(f, nn.ReLU) else twins.identity
    return lambda r: rule(x.flatten().tolist(), r)


def tensor(values: list[Row], shape: Size = (-1,)) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(len(values), *shape)


# ---------------------------------------------------------------------- one layer


@every
@few
@given(st.integers(1, 5), sizes, seeds, st.booleans())
def test_a_linear_layer(name: str, inputs: int, outputs: int, seed: int, bias: bool) -> None:
    """Inputs of either sign, and zeros."""
    torch.manual_seed(seed)
    ours, twin = RULES[name]
    module = linear(inputs, outputs)
    if not bias:
        module.bias = None
    x, target = drawn(3, inputs), seed % outputs
    x[0, 0] = 0.0
    scores, delta = LRP(module, rules=[("*", ours())]).attribute(
        x, target, return_convergence_delta=True
    )
    w, b = matrix(module)
    found = [twin(a, w, b, unit(module(v), target)) for a, v in zip(x.tolist(), x, strict=True)]
    equal(scores, tensor(found))
    equal(delta, module(x)[:, target].detach() - tensor(found).sum(1))
    module.rule = ours()
    equal(LRP(module).attribute(x, target), scores)


class Convolved(nn.Module):
    def __init__(self, stride: int, padding: int, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 2, stride=stride, padding=padding, bias=bias).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).flatten(1)


@every
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (1, 1)])
def test_a_convolution(name: str, stride: int, padding: int, bias: bool) -> None:
    torch.manual_seed(stride + padding)
    ours, twin = RULES[name]
    net, x = Convolved(stride, padding, bias), drawn(2, 2, 3, 4)
    x[0, 0, :2] = 0.0
    w, b, _ = convolution(net.conv.weight, net.conv.bias, (2, 3, 4), stride, padding)
    value, weight = net(x), twins.rows(w)
    for target in (0, value.shape[1] - 1):
        scores = LRP(net, rules=[(nn.Conv2d, ours())]).attribute(x, target)
        pairs = zip(x.flatten(1).tolist(), value, strict=True)
        found = [twin(a, weight, b.tolist(), unit(v, target)) for a, v in pairs]
        equal(scores, tensor(found, (2, 3, 4)))


@few
@given(sizes, seeds)
def test_identity(width: int, seed: int) -> None:
    torch.manual_seed(seed)
    first, last, x = linear(width, width), linear(width, 2), drawn(3, width)
    model = nn.Sequential(first, nn.ReLU(), last)
    first.rule = lrp_rules.IdentityRule()
    found = []
    for v in x:
        y = model[:2](v)
        r = LRP0(y.tolist(), *matrix(last), unit(last(y), 1))
        found.append(twins.identity(v.tolist(), r))
    equal(LRP(model).attribute(x, 1), tensor(found))


# ---------------------------------------------------------------------- chains


MIXED = {
    "one after the other": ("gamma", "alpha 2 beta 1", "epsilon 0.3"),
    "published": ("alpha1 beta0", "gamma, no bias", "epsilon"),
    "signed": ("signed gamma", "z plus", "signed gamma"),
    "square first": ("w square", "gamma", "epsilon"),
    "flat first": ("flat", "z plus", "epsilon 0.3"),
    "box first": ("z box", "alpha 1.5", "epsilon"),
    **{name: (name, name, name) for name in MIDDLE},
}
ACTS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "sigmoid": nn.Sigmoid}


@pytest.mark.parametrize("mix", MIXED)
@few
@given(st.tuples(sizes, sizes, sizes, sizes), st.sampled_from(sorted(ACTS)), seeds)
def test_three_layers(mix: str, widths: tuple[int, ...], act: str, seed: int) -> None:
    """Relevance at every layer; activations pass it on, whatever their rule would be."""
    torch.manual_seed(seed)
    linears = [linear(a, b) for a, b in pairwise(widths)]
    first, second, third = linears
    model = nn.Sequential(first, ACTS[act](), second, ACTS[act](), third)
    pairs = [RULES[name] for name in MIXED[mix]]
    x, target = drawn(2, widths[0]), seed % widths[-1]
    found = []
    for v in x:
        steps = [
            layer(pairs[i // 2][1], model[:i](v), *matrix(m))
            if isinstance(m, nn.Linear)
            else activation(m, model[:i](v))
            for i, m in enumerate(model)
        ]
        found.append(handed(steps, unit(model(v), target)))
    by_place = [(i, ours()) for i, (ours, _) in enumerate(pairs)]
    scores, delta = LRP(model, rules=by_place).attribute(x, target, return_convergence_delta=True)
    at_input = tensor([each[0] for each in found])
    equal(scores, at_input)
    equal(delta, model(x)[:, target].detach() - at_input.sum(1))
    for module, (ours, _) in zip(linears, pairs, strict=True):
        module.rule = ours()
    equal(LRP(model).attribute(x, target), at_input)
    ours, deltas = LayerLRP(model, linears).attribute(x, target, return_convergence_delta=True)
    for i, (score, d) in enumerate(zip(ours, deltas, strict=True)):
        twin = tensor([each[2 * i + 1] for each in found])
        equal(score, twin)
        equal(d, model(x)[:, target].detach() - twin.sum(1))
    ours = LayerLRP(model, linears[1:]).attribute(x, target, attribute_to_layer_input=True)
    for i, score in enumerate(ours):
        equal(score, tensor([each[2 * i + 2] for each in found]))


@middle
def test_convolutions_and_a_pool(name: str) -> None:
    """Max-pooling hands relevance to the winner."""
    torch.manual_seed(5)
    ours, twin = RULES[name]
    conv1, conv2 = nn.Conv2d(1, 2, 2, padding=1).double(), nn.Conv2d(2, 2, 2).double()
    model = nn.Sequential(
        conv1, nn.ReLU(), nn.MaxPool2d(2, 1), conv2, nn.Tanh(), nn.Flatten(), linear(18, 2)
    )
    size, x = (1, 4, 4), drawn(2, 1, 4, 4)
    w1, b1, after1 = convolution(conv1.weight, conv1.bias, size, padding=1)
    pool, after2 = windows(after1, 2, 1)
    w2, b2, _ = convolution(conv2.weight, conv2.bias, after2)

    def pooled(v: Tensor) -> Step:
        a = v.flatten().tolist()

        def winners(r: Row) -> Row:
            found = [0.0] * len(a)
            for window, share in zip(pool, r, strict=True):
                found[max(window, key=lambda k: a[k])] += share
            return found

        return winners

    found = []
    for v in x:
        at = [model[:k](v[None]) for k in range(7)]
        steps = [
            layer(twin, at[0], twins.rows(w1), b1.tolist()),
            activation(model[1], at[1]),
            pooled(at[2]),
            layer(twin, at[3], twins.rows(w2), b2.tolist()),
            activation(model[4], at[4]),
            layer(LRP0, at[6], *matrix(model[6])),
        ]
        found.append(handed(steps, unit(model(v[None])[0], 1))[0])
    scores = LRP(model, rules=[(nn.Conv2d, ours())]).attribute(x, 1)
    equal(scores, tensor(found, size))


# ---------------------------------------------------------------------- batch norm


def statistics(norm: Any) -> None:
    norm.double().eval()
    n = norm.num_features
    with torch.no_grad():
        norm.weight.copy_(drawn(n)), norm.bias.copy_(drawn(n))
    norm.running_mean, norm.running_var = drawn(n), 0.5 + drawn(n) ** 2


def per_channel(norm: Any, size: Size) -> list[Row]:
    """The norm's four numbers per channel, for every entry."""
    parts = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    each = torch.Size(size[1:]).numel()
    return [part.detach().repeat_interleave(each).tolist() for part in parts]


@every
@few
@given(sizes, sizes, seeds)
def test_a_batch_norm_behind_a_linear_layer(name: str, inputs: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    ours, twin = RULES[name]
    first, norm, last = linear(inputs, width), nn.BatchNorm1d(width, eps=0.1), linear(width, 2)
    statistics(norm)
    model, x = nn.Sequential(first, norm, nn.ReLU(), last).eval(), drawn(2, inputs)
    merged = twins.folded(*matrix(first), *per_channel(norm, (width,)), 0.1)
    found = []
    for v in x:
        steps = [layer(twin, v, *merged), layer(LRP0, model[:3](v[None]), *matrix(last))]
        found.append(handed(steps, unit(model(v[None])[0], 1))[0])
    equal(LRP(model, rules=[(0, ours())]).attribute(x, 1), tensor(found))


@every
def test_a_batch_norm_behind_a_convolution(name: str) -> None:
    torch.manual_seed(4)
    ours, twin = RULES[name]
    conv, norm = nn.Conv2d(1, 2, 2, padding=1).double(), nn.BatchNorm2d(2)
    statistics(norm)
    model = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), linear(40, 2)).eval()
    w, b, after = convolution(conv.weight, conv.bias, (1, 3, 4), padding=1)
    merged = twins.folded(twins.rows(w), b.tolist(), *per_channel(norm, after), 1e-5)
    x, found = drawn(2, 1, 3, 4), []
    for v in x:
        steps = [layer(twin, v, *merged), layer(LRP0, model[:4](v[None]), *matrix(model[4]))]
        found.append(handed(steps, unit(model(v[None])[0], 0))[0])
    scores = LRP(model, rules=[("conv2d", ours())]).attribute(x, 0)
    equal(scores, tensor(found, (1, 3, 4)))


# ---------------------------------------------------------------------- attention


class Block(nn.Module):
    """One head with a norm before it and a residual connection around: (N, T, D) to (N,)."""

    def __init__(self, width: int, centred: bool, called: bool) -> None:
        super().__init__()
        self.width, self.centred, self.called = width, centred, called
        self.queries, self.keys, self.values = (linear(width, width) for _ in range(3))
        self.last = linear(width, width)
        self.scale = nn.Parameter(drawn(width))
        self.shift = nn.Parameter(drawn(width) * centred)

    def norm(self, x: Tensor) -> Tensor:
        if self.centred:
            return F.layer_norm(x, (self.width,), self.scale, self.shift, 1e-3)
        return F.rms_norm(x, (self.width,), self.scale, 1e-3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = self.queries(h), self.keys(h), self.values(h)
        if self.called:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = torch.softmax(q @ k.transpose(1, 2) / self.width**0.5, -1) @ v
        return (x + self.last(mixed)).sum((1, 2))


def through_block(net: Block, x: Tensor, constant: bool) -> Matrix:
    """The relevance of one example, (T, D), from the sum down; constant weights are CP-LRP's."""

    def linear_relevance(inputs: Matrix, module: nn.Linear, r: Matrix) -> Matrix:
        return [LRP0(v, *matrix(module), each) for v, each in zip(inputs, r, strict=True)]

    h = net.norm(x)
    q, k, v = net.queries(h), net.keys(h), net.values(h)
    logits = q @ k.T / net.width**0.5
    weights = torch.softmax(logits, -1)
    mixed = weights @ v
    out = net.last(mixed)
    # A sum hands each of its terms what it is.
    both = [
        twins.sum_relevance(a, b, c)
        for a, b, c in zip(twins.rows(x), twins.rows(out), twins.rows(x + out), strict=True)
    ]
    skipped, r = [a for a, _ in both], [b for _, b in both]
    r = linear_relevance(twins.rows(mixed), net.last, r)
    share = 1.0 if constant else 0.5
    of_weights, of_v = twins.product_relevance(twins.rows(weights), twins.rows(v), r, share)
    parts = [linear_relevance(twins.rows(h), net.values, of_v)]
    if not constant:
        pairs = zip(twins.rows(logits), of_weights, strict=True)
        of_logits = [twins.softmax_relevance(*pair) for pair in pairs]
        of_q, of_k = twins.product_relevance(twins.rows(q), twins.rows(k.T), of_logits)
        parts.append(linear_relevance(twins.rows(h), net.queries, of_q))
        parts.append(linear_relevance(twins.rows(h), net.keys, twins.transposed(of_k)))
    scale, shift = net.scale.tolist(), net.shift.tolist()
    pairs = zip(twins.rows(x), twins.added(*parts), strict=True)
    below = [twins.norm_relevance(a, scale, shift, 1e-3, r, net.centred) for a, r in pairs]
    return twins.added(skipped, below)


@pytest.mark.parametrize("called", [False, True], ids=["written out", "called"])
@pytest.mark.parametrize("centred", [False, True], ids=["rms norm", "layer norm"])
@pytest.mark.parametrize("constant", [False, True], ids=["attnlrp", "cp-lrp"])
@few
@given(st.integers(1, 3), st.integers(2, 3), seeds)
def test_attention(
    constant: bool, centred: bool, called: bool, tokens: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    net, x = Block(width, centred, called).double(), drawn(2, tokens, width)
    rules = lrp_rules.cp_lrp() if constant else ()
    ours = attr.LRP(net, rules=rules).attribute(x)
    equal(ours, torch.tensor([through_block(net, v, constant) for v in x], dtype=torch.float64))
