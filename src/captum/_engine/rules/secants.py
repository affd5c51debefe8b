"""DeepLIFT's rules: multipliers that account for the whole change from the reference.

Each rule gives multipliers m with Σ m (x - x₀) = f(x) - f(x₀) for its operation, so that the sum
over a network is exact as well. Entry by entry that is the slope of the secant (the Rescale rule);
a product's change is exact with its gradient at the midpoint; what is written out follows from
these. With x̄ the midpoint and d = x - x₀:

    f entry by entry        (f(x) - f(x₀)) / d;  f'(x̄) where d vanishes
    x y                     ȳ dx + x̄ dy
    softmax p               M (g - Σ M g / Σ M), with M the logarithmic mean of p and p₀
    norms                   centring, mean square, reciprocal root and product, composed
    maximum, max-pooling    between the winners at x and at x₀: t dx_i + (1 - t) dx_j, t in [0, 1]
    where, masks            the mean of the masks, corrected along the two changes

Paper: Shrikumar et al., Learning important features through propagating activation differences
(2017), https://arxiv.org/abs/1704.02685.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum._engine.nest import map_tensors
from captum._engine.rules import losses, written_out
from captum._engine.rules.operation import Operation, Rule, words
from captum._engine.rules.primitives import carry, swap
from captum._engine.rules.references import secant_rule

# ---------------------------------------------------------------------------- entry by entry

# fmt: off
PIECEWISE = words("""
    relu relu6 leaky_relu prelu hardtanh clamp clamp_min clamp_max threshold abs hardsigmoid
    hardshrink softshrink rrelu sign sgn floor ceil round trunc frac heaviside nan_to_num fmod
    remainder
""")
SMOOTH = words("""
    gelu silu sigmoid tanh softplus elu selu celu mish hardswish logsigmoid softsign tanhshrink
    exp expm1 exp2 log log1p log2 log10 sin cos tan atan asin acos sinh cosh asinh acosh atanh erf
    erfc erfinv sqrt rsqrt reciprocal square logit sinc lgamma digamma special_entr special_erfcx
    special_ndtr special_log_ndtr special_i0 special_i0e special_i1 i0 positive
