"""What a model does before a layer is reached is the same for all values put there: done once.

A recorded pass notes each torch function that the model calls on its way to the site, and keeps
those results that are still alive when it arrives: nothing else of the way can matter later on.
In the passes that follow, the model's Python code runs as ever, while its torch functions answer
from the record: with what was kept, row by row for the pass's examples, or with a tensor of the
right shape that holds nothing. A small second recording tells which dimension of a result holds
rows, and the first replayed pass is compared with what the recorded one said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum._engine.nest import Tensors, map_tensors, tensors
from captum._engine.site import Edit


class Diverged(Exception):  # noqa: N818 - a finding that changes the plan, not an error
    """The model does not do before the site what it did in the recorded pass."""


@dataclass(frozen=True)
class _Result:
    """Stands in an answer for the i-th tensor that the recorded pass made."""

    i: int


@dataclass(frozen=True)
class _Given:
    """Stands in an answer for the i-th tensor among the function's own arguments."""

    i: int


@dataclass
class _Step:
    """One torch function on the way to the site, and what it answered."""

    function: Callable[..., Any]
    answer: Any  # a nest with _Result and _Given in the place of tensors
    writes: bool
    live: bool = False  # asked again in a replayed pass: it depends on the number of rows


@dataclass
class _Made:
    """A tensor that the recorded pass made on the way."""

    object: ref[Tensor]
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    value: Tensor | None = None  # if it was alive when the site was reached
    version: int = 0  # of its memory at that time
    dim: int | None = None  # which holds rows
    per_row: int = 1  # and how many entries of it each


