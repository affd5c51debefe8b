"""Models solved in torch, what all linear models share, and where users import them from."""

import importlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from captum import linear
from captum.attr import Lime
from captum.linear import Lasso, LinearModel, LinearRegression, Model, Ridge
from captum.linear.solve import lasso, ridge

# A model, and the function whose numbers it has.
SOLVED: dict[str, tuple[Callable[..., LinearModel], Callable[..., tuple[Tensor, Tensor]]]] = {
    "LinearRegression": (LinearRegression, ridge),
    "Ridge": (lambda **more: Ridge(0.3, **more), lambda *a, **m: ridge(*a, alpha=0.3, **m)),
    "Lasso": (lambda **more: Lasso(0.05, **more), lambda *a, **m: lasso(*a, alpha=0.05, **m)),
}
each_model = pytest.mark.parametrize(("make", "solve"), SOLVED.values(), ids=SOLVED)


def data(n: int = 12, outputs: tuple[int, ...] = (), seed: int = 0) -> tuple[Tensor, ...]:
    r = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=r, dtype=torch.float64)
    y = torch.randn(n, *outputs, generator=r, dtype=torch.float64)
    return x, y + x[:, 0].view(-1, *[1] * len(outputs)), torch.rand(n, generator=r).double()


def constructed(**params: Any) -> LinearModel:
    """A model with these layers."""
    model = LinearModel(
        lambda model, dataloader, construct_kwargs: model._construct_model_params(**params)
    )
    model.fit([])
    return model