""")
# fmt: on


def elementwise_slope(op: Operation, a: Tensor, b: Tensor, fa: Tensor, fb: Tensor) -> Tensor:
    """(f(a) - f(b)) / (a - b), exact and finite everywhere."""
    closed = _CLOSED.get(op.name)
    if closed is not None:
        return closed(a, b, fa, fb)
    d = a - b
    if op.name in PIECEWISE:  # no digits are lost on one piece, and across a kink none cancel
        near = d == 0
    else:
        near = d.abs() <= torch.finfo(d.dtype).eps ** (1 / 3) * (1 + a.abs() + b.abs())
    slope = (fa - fb).div_(d)
    if bool(near.any()):
        # The error of the midpoint's derivative is of second order in a difference this small.
        slope = torch.where(
            near, _derivative(op, a if op.name in PIECEWISE else (a + b) / 2), slope
        )
    return slope


def _derivative(op: Operation, x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(op.run(x).sum(), x)[0]


def _relu(a: Tensor, b: Tensor, fa: Tensor, fb: Tensor) -> Tensor:
    gap = (a - b).abs_().clamp_min_(torch.finfo(a.dtype).tiny)
    return torch.maximum(a, b).div_(gap).clamp_(0, 1)


def _sqrt(a: Tensor, b: Tensor, fa: Tensor, fb: Tensor) -> Tensor:
    return 1 / (fa + fb).clamp_min(torch.finfo(fa.dtype).tiny)


def _rsqrt(a: Tensor, b: Tensor, fa: Tensor, fb: Tensor) -> Tensor:
    return -(fa * fb).square() / (fa + fb)


def logarithmic_mean(p: Tensor, q: Tensor, gap: Tensor) -> Tensor:
    """(p - q) / (ln p - ln q), given gap = ln p - ln q; zero where both are."""
    u = gap.abs()
    share = torch.where(u > 1e-6, -torch.expm1(-u) / u, 1 - u / 2)
    return torch.maximum(p, q).mul(share).nan_to_num_(nan=0.0)


_CLOSED: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "relu": _relu,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "reciprocal": lambda a, b, fa, fb: -fa * fb,
    "square": lambda a, b, fa, fb: a + b,
    "exp": lambda a, b, fa, fb: logarithmic_mean(fa, fb, a - b),
}

elementwise = secant_rule("secant", elementwise_slope)


def rrelu(op: Operation) -> Any:
    if op.argument(3, "training", False):
        raise written_out.active(op.name)
    return elementwise(op)


def absolute(op: Operation) -> Any:
    return written_out.complex_abs(op) if op.args[0].is_complex() else elementwise(op)


def power(op: Operation) -> Any:
    base, exponent = op.args[0], op.argument(1, "exponent")
    if not op.live(exponent):
        if isinstance(exponent, int | float) and exponent == 2:
            return _SQUARE(op)
        return elementwise(op)
    with op.mode:
        log = torch.log(base) if isinstance(base, Tensor) else math.log(base)
        return torch.exp(exponent * log)


_SQUARE = secant_rule("secant", lambda op, a, b, fa, fb: a + b)


def prelu(op: Operation) -> Any:
    """A product of two live operands, where the slope is computed from the input too."""
    if not op.live(op.args[1]):
        return elementwise(op)
    x, weight = op.args[0], op.argument(1, "weight")
    with op.mode:
        if x.ndim > 1 and weight.numel() > 1:
            weight = weight.view(-1, *[1] * (x.ndim - 2))
        return torch.relu(x) - weight * torch.relu(-x)


def clamp(op: Operation) -> Any:
    low, high = op.argument(1, "min"), op.argument(2, "max")
    if not (op.live(low) or op.live(high)):
        return elementwise(op)
    with op.mode:
        x = op.args[0]
        x = x if low is None else torch.maximum(x, torch.as_tensor(low, dtype=x.dtype))
        return x if high is None else torch.minimum(x, torch.as_tensor(high, dtype=x.dtype))


# ---------------------------------------------------------------------------------- products


def _middle(op: Operation, value: Any) -> Any:
    """The midpoint of a live operand, with its history; constants stay."""
    if not op.live(value):
        return value
    a, b = op.mode.ends(value)
    if not a.is_floating_point():  # a mask or a count that the input decides
        kind = torch.get_default_dtype()
        return torch.lerp(a.to(kind), b.to(kind).expand_as(a), 0.5)
    middle = torch.lerp(a, b.expand_as(a), 0.5)
    return swap(middle, value) if value.requires_grad else middle


def product(op: Operation) -> Any:
    """Of two live operands the gradient at the midpoint; of one, the gradient."""
    count = op.live_count
    if count < 2:
        return op.run()
    if count > 2:
        return op.mode.decline(op)
    value = op.value()

    args, kwargs = (map_tensors(partial(_middle, op), each) for each in (op.args, op.kwargs))
    return op.swap(value, op.function(*args, **kwargs))


def multiplication(op: Operation) -> Any:
    x, y = op.args[0], op.argument(1, "other")
    for mask, other in ((x, y), (y, x)):
        # A mask that the input decides selects: h * (h > 0).
        chooses = isinstance(mask, Tensor) and mask.dtype == torch.bool and op.live(mask)
        if chooses and op.live(other) and other.is_floating_point():
            zero = torch.zeros((), dtype=other.dtype, device=other.device)
            return where(Operation("where", torch.where, (mask, other, zero), {}, op.mode))
    if not (op.live(x) and op.live(y)):
        return op.run()
    if x is y:
        return carry(op.value(), [x], lambda saved, g: [g * saved[0]], [sum(op.mode.ends(x))])
    if not (x.is_floating_point() and y.is_floating_point()):
        return product(op)
    if x.requires_grad != y.requires_grad:
        return _gated(op, *((x, y) if x.requires_grad else (y, x)))
    (a, b), (c, d) = op.mode.ends(x), op.mode.ends(y)
    saved = [torch.lerp(a, b.expand_as(a), 0.5), torch.lerp(c, d.expand_as(c), 0.5)]
    return carry(op.value(), [x, y], lambda saved, g: [g * saved[1], g * saved[0]], saved)


def _gated(op: Operation, x: Tensor, gate: Tensor) -> Tensor:
    """A product with what the input decides without a gradient.

    Where a mask turns, as in `h * (h > 0).float()`, all of the change is x's, as it is for ReLU.
    Another factor's change belongs to nobody: the sum will miss it.
    """
    (a, b), (c, d) = op.mode.ends(x), op.mode.ends(gate)
    slope = (c + d) / 2
    if all(bool(((end == 0) | (end == 1)).all()) for end in (c, d)):
        dx, turn = a - b, c - d
        crossing = (turn != 0) & (dx != 0)
        slope = torch.where(
            crossing, slope + turn * (a + b) / 2 / torch.where(crossing, dx, 1), slope
        )
    return carry(op.value(), [x], lambda saved, g: [g * saved[0]], [slope])


def matmul(op: Operation) -> Any:
    x, y = op.args[0], op.argument(1, "other", op.argument(1, "mat2"))
    if not (op.live(x) and op.live(y)):
        return op.run()
    if x.ndim < 2 or y.ndim < 2 or not (x.is_floating_point() and y.is_floating_point()):
        return product(op)
    (a, b), (c, d) = op.mode.ends(x), op.mode.ends(y)
    saved = [torch.lerp(a, b.expand_as(a), 0.5), torch.lerp(c, d.expand_as(c), 0.5)]
    return carry(op.value(), [x, y], _matmul_back, saved)


def _matmul_back(saved: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
    x, y = saved
    return [torch.matmul(g.to(y.dtype), y.mT), torch.matmul(x.mT, g.to(x.dtype))]


def divide(op: Operation) -> Any:
    if op.kwargs.get("rounding_mode") is None and not op.live(op.argument(1, "other")):
        return op.run()
    return written_out.division(op)


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
        a, b = (_wide(t).reshape(-1, *shape[1:]) for t in op.mode.ends(x))
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
        return _affine_apart(op, _per_channel(weight, x), _per_channel(bias, x))
    shape = (len(x), groups, x[0].numel() // groups)
    eps = op.argument(4, "eps", 1e-5)
    return _normalised(op, shape, (-1,), eps, _per_channel(weight, x), centred=True)


def instance_norm(op: Operation) -> Any:
    x = op.args[0]
    if not op.argument(5, "use_input_stats", True):
        return op.run()
    weight, bias = op.argument(3, "weight"), op.argument(4, "bias")
    if op.live(weight) or op.live(bias):
        return _affine_apart(op, _per_channel(weight, x), _per_channel(bias, x))
    shape, dims = _batched(op), tuple(range(2, x.ndim))
    eps = op.argument(7, "eps", 1e-5)
    return _normalised(op, shape, dims, eps, _per_channel(weight, x), centred=True)


def _batched(op: Operation) -> tuple[int, ...]:
    return tuple(op.args[0].shape)


def _per_channel(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.view(-1, *[1] * (x.ndim - 2))


# ------------------------------------------------------------------------------------ maxima


def _winners(
    op: Operation,
    now: tuple[Tensor, Tensor],
    then: tuple[Tensor, Tensor],
    dim: int,
    lift: Callable[[Tensor], Tensor],
    spread: Callable[[Tensor], Tensor],
) -> Tensor:
    """The winners at x and at x₀ share the change: dⱼ <= dy <= dᵢ, so dy = t dᵢ + (1 - t) dⱼ.

    `now` and `then` are values and places at the two ends. `spread` brings the argument, and
    `lift` these, to a form where places count along `dim`.
    """
    x = op.args[0]
    (value, won), (before, least) = now, (t.expand(now[0].shape) for t in then)
    a, b = map(spread, op.mode.ends(x))
    y, y0, i, j = map(lift, (value, before, won, least))
    di, dj, dy = y - b.expand_as(a).gather(dim, i), a.gather(dim, j) - y0, y - y0
    same = di == dj
    t = torch.where(same, 0.5, (dy - dj) / torch.where(same, 1, di - dj)).clamp_(0, 1)
    shape = a.shape

    def back(saved: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
        i, j, t = saved
        g = lift(g)
        share = g * t
        grad = torch.zeros(shape, dtype=g.dtype, device=g.device)
        grad.scatter_add_(dim, i, share).scatter_add_(dim, j, g - share)
        return [grad.view(x.shape)]

    return carry(value, [x], back, [i, j, t])


def max_pool(op: Operation) -> Any:
    """The window's winners at both ends."""
    dims, adaptive = int(next(c for c in op.name if c.isdigit())), "adaptive" in op.name
    pool = getattr(F, f"{'adaptive_' if adaptive else ''}max_pool{dims}d")
    options = {k: v for k, v in op.kwargs.items() if k not in ("return_indices", "input")}
    rest = op.args[1:2] if adaptive else op.args[1:6]
    with torch.no_grad():
        now, then = (
            pool(t, *rest, **options, return_indices=True) for t in op.mode.ends(op.args[0])
        )

    def flat(t: Tensor) -> Tensor:
        return t.flatten(-dims)

    result = _winners(op, now, then, -1, flat, flat)
    position = 2 if adaptive else 6
    last = op.args[position] if len(op.args) > position else op.kwargs.get("return_indices", False)
    places = last is True or "with_indices" in op.name
    op.replayed = then if places else then[0]
    return (result, now[1]) if places else result


