"""Our perturbation methods beside the literal ones; where numbers are drawn, the twins get them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from captum import attr
from captum._engine.coalitions import kernel_sample

from . import twins_games as twins
from .nets import Problem, pictures, problems
from .test_gradients import equal, few
from .test_layers import masks


def dense(mask: Tensor) -> tuple[Tensor, int]:
    """The players of a mask, and how many there are."""
    numbers, players = torch.unique(mask, return_inverse=True)
    return players, len(numbers)


def spread(scores: list[float], players: Tensor) -> Tensor:
    """Scores of players at their entries."""
    return torch.tensor(scores, dtype=torch.float64)[players]


class Play:
    """The games of a problem's examples, for a mask of theirs."""

    def __init__(self, p: Problem, mask: Tensor | None = None) -> None:
        own = torch.arange(p.x[0].numel()).view(1, *p.x.shape[1:])
        players, self.n = dense(own if mask is None else mask)
        self.players, self.p = players.expand_as(p.x), p

    def game(self, i: int, x0: Tensor | None = None) -> twins.Value:
        p, one = self.p, slice(i, i + 1)
        base = p.x0[one] if x0 is None else x0
        return twins.game(p.f(i), p.x[one], base, self.players[one])

    def each(self, solve: object) -> Tensor:
        """Scores per entry, of a function of the game of each example."""
        assert callable(solve)
        rows = range(len(self.p.x))
        return torch.stack([spread(solve(self.game(i)), self.players[i]) for i in rows])


@few
@given(st.data(), problems())
def test_shapley_values(data: st.DataObject, p: Problem) -> None:
    for mask in (None, data.draw(masks(p))):
        play = Play(p, mask)
        twin = play.each(lambda v, n=play.n: twins.shapley(v, n))
        equal(attr.ShapleyValues(p.net).attribute(p.x, p.x0, p.targets, feature_mask=mask), twin)
        all_of_them = attr.ShapleyValueSampling(p.net).attribute(
            p.x, p.x0, p.targets, feature_mask=mask, n_samples=2**play.n
        )
        equal(all_of_them, twin)


@few
@given(problems(), st.integers(2, 5))
def test_a_background_is_averaged_over(p: Problem, count: int) -> None:
    """Marginal SHAP: the mean of the games against each of its rows."""
    count += count == len(p.x)  # as many rows as examples are one for each of them
    rows = torch.randn(count, *p.x.shape[1:], generator=p.generator, dtype=torch.float64)
    play = Play(p)
    twin = torch.stack([
        spread(
            twins.shapley(
                lambda s, i=i: sum(play.game(i, row[None])(s) for row in rows) / count, play.n
            ),
            play.players[i],
        )
        for i in range(len(p.x))
    ])  # fmt: skip
    for method in (attr.ShapleyValues(p.net), attr.KernelShap(p.net)):
        equal(method.attribute(p.x, rows, p.targets), twin)
        equal(method.attribute(p.x, [row[None] for row in rows], p.targets), twin)


@few
@given(problems(), st.integers(1, 5))
def test_sampled_shapley_values(p: Problem, count: int) -> None:
    """The twin is given the orders: each second one is the one before it, reversed."""
    play, generator = Play(p), p.generator
    ours, error = attr.ShapleyValueSampling(p.net).attribute(
        p.x, p.x0, p.targets, n_samples=count, return_std=True, generator=p.generator
    )
    if count * (play.n - 1) >= 2**play.n - 2:
        equal(ours, play.each(lambda v: twins.shapley(v, play.n)))
        assert not error.any()
        return
    count = max(1, count - count % 2)
    orders: list[list[int]] = []
    while len(orders) < count:
        order = torch.randperm(play.n, generator=generator).tolist()
        orders += [order, order[::-1]]
    equal(ours, play.each(lambda v: twins.over_orders(v, orders[:count])))
    if count < 4:  # no two pairs
        assert error.isinf().all()
        return

    def spread_of_pairs(v: twins.Value) -> list[float]:
        pairs = [twins.over_orders(v, orders[k : k + 2]) for k in range(0, count - 1, 2)]
        each = torch.tensor(pairs, dtype=torch.float64)
        return (each.var(0) / len(pairs)).sqrt().tolist()

    equal(error, play.each(spread_of_pairs))


