"""A data set as blocks of batches: what is a file, a piece of work, and a place to go on from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, RandomSampler

from captum._engine import store
from captum._engine.errors import describe, wrong
from captum._engine.nest import tensors

# Of a block's number, start and end: whether it is to be made.
Wanted = Callable[[int, int, int], bool]


@dataclass(frozen=True)
class Plan:
    """Batches in blocks of at least `block` examples, in the data's order.

    Args:
        data: a loader, or an iterable of batches.
        block: the examples after which a block ends, with its batch.
        places: of a data set that is read by numbers: the numbers of each batch.
    """

    data: Iterable[Any]
    block: int
    places: list[list[int]] | None = None

    @classmethod
    def of(cls, data: Iterable[Any], block: int, ordered: bool = True) -> Plan:
        """Look at what a user gave; unless `ordered`, a loader that shuffles is read as it comes.

        Raises:
            TypeError: nothing that yields batches.
            ValueError: a loader that shuffles, or has a part of the data alone.
        """
        if not isinstance(data, DataLoader):
            if not isinstance(data, Iterable):
                raise wrong(
                    TypeError, "a DataLoader or batches", describe(data), "DataLoader(data)"
                )
            return cls(data, block)
        if isinstance(data.dataset, IterableDataset) or data.batch_sampler is None:
            return cls(data, block)
        places, again = ([list(each) for each in data.batch_sampler] for _ in range(2))
        if places != again or isinstance(data.sampler, RandomSampler | DistributedSampler):
            if not ordered:
                return cls(data, block)
            raise wrong(
                ValueError,
                "a loader in the data's order: processes share the work by themselves",
                type(data.sampler).__name__,
                "DataLoader(data, batch_size=64, shuffle=False)",
            )
        return cls(data, block, places)

    @property
    def examples(self) -> int | None:
        """How many there are, where that is known before all are read."""
        if self.places is not None:
            return sum(map(len, self.places))
        return sum(map(rows_of, self.data)) if isinstance(self.data, list | tuple) else None

    @property
    def rereads(self) -> bool:
        """Whether looking at the data takes nothing away from it."""
        return not isinstance(self.data, Iterator)

    def about(self) -> dict[str, Any]:
        """What blocks hang on."""
        first = ""
        if self.places and isinstance(self.data, DataLoader):
            first = store.digest(self.data.dataset[self.places[0][0]])
        elif isinstance(self.data, list | tuple) and self.data:
            first = store.digest(self.data[0])
        return {"examples": self.examples, "block": self.block, "first example": first}

    def peek(self) -> Any:
        """The first batch.

        Raises:
            ValueError: there is none, or it would be gone.
        """
        if not self.rereads:
            raise wrong(
                ValueError, "data that can be read twice", "an iterator", "a list, or a DataLoader"
            )
        if self.places:
            return next(self._by_place([(0, self.places[:1])]))[1][0]
        for batch in self.data:
            return batch
        raise wrong(ValueError, "at least one example", "none", "DataLoader(data)")

    def chosen(self, wanted: Wanted) -> Iterator[tuple[int, list[Any]]]:
        """The start and the batches of each block that is wanted, one after the other."""
        if self.places is not None:
            yield from self._by_place(self.ahead(wanted))
            return
        for number, (start, part) in enumerate(_blocks(self.data, rows_of, self.block)):
            if wanted(number, start, start + sum(map(rows_of, part))):
                yield start, part

    def ahead(self, wanted: Wanted) -> list[tuple[int, list[list[int]]]]:
        """The start of each block that is wanted, and the numbers of its batches' examples."""
        return [
            (start, part)
            for number, (start, part) in enumerate(_blocks(self.places or (), len, self.block))
            if wanted(number, start, start + sum(map(len, part)))
        ]

    def _by_place(
        self, blocks: list[tuple[int, list[list[int]]]]
    ) -> Iterator[tuple[int, list[Any]]]:
        """Nothing is read that is not wanted."""
        assert isinstance(self.data, DataLoader)  # for mypy
        loader = iter(_only(self.data, [places for _, part in blocks for places in part]))
        for start, part in blocks:
            yield start, [next(loader) for _ in part]


def rows_of(batch: Any) -> int:
    """How many examples a batch has."""
    first = next(tensors(batch), None)
    if first is None or first.ndim == 0:
        raise wrong(TypeError, "batches of tensors (N, *F)", describe(batch), "DataLoader(data)")
    return len(first)


def _blocks(
    batches: Iterable[Any], count: Callable[[Any], int], block: int
) -> Iterator[tuple[int, list[Any]]]:
    start, rows, part = 0, 0, []
    for batch in batches:
        part.append(batch)
        rows += count(batch)
        if rows >= block:
            yield start, part
            start, rows, part = start + rows, 0, []
    if part:
        yield start, part


def _only(loader: DataLoader[Any], places: list[list[int]]) -> DataLoader[Any]:
    """The same loader, for some batches alone."""
    return DataLoader(
        loader.dataset,
        batch_sampler=places,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        worker_init_fn=loader.worker_init_fn,
        # A generator of its own: a loader draws a seed for its workers, from the global one else.
        generator=loader.generator or torch.Generator(),
    )
