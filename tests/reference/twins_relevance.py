"""LRP from its papers: relevance handed down a layer, sum by sum. Nothing here knows the package.

Numbers are floats; x has one per input, W a row per output, R one per output. A denominator d is
d + ε sign d, with sign 0 = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

from torch import Tensor

Row = list[float]
Matrix = list[Row]
Rule = Callable[[Row, Matrix, Row, Row], Row]  # x, W, b, R to the relevance of x

TINY = 1e-9


def stable(d: float, eps: float = TINY) -> float:
    return d + eps if d >= 0 else d - eps


def up(v: float) -> float:
    return max(v, 0.0)


def down(v: float) -> float:
    return min(v, 0.0)


def shared(parts: Matrix, rest: Row, relevance: Row, eps: float = TINY) -> Row:
    """R_i = Σ_j part_ji R_j / (Σ_i part_ji + rest_j): the rest, a bias, keeps its share."""
    found = [0.0] * len(parts[0])
    for row, other, r in zip(parts, rest, relevance, strict=True):
        whole = stable(sum(row) + other, eps)
        for i, part in enumerate(row):
            found[i] += part / whole * r
    return found


def outputs(x: Row, w: Matrix, b: Row) -> Row:
    return [
        sum(wi * xi for wi, xi in zip(row, x, strict=True)) + c for row, c in zip(w, b, strict=True)
    ]


# ---------------------------------------------------------------------- linear layers


def epsilon(eps: float) -> Rule:
    """Bach et al. 2015, equation 58."""

    def rule(x: Row, w: Matrix, b: Row, r: Row) -> Row:
        parts = [[xi * wi for xi, wi in zip(x, row, strict=True)] for row in w]
        return shared(parts, b, r, eps)

    return rule


def gamma(g: float, bias: bool = True) -> Rule:
    """Montavon et al. 2019, section 10.2.3, for inputs that are not negative; the bias as it is."""

    def rule(x: Row, w: Matrix, b: Row, r: Row) -> Row:
        parts = [[xi * (wi + g * up(wi)) for xi, wi in zip(x, row, strict=True)] for row in w]
        return shared(parts, b if bias else [0.0] * len(b), r)

    return rule


def signed_gamma(g: float) -> Rule:
    """Andéol et al. 2021: whatever has the sign of the output is favoured, biases too."""

    def rule(x: Row, w: Matrix, b: Row, r: Row) -> Row:
        z = outputs(x, w, b)
        parts, rest = [], []
        for row, bias, out in zip(w, b, z, strict=True):
            favoured = up if out > 0 else down
            parts.append([v + g * favoured(v) for v in map(math.prod, zip(x, row, strict=True))])
            rest.append(bias + g * favoured(bias))
        return shared(parts, rest, r)

    return rule


def z_plus_without_split(bias: bool = True) -> Rule:
    """α = 1, β = 0 for inputs that are not negative, the bias as it is: the published rule."""

    def rule(x: Row, w: Matrix, b: Row, r: Row) -> Row:
        parts = [[xi * up(wi) for xi, wi in zip(x, row, strict=True)] for row in w]
        return shared(parts, b if bias else [0.0] * len(b), r)

    return rule


def alpha_beta(alpha: float, beta: float, eps: float = TINY) -> Rule:
    """Bach et al. 2015, equation 60: of each product its positive and its negative part."""

    def rule(x: Row, w: Matrix, b: Row, r: Row) -> Row:
        products = [[xi * wi for xi, wi in zip(x, row, strict=True)] for row in w]
        gains = [[up(v) for v in row] for row in products]
        losses = [[down(v) for v in row] for row in products]
        gain = shared(gains, [up(c) for c in b], r, eps)
        loss = shared(losses, [down(c) for c in b], r, eps)
        return [alpha * p - beta * m for p, m in zip(gain, loss, strict=True)]

    return rule


def w_square(x: Row, w: Matrix, b: Row, r: Row) -> Row:
    """Montavon et al. 2017, equation 7."""
    return shared([[wi * wi for wi in row] for row in w], [0.0] * len(b), r)


def flat(x: Row, w: Matrix, b: Row, r: Row) -> Row:
    """Lapuschkin et al. 2019: the same to all that the output is connected to."""
    return shared([[float(wi != 0) for wi in row] for row in w], [0.0] * len(b), r)


def z_box(low: float, high: float) -> Rule:
    """Montavon et al. 2017, equation 10."""

    def rule(x: Row, w: Matrix, b: Row, r: Row) -> Row:
        parts = [
            [xi * wi - low * up(wi) - high * down(wi) for xi, wi in zip(x, row, strict=True)]
            for row in w
        ]
        return shared(parts, [0.0] * len(b), r)

    return rule


def identity(x: Row, r: Row) -> Row:
    """An entry keeps its relevance, which travels as R / x with x stabilised."""
    return [ri if xi else 0.0 for xi, ri in zip(x, r, strict=True)]


def rectifier(x: Row, r: Row) -> Row:
    """ReLU's slope needs no stabiliser."""
    return r


