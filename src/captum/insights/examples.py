"""The examples of a data set of batches, read only as far as somebody looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum._engine.errors import describe, wrong

_WORKS = "Batch(inputs=images, labels=labels)"


class Batch:
    """N examples: what the model takes, and what is right.

    Args:
        inputs: a tensor (N, *F), or a tuple of them, one per feature, before `input_transforms`.
        labels: N class indices, or None where nobody knows.
        additional_args: what else the model takes, by position: one value or a tuple of them.
            Tensors with N rows go with their examples, everything else with all of them.

    >>> import torch
    >>> batch = Batch(inputs=torch.zeros(2, 3), labels=torch.tensor([0, 1]))
    >>> [example.label for example in rows(batch)]
    [0, 1]
    """

    def __init__(self, inputs: Any, labels: Any, additional_args: Any = None) -> None:
        self.inputs = inputs
        self.labels = labels
        self.additional_args = additional_args


@dataclass(frozen=True, eq=False)
class Example:
    """One row of a batch: raw inputs (1, *F), its label, and what else the model takes."""

    inputs: tuple[Tensor, ...]
    label: int | float | None
    args: tuple[Any, ...]


class Examples:
    """The rows of all batches by number, each read when it is first asked for, and kept.

    An endless data set is as good as any other.

    >>> import torch
    >>> found = Examples([Batch(torch.zeros(2, 3), None), Batch(torch.ones(2, 3), None)])
    >>> found[2].inputs[0], found.read, found.get(4)
    (tensor([[1., 1., 1.]]), 4, None)
    """

    def __init__(self, dataset: Iterable[Batch]) -> None:
        self._batches = iter(dataset)
        self._rows: list[Example] = []
        self.ended = False

    @property
    def read(self) -> int:
        """How many are known so far."""
        return len(self._rows)

    def get(self, number: int) -> Example | None:
        """Example `number`, or None behind the last."""
        while number >= len(self._rows) and not self.ended:
            self._read_on()
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def __getitem__(self, number: int) -> Example:
        found = self.get(number)
        if found is None:
            got = f"example {number!r} of {len(self._rows)}"
            raise wrong(IndexError, "the number of an example", got, "0")
        return found

    def _read_on(self) -> None:
        try:
            batch = next(self._batches)
        except StopIteration:
            self.ended = True
        except RuntimeError as error:
            # A generator that calls next() on its loader ends like this.
            if not isinstance(error.__cause__, StopIteration):
                raise
            self.ended = True
        else:
            self._rows.extend(rows(batch))


def rows(batch: Batch) -> Iterator[Example]:
    """The examples of one batch.

    Raises:
        TypeError: something else than a batch of tensors.
        ValueError: inputs or labels of different numbers of rows.
    """
    inputs = _tensors(batch)
    count = len(inputs[0])
    given = batch.additional_args
    args = given if isinstance(given, tuple) else () if given is None else (given,)
    for i, label in enumerate(_labels(batch.labels, count)):
        yield Example(
            tuple(x[i : i + 1] for x in inputs), label, tuple(_row(a, i, count) for a in args)
        )


def _tensors(batch: Any) -> tuple[Tensor, ...]:
    if not hasattr(batch, "inputs") or not hasattr(batch, "labels"):
        raise wrong(TypeError, "a data set of batches", describe(batch), _WORKS)
    given = batch.inputs
    inputs = tuple(given) if isinstance(given, tuple | list) else (given,)
    if not inputs or not all(isinstance(x, Tensor) and x.ndim for x in inputs):
        raise wrong(TypeError, "inputs as tensors with a row per example", describe(given), _WORKS)
    if len({len(x) for x in inputs}) > 1:
        raise wrong(ValueError, "inputs with equally many rows", describe(given), _WORKS)
    return inputs


def _row(value: Any, i: int, count: int) -> Any:
    has_rows = isinstance(value, Tensor) and value.ndim and len(value) == count
    return value[i : i + 1] if has_rows else value


def _labels(labels: Any, count: int) -> list[int | float | None]:
    if labels is None:
        return [None] * count
    several = labels.reshape(-1) if isinstance(labels, Tensor) else labels
    found = [_label(label) for label in (several if hasattr(several, "__len__") else [several])]
    if len(found) != count:
        raise wrong(ValueError, f"a label for each of {count} rows", describe(labels), _WORKS)
    return found


def _label(label: Any) -> int | float | None:
    """A class index as an int; other numbers, as of a regression, as they are."""
    if label is None:
        return None
    try:
        number = float(label)
    except (TypeError, ValueError, RuntimeError):
        raise wrong(TypeError, "labels as class indices", describe(label), _WORKS) from None
    return int(number) if number.is_integer() else number
