"""Influence of training examples, by the package beside the attribution methods."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

from .cases import Attr, Case
from .models import filled, wave

CASES: dict[str, Case] = {}


def small() -> nn.Module:
    return filled(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)))


TRAIN = wave(9, 4, start=0.3, step=0.7), torch.arange(9) % 3
TEST = wave(3, 4, start=1.1, step=0.9), torch.tensor([2, 0, 1])
RATES = {"first": 0.3, "second": 0.7}


def load(model: nn.Module, name: str) -> float:
    """Two checkpoints that need no file."""
    start = {"first": 0.5, "second": 1.7}[name]
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(wave(*p.shape, start=start + i, step=0.9 + 0.2 * i, size=0.7))
    return RATES[name]


def module(attr: Attr, path: str = "captum.influence") -> Any:
    """The package's own, whichever it is."""
    return importlib.import_module(path)


def case(name: str, method: str, ask: Callable[[Any], Any], *args: Any, **options: Any) -> None:
    def call(attr: Attr) -> Any:
        model = small()
        given = [getattr(model, "2", a) if a == "layer" else a for a in args]
        made = getattr(module(attr), method)(
            model, *given, TensorDataset(*TRAIN), ["first", "second"], load, batch_size=4, **options
        )
        found = ask(made)
        return tuple(found) if isinstance(found, tuple) else found

    CASES[f"{method}, {name}"] = call


NONE, SUM = nn.CrossEntropyLoss(reduction="none"), nn.CrossEntropyLoss(reduction="sum")
ASKED: dict[str, Callable[[Any], Any]] = {
    "scores": lambda m: m.influence(TEST),
    "largest": lambda m: m.influence(TEST, k=2),
    "least": lambda m: m.influence(TEST, k=3, proponents=False),
    "themselves": lambda m: m.self_influence(),
    "others themselves": lambda m: m.self_influence(TEST),
}
for name, ask in ASKED.items():
    case(name, "TracInCP", ask, loss_fn=NONE)
    case(f"{name}, sums", "TracInCP", ask, loss_fn=SUM, sample_wise_grads_per_batch=True)
    case(name, "TracInCPFast", ask, "layer", loss_fn=SUM)
case("together", "TracInCP", lambda m: m.influence(TEST, aggregate=True), loss_fn=NONE)
case("a layer", "TracInCP", ASKED["scores"], loss_fn=NONE, layers=["2"])
case("stored", "TracInCPFastRandProj", lambda m: m.influence(TEST, k=None), "layer", loss_fn=SUM,
     nearest_neighbors=type("None_", (), {"setup": lambda self, data: None})())  # fmt: skip


def function(name: str, path: str, **options: Any) -> None:
    def call(attr: Attr) -> Any:
        kind = getattr(module(attr, f"captum.influence._core.{path}"), name)
        made = kind(
            small(), TensorDataset(*TRAIN), "first", load, loss_fn=NONE, batch_size=4, **options
        )
        return made.influence(TEST), made.self_influence()

    CASES[name] = call


# Arnoldi's iteration begins at random: see tests/influence.
function("NaiveInfluenceFunction", "influence_function", hessian_reg=1.0, hessian_inverse_tol=1e-3)
