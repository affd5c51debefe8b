"""Shapley values and their kin, LIME and RISE, from their papers: sums over all there is to sum.

A game `v` maps a set of players, a frozenset of 0 to n - 1, to a number. Nothing here knows the
package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, combinations, permutations, product
from typing import Any

import torch
from torch import Tensor

Players = frozenset[int]
Value = Callable[[Players], float]
Tree = Any  # a player, or a list of trees


def game(f: Callable[[Tensor], Tensor], x: Tensor, x0: Tensor, mask: Tensor) -> Value:
    """f of one example (1, *F) where the entries of absent players are at their baseline."""

    def v(present: Players) -> float:
        point = x0.clone()
        for i in product(*(range(n) for n in x.shape)):
            if int(mask[i]) in present:
                point[i] = x[i]
        return float(f(point).detach().sum())

    return v


def sets(players: Iterable[int]) -> Iterable[Players]:
    """All subsets, the empty one and all of them included."""
    items = list(players)
    sizes = range(len(items) + 1)
    return map(frozenset, chain.from_iterable(combinations(items, s) for s in sizes))


def gains(v: Value, order: Sequence[int]) -> list[float]:
    """What each player adds when they arrive in this order."""
    found, before = [0.0] * len(order), frozenset[int]()
    for player in order:
        after = before | {player}
        found[player] = v(after) - v(before)
        before = after
    return found


def over_orders(v: Value, orders: Sequence[Sequence[int]]) -> list[float]:
    """The mean of what each player adds."""
    each = [gains(v, order) for order in orders]
    return [sum(column) / len(each) for column in zip(*each, strict=True)]


def shapley(v: Value, n: int) -> list[float]:
    """The mean over all n! orders: Shapley's own story."""
    return over_orders(v, list(permutations(range(n))))


def members(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else [m for part in tree for m in members(part)]


def orders_within(tree: Tree) -> list[list[int]]:
    """All orders in which every group arrives without others in between."""
    if isinstance(tree, int):
        return [[tree]]
    return [
        [player for part in each for player in part]
        for parts in permutations(tree)
        for each in product(*map(orders_within, parts))
    ]


def owen(v: Value, tree: Tree) -> list[float]:
    """The mean over the orders that a hierarchy of groups allows (Winter 1989)."""
    return over_orders(v, orders_within(tree))


def interaction(v: Value, i: int, j: int, n: int) -> float:
    """Grabisch and Roubens' index of a pair, with their weights (n - s - 2)! s! / (n - 1)!."""
    total = 0.0
    for s in sets(set(range(n)) - {i, j}):
        weight = math.factorial(n - len(s) - 2) * math.factorial(len(s)) / math.factorial(n - 1)
        total += weight * (v(s | {i, j}) - v(s | {i}) - v(s | {j}) + v(s))
    return total


def solved(a: list[list[float]], b: list[float]) -> list[float]:
    """Gauss's elimination with pivots."""
    rows = [[*row, value] for row, value in zip(a, b, strict=True)]
    n = len(rows)
    for k in range(n):
        best = max(range(k, n), key=lambda r: abs(rows[r][k]))
        rows[k], rows[best] = rows[best], rows[k]
        for r in range(n):
            if r != k:
                factor = rows[r][k] / rows[k][k]
                rows[r] = [x - factor * y for x, y in zip(rows[r], rows[k], strict=True)]
    return [rows[k][n] / rows[k][k] for k in range(n)]


def kernel_shap(v: Value, n: int, weighted: Sequence[tuple[Players, float]]) -> list[float]:
    """The regression of Lundberg and Lee with its constraint as a Lagrange multiplier."""
    nobody = v(frozenset())
    a = [[0.0] * (n + 1) for _ in range(n + 1)]
    b = [0.0] * n + [v(frozenset(range(n))) - nobody]
    for present, weight in weighted:
        for i in present:
            b[i] += weight * (v(present) - nobody)
            for j in present:
                a[i][j] += weight
    for i in range(n):
        a[i][n] = a[n][i] = 1.0
    return solved(a, b)[:n]


def shapley_kernel(n: int) -> list[tuple[Players, float]]:
    """Every coalition but the first and the last, with (n - 1) / (C(n, s) s (n - s))."""
    some = [s for s in sets(range(n)) if 0 < len(s) < n]
    return [(s, (n - 1) / (math.comb(n, len(s)) * len(s) * (n - len(s)))) for s in some]


def kernel(mode: str, width: float, x: Tensor, near: Tensor) -> float:
    """LIME's exp(-d² / σ²) as captum has it, with 2 σ²."""
    a, b = x.flatten().tolist(), near.flatten().tolist()
    if mode == "euclidean":
        squared = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
    else:
        inner = sum(p * q for p, q in zip(a, b, strict=True))
        norms = math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))
        squared = (1 - inner / max(norms, 1e-8)) ** 2
    return math.exp(-squared / (2 * width**2))