@few
@given(problems(), st.data())
def test_owen_values(p: Problem, data: st.DataObject) -> None:
    play = Play(p)
    tree = data.draw(trees(list(range(play.n))))
    ours = attr.OwenValues(p.net).attribute(p.x, tree, p.x0, p.targets)
    equal(ours, play.each(lambda v: twins.owen(v, tree)))


@st.composite
def trees(draw: st.DrawFn, players: list[int]) -> twins.Tree:
    """A hierarchy of these players, any shape."""
    order = draw(st.permutations(players))
    if len(order) == 1:
        return [order[0]]
    cut = draw(st.integers(1, len(order) - 1))
    sides = [order[:cut], order[cut:]]
    nested = [draw(trees(list(side))) if draw(st.booleans()) else list(side) for side in sides]
    return nested if draw(st.booleans()) else [*nested[0], *nested[1]]


@few
@given(st.data(), problems())
def test_interactions(data: st.DataObject, p: Problem) -> None:
    mask = data.draw(masks(p))[:1] if data.draw(st.booleans()) else None
    play = Play(p, mask)
    ours = attr.ShapleyInteractions(p.net).attribute(p.x, p.x0, p.targets, feature_mask=mask)
    for i in range(len(p.x)):
        v, n = play.game(i), play.n
        halves = [
            [twins.interaction(v, a, b, n) / 2 if a != b else 0.0 for b in range(n)]
            for a in range(n)
        ]
        matrix = torch.tensor(halves, dtype=torch.float64)
        values = torch.tensor(twins.shapley(v, n), dtype=torch.float64)
        equal(ours[i], matrix + torch.diag(values - matrix.sum(1)))


@few
@given(problems())
def test_kernel_shap_on_all_coalitions(p: Problem) -> None:
    """Its regression has the Shapley values for a solution, in the paper and here."""
    play = Play(p)
    twin = play.each(lambda v: twins.kernel_shap(v, play.n, twins.shapley_kernel(play.n)))
    equal(twin, play.each(lambda v: twins.shapley(v, play.n)))
    equal(attr.KernelShap(p.net).attribute(p.x, p.x0, p.targets, n_samples=2**play.n), twin)


@few
@given(st.integers(3, 7), st.integers(0, 99), st.data())
def test_kernel_shap_on_a_sample(n: int, seed: int, data: st.DataObject) -> None:
    """The same regression on the coalitions that were drawn."""
    budget = data.draw(st.integers(min(3 * n - 2, 2**n - 2), 2**n - 2))
    x = torch.linspace(-1, 2, n, dtype=torch.float64)[None]

    def f(point: Tensor) -> Tensor:
        return (point.cumsum(1).tanh() * point.roll(1, 1)).sum(1)

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    drawn = kernel_sample(n, budget, generator())
    assert len(drawn.weights) <= budget
    weighted = [
        (frozenset(row.nonzero().flatten().tolist()), float(weight))
        for row, weight in zip(drawn.coalitions, drawn.weights, strict=True)
    ]
    v = twins.game(f, x, torch.zeros_like(x), torch.arange(n)[None])
    ours = attr.KernelShap(f).attribute(x, n_samples=budget, generator=generator())
    twin = torch.tensor([twins.kernel_shap(v, n, weighted)], dtype=torch.float64)
    assert float((ours - twin).abs().max()) < 1e-7


