"""One reference row for all rows of the batch, wherever that is sound.

A shared reference r of a value x has size 1 along some axes where x has more: it says that x at
the reference is the same all along them. What a torch function makes of shared references is
again shared, or of full size, in these cases:

- it works entry by entry: broadcasting keeps what is the same along an axis the same;
- it sums, normalises, contracts or slides along axes that are not shared, which it says by its
  arguments: then each row of its result is made of one row;
- it is a view of x that keeps the shared axis whole. This is tried on r expanded to x's shape,
  with stride 0 along the axis: a view that keeps it has an axis of that size and stride.

Anything else gets full references, which is always right; or, where a write would have to reach
the shared row through a view that is not one of it, the pass is run again without sharing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum._engine.nest import map_tensors
from captum._engine.rules.operation import flat, resolve, words

Of = Callable[[Tensor], Tensor]  # a tensor's reference


class NotShared(BaseException):
    """One reference row cannot stand for all of them: the pass needs one per row."""


_ENTRYWISE = words("""
    add sub mul div neg rsub pow float_power where masked_fill clone to float double half bfloat16
    type type_as detach relu relu6 leaky_relu prelu hardtanh clamp clamp_min clamp_max threshold abs
    hardsigmoid hardshrink softshrink rrelu sign sgn floor ceil round trunc frac heaviside
    nan_to_num gelu silu sigmoid tanh softplus elu selu celu mish hardswish logsigmoid softsign
    tanhshrink exp expm1 exp2 log log1p log2 log10 sin cos tan atan asin acos sinh cosh asinh acosh
    atanh erf erfc erfinv sqrt rsqrt reciprocal square logit sinc lgamma digamma maximum minimum
    fmax fmin lerp addcmul addcdiv gt lt ge le eq ne logical_and logical_or logical_not
    logical_xor bitwise_and bitwise_or bitwise_not and or xor invert isnan isinf isfinite dropout
    dropout1d dropout2d dropout3d alpha_dropout feature_dropout zeros_like ones_like full_like
    empty_like embedding positive fmod remainder
""")
_VIEWS = words("""
    view reshape flatten unflatten transpose t permute expand expand_as squeeze unsqueeze select
    narrow split chunk unbind __getitem__ split_with_sizes tensor_split swapaxes swapdims movedim
    view_as reshape_as contiguous __get__ unsafe_chunk unsafe_split
""")
# What keeps the first axis apart from all it sums over: one example, one row.
_BATCHED = words("""
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution batch_norm
    group_norm instance_norm max_pool1d max_pool2d max_pool3d _max_pool1d _max_pool2d _max_pool3d
    max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d
    avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d upsample_nearest2d upsample_bilinear2d pixel_shuffle
    scaled_dot_product_attention
""")
_RANKS = {"1": 3, "2": 4, "3": 5}  # of a batch, by the digit in the name
# What sums or normalises along the dimension that comes second among its arguments.
_ALONG = words("""
    sum mean softmax log_softmax softmin logsumexp var std amax amin argmax argmin cumsum cumprod
    norm prod all any max min cummax cummin logcumsumexp
""")
_WRITES = words("add sub mul div neg copy fill zero relu clamp clamp_min clamp_max masked_fill")


@dataclass(frozen=True)
class Shared:
    """A call on shared references."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    of: Of
    live: list[Tensor]

    @property
    def first(self) -> Tensor:
        x: Tensor = self.args[0]
        return x

    def argument(self, name: str, default: Any = None) -> Any:
        """The second argument, however it was given."""
        return self.args[1] if len(self.args) > 1 else self.kwargs.get(name, default)

    def axes(self, x: Tensor) -> set[int]:
        return shared_axes(x, self.of(x))

    def alone(self) -> bool:
        """Whether the first argument is the only live one."""
        return len(self.live) == 1 and bool(self.args) and self.args[0] is self.live[0]


def shared_result(
    function: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    of: Of,
    live: list[Tensor],
    result: Any,
) -> Any:
    """What the call gives on shared references, or None where that would not be sound."""
    call = Shared(resolve(function)[0], args, kwargs, of, live)
    if call.name in _VIEWS:
        return _viewed(function, call, result)
    if not any(call.name in names and check(call) for names, check in _CHECKS):
        return None
    try:
        return function(*map_tensors(of, args), **map_tensors(of, kwargs))
    except ValueError:
        return None  # of one row, torch's group norm may refuse what it takes of several


