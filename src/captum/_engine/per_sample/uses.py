"""Where parameters are used in a pass: what came in there, and what comes back, is their gradient.

While a model runs, every torch function passes by. One that takes a parameter and stands in the
table is run with the parameter held fixed; a hook on its result keeps what comes back. A parameter
that is used in another way is left to `source.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum._engine.per_sample.factors import Factor, Lookup, Outer, Whole, together
from captum._engine.rules.operation import body_of, flat, normal_form

# What comes back at a use's result -> the gradients by its parameters.
Back = Callable[[Tensor], Iterator[tuple[Tensor, Factor]]]


class NotByExample(Exception):  # noqa: N818 - a finding that changes the plan, not an error
    """A use whose result does not have a row, or several, for each example."""


class Uses(TorchFunctionMode):
    """Watches one pass over N examples.

    Args:
        wanted: the parameters, by id.
        examples: N.
        anchor: a number zero that needs a gradient: where backward passes end.
    """

    def __init__(self, wanted: Mapping[int, Tensor], examples: int, anchor: Tensor) -> None:
        super().__init__()
        self.wanted, self.examples, self.anchor = wanted, examples, anchor
        self.found: dict[int, list[Factor]] = {}
        self.others: set[int] = set()  # used in ways that the table does not know

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        used = {id(t) for t in flat((args, kwargs))} & self.wanted.keys()
        if used:
            name, plain, operands, options, inplace = normal_form(function, args, kwargs)
            use = None if inplace else TABLE.get(name)
            if use is not None:
                try:
                    return self._watched(use, plain, operands, options)
                except NotByExample:
                    pass
        body = body_of(function)
        if body is not None:
            with self:
                return body(*args, **kwargs)
        result = function(*self._held(args), **self._held(kwargs))
        if used and any(True for _ in flat(result)):
            self.others |= used
        return result

    def factors(self) -> dict[int, Factor]:
        """The gradients by every parameter, once the backward pass is done."""
        return {key: together(parts) for key, parts in self.found.items()}

    def _watched(self, use: Any, function: Any, args: Sequence[Any], options: Any) -> Tensor:
        back: Back = use(self.examples, *args, **options)
        result: Tensor = function(*self._held(args), **self._held(options))
        if not result.requires_grad:
            result = result + self.anchor
        result.register_hook(partial(self._came, back))  # type: ignore[no-untyped-call]  # torch's
        return result

    def _held(self, value: Any) -> Any:
        """Arguments with all parameters held fixed, so that only the anchor needs a gradient."""
        if isinstance(value, nn.Parameter):
            return value.detach()
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return type(value)(self._held(item) for item in value)
        if isinstance(value, dict):
            return {key: self._held(item) for key, item in value.items()}
        return value

    def _came(self, back: Back, gradient: Tensor) -> None:
        for parameter, factor in back(gradient.detach()):
            if id(parameter) in self.wanted:
                self.found.setdefault(id(parameter), []).append(factor)


def _by_example(x: Tensor, examples: int, width: int) -> Tensor:
    """Rows of a tensor (N, *, width) or (N * T, width), as (N, T, width)."""
    if x.shape[0] % examples or (x.shape[0] != examples and x.ndim != 2):
        raise NotByExample
    return x.detach().reshape(examples, -1, width)


def linear(n: int, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Back:
    rows = _by_example(x, n, weight.shape[1]).unsqueeze(2)

    def back(g: Tensor) -> Iterator[tuple[Tensor, Factor]]:
        came = g.reshape(n, -1, 1, weight.shape[0])
        yield weight, Outer(rows, came, weight.shape[1])
        if bias is not None:
            yield bias, Whole(came.sum((1, 2)))

    return back


def matmul(n: int, x: Tensor, weight: Tensor) -> Back:
    """x @ weight."""
    if weight.ndim != 2 or x.ndim < 2:
        raise NotByExample
    rows = _by_example(x, n, weight.shape[0]).unsqueeze(2)

    def back(g: Tensor) -> Iterator[tuple[Tensor, Factor]]:
        came = g.reshape(n, -1, 1, weight.shape[1])
        yield weight, Outer(rows, came, weight.shape[0], swapped=True)

    return back


def addmm(
    n: int, bias: Tensor, x: Tensor, weight: Tensor, *, beta: float = 1, alpha: float = 1
) -> Back:
    """bias + x @ weight."""
    if beta != 1 or alpha != 1 or bias.ndim != 1:
        raise NotByExample
    product = matmul(n, x, weight)

    def back(g: Tensor) -> Iterator[tuple[Tensor, Factor]]:
        yield from product(g)
        yield bias, Whole(g.reshape(n, -1, g.shape[-1]).sum(1))

    return back


def convolution(
    n: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Back:
    """A linear map at every place of a picture, or of a signal or a volume."""
    dims = weight.ndim - 2
    if x.ndim != weight.ndim or x.shape[0] != n:
        raise NotByExample
    kernel = weight.shape[2:]
    steps, spread = _each(stride, dims), _each(dilation, dims)
    sides = _sides(padding, kernel, spread)
    inputs = x.detach()

    def windows() -> Tensor:
        """What every place sees, (N, T, groups, a)."""
        padded = F.pad(inputs, sides).contiguous()
        sizes = [
            (size - reach * (k - 1) - 1) // step + 1
            for size, k, step, reach in zip(padded.shape[2:], kernel, steps, spread, strict=True)
        ]
        strides = padded.stride()
        along = [s * step for s, step in zip(strides[2:], steps, strict=True)]
        inside = [s * reach for s, reach in zip(strides[2:], spread, strict=True)]
        view = padded.as_strided(
            (n, padded.shape[1], *sizes, *kernel), (*strides[:2], *along, *inside)
        )
        places = view.permute(0, *range(2, 2 + dims), 1, *range(2 + dims, 2 + 2 * dims))
        return places.reshape(n, prod(sizes), groups, -1)

    def back(g: Tensor) -> Iterator[tuple[Tensor, Factor]]:
        came = g.flatten(2).transpose(1, 2).reshape(n, -1, groups, weight.shape[0] // groups)
        yield weight, Outer(windows, came, prod(weight.shape[1:]))
        if bias is not None:
            yield bias, Whole(g.flatten(2).sum(2))

    return back


def embedding(
    n: int,
    ids: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Back:
    if max_norm is not None or scale_grad_by_freq or ids.ndim == 0 or ids.shape[0] != n:
        raise NotByExample
    rows = ids.detach().reshape(n, -1)

    def back(g: Tensor) -> Iterator[tuple[Tensor, Factor]]:
        came = g.reshape(n, -1, weight.shape[1])
        if padding_idx is not None and padding_idx >= 0:
            came = came.masked_fill((rows == padding_idx).unsqueeze(-1), 0)
        yield weight, Lookup(rows, came, weight.shape[0])

    return back


def _normed(plain: Callable[[], Tensor], weight: Any, bias: Any, x: Tensor, n: int) -> Back:
    """x̂ · weight + bias, where x̂ needs no parameter."""
    if x.shape[0] != n:
        raise NotByExample

    def back(g: Tensor) -> Iterator[tuple[Tensor, Factor]]:
        if weight is not None:
            yield weight, Whole(_summed(g * plain(), weight, n))
        if bias is not None:
            yield bias, Whole(_summed(g, bias, n))

    return back


def _summed(values: Tensor, parameter: Tensor, n: int) -> Tensor:
    """Over what a parameter of the channels, or of the last dimensions, is the same for."""
    shape = parameter.shape
    if values.shape[values.ndim - len(shape) :] == shape and values.ndim > len(shape):
        return values.reshape(n, -1, shape.numel()).sum(1)
    return values.reshape(n, shape.numel(), -1).sum(2)


def layer_norm(
    n: int,
    x: Tensor,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Back:
    x = x.detach()
    return _normed(lambda: F.layer_norm(x, normalized_shape, None, None, eps), weight, bias, x, n)


def rms_norm(
    n: int, x: Tensor, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Back:
    x = x.detach()
    return _normed(lambda: F.rms_norm(x, normalized_shape, None, eps), weight, None, x, n)


def group_norm(
    n: int, x: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Back:
    x = x.detach()
    return _channels(lambda: F.group_norm(x, num_groups, None, None, eps), weight, bias, x, n)


def batch_norm(
    n: int,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Back:
    if training or running_mean is None or running_var is None:
        raise NotByExample
    x = x.detach()
    return _channels(
        lambda: F.batch_norm(x, running_mean, running_var, None, None, False, momentum, eps),
        weight,
        bias,
        x,
        n,
    )


def instance_norm(
    n: int,
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Back:
    x = x.detach()
    return _channels(
        lambda: F.instance_norm(
            x, running_mean, running_var, None, None, use_input_stats, momentum, eps
        ),
        weight,
        bias,
        x,
        n,
    )


def _channels(plain: Callable[[], Tensor], weight: Any, bias: Any, x: Tensor, n: int) -> Back:
    """As `_normed`, with a number for each channel: (N, C, *)."""
    if x.shape[0] != n:
        raise NotByExample

    def back(g: Tensor) -> Iterator[tuple[Tensor, Factor]]:
        if weight is not None:
            yield weight, Whole((g * plain()).reshape(n, x.shape[1], -1).sum(2))
        if bias is not None:
            yield bias, Whole(g.reshape(n, x.shape[1], -1).sum(2))

    return back


def _elementwise(n: int, first: Any, second: Any, slopes: Sequence[Any]) -> Back:
    """Two operands that broadcast; a parameter among them has no rows of its own."""
    shapes = [t.shape if isinstance(t, Tensor) else () for t in (first, second)]
    shape = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]  # torch's
    if not shape or shape[0] != n:
        raise NotByExample
    pairs = list(zip((first, second), slopes, strict=True))
    for value, _ in pairs:
        if isinstance(value, nn.Parameter) and value.ndim == len(shape) and len(value) != 1:
            raise NotByExample

    def back(g: Tensor) -> Iterator[tuple[Tensor, Factor]]:
        for value, slope in pairs:
            if not isinstance(value, Tensor):
                continue
            own = tuple(value.shape)[-(len(shape) - 1) :] if len(shape) > 1 else ()
            own = (1,) * (len(shape) - 1 - len(own)) + own
            values = (g * slope).expand(shape)
            same = [i + 1 for i, size in enumerate(own) if size == 1 and shape[i + 1] != 1]
            made = values.sum(same, keepdim=True) if same else values
            yield value, Whole(made.reshape(n, -1))

    return back


def mul(n: int, first: Any, second: Any) -> Back:
    held = [t.detach() if isinstance(t, Tensor) else t for t in (second, first)]
    return _elementwise(n, first, second, held)


def add(n: int, first: Any, second: Any, *, alpha: float = 1) -> Back:
    return _elementwise(n, first, second, (1, alpha))


def sub(n: int, first: Any, second: Any, *, alpha: float = 1) -> Back:
    return _elementwise(n, first, second, (1, -alpha))


TABLE: dict[str, Any] = {
    "linear": linear,
    "matmul": matmul,
    "mm": matmul,
    "addmm": addmm,
    "conv1d": convolution,
    "conv2d": convolution,
    "conv3d": convolution,
    "embedding": embedding,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "mul": mul,
    "add": add,
    "sub": sub,
}


def _each(value: Any, dims: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, Sequence) else (int(value),) * dims


def _sides(padding: Any, kernel: Sequence[int], spread: Sequence[int]) -> list[int]:
    """What F.pad is given: both sides of every dimension, the last one first."""
    if padding == "valid":
        return []
    if padding == "same":
        whole = [reach * (k - 1) for k, reach in zip(kernel, spread, strict=True)]
        pairs = [(size // 2, size - size // 2) for size in whole]
    else:
        pairs = [(size, size) for size in _each(padding, len(kernel))]
    return [side for pair in reversed(pairs) for side in pair]