@each_model
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_however_the_rows_come_the_fit_is_the_solution(
    make: Callable[..., LinearModel],
    solve: Callable[..., tuple[Tensor, Tensor]],
    sizes: list[int],
    weighted: bool,
    intercept: bool,
) -> None:
    x, y, w = data(sum(sizes))
    rows = (x, y, w) if weighted else (x, y)
    model = make(intercept=intercept)
    statistics = model.fit(list(zip(*(t.split(sizes) for t in rows), strict=True)))
    b, c = solve(x, y, w if weighted else None, intercept=intercept)
    assert statistics.keys() == {"train_time"}
    assert statistics["train_time"] >= 0
    torch.testing.assert_close(model.representation(), b[None], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(model.bias(), c[None], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(model(x), (x @ b + c)[:, None], rtol=1e-9, atol=1e-12)


@each_model
def test_several_outputs_are_several_fits(
    make: Callable[..., LinearModel], solve: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    x, y, w = data(outputs=(4,))
    model = make()
    model.fit([(x, y, w)])
    assert model.representation().shape == (4, 3)
    assert model(x).shape == (12, 4)
    for column, b, c in zip(y.T, model.representation(), model.bias(), strict=True):
        torch.testing.assert_close((b, c), solve(x, column, w), rtol=1e-9, atol=1e-12)


@each_model
def test_forms_of_data(
    make: Callable[..., LinearModel], solve: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    x, y, w = data()
    wanted = solve(x, y, w)[0][None]
    loader = DataLoader(TensorDataset(x, y, w), batch_size=5)
    forms = [loader, [[x, y, w]], [(x, y[:, None], w[:, None])], iter([(x, y, w)])]
    for form in forms:
        model = make()
        model.fit(form)
        torch.testing.assert_close(model.representation(), wanted, rtol=1e-9, atol=1e-12)


@each_model
def test_a_fit_starts_afresh_and_draws_nothing(
    make: Callable[..., LinearModel],
    solve: Callable[..., tuple[Tensor, Tensor]],
    unchanged: Callable[..., Any],
) -> None:
    model, once = make(), make()
    x, y, w = data(outputs=(2,), seed=1)
    model.fit([(x, y, w)])
    x, y, w = data()
    x.requires_grad_()
    with unchanged(x, y, w):
        model.fit([(x, y, w)])
        once.fit([(x, y, w)])
    assert torch.equal(model.representation(), once.representation())
    assert model.representation().shape == (1, 3)
    assert not model.representation().requires_grad
    copy = pickle.loads(pickle.dumps(once))
    assert torch.equal(copy(x), once(x))


@each_model
def test_halves_are_fitted_in_float32(
    make: Callable[..., LinearModel], solve: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    x, y, w = (t.bfloat16() for t in data())
    model = make()
    model.fit([(x, y, w)])
    assert model.representation().dtype == torch.float32
    wanted = solve(x.float(), y.float(), w.float())[0]
    torch.testing.assert_close(model.representation()[0], wanted)


def test_with_its_default_given_lime_is_what_it_was() -> None:
    """In one problem at a time, over the loader that any model gets."""

    def f(x: Tensor) -> Tensor:
        return x[:, 0] * x[:, 1] + 2 * x[:, 2]

    scores = [
        Lime(f, model).attribute(
            torch.tensor([[1.0, 2.0, -1.0], [0.5, 1.0, 3.0]]),
            generator=torch.Generator().manual_seed(0),
            n_samples=30,
        )
        for model in (None, Lasso(alpha=0.01))
    ]
    assert bool(scores[0].any())
    torch.testing.assert_close(scores[0], scores[1])


# ---------------------------------------------------------------------------- refusals


X, Y = (t[:4].float() for t in data()[:2])


@each_model
@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "at least one batch"),
        ([(X, Y), (X, Y, Y.abs())], "weights in some of them only"),
        ([X], r"batches of x \(N, F\)"),
        ([(X,)], r"batches of x \(N, F\)"),
        ([(X, Y, Y, Y)], r"batches of x \(N, F\)"),
        ([(X[0], Y)], r"x \(N, F\)"),
        ([(X, Y[:3])], r"y \(N,\) or \(N, C\)"),
        ([(X, Y[None])], r"y \(N,\) or \(N, C\)"),
        ([(X, Y.numpy())], r"y \(N,\) or \(N, C\)"),
        ([(X, Y, torch.ones(3))], r"weights \(N,\)"),
        ([(X, Y, -torch.ones(4))], "weights of at least 0"),
        ([(X, Y, torch.zeros(4))], "some are positive"),
    ],
)
def test_refused_data(
    make: Callable[..., LinearModel], solve: object, batches: list[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make().fit(batches)


@pytest.mark.parametrize("kind", [Ridge, Lasso])
def test_a_negative_alpha_is_refused(kind: type[Ridge] | type[Lasso]) -> None:
    with pytest.raises(ValueError, match="alpha of at least 0"):
        kind(-0.1).fit([(X, Y)])


def test_what_is_not_fitted_has_nothing_to_say() -> None:
    model = Lasso()
    assert model.bias() is None
    assert model.classes() is None
    for ask in (model.representation, lambda: model(X)):
        with pytest.raises(RuntimeError, match="a fitted model"):
            ask()


# -------------------------------------------------------------------------- the layers


def test_a_training_function_gets_what_it_was_promised() -> None:
    seen: dict[str, Any] = {}

    def train(model: LinearModel, **given: Any) -> str:
        seen.update(given)
        return "statistics"

    model = LinearModel(train, bias=False)
    batches = [(X, Y)]
    assert model.fit(batches, rate=3) == "statistics"
    assert seen == {"dataloader": batches, "construct_kwargs": {"bias": False}, "rate": 3}
    assert isinstance(model, Model)


def test_layers_of_known_weights() -> None:
    weights = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0]])
    model = constructed(weight_values=weights, bias_value=torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(model(X), X @ weights.T + torch.tensor([3.0, 4.0]))
    model = constructed(weight_values=weights)
    torch.testing.assert_close(model(X), X @ weights.T)
    assert model.bias().tolist() == [0, 0]
    model = constructed(weight_values=weights.double(), bias=False, classes=torch.tensor([5, 7]))
    assert model.bias() is None
    assert model.classes().tolist() == [5, 7]
    torch.testing.assert_close(model(X.double()), X.double() @ weights.T.double())


def test_layers_of_known_sizes() -> None:
    model = constructed(in_features=3, out_features=2, bias=False)
    assert model.representation().shape == (2, 3)
    assert model.bias() is None
    torch.testing.assert_close(model(X), X @ model.representation().T)


@pytest.mark.parametrize(
    ("norm", "normal"),
    [
        ("layer_norm", (X - X.mean(1, keepdim=True)) / X.std(1, correction=0, keepdim=True)),
        ("batch_norm", (X - X.mean(0)) / X.std(0, correction=0)),
    ],
)
def test_layers_that_normalise(norm: str, normal: Tensor) -> None:
    weights = torch.tensor([[1.0, -2.0, 0.5]])
    plain = constructed(weight_values=weights, norm_type=norm)
    affine = constructed(weight_values=weights, norm_type=norm, affine_norm=True)
    for model in (plain, affine):
        torch.testing.assert_close(model(X), normal @ weights.T)
    assert len(list(affine.norm.parameters())) == 2
    assert not list(plain.norm.parameters())


def test_layers_refused() -> None:
    with pytest.raises(ValueError, match="'median' is not supported"):
        constructed(in_features=3, out_features=1, norm_type="median")
    with pytest.raises(ValueError, match="or `weight_values`"):
        constructed(in_features=3)


@pytest.mark.parametrize(
    "path", ["models", "models.linear_model", "models.linear_model.model", "models.model"]
)
def test_the_published_paths_lead_here(path: str) -> None:
    old = importlib.import_module(f"captum._utils.{path}")
    for name in linear.__all__:
        assert getattr(old, name) is getattr(linear, name)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        old.Nothing  # noqa: B018 # the look-up is what is tested
