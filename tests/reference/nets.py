"""Models in three parts, below a layer, the layer and above it, that twins call by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

ACTS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "square": lambda v: v * v / 4,
    "softplus": nn.functional.softplus,
    "relu": torch.relu,
}


class Net(nn.Module):
    """(N, *F) to (N, C): above(layer(below(x)), x), the x in `above` a skip connection."""

    def __init__(self, features: tuple[int, ...], hidden: int, outputs: int, act: str) -> None:
        super().__init__()
        self.act = ACTS[act]
        self.first = nn.Linear(torch.Size(features).numel(), 3)
        self.layer = nn.Linear(3, hidden)
        self.last = nn.Linear(hidden, outputs)
        self.skip = nn.Linear(torch.Size(features).numel(), outputs)

    def below(self, x: Tensor) -> Tensor:
        return self.act(self.first(x.flatten(1)))

    def above(self, y: Tensor, x: Tensor) -> Tensor:
        return self.last(self.act(y)) * (1 + torch.sigmoid(self.skip(x.flatten(1))))

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.layer(self.below(x)), x)


class Picture(nn.Module):
    """(N, 1, *S) to (N, C), S one- or two-dimensional."""

    def __init__(self, size: tuple[int, ...], channels: int, outputs: int) -> None:
        super().__init__()
        kind = {1: nn.Conv1d, 2: nn.Conv2d}[len(size)]
        self.layer = kind(1, channels, 2)
        self.last = nn.Linear(channels * torch.Size([n - 1 for n in size]).numel(), outputs)

    def below(self, x: Tensor) -> Tensor:
        return x.sin()

    def above(self, y: Tensor, x: Tensor) -> Tensor:
        return self.last(torch.tanh(y).flatten(1)) ** 2

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.layer(self.below(x)), x)


@dataclass(frozen=True)
class Problem:
    """A model, inputs, baselines and a target for each example."""

    net: Net | Picture
    x: Tensor
    x0: Tensor
    targets: list[int]
    seed: int

    @property
    def generator(self) -> torch.Generator:
        """The same draws each time it is asked for."""
        return torch.Generator().manual_seed(self.seed)

    def f(self, i: int) -> Callable[[Tensor], Tensor]:
        """What is explained of example i."""
        return lambda v: self.net(v)[:, self.targets[i]]

    def rest(self, i: int, side: str = "output") -> Callable[[Tensor, Tensor], Tensor]:
        """The same from the layer's value on; from its input on for the other side."""
        if side == "output":
            return lambda y, x: self.net.above(y, x)[:, self.targets[i]]
        return lambda v, x: self.net.above(self.net.layer(v), x)[:, self.targets[i]]

    def y(self, side: str = "output") -> Callable[[Tensor], Tensor]:
        """The layer's value."""
        if side == "output":
            return lambda x: self.net.layer(self.net.below(x))
        return self.net.below

    def each(self, twin: Callable[[int, Tensor, Tensor], Tensor]) -> Tensor:
        """A twin over the examples: of (i, xᵢ, x₀ᵢ), both (1, *F)."""
        n = range(len(self.x))
        return torch.cat([twin(i, self.x[i : i + 1], self.x0[i : i + 1]) for i in n]).detach()


def _drawn(net: Net | Picture, shape: tuple[int, ...], outputs: int, seed: int) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    net.double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    x, x0 = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    targets = torch.randint(outputs, shape[:1], generator=generator).tolist()
    return Problem(net, x, x0, targets, seed)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    features = draw(st.sampled_from([(1,), (3,), (2, 2)]))
    hidden, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    net = Net(features, hidden, outputs, draw(st.sampled_from(sorted(ACTS))))
    return _drawn(net, (draw(st.integers(1, 3)), *features), outputs, draw(st.integers(0, 9999)))


@st.composite
def pictures(draw: st.DrawFn) -> Problem:
    size = draw(st.sampled_from([(4,), (3, 3), (4, 2)]))
    outputs = draw(st.integers(1, 3))
    net = Picture(size, draw(st.integers(1, 3)), outputs)
    return _drawn(net, (draw(st.integers(1, 3)), 1, *size), outputs, draw(st.integers(0, 9999)))
