"""Stochastic gradient descent: the closed forms it goes to, and the steps it takes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from captum.linear import SGDLasso, SGDLinearModel, SGDLinearRegression, SGDRidge
from captum.linear.sgd import l2_loss
from captum.linear.solve import lasso, ridge

KINDS = [SGDLasso, SGDRidge, SGDLinearRegression]
STATISTICS = {"train_time", "train_loss", "train_iter", "train_epoch"}
LONG: dict[str, Any] = {
    "initial_lr": 0.3,
    "max_epoch": 600,
    "patience": 600,
    "reduce_lr": False,
    "running_loss_window": 1,
}


def data(outputs: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
    """Forty rows of three columns that hardly depend on each other, with weights."""
    r = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=r, dtype=torch.float64)
    slopes = torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
    noise = torch.randn(40, *outputs, generator=r, dtype=torch.float64)
    y = (x @ slopes + 0.5).view(-1, *[1] * len(outputs)) + noise
    return x, y, torch.rand(40, generator=r, dtype=torch.float64) + 0.2


def steps(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Twelve rows that any machine computes alike, in float32."""
    n = torch.arange(12.0)
    x = torch.stack([(n * k) % 7 - 3 for k in (1, 2, 3)], 1) / 3
    return x, x @ torch.tensor([2.0, -1.0, 0.5]) + ((n * 5) % 4 - 1.5) / 4, 1 + n % 3


def loader(rows: tuple[Tensor, ...], size: int) -> DataLoader:
    return DataLoader(TensorDataset(*rows), batch_size=size)


# ------------------------------------------------------------------------ where it goes


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [(), (2,)])
def test_without_a_penalty_it_reaches_least_squares(
    weighted: bool, outputs: tuple[int, ...]
) -> None:
    x, y, w = data(outputs)
    model = SGDLinearRegression()
    model.fit([(x, y, w) if weighted else (x, y)], **LONG)
    b, c = ridge(x, y.view(40, -1).T, w if weighted else None)
    torch.testing.assert_close(model.representation(), b.view(-1, 3), rtol=0, atol=1e-8)
    torch.testing.assert_close(model.bias(), c.view(-1), rtol=0, atol=1e-8)


def test_the_lasso_is_reached_but_for_its_zeros() -> None:
    x, y, w = data()
    model = SGDLasso()
    model.fit([(x, y, w)], alpha=0.3, **LONG | {"initial_lr": 0.02})
    b, c = lasso(x, y, w, 0.3)
    assert bool((b == 0).any())
    assert bool(model.representation().all())
    # The slope of |b| has a size of 0.3 at any b, and so have the last steps.
    torch.testing.assert_close(model.representation()[0], b, rtol=0, atol=0.02)
    torch.testing.assert_close(model.bias()[0], c, rtol=0, atol=0.02)