def extremum(op: Operation) -> Any:
    """max, min, amax, amin, maximum, minimum, fmax, fmin."""
    x, second = op.args[0], op.argument(1, "dim", op.kwargs.get("other"))
    least = "min" in op.name
    if isinstance(second, Tensor):
        with op.mode:
            pair = torch.stack([x + second * 0, second + x * 0], -1)
            return torch.amin(pair, -1) if least else torch.amax(pair, -1)
    keep = op.argument(2, "keepdim", False)
    if second is None or isinstance(second, tuple | list):
        return _over_several(op, second, keep)
    dim = second
    pick = torch.min if least else torch.max
    with torch.no_grad():
        a, b = op.mode.ends(x)
        b = b.expand_as(a) if b.shape[dim] != a.shape[dim] else b
        now, then = pick(a, dim, keep), pick(b, dim, keep)

    def lift(t: Tensor) -> Tensor:
        return t if keep else t.unsqueeze(dim)

    result = _winners(op, now, then, dim, lift, lambda t: t)
    alone = op.name in ("amax", "amin")
    op.replayed = then[0] if alone else then
    return result if alone else getattr(torch.return_types, op.name)((result, now[1]))


def _over_several(op: Operation, dims: Any, keep: bool) -> Any:
    """amax over some dimensions, or max over all of them, which are made one."""
    x = op.args[0]
    dims = tuple(d % x.ndim for d in dims) if dims else tuple(range(x.ndim))
    reduce = torch.amin if "min" in op.name else torch.amax
    with op.mode:
        if len(dims) == 1:
            return reduce(x, dims[0], keep)
        others = [d for d in range(x.ndim) if d not in dims]
        y = reduce(x.permute(*others, *dims).flatten(len(others)), -1)
        for dim in sorted(dims) if keep else ():
            y = y.unsqueeze(dim)
        return y


