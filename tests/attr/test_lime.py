"""LIME: its functions, their keywords, samples of any shape, own models; what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from captum import attr
from captum._engine.nest import map_tensors
from captum.linear import Lasso, LinearRegression, Ridge


def f(x: Tensor) -> Tensor:
    return 3 * x[:, 0] - x[:, 1] + x[:, 2] ** 2


def every(_original: Any, num_interp_features: int, **_kwargs: Any) -> Iterator[Tensor]:
    """All coalitions, over and over."""
    while True:
        for z in product((1, 0), repeat=num_interp_features):
            yield torch.tensor([z])


def base(**changed: Any) -> attr.LimeBase:
    given: dict[str, Any] = {
        "interpretable_model": LinearRegression(),
        "similarity_func": lambda x, near, z, **k: 1.0,
        "perturb_func": lambda x, **k: torch.bernoulli(torch.full((1, 3), 0.5)),
        "perturb_interpretable_space": True,
        "from_interp_rep_transform": lambda z, x, **k: z * x,
        "to_interp_rep_transform": None,
    }
    return attr.LimeBase(f, **{**given, **changed})


X = torch.tensor([[1.0, 2.0, 3.0]])
SLOPES = torch.tensor([[3.0, -2.0, 9.0]])


def test_all_coalitions_of_an_additive_function_are_its_parts() -> None:
    made = attr.Lime(f, LinearRegression(), lambda *_, **__: 1.0, every)
    assert_close(made.attribute(X, n_samples=8), SLOPES)
    assert_close(base().attribute(X, n_samples=60), SLOPES, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("per_pass", [1, 2, "auto"])
def test_samples_may_have_other_shapes(per_pass: Any) -> None:
    """A text without some of its words is shorter, and its words keep their order."""
    seen: list[tuple[int, ...]] = []
    worth = torch.linspace(-1, 1, 12)

    def text(ids: Tensor) -> Tensor:
        seen.append(tuple(ids.shape))
        return worth[ids].sum(1)

    made = attr.LimeBase(
        text,
        LinearRegression(),
        similarity_func=lambda x, near, z, **k: 1.0,
        perturb_func=lambda x, **k: torch.bernoulli(torch.full(x.shape, 0.5)).long(),
        perturb_interpretable_space=True,
        from_interp_rep_transform=lambda z, x, **k: x[z.bool()].view(1, -1),
        to_interp_rep_transform=None,
    )
    torch.manual_seed(0)
    ids = torch.arange(8).view(1, 8)
    found = made.attribute(ids, n_samples=80, perturbations_per_eval=per_pass)
    assert_close(found, worth[:8].view(1, 8), rtol=1e-4, atol=1e-4)
    assert len({shape[1] for shape in seen}) > 3
    assert max(shape[0] for shape in seen) <= (2 if per_pass == "auto" else per_pass) or (
        per_pass == "auto"
    )


def test_a_model_sees_one_sample_at_a_time_unless_told_otherwise() -> None:
    bag, top = torch.nn.EmbeddingBag(20, 4), torch.nn.Linear(4, 2)

    def model(text: Tensor, offsets: Tensor) -> Tensor:
        out: Tensor = top(bag(text.squeeze(0), offsets))
        return out

    made = attr.LimeBase(
        model,
        LinearRegression(),
        similarity_func=lambda x, near, z, **k: 1.0,
        perturb_func=lambda x, **k: torch.bernoulli(torch.full(x.shape, 0.5)).long(),
        perturb_interpretable_space=True,
        from_interp_rep_transform=lambda z, x, **k: x * z,
        to_interp_rep_transform=None,
    )
    ids = torch.randint(1, 20, (1, 6))
    found = made.attribute(ids, 1, additional_forward_args=(torch.tensor([0]),), n_samples=40)
    assert found.shape == (1, 6)


def test_functions_get_the_keywords_of_the_call() -> None:
    heard: dict[str, Any] = {}

    def perturb(x: Tensor, **kwargs: Any) -> Tensor:
        heard["perturb"] = kwargs
        return torch.bernoulli(torch.full((1, 3), 0.5))

    def near(x: Tensor, other: Tensor, z: Tensor, **kwargs: Any) -> float:
        heard["similarity"] = kwargs
        return 1.0

    base(perturb_func=perturb, similarity_func=near).attribute(X, scale=0.4)
    assert heard == {"perturb": {"scale": 0.4}, "similarity": {"scale": 0.4}}
    attr.Lime(f, Ridge(), near, perturb).attribute(X, 0.5, n_samples=9)
    for kwargs in heard.values():
        assert set(kwargs) == {"baselines", "feature_mask", "num_interp_features"}
        assert kwargs["num_interp_features"] == 3
        assert kwargs["feature_mask"].tolist() == [[0, 1, 2]]


def test_a_generator_that_ends_is_told_of() -> None:
    def three(_original: Any, **_kwargs: Any) -> Iterator[Tensor]:
        yield from (torch.tensor([z]) for z in ((1, 1, 1), (1, 0, 0), (0, 0, 1)))

    with pytest.warns(UserWarning, match="came to its end before the 9 samples"):
        base(perturb_func=three).attribute(X, n_samples=9)


PLACES = {
    "tensor": X,
    "tuple": (X, X + 1, None),
    "dict": {"a": X, "b": -X},
}


@pytest.mark.parametrize("form", PLACES)
def test_the_default_transform_puts_baselines_where_features_are_absent(form: str) -> None:
    inputs = PLACES[form]
    mask = map_tensors(lambda _: torch.tensor([[0, 1, 0]]), inputs)
    lime = attr.Lime(lambda *a, **k: a[0].sum(1))
    z = torch.tensor([[0, 1]])
    for baselines in (0.5, map_tensors(lambda x: x * 0 + 0.5, inputs)):
        found = lime.from_interp_rep_transform(z, inputs, feature_mask=mask, baselines=baselines)
        wanted = map_tensors(
            lambda x: torch.where(torch.tensor([True, False, True]), 0.5, x), inputs
        )
        assert type(found) is type(inputs)
        for ours, theirs in zip(attr_tensors(found), attr_tensors(wanted), strict=True):
            assert torch.equal(ours, theirs)


def attr_tensors(nest: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(found.append, nest)
    return found


@pytest.mark.parametrize("form", PLACES)
def test_functions_of_ones_own_on_inputs_of_any_form(form: str) -> None:
    """And with the same functions as the method itself uses, the same scores."""

    def model(*args: Any, **kwargs: Any) -> Tensor:
        given = [a for a in (*args, *kwargs.values()) if a is not None]
        return sum(((i + 1) * f(a) for i, a in enumerate(given)), torch.zeros(()))

    def model_of_dict(a: Any, b: Any) -> Tensor:
        return model(a, b)

    inputs = PLACES[form]
    explained = model_of_dict if form == "dict" else model
    baselines = map_tensors(lambda x: x * 0 + 0.3, inputs)
    near = attr.get_exp_kernel_similarity_function("euclidean", 2.0)
    found = []
    for similarity in (near, lambda x, y, z, **kwargs: near(x, y, z)):
        torch.manual_seed(0)
        lime = attr.Lime(explained, Ridge(), similarity)
        found.append(attr_tensors(lime.attribute(inputs, baselines, n_samples=200)))
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs)
        assert ours.abs().sum() > 0


def test_the_model_of_the_call_is_the_users_object() -> None:
    model = Lasso(alpha=0.1)
    lime = attr.Lime(f, model)
    assert lime.interpretable_model is model
    scores = lime.attribute(X, n_samples=30)
    assert_close(model.representation().view(1, 3).to(scores), scores)
    own = attr.Lime(f)
    assert own.perturb_interpretable_space
    assert own.to_interp_rep_transform is None
    assert own.perturb_func(X, num_interp_features=4).shape == (1, 4)


def test_several_targets_share_their_samples() -> None:
    layer = torch.nn.Linear(3, 4)
    torch.manual_seed(3)
    both = base_on(layer).attribute(X, attr.Targets(0, 2), n_samples=30)
    torch.manual_seed(3)
    first = base_on(layer).attribute(X, 0, n_samples=30)
    assert isinstance(both, list)
    assert_close(both[0], first)
    assert not torch.allclose(both[0], both[1])


def base_on(model: Any) -> attr.LimeBase:
    made = base()
    made.forward_func = model
    return made


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "no transform": (
        lambda: base(from_interp_rep_transform=None),
        TypeError,
        "from_interp_rep_transform, as perturb_func makes descriptions",
    ),
    "no description": (
        lambda: base(perturb_interpretable_space=False, from_interp_rep_transform=None),
        TypeError,
        "to_interp_rep_transform, as perturb_func makes inputs",
    ),
    "a flat description": (
        lambda: base(perturb_func=lambda x, **k: torch.ones(3)).attribute(X),
        ValueError,
        r"a sample described by a tensor of shape \(1, G\)",
    ),
    "a batch": (
        lambda: base().attribute(torch.cat([X, X])),
        ValueError,
        "a model that gives one number for each perturbed input",
    ),
    "no samples": (lambda: base().attribute(X, n_samples=0), ValueError, "n_samples"),
    "functions of inputs at a layer": (
        lambda: attr.Lime(f, None, lambda *a, **k: 1.0, at=torch.nn.Identity()),
        TypeError,
        "with at=",
    ),
    "a generator beside a function that draws": (
        lambda: attr.Lime(f, None, None, every).attribute(X, generator=torch.Generator()),
        TypeError,
        "no generator where perturb_func draws",
    ),
    "several baselines beside functions": (
        lambda: attr.Lime(f, None, None, every).attribute(X, [0, 1.0]),
        ValueError,
        "one baseline beside functions of your own",
    ),
    "another distance": (
        lambda: attr.get_exp_kernel_similarity_function("manhattan"),
        ValueError,
        "distance_mode 'cosine' or 'euclidean'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_says_what_works(what: str) -> None:
    call, kind, match = REFUSED[what]
    with pytest.raises(kind, match=match):
        call()


def test_baselines_are_drawn_feature_by_feature() -> None:
    draws = attr.ProductBaselines(
        {"name": ["Ann", "Bob"], ("city", "state"): [("Austin", "TX"), ("Boston", "MA")]},
        generator=torch.Generator().manual_seed(0),
    )
    found = [draws.sample() for _ in range(60)]
    assert {(d["name"], d["city"], d["state"]) for d in found} == {
        (name, *place) for name in ("Ann", "Bob") for place in (("Austin", "TX"), ("Boston", "MA"))
    }
    torch.manual_seed(1)
    lists = attr.ProductBaselines([[0, 1, 2], ["a"]])
    first = [lists() for _ in range(9)]
    torch.manual_seed(1)
    assert first == [lists() for _ in range(9)]
    with pytest.raises(ValueError, match="at least one value for every feature"):
        attr.ProductBaselines([[1], []])