def test_the_ridge_that_is_reached_has_a_norm_without_a_square() -> None:
    """At its optimum the slope of the loss is alpha in the direction of b."""
    x, y, _ = data()
    model = SGDRidge()
    model.fit([(x, y)], alpha=0.3, **LONG)
    b = model.representation()[0]
    slope = x.T @ (model(x)[:, 0] - y) / len(x)
    torch.testing.assert_close(slope, -0.3 * b / b.norm(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("norm", ["layer_norm", "batch_norm"])
def test_inputs_may_be_normalised_on_the_way(norm: str, affine: bool) -> None:
    """Predictions are those of least squares on what comes out of the norm."""
    x, y, _ = data()
    x = 5 + 3 * x
    model = SGDLinearRegression(norm_type=norm, affine_norm=affine)
    model.fit([(x, y)], **LONG)
    dim = 1 if norm == "layer_norm" else 0
    normal = (x - x.mean(dim, keepdim=True)) / x.std(dim, correction=0, keepdim=True)
    b, c = ridge(normal, y)
    torch.testing.assert_close(model(x)[:, 0], normal @ b + c, rtol=0, atol=1e-4)
    assert len(list(model.parameters())) == (4 if affine else 2)


def test_a_loss_of_ones_own() -> None:
    """The mean distance is least for the weighted median."""
    y, w = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([1.0, 1.0, 5.0])
    seen = []

    def distance(predicted: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        seen.append([tuple(t.shape) for t in (predicted, wanted, weights)])
        return (weights * (predicted - wanted).abs()).sum() / weights.sum()

    model = SGDLinearModel()
    more = LONG | {"initial_lr": 0.03}
    model.fit([(torch.zeros(3, 2), y, w)], loss_fn=distance, reg_term=None, **more)
    assert seen[0] == [(3, 1)] * 3
    assert float(model.bias()) == pytest.approx(5, abs=0.05)


def test_the_loss_is_half_the_weighted_mean_square() -> None:
    a, b = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [1.0]])
    assert float(l2_loss(a, b)) == (1 + 4) / 2 / 2
    weights = torch.tensor([[3.0], [1.0]])
    assert float(l2_loss(a, b, weights)) == (3 * 1 + 1 * 4) / 4 / 2
    assert float(l2_loss(a, b, 10 * weights)) == pytest.approx((3 * 1 + 1 * 4) / 4 / 2)


# ------------------------------------------------------------------------ how it goes


def by_hand(
    batches: list[tuple[Tensor, ...]], epochs: int, rate: float, alpha: float, p: int | None
) -> tuple[Tensor, Tensor, list[float]]:
    """Σ w (y - W x - b)² / (2 Σ w) + alpha |W|ₚ, down its slope batch by batch."""
    slopes, bias, losses = torch.zeros(3, dtype=torch.float64), 0.0, []
    for _ in range(epochs):
        for x, y, w in batches:
            off = x @ slopes + bias - y
            norm = 0.0 if p is None else float(slopes.norm(p))
            losses.append(float((w * off**2).sum() / w.sum() / 2) + alpha * norm)
            push = {None: 0 * slopes, 1: slopes.sign(), 2: slopes / max(norm, 1e-300)}[p]
            slope, grad = x.T @ (w * off) / w.sum() + alpha * push, (w * off).sum() / w.sum()
            slopes, bias = slopes - rate * slope, bias - rate * grad
    return slopes, bias, losses


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [None, 2, 5])
def test_it_takes_the_steps_of_the_formula(kind: Callable[[], Any], window: int | None) -> None:
    rows = data()
    model, p = kind(), {SGDLasso: 1, SGDRidge: 2}.get(kind)
    alpha = 0.2 if p else 0.0
    statistics = model.fit(
        loader(rows, 16),
        max_epoch=5,
        initial_lr=0.1,
        running_loss_window=window,
        **({"alpha": alpha} if p else {}),
    )
    batches = list(zip(*(t.split(16) for t in rows), strict=True))
    slopes, bias, losses = by_hand(batches, 5, 0.1, alpha, p)
    torch.testing.assert_close(model.representation()[0], slopes, rtol=1e-9, atol=1e-12)
    assert float(model.bias()) == pytest.approx(float(bias))
    assert statistics.keys() == STATISTICS
    assert (statistics["train_iter"], statistics["train_epoch"]) == (15, 5)
    # One loss more than the window says, as in the published package.
    last = losses[-(16 * 3 if window is None else window) - 1 :]
    assert statistics["train_loss"] == pytest.approx(sum(last) / len(last))


# The steps of the published package 0.9.0 on `steps()`: slopes, bias, loss, iterations, epochs.
EARLY = {"initial_lr": 0.6, "patience": 4, "threshold": 5e-3, "max_epoch": 200}
WINDOW = {"initial_lr": 0.3, "running_loss_window": 2, "max_epoch": 7}
PUBLISHED = [
    (SGDLasso, 4, EARLY, [0.8612099, -0.0459688, 0.0733176, -0.2863314], (0.6798888, 5, 1)),
    (SGDLasso, 5, WINDOW, [0.8685663, -0.2842066, 0.3371798, 0.0066441], (0.7218785, 11, 3)),
    (SGDRidge, 4, EARLY, [0.8870643, -0.1927469, 0.2806857, -0.3121600], (0.6530533, 5, 1)),
    (SGDRidge, 5, WINDOW, [1.2899251, -0.6797985, 0.5955524, 0.1018235], (0.4806528, 21, 7)),
    (
        *(SGDLinearRegression, 4, EARLY),
        *([2.0347781, -0.8873724, 0.5430931, 0.0165737], (0.0503860, 26, 8)),
    ),
    (
        *(SGDLinearRegression, 5, WINDOW),
        *([1.7511464, -0.8712515, 0.6670966, 0.0811082], (0.0745653, 21, 7)),
    ),
]


@pytest.mark.parametrize(("kind", "size", "options", "numbers", "statistics"), PUBLISHED)
def test_it_stops_where_the_published_package_does(
    kind: Callable[[], Any],
    size: int,
    options: dict[str, Any],
    numbers: list[float],
    statistics: tuple[float, int, int],
) -> None:
    model = kind()
    alpha = {} if kind is SGDLinearRegression else {"alpha": 0.2}
    found = model.fit(loader(steps(), size), **options, **alpha)
    ours = [*model.representation()[0].tolist(), float(model.bias())]
    assert ours == pytest.approx(numbers, abs=1e-4)
    assert found["train_loss"] == pytest.approx(statistics[0], abs=1e-4)
    assert (found["train_iter"], found["train_epoch"]) == statistics[1:]


