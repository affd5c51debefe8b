"""Operations that torch runs in one piece, written out so that rules see their parts.

Each runs under the mode (`with op.mode`): what it is made of gets the rules of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum._engine.errors import wrong
from captum._engine.rules.operation import Operation, Rule, words

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, State, Tensor, Tensor | None], State]


def written(function: Callable[..., Any]) -> Rule:
    """A rule that computes an operation from others; `function` gets the call's arguments."""

    @wraps(function)
    def written_out(op: Operation) -> Any:
        with op.mode:
            return function(*op.args, **op.kwargs)

    written_out.__name__ = "written out"
    return written_out


def several(rule: Rule) -> Rule:
    """A rule for an operation that is linear as long as one argument alone is live."""

    def unless_linear(op: Operation) -> Any:
        return op.run() if op.live_count < 2 else rule(op)

    unless_linear.__name__ = "written out"
    return unless_linear


@written
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q kᵀ · scale + mask) v."""
    if enable_gqa:
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = torch.matmul(q * (q.shape[-1] ** -0.5 if scale is None else scale), k.mT)
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        else:
            scores = scores + attn_mask
    weights = torch.softmax(scores, -1)
    # A row that may look at nothing gives zeros, not 0 / 0.
    if attn_mask is not None and bool(weights.isnan().any()):
        weights = weights.masked_fill(weights.isnan(), 0.0)
    return torch.matmul(F.dropout(weights, dropout_p) if dropout_p else weights, v)


@written
def variance(
    x: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Σ (x - mean)² / (n - correction)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    correction = int(unbiased) if correction is None else correction
    dims = _dims(x, dim)
    count = math.prod(x.shape[d] for d in dims)
    centred = x - x.mean(dims, keepdim=True)
    return centred.square().sum(dims, keepdim=keepdim) / max(count - correction, 0)


@written
def deviation(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return torch.var(x, *args, **kwargs).sqrt()


@written
def variance_and_mean(x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    return torch.var(x, *args, **kwargs), _mean(x, *args, **kwargs)


@written
def deviation_and_mean(x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    return torch.std(x, *args, **kwargs), _mean(x, *args, **kwargs)


def _mean(x: Tensor, dim: Any = None, *rest: Any, **kwargs: Any) -> Tensor:
    keepdim = kwargs.get("keepdim", rest[1] if len(rest) > 1 else False)
    return x.mean(_dims(x, None if isinstance(dim, bool) else dim), keepdim=keepdim)


def _dims(x: Tensor, dim: Any) -> tuple[int, ...]:
    if dim is None:
        return tuple(range(x.ndim))
    return (dim,) if isinstance(dim, int) else tuple(dim)


@written
def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p)."""
    x = x if dtype is None else x.to(dtype)
    dims = _dims(x, dim)
    if ord == 2:
        return x.square().sum(dims, keepdim=keepdim).sqrt()
    if ord == 1:
        return x.abs().sum(dims, keepdim=keepdim)
    if math.isinf(ord):
        return (torch.amax if ord > 0 else torch.amin)(x.abs(), dims, keepdim)
    return torch.pow(x.abs().pow(ord).sum(dims, keepdim=keepdim), 1 / ord)


def norm(op: Operation) -> Any:
    """A vector norm, or the Frobenius norm of matrices; others have no rule."""
    x, order, dim = op.args[0], op.argument(1, "ord"), op.argument(2, "dim")
    matrix = op.name == "linalg_matrix_norm"
    keep = op.argument(3, "keepdim", False)
    if matrix:
        order, dim = (order or "fro"), (-2, -1) if dim is None else dim
    if order == "fro" or (order is None and not isinstance(dim, int)):
        order = 2
    elif matrix or (isinstance(dim, tuple | list) and len(dim) > 1):
        return op.mode.decline(op)
    with op.mode:
        return torch.linalg.vector_norm(x, 2 if order is None else order, dim, keep)


