"""Every form of a target means what it says, and several in one run are as one by one."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from captum import attr
from captum._engine.nest import scored
from laws import nets
from laws.compare import assert_same_scores, each
from laws.methods import Method, keeping, name_of

_TARGETED = keeping(lambda m: m.asks == "target")
_DELTA = "return_convergence_delta"

# Each means output 2 of 3 for all of 3 examples.
_SAME = {
    "numpy int": np.int64(2),
    "negative": -1,
    "tuple": (2,),
    "list": [2, 2, 2],
    "list of tuples": [(2,), (2,), (2,)],
    "one number in a tensor": torch.tensor(2),
    "one number in a vector": torch.tensor([2]),
    "tensor": torch.tensor([2, 2, 2]),
    "column": torch.tensor([[2], [2], [2]]),
    "numpy array": np.array([2, 2, 2]),
    "slice": slice(2, 3),
    "open slice": slice(2, None),
    "mask": torch.tensor([False, False, True]),
    "function": lambda out: out[:, 2],
}


def seeded(method: Method, *args: Any, **more: Any) -> Any:
    nets.reseed()
    return method.scores(*args, **more)


@pytest.mark.parametrize("method", _TARGETED, ids=name_of)
def test_every_form_of_a_target(method: Method) -> None:
    net, x = method.net(), nets.images(3)
    wanted = seeded(method, net, x, 2)
    for target in _SAME.values():
        assert_same_scores(seeded(method, net, x, target), wanted, 1e-12)


@pytest.mark.parametrize("method", keeping(lambda m: m.asks == "target" and m.linear), ids=name_of)
def test_what_a_target_selects_is_summed(method: Method) -> None:
    net, x = method.net(), nets.images(3)
    wanted = seeded(method, net, x, lambda out: out[:, 0] + out[:, 1])
    for target in (slice(0, 2), torch.tensor([True, True, False])):
        assert_same_scores(seeded(method, net, x, target), wanted, 1e-12)


class Deep(nn.Module):
    """Its outputs per example have two dimensions, (2, 3)."""

    def __init__(self, net: nets.Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        out = self.net(x)
        return torch.stack([out, 2 * out], 1)


@pytest.mark.parametrize("method", _TARGETED, ids=name_of)
def test_targets_of_deeper_outputs(method: Method) -> None:
    net, x = method.net(), nets.images(2)
    deep = Deep(net)
    wanted = seeded(method, net, x, lambda out: 2 * out[:, 1])
    per_example = [(1, 1), (1, 1)]
    for target in ((1, 1), per_example, torch.tensor(per_example)):
        assert_same_scores(seeded(method, deep, x, target, places=net), wanted, 1e-12)


@pytest.mark.parametrize("method", _TARGETED, ids=name_of)
def test_several_targets_are_as_one_by_one(method: Method) -> None:
    net, x = method.net(), nets.images(3)
    several = (0, [2, 0, 1], slice(1, 3), lambda out: out[:, 0] * out[:, 1])
    more = {"n_steps": 20} if "auto" in method.name else {}
    together = seeded(method, net, x, attr.Targets(*several), **more)
    assert isinstance(together, list)
    for got, target in zip(together, several, strict=True):
        alone = seeded(method, net, x, target, **more)
        assert_same_scores(got, alone, max(1e-12, method.rounds))


@pytest.mark.parametrize(
    "method", [m for m in _TARGETED if _DELTA in m.accepts(nets.smooth())], ids=name_of
)
def test_the_deltas_of_several_targets(method: Method) -> None:
    net, x, ask = method.net(), nets.images(3), {_DELTA: True}
    if "auto" in method.name:
        ask["n_steps"] = 20
    _, deltas = seeded(method, net, x, attr.Targets(0, 2), **ask)
    alone = [scored(seeded(method, net, x, target, **ask)[1]) for target in (0, 2)]
    for got, wanted in zip(scored(deltas), zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(got, torch.stack(wanted), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    "method", keeping(lambda m: m.asks in ("neuron_selector", "of")), ids=name_of
)
@each("selector", [(1,), np.int64(1), -3, slice(1, 2), lambda v: v[:, 1]])
def test_every_form_of_a_neuron_selector(method: Method, selector: Any) -> None:
    net, x = method.net(), nets.images(3)
    wanted = seeded(method, net, x, 1)
    assert_same_scores(seeded(method, net, x, selector), wanted, 1e-12)


def test_a_neuron_of_a_deeper_layer() -> None:
    net, x = nets.smooth(), nets.images(3)
    picked = attr.NeuronGradient(net, net.layer).attribute(x, (2, 0, 1))
    wanted = attr.NeuronGradient(net, net.layer).attribute(x, lambda v: v[:, 2, 0, 1])
    assert_same_scores(picked, wanted)
    summed = attr.NeuronGradient(net, net.layer).attribute(x, (2, slice(None), 1))
    wanted = attr.NeuronGradient(net, net.layer).attribute(x, lambda v: v[:, 2, :, 1].sum(1))
    assert_same_scores(summed, wanted)


def test_targets_share_their_forwards() -> None:
    net, x, runs = nets.smooth(), nets.images(3), []
    handle = net.register_forward_hook(lambda *_: runs.append(1))
    attr.IntegratedGradients(net).attribute(x, target=0)
    alone = len(runs)
    attr.IntegratedGradients(net).attribute(x, target=attr.Targets(0, 1, 2))
    handle.remove()
    assert len(runs) == 2 * alone
