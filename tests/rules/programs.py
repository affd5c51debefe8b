"""Random programs: a few operations out of a table, each on values made before it.

All values have shape (N, A, B) and rows that do not meet, and every operation takes whatever came
before it: domains are made safe, and an operand whose shape does not fit is averaged to one
number. A program prints as the lines that it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Tensor, Tensor], Tensor]


def constant(*shape: int) -> Tensor:
    """Numbers of both signs, the same each time."""
    count = math.prod(shape)
    return torch.sin(torch.arange(1, count + 1, dtype=torch.float64) * 1.7).view(shape)


def masked(h: Tensor) -> Tensor:
    h = h.clone()
    h[h < 0.1] = 0.1
    return h


def interleaved(h: Tensor) -> Tensor:
    out = torch.zeros(*h.shape[:2], 2 * h.shape[2], dtype=h.dtype)
    out[..., ::2] = h
    out[..., 1::2] = h.sin()
    return out


def on_a_view(h: Tensor) -> Tensor:
    h = (h * 1.5).contiguous()
    h[:, :1].sin_()
    h.view(h.size(0), -1)[:, ::2] += 0.3
    return h


def hidden(h: Tensor) -> Tensor:
    """One entry of each row is hidden from the softmax, unless it is the only one."""
    mask = torch.arange(h.shape[2]) == 1
    return h.masked_fill(mask, -torch.inf).softmax(-1)


UNARY: dict[str, Unary] = {
    "relu": F.relu,
    "relu_": lambda h: h.clone().relu_(),
    "clamp": lambda h: h.clamp(-0.5, 0.8),
    "leaky_relu": lambda h: F.leaky_relu(h, 0.2),
    "relu6": lambda h: F.relu6(4 * h),
    "hardtanh": F.hardtanh,
    "hardsigmoid": lambda h: F.hardsigmoid(3 * h),
    "hardswish": F.hardswish,
    "softshrink": lambda h: F.softshrink(h, 0.2),
    "gelu": F.gelu,
    "gelu_tanh": lambda h: F.gelu(h, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exp": lambda h: h.clamp(-4, 2).exp(),
    "log": lambda h: (h.abs() + 0.3).log(),
    "log1p": lambda h: torch.log1p(h * h),
    "sqrt": lambda h: (h * h + 0.2).sqrt(),
    "rsqrt": lambda h: (h * h + 0.2).rsqrt(),
    "reciprocal": lambda h: 1 / (h.abs() + 0.5),
    "square": lambda h: h**2 / 2,
    "cube": lambda h: h.tanh() ** 3,
    "abs": torch.abs,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "affine": lambda h: 1 - 0.7 * h,
    "masked": masked,
    "gated_by_sign": lambda h: h * (h > 0),
    "where": lambda h: torch.where(h > 0, h.sin(), h / 2),
    "masked_fill": lambda h: h.masked_fill(h > 1, 0.5),
    "softmax": lambda h: h.softmax(-1),
    "softmax_1": lambda h: h.softmax(1),
    "log_softmax": lambda h: h.log_softmax(-1),
    "hidden_softmax": lambda h: hidden(h) if h.shape[2] > 1 else h,
    "logsumexp": lambda h: h.logsumexp(1, keepdim=True),
    "layer_norm": lambda h: F.layer_norm(h, h.shape[1:], eps=1e-2),
    "rms_norm": lambda h: F.rms_norm(h, h.shape[2:], eps=1e-2),
    "group_norm": lambda h: F.group_norm(h, 1, eps=1e-2),
    "normalize": lambda h: F.normalize(h + 0.1, dim=-1, eps=1e-2),
    "mean": lambda h: h.mean(1, keepdim=True),
    "sum": lambda h: h.sum(-1, keepdim=True),
    "amax": lambda h: h.amax(2, keepdim=True),
    "max": lambda h: h.max(1, keepdim=True).values,
    "min": lambda h: h.min(-1, keepdim=True)[0],
    "var": lambda h: h.var(-1, keepdim=True, unbiased=False),
    "std": lambda h: (h.var(1, keepdim=True, correction=0) + 0.1).sqrt(),
    "norm": lambda h: (h + 0.05).norm(dim=-1, keepdim=True),
    "cumsum": lambda h: h.cumsum(-1) / 2,
    "max_pool": lambda h: F.max_pool1d(h, 2, 1, padding=1),
    "avg_pool": lambda h: F.avg_pool1d(h, 2, 1, padding=1),
    "adaptive_max_pool": lambda h: F.adaptive_max_pool1d(h, 2),
    "transpose": lambda h: h.transpose(1, 2),
    "flatten": lambda h: h.reshape(h.size(0), 1, -1),
    "sequence_first": lambda h: h.permute(1, 0, 2).sin().permute(1, 0, 2),
    "roll": lambda h: h.roll(1, 2) - h,
    "flip": lambda h: h.flip((1, 2)),
    "pad": lambda h: F.pad(h, (1, 1), value=0.3),
    "slice": lambda h: h[:, :, :2],
    "first": lambda h: h[:, :1],
    "expand": lambda h: h[:, :1].expand(-1, 3, -1),
    "repeat": lambda h: h.repeat(1, 2, 1)[:, :4],
    "interleaved": interleaved,
    "on_a_view": on_a_view,
    "linear": lambda h: F.linear(h, constant(3, h.shape[2]), constant(3)) / 2,
    "conv": lambda h: F.conv1d(h, constant(2, h.shape[1], 2), constant(2), padding=1) / 2,
    "glu": lambda h: F.glu(torch.cat([h, h.flip(2)], 1), dim=1),
    "self_attention": lambda h: F.scaled_dot_product_attention(h, h.tanh(), h),
}
# The second operand has the first one's shape, or is one number per row.
BINARY: dict[str, Binary] = {
    "add": torch.add,
    "sub": lambda a, b: a - 0.5 * b,
    "mul": torch.mul,
    "div": lambda a, b: a / (b.abs() + 0.5),
    "add_": lambda a, b: a.clone().add_(b),
    "mul_": lambda a, b: a.clone().mul_(b),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "pow": lambda a, b: (a.abs() + 0.3) ** b.tanh(),
    "lerp": lambda a, b: torch.lerp(a, a.sin(), b.sigmoid()),
    "addcmul": lambda a, b: torch.addcmul(a, a.tanh(), b, value=0.5),
    "where_larger": lambda a, b: torch.where(a > b, a, 2 * b),
    "sigmoid_gate": lambda a, b: a * b.sigmoid(),
    "silu_gate": lambda a, b: F.silu(a) * b,
    "matmul": lambda a, b: a @ (a + b).mT / 2,
    "einsum": lambda a, b: torch.einsum("nij,nkj->nik", a, a.sin() * b) / 2,
    "bmm": lambda a, b: torch.bmm(a.mT, (a - b).relu()) / 2,
    "attention": lambda a, b: (a @ (a + b).mT).softmax(-1) @ b.expand_as(a),
    "cosine": lambda a, b: F.cosine_similarity(a + 0.1, (a * b).exp().clamp(max=9), 2)[..., None],
    "cat": lambda a, b: torch.cat([a, b.expand_as(a)], 1)[:, :5],
    "squared_error": lambda a, b: (a - b).square() / 2,
}
TABLE: dict[str, int] = {**dict.fromkeys(UNARY, 1), **dict.fromkeys(BINARY, 2)}


def fit(b: Tensor, a: Tensor) -> Tensor:
    return b if b.shape == a.shape else b.mean((1, 2), keepdim=True)


@dataclass(frozen=True)
class Program:
    """Steps of an operation and the values it takes: 0 is the input, k what step k made."""

    shape: tuple[int, int]
    steps: tuple[tuple[str, tuple[int, ...]], ...]
    seed: int = 0

    def values(self, x: Tensor) -> list[Tensor]:
        """The input, and what each step makes."""
        values = [x]
        for name, (i, *rest) in self.steps:
            a = values[i]
            values.append(BINARY[name](a, fit(values[rest[0]], a)) if rest else UNARY[name](a))
        return values

    def __call__(self, x: Tensor) -> Tensor:
        last = self.values(x)[-1].flatten(1)
        return (last * constant(last.shape[1])).sum(1)

    def size(self, x: Tensor) -> float:
        """Of the largest number on the way: rounding errors are in proportion to it."""
        return max(1.0, *(float(value.abs().max()) for value in self.values(x)))

    def points(self) -> tuple[Tensor, Tensor]:
        """Inputs and baselines, two rows each."""
        generator = torch.Generator().manual_seed(self.seed)
        x, x0 = torch.randn(2, 2, *self.shape, generator=generator, dtype=torch.float64)
        return x, x0

    def __repr__(self) -> str:
        lines = [
            f"v{k} = {name}({', '.join(f'v{i}' if i else 'x' for i in operands)})"
            for k, (name, operands) in enumerate(self.steps, 1)
        ]
        return f"<x: (2, {self.shape[0]}, {self.shape[1]}), seed {self.seed}; {'; '.join(lines)}>"


@st.composite
def programs(draw: st.DrawFn, least: int = 2, most: int = 6) -> Program:
    """Each step takes the last value, and any as its second operand."""
    shape = draw(st.sampled_from([(2, 3), (1, 4), (3, 2), (4, 4)]))
    steps = []
    for k in range(draw(st.integers(least, most))):
        name = draw(st.sampled_from(list(TABLE)))
        rest = tuple(draw(st.integers(0, k)) for _ in range(TABLE[name] - 1))
        steps.append((name, (k, *rest)))
    return Program(shape, tuple(steps), draw(st.integers(0, 9999)))
