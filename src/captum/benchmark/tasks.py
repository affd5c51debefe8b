"""Models whose right explanation is known: by a formula, or because it was planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EXAMPLES = 24


@dataclass(frozen=True)
class Task:
    """A model, examples, and what a right explanation of them is.

    Args:
        name: in a word or two.
        model: the model, in eval mode.
        inputs: examples, (N, *F).
        target: what is explained of each, (N,); None of a model with one output.
        baselines: what a feature becomes that is not there, (1, *F).
        scores: the right scores, (N, *F), where a formula gives them.
        inside: which entries matter, (N, *F), where they were planted.
    """

    name: str
    model: nn.Module
    inputs: Tensor
    target: Tensor | None
    baselines: Tensor
    scores: Tensor | None = None
    inside: Tensor | None = None


def _quietly(make: Callable[[int], Task]) -> Callable[[int], Task]:
    """A task whose making leaves the global generator alone."""

    @wraps(make)
    def made(seed: int) -> Task:
        with torch.random.fork_rng():
            return make(seed)

    return made


class Polynomial(nn.Module):
    """Σ_T c_T Π_{i∈T} x_i over sets T of features, (N, F) -> (N,)."""

    def __init__(self, sets: Tensor, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("sets", sets)  # (K, F), booleans
        self.weights = nn.Parameter(weights)

    def terms(self, x: Tensor) -> Tensor:
        """Each T's summand, (N, K)."""
        sets: Tensor = self.sets  # type: ignore[assignment]  # a buffer
        return torch.where(sets, x.unsqueeze(1), 1).prod(2) * self.weights

    def forward(self, x: Tensor) -> Tensor:
        return self.terms(x).sum(1)

    def shapley(self, x: Tensor) -> Tensor:
        """Shapley values with the baseline 0, (N, F): a set shares its summand out evenly."""
        sets: Tensor = self.sets  # type: ignore[assignment]  # a buffer
        shares = sets / sets.sum(1, keepdim=True)
        return self.terms(x).detach() @ shares.to(x)


@_quietly
def linear(seed: int) -> Task:
    """Σ w_i x_i: the scores are w_i x_i, whatever the method."""
    own = torch.Generator().manual_seed(seed)
    model = nn.Linear(12, 1, bias=False)
    model.weight.data = torch.randn(1, 12, generator=own)
    x = torch.randn(_EXAMPLES, 12, generator=own)
    return Task("linear", model, x, None, torch.zeros(1, 12), scores=x * model.weight.data)


@_quietly
def products(seed: int) -> Task:
    """Products of one to four features: Shapley values in closed form."""
    own = torch.Generator().manual_seed(seed)
    order = torch.rand(20, 10, generator=own).argsort(1)
    sets = order < torch.randint(1, 5, (20, 1), generator=own)
    model = Polynomial(sets, torch.randn(20, generator=own))
    x = torch.randn(_EXAMPLES, 10, generator=own)
    return Task("products", model, x, None, torch.zeros(1, 10), scores=model.shapley(x))


@_quietly
def planted_features(seed: int) -> Task:
    """A net that has learnt an answer from 4 of 20 features."""
    own = torch.Generator().manual_seed(seed)
    matters = torch.randperm(20, generator=own)[:4]
    x = torch.randn(1200, 20, generator=own)
    a, b, c, d = x[:, matters].T
    labels = ((a + b > 0) ^ (c - d > 0.5)).long()
    model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(),
                          nn.Linear(24, 2))  # fmt: skip
    _train(model, x, labels, own, epochs=40, decay=1e-2)
    inside = torch.zeros(1, 20, dtype=torch.bool)
    inside[0, matters] = True
    shown = slice(0, _EXAMPLES)
    return Task(
        "planted features",
        model,
        x[shown],
        model(x[shown]).argmax(1),
        torch.zeros(1, 20),
        inside=inside.expand(_EXAMPLES, -1),
    )


@_quietly
def planted_shapes(seed: int) -> Task:
    """A convolutional net that has learnt whether a picture holds a cross or a ring, anywhere."""
    own = torch.Generator().manual_seed(seed)
    shapes = torch.stack([_cross(), _ring()])
    labels = torch.randint(2, (700,), generator=own)
    x = 0.35 * torch.randn(700, 1, 12, 12, generator=own)
    inside = torch.zeros(700, 1, 12, 12, dtype=torch.bool)
    for i, label in enumerate(labels):
        row, column = torch.randint(8, (2,), generator=own).tolist()
        x[i, 0, row : row + 5, column : column + 5] += 1.5 * shapes[label]
        inside[i, 0, row : row + 5, column : column + 5] = True
    model = nn.Sequential(
        nn.Conv2d(1, 12, 5), nn.ReLU(), nn.Conv2d(12, 12, 3), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(12, 2),
    )  # fmt: skip
    _train(model, x, labels, own, epochs=12, decay=1e-4)
    shown = slice(0, _EXAMPLES)
    return Task(
        "planted shapes",
        model,
        x[shown],
        labels[shown],
        torch.zeros(1, 1, 12, 12),
        inside=inside[shown],
    )


TASKS: dict[str, Callable[[int], Task]] = {
    "linear": linear,
    "products": products,
    "planted features": planted_features,
    "planted shapes": planted_shapes,
}


def _cross() -> Tensor:
    shape = torch.zeros(5, 5)
    shape[2], shape[:, 2] = 1, 1
    return shape


def _ring() -> Tensor:
    shape = torch.ones(5, 5)
    shape[1:4, 1:4] = 0
    return shape


def _train(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    own: torch.Generator,
    epochs: int,
    decay: float,
) -> None:
    """From weights that the generator draws."""
    with torch.no_grad():
        for p in model.parameters():
            fan = p[0].numel() if p.ndim > 1 else len(p)
            p.copy_((2 * torch.rand(p.shape, generator=own) - 1) / fan**0.5)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3, weight_decay=decay)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x), generator=own), 50):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(x[rows]), labels[rows]))
            optimizer.step()
    model.requires_grad_(False).eval()
