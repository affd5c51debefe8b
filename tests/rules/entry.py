"""A row of the zoo: how to make a model and its inputs, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from laws.nets import reseed

Points = tuple[Tensor, ...]
Draw = Callable[[int, torch.Generator], Points]

# Parameters and buffers that are added to what passes by: without them f(0) = 0 on a linear net.
_CONSTANTS = ("bias", "running_mean", "position", "token")


@dataclass(frozen=True)
class Entry:
    """`make` draws from the global generator; `build` seeds it, and stirs what starts as 0 or 1.

    `conserves`: with its constants at zero, LRP keeps all of f(x). `linear`: the plain gradient is
    complete already. `close`: what completeness may miss in float64; more than 1e-10 only where a
    model computes in float32 inside.
    """

    name: str
    make: Callable[[], Any]
    draw: Draw
    why: str
    target: Any = 1
    rows: int = 3
    close: float = 1e-10
    conserves: bool = False
    linear: bool = False

    def build(self, dtype: torch.dtype = torch.float64, *, bias: bool = True) -> Any:
        with torch.random.fork_rng(devices=[]):
            reseed(7)
            model = self.make()
            if not isinstance(model, nn.Module):
                return model
            _stir(model)
        if not bias:
            _unbias(model)
        return model.eval().to(dtype)

    def points(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> Points:
        """The model's inputs, `rows` of them."""
        drawn = self.draw(self.rows, torch.Generator().manual_seed(seed))
        return tuple(x.to(dtype) if x.is_floating_point() else x for x in drawn)

    def read(self, output: Any) -> Tensor:
        """The explained number of each row, picked by hand."""
        if callable(self.target):
            return self.target(output)
        if isinstance(output, Mapping):
            output = next(iter(output.values()))
        elif isinstance(output, tuple):
            output = output[0]
        index = self.target if isinstance(self.target, tuple) else (self.target,)
        return output if self.target is None else output[(slice(None), *index)]

    def value(self, model: Any, points: Points) -> Tensor:
        """f(x), (N,), by a plain call of the model."""
        return self.read(model(*points))

    def __repr__(self) -> str:
        return self.name


def name_of(entry: Entry) -> str:
    return entry.name


def given(points: Points) -> Tensor | Points:
    """As a user hands them over: one tensor alone is no tuple."""
    return points[0] if len(points) == 1 else points


def _stir(model: nn.Module) -> None:
    """Scales that start at 1 and shifts that start at 0 would hide what rules do with them."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1 and "bias" in name:
                p.uniform_(-0.3, 0.3)
            elif p.ndim == 1:
                p.uniform_(0.5, 1.5)
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.uniform_(-0.3, 0.3)
            elif name.endswith("running_var"):
                b.uniform_(0.5, 1.5)


def _unbias(model: nn.Module) -> None:
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if any(word in name.rpartition(".")[2] for word in _CONSTANTS):
                tensor.zero_()


def normal(*shapes: tuple[int, ...]) -> Draw:
    """Inputs of these shapes behind the batch."""

    def draw(rows: int, generator: torch.Generator) -> Points:
        return tuple(
            torch.randn(rows, *shape, generator=generator, dtype=torch.float64) for shape in shapes
        )

    return draw


def positive(*shapes: tuple[int, ...]) -> Draw:
    """The same, between 0.2 and 2."""

    def draw(rows: int, generator: torch.Generator) -> Points:
        return tuple(
            0.2 + 1.8 * torch.rand(rows, *shape, generator=generator, dtype=torch.float64)
            for shape in shapes
        )

    return draw


def ids(*lengths: int, vocabulary: int = 20) -> Draw:
    """Token ids of these lengths."""

    def draw(rows: int, generator: torch.Generator) -> Points:
        return tuple(
            torch.randint(3, vocabulary, (rows, length), generator=generator) for length in lengths
        )

    return draw


class Between(nn.Module):
    """linear -> `act` -> linear, where `act` makes `out` features of `hidden` ones."""

    def __init__(self, act: Callable[[Tensor], Tensor], hidden: int = 6, out: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(4, hidden)
        self.act = act
        self.last = nn.Linear(out, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.first(x)))


class Over(nn.Module):
    """`stem` -> `act` -> flat -> linear, whatever shape comes out of `act`."""

    def __init__(
        self,
        stem: nn.Module | None,
        act: Callable[[Tensor], Tensor],
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.stem = nn.Identity() if stem is None else stem
        self.act = act
        self.eval()
        with torch.no_grad():
            size = self.act(self.stem(torch.rand(2, *shape))).flatten(1).shape[1]
        self.last = nn.Linear(size, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.stem(x)).flatten(1))


def rows_of(
    why: str,
    table: Mapping[str, Callable[[], Any]],
    draw: Draw,
    *,
    conserves: frozenset[str] | set[str] | bool = False,
    linear: frozenset[str] | set[str] = frozenset(),
    **more: Any,
) -> list[Entry]:
    """Entries that differ in the model alone; sets name those that conserve or are linear."""
    return [
        Entry(
            name,
            make,
            draw,
            why,
            conserves=conserves if isinstance(conserves, bool) else name in conserves,
            linear=name in linear,
            **more,
        )
        for name, make in table.items()
    ]
