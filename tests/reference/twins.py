"""The formulas of the papers, one example at a time, slow and literal.

`f` maps one example, (1, *F), to the number that is explained; `rest` maps a layer's value and the
input to it, for what lies above the layer. Nothing here knows the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor

Number = Callable[[Tensor], Tensor]
Rest = Callable[[Tensor, Tensor], Tensor]
Rule = list[tuple[float, float]]  # nodes and weights


def slope(f: Number, x: Tensor) -> Tensor:
    """∂f/∂x."""
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(f(x).sum(), x)
    return gradient


def jacobian(y: Callable[[Tensor], Tensor], x: Tensor) -> list[tuple[tuple[int, ...], Tensor]]:
    """∂y_j/∂x for every index j of the value y, (1, *L)."""
    size = y(x).shape[1:]
    indices = product(*(range(n) for n in size))
    return [(j, slope(lambda v, j=j: y(v)[(0, *j)], x)) for j in indices]


# ---------------------------------------------------------------------- gradients


def saliency(f: Number, x: Tensor) -> Tensor:
    return slope(f, x).abs()


def input_x_gradient(f: Number, x: Tensor) -> Tensor:
    return x * slope(f, x)


# ---------------------------------------------------------------------- integrals


def legendre(n: int, t: float) -> tuple[float, float]:
    """P_n(t) and P_n'(t) by Bonnet's recurrence."""
    before, now = 1.0, t
    for k in range(2, n + 1):
        before, now = now, ((2 * k - 1) * t * now - (k - 1) * before) / k
    return now, n * (t * now - before) / (t * t - 1)


def gauss_legendre(n: int) -> Rule:
    """The roots of P_n, by Newton's method, with weights 2 / ((1 - t²) P_n'(t)²); on [0, 1]."""
    rule = []
    for i in range(n):
        t = math.cos(math.pi * (n - i - 0.25) / (n + 0.5))
        for _ in range(50):
            value, derivative = legendre(n, t)
            t -= value / derivative
        _, derivative = legendre(n, t)
        rule.append(((t + 1) / 2, 1 / ((1 - t * t) * derivative**2)))
    return rule


def quadrature(method: str, n: int) -> Rule:
    """n nodes in [0, 1] and their weights, which sum to 1."""
    if method == "gausslegendre":
        return gauss_legendre(n)
    if method == "riemann_trapezoid":
        if n == 1:
            return [(0.5, 1.0)]
        width = 1 / (n - 1)
        ends = (0, n - 1)
        return [(s * width, width / 2 if s in ends else width) for s in range(n)]
    offset = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[method]
    return [((s + offset) / n, 1 / n) for s in range(n)]


def integrated_gradients(
    f: Number, x: Tensor, x0: Tensor, rule: Rule, multiply: bool = True
) -> Tensor:
    """Sundararajan et al. 2017, equation 1."""
    total = torch.zeros_like(x)
    for a, w in rule:
        total = total + w * slope(f, x0 + a * (x - x0))
    return (x - x0) * total if multiply else total


def path_integrated_gradients(
    f: Number,
    rule: Rule,
    curve: Callable[[float], Tensor],
    velocity: Callable[[float], Tensor],
) -> Tensor:
    """Sundararajan et al. 2017, section 3: along any curve."""
    total = torch.zeros_like(curve(0.0))
    for a, w in rule:
        total = total + w * slope(f, curve(a)) * velocity(a)
    return total


def gradient_shap(
    f: Number,
    ends: Sequence[Tensor],
    starts: Sequence[Tensor],
    alphas: Sequence[float],
    multiply: bool = True,
) -> Tensor:
    """Erion et al. 2021, equation 3, for samples that were drawn."""
    total = torch.zeros_like(ends[0])
    for end, start, a in zip(ends, starts, alphas, strict=True):
        gradient = slope(f, start + a * (end - start))
        total = total + (gradient * (end - start) if multiply else gradient)
    return total / len(ends)


def shap_deltas(
    f: Number, ends: Sequence[Tensor], starts: Sequence[Tensor], alphas: Sequence[float]
) -> list[Tensor]:
    """Per sample: the sum of its scores, less the output's change."""
    return [
        (slope(f, start + a * (end - start)) * (end - start)).sum() - (f(end) - f(start)).sum()
        for end, start, a in zip(ends, starts, alphas, strict=True)
    ]


