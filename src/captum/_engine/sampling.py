"""Random draws that any chunking repeats, and running moments of what they give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum._engine.call import Call
from captum._engine.errors import wrong
from captum._engine.nest import Tensors
from captum._engine.paths import wide

_BLOCK_BYTES = 64 << 20
_STEP = 32


def blocks(samples: int, inputs: Tensors, stopping: bool = False) -> Iterator[int]:
    """How many samples to draw at a time: few enough to fit, and decided by shapes alone.

    So the same seed draws the same numbers whatever the size of the passes through the model.
    Where a tolerance may end the run, it is looked at after every few samples.
    """
    size = max(1, _BLOCK_BYTES // max(1, sum(x.numel() * x.element_size() for x in inputs)))
    size = min(size, _STEP) if stopping else size
    for start in range(0, samples, size):
        yield min(size, samples - start)


def check_samples(samples: object, name: str) -> None:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise wrong(ValueError, f"{name} of at least 1", f"{name}={samples!r}", f"{name}=20")


def noisy(
    x: Tensor, samples: int, stdev: float | Tensor, generator: torch.Generator | None
) -> Tensor:
    """`samples` copies of x with N(0, stdev²) added, (samples * N, *F), copy after copy.

    Drawn example by example, as the published package does, so that its seeds give its numbers.
    """
    if not x.is_floating_point() or (isinstance(stdev, float | int) and stdev == 0):
        return x.expand(samples, *x.shape).flatten(0, 1)
    shape = (x.shape[0], samples, *x.shape[1:])
    noise = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
    return torch.add(x, noise.mul_(stdev).transpose(0, 1)).flatten(0, 1)


def drawn(baselines: Tensors, rows: int, generator: torch.Generator | None) -> Tensors:
    """One random row of the baselines for every row; the same one in every input."""
    device = baselines[0].device
    chosen = torch.randint(len(baselines[0]), (rows,), generator=generator, device=device)
    return tuple(b[chosen.to(b.device)] for b in baselines)


def stdevs_of(given: Any, call: Call) -> tuple[float | Tensor, ...]:
    """The noise of every input: one number for all, or a tuple with one each."""
    each = given if isinstance(given, tuple) else (given,) * len(call.inputs)
    if len(each) != len(call.inputs):
        raise wrong(
            ValueError,
            f"stdevs: a number, or a tuple of {len(call.inputs)}",
            f"stdevs={given!r}",
            "stdevs=0.1",
        )
    return each


@dataclass
class Moments:
    """The running mean and spread of samples, in one pass and float32 or better.

    Blocks of samples are merged by Chan's formula, so no square of a large mean is ever
    subtracted and a variance is never negative.
    """

    count: int = 0
    mean: Tensor | float = 0.0
    squares: Tensor | float = 0.0  # Σ (x - mean)²

    def add(self, samples: Tensor, dim: int = 0) -> None:
        """Take in a block; the samples lie along `dim`."""
        block = samples.to(wide(samples.dtype))
        n = block.shape[dim]
        mean = block.mean(dim)
        squares = (block - mean.unsqueeze(dim)).square().sum(dim) if n > 1 else mean * 0
        total = self.count + n
        gap = mean - self.mean
        self.squares = self.squares + squares + gap.square() * (self.count * n / total)
        self.mean = self.mean + gap * (n / total)
        self.count = total

    def variance(self) -> Tensor:
        """The mean squared distance from the mean (divided by the count)."""
        return torch.as_tensor(self.squares / self.count)

    def mean_square(self) -> Tensor:
        return self.variance() + torch.as_tensor(self.mean) ** 2

    def standard_error(self) -> Tensor:
        """The standard error of the mean; infinite for a single sample."""
        spread = torch.as_tensor(self.squares)
        if self.count < 2:
            return torch.full_like(spread, float("inf"))
        return (spread / (self.count * (self.count - 1))).sqrt()

    def within(self, tolerance: float) -> bool:
        """Whether every standard error is at most `tolerance` times the largest mean."""
        largest = float(torch.as_tensor(self.mean).abs().max())
        return float(self.standard_error().max()) <= tolerance * largest
