"""DeepLIFT and the guided methods from their papers, one example at a time, slow and literal.

An example is a vector; a network is a list of steps. Nothing here knows the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Protocol

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


class Step(Protocol):
    """One operation: its value, and multipliers M with y - y₀ = M (x - x₀), a row per output."""

    def value(self, x: Tensor) -> Tensor: ...

    def multipliers(self, x: Tensor, x0: Tensor) -> Tensor: ...


# ---------------------------------------------------------------------- steps


class Affine:
    """y = W x + b: a weight is its own multiplier (Shrikumar et al. 2017, section 3.5.1)."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = weight
        self.bias = torch.zeros_like(weight[:, 0]) if bias is None else bias

    def value(self, x: Tensor) -> Tensor:
        return self.weight @ x + self.bias

    def multipliers(self, x: Tensor, x0: Tensor) -> Tensor:
        return self.weight


class Entries:
    """y = f(x) entry by entry: m = Δy / Δx (Shrikumar et al. 2017, section 3.5.2, Rescale)."""

    def __init__(self, f: Function) -> None:
        self.f = f

    def value(self, x: Tensor) -> Tensor:
        return self.f(x)

    def multipliers(self, x: Tensor, x0: Tensor) -> Tensor:
        found = torch.zeros(len(x), len(x), dtype=x.dtype)
        for i in range(len(x)):
            a, b = x[i], x0[i]
            found[i, i] = derivative(self.f, a) if a == b else (self.f(a) - self.f(b)) / (a - b)
        return found


