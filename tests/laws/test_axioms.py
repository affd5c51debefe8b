"""Linearity, dummy and symmetry: what a score must say whatever the model computes."""

import pytest
import torch
from torch import Tensor

from captum._engine.nest import scored
from laws import nets
from laws.compare import assert_same_scores, every
from laws.methods import Method, keeping, name_of


def first(out: Tensor) -> Tensor:
    return out[:, 0]


def second(out: Tensor) -> Tensor:
    return out[:, 1]


def mixture(out: Tensor) -> Tensor:
    return 2 * out[:, 0] - 3 * out[:, 1]


@pytest.mark.parametrize("method", keeping(lambda m: m.linear), ids=name_of)
def test_scores_are_linear_in_what_is_explained(method: Method) -> None:
    net, x = method.net(), nets.images()
    found = []
    for what in (first, second, mixture):
        nets.reseed()
        found.append(method.scores(net, x, what))
    sums = [2 * a - 3 * b for a, b in zip(scored(found[0]), scored(found[1]), strict=True)]
    whole = found[2]
    assert_same_scores(list(scored(whole)), sums, 1e-8 if "auto" in method.name else 1e-10)


@pytest.mark.parametrize("method", keeping(lambda m: m.per_unit), ids=name_of)
def test_what_has_no_influence_scores_zero(method: Method) -> None:
    net, x = method.net(nets.deaf), nets.images()
    found = method.scores(net, x)
    # A difference of outputs of rows at different places of a pass may round differently.
    assert every(found, lambda s: float(s[:, 1].abs().max()) < 1e-14)
    assert every(found, lambda s: float(s[:, 0].abs().max()) > 1e-6)


@pytest.mark.parametrize("method", keeping(lambda m: m.symmetric and m.lands != "map"), ids=name_of)
def test_interchangeable_units_score_alike(method: Method) -> None:
    net, x = method.net(nets.twins), nets.images()
    x[:, 1] = x[:, 0]
    for scores in scored(method.scores(net, x)):
        torch.testing.assert_close(scores[:, 0], scores[:, 1], atol=1e-12, rtol=1e-12)
        if method.lands != "inputs" and method.per_unit:
            assert not torch.allclose(scores[:, 0], scores[:, 2])


@pytest.mark.parametrize("method", keeping(lambda m: not m.draws), ids=name_of)
def test_order_of_examples_does_not_matter(method: Method) -> None:
    net, x = method.net(), nets.images(4)
    order = torch.tensor([2, 0, 3, 1])
    forwards = [s[order] for s in scored(method.scores(net, x))]
    assert_same_scores(list(scored(method.scores(net, x[order]))), forwards, 1e-8)
