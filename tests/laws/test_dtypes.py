"""Scores come in the dtype of what is scored, and half precision costs a few percent at most."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from captum import attr
from captum._engine.nest import scored
from laws import nets
from laws.compare import assert_same_scores, each, every
from laws.methods import Method, keeping, name_of

# Of the largest score; NeuronConductance and the CAMs round twice.
_CLOSE = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 0.06}


def lower(method: Method) -> dict[str, float]:
    """`tol` is a promise in the dtype of the model."""
    return {"tol": 1e-2} if "auto" in method.name else {}


@pytest.mark.parametrize("method", keeping(lambda m: True), ids=name_of)
@each("dtype", [*_CLOSE, torch.float64])
def test_scores_keep_the_dtype(method: Method, dtype: torch.dtype) -> None:
    net, x = method.net().to(dtype), nets.images(2).to(dtype)
    found = method.scores(net, x, **lower(method))
    assert every(found, lambda s: s.dtype == dtype and bool(s.isfinite().all()))


@pytest.mark.parametrize("method", keeping(lambda m: not m.draws), ids=name_of)
@each("dtype", _CLOSE)
def test_scores_of_a_lower_precision_are_near(method: Method, dtype: torch.dtype) -> None:
    """Both nets hold the rounded weights: only the computation differs."""
    net, x = method.net().to(dtype), nets.images(2).to(dtype)
    exact, near = method.net().to(dtype).double(), x.double()
    found = method.scores(net, x, **lower(method))
    wanted = method.scores(exact, near, **lower(method))
    assert_same_scores(list(scored(found)), list(scored(wanted)), _CLOSE[dtype])


@pytest.mark.parametrize(
    "method", keeping(lambda m: m.draws and not m.noise and not m.mixes), ids=name_of
)
def test_sampled_scores_keep_precision(method: Method) -> None:
    """Draws of two dtypes differ, so that numbers cannot be compared."""
    net, x = method.net().bfloat16(), nets.images(1).bfloat16()
    more = {"baselines": torch.zeros_like(x), "n_samples": 200}
    takes = method.accepts(net)
    found = method.scores(net, x, **{k: v for k, v in more.items() if k in takes})
    assert every(found, lambda s: bool((s != 0).any()))
    assert every(found, lambda s: s.dtype == torch.bfloat16)


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 3)
    )


def _cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(32, 3)),
    ).eval()


class Transformer(nn.Module):
    """Eight tokens of eight numbers, two layers of attention."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
        self.enter = nn.Linear(8, 16)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.layers(self.enter(x.flatten(1, 2))).mean(1))
        return out


_MODELS = {"mlp": _mlp, "cnn": _cnn, "transformer": Transformer}
_METHODS: dict[str, Callable[..., attr.Attribution]] = {
    "DeepLift": attr.DeepLift,
    "DeepLiftShap": attr.DeepLiftShap,
    "LRP": attr.LRP,
}
_HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("kind", _METHODS)
@pytest.mark.parametrize("name", _MODELS)
@pytest.mark.parametrize("dtype", _HALVES)
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_costs_two_percent(
    kind: str, name: str, dtype: torch.dtype, autocast: bool
) -> None:
    """Of the largest score of each example; where the model is in float32, autocast alone rounds.

    Both models hold the rounded weights, and both get the rounded inputs.
    """
    for seed in range(3):
        nets.reseed(seed)
        exact, x = _MODELS[name]().to(dtype).float(), torch.randn(2, 1, 8, 8).to(dtype).float()
        more: dict[str, Any] = {"target": 1}
        if kind == "DeepLiftShap":
            more["baselines"] = torch.randn(3, 1, 8, 8).to(dtype).float()
        wanted = _METHODS[kind](exact).attribute(x, **more)
        if not autocast:
            model, x = exact.to(dtype), x.to(dtype)
            more = {k: v.to(dtype) if k == "baselines" else v for k, v in more.items()}
        with torch.autocast("cpu", dtype) if autocast else nullcontext():
            found = _METHODS[kind](model if not autocast else exact).attribute(x, **more)
        assert bool(found.isfinite().all())
        assert found.dtype == x.dtype
        for ours, theirs in zip(found, wanted, strict=True):
            off = (ours.float() - theirs).abs().max() / theirs.abs().max()
            assert float(off) < 0.02, seed