def derivative(f: Function, x: Tensor) -> Tensor:
    """The limit of the quotient."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(f(x), x)[0]


def logarithmic_mean(p: float, q: float) -> float:
    """(p - q) / (ln p - ln q), and p where they are equal."""
    return p if p == q else (p - q) / (math.log(p) - math.log(q))


def probabilities(x: Tensor) -> list[float]:
    total = sum(math.exp(v) for v in x.tolist())
    return [math.exp(v) / total for v in x.tolist()]


class Softmax:
    """Δp_i = L_i Δln p_i, with L the logarithmic mean, and Δln p_i = Δx_i - Δln Z.

    As the probabilities keep their sum, Σ L_i Δln p_i = 0, which says what Δln Z is:
    Σ w_k Δx_k with w = L / Σ L.
    """

    def value(self, x: Tensor) -> Tensor:
        return torch.tensor(probabilities(x), dtype=x.dtype)

    def means(self, x: Tensor, x0: Tensor) -> tuple[list[float], list[float]]:
        pairs = zip(probabilities(x), probabilities(x0), strict=True)
        means = [logarithmic_mean(p, q) for p, q in pairs]
        return means, [mean / sum(means) for mean in means]

    def multipliers(self, x: Tensor, x0: Tensor) -> Tensor:
        means, w = self.means(x, x0)
        n = range(len(x))
        rows = [[means[i] * ((i == k) - w[k]) for k in n] for i in n]
        return torch.tensor(rows, dtype=x.dtype)


class LogSoftmax(Softmax):
    """Δln p_i = Δx_i - Σ w_k Δx_k."""

    def value(self, x: Tensor) -> Tensor:
        return torch.tensor([math.log(p) for p in probabilities(x)], dtype=x.dtype)

    def multipliers(self, x: Tensor, x0: Tensor) -> Tensor:
        _, w = self.means(x, x0)
        n = range(len(x))
        return torch.tensor([[(i == k) - w[k] for k in n] for i in n], dtype=x.dtype)


class Norm:
    """(x - mean) / sqrt(mean square + ε) · weight + bias, step by step.

    Centring is linear; a square's multiplier is u + u₀; the reciprocal root has its quotient, and
    the product its factors' midpoints.
    """

    def __init__(self, weight: Tensor, bias: Tensor, eps: float, centred: bool = True) -> None:
        self.weight, self.bias, self.eps, self.centred = weight, bias, eps, centred

    def _centring(self, n: int) -> Tensor:
        share = 1 / n if self.centred else 0.0
        rows = [[(i == k) - share for k in range(n)] for i in range(n)]
        return torch.tensor(rows, dtype=self.weight.dtype)

    def _parts(self, x: Tensor) -> tuple[Tensor, float, float]:
        u = self._centring(len(x)) @ x
        square = sum(v * v for v in u.tolist()) / len(x)
        return u, square, 1 / math.sqrt(square + self.eps)

    def value(self, x: Tensor) -> Tensor:
        u, _, root = self._parts(x)
        return u * root * self.weight + self.bias

    def multipliers(self, x: Tensor, x0: Tensor) -> Tensor:
        (u, square, root), (u0, square0, root0) = self._parts(x), self._parts(x0)
        of_square = (u + u0) / len(x)  # Δ square = of_square · Δu
        of_root = (root - root0) / (square - square0)  # Δ root = of_root Δ square
        found = torch.zeros(len(x), len(x), dtype=x.dtype)
        for i, k in product(range(len(x)), repeat=2):
            found[i, k] = (i == k) * (root + root0) / 2
            found[i, k] += (u[i] + u0[i]) / 2 * of_root * of_square[k]
            found[i, k] *= self.weight[i]
        return found @ self._centring(len(x))


class Maxima:
    """Maxima over windows: Δy lies between the changes of the winners i at x and j at x₀.

    x₀_i <= x₀_j and x_j <= x_i give Δx_j <= Δy <= Δx_i, hence Δy = t Δx_i + (1 - t) Δx_j.
    """

    def __init__(self, windows: Sequence[Sequence[int]]) -> None:
        self.windows = windows

    def value(self, x: Tensor) -> Tensor:
        return torch.stack([max(x[k] for k in window) for window in self.windows])

    def multipliers(self, x: Tensor, x0: Tensor) -> Tensor:
        found = torch.zeros(len(self.windows), len(x), dtype=x.dtype)
        for row, window in zip(found, self.windows, strict=True):
            i, j = max(window, key=lambda k: x[k]), max(window, key=lambda k: x0[k])
            dy, di, dj = x[i] - x0[j], x[i] - x0[i], x[j] - x0[j]
            t = (dy - dj) / (di - dj) if di != dj else torch.tensor(0.5)
            assert 0 <= t <= 1
            row[i] += t
            row[j] += 1 - t
        return found


class Gate:
    """y = u ⊙ v for two networks of the same x: Δ(u v) = v̄ Δu + ū Δv."""

    def __init__(self, left: Sequence[Step], right: Sequence[Step]) -> None:
        self.left, self.right = left, right

    def value(self, x: Tensor) -> Tensor:
        return values(self.left, x)[-1] * values(self.right, x)[-1]

    def multipliers(self, x: Tensor, x0: Tensor) -> Tensor:
        u, v, u0, v0 = (
            values(side, point)[-1] for point in (x, x0) for side in (self.left, self.right)
        )
        of_u, of_v = multipliers(self.left, x, x0), multipliers(self.right, x, x0)
        found = torch.zeros_like(of_u)
        for i in range(len(u)):
            found[i] = (v[i] + v0[i]) / 2 * of_u[i] + (u[i] + u0[i]) / 2 * of_v[i]
        return found


# ---------------------------------------------------------------------- networks


def values(steps: Sequence[Step], x: Tensor) -> list[Tensor]:
    """x, and the value of each step."""
    found = [x]
    for step in steps:
        found.append(step.value(found[-1]))
    return found


def multipliers(steps: Sequence[Step], x: Tensor, x0: Tensor) -> Tensor:
    """Multiplied out from the last step to the first (Shrikumar et al. 2017, equation 3)."""
    ends = list(zip(steps, values(steps, x), values(steps, x0), strict=False))
    total = torch.eye(len(values(steps, x)[-1]), dtype=x.dtype)
    for step, here, there in reversed(ends):
        total = total @ step.multipliers(here, there)
    return total


def deep_lift(steps: Sequence[Step], x: Tensor, x0: Tensor, target: int) -> Tensor:
    return multipliers(steps, x, x0)[target] * (x - x0)


class Moving:
    """A matrix at x and at x₀, and the multipliers of its entries: (r, c), (r, c), (r, c, n)."""

    def __init__(self, now: Tensor, then: Tensor, m: Tensor) -> None:
        self.now, self.then, self.m = now, then, m

    def times(self, other: Moving) -> Moving:
        """Σ_j a_ij b_jk, each product by its factors' midpoints."""
        (rows, inner), columns = self.now.shape, other.now.shape[1]
        m = torch.zeros(rows, columns, self.m.shape[2], dtype=self.m.dtype)
        for i, j, k in product(range(rows), range(inner), range(columns)):
            m[i, k] += (self.now[i, j] + self.then[i, j]) / 2 * other.m[j, k]
            m[i, k] += (other.now[j, k] + other.then[j, k]) / 2 * self.m[i, j]
        return Moving(self.now @ other.now, self.then @ other.then, m)

    def transposed(self) -> Moving:
        return Moving(self.now.T, self.then.T, self.m.transpose(0, 1))

    def each_row(self, steps: Sequence[Step]) -> Moving:
        pairs = list(zip(self.now, self.then, strict=True))
        m = torch.stack([multipliers(steps, *p) @ m for p, m in zip(pairs, self.m, strict=True)])
        now, then = (torch.stack([values(steps, p[e])[-1] for p in pairs]) for e in (0, 1))
        return Moving(now, then, m)


