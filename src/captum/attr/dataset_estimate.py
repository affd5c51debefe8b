"""What a data set would take: passes, time and files, from its first batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from captum._engine.passes import counted
from captum._engine.plan import Plan
from captum._engine.ranks import World
from captum.attr.base import Attribution
from captum.attr.dataset_asking import Asking

_QUICK = 0.5  # seconds: what takes less is run once more, as the first time is slower


@dataclass(frozen=True)
class Estimate:
    """What a data set would take.

    Args:
        examples: how many there are; None where the data does not say.
        passes: rows through the model for each example; None where they cannot be seen: of a
            function that is no module.
        seconds: of one process, for each example.
        bytes: of files, for each example.
        processes: that share the work.

    >>> print(Estimate(10_000, 51.0, 0.004, 3200, 2))
    10,000 examples, 51 rows through the model for each: some 20 seconds of 2 processes, 32.0 MB
    """

    examples: int | None
    passes: float | None
    seconds: float
    bytes: float
    processes: int = 1

    @property
    def total_seconds(self) -> float | None:
        """From the start to the end, where processes are alike and have work enough."""
        return None if self.examples is None else self.examples * self.seconds / self.processes

    def __str__(self) -> str:
        each = (
            "" if self.passes is None else f", {self.passes:,.4g} rows through the model for each"
        )
        if self.examples is None or self.total_seconds is None:
            return (
                f"examples without an end{each}: some {_duration(1000 * self.seconds)} and "
                f"{_size(1000 * self.bytes)} for a thousand of them"
            )
        several = f" of {self.processes} processes" if self.processes > 1 else ""
        return (
            f"{self.examples:,} examples{each}: some {_duration(self.total_seconds)}{several}, "
            f"{_size(self.examples * self.bytes)}"
        )


def estimate_dataset(
    method: Attribution,
    data: Iterable[Any],
    target: Any = None,
    *,
    inputs: Callable[[Any], Any] | None = None,
    arguments: Callable[[Any], Mapping[str, Any]] | None = None,
    **kwargs: Any,
) -> Estimate:
    """What `attribute_dataset` would take, from one batch, which is explained and thrown away.

    Args:
        method: any attribution method whose scores have a row for each example.
        data: as for `attribute_dataset`, but what can be read twice.
        target: as for `attribute_dataset`.
        inputs: as for `attribute_dataset`.
        arguments: as for `attribute_dataset`.
        kwargs: for `attribute`.

    Raises:
        ValueError: data that is gone once it is read; a loader that shuffles; no examples.

    >>> import torch
    >>> from torch.utils.data import DataLoader
    >>> from captum.attr import IntegratedGradients, estimate_dataset
    >>> loader = DataLoader(torch.randn(100, 3), batch_size=20)
    >>> found = estimate_dataset(IntegratedGradients(torch.nn.Linear(3, 2)), loader, target=0)
    >>> found.examples, found.passes, found.bytes
    (100, 50.0, 12.0)
    """
    asking = Asking(method, target, inputs, arguments, 0, kwargs)
    return estimated(asking, Plan.of(data, 1, count=asking.count))


def estimated(asking: Asking, plan: Plan) -> Estimate:
    """The same of what is to be asked."""
    batch = plan.peek()
    passed = [0]
    with counted(asking.model, passed.append, pause=0) as seen:
        start = time.perf_counter()
        rows = asking.rows(0, [batch])
        seconds = time.perf_counter() - start
    if seconds < _QUICK:
        start = time.perf_counter()
        asking.rows(0, [batch])
        seconds = time.perf_counter() - start
    count = asking.count(batch)
    size = sum(prod(t.shape) * t.element_size() for t in rows.values())
    return Estimate(
        plan.examples,
        passed[-1] / count if seen is asking.model else None,
        seconds / count,
        size / count,
        World.sharing(asking.model).size,
    )


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{max(seconds, 0.1):.2g} seconds"


def _size(count: float) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
