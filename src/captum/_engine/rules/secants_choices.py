"""DeepLIFT's rules for choices: a maximum, a window's winner, a mask that the input decides.

maximum, max-pooling    between the winners at x and at x₀: t dx_i + (1 - t) dx_j, t in [0, 1]
where, masks            the mean of the masks, corrected along the two changes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum._engine.rules.operation import Operation
from captum._engine.rules.primitives import carry

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
            both = torch.broadcast_tensors(x, second)  # type: ignore[no-untyped-call] # torch's
            pair = torch.stack(both, -1)
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


POOLS = [
    f"{prefix}max_pool{dims}d{suffix}"
    for dims in "123"
    for prefix in ("", "_", "adaptive_", "_adaptive_")
    for suffix in ("", "_with_indices")
]
