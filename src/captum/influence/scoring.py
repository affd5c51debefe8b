"""How test examples meet the training data: block after block, in all processes, into a sink."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import Tensor

from captum._engine.progress import Progress
from captum._engine.ranks import World
from captum.influence.base import KMostInfluentialResults
from captum.influence.sinks import joined, sink_for

Group = TypeVar("Group")
Query = TypeVar("Query")
Block = TypeVar("Block")


def scored(
    groups: Iterable[Group],
    ask: Callable[[Group], Query],
    blocks: Callable[[], Iterable[tuple[int, Block]]],
    meet: Callable[[Query, Block], Tensor],
    k: Any,
    proponents: bool,
    progress: Progress,
    world: World,
    passes: int = 1,
) -> Tensor | KMostInfluentialResults:
    """Scores (M, N), or the k largest of each row.

    Args:
        groups: of the M test examples.
        ask: makes of a group what meets training examples.
        blocks: this process's training examples, anew for every group: the number of the first,
            and a block.
        meet: the scores (m, n) of a group and a block.
        k: how many of each row, or None for all.
        proponents: the largest ones, or else the least.
        progress: told of every training example.
        world: the processes that share the training examples.
        passes: times that a block's examples go through the model.
    """
    found = []
    for group in groups:
        sink = sink_for(k, proponents)
        query = ask(group)
        for start, block in blocks():
            scores = meet(query, block)
            sink.add(start, scores)
            progress.add(passes * scores.shape[1])
        found.append(sink.result(world))
    progress.close()
    return joined(found)


def rowwise(
    blocks: Iterable[tuple[int, Block]],
    of: Callable[[Block], Tensor],
    progress: Progress,
    world: World,
    passes: int = 1,
) -> Tensor:
    """A row (N, …) of each example, from all processes.

    Args:
        blocks: this process's examples: the number of the first, and a block.
        of: the rows of a block.
        progress: told of every example.
        world: the processes that share the examples.
        passes: times that a block's examples go through the model.
    """
    parts = []
    for start, block in blocks:
        rows = of(block)
        parts.append((start, rows))
        progress.add(passes * len(rows))
    progress.close()
    return world.joined(parts)
