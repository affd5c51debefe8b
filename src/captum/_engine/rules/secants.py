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
from torch import Tensor

from captum._engine.nest import map_tensors
from captum._engine.rules import losses, written_out
from captum._engine.rules.operation import Operation, Rule, words
from captum._engine.rules.primitives import carry, swap
from captum._engine.rules.references import Secant
from captum._engine.rules.secants_choices import POOLS, extremum, max_pool, where
from captum._engine.rules.secants_norms import (
    group_norm,
    instance_norm,
    layer_norm,
    log_softmax,
    logarithmic_mean,
    logsumexp,
    rms_norm,
    softmax,
)

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
        middle = a if op.name in PIECEWISE else (a + b) / 2
        slope = torch.where(near, _derivative(op, middle, fa.shape), slope)
    return slope


def _derivative(op: Operation, x: Tensor, shape: torch.Size) -> Tensor:
    with torch.enable_grad():
        x = x.detach().expand(shape).requires_grad_()  # an argument may be larger
        return torch.autograd.grad(op.run(x).sum(), x)[0]


def _relu(a: Tensor, b: Tensor, fa: Tensor, fb: Tensor) -> Tensor:
    gap = (a - b).abs_().clamp_min_(torch.finfo(a.dtype).tiny)
    return torch.maximum(a, b).div_(gap).clamp_(0, 1)


def _sqrt(a: Tensor, b: Tensor, fa: Tensor, fb: Tensor) -> Tensor:
    total = fa + fb
    return torch.where(total == 0, 0, 1 / torch.where(total == 0, 1, total))


def _rsqrt(a: Tensor, b: Tensor, fa: Tensor, fb: Tensor) -> Tensor:
    return -(fa * fb).square() / (fa + fb)


_CLOSED: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "relu": _relu,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "reciprocal": lambda a, b, fa, fb: -fa * fb,
    "square": lambda a, b, fa, fb: a + b,
    "exp": lambda a, b, fa, fb: logarithmic_mean(fa, fb, a - b),
}

elementwise = Secant("secant", elementwise_slope)


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


_SQUARE = Secant("secant", lambda op, a, b, fa, fb: a + b)


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
    if not (a.is_floating_point() or a.is_complex()):  # a mask or a count the input decides
        kind = torch.get_default_dtype()
        return torch.lerp(a.to(kind), b.to(kind).expand_as(a), 0.5)
    middle = torch.lerp(a, b.expand_as(a), 0.5)
    return swap(middle, value) if value.requires_grad else middle


def product(op: Operation) -> Any:
    """Of two live operands the gradient at the midpoint; of one, the gradient."""
    count = op.live_count
    if count > 1 and op.live(written_out.bias_of(op)):
        return written_out.bias_apart(op)
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


# ------------------------------------------------------------------------------------- table

PRODUCTS = words("""
    mv dot vdot inner outer ger linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d convolution einsum kron tensordot linalg_cross cross chain_matmul
""")

SECANTS: dict[str, Rule] = {
    **written_out.WRITTEN_OUT,
    **losses.LOSSES,
    **dict.fromkeys(sorted(PIECEWISE | SMOOTH), elementwise),
    **dict.fromkeys(PRODUCTS, product),
    **dict.fromkeys(POOLS, max_pool),
    **dict.fromkeys(["max", "min", "amax", "amin", "maximum", "minimum", "fmax", "fmin"], extremum),
    **dict.fromkeys(["matmul", "mm", "bmm"], matmul),
    "addmm": written_out.add_product,
    **dict.fromkeys(["where", "masked_fill"], where),
    **written_out.cells(),
    "abs": absolute,
    "rrelu": rrelu,
    "prelu": prelu,
    "clamp": clamp,
    "pow": power,
    "float_power": power,
    "mul": multiplication,
    "prod": written_out.factors,
    "div": divide,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "batch_norm": written_out.batch_norm,
}
