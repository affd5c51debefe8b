"""DeepLIFT's rules for softmax and for norms: the change from the reference, shared exactly.

softmax p    m = M (g - Σ M g / Σ M), with M the logarithmic mean of p and p₀
norms        centring, mean square, reciprocal root and product, composed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from captum._engine.rules.operation import Operation
from captum._engine.rules.primitives import carry
from captum._engine.rules.written_out import per_channel


def logarithmic_mean(p: Tensor, q: Tensor, gap: Tensor) -> Tensor:
    """(p - q) / (ln p - ln q), given gap = ln p - ln q; zero where both are."""
    u = gap.abs()
    share = torch.where(u > 1e-6, -torch.expm1(-u) / u, 1 - u / 2)
    return torch.maximum(p, q).mul(share).nan_to_num_(nan=0.0)


# ----------------------------------------------------------------------- softmax and its kin


def _means(op: Operation, dim: int, dtype: Any = None) -> tuple[Tensor, Tensor]:
    """The logarithmic means M of the probabilities' two ends, and M / Σ M."""
    a, b = op.mode.ends(op.args[0])
    if a.shape[dim] != b.shape[dim]:
        b = b.expand_as(a)
    kind = dtype or (torch.float32 if a.dtype in (torch.float16, torch.bfloat16) else None)
    log_p, log_q = torch.log_softmax(a, dim, kind), torch.log_softmax(b, dim, kind)
    mean = logarithmic_mean(log_p.exp(), log_q.exp(), log_p - log_q)
    return mean, mean / mean.sum(dim, keepdim=True)


def softmax(op: Operation) -> Any:
    dim, dtype = _dim(op, op.argument(1, "dim")), op.kwargs.get("dtype")
    with torch.no_grad():
        mean, share = _means(op, dim, dtype)

    def back(saved: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
        mean, share = saved
        return [mean * (g - (share * g).sum(dim, keepdim=True))]

    return carry(op.value(), [op.args[0]], back, [mean, share])


def log_softmax(op: Operation) -> Any:
    dim, dtype = _dim(op, op.argument(1, "dim")), op.kwargs.get("dtype")
    with torch.no_grad():
        _, share = _means(op, dim, dtype)

    def back(saved: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
        return [g - saved[0] * g.sum(dim, keepdim=True)]

    return carry(op.value(), [op.args[0]], back, [share])


def logsumexp(op: Operation) -> Any:
    x, dims, keep = op.args[0], op.argument(1, "dim"), op.argument(2, "keepdim", False)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(dims) > 1:
        with op.mode:  # one after the other
            for dim in sorted((d % x.ndim for d in dims), reverse=True):
                x = torch.logsumexp(x, dim, keep)
            return x
    (dim,) = dims
    with torch.no_grad():
        _, share = _means(op, dim)

    def back(saved: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
        return [saved[0] * (g if keep else g.unsqueeze(dim))]

    return carry(op.value(), [x], back, [share])


def _dim(op: Operation, dim: int | None) -> int:
    if dim is not None:
        return dim
    return 0 if op.args[0].ndim in (0, 1, 3) else 1  # what F.softmax guesses, with a warning


# ------------------------------------------------------------------------------------- norms


def _normalised(
    op: Operation,
    shape: tuple[int, ...],
    dims: tuple[int, ...],
    eps: float,
    weight: Tensor | None,
    centred: bool,
) -> Tensor:
    """y = (x - mean) · (mean square + eps)^(-1/2) · weight, over `dims` of x seen in `shape`."""
    x = op.args[0]
    with torch.no_grad():
        a, b = op.mode.ends(x)
        apart = len(shape) > len(dims) and shape[0] == len(a) and b.shape[1:] == a.shape[1:]
        a, b = (_wide(t).reshape(-1, *shape[1:]) for t in (a, b if apart else b.expand_as(a)))
        if centred:
            a, b = (t - t.mean(dims, keepdim=True) for t in (a, b))
        r, s = (torch.rsqrt(t.square().mean(dims, keepdim=True) + eps) for t in (a, b))
        middle, root = (a + b) / 2, (r + s) / 2
        slope = -2 * (r * s).square() / (r + s)  # of r, along the mean square
    saved = [middle, root, slope] if weight is None else [middle, root, slope, weight.detach()]

    def back(saved: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
        middle, root, slope, *weight = saved
        g = (g * weight[0] if weight else g).reshape(-1, *shape[1:])
        g = g * root + middle * (slope * (g * middle).mean(dims, keepdim=True))
        if centred:
            g = g - g.mean(dims, keepdim=True)
        return [g.reshape(x.shape)]

    return carry(op.value(), [x], back, saved)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _affine_apart(op: Operation, weight: Any, bias: Any) -> Any:
    """A norm whose weight or bias depends on the input: those are written out."""
    given = {i: None for i, a in enumerate(op.args) if a is weight or a is bias}
    args = tuple(given.get(i, a) for i, a in enumerate(op.args))
    kwargs = {k: None if v is weight or v is bias else v for k, v in op.kwargs.items()}
    with op.mode:
        y = op.function(*args, **kwargs)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


def layer_norm(op: Operation) -> Any:
    weight, bias = op.argument(2, "weight"), op.argument(3, "bias")
    if op.live(weight) or op.live(bias):
        return _affine_apart(op, weight, bias)
    dims = tuple(range(-len(op.argument(1, "normalized_shape")), 0))
    eps = op.argument(4, "eps", 1e-5)
    return _normalised(op, _batched(op), dims, eps, weight, centred=True)


def rms_norm(op: Operation) -> Any:
    weight, eps = op.argument(2, "weight"), op.argument(3, "eps")
    if op.live(weight):
        return _affine_apart(op, weight, None)
    dims = tuple(range(-len(op.argument(1, "normalized_shape")), 0))
    eps = torch.finfo(op.args[0].dtype).eps if eps is None else eps
    return _normalised(op, _batched(op), dims, eps, weight, centred=False)


def group_norm(op: Operation) -> Any:
    x, groups = op.args[0], op.argument(1, "num_groups")
    weight, bias = op.argument(2, "weight"), op.argument(3, "bias")
    if op.live(weight) or op.live(bias):
        return _affine_apart(op, per_channel(weight, x), per_channel(bias, x))
    shape = (len(x), groups, x[0].numel() // groups)
    eps = op.argument(4, "eps", 1e-5)
    return _normalised(op, shape, (-1,), eps, per_channel(weight, x), centred=True)


def instance_norm(op: Operation) -> Any:
    x = op.args[0]
    if not op.argument(5, "use_input_stats", True):
        return op.run()
    weight, bias = op.argument(3, "weight"), op.argument(4, "bias")
    if op.live(weight) or op.live(bias):
        return _affine_apart(op, per_channel(weight, x), per_channel(bias, x))
    shape, dims = _batched(op), tuple(range(2, x.ndim))
    eps = op.argument(7, "eps", 1e-5)
    return _normalised(op, shape, dims, eps, per_channel(weight, x), centred=True)


def _batched(op: Operation) -> tuple[int, ...]:
    return tuple(op.args[0].shape)