def shared_axes(x: Tensor, reference: Tensor) -> set[int]:
    """The axes along which a reference is the same."""
    pairs = zip(x.shape, reference.shape, strict=True)
    return {i for i, (a, b) in enumerate(pairs) if a != b}


def _batched(call: Shared) -> bool:
    rank = next((rank for digit, rank in _RANKS.items() if digit in call.name), None)
    return all(call.axes(x) <= {0} and x.ndim == (rank or max(x.ndim, 3)) for x in call.live)


def _mapped(call: Shared) -> bool:
    return call.alone() and call.first.ndim - 1 not in call.axes(call.first)


def _normed(call: Shared) -> bool:
    behind = call.first.ndim - len(call.argument("normalized_shape", ()))
    return call.alone() and all(axis < behind for axis in call.axes(call.first))


def _contracts(call: Shared) -> bool:
    """Whether a product sums over an axis that no operand shares."""
    operands = [a for a in call.args[:2] if isinstance(a, Tensor) and a.ndim > 1]
    if len(operands) < 2:
        return False
    x, y = operands
    return bool(call.of(x).shape[-1] == x.shape[-1] and call.of(y).shape[-2] == y.shape[-2])


def _along(call: Shared) -> bool:
    dim = call.argument("dim")
    dims = (dim,) if isinstance(dim, int) and not isinstance(dim, bool) else dim
    if not call.alone() or not isinstance(dims, tuple | list) or not dims:
        return False
    return not {d % call.first.ndim for d in dims} & call.axes(call.first)


def _joined(call: Shared) -> bool:
    """Whether parts that are joined all share the same axes, and not the one they are joined by."""
    parts = list(flat(call.args[0])) if call.args else []
    axes = [call.axes(p) for p in parts]
    if not parts or len(parts) != len(call.live) or any(a != axes[0] for a in axes):
        return False
    return call.name == "stack" or call.argument("dim", 0) % parts[0].ndim not in axes[0]


_CHECKS: list[tuple[frozenset[str], Callable[[Shared], bool]]] = [
    (_ENTRYWISE, lambda call: True),
    (_BATCHED, _batched),
    (words("linear"), _mapped),
    (words("layer_norm rms_norm"), _normed),
    (words("matmul mm bmm"), _contracts),
    (_ALONG, _along),
    (words("cat stack"), _joined),
]


def _viewed(function: Any, call: Shared, result: Any) -> Any:
    """A view that keeps the shared axis whole, narrowed to its one row."""
    x, reference = call.first, call.of(call.first)
    memory = x.untyped_storage().data_ptr()
    if any(t.untyped_storage().data_ptr() != memory for t in flat(result)):
        return reference.clone() if call.name == "contiguous" else None  # it is a copy
    axes = call.axes(x)
    if len(axes) != 1 or any(t.ndim for t in flat((call.args[1:], call.kwargs))):
        raise NotShared  # indices, or rows of rows: not worth the trouble
    (axis,) = axes
    try:
        seen = function(reference.expand_as(x), *call.args[1:], **call.kwargs)
    except RuntimeError:  # a view that such strides do not have
        raise NotShared from None
    return map_tensors(lambda t: _narrowed(t, x.shape[axis], reference), seen)


def _narrowed(view: Tensor, size: int, reference: Tensor) -> Tensor:
    kept = [i for i, s in enumerate(view.stride()) if s == 0 and view.shape[i] == size]
    memory = reference.untyped_storage().data_ptr()
    if len(kept) != 1 or view.untyped_storage().data_ptr() != memory:
        raise NotShared
    return view.narrow(kept[0], 0, 1)


def check_write(function: Any, args: tuple[Any, ...], of: Of) -> None:
    """Whether a write to a shared reference writes all rows alike."""
    name, target = resolve(function)[0], args[0]
    if name == "__setitem__":
        index = args[1]
        if isinstance(index, Tensor):
            raise NotShared
        _viewed(Tensor.__getitem__, Shared(name, (target, index), {}, of, [target]), None)
    elif name not in _WRITES:
        raise NotShared
