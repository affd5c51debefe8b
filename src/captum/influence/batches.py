"""Examples as they come: data sets, loaders and single batches, in batches of a bearable size.

A batch is a tuple, of the model's arguments and then the targets; or a dict, of the model's
keywords, whose "labels" are the targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from captum._engine import store
from captum._engine.errors import describe, wrong
from captum._engine.nest import is_real, tensors
from captum._engine.per_sample.source import Batch
from captum._engine.plan import Plan
from captum._engine.ranks import World

_BYTES = 1 << 20  # of inputs that go through at once
_ID_BYTES = 512  # what a token id weighs there: it becomes an embedding
_HELD_BYTES = 2 << 30  # of test examples' gradients
_FEWEST, _MOST = 16, 1024  # examples
_LABELS = "labels"

Data = Any  # a data set, a loader, or one batch


def loader_of(data: Data, batch_size: int | None, name: str = "train_dataset") -> Iterable[Any]:
    """What yields batches, in the data's order."""
    if isinstance(data, DataLoader):
        return data
    if isinstance(data, Dataset | IterableDataset) or (
        hasattr(data, "__getitem__") and not isinstance(data, tuple | list | Mapping)
    ):
        if not isinstance(batch_size, int) or batch_size < 1:
            raise wrong(
                ValueError,
                f"batch_size of at least 1, as {name} is a data set",
                repr(batch_size),
                "batch_size=256",
            )
        if type(data) is TensorDataset:
            return Slices(data, max(batch_size, _MOST))
        # A generator of its own: a loader draws a seed for its workers, and they are none here.
        return DataLoader(data, batch_size, shuffle=False, generator=torch.Generator())
    raise wrong(
        TypeError,
        f"{name} to be a data set or a DataLoader",
        describe(data),
        "TensorDataset(inputs, labels)",
    )


class Slices:
    """A data set of tensors, cut along their rows instead of gathered row by row."""

    def __init__(self, dataset: TensorDataset, size: int) -> None:
        self.dataset, self.size = dataset, size

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for start in range(0, len(self.dataset), self.size):
            yield tuple(t[start : start + self.size] for t in self.dataset.tensors)


def batches(data: Data, device: torch.device) -> Iterator[Batch]:
    """The batches of a loader, or a single one: small ones put together, large ones cut."""
    waiting: list[Batch] = []
    with torch.random.fork_rng(devices=[]):  # a loader draws a seed for its workers
        rest = iter([data] if is_single(data) else data)
    for given in rest:
        batch = as_batch(given).to(device)
        size = _size(batch)
        if waiting and (
            sum(map(len, waiting)) + len(batch) > size or not _alike(waiting[0], batch)
        ):
            yield _joined(waiting)
            waiting = []
        if len(batch) >= size:
            for start in range(0, len(batch), size):
                yield batch.narrow(start, min(size, len(batch) - start))
        else:
            waiting.append(batch)
    if waiting:
        yield _joined(waiting)


def groups(data: Data, device: torch.device, most: int) -> Iterator[list[Batch]]:
    """The same batches, put into groups of at most so many examples, and of at least one."""
    group: list[Batch] = []
    for batch in batches(data, device):
        for start in range(0, len(batch), most):
            part = batch.narrow(start, min(most, len(batch) - start))
            if group and sum(map(len, group)) + len(part) > most:
                yield group
                group = []
            group.append(part)
    if group:
        yield group


def questions(data: Data, device: torch.device, weight: int) -> list[list[Batch]]:
    """Test examples in groups whose gradients, of `weight` bytes each, are held at once.

    Every group meets all of the training data. Each process asks all of them.
    """
    agree(data)
    found = list(groups(data, device, max(1, _HELD_BYTES // max(1, weight))))
    if not any(map(len, found)):
        raise wrong(ValueError, "at least one test example", "none", "(inputs, labels)")
    return found


def agree(data: Data) -> None:
    """Refuse test examples that are not the same in all processes, or not in the data's order."""
    world = World.now()
    if world.size > 1:
        first = {"first example": data} if is_single(data) else Plan.of(data, 1).looked_at()[1]
        world.agree({"test examples": store.digest(first)})


def is_single(data: Data) -> bool:
    """Whether data is one batch, and not what yields some."""
    return isinstance(data, tuple | list | Mapping)


def as_batch(given: Any) -> Batch:
    """A user's batch."""
    if isinstance(given, Batch):
        return given
    if isinstance(given, Mapping):
        inputs = {k: v for k, v in given.items() if k != _LABELS}
        return Batch((), inputs, given.get(_LABELS))
    if isinstance(given, tuple | list) and len(given) > 1:
        return Batch(tuple(given[:-1]), {}, given[-1])
    raise wrong(
        TypeError,
        "a batch: a tuple of inputs and labels, or a dict of inputs with 'labels'",
        describe(given),
        "(inputs, labels)",
    )


def count(data: Data) -> int | None:
    """How many examples there are, where that is known."""
    dataset = getattr(data, "dataset", data)
    return len(dataset) if isinstance(dataset, Sized) else None


def _size(batch: Batch) -> int:
    """How many such examples go through at once."""
    rows = max(1, len(batch))
    inputs = tensors((batch.args, dict(batch.kwargs)))
    weight = sum(t.nbytes if is_real(t) else _ID_BYTES * t.numel() for t in inputs) // rows
    return max(_FEWEST, min(_MOST, _BYTES // max(1, weight)))


def _alike(a: Batch, b: Batch) -> bool:
    return _shapes(a) == _shapes(b)


def _shapes(batch: Batch) -> list[Any]:
    found = tensors((batch.args, dict(batch.kwargs), batch.targets))
    return [(t.shape[1:], t.dtype) for t in found]


def _joined(parts: Sequence[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    return Batch(
        _cat([part.args for part in parts]),
        _cat([dict(part.kwargs) for part in parts]),
        _cat([part.targets for part in parts]),
    )


def _cat(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(list(values))
    if isinstance(first, Mapping):
        return {key: _cat([value[key] for value in values]) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(_cat(column) for column in zip(*values, strict=True))
    return first
