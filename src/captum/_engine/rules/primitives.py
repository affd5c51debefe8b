"""What every backward rule is made of: a value with another history.

    swap(value, surrogate)            the value of one tensor, the gradient of another
    carry(value, operands, back, …)   gradient g -> back(g), one for each operand
    scale(value, x, slope)            gradient g -> g * slope, into x

Values are adopted without a copy (`mark_dirty`), so that what follows in the model may still work
in place on them; a view made in an autograd function could not be. They must be nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.autograd import Function

Back = Callable[..., Sequence[Tensor | None]]  # (saved tensors, gradient) -> one per operand


class _Swap(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, surrogate: Tensor) -> Tensor:
        ctx.mark_dirty(value)
        ctx.kind = surrogate.dtype
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, grads[0].to(ctx.kind)


class _Carry(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, back: Back, count: int, *tensors: Tensor) -> Tensor:
        ctx.mark_dirty(value)
        ctx.back, ctx.rest = back, len(tensors) - count
        ctx.like = [(x.dtype, x.shape) for x in tensors[:count]]
        ctx.save_for_backward(*tensors[count:])
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found = ctx.back(ctx.saved_tensors, grads[0])
        pairs = zip(found, ctx.like, strict=True)
        sized = (g if g is None else _like(g, *like) for g, like in pairs)
        return None, None, None, *sized, *[None] * ctx.rest


class _ScaleInPlace(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        ctx.save_for_backward(slope)
        return x.copy_(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return (grads[0] * slope).to(grads[0].dtype), None, None


OURS = frozenset({_Swap, _Carry, _ScaleInPlace})


def _like(grad: Tensor, kind: Any, shape: Any) -> Tensor:
    return (grad if grad.shape == shape else grad.sum_to_size(shape)).to(kind)


def swap(value: Tensor, surrogate: Tensor) -> Tensor:
    """The value of one tensor with the gradient of another of its shape.

    >>> import torch
    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> torch.autograd.grad(swap(x.detach() ** 2, 10 * x), x)
    (tensor([10.]),)
    """
    found: Tensor = _Swap.apply(_own(value), surrogate)  # type: ignore[no-untyped-call] # torch's
    return found


def carry(
    value: Tensor, operands: Sequence[Tensor], back: Back, saved: Sequence[Tensor] = ()
) -> Tensor:
    """A value whose gradient goes to the operands as `back(saved, gradient)` says.

    >>> import torch
    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> y = carry(torch.tensor([5.0]), [x], lambda saved, g: [3 * g])
    >>> y.item(), torch.autograd.grad(y, x)[0].item()
    (5.0, 3.0)
    """
    found: Tensor = _Carry.apply(  # type: ignore[no-untyped-call] # torch's
        _own(value), back, len(operands), *operands, *saved
    )
    return found


def scale(value: Tensor, x: Tensor, slope: Tensor) -> Tensor:
    """A value whose gradient goes to x, entry by entry, times the slope."""
    return carry(value, [x], _times, [slope])


def scale_(x: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """The same, written over x."""
    found: Tensor = _ScaleInPlace.apply(x, value, slope)  # type: ignore[no-untyped-call] # torch's
    return found


def _times(saved: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
    return [grad * saved[0]]


def _own(value: Tensor) -> Tensor:
    if value._is_view():  # of what an operation made for itself
        return value.detach().clone()
    return value.detach() if value.requires_grad else value
