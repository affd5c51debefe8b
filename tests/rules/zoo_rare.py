"""Models at the edge: they must be complete, or say by name why not.

RARE: operations a rule may lack. CUT: the gradient is stopped, or a choice is made, on the way.
REFUSED: what rules cannot see into, or must not be run on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rules.entry import Between, Entry, Over, normal

TOKENS = (3, 4)
Act = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Told:
    """A model, and what the warning or the error about it must match."""

    entry: Entry
    words: str

    def __repr__(self) -> str:
        return self.entry.name


def _over(name: str, act: Act, words: str, why: str) -> Told:
    return Told(
        Entry(name, lambda: Over(nn.Linear(4, 4), act, TOKENS), normal(TOKENS), why, rows=2), words
    )


def own_gradient(h: Tensor) -> Tensor:
    """As force fields do it: the model differentiates inside."""
    with torch.enable_grad():
        y = h if h.requires_grad else h.detach().requires_grad_()
        (force,) = torch.autograd.grad((y**3).sum(), y, create_graph=True)
    return force


# The name, the operation, and what a message about it calls it (whatever the case).
_RARE: dict[str, tuple[Act, str]] = {
    "prod": (lambda h: h.prod(-1), "prod"),
    "cumprod": (lambda h: h.cumprod(-1), "cumprod"),
    "logcumsumexp": (lambda h: h.logcumsumexp(-1), "logcumsumexp"),
    "cummax": (lambda h: h.cummax(-1).values, "cummax"),
    "sort": (lambda h: h.sort(-1).values, "sort"),
    "topk": (lambda h: h.topk(2, -1).values, "topk"),
    "kthvalue": (lambda h: h.kthvalue(2, -1).values, "kthvalue"),
    "median": (lambda h: h.median(-1).values, "median"),
    "quantile": (lambda h: h.quantile(0.3, dim=-1), "quantile|sort|lerp"),
    "cdist": (lambda h: torch.cdist(h, h.sin() + 2), "cdist|euclidean"),
    "pairwise_distance": (lambda h: F.pairwise_distance(h, h.sin()), "distance|norm"),
    "determinant": (lambda h: (h @ h.mT + torch.eye(3)).det()[:, None], "det"),
    "inverse": (lambda h: torch.linalg.inv(h @ h.mT + 3 * torch.eye(3)), "inv"),
    "solve": (lambda h: torch.linalg.solve(h @ h.mT + 3 * torch.eye(3), h), "solve"),
    "cholesky": (lambda h: torch.linalg.cholesky(h @ h.mT + 3 * torch.eye(3)), "cholesky"),
    "complex abs": (lambda h: torch.fft.rfft(h, dim=1).abs(), "abs|complex"),
    "complex product": (lambda h: torch.fft.irfft(torch.fft.rfft(h) ** 2), "pow|mul|complex"),
    "atan2": (lambda h: torch.atan2(h, h.sin() + 2), "atan2"),
    "hypot": (lambda h: torch.hypot(h, h.sin() + 1), "hypot"),
    "logaddexp": (lambda h: torch.logaddexp(h, h.sin()), "logaddexp"),
    "xlogy": (lambda h: torch.xlogy(h, h * h + 1), "xlogy"),
    "remainder": (lambda h: torch.remainder(h, 0.3), "remainder"),
    "fmod": (lambda h: torch.fmod(h, 0.3), "fmod"),
    "frac": (lambda h: (3 * h).frac(), "frac"),
    "round": (lambda h: (3 * h).round() + h, "round"),
    "floor": (lambda h: (3 * h).floor() * h, "floor"),
    "sign": (lambda h: h.sign() * h.exp(), "sign"),
    "tan": (lambda h: (h.tanh() / 2).tan(), "tan"),
    "asin": (lambda h: (h.tanh() / 2).asin(), "asin"),
    "acos": (lambda h: (h.tanh() / 2).acos(), "acos"),
    "atanh": (lambda h: (h.tanh() / 2).atanh(), "atanh"),
    "acosh": (lambda h: (h.exp() + 1.1).acosh(), "acosh"),
    "erfinv": (lambda h: (h.tanh() / 2).erfinv(), "erfinv"),
    "lgamma": (lambda h: (h.exp() + 0.5).lgamma(), "lgamma"),
    "digamma": (lambda h: (h.exp() + 0.5).digamma(), "digamma"),
    "i0": (torch.i0, "i0"),
    "sinc": (torch.sinc, "sinc"),
    "copysign": (lambda h: torch.copysign(h.exp(), h), "copysign"),
    "nan_to_num": (lambda h: h.log().nan_to_num(-1.0), "nan"),
    "einsum of three": (
        lambda h: torch.einsum("nij,nij,nij->ni", h, h.sin(), h.exp()),
        "einsum|product|operand|mul|bmm",
    ),
    "multi_dot": (
        lambda h: torch.stack([torch.linalg.multi_dot([g, g.T.sin(), g]) for g in h]),
        "multi_dot|mm",
    ),
    "matrix power": (lambda h: torch.matrix_power(h @ h.mT / 4, 3), "matrix_power|bmm|mm"),
    "grid_sample, live grid": (
        lambda h: F.grid_sample(
            torch.arange(16, dtype=h.dtype).view(1, 1, 4, 4).expand(len(h), 1, 4, 4),
            h.view(len(h), 3, 2, 2).tanh(),
            align_corners=False,
        ),
        "grid_sample",
    ),
    "scatter_reduce": (
        lambda h: torch.zeros_like(h).scatter_reduce(
            1, torch.tensor([0, 0, 2]).view(1, 3, 1).expand_as(h), h, "amax"
        ),
        "scatter_reduce",
    ),
    "kl_div": (
        lambda h: F.kl_div(h.log_softmax(-1), h.sin().softmax(-1), reduction="none"),
        "kl_div|xlogy",
    ),
    "gaussian nll": (
        lambda h: F.gaussian_nll_loss(h, torch.zeros_like(h), h.exp(), reduction="none"),
        "gaussian_nll|clamp|detach|no_grad",
    ),
    "triplet loss": (
        lambda h: F.triplet_margin_loss(h[:, 0], h[:, 1], h[:, 2], reduction="none")[:, None],
        "triplet|distance|norm",
    ),
    "embedding_bag, live weights": (
        lambda h: F.embedding_bag(
            torch.arange(12).view(1, 12).expand(len(h), 12) % 5,
            torch.linspace(-1, 1, 20, dtype=h.dtype).view(5, 4),
            per_sample_weights=h.flatten(1).relu(),
            mode="sum",
        ),
        "embedding_bag",
    ),
    "max_unpool": (
        lambda h: F.max_unpool1d(*F.max_pool1d(h, 2, return_indices=True), 2),
        "max_unpool|indices",
    ),
    "vmap": (torch.func.vmap(lambda g: g.relu() * g.sum()), "vmap|functorch|relu"),
    "own gradient": (own_gradient, "grad|depend"),
    "argsort, gather": (lambda h: h.gather(-1, h.argsort(-1)), "argsort|gather|ind"),
    "argmax, index": (
        lambda h: h[torch.arange(len(h)), h.sum(-1).argmax(-1)].exp(),
        "argmax|ind|getitem",
    ),
    "one_hot of argmax": (
        lambda h: F.one_hot(h.argmax(-1), 4).to(h.dtype) * h.exp(),
        "argmax|one_hot",
    ),
    "nucleus": (
        lambda h: h.masked_fill(h < h.topk(2, -1).values[..., -1:], -9.0).softmax(-1),
        "topk|mask",
    ),
}
# Nodes of the graph are called MaxUnpool where functions are called max_unpool.
RARE: list[Told] = [
    _over(n, act, words.replace("_", "_?"), "a rare one") for n, (act, words) in _RARE.items()
]


def half_without_grad(h: Tensor) -> Tensor:
    with torch.no_grad():
        gate = h.sum(-1, keepdim=True).sigmoid()
    return h * gate


def through_numpy(h: Tensor) -> Tensor:
    scale = torch.from_numpy(np.tanh(h.detach().numpy()))
    return h.relu() + scale.to(h.dtype)


_CUT: dict[str, tuple[Act, str]] = {
    "centred by a detached mean": (
        lambda h: (h - h.mean(-1, keepdim=True).detach()).relu(),
        "detach",
    ),
    "scaled by a detached maximum": (lambda h: h / h.detach().abs().amax(-1, True), "detach"),
    "straight through": (lambda h: h + (h.round() - h).detach(), "detach"),
    "a gate under no_grad": (half_without_grad, "no_grad"),
    "its data": (lambda h: h.relu() * h.data, "data|detach"),
    "half through numpy": (through_numpy, "detach|numpy"),
}
CUT: list[Told] = [_over(n, act, words, "a cut") for n, (act, words) in _CUT.items()]


class MyRelu(torch.autograd.Function):
    """A user's own function, with no rule for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * (x > 0)