class _Before(TorchFunctionMode):
    """Watches torch functions until the site is reached."""

    arrived = False

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if self.arrived:
            return func(*args, **(kwargs or {}))
        return self.step(func, args, kwargs or {})

    def step(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What a function answers before the site."""
        raise NotImplementedError

    def arrive(self) -> None:
        """The first value at the site is there."""
        self.arrived = True

    def watching(self, edit: Edit) -> Edit:
        """The edit of a pass, which also tells that the site is reached."""

        def seen(source: int, live: Tensors) -> Tensors:
            if not self.arrived:
                self.arrive()
            return edit(source, live)

        return seen


class Recording(_Before):
    """A pass of `rows` rows as the model runs it, noted down."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.steps: list[_Step] = []
        self.made: list[_Made] = []
        self.usable = True
        self._places: dict[int, int] = {}
        self._chance = _random_state()

    def step(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        given = list(tensors((args, kwargs)))
        versions = list(map(_version, given))
        result = function(*args, **kwargs)
        written = [x for x, v in zip(given, versions, strict=True) if _version(x) != v]
        # What was not made on the way is the user's, and would not change in a replayed pass.
        self.usable &= all(self._place(x) is not None for x in written)
        answer = map_tensors(lambda x: self._note(x, given), result)
        self.steps.append(_Step(function, answer, bool(written)))
        return result

    def arrive(self) -> None:
        super().arrive()
        self.usable &= all(map(torch.equal, self._chance, _random_state()))
        for each in self.made:
            value = each.object()
            if value is not None:
                each.value, each.version = value.detach(), value._version

    def finished(self) -> bool:
        """Whether the record may be used: nothing random in it, and nothing written to since."""
        return (
            self.usable
            and self.arrived
            and all(x.value is None or x.value._version == x.version for x in self.made)
        )

    def _place(self, x: Tensor) -> int | None:
        i = self._places.get(id(x))
        return i if i is not None and self.made[i].object() is x else None

    def _note(self, x: Tensor, given: list[Tensor]) -> _Result | _Given:
        i = self._place(x)
        if i is not None:
            return _Result(i)
        for j, other in enumerate(given):
            if other is x:
                return _Given(j)
        self.usable &= type(x) in (Tensor, nn.Parameter) and x.layout is torch.strided
        self._places[id(x)] = len(self.made)
        self.made.append(_Made(ref(x), x.shape, x.dtype, x.device))
        return _Result(len(self.made) - 1)


class Record:
    """What happens before the site, for the rows of some examples.

    Args:
        recording: a pass of all of them.
        other: a pass of another number of rows, which starts with the first of them; None where
            all passes that are replayed have the same rows.

    Raises:
        Diverged: the two do different things.
    """

    def __init__(self, recording: Recording, other: Recording | None) -> None:
        self.steps, self.made = recording.steps, recording.made
        self._share: tuple[int, int, int] | None = None
        self._results: list[Tensor] = []
        if other is None:
            return
        pairs = zip(recording.steps, other.steps, strict=False)
        if len(recording.steps) != len(other.steps) or not all(
            a.function == b.function and a.writes == b.writes and _settled(a, b) for a, b in pairs
        ):
            raise Diverged
        for one, two in zip(recording.made, other.made, strict=True):
            _find_rows(one, two, recording.rows, other.rows)

    def results(self, copies: int, start: int, length: int) -> list[Tensor]:
        """All results for `copies` times the rows `start` to `start + length`."""
        if self._share != (copies, start, length):
            self._results = [_rows_of(x, copies, start, length) for x in self.made]
            self._share = copies, start, length
        return self._results


class Replaying(_Before):
    """A pass that reads what happens before the site from a record."""

    def __init__(self, record: Record, copies: int, start: int, length: int) -> None:
        super().__init__()
        self._results = record.results(copies, start, length)
        self._steps = iter(record.steps)

    def step(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        step = next(self._steps, None)
        if step is None or step.function != function:
            raise Diverged
        return function(*args, **kwargs) if step.live else self._answer(step.answer, args, kwargs)

    def arrive(self) -> None:
        super().arrive()
        if next(self._steps, None) is not None:
            raise Diverged

    def _answer(self, answer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        match answer:
            case _Result(i):
                return self._results[i]
            case _Given(j):
                return list(tensors((args, kwargs)))[j]
            case tuple() | list():
                return type(answer)([self._answer(item, args, kwargs) for item in answer])
        return answer


# What is asked of a tensor's shape, and depends on the number of rows alone.
_OF_SHAPES = frozenset(
    [
        Tensor.shape.__get__,  # type: ignore[attr-defined]
        Tensor.size,
        Tensor.numel,
        Tensor.nelement,
        Tensor.__len__,
    ]
)


def _settled(a: _Step, b: _Step) -> bool:
    """Whether it is known how to answer in a replayed pass."""
    if a.answer is None:
        a.live = not a.writes  # such as switching a mode
        return b.answer is None
    if _same(a.answer, b.answer):
        return True
    a.live = a.function in _OF_SHAPES
    return a.live


def _same(a: Any, b: Any) -> bool:
    try:
        return type(a) is type(b) and bool(a == b)
    except (TypeError, ValueError, RuntimeError):  # arrays and the like
        return False


def _find_rows(one: _Made, two: _Made, rows: int, others: int) -> None:
    """Which dimension of a result grows with the rows."""
    if len(one.shape) != len(two.shape) or one.dtype != two.dtype:
        raise Diverged
    dims = [d for d, (a, b) in enumerate(zip(one.shape, two.shape, strict=True)) if a != b]
    if not dims:
        if one.value is not None and (two.value is None or not _equal(one.value, two.value)):
            raise Diverged
        return
    d = dims[0]
    per_row, rest = divmod(one.shape[d], rows)
    if len(dims) > 1 or rest or two.shape[d] != per_row * others:
        raise Diverged
    one.dim, one.per_row = d, per_row


def _rows_of(made: _Made, copies: int, start: int, length: int) -> Tensor:
    """A result for the rows of a pass; one that nobody reads where it was not kept."""
    d, c = made.dim, made.per_row
    if made.value is None:
        shape = list(made.shape)
        if d is not None:
            shape[d] = copies * length * c
        fill = torch.nan if made.dtype.is_floating_point or made.dtype.is_complex else 0
        return torch.full((), fill, dtype=made.dtype, device=made.device).expand(shape)
    if d is None:
        return made.value
    rows = made.value.narrow(d, start * c, length * c)
    return torch.cat([rows] * copies, d) if copies > 1 else rows


def _equal(a: Tensor, b: Tensor) -> bool:
    return a is b or torch.equal(a, b) or torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def _version(x: Tensor) -> int:
    """How often a tensor's memory was written to; those of inference_mode are only read."""
    return 0 if x.is_inference() else x._version


def _random_state() -> Tensors:
    states = [torch.get_rng_state()]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        states += torch.cuda.get_rng_state_all()
    return tuple(states)
