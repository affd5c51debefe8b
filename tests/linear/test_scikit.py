"""Models of scikit-learn behind the interface: their numbers are scikit-learn's."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import linear_model
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from captum.linear import (
    SkLearnLasso,
    SkLearnLinearModel,
    SkLearnLinearRegression,
    SkLearnLogisticRegression,
    SkLearnRidge,
    SkLearnSGDClassifier,
)

# A model, what it is made with, and the estimator that it wraps.
REGRESSORS: dict[str, tuple[Callable[..., SkLearnLinearModel], dict[str, Any], Any]] = {
    "lasso": (SkLearnLasso, {"alpha": 0.1}, linear_model.Lasso),
    "ridge": (SkLearnRidge, {"alpha": 0.1}, linear_model.Ridge),
    "least squares": (SkLearnLinearRegression, {}, linear_model.LinearRegression),
}
CLASSIFIERS: dict[str, tuple[Callable[..., SkLearnLinearModel], dict[str, Any], Any]] = {
    "logistic": (SkLearnLogisticRegression, {"C": 0.5}, linear_model.LogisticRegression),
    "sgd": (SkLearnSGDClassifier, {"random_state": 0}, linear_model.SGDClassifier),
}
each_regressor = pytest.mark.parametrize(
    ("make", "options", "estimator"), REGRESSORS.values(), ids=REGRESSORS
)
each_classifier = pytest.mark.parametrize(
    ("make", "options", "estimator"), CLASSIFIERS.values(), ids=CLASSIFIERS
)
Make = Callable[..., SkLearnLinearModel]


def data(outputs: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    r = torch.Generator().manual_seed(0)
    x = 3 + torch.randn(30, 4, generator=r, dtype=torch.float64) * torch.tensor([1.0, 2, 3, 4])
    y = x[:, 0].view(-1, *[1] * len(outputs)) + torch.randn(30, *outputs, generator=r)
    return tuple(t.to(dtype) for t in (x, y, torch.rand(30, generator=r)))


def same(ours: Tensor, theirs: Any) -> None:
    torch.testing.assert_close(
        ours, torch.as_tensor(np.asarray(theirs)).view_as(ours), rtol=1e-9, atol=1e-12
    )


@each_regressor
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [(), (1,), (3,)])
@pytest.mark.parametrize("bias", [False, True])
def test_regressors_are_scikit_learns(
    make: Make,
    options: dict[str, Any],
    estimator: Any,
    weighted: bool,
    outputs: tuple[int, ...],
    bias: bool,
) -> None:
    x, y, w = data(outputs)
    rows = (x, y, w) if weighted else (x, y)
    model = make(fit_intercept=bias, **options)
    statistics = model.fit(DataLoader(TensorDataset(*rows), batch_size=8))
    theirs = estimator(fit_intercept=bias, **options)
    theirs.fit(x.numpy(), y.numpy(), **({"sample_weight": w.numpy()} if weighted else {}))
    same(model.representation(), theirs.coef_)
    same(model(x), theirs.predict(x.numpy()))
    assert model.representation().shape == (*(outputs or (1,)), 4)
    assert model.bias().shape == (outputs or (1,))
    assert bool(model.bias().any()) == bias
    assert model.classes() is None
    assert statistics.keys() == {"train_time"}


@each_classifier
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", [[4, 7], [1, 2, 5]])
def test_classifiers_are_scikit_learns(
    make: Make, options: dict[str, Any], estimator: Any, weighted: bool, labels: list[int]
) -> None:
    x, y, w = data()
    borders = y.quantile(torch.linspace(0, 1, len(labels) + 1).double()[1:-1])
    y = torch.tensor(labels)[torch.bucketize(y, borders)]
    model = make(**options)
    model.fit([(x, y, w) if weighted else (x, y)])
    theirs = estimator(**options)
    theirs.fit(x.numpy(), y.numpy(), **({"sample_weight": w.numpy()} if weighted else {}))
    assert model.classes().tolist() == labels
    assert model.representation().shape == (1 if len(labels) == 2 else 3, 4)
    same(model.representation(), theirs.coef_)
    same(model(x), theirs.decision_function(x.numpy()))
    scores = model(x)
    picked = (scores[:, 0] > 0).long() if len(labels) == 2 else scores.argmax(1)
    assert torch.equal(model.classes()[picked], torch.from_numpy(theirs.predict(x.numpy())))


@each_classifier
def test_labels_may_come_as_a_column(make: Make, options: dict[str, Any], estimator: Any) -> None:
    """Which scikit-learn itself would warn of."""
    x, y, _ = data()
    labels = (y > y.median()).long()
    found = []
    for form in (labels, labels[:, None]):
        model = make(**options)
        model.fit([(x, form)])
        found.append(model.representation())
    assert torch.equal(*found)


@each_regressor
def test_normalised_input_is_normalised_in_the_model_too(
    make: Make, options: dict[str, Any], estimator: Any
) -> None:
    x, y, w = data()
    model = make(**options)
    model.fit([(x, y, w)], norm_input=True)
    normal = (x - x.mean(0)) / x.std(0, correction=0)
    theirs = estimator(**options).fit(normal.numpy(), y.numpy(), sample_weight=w.numpy())
    torch.testing.assert_close(
        model.representation()[0], torch.from_numpy(theirs.coef_), rtol=1e-6, atol=1e-9
    )
    wanted = torch.from_numpy(theirs.predict(normal.numpy()))
    torch.testing.assert_close(model(x)[:, 0], wanted, rtol=1e-6, atol=1e-9)
    # Of the model, not of the batch: one row alone is predicted the same.
    torch.testing.assert_close(model(x[:1]), model(x)[:1])
    model.fit([(x, y, w)])
    same(model(x), estimator(**options).fit(*map(np.asarray, (x, y, w))).predict(x.numpy()))


@each_regressor
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_dtypes(make: Make, options: dict[str, Any], estimator: Any, dtype: torch.dtype) -> None:
    x, y, _ = data(dtype=dtype)
    model = make(**options)
    model.fit([(x, y.float())])
    assert model.representation().dtype == torch.float32
    theirs = estimator(**options).fit(x.double().numpy(), y.double().numpy())
    torch.testing.assert_close(
        model.representation()[0].double(), torch.from_numpy(theirs.coef_), rtol=1e-4, atol=1e-4
    )


def test_nothing_is_drawn_or_left_behind(unchanged: Callable[..., Any]) -> None:
    x, y, w = data()
    x.requires_grad_()
    with unchanged(x, y, w):
        model = SkLearnRidge(alpha=0.1)
        model.fit([(x, y, w)], norm_input=True)
    assert not model.representation().requires_grad


@pytest.mark.parametrize("name", ["ElasticNet", "linear_model.ElasticNet"])
def test_any_linear_estimator(name: str) -> None:
    x, y, _ = data()
    model = SkLearnLinearModel(name, alpha=0.2)
    model.fit([(x, y)])
    assert model.sklearn_module == name
    same(model.representation(), linear_model.ElasticNet(alpha=0.2).fit(x, y).coef_)


def test_options_of_the_estimators_own_fit() -> None:
    x, y, _ = data()
    labels = (y > y.median()).long()
    model = SkLearnSGDClassifier(max_iter=1, tol=None, eta0=1e-9, learning_rate="constant")
    model.fit([(x, labels)], coef_init=np.arange(4.0)[None])
    torch.testing.assert_close(
        model.representation()[0], torch.arange(4.0).double(), rtol=1e-3, atol=1e-3
    )


def test_an_estimator_that_takes_no_weights_says_so() -> None:
    x, y, w = data()
    model = SkLearnLinearModel("linear_model.OrthogonalMatchingPursuit", n_nonzero_coefs=2)
    with pytest.warns(UserWarning, match="OrthogonalMatchingPursuit takes no weights"):
        model.fit([(x, y, w)])
    assert int(model.representation().count_nonzero()) == 2


@pytest.mark.parametrize("name", ["linear_model.Nothing", "nothing.Lasso", "Nothing"])
def test_an_estimator_that_there_is_not(name: str) -> None:
    with pytest.raises(AttributeError, match="name of an estimator within scikit-learn"):
        SkLearnLinearModel(name).fit([data()[:2]])


def test_an_estimator_that_is_not_linear() -> None:
    with pytest.raises(AttributeError, match=r"coefficients `coef_`[\s\S]*DecisionTreeRegressor"):
        SkLearnLinearModel("tree.DecisionTreeRegressor").fit([data()[:2]])


def test_data_is_checked_as_for_all_models() -> None:
    x, y, _ = data()
    with pytest.raises(ValueError, match=r"batches of x \(N, F\)"):
        SkLearnLasso().fit([(x, y[:3])])


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the fit: a model can be made, and named, without it."""
    model = SkLearnLasso(alpha=0.1)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"needs sklearn.*pip install 'captum\[sklearn\]'"):
        model.fit([data()[:2]])
