"""Small models and inputs made of formulas, so that every machine and version builds the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def wave(*shape: int, start: float = 0.3, step: float = 0.7, size: float = 1.0) -> Tensor:
    """size · sin(start + step · i) in float64, for i = 0, 1, … in the given shape."""
    count = torch.Size(shape).numel()
    return size * (start + step * torch.arange(count, dtype=torch.float64)).sin().view(shape)


def filled(model: nn.Module) -> nn.Module:
    """The model in float64 and eval mode, its parameters waves of different lengths."""
    model.double().eval()
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(wave(*parameter.shape, start=0.2 + i, step=1.1 + 0.3 * i, size=0.8))
    return model


class ToyModel(nn.Module):
    """The model of the published package's quickstart."""

    def __init__(self) -> None:
        super().__init__()
        self.lin1 = nn.Linear(3, 3)
        self.relu = nn.ReLU()
        self.lin2 = nn.Linear(3, 2)
        self.lin1.weight = nn.Parameter(torch.arange(-4.0, 5.0).view(3, 3))
        self.lin1.bias = nn.Parameter(torch.zeros(1, 3))
        self.lin2.weight = nn.Parameter(torch.arange(-3.0, 3.0).view(2, 3))
        self.lin2.bias = nn.Parameter(torch.ones(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.relu(self.lin1(x)))


class Tabular(nn.Module):
    """(N, 4) to (N, 3), smooth: a skip connection around the second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.act = nn.Softplus()
        self.second = nn.Linear(5, 5)
        self.last = nn.Linear(5, 3)

    def forward(
        self, x: Tensor, scale: float | Tensor = 1.0, shift: Tensor | None = None
    ) -> Tensor:
        hidden = self.act(self.first(x))
        hidden = hidden + torch.tanh(self.second(hidden)) * scale
        return self.last(hidden) if shift is None else self.last(hidden * shift)


class Rows(nn.Module):
    """(N, 4) to (N, 3), with extra arguments that have a row per example."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor, gate: Tensor, power: int = 1) -> Tensor:
        return self.last(torch.sigmoid(self.first(x)) * gate) ** power


class Two(nn.Module):
    """(N, 3) and (N, 2, 2) to (N, 2), the two multiplied in between."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(3, 4)
        self.right = nn.Linear(4, 4)
        self.join = nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
        return self.join(torch.tanh(self.left(x)) * self.right(y.flatten(1)).exp() * scale)


class Image(nn.Module):
    """(N, 1, 6, 6) to (N, 3): two convolutions, ReLU and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, padding=1)
        self.conv2 = nn.Conv2d(2, 3, 3)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.conv1(x))
        return self.last(self.pool(torch.tanh(self.conv2(hidden))).flatten(1))


class Sequence(nn.Module):
    """(N, 4, 3) to (N, 4, 2): one output vector per position."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.last = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.mix(x.transpose(1, 2)).transpose(1, 2)) * x)


class Split(nn.Module):
    """A layer whose value is a tuple, and that takes two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 3)
        self.down = nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.up(x)) * y, self.down(x).exp()


class Pairs(nn.Module):
    """(N, 4) to (N, 3) through a tuple-valued layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.gate = nn.Linear(4, 1)
        self.split = Split()
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.split(torch.tanh(self.first(x)), self.gate(x))
        return self.last(torch.cat([left * left, right], 1))


class Embeddings(nn.Module):
    """Words and positions of a BERT in small."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.positions = nn.Embedding(6, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        return self.norm(self.words(ids) + self.positions(positions))


class Text(nn.Module):
    """(N, T) token ids to (N, 2): embeddings, one attention layer, the first position's answer."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.query = nn.Linear(4, 4)
        self.value = nn.Linear(4, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, ids: Tensor, positions: Tensor | None = None) -> Tensor:
        if positions is None:
            positions = torch.arange(ids.shape[1]).expand(ids.shape[:2])
        hidden = self.embeddings(ids, positions)
        weights = (self.query(hidden) @ hidden.transpose(1, 2)).softmax(-1)
        return self.last((weights @ torch.tanh(self.value(hidden)))[:, 0])


class Bag(nn.Module):
    """(N, T) token ids to (N, 2), the embedding at the top of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.last(torch.tanh(self.embedding(ids)).prod(1))


class Stages(nn.Module):
    """Modules alone: features one after another, flattened, and a head."""

    def __init__(self, features: list[nn.Module], head: list[nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.head = nn.Sequential(*head)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(1))


class Join(nn.Module):
    """(N, 3) and (N, 2) to (N, 2), modules alone: side by side, then one head."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 3)
        self.act1, self.act2, self.act3 = nn.ReLU(), nn.Tanh(), nn.ReLU()
        self.join, self.last = nn.Linear(7, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        both = torch.cat([self.act1(self.left(x)), self.act2(self.right(y))], 1)
        return self.last(self.act3(self.join(both)))


class Halves(nn.Module):
    """A layer whose value is a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.up(x), self.down(x)


class Branches(nn.Module):
    """(N, 4) to (N, 3) through a tuple-valued layer, modules alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act1, self.act2 = nn.Linear(4, 4), nn.Sigmoid(), nn.ReLU()
        self.split, self.last = Halves(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.split(self.act1(self.first(x)))
        return self.last(self.act2(torch.cat([left, right], 1)))


def tabular() -> Tensor:
    return wave(3, 4, start=0.1, step=0.9)


def image() -> Tensor:
    return wave(2, 1, 6, 6, start=0.4, step=1.3)


def two() -> tuple[Tensor, Tensor]:
    return wave(3, 3, start=0.5), wave(3, 2, 2, start=1.5, size=0.6)


def sequence() -> Tensor:
    return wave(2, 4, 3, start=0.8, step=1.7)


def ids() -> Tensor:
    return torch.tensor([[1, 4, 2, 8, 5], [7, 3, 3, 0, 6]])
