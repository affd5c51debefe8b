"""Masks for each example, exchanged features, windows, soft masks; and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from captum import attr


def f(x: Tensor) -> Tensor:
    return (x.flatten(1).cumsum(1).tanh() * x.flatten(1).roll(1, 1)).sum(1)


def rows(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# -------------------------------------------------------------- a mask for each example

MASK = torch.tensor([[0, 0, 1, 5], [5, 5, 5, 5], [1, 0, 7, 5]])


@pytest.mark.parametrize("name", ["ShapleyValues", "ShapleyValueSampling", "KernelShap", "Lime"])
def test_examples_with_features_of_their_own_are_as_one_by_one(name: str) -> None:
    """What an example does not have has no say in its scores."""
    x = rows(3, 4)
    options: dict[str, Any] = {} if name == "ShapleyValues" else {"n_samples": 40}
    if name == "Lime":  # draws: compare with a fit that every draw gives

        def linear(v: Tensor) -> Tensor:
            return 3 * v[:, 0] - v[:, 1] + v[:, 2] / 2 + 2 * v[:, 3]

        from captum.linear import LinearRegression

        ours = attr.Lime(linear, LinearRegression()).attribute(x, feature_mask=MASK, **options)
        worth = x * torch.tensor([3, -1, 0.5, 2])
        for i in range(3):
            for feature in MASK[i].unique():
                here = MASK[i] == feature
                assert_close(ours[i][here], worth[i][here].sum().expand(int(here.sum())))
        return
    method = getattr(attr, name)(f)
    together = method.attribute(x, feature_mask=MASK, **options)
    alone = [
        method.attribute(x[i : i + 1], feature_mask=MASK[i : i + 1], **options) for i in range(3)
    ]
    assert_close(together, torch.cat(alone))


def test_features_of_each_example_are_exchanged_with_its_own_mask() -> None:
    """A feature comes from the same other example, whatever entries make it up."""
    x, orders = rows(3, 4), []
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]])
    found = attr.FeaturePermutation(f).attribute(
        x, feature_mask=mask, generator=torch.Generator().manual_seed(0)
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        order = torch.randperm(3, generator=generator)
        while torch.equal(order, torch.arange(3)):
            order = torch.randperm(3, generator=generator)
        orders.append(order)
    for feature, order in enumerate(orders):
        changed = torch.where(mask == feature, x[order], x)
        change = f(x) - f(changed)
        assert_close(found[mask == feature], change.unsqueeze(1).expand(3, 4)[mask == feature])


# ------------------------------------------------------------------------- exchanges


def test_one_example_has_nothing_to_exchange_with() -> None:
    with pytest.warns(UserWarning, match="one example has nothing to exchange with"):
        assert not attr.FeaturePermutation(f).attribute(rows(1, 4)).any()


def test_a_function_of_ones_own_exchanges() -> None:
    x = rows(3, 4)
    asked: list[int] = []

    def rolled(batch: Tensor, mask: Tensor) -> Tensor:
        asked.append(int(mask.sum()))
        return torch.where(mask, batch.roll(1, 0), batch)

    mask = torch.tensor([[0, 1, 1, 2]])
    for size in ("auto", 1, 2):
        asked.clear()
        found = attr.FeaturePermutation(f, rolled).attribute(
            x, feature_mask=mask, perturbations_per_eval=size
        )
        assert sorted(asked) == [1, 1, 2], "each feature is asked for once"
        for feature in range(3):
            here = (mask == feature).expand(3, 4)
            change = f(x) - f(torch.where(here, x.roll(1, 0), x))
            assert_close(found[here], change.unsqueeze(1).expand(3, 4)[here])
    with pytest.raises(ValueError, match="a perm_func that returns a tensor of shape"):
        attr.FeaturePermutation(f, lambda batch, mask: batch[:1]).attribute(x)


def test_the_default_exchange_is_there_for_users() -> None:
    x, mask = rows(4, 3), torch.tensor([[True, False, True]])
    made = attr.FeaturePermutation(f)
    torch.manual_seed(0)
    found = made.perm_func(x, mask)
    assert torch.equal(found[:, 1], x[:, 1])
    assert not torch.equal(found, x)
    assert torch.equal(found[:, 0].sort().values, x[:, 0].sort().values)
    with pytest.raises(ValueError, match="at least two examples"):
        made.perm_func(x[:1], mask)


def test_layer_forms_name_the_method_for_inputs() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    assert attr.LayerFeatureAblation(net, net[0]).attributor is attr.FeatureAblation
    assert attr.LayerFeaturePermutation(net, net[0]).attributor is attr.FeaturePermutation


# -------------------------------------------------------------------------- refused

IMAGE = rows(2, 1, 6, 6)
REFUSED: dict[str, tuple[Any, str]] = {
    "a window of other dimensions": (
        lambda: attr.Occlusion(f).attribute(IMAGE, (3, 3)),
        "a window with a size from 1 to the input's",
    ),
    "a window that is too large": (
        lambda: attr.Occlusion(f).attribute(IMAGE, (1, 7, 3)),
        "a window with a size from 1 to the input's",
    ),
    "one window for two inputs": (
        lambda: attr.Occlusion(lambda a, b: f(a)).attribute((IMAGE, IMAGE), (1, 3, 3)),
        "a window for each of the 2 inputs",
    ),
    "a stride that leaves gaps": (
        lambda: attr.Occlusion(f).attribute(IMAGE, (1, 2, 2), strides=3),
        "a stride from 1 to the window's size",
    ),
    "strides for one of two inputs": (
        lambda: attr.Occlusion(lambda a, b: f(a)).attribute(
            (IMAGE, IMAGE), ((1, 3, 3), (1, 3, 3)), strides=(1,)
        ),
        "strides for each of the 2 inputs",
    ),
    "soft masks over ids": (
        lambda: attr.RISE(f).attribute(torch.arange(6).view(1, 6)),
        "floating-point values of shape",
    ),
    "soft masks over four dimensions": (
        lambda: attr.RISE(f).attribute(rows(1, 2, 2, 2, 2, 2)),
        "with up to three dimensions",
    ),
    "several baselines behind soft masks": (
        lambda: attr.RISE(f).attribute(IMAGE, [0, 1]),
        "one baseline behind the masks",
    ),
    "cells that are always there": (lambda: attr.RISE(f).attribute(IMAGE, p=1.0), "p between 0"),
    "no list of baselines": (
        lambda: attr.FeatureAblation(f).attribute(IMAGE, []),
        "at least one baseline",
    ),
    "masks of another shape": (
        lambda: attr.FeatureAblation(f).attribute(IMAGE, feature_mask=torch.zeros(5).long()),
        "a feature_mask",
    ),
    "masks of fractions": (
        lambda: attr.FeatureAblation(f).attribute(IMAGE, feature_mask=torch.zeros(1, 1, 6, 6)),
        "a feature_mask of integers",
    ),
    "a mask for each example and one number for all": (
        lambda: attr.FeatureAblation(lambda x: f(x).sum()).attribute(rows(3, 4), feature_mask=MASK),
        "one feature_mask",
    ),
    "baselines of another layer": (
        lambda: attr.LayerFeatureAblation(nn.Identity(), nn.Identity()).attribute(rows(2, 3)),
        "a layer that the forward pass uses",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_says_what_works(what: str) -> None:
    call, match = REFUSED[what]
    with pytest.raises(ValueError, match=match):
        call()


def test_layer_baselines_fit_the_layer() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    method = attr.LayerFeatureAblation(net, net[0])
    with pytest.raises(ValueError, match="layer_baselines that fit the layer's value"):
        method.attribute(torch.rand(2, 4), torch.zeros(2, 4), target=0)
    with pytest.raises(ValueError, match="a baseline for each of the layer's 1 values"):
        method.attribute(torch.rand(2, 4), (0, 1), target=0)


def test_the_public_parts_of_kernel_shap_need_their_keywords() -> None:
    method = attr.KernelShap(f)
    with pytest.raises(TypeError, match="the keyword num_interp_features"):
        method.kernel_shap_similarity_kernel(0, 0, torch.ones(1, 3))
    sizes = torch.distributions.Categorical(torch.tensor([0.0, 0.5, 0.5]))
    made = method.kernel_shap_perturb_generator(
        0, num_interp_features=3, num_select_distribution=sizes
    )
    drawn = [next(made) for _ in range(30)]
    assert {int(z.sum()) for z in drawn[2:]} == {1, 2}


# ---------------------------------------------------------------------------- RISE


def test_soft_masks_find_what_counts() -> None:
    """The answer hangs on one corner: the map is highest there, by many standard errors."""
    x = torch.ones(1, 3, 24, 24)
    found, std = attr.RISE(lambda v: v[:, :, 3:8, 3:8].mean((1, 2, 3))).attribute(
        x, n_samples=600, return_std=True, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(found[:, :1].expand_as(found), found), "alike in all channels"
    inside, outside = found[0, 0, 5, 5], found[0, 0, 12:, 12:]
    assert bool((inside - outside > 3 * (std[0, 0, 5, 5] + std[0, 0, 12:, 12:])).all())


def test_the_standard_error_of_soft_masks_is_that_of_the_mean() -> None:
    x = torch.ones(1, 1, 6, 6)
    runs = [
        attr.RISE(lambda v: v.flatten(1).sum(1) ** 2).attribute(
            x, n_samples=50, grid=3, return_std=True, generator=torch.Generator().manual_seed(s)
        )
        for s in range(80)
    ]
    means, errors = (torch.stack(each) for each in zip(*runs, strict=True))
    assert_close(means.std(0).mean(), errors.mean(), rtol=0.2, atol=0)
