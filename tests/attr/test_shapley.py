"""Sampling: how good it is, when it stops, what its errors mean; and what is refused."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from captum import attr


class Answers:
    """A function with interactions that counts its rows."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return (x.cumsum(1).tanh() * x.roll(1, 1)).sum(1) + x[:, :4].prod(1)


def row(features: int, examples: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(features)
    return torch.randn(examples, features, generator=generator, dtype=torch.float64)


def error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).square().mean())


def test_pairs_of_orders_beat_single_ones_at_equal_rows() -> None:
    """The published sampling is the mean over independent orders."""
    x, f = row(9), Answers()
    exact = attr.ShapleyValues(f).attribute(x)
    ours, plain = 0.0, 0.0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        found = attr.ShapleyValueSampling(f).attribute(x, n_samples=10, generator=generator)
        ours += error(found, exact)
        gains = torch.zeros(10, 9, dtype=torch.float64)
        for k in range(10):
            order = torch.randperm(9, generator=generator)
            steps = torch.zeros(10, 9, dtype=torch.float64)
            for place, feature in enumerate(order):
                steps[place + 1 :, feature] = x[0, feature]
            gains[k, order] = f(steps).diff()
        plain += error(gains.mean(0, keepdim=True), exact)
    assert ours < 0.9 * plain


def test_a_pair_of_orders_is_exact_where_features_interact_in_pairs() -> None:
    """Each half of every interaction goes to one of the two."""
    x = row(12, 2)
    exact = attr.ShapleyValues(product_of_pairs).attribute(x)
    assert_close(attr.ShapleyValueSampling(product_of_pairs).attribute(x, n_samples=2), exact)
    assert_close(attr.KernelShap(product_of_pairs).attribute(x, n_samples=400), exact)


@pytest.mark.parametrize("name", ["ShapleyValueSampling", "OwenValues"])
def test_standard_errors_hold(name: str) -> None:
    """Within two of them for some 95 of 100 scores."""
    x, f = row(9), Answers()
    options: dict[str, Any] = {}
    exact = attr.ShapleyValues(f).attribute(x)
    if name == "OwenValues":
        options = {"hierarchy": [[0, 1, 2], [3, 4, [5, 6]], 7, 8]}
        exact = attr.OwenValues(f).attribute(x, **options)
    hits = []
    for seed in range(60):
        found, std = getattr(attr, name)(f).attribute(
            x,
            n_samples=40,
            return_std=True,
            generator=torch.Generator().manual_seed(seed),
            **options,
        )
        hits.append(((found - exact).abs() <= 2 * std).double().mean())
    assert 0.88 < float(torch.stack(hits).mean()) < 0.99


def test_sampling_stops_when_its_errors_are_small() -> None:
    x, f = row(14, 3), Answers()
    generator = torch.Generator().manual_seed(0)
    found, std = attr.ShapleyValueSampling(f).attribute(
        x, n_samples=1200, tol=0.1, return_std=True, generator=generator
    )
    assert f.rows < 3 * 1200 * 13 / 2
    assert float(std.max()) <= 0.1 * float(found.abs().max())
    fewer = Answers()
    attr.ShapleyValueSampling(fewer).attribute(x, n_samples=1200, tol=0.5, generator=generator)
    assert fewer.rows < f.rows


def test_a_run_that_stops_early_ends_its_bar(capsys: pytest.CaptureFixture[str]) -> None:
    attr.ShapleyValueSampling(Answers()).attribute(
        row(14), n_samples=1200, tol=0.3, show_progress=True
    )
    assert "100%" in capsys.readouterr().err.rsplit("\r", 1)[-1]


@pytest.mark.parametrize("name", ["ShapleyValues", "ShapleyValueSampling", "KernelShap"])
def test_one_feature_has_the_whole_change(name: str) -> None:
    f = Answers()
    x = row(4, 3)
    mask = torch.zeros(1, 4).long()
    found = getattr(attr, name)(f).attribute(x, 0.3, feature_mask=mask)
    change = f(x) - f(torch.full_like(x, 0.3))
    assert_close(found, change.unsqueeze(1).expand(3, 4))


def test_kernel_shap_gets_better_with_samples_and_is_exact_at_last() -> None:
    x, f = row(8), Answers()
    exact = attr.ShapleyValues(f).attribute(x)
    errors = []
    for count in (20, 60, 180, 2**8 - 2):
        each = [
            error(
                attr.KernelShap(f).attribute(
                    x, n_samples=count, generator=torch.Generator().manual_seed(seed)
                ),
                exact,
            )
            for seed in range(20)
        ]
        errors.append(sum(each) / 20)
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[3] < 1e-20


@pytest.mark.parametrize("seed", range(5))
def test_kernel_shap_never_blows_up(seed: int) -> None:
    """Not where the drawn coalitions are just as many as the features, and singular by chance."""
    x = torch.arange(1, 15, dtype=torch.float64).view(1, 14)
    for count in range(4, 60, 2):
        found = attr.KernelShap(lambda v: v.amax(1)).attribute(
            x, n_samples=count, generator=torch.Generator().manual_seed(seed)
        )
        assert float(found.abs().max()) < 14, count