# -------------------------------------------------------------------------------- selections


def where(op: Operation) -> Any:
    """Linear where the condition is the same at both ends.

    Elsewhere the mean of the two masks is corrected along the two changes just enough to be
    exact; `where(h > 0, h, 0)` then is exactly the rule of ReLU.
    """
    if op.name == "masked_fill":
        other, condition, chosen = op.args[0], op.argument(1, "mask"), op.argument(2, "value")
    elif len(op.args) + len(op.kwargs) == 3:
        condition = op.args[0]
        chosen, other = op.argument(1, "input"), op.argument(2, "other")
    else:
        return op.run()
    if op.name == "where" and not isinstance(condition, Tensor):  # x.where(condition, other)
        return op.run()
    if condition.dtype != torch.bool:  # Tensor.where puts the chosen first
        chosen, condition = condition, chosen
    if not op.live(condition):
        return op.run()
    now, then = op.mode.ends(condition)
    if torch.equal(now, then.expand_as(now)):
        return op.run()
    value = op.value()
    with torch.no_grad():
        mask = (now.to(value.dtype) + then.to(value.dtype)) / 2
        (a, a0), (b, b0) = _ends(op, chosen, value), _ends(op, other, value)
        da, db = a - a0, b - b0
        change = value - op.mode.at_reference(op, value)
        rest, norm = change - mask * da - (1 - mask) * db, da.square() + db.square()
        k = torch.where(norm > 0, rest / torch.where(norm > 0, norm, 1), 0)
        weights = [(mask + k * da).expand_as(value), (1 - mask + k * db).expand_as(value)]
    pairs = [(t, w) for t, w in zip((chosen, other), weights, strict=True) if op.live(t)]
    return carry(value, [t for t, _ in pairs], _each, [w for _, w in pairs])


