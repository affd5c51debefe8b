"""A batch is a loop over its examples, and no size of the passes changes a number."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum import attr
from captum._engine.nest import scored
from laws import nets
from laws.compare import assert_same_scores
from laws.methods import METHODS, Method, keeping, name_of

# "auto" takes as many steps as the hardest example of a batch needs.
_CLOSE = 1e-8


def cases(law: Callable[[Method, str], bool] = lambda method, size: True) -> list[Any]:
    net = nets.smooth()
    return [
        pytest.param(method, size, id=f"{name_of(method)}-{size}")
        for method in METHODS
        for size in method.sizes(net)
        if law(method, size)
    ]


@pytest.mark.parametrize("method", keeping(lambda m: not m.draws), ids=name_of)
def test_a_batch_is_a_loop_over_examples(method: Method) -> None:
    net, x = method.net(), nets.images(4)
    whole = scored(method.scores(net, x))
    each = [scored(method.scores(net, row)) for row in x.split(1)]
    loop = [torch.cat(rows) for rows in zip(*each, strict=True)]
    assert_same_scores(list(whole), loop, _CLOSE if "auto" in method.name else 1e-10)


@pytest.mark.parametrize(
    "method", keeping(lambda m: not m.draws and m.asks == "target"), ids=name_of
)
def test_a_target_per_example_is_a_loop_over_targets(method: Method) -> None:
    net, x = method.net(), nets.images(3)
    targets = [2, 0, 1]
    whole = scored(method.scores(net, x, targets))
    each = [scored(method.scores(net, row, t)) for row, t in zip(x.split(1), targets, strict=True)]
    loop = [torch.cat(rows) for rows in zip(*each, strict=True)]
    assert_same_scores(list(whole), loop, _CLOSE if "auto" in method.name else 1e-10)


@pytest.mark.parametrize("method", keeping(lambda m: not m.mixes), ids=name_of)
def test_an_example_does_not_feel_the_others(method: Method) -> None:
    """Also where random numbers are drawn, as long as their order is the same."""
    net, x = method.net(), nets.images(4)
    other = torch.cat([x[:1], nets.images(3, seed=8) * 2])
    nets.reseed()
    here = scored(method.scores(net, x))
    nets.reseed()
    there = scored(method.scores(net, other))
    close = _CLOSE if "auto" in method.name else 1e-10
    assert_same_scores([s[:1] for s in there], [s[:1] for s in here], close)


def splits_draws(method: Method, size: str) -> bool:
    """A tunnel calls its method once per pass: a method that draws, then draws in other order."""
    return size == "nt_samples_batch_size" and "GradientShap" in method.name


def divides_targets(method: Method, size: str) -> bool:
    return method.asks == "target" and not splits_draws(method, size)


def steps_of(method: Method) -> dict[str, int]:
    """Few steps, which no size divides."""
    own = "n_steps" in method.accepts(nets.smooth()) and "auto" not in method.name
    return {"n_steps": 11} if own else {}


@pytest.mark.parametrize(("method", "size"), cases(lambda m, size: not splits_draws(m, size)))
def test_the_size_of_passes_changes_no_number(method: Method, size: str) -> None:
    net, x, steps = method.net(), nets.images(5), steps_of(method)
    found = []
    for rows in (1, 3, 7, 10_000, None if size == "nt_samples_batch_size" else "auto"):
        nets.reseed()
        found.append(method.scores(net, x, **{size: rows}, **steps))
    nets.reseed()
    wanted = method.scores(net, x, **steps)
    for each in found:
        assert_same_scores(each, wanted, 1e-12)


@pytest.mark.parametrize(
    ("method", "size"),
    cases(lambda m, size: "NoiseTunnel" not in m.name),
)
def test_a_size_is_honoured_exactly(method: Method, size: str) -> None:
    """Also below the number of examples. Perturbations count features, of all examples."""
    net, x, seen = method.net(), nets.images(5), []
    handle = net.register_forward_pre_hook(lambda _m, args: seen.append(len(args[0])))
    method.scores(net, x, **{size: 2})
    handle.remove()
    assert max(seen) == (10 if size == "perturbations_per_eval" else 2)


class Counting(attr.Attribution):
    """A method of the user's own that remembers the size of what it is given."""

    def attribute(self, inputs: torch.Tensor) -> torch.Tensor:
        self.forward_func(inputs)
        return inputs


def test_a_tunnel_hands_out_at_most_so_many_copies() -> None:
    seen: list[int] = []
    method = Counting(lambda x: seen.append(len(x)))
    attr.NoiseTunnel(method).attribute(nets.images(3), nt_samples=5, nt_samples_batch_size=2)
    assert seen == [6, 6, 3]


@pytest.mark.parametrize(("method", "size"), cases(divides_targets))
def test_several_targets_in_small_passes(method: Method, size: str) -> None:
    net, x, both = method.net(), nets.images(5), attr.Targets(0, 2)
    nets.reseed()
    wanted = method.scores(net, x, both)
    nets.reseed()
    assert_same_scores(method.scores(net, x, both, **{size: 3}), wanted, 1e-12)


@given(
    n=st.integers(1, 6),
    features=st.integers(1, 5),
    steps=st.integers(1, 9),
    rows=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_shape_in_any_passes(n: int, features: int, steps: int, rows: int, seed: int) -> None:
    nets.reseed(seed)
    model = nn.Sequential(nn.Linear(features, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    x = torch.randn(n, features, dtype=torch.float64)
    start = torch.randn(n, features, dtype=torch.float64)

    def cut(internal: int | str, perturbations: int | str) -> list[torch.Tensor]:
        options = {"target": [i % 2 for i in range(n)]}
        sized = {**options, "internal_batch_size": internal}
        shap = {"n_samples": steps, "generator": torch.Generator().manual_seed(seed)}
        return [
            attr.IntegratedGradients(model).attribute(x, start, n_steps=steps, **sized),
            attr.LayerConductance(model, model[0]).attribute(x, start, n_steps=steps, **sized),
            attr.InternalInfluence(model, model[0]).attribute(x, start, n_steps=steps, **sized),
            attr.GradientShap(model).attribute(x, start, **shap, **sized),
            attr.FeatureAblation(model).attribute(
                x, start, perturbations_per_eval=perturbations, **options
            ),
        ]

    for ours, wanted in zip(cut(rows, rows), cut("auto", "auto"), strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-12, rtol=1e-12)
