"""How many rows go through the model at once.

Large batches are slow before they are too large: activations fall out of the processor's cache,
and allocations beyond some 32 MB go to the operating system and back at every operation. `"auto"`
therefore measures, on a first small pass, what one row keeps alive, and sizes the passes so that
the largest activation stays in the cache and all of them in the memory budget. The sizes depend
on shapes alone, never on clocks, so a run repeats exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from captum._engine.call import Call
from captum._engine.errors import wrong
from captum._engine.nest import Tensors, is_real

Rows = int | Literal["auto"] | None
# Rows for every copy of every example: all of them, or made for a pass's copies and examples.
Points = Tensors | Callable[[slice, slice], Tensors]

_MB = 1 << 20
_CPU_ACTIVATION = 5 * _MB  # the largest one; about a core's share of the last cache
_CPU_ENOUGH = 1 * _MB, 2048  # beyond so many bytes and rows, more rows only fill the cache
_CPU_TOTAL = 256 * _MB  # all of one pass
_GPU_ACTIVATION = 256 * _MB  # enough rows to fill the device
_GPU_SHARE = 0.25  # of the memory that is free
_FIRST_BYTES = 512 * 1024  # of inputs in the first pass, before anything is measured
_ID_BYTES = 512  # what a token id weighs there: it becomes an embedding
_FIRST_ROWS, _MOST_ROWS = 1024, 1 << 16


@dataclass
class RowLimit:
    """Rows per pass: the user's number, or one that is learnt in the first pass."""

    rows: int
    fixed: bool
    most: int = _MOST_ROWS  # the user's bound on what is learnt
    measured: bool = False
    stretch: int = 1  # times the rows, where each pass has a cost of its own
    weigh: Callable[[Tensor], Tensor] | None = None  # while measuring: also for who keeps no graph

    @classmethod
    def of(cls, wanted: Rows, name: str = "internal_batch_size") -> RowLimit | None:
        """The user's number; None where we choose."""
        if wanted is None or wanted == "auto":
            return None
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            raise wrong(ValueError, f"{name} of at least 1, or 'auto'", repr(wanted), f"{name}=16")
        return cls(wanted, fixed=True, measured=True)

    @classmethod
    def first(cls, inputs: tuple[Tensor, ...], most: int = _MOST_ROWS) -> RowLimit:
        """A guess from the inputs' sizes, for the first pass."""
        weight = sum(_row_bytes(x) for x in inputs)
        guess = max(1, min(_FIRST_ROWS, _FIRST_BYTES // max(weight, 1)))
        # Where the user's bound is lower, there is nothing to learn.
        return cls(min(guess, most), fixed=False, most=most, measured=most <= guess)

    @contextmanager
    def measuring(self, rows: int, device: torch.device) -> Iterator[None]:
        """Learn from a pass of `rows` rows how many there should be."""
        largest = total = 0

        def weigh(tensor: Tensor) -> Tensor:
            nonlocal largest, total
            base = tensor if tensor._base is None else tensor._base
            if not isinstance(base, nn.Parameter):
                largest = max(largest, tensor.nbytes)
                total += tensor.nbytes
            return tensor.detach()  # an operation that kept its own result would never be freed

        self.weigh = weigh
        try:
            with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
                yield
        finally:
            self.weigh = None
        self.measured = True
        if total:
            activation, budget = budgets(device)
            by_cache, by_memory = activation * rows // largest, budget * rows // total
            if device.type == "cpu":
                size, many = _CPU_ENOUGH
                by_cache = min(by_cache, max(many, size * rows // largest))
            self.rows = max(1, min(by_cache, by_memory, self.most))

    def share(self, left: int) -> int:
        """The rows of the next pass, of those that are left: alike, once the number is learnt."""
        if self.fixed or not self.measured:
            return min(self.rows, left)
        passes = -(-left // (self.rows * self.stretch))
        return -(-left // passes)

    def halve(self) -> bool:
        """After a pass that ran out of memory: whether a smaller one is worth trying."""
        if self.fixed or self.rows == 1:
            return False
        self.rows = max(1, self.rows // 2)
        self.measured = True
        return True


class NotPerRow(Exception):  # noqa: N818 - a finding that changes the plan, not an error
    """Something in a pass does not have one row per example: rows cannot be split or repeated."""


@dataclass(slots=True)
class Part:
    """One pass: its call, and how to take its share of tensors with a row per copy."""

    make: Callable[[Tensors | None], Call]
    take: Callable[[Tensor], Tensor]
    rows: int
    everything: bool  # the call as it came, neither split nor repeated
    copies: slice = field(default_factory=lambda: slice(0, 1))  # those that it has rows of
    examples: slice = field(default_factory=lambda: slice(None))  # and of which examples

    def call(self, inputs: Points | None) -> Call:
        """The pass's call; with its share of other inputs where they move."""
        return self.make(inputs if inputs is None else self.share(inputs))

    def share(self, points: Points) -> Tensors:
        """The pass's rows of what has a row for every copy of every example."""
        if callable(points):
            return points(self.copies, self.examples)
        return tuple(map(self.take, points))

    def reference(self, rows: Tensor, copies: int) -> Tensor:
        """Its share of a reference: a row for every row, or one that a copy's rows share."""
        if len(rows) != copies:
            return self.take(rows)
        own = rows[self.copies]
        return own if len(own) == 1 else own.repeat_interleave(self.rows // len(own), 0)


def split(call: Call, copies: int, limit: RowLimit | None) -> Iterator[Part]:
    """The passes for `copies` points per example; the limit may change on the way.

    Whole copies where they fit, else a share of one copy's rows. Without a limit, one copy each.
    """
    n = call.rows
    if copies * n == 1:
        yield Part(call.moved, _all, 1, everything=True)
        return
    if limit is None:
        for copy in range(copies):
            take = partial(_share, copy=copy, copies=copies)
            yield Part(call.moved, take, n, copies == 1, slice(copy, copy + 1))
        return
    start = 0
    while start < copies * n:
        copy, row = divmod(start, n)
        examples = slice(None)
        if row == 0 and limit.rows >= n:
            k = min(copies - copy, limit.rows // n)
            make, length = partial(call.tile, k), k * n
            within = slice(copy, copy + k)
        else:
            length = limit.share(n - row)
            make = partial(call.narrow, row, length)
            within, examples = slice(copy, copy + 1), slice(row, row + length)
        take = partial(_rows, start=start, length=length)
        yield Part(make, take, length, copies == 1 and length == n, within, examples)
        start += length


def _all(x: Tensor) -> Tensor:
    return x


def _share(x: Tensor, copy: int, copies: int) -> Tensor:
    length = x.shape[0] // copies
    return x.narrow(0, copy * length, length)


def _rows(x: Tensor, start: int, length: int) -> Tensor:
    return x.narrow(0, start, length)


def budgets(device: torch.device) -> tuple[int, int]:
    """Bytes that the largest activation, and all of one pass, may take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return _GPU_ACTIVATION, int(free * _GPU_SHARE)
    return _CPU_ACTIVATION, _CPU_TOTAL


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocator said no: CUDA, MPS and the CPU use different words."""
    text = str(error)
    return "out of memory" in text or "not enough memory" in text or "can't allocate memory" in text


def _row_bytes(x: Tensor) -> int:
    return x[0].numel() * (x.element_size() if is_real(x) else _ID_BYTES)
