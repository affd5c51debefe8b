"""Training data as this process meets it: all of it, or its share among several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import torch

from captum._engine.errors import wrong
from captum._engine.per_sample.source import Batch
from captum._engine.plan import Missing, Plan
from captum._engine.ranks import World
from captum.influence.batches import Data, Slices, batches, count, groups, is_single

_MOST = 1024  # examples between two looks at the data
_UNKNOWN = 256  # examples of a piece of work, where nobody knows how many there are

Value = TypeVar("Value")
Has = Callable[[int, int], bool]  # of a block's start and end: whether it is there


def shared(method: Callable[..., Value]) -> Callable[..., Value]:
    """A method that all processes call of a data set; of a single batch each by itself."""

    @wraps(method)
    def met(self: Any, data: Data, *args: Any, **kwargs: Any) -> Value:
        with (World() if is_single(data) else World.now()).meeting():
            return method(self, data, *args, **kwargs)

    return met


class Share:
    """What this process takes of a data set. A single batch every process has for itself.

    Args:
        data: a loader, or a single batch.
        device: where examples go.
        world: the processes that share; those there are by default.
    """

    def __init__(self, data: Data, device: torch.device, world: World | None = None) -> None:
        self.data, self.device = data, device
        if not is_single(data) and count(data) == 0:
            raise wrong(ValueError, "at least one training example", "none", "a longer data set")
        self.world = World() if is_single(data) else world or World.now()
        if self.world.size > 1:
            about = Plan.of(data, 1).looked_at()[1] | {"examples": count(data)}
            self.world.agree({f"{name} of the data": value for name, value in about.items()})

    @property
    def expected(self) -> int | None:
        """How many examples this process meets, where that is known."""
        total = None if is_single(self.data) else count(self.data)
        return None if total is None else -(-total // self.world.size)

    def blocks(self, most: int, has: Has | None = None) -> Iterator[tuple[int, list[Batch]]]:
        """Batches of some `most` examples together, and the number of the first.

        With `has`, blocks are the same for any number of processes; without, they are smaller
        where that gives every process as many examples.
        """
        if self.world.size == 1 and has is None:
            start = 0
            for group in groups(self.data, self.device, most):
                yield start, group
                start += sum(map(len, group))
            return
        rows = self._even(most) if has is None else most
        data = self.data
        if isinstance(data, Slices):
            data = Slices(data.dataset, min(data.size, rows))
        plan = Plan.of(data, rows, ordered=self.world.size > 1)

        mine = Missing(self.world, has or (lambda start, end: False))
        for start, given in plan.chosen(mine):
            yield start, list(batches(iter(given), self.device))

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """The same, batch by batch."""
        for start, block in self.blocks(_MOST):
            for batch in block:
                yield start, batch
                start += len(batch)  # noqa: PLW2901 - of the next batch

    def _even(self, most: int) -> int:
        total = count(self.data)
        if total is None:
            return min(most, _UNKNOWN)
        rounds = -(-total // (self.world.size * most))
        return -(-total // (self.world.size * rounds))
