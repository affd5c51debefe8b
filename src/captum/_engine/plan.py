"""A data set as blocks of batches: what is a file, a piece of work, and a place to go on from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, RandomSampler

from captum._engine import store
from captum._engine.errors import describe, wrong
from captum._engine.nest import tensors
from captum._engine.ranks import World

# Of a block's number, start and end: whether it is to be made.
Wanted = Callable[[int, int, int], bool]


@dataclass(frozen=True)
class Plan:
    """Batches in blocks of at least `block` examples, in the data's order.

    Args:
        data: a loader, or an iterable of batches.
        block: the examples after which a block ends, with its batch.
        places: of a data set that is read by numbers: the numbers of each batch.
        order: a digest of the numbers that a loader reads by, where there are some.
        count: how many examples a batch has.
    """

    data: Iterable[Any]
    block: int
    places: list[list[int]] | None = None
    order: str = ""
    count: Callable[[Any], int] = field(default_factory=lambda: rows_of)

    @classmethod
    def of(
        cls,
        data: Iterable[Any],
        block: int,
        ordered: bool = True,
        count: Callable[[Any], int] | None = None,
    ) -> Plan:
        """Look at what a user gave; unless `ordered`, a loader that shuffles is read as it comes.

        Raises:
            TypeError: nothing that yields batches.
            ValueError: a loader that shuffles, or has a part of the data alone.
        """
        count = count or rows_of
        if isinstance(data, Tensor | str | Mapping) or not isinstance(data, Iterable):
            raise wrong(TypeError, "a DataLoader or batches", describe(data), "DataLoader(data)")
        if not isinstance(data, DataLoader) or isinstance(data.dataset, IterableDataset):
            return cls(data, block, count=count)
        numbers: Any = data.sampler if data.batch_sampler is None else data.batch_sampler
        places, again = (list(map(_listed, numbers)) for _ in range(2))
        if places != again or isinstance(data.sampler, RandomSampler | DistributedSampler):
            if not ordered:
                return cls(data, block, count=count)
            raise wrong(
                ValueError,
                "a loader in the data's order: processes share the work by themselves",
                type(data.sampler).__name__,
                "DataLoader(data, batch_size=64, shuffle=False)",
            )
        order = store.digest(repr(places))
        # One that has its own way of yielding is read as it is.
        if data.batch_sampler is None or type(data).__iter__ is not DataLoader.__iter__:
            return cls(data, block, None, order, count)
        return cls(data, block, [each for each in places if each], order, count)

    @property
    def examples(self) -> int | None:
        """How many there are, where that is known before all are read."""
        if self.places is not None:
            return sum(map(len, self.places))
        return sum(map(self.count, self.data)) if isinstance(self.data, list | tuple) else None

    @property
    def rereads(self) -> bool:
        """Whether looking at the data takes nothing away from it."""
        return not isinstance(self.data, Iterator)

    def looked_at(self) -> tuple[Plan, dict[str, Any]]:
        """What blocks hang on, and a plan in which nothing is missing for that.

        Raises:
            ValueError: there are no examples.
        """
        plan, first = self, None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same, should it be drawn
            if self.places and isinstance(self.data, DataLoader):
                first = self.data.dataset[self.places[0][0]]
            elif self.places is None:
                rest = iter(self.data)
                first = next(rest, None)
                if not self.rereads:
                    plan = replace(self, data=chain([first], rest))
        examples = self.examples
        if first is None or examples == 0:
            raise wrong(ValueError, "at least one example", "none", "DataLoader(data)")
        about = {"examples": examples, "block": self.block, "batches": self.order}
        return plan, about | {"first example": store.digest(first)}

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
        for batch in self.data if self.places is None else ():
            if self.count(batch):
                return batch
        raise wrong(ValueError, "at least one example", "none", "DataLoader(data)")

    def chosen(self, wanted: Wanted) -> Iterator[tuple[int, list[Any]]]:
        """The start and the batches of each block that is wanted, one after the other."""
        if self.places is not None:
            yield from self._by_place(self.ahead(wanted))
            return
        for number, (start, end, part) in enumerate(_blocks(self.data, self.count, self.block)):
            if wanted(number, start, end):
                yield start, part

    def ahead(self, wanted: Wanted) -> list[tuple[int, list[list[int]]]]:
        """The start of each block that is wanted, and the numbers of its batches' examples."""
        return [
            (start, part)
            for number, (start, end, part) in enumerate(_blocks(self.places or (), len, self.block))
            if wanted(number, start, end)
        ]

    def _by_place(
        self, blocks: list[tuple[int, list[list[int]]]]
    ) -> Iterator[tuple[int, list[Any]]]:
        """Nothing is read that is not wanted."""
        assert isinstance(self.data, DataLoader)  # for mypy
        loader = iter(_only(self.data, [places for _, part in blocks for places in part]))
        for start, part in blocks:
            made = [next(loader) for _ in part]
            for batch, numbers in zip(made, part, strict=True):
                if self.count is not rows_of and self.count(batch) != len(numbers):
                    raise wrong(
                        ValueError,
                        f"a batch of the {len(numbers)} examples that the loader asked for",
                        f"{self.count(batch)}",
                        "a data set without those that are left out, and inputs=… of all others",
                    )
            yield start, made


class Missing:
    """Which of the blocks that are missing are this process's: they go round, whatever is there.

    Args:
        world: the processes that share them, which all ask for all blocks.
        has: of a block's start and end, whether it is there.
    """

    def __init__(self, world: World, has: Callable[[int, int], bool]) -> None:
        self.world, self.has = world, has
        self._order: dict[int, int] = {}

    def __call__(self, number: int, start: int, end: int) -> bool:
        """Whether to make a block; however often one asks."""
        if self.has(start, end):
            return False
        return self.world.takes(self._order.setdefault(number, len(self._order)))


def rows_of(batch: Any) -> int:
    """How many examples a batch has."""
    first = next(tensors(batch), None)
    if first is None or first.ndim == 0:
        raise wrong(TypeError, "batches of tensors (N, *F)", describe(batch), "DataLoader(data)")
    return len(first)


def _listed(numbers: Any) -> list[Any]:
    return list(numbers) if isinstance(numbers, Iterable) else [numbers]


def _blocks(
    batches: Iterable[Any], count: Callable[[Any], int], block: int
) -> Iterator[tuple[int, int, list[Any]]]:
    """The start, the end and the batches of each; without batches that have no examples."""
    start = end = 0
    part: list[Any] = []
    for batch in batches:
        rows = count(batch)
        if rows:
            part.append(batch)
            end += rows
        if end - start >= block:
            yield start, end, part
            start, part = end, []
    if part:
        yield start, end, part


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
