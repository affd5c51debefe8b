"""Random numbers: a seed fixes them, a generator keeps them apart, and only who must draws."""

import pytest
import torch

from captum import attr
from captum._engine.nest import scored
from laws import nets
from laws.compare import assert_same_scores, every
from laws.methods import Method, keeping, name_of

_RANDOM = keeping(lambda m: m.draws)
# What is drawn inside a tunnel's method, or by a function of the user's, is its own.
_ONE_SOURCE = keeping(
    lambda m: m.draws and not ("NoiseTunnel" in m.name and "Shap" in m.name) and "own" not in m.name
)


def differ(a: object, b: object) -> bool:
    return all(not torch.equal(x, y) for x, y in zip(scored(a), scored(b), strict=True))


@pytest.mark.parametrize("method", _RANDOM, ids=name_of)
def test_a_seed_fixes_the_scores(method: Method) -> None:
    net, x = method.net(), nets.images()
    torch.manual_seed(1)
    first = method.scores(net, x)
    second = method.scores(net, x)
    torch.manual_seed(1)
    again = method.scores(net, x)
    assert_same_scores(again, first, 0)
    assert differ(second, first)


@pytest.mark.parametrize("method", _ONE_SOURCE, ids=name_of)
def test_a_generator_fixes_the_scores(method: Method) -> None:
    """And then the global one is not drawn from, which `Method.scores` checks."""
    net, x = method.net(), nets.images()
    first, again = (
        method.scores(net, x, generator=torch.Generator().manual_seed(5)) for _ in range(2)
    )
    other = method.scores(net, x, generator=torch.Generator().manual_seed(6))
    assert_same_scores(again, first, 0)
    assert differ(other, first)


@pytest.mark.parametrize("method", keeping(lambda m: not m.draws), ids=name_of)
def test_deterministic_scores_repeat_exactly(method: Method) -> None:
    net, x = method.net(), nets.images()
    assert_same_scores(method.scores(net, x), method.scores(net, x), 0)


@pytest.mark.parametrize(
    "method", [m for m in _RANDOM if "return_std" in m.accepts(nets.smooth())], ids=name_of
)
def test_standard_errors_come_in_the_shape_of_the_scores(method: Method) -> None:
    net, x = method.net(), nets.images()
    scores, errors = method.scores(net, x, return_std=True)
    assert type(scores) is type(errors)
    assert [e.shape for e in scored(errors)] == [s.shape for s in scored(scores)]
    assert every(errors, lambda e: bool((e >= 0).all()) and bool((e > 0).any()))


def test_a_tunnel_takes_no_negative_variance() -> None:
    """Even where gradients are large and hardly move."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Softplus())
    with torch.no_grad():
        model[0].weight.mul_(1e4)
    tunnel = attr.NoiseTunnel(attr.Saliency(model))
    spread = tunnel.attribute(torch.ones(2, 2), nt_type="vargrad", nt_samples=50, stdevs=1e-4)
    assert bool((spread >= 0).all())


def test_the_moments_of_a_tunnel_agree() -> None:
    """E[a²] = E[a]² + var[a], under one seed."""
    net, x = nets.smooth(), nets.images()
    found = {}
    for kind in ("smoothgrad", "smoothgrad_sq", "vargrad"):
        tunnel = attr.NoiseTunnel(attr.InputXGradient(net))
        generator = torch.Generator().manual_seed(2)
        found[kind] = tunnel.attribute(x, nt_type=kind, nt_samples=7, target=0, generator=generator)
    assert_same_scores(found["smoothgrad_sq"], found["smoothgrad"] ** 2 + found["vargrad"])


def test_errors_shrink_with_the_root_of_the_samples() -> None:
    net, x, background = nets.smooth(), nets.images(2), nets.images(10, seed=4)
    method = attr.GradientShap(net)
    _, few = method.attribute(x, background, n_samples=200, target=0, return_std=True)
    _, many = method.attribute(x, background, n_samples=3200, target=0, return_std=True)
    assert float(few.mean() / many.mean()) == pytest.approx(4, rel=0.2)


def test_a_tolerance_stops_the_sampling() -> None:
    """Draws come in blocks, so a block is what a tolerance saves."""
    net, x = nets.smooth(), nets.images(2)
    tunnel = attr.NoiseTunnel(attr.Saliency(net))
    loose, errors = tunnel.attribute(
        x, nt_samples=300, stdevs=0.1, target=0, tol=0.05, return_std=True
    )
    assert float(errors.max()) <= 0.05 * float(loose.max())
