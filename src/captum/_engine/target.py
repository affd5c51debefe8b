"""Pick one number per example out of a model's output."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.nest import first_tensor, map_tensors


class Targets(tuple[Any, ...]):
    """Several targets asked in one run: forwards are shared, and a list of results comes back.

    Each target is anything that `target=` accepts alone.

    >>> import torch
    >>> from captum.attr import Saliency, Targets
    >>> model = torch.nn.Linear(3, 2)
    >>> zero, one = Saliency(model).attribute(torch.ones(1, 3), target=Targets(0, 1))
    >>> torch.equal(one, model.weight[1:].abs())
    True
    """

    def __new__(cls, *targets: Any) -> Targets:
        return super().__new__(cls, targets)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


@dataclass(frozen=True)
class Target:
    """What to read from an output: one way for the whole batch, or one index per example.

    `index` holds ints and slices behind the batch dimension, `rows` (N, d) indices per example,
    `mask` the entries to sum, `function` the user's own reading of the raw output. `word` is the
    user's parameter, for messages: a neuron is selected as a target is.
    """

    index: tuple[int | slice, ...] | None = None
    rows: Tensor | None = None
    bounds: tuple[tuple[int, int], ...] = ()  # the least and largest of each column of all rows
    mask: Tensor | None = None
    function: Callable[[Any], Tensor] | None = None
    word: str = "target"

    def tile(self, copies: int) -> Target:
        if self.rows is None or copies == 1:
            return self
        return replace(self, rows=self.rows.repeat(copies, 1))

    def narrow(self, start: int, length: int) -> Target:
        if self.rows is None:
            return self
        return replace(self, rows=self.rows.narrow(0, start, length))

    def chosen(self, rows: Tensor) -> Target:
        if self.rows is None:
            return self
        return replace(self, rows=self.rows[rows.to(self.rows.device)])

    def select(self, output: Any) -> Tensor:
        """One number per example, shape (N,); a number for the whole batch has shape (1,)."""
        if self.function is not None:
            return self._per_example(as_tensor(self.function(output)), f"{self.word}=<function>")
        tensor = as_tensor(output)
        if self.rows is not None:
            return self._per_row(tensor, self.rows)
        if self.mask is not None:
            return self._masked(tensor, self.mask)
        if self.index is None:
            return self._per_example(tensor, f"{self.word}=None")
        return self._indexed(tensor, self.index)

    def _indexed(self, output: Tensor, index: tuple[int | slice, ...]) -> Tensor:
        shape = output.shape[1:]
        if len(shape) < len(index):
            self._check_depth(output, len(index), index)
        sliced = False
        for size, i in zip(shape, index, strict=False):
            if isinstance(i, slice):
                sliced = True
            elif not -size <= i < size:
                raise self._out_of_range(output, index)
        behind = (slice(None), *index)
        picked = output[behind]
        if sliced:
            return picked.flatten(1).sum(1)
        if picked.ndim == 1:
            return picked
        return self._per_example(picked, f"{self.word}={index if len(index) > 1 else index[0]}")

    def _per_row(self, output: Tensor, rows: Tensor) -> Tensor:
        self._check_depth(output, rows.shape[1], "one target per example")
        if output.shape[0] != rows.shape[0]:
            raise wrong(
                ValueError,
                f"one output row for each of the {rows.shape[0]} targets",
                f"an output of shape {tuple(output.shape)}",
                "a model whose output has one row per example, or one target for all",
            )
        rows = rows.to(output.device)
        pairs = zip(self.bounds, output.shape[1:], strict=False)
        if any(high >= size or low < -size for (low, high), size in pairs):
            raise self._out_of_range(output, rows.tolist())
        chosen = (torch.arange(len(rows), device=output.device), *rows.unbind(1))
        return self._per_example(output[chosen], "one target per example")

    def _masked(self, output: Tensor, mask: Tensor) -> Tensor:
        if mask.shape != output.shape[1:]:
            raise wrong(
                ValueError,
                f"a target mask of the shape of one output, {tuple(output.shape[1:])}",
                describe(mask),
                "a boolean tensor with one entry per output",
            )
        return (output * mask.to(output.device)).flatten(1).sum(1)

    def _per_example(self, picked: Tensor, how: str) -> Tensor:
        if picked.ndim == 0:
            return picked.reshape(1)
        if picked.ndim == 1:
            return picked
        if picked.numel() == picked.shape[0]:
            return picked.reshape(-1)
        raise wrong(
            ValueError,
            f"a {self.word} that picks one number per example",
            f"{how}, which leaves {describe(picked)}",
            f"{self.word}={tuple([0] * (picked.ndim - 1))}, "
            f"or any other of its {tuple(picked.shape[1:])} outputs",
        )

    def _check_depth(self, output: Tensor, depth: int, index: object) -> None:
        if output.ndim - 1 < depth:
            raise wrong(
                ValueError,
                f"a {self.word} with at most {max(output.ndim - 1, 0)} indices, "
                f"as the output has shape {tuple(output.shape)}",
                f"{self.word}={index}",
                f"{self.word}={None if output.ndim < 2 else 0}",
            )

    def _out_of_range(self, output: Tensor, index: object) -> IndexError:
        sizes = tuple(output.shape[1:])
        if isinstance(index, tuple) and len(index) == 1:
            (index,) = index
        return wrong(
            IndexError,
            f"a {self.word} within the outputs, {sizes} per example",
            f"{self.word}={describe(index)}",
            f"{self.word}={sizes[0] - 1}"
            if len(sizes) == 1
            else f"{self.word}={tuple(s - 1 for s in sizes)}",
        )


@dataclass(frozen=True, kw_only=True)
class Loss(Target):
    """A loss of the output and the labels, which have a row for each example."""

    loss: Callable[[Any, Any], Tensor]
    labels: Any

    def tile(self, copies: int) -> Loss:
        return self._mapped(lambda t: t.repeat(copies, *[1] * (t.ndim - 1)))

    def narrow(self, start: int, length: int) -> Loss:
        return self._mapped(lambda t: t.narrow(0, start, length))

    def chosen(self, rows: Tensor) -> Loss:
        return self._mapped(lambda t: t[rows.to(t.device)])

    def select(self, output: Any) -> Tensor:
        found = self.loss(output, self.labels)
        return self._per_example(as_tensor(found), "loss_func=<function>")

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Loss:
        return replace(self, labels=map_tensors(change, self.labels))


class Raw(Target):
    """The whole output, (N, ...), instead of a number."""

    def select(self, output: Any) -> Tensor:
        return as_tensor(output)


def as_tensor(output: Any) -> Tensor:
    """A model's output as a tensor: itself, its logits, its first tensor, or a plain number."""
    if isinstance(output, Tensor):
        return output
    tensor = first_tensor(output)
    if tensor is None:
        if isinstance(output, float):  # as exact as Python has it
            return torch.tensor(output, dtype=torch.float64)
        if isinstance(output, int | np.ndarray | np.generic):
            return torch.as_tensor(output)
        raise wrong(
            TypeError,
            "a model that returns a tensor, or a tuple, dict or model output that holds one",
            f"an output of type {type(output).__name__}",
            "target=lambda output: ... that returns a tensor of shape (N,)",
        )
    return tensor


