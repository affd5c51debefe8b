"""LRP's rules: relevance that is handed down from the output, and conserved where it can be.

The backward pass carries c = R / activation, so the relevance of any value x is x ⊙ c, and plain
autograd already is LRP-0: views, sums, means, pooling, ReLU and whatever else is linear, or
positively homogeneous, needs no rule. Rules stand where LRP is not gradient times input:

    linear maps with weights    the rule that was chosen: ε, γ, αβ, z⁺, z-box, w², flat, identity
    product of n live values    c / n to each (uniform)
    other activations           c f(x) / x: relevance stays in its place (identity)
    norms, denominators         what divides, or multiplies as an inverse, is constant
    softmax                     its first-order Taylor expansion: the plain gradient (AttnLRP)

Papers: Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise
relevance propagation (2015); Montavon et al., Layer-wise relevance propagation: an overview
(2019); Achtibat et al., AttnLRP: attention-aware layer-wise relevance propagation for
transformers (2024), https://arxiv.org/abs/2402.05602.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from captum._engine.rules import written_out
from captum._engine.rules.losses import LOSSES
from captum._engine.rules.mode import Elementwise
from captum._engine.rules.operation import Operation, Rule, flat
from captum._engine.rules.primitives import carry
from captum._engine.rules.relevance_mode import (
    HOMOGENEOUS_NAMES,
    MAPS,
    WEIGHTED,
    Linear,
    RelevanceMode,
    Trace,
    is_weight,
)
from captum._engine.rules.secants import PIECEWISE, PRODUCTS, SMOOTH
from captum._engine.rules.secants_choices import POOLS

# ------------------------------------------------------------------------------- linear maps


def linear_map(op: Operation) -> Any:
    """A linear map with weights gets the rule of its place; what has two live operands, halves."""
    mode: RelevanceMode = op.mode
    if op.live(written_out.bias_of(op)):
        return written_out.bias_apart(op)
    linear = _linear(op)
    if linear is None:
        mode.told(op, product)
        return product(op)
    rule, folds = mode.chosen(op, linear=True)
    mode.told(op, rule)
    mode.position += 1
    surrogate = None if rule is None else rule.surrogate(linear)
    if rule is None or surrogate is None:
        return op.run()
    result = op.swap(linear.value, surrogate)
    if folds:
        del linear.value  # it is the result, which would hold itself
        mode._mark(result, Trace(fold=(linear, rule, linear.x._version)))
    return result


def _linear(op: Operation) -> Linear | None:
    """The call as a linear map with weights, if it is one."""
    if op.live_count > 1:
        return None
    if op.name == "addmm" or op.name in WEIGHTED:
        return _affine(op)
    operands, run = list(flat(op.args)), op.function
    equation = [a for a in op.args if isinstance(a, str)]
    if len(operands) != 2 or op.live(operands[0]) == op.live(operands[1]):
        return None
    first = op.live(operands[0])
    x, weight = operands if first else operands[::-1]
    if not is_weight(weight):
        return None  # a mask, or an average: not the model's knowledge
    if first:
        return Linear(op, x, weight, None, lambda x, w, b: _plus(run(*equation, x, w), b))
    return Linear(op, x, weight, None, lambda x, w, b: _plus(run(*equation, w, x), b))


def _affine(op: Operation) -> Linear | None:
    """The same, where the call has a bias."""
    if op.name == "addmm":
        bias, x, weight = op.args[:3]
        if not op.live(x) or op.kwargs:
            return None
        return Linear(op, x, weight, bias, lambda x, w, b: _plus(torch.matmul(x, w), b))
    x, weight, bias = op.args[0], op.argument(1, "weight"), op.argument(2, "bias")
    rest, run = op.args[3:], op.function
    options = {k: v for k, v in op.kwargs.items() if k not in ("weight", "bias")}
    if not op.live(x):
        return None
    return Linear(op, x, weight, bias, lambda x, w, b: run(x, w, b, *rest, **options))


def _plus(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y + bias


def product(op: Operation) -> Any:
    """Each of n live operands gets an nth; one alone is a linear map of it.

    But what divides is constant; and a product of functions of one value, entry by entry, is
    a function of it, such as a GELU that is written out.
    """
    mode: RelevanceMode = op.mode
    operands = [t for t in flat((op.args, op.kwargs)) if op.live(t)]
    count, inverses = len(operands), [t for t in operands if mode.trace(t).inverse]
    entrywise = op.name == "mul"
    if count < 2:
        result = op.run()
        return mode.made(result, operands[0]) if entrywise and operands else result
    origin = mode.common(operands) if entrywise else None
    if origin is not None:
        value: Tensor = op.value()
        if value.shape == origin.shape:
            shared = carry(value, [origin], _scaled, [kept_share(value, origin)])
            return mode.made(shared, origin, bent=True)
    if len(inverses) in (0, count):
        return _shared(op, op.args, count)
    args = tuple(a.detach() if any(a is t for t in inverses) else a for a in op.args)
    return _shared(op, args, count - len(inverses))


def _shared(op: Operation, args: tuple[Any, ...], count: int) -> Any:
    """A product whose gradient is split among so many operands."""
    result = op.claim(op.function(*args, **op.kwargs))
    return result if count == 1 else carry(result, [result], lambda _, g: [g / count])


def _scaled(saved: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
    return [g * saved[0]]


def factors(op: Operation) -> Any:
    """Each of n entries along a dimension gets an nth of their product."""
    x, dim = op.args[0], op.argument(1, "dim")
    count = x.numel() if dim is None else x.shape[dim]
    # A copy: the operation keeps its own result for the way back.
    result = op.claim(op.function(*op.args, **op.kwargs).clone())
    return carry(result, [result], lambda _, g: [g / count])


def gated(op: Operation) -> Any:
    """A product in which an activation says how much of the other operand goes on."""
    mode: RelevanceMode = op.mode
    operands = [t for t in flat(op.args) if op.live(t)]
    bent = [t for t in operands if mode.trace(t).bent]
    if len(operands) != 2 or len(bent) != 1 or mode.common(operands) is not None:
        return product(op)
    args = tuple(a.detach() if a is bent[0] else a for a in op.args)
    return _shared(op, args, 1)


def batch_norm(op: Operation) -> Any:
    """An affine map; behind a linear map whose rule looks at weights, a part of it."""
    checked = written_out.batch_norm(op)
    mode: RelevanceMode = op.mode
    fold = mode.fold(op.args[0])
    if fold is None:
        return checked
    linear, rule = fold
    mean, var = op.argument(1, "running_mean"), op.argument(2, "running_var")
    weight, bias = op.argument(3, "weight"), op.argument(4, "bias")
    factor = torch.rsqrt(var + op.argument(7, "eps", 1e-5))
    factor = factor if weight is None else factor * weight.detach()
    shift = -mean * factor if linear.bias is None else (linear.bias - mean) * factor
    folded = Linear(
        op,
        linear.x,
        linear.weight * _per_weight(linear, factor),
        shift if bias is None else shift + bias.detach(),
        linear.apply,
    )
    surrogate = rule.surrogate(folded)
    return checked if surrogate is None else op.swap(folded.value, surrogate, linear.x)


def _per_weight(linear: Linear, factor: Tensor) -> Tensor:
    """A factor per output channel, in the shape of the weights."""
    ones = [1] * (linear.weight.ndim - 2)
    if "transpose" not in linear.op.name:
        return factor.view(-1, 1, *ones)
    outputs = linear.weight.shape[1]  # of one group, whose inputs lie together
    groups = len(factor) // outputs
    inputs = len(linear.weight) // groups
    per_group = factor.view(groups, 1, outputs).expand(-1, inputs, -1)
    return per_group.reshape(-1, outputs, *ones)


# ------------------------------------------------------------------------- everything else


class _Identity(Elementwise):
    """c f(x) / x: each entry keeps its relevance."""

    def parts(self, op: Operation) -> tuple[Tensor, Tensor]:
        value = op.value()
        return value, kept_share(value, op.args[0])


def kept_share(value: Tensor, x: Tensor) -> Tensor:
    """f(x) / x, in float32 or better.

    A zero cannot hold what a function makes of it: that is absorbed.
    """
    x = x.detach()
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    smallest: float = torch.finfo(x.dtype).tiny ** 0.5
    return torch.where(x == 0, 0, value / stabilised(x, smallest))


def stabilised(z: Tensor, epsilon: float) -> Tensor:
    """z + ε sign(z), with sign(0) = 1: a denominator."""
    return torch.where(z >= 0, z + epsilon, z - epsilon)


identity = _Identity("identity")


def inverse(op: Operation) -> Any:
    """As any activation; but where it multiplies something, it is what that is divided by."""
    mode: RelevanceMode = op.mode
    return mode.made(identity(op), op.args[0], inverse=True)


def power(op: Operation) -> Any:
    base, exponent = op.args[0], op.argument(1, "exponent")
    if op.live(exponent):
        with op.mode:
            log = torch.log(base) if isinstance(base, Tensor) else math.log(base)
            return torch.exp(exponent * log)
    return inverse(op) if isinstance(exponent, int | float) and exponent < 0 else identity(op)


def divide(op: Operation) -> Any:
    """What divides is constant."""
    divisor = op.argument(1, "other")
    mode: RelevanceMode = op.mode
    if not op.live(divisor):
        return mode.made(op.run(), op.args[0])
    if not op.live(op.args[0]):
        value: Tensor = op.value()
        share = kept_share(value, divisor)
        inverted = carry(value, [divisor], _scaled, [share])
        return mode.made(inverted, divisor, inverse=True)
    return op.claim(op.function(op.args[0], divisor.detach(), **op.kwargs))


def _normalised(
    op: Operation, dims: tuple[int, ...], eps: float, weight: Any, bias: Any, centred: bool
) -> Any:
    """(x - mean) · weight / σ + bias with a constant σ."""
    x = op.args[0]
    with op.mode:
        y = x - x.mean(dims, keepdim=True) if centred else x
        y = y * _inverse_root(op, y, dims, eps)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


def _inverse_root(op: Operation, y: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """1 / σ, a constant."""
    with op.mode.paused(), torch.no_grad():
        wide = y.detach().to(torch.promote_types(y.dtype, torch.float32))
        return torch.rsqrt(wide.square().mean(dims, keepdim=True) + eps).to(y.dtype)


def layer_norm(op: Operation) -> Any:
    dims = tuple(range(-len(op.argument(1, "normalized_shape")), 0))
    weight, bias = op.argument(2, "weight"), op.argument(3, "bias")
    return _normalised(op, dims, op.argument(4, "eps", 1e-5), weight, bias, centred=True)


def rms_norm(op: Operation) -> Any:
    dims = tuple(range(-len(op.argument(1, "normalized_shape")), 0))
    eps = op.argument(3, "eps")
    eps = torch.finfo(op.args[0].dtype).eps if eps is None else eps
    return _normalised(op, dims, eps, op.argument(2, "weight"), None, centred=False)


def group_norm(op: Operation) -> Any:
    x, groups = op.args[0], op.argument(1, "num_groups")
    eps = op.argument(4, "eps", 1e-5)
    weight, bias = (
        written_out.per_channel(op.argument(*a), x) for a in ((2, "weight"), (3, "bias"))
    )
    with op.mode:
        parts = x.reshape(len(x), groups, -1)
        centred = parts - parts.mean(-1, keepdim=True)
        y = (centred * _inverse_root(op, centred, (-1,), eps)).reshape(x.shape)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


def instance_norm(op: Operation) -> Any:
    x = op.args[0]
    if not op.argument(5, "use_input_stats", True):
        return op.run()
    weight, bias = (
        written_out.per_channel(op.argument(*a), x) for a in ((3, "weight"), (4, "bias"))
    )
    dims = tuple(range(2, x.ndim))
    return _normalised(op, dims, op.argument(7, "eps", 1e-5), weight, bias, centred=True)


def pooling(op: Operation) -> Any:
    """Its gradient; in the table as a rule may be chosen for it."""
    return op.claim(op.run())


def rrelu(op: Operation) -> Any:
    if op.argument(3, "training", False):
        raise written_out.active(op.name)
    return op.claim(op.run())


_POOLINGS = [*POOLS, *(f"{a}avg_pool{n}d" for n in "123" for a in ("", "adaptive_"))]

RELEVANCE: dict[str, Rule] = {
    **written_out.WRITTEN_OUT,
    **LOSSES,
    **dict.fromkeys(sorted((PIECEWISE | SMOOTH) - HOMOGENEOUS_NAMES), identity),
    **dict.fromkeys([*PRODUCTS, "mul"], product),
    "prod": factors,
    **dict.fromkeys(MAPS, linear_map),
    **dict.fromkeys(["rsqrt", "reciprocal"], inverse),
    # Gates say how much, not what: the signal takes all (Arras et al., 2017).
    **written_out.cells(lambda drive: torch.sigmoid(drive.detach())),
    **dict.fromkeys(_POOLINGS, pooling),
    "rrelu": rrelu,
    "pow": power,
    "float_power": power,
    "div": divide,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "batch_norm": batch_norm,
}