def _each(saved: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
    return [g * weight for weight in saved]


def _ends(op: Operation, x: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    x = x if isinstance(x, Tensor) else torch.as_tensor(x, dtype=like.dtype, device=like.device)
    ends: tuple[Tensor, Tensor] = op.mode.ends(x)
    return ends


# ------------------------------------------------------------------------------------- table

POOLS = [
    f"{prefix}max_pool{dims}d{suffix}"
    for dims in "123"
    for prefix in ("", "_", "adaptive_", "_adaptive_")
    for suffix in ("", "_with_indices")
]
PRODUCTS = words("""
    mv dot vdot inner outer ger linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d convolution einsum kron tensordot linalg_cross cross chain_matmul
""")

SECANTS: dict[str, Rule] = {
    **dict.fromkeys(sorted(PIECEWISE | SMOOTH), elementwise),
    **dict.fromkeys(PRODUCTS, product),
    **dict.fromkeys(POOLS, max_pool),
    **dict.fromkeys(["max", "min", "amax", "amin", "maximum", "minimum", "fmax", "fmin"], extremum),
    **dict.fromkeys(["matmul", "mm", "bmm"], matmul),
    **dict.fromkeys(["addmm", "baddbmm"], written_out.add_product),
    **dict.fromkeys(["where", "masked_fill"], where),
    **dict.fromkeys(["vector_norm", "linalg_vector_norm"], written_out.vector_norm),
    **dict.fromkeys(
        ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"],
        written_out.dropout,
    ),
    **written_out.cells(),
    "abs": absolute,
    "rrelu": rrelu,
    **losses.LOSSES,
    "linalg_norm": written_out.norm,
    "linalg_matrix_norm": written_out.norm,
    "prelu": prelu,
    "clamp": clamp,
    "pow": power,
    "float_power": power,
    "mul": multiplication,
    "div": divide,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "softmin": written_out.softmin,
    "logsumexp": logsumexp,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "batch_norm": written_out.batch_norm,
    "addbmm": written_out.add_summed_product,
    "addmv": written_out.add_product,
    "addr": written_out.add_outer,
    "addcmul": written_out.addcmul,
    "addcdiv": written_out.addcdiv,
    "lerp": written_out.lerp,
    "var": written_out.variance,
    "std": written_out.deviation,
    "var_mean": written_out.variance_and_mean,
    "std_mean": written_out.deviation_and_mean,
    "glu": written_out.gated,
    "bilinear": written_out.bilinear,
    "cosine_similarity": written_out.cosine_similarity,
    "pairwise_distance": written_out.pairwise_distance,
    "scaled_dot_product_attention": written_out.attention,
}