def make_targets(target: Any, examples: int) -> tuple[Target, ...]:
    """Read the user's `target=` once, at the door."""
    several = target if isinstance(target, Targets) else (target,)
    return tuple(_make_one(each, examples) for each in several)


def _make_one(target: Any, examples: int) -> Target:
    if target is None:
        return Target()
    if isinstance(target, np.ndarray):
        target = torch.from_numpy(target)
    if isinstance(target, Tensor):
        return _from_tensor(target, examples)
    if isinstance(target, list):
        return _from_list(target, examples)
    if callable(target):
        return Target(function=target)
    index = target if isinstance(target, tuple) else (target,)
    return Target(index=tuple(map(_index, index)))


def _index(item: Any) -> int | slice:
    if isinstance(item, slice):
        return item
    try:
        return operator.index(item)
    except TypeError:
        raise _not_a_target(item) from None


def _from_tensor(target: Tensor, examples: int) -> Target:
    if target.dtype == torch.bool:
        return Target(mask=target)
    if target.is_floating_point() or target.is_complex():
        raise _not_a_target(target)
    if target.numel() == 1:
        return Target(index=(int(target),))
    if target.ndim in (1, 2) and len(target) == examples:
        return by_row(target.long().reshape(examples, -1))
    raise _wrong_count(len(target), examples)


def _from_list(target: list[Any], examples: int) -> Target:
    if len(target) != examples:
        raise _wrong_count(len(target), examples)
    rows = [each if isinstance(each, tuple | list) else (each,) for each in target]
    if any(isinstance(i, slice) for row in rows for i in row):
        raise wrong(
            TypeError,
            "slices only in a target that is the same for all examples",
            f"target={describe(target)}",
            "target=slice(0, 3)",
        )
    index = [[_index(i) for i in row] for row in rows]
    return by_row(torch.tensor(index, dtype=torch.long).reshape(examples, -1))


def by_row(rows: Tensor) -> Target:
    """A target for each example, indices (N, d)."""
    low, high = (extreme.tolist() for extreme in torch.aminmax(rows, dim=0))
    return Target(rows=rows, bounds=tuple(zip(low, high, strict=True)))


def _wrong_count(count: int, examples: int) -> ValueError:
    return wrong(
        ValueError,
        f"one target for all, or one for each of the {examples} examples",
        f"{count} targets",
        "target=3, or a list or tensor with one entry per example; "
        "for several targets of each example target=Targets(0, 1)",
    )


def _not_a_target(target: object) -> TypeError:
    return wrong(
        TypeError,
        "a target: an int, a tuple of ints and slices, a list or integer tensor with one entry "
        "per example, a boolean mask, or a function of the output",
        f"target={describe(target)}",
        "target=0",
    )