class Add(torch.autograd.Function):
    """Named as a linear operation of torch; it is none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 2 * g * ctx.saved_tensors[0]


def in_a_thread(h: Tensor) -> Tensor:
    found: list[Tensor] = []

    def work() -> None:
        with torch.enable_grad():
            found.append(F.gelu(h))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def reentrant(h: Tensor) -> Tensor:
    return checkpoint(F.gelu, h, use_reentrant=True)


class Training(nn.Module):
    """A part of the model is left in training mode, whatever `eval()` says."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.first, self.part, self.last = nn.Linear(4, 6), part, nn.Linear(6, 3)

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.part.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.part(self.first(x)))


def _between(name: str, act: Callable[[], Act], words: str, why: str) -> Told:
    return Told(Entry(name, lambda: Between(act()), normal((4,)), why), words)


def batch_norm() -> nn.Module:
    """Of the batch at hand, also in eval mode: its rows meet."""
    return nn.BatchNorm1d(6, track_running_stats=False)


REFUSED: list[Told] = [
    _between("own Function", lambda: MyRelu.apply, "MyRelu", "a Function without a rule"),
    _between("own Function called Add", lambda: Add.apply, r"\bAdd\b", "a Function, misnamed"),
    _between("a thread", lambda: in_a_thread, "(?i)gelu|thread", "the mode is thread-local"),
    _between("reentrant checkpoint", lambda: reentrant, "(?i)reentrant", "its backward reruns"),
    *(
        Told(Entry(name, lambda part=part: Training(part()), normal((4,)), "trains"), words)
        for name, part, words in (
            ("dropout that trains", lambda: nn.Dropout(0.5), r"(?i)dropout(.|\n)*eval"),
            ("batch norm without statistics", batch_norm, r"(?i)batch.?norm"),
            ("RReLU that trains", nn.RReLU, r"(?i)rrelu(.|\n)*eval"),
        )
    ),
]