def noise_tunnel(kind: str, scores: Sequence[Tensor]) -> Tensor:
    """Smilkov et al. 2017; Hooker et al. 2019; Adebayo et al. 2018."""
    mean = sum(scores, torch.zeros_like(scores[0])) / len(scores)
    if kind == "smoothgrad":
        return mean
    centre = mean if kind == "vargrad" else torch.zeros_like(mean)
    total = torch.zeros_like(mean)
    for score in scores:
        total = total + (score - centre) ** 2
    return total / len(scores)


# ---------------------------------------------------------------------- layers


def layer_gradient_x_activation(rest: Rest, y: Number, x: Tensor, multiply: bool = True) -> Tensor:
    value = y(x)
    gradient = slope(lambda v: rest(v, x), value)
    return value * gradient if multiply else gradient


def layer_integrated_gradients(
    rest: Rest, y: Number, x: Tensor, x0: Tensor, rule: Rule, multiply: bool = True
) -> Tensor:
    """The layer's value moves; what lies beside it stays at the input."""
    return integrated_gradients(lambda v: rest(v, x), y(x), y(x0), rule, multiply)


def layer_gradient_shap(
    rest: Rest,
    y: Number,
    ends: Sequence[Tensor],
    starts: Sequence[Tensor],
    alphas: Sequence[float],
) -> Tensor:
    """The input moves; gradients are those at the layer."""
    total = torch.zeros_like(y(ends[0]))
    for end, start, a in zip(ends, starts, alphas, strict=True):
        point = start + a * (end - start)
        gradient = slope(lambda v, p=point: rest(v, p), y(point))
        total = total + gradient * (y(end) - y(start))
    return total / len(ends)


def layer_conductance(
    rest: Rest, y: Number, x: Tensor, x0: Tensor, nodes: Sequence[float]
) -> Tensor:
    """Shrikumar et al. 2018, equation 5: the gradient at the beginning of each step."""
    points = [x0 + a * (x - x0) for a in nodes]
    total = torch.zeros_like(y(x))
    for here, there in pairwise(points):
        gradient = slope(lambda v, p=here: rest(v, p), y(here))
        total = total + gradient * (y(there) - y(here))
    return total


def internal_influence(rest: Rest, y: Number, x: Tensor, x0: Tensor, rule: Rule) -> Tensor:
    """Leino et al. 2018, definition 1, uniform along the line."""
    total = torch.zeros_like(y(x))
    for a, w in rule:
        point = x0 + a * (x - x0)
        total = total + w * slope(lambda v, p=point: rest(v, p), y(point))
    return total


def neuron_conductance(
    rest: Rest,
    y: Number,
    chosen: Callable[[tuple[int, ...]], bool],
    x: Tensor,
    x0: Tensor,
    rule: Rule,
    multiply: bool = True,
) -> Tensor:
    """Dhamdhere et al. 2018, equation 3; of several neurons, the sum."""
    total = torch.zeros_like(x)
    for a, w in rule:
        point = x0 + a * (x - x0)
        above = slope(lambda v, p=point: rest(v, p), y(point))
        for j, below in jacobian(y, point):
            if chosen(j):
                total = total + w * above[(0, *j)] * below
    return (x - x0) * total if multiply else total


# ---------------------------------------------------------------------- class activation maps


def cam(weights: Tensor, value: Tensor) -> Tensor:
    """Σ_c w_c(p) A_c(p) at every position p: (1, C, *S) to (1, 1, *S)."""
    total = torch.zeros_like(value[:, :1])
    for c in range(value.shape[1]):
        for p in product(*(range(n) for n in value.shape[2:])):
            total[(0, 0, *p)] += weights[(0, c, *p)] * value[(0, c, *p)]
    return total


def grad_cam_weights(value: Tensor, gradient: Tensor) -> Tensor:
    """Selvaraju et al. 2017, equation 1."""
    weights = torch.zeros_like(value)
    for c in range(value.shape[1]):
        positions = list(product(*(range(n) for n in value.shape[2:])))
        mean = sum(gradient[(0, c, *p)] for p in positions) / len(positions)
        for p in positions:
            weights[(0, c, *p)] = mean
    return weights


