"""The nets that laws are tried on: two branches, a layer everything passes through, a neuron.

Sizes are tiny and everything is float64, so that a law that is exact can be asked exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE = (2, 4, 4)


def reseed(seed: int = 3) -> None:
    """As torch.manual_seed, for the CPU alone: for absent devices that notes a stack each time."""
    torch.default_generator.manual_seed(seed)


class Net(nn.Module):
    """x -> act(left(x)) + act(right(x)) -> layer -> act -> neuron -> act -> head.

    `layer`, and `left` with `right`, are full cuts: all of x's influence passes through them.
    `in_place` makes each activation overwrite its layer's value.
    """

    def __init__(self, act: Callable[[Tensor], Tensor] = F.softplus, bias: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng():
            reseed(7)
            self.left = nn.Conv2d(2, 3, 2, bias=bias)
            self.right = nn.Conv2d(2, 3, 2, bias=bias)
            self.layer = nn.Conv2d(3, 3, 2, bias=bias)
            self.neuron = nn.Linear(12, 4, bias=bias)
            self.head = nn.Linear(4, 3, bias=bias)
            for p in self.parameters():
                # Away from zero and of both signs, so that no law holds by accident.
                nn.init.uniform_(p, 0.2, 0.8)
                p.data.mul_(torch.randn_like(p).sign())
        self.act = act
        self.double()

    @property
    def layers(self) -> list[nn.Module]:
        return [self.left, self.right]

    def forward(self, x: Tensor) -> Tensor:
        joined = self.act(self.left(x)) + self.act(self.right(x))
        deep = self.neuron(self.act(self.layer(joined)).flatten(1))
        out: Tensor = self.head(self.act(deep))
        return out


def smooth() -> Net:
    """Infinitely differentiable: quadratures converge fast."""
    return Net()


def linear() -> Net:
    """Linear and without bias, so f(x) is exactly the sum of its parts."""
    return Net(act=lambda x: x, bias=False)


def kinked(in_place: bool = False) -> Net:
    """Piecewise linear; the activations overwrite the layers' values where asked."""
    return Net(act=lambda x: F.relu(x, inplace=in_place))


def deaf(act: Callable[[Tensor], Tensor] = F.softplus) -> Net:
    """Nothing depends on channel 1: not of the inputs, not of any layer."""
    net = Net(act)
    with torch.no_grad():
        for conv in (net.left, net.right, net.layer):
            conv.weight[:, 1] = 0
        net.neuron.weight.view(4, 3, 4)[:, 1] = 0
    return net


def twins(act: Callable[[Tensor], Tensor] = F.softplus) -> Net:
    """Channels 0 and 1 are interchangeable everywhere: in the inputs and in every layer."""
    net = Net(act)
    with torch.no_grad():
        for conv in (net.left, net.right, net.layer):
            conv.weight[:, 1] = conv.weight[:, 0]
            conv.weight[1] = conv.weight[0]
            conv.bias[1] = conv.bias[0]
        each = net.neuron.weight.view(4, 3, 4)
        each[:, 1] = each[:, 0]
    return net


def images(n: int = 3, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *IMAGE, generator=generator, dtype=torch.float64)
