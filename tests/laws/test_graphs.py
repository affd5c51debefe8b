"""Results hold no graph, unless they are asked to: then it is the right one."""

import pytest
import torch
from torch import Tensor

from captum._engine.nest import scored
from laws import nets
from laws.compare import every
from laws.methods import Method, keeping, name_of

_DIFFERENTIABLE = keeping(lambda m: "create_graph" in m.accepts(nets.smooth()))
_STEP = 1e-5


@pytest.mark.parametrize("method", keeping(lambda m: True), ids=name_of)
def test_scores_hold_no_graph(method: Method) -> None:
    """Also where the inputs require gradients themselves."""
    net = method.net()
    for x in (nets.images(), nets.images().requires_grad_(), nets.images().requires_grad_() * 1):
        found = method.scores(net, x)
        assert every(found, lambda s: not s.requires_grad and s.grad_fn is None)


@pytest.mark.parametrize(
    "method", keeping(lambda m: "return_convergence_delta" in m.accepts(nets.smooth())), ids=name_of
)
def test_deltas_hold_no_graph(method: Method) -> None:
    x = nets.images().requires_grad_()
    _, delta = method.scores(method.net(), x, return_convergence_delta=True)
    assert every(delta, lambda d: not d.requires_grad)


def loss(method: Method, net: nets.Net, x: Tensor) -> Tensor:
    """Some number made of all scores; random draws are the same each time."""
    nets.reseed()
    more = {"n_steps": 8} if "auto" in method.name else {}
    scores = scored(method.scores(net, x, create_graph=True, **more))
    weights = [torch.linspace(-1, 2, s.numel(), dtype=s.dtype).view(s.shape) for s in scores]
    return torch.stack([(s * w).sum() for s, w in zip(scores, weights, strict=True)]).sum()


@pytest.mark.parametrize("method", _DIFFERENTIABLE, ids=name_of)
def test_scores_can_be_trained_on(method: Method) -> None:
    """Their gradient with respect to the parameters is that of finite differences."""
    net, x = method.net(), nets.images(2)
    grads = torch.autograd.grad(loss(method, net, x), list(net.parameters()), allow_unused=True)
    ways = [torch.randn_like(p) for p in net.parameters()]
    slope = sum(float((g * w).sum()) for g, w in zip(grads, ways, strict=True) if g is not None)
    sides = []
    for sign in (1, -1):
        moved = method.net()
        with torch.no_grad():
            for p, w in zip(moved.parameters(), ways, strict=True):
                p.add_(w, alpha=sign * _STEP)
        sides.append(float(loss(method, moved, x).detach()))
    assert slope != 0
    assert slope == pytest.approx((sides[0] - sides[1]) / (2 * _STEP), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("method", _DIFFERENTIABLE, ids=name_of)
def test_scores_can_be_differentiated_by_the_inputs(method: Method) -> None:
    """For those who look for inputs with given scores."""
    net, x = method.net(), nets.images(2).requires_grad_()
    (grad,) = torch.autograd.grad(loss(method, net, x), x)
    way = torch.randn_like(x)
    sides = [float(loss(method, net, (x + s * _STEP * way).detach()).detach()) for s in (1, -1)]
    slope = float((grad * way).sum())
    assert slope == pytest.approx((sides[0] - sides[1]) / (2 * _STEP), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("method", _DIFFERENTIABLE, ids=name_of)
def test_asking_for_a_graph_changes_no_score(method: Method) -> None:
    net, x = method.net(), nets.images()
    nets.reseed()
    plain = scored(method.scores(net, x))
    nets.reseed()
    graphed = scored(method.scores(net, x, create_graph=True))
    for a, b in zip(plain, graphed, strict=True):
        torch.testing.assert_close(a, b.detach(), atol=1e-12, rtol=1e-12)
        assert b.requires_grad