def hires_cam_weights(value: Tensor, gradient: Tensor) -> Tensor:
    """Draelos, Carin 2020, equation 2."""
    return gradient


def layer_cam_weights(value: Tensor, gradient: Tensor) -> Tensor:
    """Jiang et al. 2021, equation 5."""
    return gradient.clamp(min=0)


def grad_cam_plus_plus_weights(value: Tensor, gradient: Tensor) -> Tensor:
    """Chattopadhyay et al. 2018, equations 5 and 19."""
    weights = torch.zeros_like(value)
    for c in range(value.shape[1]):
        positions = list(product(*(range(n) for n in value.shape[2:])))
        whole = sum(value[(0, c, *p)] for p in positions)
        weight = 0.0
        for p in positions:
            g = gradient[(0, c, *p)]
            below = 2 * g**2 + whole * g**3
            weight += float(g**2 / below * max(g, 0.0)) if below != 0 else 0.0
        for p in positions:
            weights[(0, c, *p)] = weight
    return weights


def score_cam(f: Number, y: Number, x: Tensor) -> Tensor:
    """Wang et al. 2020, equations 3 to 6, without the softmax; the baseline is a blank image."""
    value = y(x)
    mode = {1: "linear", 2: "bilinear"}[x.ndim - 2]
    weights = torch.zeros_like(value)
    for c in range(value.shape[1]):
        channel = value[:, c : c + 1]
        low, high = channel.min(), channel.max()
        unit = (channel - low) / (high - low) if high > low else channel * 0
        mask = F.interpolate(unit, x.shape[2:], mode=mode, align_corners=False)
        weights[:, c] = (f(x * mask) - f(x * 0)).sum()
    return cam(weights, value)


# ---------------------------------------------------------------------- perturbations


def without(x: Tensor, x0: Tensor, mask: Tensor, group: int) -> Tensor:
    """One example with the entries of a group at their baseline."""
    changed = x.clone()
    for i in product(*(range(n) for n in x.shape)):
        if int(mask[i]) == group:
            changed[i] = x0[i]
    return changed


def feature_ablation(f: Number, x: Tensor, x0: Tensor, mask: Tensor) -> Tensor:
    scores = torch.zeros_like(x)
    for group in sorted(set(mask.flatten().tolist())):
        drop = (f(x) - f(without(x, x0, mask, group))).sum()
        for i in product(*(range(n) for n in x.shape)):
            if int(mask[i]) == group:
                scores[i] = drop
    return scores


def data_set_ablation(
    metric: Callable[[list[Tensor]], Tensor], batches: list[Tensor], x0: Tensor, mask: Tensor
) -> Tensor:
    """The metric of all batches, less that of all batches without the group: (M, *F)."""
    whole = metric(batches)
    scores = torch.zeros(len(whole), *mask.shape[1:], dtype=whole.dtype)
    for group in sorted(set(mask.flatten().tolist())):
        changed = [
            torch.cat([without(batch[i : i + 1], x0, mask, group) for i in range(len(batch))])
            for batch in batches
        ]
        drop = whole - metric(changed)
        for i in product(*(range(n) for n in mask.shape[1:])):
            if int(mask[(0, *i)]) == group:
                scores[(slice(None), *i)] = drop
    return scores


# ---------------------------------------------------------------------- statistics


def statistics(values: Sequence[Tensor]) -> dict[str, Tensor | int]:
    """Two passes over all values, entry by entry."""
    n = len(values)
    mean, squares = torch.zeros_like(values[0]), torch.zeros_like(values[0])
    for value in values:
        mean = mean + value / n
    for value in values:
        squares = squares + (value - mean) ** 2
    small, large, total = values[0].clone(), values[0].clone(), torch.zeros_like(mean)
    for value in values:
        total = total + value
        for i in product(*(range(k) for k in value.shape)):
            small[i] = min(float(small[i]), float(value[i]))
            large[i] = max(float(large[i]), float(value[i]))
    sample = squares / (n - 1) if n > 1 else squares * 0
    return {
        "count": n,
        "mean": mean,
        "mse": squares,
        "variance": squares / n,
        "std_dev": (squares / n).sqrt(),
        "sample_variance": sample,
        "sample_std_dev": sample.sqrt(),
        "min": small,
        "max": large,
        "sum": total,
    }
