"""Stochastic gates, by the package beside the attribution methods: drawn, fixed and learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .cases import Attr, Case
from .cases_influence import module
from .models import wave

CASES: dict[str, Case] = {}

BINARY, GAUSSIAN = "BinaryConcreteStochasticGates", "GaussianStochasticGates"
OPTIONS = {
    BINARY: {"temperature": 0.4, "lower_bound": -0.3, "upper_bound": 1.2, "eps": 1e-6},
    GAUSSIAN: {"std": 0.8},
}
SEGMENTS = torch.arange(6).view(2, 3) // 2
MASKS: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {
    "no mask": (None, (4, 3)),
    "segments": (SEGMENTS, (3, 2, 2, 3)),
    "segments of channels": (SEGMENTS.repeat(2, 1, 1), (3, 2, 2, 3)),
    "rows": (torch.arange(3).view(1, 3, 1), (4, 3, 2)),
    "examples": (torch.arange(8).view(4, 2) % 3, (4, 2)),
}


def made(attr: Attr, kind: str, mask: Tensor | None, **options: Any) -> Any:
    """Three gates: one mostly shut, one ajar, one mostly open."""
    torch.manual_seed(1)
    gates = getattr(module(attr, "captum.module"), kind)(3, mask, 0.3, **options)
    with torch.no_grad():
        for p in gates.parameters():
            p.mul_(10).add_(torch.tensor([-0.6, 0.1, 0.7]))
    return gates


def learned(gates: Any, x: Tensor) -> tuple[Tensor, ...]:
    """Gated inputs, the price, and what the gates and the inputs would learn."""
    x = x.clone().requires_grad_()
    gated, price = gates(x)
    own = next(gates.parameters())
    slopes = torch.autograd.grad((gated * gated).sum() + price.sum(), [own, x])
    return gated.detach(), price.detach(), *slopes


def read(gates: Any, x: Tensor) -> tuple[Tensor, ...]:
    return (
        gates.get_gate_values(),
        gates.get_gate_values(clamp=False),
        gates.get_gate_active_probs(),
    )


def case(name: str, kind: str, ask: Callable[..., Any], mask: str = "no mask", **more: Any) -> None:
    def call(attr: Attr) -> Any:
        given, shape = MASKS[mask]
        return ask(made(attr, kind, given, **OPTIONS[kind], **more), wave(*shape).float())

    CASES[f"{kind}, {name}"] = call


for kind in (BINARY, GAUSSIAN):
    for mask in MASKS:
        case(f"drawn, {mask}", kind, learned, mask)
        case(f"fixed, {mask}", kind, lambda gates, x: learned(gates.eval(), x), mask)
    case("mean price", kind, learned, reg_reduction="mean")
    # The published one cannot be learned from: it changes what its gradient needs.
    case("price of each", kind, lambda gates, x: gates(x)[1].detach(), reg_reduction="none")
    case("in float64", kind, lambda gates, x: learned(gates.double(), x.double()))
    case("state", kind, lambda gates, x: dict(gates.state_dict()), "segments")
    case("values", kind, read)


def usual(kind: str) -> Case:
    def call(attr: Attr) -> Any:
        torch.manual_seed(2)
        gates = getattr(module(attr, "captum.module"), kind)(3)
        return learned(gates, wave(4, 3).float())

    return call


CASES |= {f"{kind}, as it comes": usual(kind) for kind in (BINARY, GAUSSIAN)}