@pytest.mark.parametrize(
    ("reduce", "numbers", "count"),
    [
        (True, [2.4807620, -0.3978611, 1.2476062, -0.2831220], 37),
        (False, [11.7190895, -3.6751959, 4.6826715, -0.3303193], 60),
    ],
)
def test_the_rate_is_halved_as_in_the_published_package(
    reduce: bool, numbers: list[float], count: int
) -> None:
    x, y, w = steps()
    model = SGDLinearRegression()
    found = model.fit(
        [(x, 10 * y, w)],
        initial_lr=0.05,
        patience=2,
        threshold=0.05,
        max_epoch=60,
        reduce_lr=reduce,
    )
    ours = [*model.representation()[0].tolist(), float(model.bias())]
    assert ours == pytest.approx(numbers, abs=1e-3)
    assert found["train_iter"] == count


@pytest.mark.parametrize("patience", [1, 4])
def test_a_loss_that_stands_still_ends_the_fit(patience: int) -> None:
    """The first loss is progress; what comes after it is none."""
    x, y, _ = steps()
    found = SGDLinearRegression().fit(loader((x, 0 * y), 4), patience=patience, max_epoch=50)
    assert found["train_iter"] == patience + 1
    assert found["train_epoch"] == patience // 3
    assert found["train_loss"] == 0


@pytest.mark.parametrize("scheme", ["zeros", "xavier", None])
def test_first_weights(scheme: str | None) -> None:
    rows = steps()

    def first(seed: int) -> tuple[Tensor, Tensor]:
        torch.default_generator.manual_seed(seed)
        model = SGDLinearRegression()
        model.fit([rows], max_epoch=1, initial_lr=0.0, init_scheme=scheme)
        return model.representation(), model.bias()

    (weight, bias), again, other = first(1), first(1), first(2)
    assert torch.equal(weight, again[0])
    assert torch.equal(bias, again[1])
    assert torch.equal(weight, other[0]) == (scheme == "zeros")
    assert bool(bias.any()) == (scheme is None)
    largest = {"zeros": 0.0, "xavier": (6 / (3 + 1)) ** 0.5, None: 3**-0.5}[scheme]
    assert float(weight.abs().max()) <= largest


def test_without_a_bias() -> None:
    x, y, w = data()
    model = SGDLinearRegression(bias=False)
    model.fit([(x, y, w)], **LONG)
    assert model.bias() is None
    b, _ = ridge(x, y, w, intercept=False)
    torch.testing.assert_close(model.representation()[0], b, rtol=0, atol=1e-8)


# ------------------------------------------------------------------------------- data


def test_forms_of_data() -> None:
    """A loader, a list, a generator that can be gone through once; y and weights as columns."""
    x, y, w = data()
    split = [t.split(10) for t in (x, y, w)]
    batches = list(zip(*split, strict=True))
    forms = [
        loader((x, y, w), 10),
        batches,
        iter(batches),
        loader((x, y[:, None], w[:, None]), 10),
    ]
    found = []
    for form in forms:
        model = SGDLasso()
        statistics = model.fit(form, max_epoch=4, patience=99, device="cpu")
        assert statistics["train_iter"] == 16
        found.append(model.representation())
        assert model(x).shape == (40, 1)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_steps_are_taken_in_float32_or_better(dtype: torch.dtype) -> None:
    model = SGDLinearRegression()
    model.fit([tuple(t.to(dtype) for t in steps())], max_epoch=30, initial_lr=0.3)
    assert model.representation().dtype == torch.promote_types(dtype, torch.float32)
    exact = SGDLinearRegression()
    exact.fit([tuple(t.to(dtype).double() for t in steps())], max_epoch=30, initial_lr=0.3)
    tol = 0.02 if dtype in {torch.bfloat16, torch.float16} else 1e-5
    torch.testing.assert_close(
        model.representation().double(), exact.representation(), rtol=0, atol=tol
    )


def test_a_fit_starts_afresh_and_leaves_nothing_behind(unchanged: Callable[..., Any]) -> None:
    x, y, w = data()
    model, once = SGDRidge(), SGDRidge()
    model.fit([(x, y[:, None].expand(40, 2))], max_epoch=3)
    x.requires_grad_()
    with unchanged(x, y, w, rng=False), torch.no_grad():
        model.fit([(x, y, w)], max_epoch=3)
    once.fit([(x, y, w)], max_epoch=3)
    assert torch.equal(model.representation(), once.representation())
    assert not model.representation().requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_debug_prints_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    SGDLasso().fit([steps()], max_epoch=3, debug=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("lr=0.01") and "mean=" in line for line in lines)


X, Y = torch.ones(4, 3), torch.ones(4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        ([], {}, "at least one batch"),
        ([(X, Y[:3])], {}, r"batches of x \(N, F\)"),
        ([(X, Y), (X, Y, torch.ones(3))], {}, r"weights \(N,\)"),
        ([(X, Y)], {"max_epoch": 0}, "max_epoch of at least 1"),
        ([(X, Y)], {"init_scheme": "ones"}, "'zeros', 'xavier' or None"),
    ],
)
def test_refusals(
    kind: Callable[[], Any], batches: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind().fit(batches, **options)
    with pytest.raises(ValueError, match="norm_type"):
        SGDLasso(norm_type="median").fit([(X, Y)])