@few
@given(problems(), st.integers(4, 12), st.sampled_from(["cosine", "euclidean"]))
def test_lime(p: Problem, count: int, mode: str) -> None:
    play = Play(p)
    near = attr.get_exp_kernel_similarity_function(mode, 0.8)
    ours = attr.Lime(p.net, similarity_func=near).attribute(
        p.x, p.x0, p.targets, n_samples=count, generator=p.generator
    )
    chances = torch.full((count, play.n), 0.5)
    drawn = torch.bernoulli(chances, generator=p.generator)
    for i in range(len(p.x)):
        present = [frozenset(row.nonzero().flatten().tolist()) for row in drawn]
        points = [torch.where(row.view_as(p.x[i]) > 0, p.x[i], p.x0[i]) for row in drawn]
        weights = [twins.kernel(mode, 0.8, p.x[i], point) for point in points]
        answers = [play.game(i)(s) for s in present]
        slopes = twins.lasso(drawn.tolist(), answers, weights, 0.01)
        fit = torch.tensor(slopes, dtype=torch.float64)
        # Where several fits are best, all of them say the same of the samples.
        z = drawn.double()
        ours_there = z @ ours[i].flatten()
        gap = (ours_there - z @ fit) - (ours_there - z @ fit).mean()
        assert float(gap.abs().max()) < 1e-6
        assert float(ours[i].abs().sum() - fit.abs().sum()) == pytest.approx(0, abs=1e-6)


@few
@given(pictures(), st.data())
def test_occlusion(p: Problem, data: st.DataObject) -> None:
    window = tuple(data.draw(st.integers(1, size)) for size in p.x.shape[1:])
    strides = tuple(data.draw(st.integers(1, w)) for w in window)
    ours = attr.Occlusion(p.net).attribute(p.x, window, strides, p.x0, p.targets)
    equal(ours, p.each(lambda i, x, x0: twins.occlusion(p.f(i), x, x0, window, strides)))


@few
@given(pictures(), st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.3, 0.5]))
def test_rise(p: Problem, count: int, grid: int, chance: float) -> None:
    ours = attr.RISE(p.net).attribute(
        p.x, p.x0, p.targets, n_samples=count, grid=grid, p=chance, generator=p.generator
    )
    sizes = p.x.shape[2:]
    cells = [min(grid, size) for size in sizes]
    generator = p.generator
    chances = torch.full((count, 1, *cells), chance)
    coarse = torch.bernoulli(chances, generator=generator)[:, 0].double()
    steps = [-(-size // c) for size, c in zip(sizes, cells, strict=True)]
    shifts = [torch.randint(step, (count, 1), generator=generator) for step in steps]

    def twin(i: int, x: Tensor, x0: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for k in range(count):
            at = [int(s[k, 0]) for s in shifts]
            mask = twins.rise_mask(coarse[k], sizes, at)[None, None]
            total += p.f(i)(x * mask + x0 * (1 - mask)) * mask
        return total / (count * chance)

    # The masks are made in float32.
    assert float((ours - p.each(twin)).abs().max()) < 1e-5 * max(1.0, float(ours.abs().max()))


@few
@given(st.data(), problems())
def test_feature_permutation(data: st.DataObject, p: Problem) -> None:
    """The twin is given the orders: one for each feature, drawn until it moves something."""
    mask = data.draw(masks(p))[:1]
    players, n = dense(mask)
    if len(p.x) < 2:
        return
    ours = attr.FeaturePermutation(p.net).attribute(
        p.x, p.targets, feature_mask=mask, generator=p.generator
    )
    generator, still = p.generator, list(range(len(p.x)))
    twin = torch.zeros_like(p.x)
    for feature in range(n):
        order = still
        while order == still:
            order = torch.randperm(len(p.x), generator=generator).tolist()
        here = (players == feature).expand_as(p.x)
        moved = torch.where(here, p.x[order], p.x)
        for i in range(len(p.x)):
            change = p.f(i)(p.x[i : i + 1]) - p.f(i)(moved[i : i + 1])
            twin[i] = torch.where(here[i], change.detach(), twin[i])
    equal(ours, twin)
