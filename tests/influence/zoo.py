"""Small models with every kind of layer that has parameters, and gradients one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from captum._engine.per_sample.source import Batch

EXAMPLES = 7


class Tied(nn.Module):
    """An embedding whose table is also the last layer, as in language models."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.inner = nn.Linear(6, 6)
        self.out = nn.Linear(6, 11, bias=False)
        self.out.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(torch.relu(self.inner(self.table(ids)))).mean(1)


class Attending(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=batch_first)
        self.out = nn.Linear(6, 4)
        self.turned = not batch_first

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1) if self.turned else x
        y = self.attention(x, x, x)[0]
        return self.out((y.transpose(0, 1) if self.turned else y).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(6, 5, batch_first=True)
        self.out = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cells(x)[0][:, -1])


class Bare(nn.Module):
    """Parameters without a module: scaled, added, subtracted, multiplied, and written over."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.randn(6)), nn.Parameter(torch.randn(1, 6))
        self.number, self.matrix = nn.Parameter(torch.randn(())), nn.Parameter(torch.randn(6, 4))
        self.bias = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        y = (x * self.scale + self.shift - self.number).relu_()
        return torch.addmm(self.bias, y, self.matrix) + 2 * (y @ self.matrix)


class Flattened(nn.Module):
    """Rows of all examples in one, with positions that every example shares."""

    def __init__(self) -> None:
        super().__init__()
        self.positions, self.out = nn.Embedding(5, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.positions(torch.arange(5))
        return self.out(y.reshape(-1, 6)).view(len(x), 5, 4).mean(1)


class Turned(nn.Module):
    """Examples in the second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.transpose(0, 1)).mean(0)


class Twice(nn.Module):
    """One layer used twice, and one not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out, self.idle = nn.Linear(6, 6), nn.Linear(6, 4), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.inner(torch.tanh(self.inner(x)))))


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair = nn.Bilinear(6, 6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.pair(x, torch.tanh(x))


def _flat(*layers: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 4))


def _rows(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(EXAMPLES, *shape)


def _ids(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randint(0, 11, (EXAMPLES, *shape))


Made = tuple[Callable[[], nn.Module], Callable[[], Tensor]]
ZOO: dict[str, Made] = {
    "mlp": (
        lambda: nn.Sequential(
            nn.Linear(6, 8), nn.ReLU(inplace=True), nn.LayerNorm(8), nn.Linear(8, 4)
        ),
        _rows(6),
    ),
    "conv1d, grouped": (
        lambda: _flat(
            nn.Conv1d(4, 6, 3, groups=2, stride=2, padding=1, dilation=2),
            nn.GroupNorm(3, 6),
            width=24,
        ),
        _rows(4, 9),
    ),
    "conv2d": (
        lambda: _flat(
            nn.Conv2d(3, 6, 3, padding="same"),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, groups=6, bias=False),
            nn.InstanceNorm2d(6, affine=True),
            nn.ReLU(),
            width=96,
        ),
        _rows(3, 6, 6),
    ),
    "conv2d, circular": (
        lambda: _flat(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), width=64),
        _rows(3, 4, 4),
    ),
    "conv3d": (
        lambda: _flat(nn.Conv3d(2, 4, (2, 3, 1), padding=(1, 0, 0)), width=180),
        _rows(2, 4, 5, 3),
    ),
    "transposed, prelu": (
        lambda: _flat(nn.ConvTranspose2d(3, 4, 3), nn.PReLU(), width=144),
        _rows(3, 4, 4),
    ),
    "rms norm": (lambda: nn.Sequential(nn.Linear(6, 4), nn.RMSNorm(4)), _rows(6)),
    "bilinear": (Bilinear, _rows(6)),
    "embedding": (
        lambda: _flat(nn.Embedding(11, 6, padding_idx=0), width=30),
        _ids(5),
    ),
    "bag": (lambda: nn.Sequential(nn.EmbeddingBag(11, 6), nn.Linear(6, 4)), _ids(5)),
    "tied": (Tied, _ids(5)),
    "attention": (lambda: Attending(True), _rows(5, 6)),
    "attention, turned": (lambda: Attending(False), _rows(5, 6)),
    "attention, turned and square": (lambda: Attending(False), _rows(EXAMPLES, 6)),
    "transformer layer": (
        lambda: _flat(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), width=30),
        _rows(5, 6),
    ),
    "lstm": (Recurrent, _rows(5, 6)),
    "bare": (Bare, _rows(6)),
    "flattened": (Flattened, _rows(5, 6)),
    "turned": (Turned, _rows(5, 6)),
    "turned and square": (Turned, _rows(EXAMPLES, 6)),
    "twice": (Twice, _rows(6)),
    "weight norm": (
        lambda: nn.Sequential(weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 4)),
        _rows(6),
    ),
}


def entry(name: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Batch]:
    """A model of the zoo in eval mode, and a batch with labels."""
    torch.manual_seed(seed)
    make, rows = ZOO[name]
    model = make().to(dtype).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p))
    x = rows()
    x = x.to(dtype) if x.is_floating_point() else x
    outputs = model(x).shape[1]
    return model, Batch((x,), {}, torch.randint(0, outputs, (EXAMPLES,)))


def one_by_one(
    model: nn.Module, loss: Callable[[Any, Any], Tensor], batch: Batch, names: Any = None
) -> Tensor:
    """∇ℓ of every example alone, by autograd, (N, P)."""
    chosen = [p for name, p in model.named_parameters() if names is None or name in names]
    rows = []
    for i in range(len(batch)):
        one = batch.narrow(i, 1)
        total = loss(model(*one.args, **one.kwargs), one.targets).sum()
        made = torch.autograd.grad(total, chosen, allow_unused=True)
        pairs = zip(made, chosen, strict=True)
        rows.append(torch.cat([(p * 0 if g is None else g).flatten() for g, p in pairs]))
    return torch.stack(rows).detach()