def lasso(z: list[list[float]], y: list[float], w: list[float], alpha: float) -> list[float]:
    """Σ w (y - b·z - c)² / (2 Σ w) + α |b|₁, a coordinate at a time until nothing moves."""
    total, k, n = sum(w), len(y), len(z[0])
    means = [sum(w[r] * z[r][j] for r in range(k)) / total for j in range(n)]
    middle = sum(w[r] * y[r] for r in range(k)) / total
    columns = [[z[r][j] - means[j] for r in range(k)] for j in range(n)]
    b, rest = [0.0] * n, [value - middle for value in y]
    for _ in range(20_000):
        moved = 0.0
        for j in range(n):
            size = sum(w[r] * columns[j][r] ** 2 for r in range(k)) / total
            if size < 1e-14:
                continue
            pull = sum(w[r] * columns[j][r] * rest[r] for r in range(k)) / total + size * b[j]
            new = math.copysign(max(abs(pull) - alpha, 0.0), pull) / size
            for r in range(k):
                rest[r] += (b[j] - new) * columns[j][r]
            moved, b[j] = max(moved, abs(new - b[j])), new
        if moved < 1e-15:
            break
    return b


def enlarged(coarse: Tensor, size: int) -> Tensor:
    """Linear interpolation along the last dimension, between the middles of cells."""
    cells = coarse.shape[-1]
    columns = []
    for i in range(size):
        place = min(max((i + 0.5) * cells / size - 0.5, 0.0), cells - 1.0)
        left = min(int(place), cells - 2) if cells > 1 else 0
        right = min(left + 1, cells - 1)
        share = place - left
        columns.append((1 - share) * coarse[..., left] + share * coarse[..., right])
    return torch.stack(columns, -1)


def rise_mask(coarse: Tensor, sizes: Sequence[int], shifts: Sequence[int]) -> Tensor:
    """A grid h by w enlarged to h + 1 by w + 1 cells of ⌈H / h⌉ by ⌈W / w⌉, cut at the shifts."""
    mask = coarse
    for d, size in enumerate(sizes):
        cells = mask.shape[d]
        step = math.ceil(size / cells)
        mask = enlarged(mask.movedim(d, -1), step * (cells + 1)).movedim(-1, d)
    for d, (size, shift) in enumerate(zip(sizes, shifts, strict=True)):
        mask = mask.narrow(d, shift, size)
    return mask


def windows(size: int, window: int, stride: int) -> list[range]:
    """Where a window lies along a dimension; the last one reaches the end, and is cut off there."""
    found = [range(0, window)]
    while found[-1].stop < size:
        start = found[-1].start + stride
        found.append(range(start, min(start + window, size)))
    return found


def occlusion(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    x0: Tensor,
    window: Sequence[int],
    strides: Sequence[int],
) -> Tensor:
    """The mean change over the windows that cover an entry, (1, *F)."""
    total, count = torch.zeros_like(x), torch.zeros_like(x)
    sizes = zip(x.shape[1:], window, strides, strict=True)
    for place in product(*(windows(*each) for each in sizes)):
        covered = x.clone()
        inside = list(product(*place))
        for i in inside:
            covered[(0, *i)] = x0[(0, *i)]
        change = float((f(x) - f(covered)).detach().sum())
        for i in inside:
            total[(0, *i)] += change
            count[(0, *i)] += 1
    return total / count