def test_an_order_without_its_reverse_is_left_out() -> None:
    x = row(12, 2)
    for count in (2, 3, 25):
        found, error = attr.ShapleyValueSampling(product_of_pairs).attribute(
            x, n_samples=count, return_std=True
        )
        assert_close(found, attr.ShapleyValues(product_of_pairs).attribute(x))
        assert bool((error < 1e-12).all()) or count < 4
    _, error = attr.ShapleyValueSampling(product_of_pairs).attribute(
        x, n_samples=1, return_std=True
    )
    assert error.isinf().all()


def test_scores_of_a_group_in_a_hierarchy_are_its_share() -> None:
    """Those of the groups are the Shapley values of the game that the groups play."""
    x, f = row(6), Answers()
    tree = [[0, 3], [1, 4, 5], 2]
    found = attr.OwenValues(f).attribute(x, tree)[0]
    mask = torch.tensor([[0, 1, 2, 0, 1, 1]])
    shares = attr.ShapleyValues(f).attribute(x, feature_mask=mask)[0]
    for group in ([0, 3], [1, 4, 5], [2]):
        assert_close(found[group].sum(), shares[group[0]])


def test_a_linkage_matrix_is_a_hierarchy() -> None:
    x, f = row(4), Answers()
    linkage = np.array([[0, 2, 0.1, 2], [1, 3, 0.2, 2], [4, 5, 0.5, 4]])
    found = attr.OwenValues(f).attribute(x, linkage)
    assert_close(found, attr.OwenValues(f).attribute(x, [[0, 2], [1, 3]]))
    flat = attr.OwenValues(f).attribute(x, [0, 1, 2, 3])
    assert_close(flat, attr.ShapleyValues(f).attribute(x))
    assert not torch.allclose(found, flat)


@pytest.mark.parametrize(
    "hierarchy", [[[0, 1], [2]], [0, 1, 2, 3, 3], [[0, 1], [2, 7]], "0123", np.zeros((2, 4)), 5]
)
def test_other_hierarchies_are_refused(hierarchy: Any) -> None:
    with pytest.raises(ValueError, match="a hierarchy with each of the features 0, 1, 2, 3 once"):
        attr.OwenValues(Answers()).attribute(row(4), hierarchy)


def test_what_would_take_for_ever_is_refused_before_it_starts() -> None:
    for method, match in [
        (attr.ShapleyValues, "at most 24 features"),
        (attr.ShapleyInteractions, "at most 20 features"),
    ]:
        with pytest.raises(ValueError, match=match):
            method(Answers()).attribute(row(25))
    with pytest.raises(ValueError, match="a hierarchy that asks for at most"):
        attr.OwenValues(Answers()).attribute(row(60), list(range(60)))


@pytest.mark.parametrize("samples", [0, -1, 2.5, True])
@pytest.mark.parametrize("name", ["ShapleyValueSampling", "KernelShap", "Lime", "RISE"])
def test_samples_are_counted(name: str, samples: Any) -> None:
    with pytest.raises(ValueError, match="n_samples of at least 1"):
        getattr(attr, name)(Answers()).attribute(row(4), n_samples=samples)


# ------------------------------------------------------------------ interactions


def product_of_pairs(x: Tensor) -> Tensor:
    """Known interactions: w_ij x_i x_j, from a baseline of zeros."""
    total = x.sum(1)
    for i, j in combinations(range(x.shape[1]), 2):
        total = total + (i + 2 * j) * x[:, i] * x[:, j]
    return total


@pytest.mark.parametrize("samples", [None, 3])
def test_interactions_of_products_are_the_products(samples: int | None) -> None:
    """Every pair bends alike wherever it is met, so that samples are exact too."""
    x = row(12, 2)
    found = attr.ShapleyInteractions(product_of_pairs).attribute(x, n_samples=samples)
    for i, j in combinations(range(12), 2):
        half = (i + 2 * j) * x[:, i] * x[:, j] / 2
        assert_close(found[:, i, j], half)
        assert_close(found[:, j, i], half)
    if samples is None:
        assert_close(found.diagonal(dim1=1, dim2=2), x)


def test_sampled_interactions_approach_the_exact_ones() -> None:
    x, f = row(11), Answers()
    exact = attr.ShapleyInteractions(f).attribute(x)
    assert_close(exact.sum(2), attr.ShapleyValues(f).attribute(x))
    errors = []
    for count in (1, 12):
        each = [
            error(
                attr.ShapleyInteractions(f).attribute(
                    x, n_samples=count, generator=torch.Generator().manual_seed(seed)
                ),
                exact,
            )
            for seed in range(6)
        ]
        errors.append(sum(each))
    assert errors[1] < errors[0] / 4


@pytest.mark.parametrize("features", [1, 2, 3])
def test_interactions_of_few_features(features: int) -> None:
    x, f = row(4)[:, :features], Answers()
    found = attr.ShapleyInteractions(f).attribute(x, n_samples=5)
    assert found.shape == (1, features, features)
    assert_close(found.sum((1, 2)), f(x) - f(x * 0))


def test_changing_places_changes_rows_and_columns() -> None:
    x, turned = row(5), torch.tensor([3, 1, 4, 0, 2])
    found = attr.ShapleyInteractions(product_of_pairs).attribute(x)
    other = attr.ShapleyInteractions(lambda v: product_of_pairs(v[:, turned.argsort()]))
    assert_close(other.attribute(x[:, turned]), found[:, turned][:, :, turned])
