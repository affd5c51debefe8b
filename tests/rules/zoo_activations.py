"""Elementwise functions, each in all the ways it can be spelled."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rules.entry import Between, Entry, normal, rows_of

Act = Callable[[Tensor], Tensor]


class Mine(nn.ReLU):
    """A subclass that changes nothing."""


class Halved(nn.ReLU):
    """A subclass that changes what comes out."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class Twice(nn.Module):
    """One activation module used between all layers."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.act = act
        self.layers = nn.ModuleList(nn.Linear(5, 5) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.act(layer(x)) + x / 5
        return self.act(x * 2 - 1e-3)


def masked(h: Tensor) -> Tensor:
    h = h.clone()
    h[h < 0] = 0
    return h


def masked_in_place(h: Tensor) -> Tensor:
    h[h < 0] = 0.0
    return h


def multiplied_in_place(h: Tensor) -> Tensor:
    h *= h > 0
    return h


def written_into(h: Tensor) -> Tensor:
    out = torch.empty_like(h)
    out.copy_(h.relu())
    return out


_RELUS: dict[str, Act] = {
    "F.relu": F.relu,
    "F.relu inplace": lambda h: F.relu(h, inplace=True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda h: h.relu(),
    "Tensor.relu_": lambda h: h.relu_(),
    "aten.relu": torch.ops.aten.relu,
    "aten.relu.default": torch.ops.aten.relu.default,
    "clamp min": lambda h: h.clamp(min=0),
    "clamp_ min": lambda h: h.clamp_(min=0),
    "clamp_min": lambda h: torch.clamp_min(h, 0.0),
    "clamp_min_": lambda h: h.clamp_min_(0.0),
    "clamp of a tensor": lambda h: torch.clamp(h, min=torch.zeros(6, dtype=h.dtype)),
    "clip": lambda h: torch.clip(h, 0),
    "threshold": lambda h: F.threshold(h, 0, 0),
    "maximum with zeros": lambda h: torch.maximum(h, torch.zeros_like(h)),
    "max with a number": lambda h: torch.max(h, torch.zeros((), dtype=h.dtype)),
    "times its mask": lambda h: h * (h > 0),
    "mask times it": lambda h: (h > 0) * h,
    "times its mask as numbers": lambda h: h * (h > 0).to(h.dtype),
    "times its mask in place": multiplied_in_place,
    "torch.where": lambda h: torch.where(h > 0, h, torch.zeros_like(h)),
    "torch.where with a number": lambda h: torch.where(h > 0, h, 0.0),
    "torch.where backwards": lambda h: torch.where(h <= 0, 0.0, h),
    "Tensor.where": lambda h: h.where(h > 0, 0.0),
    "masked_fill": lambda h: h.masked_fill(h < 0, 0),
    "masked_fill_": lambda h: h.masked_fill_(h < 0, 0),
    "masked assignment": masked,
    "masked assignment in place": masked_in_place,
    "half of sum with abs": lambda h: (h + h.abs()) / 2,
    "written into a buffer": written_into,
}

_RELU_MODULES: dict[str, Callable[[], nn.Module]] = {
    "nn.ReLU": nn.ReLU,
    "nn.ReLU inplace": lambda: nn.ReLU(inplace=True),
    "nn.Threshold": lambda: nn.Threshold(0.0, 0.0),
    "a subclass of ReLU": Mine,
    "a subclass of ReLU, inplace": lambda: Mine(inplace=True),
    "a subclass of ReLU with a forward": Halved,
    "nn.LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "nn.LeakyReLU inplace": lambda: nn.LeakyReLU(0.2, inplace=True),
    "nn.PReLU": nn.PReLU,
    "nn.PReLU per channel": lambda: nn.PReLU(6),
    "nn.RReLU": nn.RReLU,
}

# f(0) = 0: LRP hands on c f(x) / x, and nothing is lost.
_THROUGH_ZERO: dict[str, Act] = {
    "relu6": F.relu6,
    "leaky_relu_": lambda h: F.leaky_relu_(h, 0.3),
    "prelu": lambda h: F.prelu(h, torch.full((1,), 0.3, dtype=h.dtype)),
    "gelu": F.gelu,
    "gelu tanh": lambda h: F.gelu(h, approximate="tanh"),
    "aten.gelu": torch.ops.aten.gelu,
    "silu": F.silu,
    "silu inplace": lambda h: F.silu(h, inplace=True),
    "elu": F.elu,
    "elu_": lambda h: F.elu_(h, 0.7),
    "selu": F.selu,
    "selu_": F.selu_,
    "celu": lambda h: F.celu(h, 1.3),
    "celu_": F.celu_,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardswish inplace": lambda h: F.hardswish(h, inplace=True),
    "tanh": torch.tanh,
    "Tensor.tanh_": lambda h: h.tanh_(),
    "softsign": F.softsign,
    "hardtanh": F.hardtanh,
    "hardtanh_": lambda h: F.hardtanh_(h, -0.2, 0.3),
    "softshrink": lambda h: F.softshrink(h, 0.1),
    "hardshrink": lambda h: F.hardshrink(h, 0.2),
    "tanhshrink": F.tanhshrink,
    "expm1": torch.expm1,
    "erf": torch.erf,
    "sin": torch.sin,
    "sin_": lambda h: h.sin_(),
    "sinh": torch.sinh,
    "atan": torch.atan,
    "asinh": torch.asinh,
}

_OTHERS: dict[str, Act] = {
    "sigmoid": torch.sigmoid,
    "F.sigmoid": F.sigmoid,
    "sigmoid_": lambda h: h.sigmoid_(),
    "logsigmoid": F.logsigmoid,
    "hardsigmoid": lambda h: F.hardsigmoid(6 * h),
    "softplus": F.softplus,
    "softplus beta": lambda h: F.softplus(h, beta=3, threshold=2),
    "exp": torch.exp,
    "exp_": lambda h: h.exp_(),
    "exp2": torch.exp2,
    "power of 2": lambda h: 2**h,
    "erfc": torch.erfc,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "abs": torch.abs,
    "abs()": abs,
    "square": torch.square,
    "pow 2": lambda h: h**2,
    "pow 3": lambda h: h.pow(3),
    "pow_": lambda h: h.pow_(2),
    "**=": lambda h: h.__ipow__(2),
    "log": lambda h: (h.exp() + 0.3).log(),
    "log1p": lambda h: torch.log1p(h.exp()),
    "log2": lambda h: torch.log2(h.exp() + 0.3),
    "log10": lambda h: torch.log10(h.exp() + 0.3),
    "sqrt": lambda h: (h * h + 0.1).sqrt(),
    "rsqrt": lambda h: torch.rsqrt(h * h + 0.1),
    "pow 0.5": lambda h: (h * h + 0.1) ** 0.5,
    "pow 1.5": lambda h: h.exp() ** 1.5,
    "pow -1": lambda h: (h.exp() + 0.2) ** -1,
    "reciprocal": lambda h: torch.reciprocal(h * h + 0.2),
    "number over it": lambda h: 2 / (h.exp() + 0.2),
    "number minus it": lambda h: 1 - h.tanh(),
    "logit": lambda h: torch.logit(h.sigmoid() * 0.9 + 0.05),
    "clamp both sides": lambda h: h.clamp(-0.2, 0.3),
    "clamp_max": lambda h: h.clamp_max(0.2),
    "leaky where": lambda h: torch.where(h > 0, h, 0.1 * h),
    "step to another value": lambda h: torch.where(h > 0.1, h, torch.full_like(h, -0.5)),
    "two branches": lambda h: torch.where(h > 0, h.sin(), h * h),
    "gelu written with erf": lambda h: 0.5 * h * (1 + torch.erf(h / math.sqrt(2))),
    "gelu written with tanh": lambda h: (
        0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
    ),
    "quick gelu": lambda h: h * torch.sigmoid(1.702 * h),
    "silu written out": lambda h: h / (1 + torch.exp(-h)),
}


def chain_in_place(h: Tensor) -> Tensor:
    h += 0.1
    h *= 1.5
    h -= 0.2
    h /= 2
    return h.sin_().mul_(2).add_(0.1).clamp_(min=0).neg_().exp_()


def between(act: Act) -> Callable[[], nn.Module]:
    return lambda: Between(act)


def made(act: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Between(act())


ACTIVATIONS: list[Entry] = [
    *rows_of(
        "a ReLU by another name",
        {name: between(act) for name, act in _RELUS.items()},
        normal((4,)),
        conserves=True,
    ),
    *rows_of(
        "an activation module, a piecewise linear one",
        {name: made(act) for name, act in _RELU_MODULES.items()},
        normal((4,)),
        conserves=True,
    ),
    *rows_of(
        "an elementwise function with f(0) = 0",
        {name: between(act) for name, act in _THROUGH_ZERO.items()},
        normal((4,)),
        conserves=True,
    ),
    *rows_of(
        "an elementwise function",
        {name: between(act) for name, act in {**_OTHERS, "in-place chain": chain_in_place}.items()},
        normal((4,)),
    ),
    *rows_of(
        "one module used several times",
        {
            "reused ReLU": lambda: Twice(nn.ReLU()),
            "reused ReLU inplace": lambda: Twice(nn.ReLU(inplace=True)),
            "reused GELU": lambda: Twice(nn.GELU()),
        },
        normal((5,)),
    ),
]