def moving(x: Tensor, x0: Tensor) -> Moving:
    """The input itself."""
    return Moving(x, x0, torch.eye(x.numel(), dtype=x.dtype).view(*x.shape, x.numel()))


# ---------------------------------------------------------------------- convolutions


Size = tuple[int, ...]


def convolution(
    weight: Tensor, bias: Tensor | None, size: Size, stride: int = 1, padding: int = 0
) -> tuple[Tensor, Tensor, Size]:
    """The matrix and bias of a two-dimensional convolution of (C, H, W), and its output's size."""
    out, channels, *kernel = weight.shape
    places = [(n + 2 * padding - k) // stride + 1 for n, k in zip(size[1:], kernel, strict=True)]
    after = (out, *places)
    matrix = torch.zeros(math.prod(after), math.prod(size), dtype=weight.dtype)
    offset = torch.zeros(math.prod(after), dtype=weight.dtype)
    for o, i, j in product(*map(range, after)):
        row = flat_index(after, (o, i, j))
        offset[row] = 0.0 if bias is None else bias[o]
        for c, p, q in product(range(channels), *map(range, kernel)):
            y, x = i * stride + p - padding, j * stride + q - padding
            if 0 <= y < size[1] and 0 <= x < size[2]:
                matrix[row, flat_index(size, (c, y, x))] = weight[o, c, p, q]
    return matrix, offset, after


def windows(size: Size, kernel: int, stride: int) -> tuple[list[list[int]], Size]:
    """The entries of each window of a two-dimensional pool, and the output's size."""
    after = (size[0], *((n - kernel) // stride + 1 for n in size[1:]))
    found = []
    for c, i, j in product(*map(range, after)):
        places = product(range(kernel), range(kernel))
        found.append(
            [flat_index(size, (c, i * stride + p, j * stride + q)) for p, q in places],
        )
    return found, after


def flat_index(size: Size, index: Size) -> int:
    found = 0
    for n, i in zip(size, index, strict=True):
        found = found * n + i
    return found


# ---------------------------------------------------------------------- guided


class Rectify(Entries):
    """ReLU, where the guided methods differ from the gradient."""

    def __init__(self) -> None:
        super().__init__(torch.relu)


def backward(steps: Sequence[Step], x: Tensor, start: Tensor, kind: str) -> list[Tensor]:
    """The signals at x and behind each step, from the last to the first.

    At a ReLU, with z its input: [z > 0] g, the gradient; [z > 0] [g > 0] g, guided
    (Springenberg et al. 2014, figure 1); [g > 0] g, the deconvnet (Zeiler, Fergus 2014).
    """
    found = [start]
    for step, z in reversed(list(zip(steps, values(steps, x), strict=False))):
        g = found[0]
        if isinstance(step, Rectify):
            below = torch.zeros_like(g)
            for i in range(len(g)):
                on = z[i] > 0 or kind == "deconvolution"
                passed = g[i] > 0 or kind == "gradient"
                below[i] = g[i] if on and passed else 0.0
        else:
            # A pool's winner and a weight do not move: the same matrix, transposed.
            below = step.multipliers(z, z).T @ g
        found.insert(0, below)
    return found


def guided_grad_cam(
    steps: Sequence[Step], layer: int, sizes: Sequence[Size], x: Tensor, start: Tensor
) -> Tensor:
    """Selvaraju et al. 2017, section 3: guided backpropagation ⊙ upsampled ReLU(Σ α_c A_c)."""
    channels, height, width = sizes[layer]
    value = values(steps, x)[layer].view(sizes[layer])
    slope = backward(steps, x, start, "gradient")[layer].view(sizes[layer])
    cam = torch.zeros(height, width, dtype=x.dtype)
    for c in range(channels):
        alpha = sum(slope[(c, *p)] for p in product(range(height), range(width)))
        cam += alpha / (height * width) * value[c]
    guided = backward(steps, x, start, "guided")[0].view(sizes[0])
    found = torch.zeros_like(guided)
    for c, i, j in product(*map(range, sizes[0])):
        nearest = cam[i * height // sizes[0][1], j * width // sizes[0][2]]
        found[c, i, j] = guided[c, i, j] * max(nearest, torch.zeros(()))
    return found