@written
def gated(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


@written
def division(a: Any, b: Tensor, *, rounding_mode: str | None = None) -> Tensor:
    quotient: Tensor = a * torch.reciprocal(b)
    if rounding_mode is None:
        return quotient
    return torch.floor(quotient) if rounding_mode == "floor" else torch.trunc(quotient)


@several
@written
def add_product(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β x + α a b, also of batches."""
    return torch.add(beta * x, torch.matmul(a, b), alpha=alpha)


@several
@written
def add_summed_product(
    x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    return torch.add(beta * x, torch.matmul(a, b).sum(0), alpha=alpha)


@several
@written
def add_outer(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return torch.add(beta * x, a[:, None] * b, alpha=alpha)


@several
@written
def addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return torch.add(x, a * b, alpha=value)


@several
@written
def addcdiv(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return torch.add(x, a / b, alpha=value)


@several
@written
def lerp(start: Tensor, end: Tensor, weight: Any) -> Tensor:
    return torch.add(start, weight * (end - start))


@written
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    def size(x: Tensor) -> Tensor:
        return x.square().sum(dim).sqrt().clamp(min=eps)

    return (x1 * x2).sum(dim) / (size(x1) * size(x2))


@written
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    distance: Tensor = torch.linalg.vector_norm(x1 - x2 + eps, p, -1, keepdim)
    return distance


@several
@written
def bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x₁ W x₂ + b: linear in one operand, a product with the other."""
    y = (torch.einsum("...i,oij->...oj", x1, weight) * x2.unsqueeze(-2)).sum(-1)
    return y if bias is None else y + bias


@written
def complex_abs(x: Tensor) -> Tensor:
    return torch.view_as_real(x).square().sum(-1).sqrt()


@written
def softmin(x: Tensor, dim: int = -1, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    return torch.softmax(-x, dim, dtype=dtype)


def per_channel(weight: Tensor | None, x: Tensor) -> Tensor | None:
    """A number per channel, to be broadcast against (N, C, *S)."""
    return None if weight is None else weight.view(-1, *[1] * (x.ndim - 2))


def bias_of(op: Operation) -> Any:
    """The summand of a product that has one."""
    if op.name == "addmm":
        return op.args[0]
    biased = op.name == "linear" or op.name.startswith("conv")
    return op.argument(2, "bias") if biased else None


def bias_apart(op: Operation) -> Any:
    """A product and a sum of two, where the summand depends on the input too."""
    if op.name == "addmm":
        return add_product(op)
    bias = bias_of(op)
    args = tuple(None if a is bias else a for a in op.args)
    kwargs = {k: None if v is bias else v for k, v in op.kwargs.items()}
    with op.mode:
        y = op.function(*args, **kwargs)
        return y + (bias if op.name == "linear" else bias.view(-1, *[1] * (y.ndim - 2)))


# -------------------------------------------------------------------------- recurrent layers


def recurrent(cell: Cell) -> Rule:
    """One call of a recurrent layer, step by step: layers, directions, packed sequences."""

    @written
    def unrolled(x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        if isinstance(rest[2], list | tuple):  # the weights come one later: sizes come first
            return _packed(cell, x, *rest)
        state, params, biased, layers, dropout, training, both_ways, batch_first = rest
        _check_recurrent(params, biased, layers, both_ways, dropout if training else 0)
        time = x.ndim - 2 if batch_first and x.ndim == 3 else 0
        steps = list(x.unbind(time))
        outputs, finals = _layers(cell, steps, state, params, biased, layers, both_ways)
        return (torch.stack(outputs, time), *finals)

    return unrolled


def _packed(
    cell: Cell,
    data: Tensor,
    sizes: Tensor,
    state: Any,
    params: Sequence[Tensor],
    biased: bool,
    layers: int,
    dropout: float,
    training: bool,
    both_ways: bool,
) -> tuple[Tensor, ...]:
    """Sequences of several lengths, longest first: step t has the rows that are still running."""
    _check_recurrent(params, biased, layers, both_ways, dropout if training else 0)
    steps = list(torch.split(data, sizes.tolist()))
    outputs, finals = _layers(cell, steps, state, params, biased, layers, both_ways)
    return (torch.cat(outputs), *finals)


def _check_recurrent(
    params: Sequence[Tensor], biased: bool, layers: int, both_ways: bool, dropout: float
) -> None:
    if dropout:
        raise active("dropout in a recurrent layer")
    if len(params) != layers * (1 + both_ways) * (4 if biased else 2):
        raise wrong(
            ValueError,
            "a recurrent layer without projections",
            f"{len(params)} weights in {layers} layers, as with proj_size",
            "nn.LSTM(...) without proj_size, and a linear layer behind it",
        )


def _layers(
    cell: Cell,
    steps: list[Tensor],
    state: Any,
    params: Sequence[Tensor],
    biased: bool,
    layers: int,
    both_ways: bool,
) -> tuple[list[Tensor], list[Tensor]]:
    starts = state if isinstance(state, tuple | list) else (state,)
    per, ways = (4 if biased else 2), (1 + both_ways)
    finals: list[State] = []
    for layer in range(layers):
        sides = []
        for way in range(ways):
            i = layer * ways + way
            weights = params[per * i : per * (i + 1)]
            start = tuple(s[i] for s in starts)
            outputs, final = _one_way(cell, steps, start, weights, backward=bool(way))
            sides.append(outputs)
            finals.append(final)
        steps = [torch.cat(pair, -1) for pair in zip(*sides, strict=True)]
    return steps, [torch.stack([f[j] for f in finals]) for j in range(len(starts))]


def _one_way(
    cell: Cell, steps: list[Tensor], start: State, weights: Sequence[Tensor], backward: bool
) -> tuple[list[Tensor], State]:
    w_in, w_state = weights[:2]
    b_in, b_state = weights[2:] if len(weights) > 2 else (None, None)
    drive = [F.linear(x, w_in, b_in) for x in steps]
    outputs: list[Tensor] = [steps[0]] * len(steps)
    batched = steps[0].ndim == 2
    rows = len(drive[-1] if backward else drive[0]) if batched else 0
    state = tuple(s[:rows] for s in start) if batched else start
    ended: list[State] = []  # the states of rows whose sequence is over, last row first
    for t in reversed(range(len(steps))) if backward else range(len(steps)):
        if batched and len(drive[t]) < rows:
            ended.append(tuple(s[len(drive[t]) :] for s in state))
            state = tuple(s[: len(drive[t])] for s in state)
        elif batched and len(drive[t]) > rows:
            new = (s[rows : len(drive[t])] for s in start)
            state = tuple(torch.cat(both) for both in zip(state, new, strict=True))
        rows = len(drive[t]) if batched else 0
        state = cell(drive[t], state, w_state, b_state)
        outputs[t] = state[0]
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return outputs, state


def cells(gate: Callable[[Tensor], Tensor] = torch.sigmoid) -> dict[str, Rule]:
    """Rules for recurrent layers and cells; `gate` says how gates are made."""

    def lstm(drive: Tensor, state: State, w: Tensor, b: Tensor | None) -> State:
        h, c = state
        i, f, g, o = (drive + F.linear(h, w, b)).chunk(4, -1)
        c = gate(f) * c + gate(i) * torch.tanh(g)
        return gate(o) * torch.tanh(c), c

    def gru(drive: Tensor, state: State, w: Tensor, b: Tensor | None) -> State:
        (h,) = state
        (xr, xz, xn), (hr, hz, hn) = drive.chunk(3, -1), F.linear(h, w, b).chunk(3, -1)
        r, z = gate(xr + hr), gate(xz + hz)
        n = torch.tanh(xn + r * hn)
        return (n + z * (h - n),)

    def plain(act: Callable[[Tensor], Tensor]) -> Cell:
        return lambda drive, state, w, b: (act(drive + F.linear(state[0], w, b)),)

    kinds = {
        "lstm": lstm,
        "gru": gru,
        "rnn_tanh": plain(torch.tanh),
        "rnn_relu": plain(torch.relu),
    }
    rules = {name: recurrent(kind) for name, kind in kinds.items()}
    return rules | {f"{name}_cell": _cell(kind) for name, kind in kinds.items()}


def _cell(cell: Cell) -> Rule:
    @written
    def step(
        x: Tensor,
        state: Any,
        w_in: Tensor,
        w_state: Tensor,
        b_in: Tensor | None = None,
        b_state: Tensor | None = None,
    ) -> Any:
        pair = isinstance(state, tuple | list)
        drive = F.linear(x, w_in, b_in)
        new = cell(drive, tuple(state) if pair else (state,), w_state, b_state)
        return new if pair else new[0]

    return step


# ------------------------------------------------------------------------------- train or eval


def batch_norm(op: Operation) -> Any:
    if op.argument(5, "training", False):
        raise active("batch_norm with the statistics of the batch")
    return op.run()


def dropout(op: Operation) -> Any:
    if op.argument(2, "training", True) and op.argument(1, "p", 0.5):
        raise active(op.name)
    return op.run()


def active(what: str) -> Exception:
    return wrong(
        ValueError,
        "a model that gives the same answer twice, row by row",
        f"{what}, in training mode",
        "model.eval()",
    )


@written
def factors(
    x: Tensor, dim: int | None = None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    """Half of the factors times the other half, until one is left."""
    x = x if dtype is None else x.to(dtype)
    x, dim = (x.flatten(), 0) if dim is None else (x, dim)
    while x.shape[dim] > 1:
        half = x.shape[dim] // 2
        pairs = x.narrow(dim, 0, half) * x.narrow(dim, half, half)
        rest = x.narrow(dim, 2 * half, x.shape[dim] - 2 * half)
        x = torch.cat([pairs, rest], dim)
    if not x.shape[dim]:
        return x.prod(dim, keepdim=keepdim)
    return x if keepdim else x.squeeze(dim)


DROPOUTS = words("dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout")

# What every table starts from.
WRITTEN_OUT: dict[str, Rule] = {
    **dict.fromkeys(["vector_norm", "linalg_vector_norm"], vector_norm),
    **dict.fromkeys(["linalg_norm", "linalg_matrix_norm"], norm),
    **dict.fromkeys(sorted(DROPOUTS), dropout),
    "softmin": softmin,
    "baddbmm": add_product,
    "addbmm": add_summed_product,
    "addmv": add_product,
    "addr": add_outer,
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "lerp": lerp,
    "var": variance,
    "std": deviation,
    "var_mean": variance_and_mean,
    "std_mean": deviation_and_mean,
    "glu": gated,
    "bilinear": bilinear,
    "cosine_similarity": cosine_similarity,
    "pairwise_distance": pairwise_distance,
    "scaled_dot_product_attention": attention,
}
