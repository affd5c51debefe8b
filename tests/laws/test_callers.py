"""The caller's world: modes, gradients in flight, frozen weights; nothing of it is disturbed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from laws import nets
from laws.compare import assert_same_scores, each, every
from laws.methods import METHODS, Method, keeping, name_of
from laws.unchanged import unchanged

_MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "enable_grad": torch.enable_grad,
}


def seeded(method: Method, net: Any, x: Any, **more: Any) -> Any:
    nets.reseed()
    return method.scores(net, x, **more)


@pytest.mark.parametrize("method", METHODS, ids=name_of)
@each("mode", _MODES)
def test_the_callers_mode_does_not_matter(method: Method, mode: str) -> None:
    net, x = method.net(), nets.images()
    wanted = seeded(method, net, x)
    with _MODES[mode]():
        found = seeded(method, net, x)
    assert_same_scores(found, wanted, 1e-12)


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_inputs_made_in_inference_mode(method: Method) -> None:
    net = method.net()
    wanted = seeded(method, net, nets.images())
    with torch.inference_mode():
        x = nets.images() * 1
        inside = seeded(method, net, x)
    assert x.is_inference()
    assert_same_scores(inside, wanted, 1e-12)
    assert_same_scores(seeded(method, net, x), wanted, 1e-12)


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_scores_made_in_inference_mode_are_ordinary_tensors(method: Method) -> None:
    """Or at least usable ones: they can be computed with inside and, copied, outside."""
    net, x = method.net(), nets.images()
    with torch.inference_mode():
        found = method.scores(net, x)
    assert every(found, lambda s: bool((s.clone() + 1).isfinite().all()))


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_gradients_in_flight_are_left_alone(method: Method) -> None:
    """A training loop may explain between backward and step; `scores` compares every .grad."""
    net, x = method.net(), nets.images().requires_grad_()
    wanted = seeded(method, net, x.detach())
    net(x).sum().backward()
    assert x.grad is not None
    assert_same_scores(seeded(method, net, x), wanted, 1e-14)


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_inputs_in_the_middle_of_a_graph(method: Method) -> None:
    """What made the inputs is not run through, nor freed."""
    net, leaf = method.net(), nets.images().requires_grad_()
    x = leaf * 1
    assert_same_scores(seeded(method, net, x), seeded(method, net, x.detach()), 1e-14)
    x.sum().backward()
    assert leaf.grad is not None
    assert bool((leaf.grad == 1).all())


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_frozen_parameters(method: Method) -> None:
    net, x = method.net(), nets.images()
    wanted = seeded(method, net, x)
    net.requires_grad_(False)
    assert_same_scores(seeded(method, net, x), wanted, 1e-14)


@pytest.mark.parametrize("method", METHODS, ids=name_of)
@each("training", [True, False])
def test_training_flags_stay(method: Method, training: bool) -> None:
    """Each module's own: here one of them disagrees with the rest."""
    net = method.net().train(training)
    net.left.train(not training)
    method.scores(net, nets.images())
    assert net.training is training
    assert net.left.training is not training


class OwnError(Exception):
    """The model's, which reaches the caller as it is."""


class Failing(nn.Module):
    """In the place of a module, raises the `run`-th time it is reached."""

    def __init__(self, module: nn.Module, run: int) -> None:
        super().__init__()
        self.module = module
        self.left = [run]

    def forward(self, x: Tensor) -> Tensor:
        self.left[0] -= 1
        if self.left[0] == 0:
            raise OwnError
        out: Tensor = self.module(x)
        return out


@pytest.mark.parametrize("method", METHODS, ids=name_of)
@each("place, run", [(p, r) for p in ("left", "head") for r in (1, 2)])
def test_nothing_is_left_behind_by_a_model_that_raises(
    method: Method, where: tuple[str, int]
) -> None:
    """Before the layer that is explained or behind it, in the first pass or a later one."""
    place, run = where
    net, x = method.net(), nets.images()
    small = dict.fromkeys(method.sizes(net), 1)
    failing = Failing(getattr(net, place), run)
    setattr(net, place, failing)
    with unchanged(net, x, rng=False):
        try:
            method.scores(net, x, **small)
        except OwnError:
            assert failing.left[0] == 0
        else:  # there are methods of one pass, and such as end it at their layer
            assert failing.left[0] > 0
    assert failing.left[0] == 0 or place == "head" or run == 2


class Interrupting(nn.Module):
    """Ctrl-C in the middle of a layer."""

    def forward(self, x: Tensor) -> Tensor:
        raise KeyboardInterrupt


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_nothing_is_left_behind_by_an_interrupt(method: Method) -> None:
    net, x = method.net(), nets.images()
    net.layer.add_module("stop", Interrupting())
    net.layer.register_forward_pre_hook(lambda module, args: module.stop(args[0]))
    with unchanged(net, x, rng=False), pytest.raises(KeyboardInterrupt):
        method.scores(net, x)


@pytest.mark.parametrize("make", [nets.smooth, nets.kinked])
def test_the_users_own_hooks_still_run(make: Callable[[], nets.Net]) -> None:
    net, x = make(), nets.images()
    runs: list[str] = []
    net.layer.register_forward_pre_hook(lambda *_: runs.append("before"))
    net.layer.register_forward_hook(lambda *_: runs.append("after"))
    for method in keeping(lambda m: m.suits(net)):
        runs.clear()
        method.scores(net, x)
        assert "before" in runs, method.name