def folded(
    w: Matrix, b: Row, mean: Row, var: Row, weight: Row, bias: Row, eps: float
) -> tuple[Matrix, Row]:
    """A linear map and the batch norm behind it, as one linear map."""
    factor = [g / math.sqrt(v + eps) for g, v in zip(weight, var, strict=True)]
    matrix = [[k * wi for wi in row] for k, row in zip(factor, w, strict=True)]
    shift = [(c - m) * k + s for c, m, k, s in zip(b, mean, factor, bias, strict=True)]
    return matrix, shift


# ---------------------------------------------------------------------- attention
# Achtibat et al. 2024. Matrices are (positions, features).


def softmax(x: Row) -> Row:
    total = sum(map(math.exp, x))
    return [math.exp(v) / total for v in x]


def softmax_relevance(x: Row, r: Row) -> Row:
    """Proposition 3.1: R_i = x_i (R_i - s_i Σ R)."""
    return [xi * (ri - si * sum(r)) for xi, ri, si in zip(x, r, softmax(x), strict=True)]


def product_relevance(a: Matrix, v: Matrix, r: Matrix, share: float = 0.5) -> tuple[Matrix, Matrix]:
    """Proposition 3.3, for o = a v: a part of a_ij v_jk R_ik / o_ik to a_ij, as much to v_jk."""
    of_a = [[0.0] * len(a[0]) for _ in a]
    of_v = [[0.0] * len(v[0]) for _ in v]
    for i, j, k in product(range(len(a)), range(len(v)), range(len(v[0]))):
        o = sum(a[i][m] * v[m][k] for m in range(len(v)))
        part = share * a[i][j] * v[j][k] * r[i][k] / o
        of_a[i][j] += part
        of_v[j][k] += part
    return of_a, of_v


def norm_relevance(x: Row, weight: Row, bias: Row, eps: float, r: Row, centred: bool) -> Row:
    """Proposition 3.4: the denominator is constant; what is left is linear."""
    n = len(x)
    mean = sum(x) / n if centred else 0.0
    u = [v - mean for v in x]
    root = math.sqrt(sum(v * v for v in u) / n + eps)
    whole = [v / root * k + c for v, k, c in zip(u, weight, bias, strict=True)]
    at_u = [v / root * k / y * ri for v, k, y, ri in zip(u, weight, whole, r, strict=True)]
    share = 1 / n if centred else 0.0
    centring = [[(i == k) - share for k in range(n)] for i in range(n)]
    return epsilon(1e-300)(x, centring, [0.0] * n, at_u)


def sum_relevance(a: Row, b: Row, r: Row) -> tuple[Row, Row]:
    """A residual connection: each in proportion."""
    triples = list(zip(a, b, r, strict=True))
    return [x / (x + y) * z for x, y, z in triples], [y / (x + y) * z for x, y, z in triples]


def rows(x: Tensor) -> Matrix:
    found: Matrix = x.detach().tolist()
    return found


def transposed(m: Matrix) -> Matrix:
    return [list(column) for column in zip(*m, strict=True)]


def added(*matrices: Matrix) -> Matrix:
    return [[sum(each) for each in zip(*rs, strict=True)] for rs in zip(*matrices, strict=True)]
