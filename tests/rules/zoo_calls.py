"""Ways in which models are put together and called, whatever they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from rules.entry import Entry, ids, normal, positive, rows_of


class Forward(nn.Module):
    """Children called by their `forward`, past all hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last.forward(self.act.forward(self.first.forward(x)))


class Raw(nn.Module):
    """No modules: parameters, `@` and functions."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ParameterList([torch.randn(4, 5), torch.randn(3, 5)])
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.w[0]) @ self.w[1].T + self.bias


class Tied(nn.Module):
    """One matrix goes in and comes out, as in language models."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 4)
        self.mix, self.head = nn.Linear(4, 4), nn.Linear(4, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embed(tokens)
        return self.head(h.mean(1) + F.gelu(self.mix(h)).sum(1))


class Soft(nn.Module):
    """Words as distributions over a vocabulary, looked up by a product with the table."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.last = nn.Embedding(6, 4), nn.Linear(4, 3)

    def forward(self, p: Tensor) -> Tensor:
        return self.last((p @ self.embed.weight).relu().sum(1))


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.last = nn.Embedding(20, 4), nn.Linear(4, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.last(self.embed(tokens).mean(1).tanh())


class Pair(nn.Module):
    """Two inputs of unlike shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Linear(4, 5), nn.Conv1d(2, 5, 2), nn.Linear(5, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.last(F.silu(self.a(x)) * F.relu(self.b(y)).amax(2) + self.a(x))


class Siamese(nn.Module):
    """One branch for both inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Softplus())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cosine_similarity(self.branch(x), self.branch(y))


class Named(nn.Module):
    """A dict comes out; `pick` says how."""

    def __init__(self, pick: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.first, self.last, self.pick = nn.Linear(4, 5), nn.Linear(5, 3), pick

    def forward(self, x: Tensor) -> Any:
        return self.pick(self.last(torch.relu(self.first(x))))


def _second(output: dict[str, Tensor]) -> Tensor:
    return output["logits"][:, 2] * output["other"][:, 0]


class Checkpointed(nn.Module):
    """Parts of the graph are computed again in the backward pass."""

    def __init__(self, sequential: bool = False) -> None:
        super().__init__()
        self.sequential = sequential
        self.layers = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 5), nn.ReLU())
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.sequential:
            h = checkpoint_sequential(self.layers, 2, x, use_reentrant=False)
        else:
            h = checkpoint(self.gated, x, use_reentrant=False)
        return self.last(h)

    def gated(self, x: Tensor) -> Tensor:
        return self.layers(x) * x.sum(1, keepdim=True)


def _net(change: Callable[[nn.Linear], nn.Module] = lambda layer: layer) -> nn.Module:
    return nn.Sequential(change(nn.Linear(4, 5)), nn.SiLU(), change(nn.Linear(5, 3)))


class _Positive(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return F.softplus(w)


def _positive(layer: nn.Linear) -> nn.Module:
    return parametrize.register_parametrization(layer, "weight", _Positive())


def _frozen() -> nn.Module:
    return _net().requires_grad_(False)


class Mixed(nn.Module):
    """Everything a forward may do besides: branches by shape, dropout, buffers, keyword calls."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"a": nn.Linear(4, 5), "b": nn.Linear(5, 3)})
        self.drop = nn.Dropout(0.5)
        self.register_buffer("shift", torch.ones(5))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2 and x.shape[-1] == 4 and not self.training and x.is_floating_point():
            h = F.linear(input=x, weight=self.layers["a"].weight, bias=self.layers["a"].bias)
        else:
            raise AssertionError(x.shape)
        h = torch.add(input=h, other=self.shift, alpha=-0.5)
        h = nn.functional.leaky_relu(self.drop(h), negative_slope=0.1)
        return self.layers["b"](torch.mul(input=h, other=F.alpha_dropout(h, 0.5)))


def _under_modes(x: Tensor) -> Tensor:
    with torch.no_grad():
        scale = torch.ones(3, dtype=x.dtype).exp()
    with torch.enable_grad(), torch.device("cpu"):
        h = torch.ones(4, dtype=x.dtype) * x
    return (h.relu() * 2)[:, :3] * scale


def _complex(x: Tensor) -> Tensor:
    """Through the frequencies and back, where a filter is applied: linear, then a ReLU."""
    spectrum = torch.fft.rfft(x, dim=1)
    return torch.fft.irfft(spectrum * torch.tensor([1.0, 0.5, 0.1]), n=4, dim=1).relu()


CALLS: list[Entry] = [
    Entry("a function", lambda: lambda x: F.relu(x - 0.1).cumsum(1), normal((4,)), "no module"),
    Entry(
        "one number per row",
        lambda: lambda x: (x[:, 0] * x[:, 1]).exp() - x[:, 2:].norm(dim=1),
        normal((4,)),
        "a function without a target",
        target=None,
    ),
    Entry("of positive inputs", lambda: lambda x: x.log() * x.sqrt(), positive((4,)), "a function"),
    Entry("under modes", lambda: _under_modes, normal((4,)), "no_grad beside, a device"),
    Entry("through rfft", lambda: _complex, normal((4,)), "complex numbers on the way"),
    Entry("children by forward", Forward, normal((4,)), "past hooks", conserves=True),
    Entry("bare parameters", Raw, normal((4,)), "no modules inside", conserves=True),
    Entry("frozen", _frozen, normal((4,)), "no parameter asks for a gradient"),
    Entry("keywords, dropout", Mixed, normal((4,)), "calls by keyword, branches, dropout in eval"),
    Entry("bag of words", Bag, ids(5), "ids"),
    Entry("tied weights", Tied, ids(5), "one matrix as embedding and head"),
    Entry("soft words", Soft, normal((3, 6)), "an embedding by product", conserves=True),
    Entry("two inputs", Pair, normal((4,), (2, 5)), "inputs of unlike shapes"),
    Entry("siamese", Siamese, normal((4,), (4,)), "a module called once per input", target=None),
    *rows_of(
        "an output that holds the tensor",
        {
            "a dict": lambda: Named(lambda y: {"logits": y, "other": y.tanh()}),
            "a tuple": lambda: Named(lambda y: (y, y.tanh())),
        },
        normal((4,)),
    ),
    Entry(
        "a dict, read by a function",
        lambda: Named(lambda y: {"logits": y, "other": y.tanh()}),
        normal((4,)),
        "the target is a function of the whole output",
        target=_second,
    ),
    *rows_of(
        "non-reentrant checkpointing",
        {"checkpoint": Checkpointed, "checkpoint_sequential": lambda: Checkpointed(True)},
        normal((4,)),
    ),
    *rows_of(
        "weights that are computed",
        {
            "weight norm": lambda: _net(parametrizations.weight_norm),
            "spectral norm": lambda: _net(parametrizations.spectral_norm),
            "orthogonal": lambda: _net(parametrizations.orthogonal),
            "own parametrisation": lambda: _net(_positive),
        },
        normal((4,)),
    ),
]
