"""How test examples meet the training data: in groups, block after block, into a sink."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import Tensor

from captum._engine.progress import Progress
from captum.influence.base import KMostInfluentialResults
from captum.influence.sinks import joined, sink_for

Group = TypeVar("Group")
Query = TypeVar("Query")
Block = TypeVar("Block")


def scored(
    groups: Iterable[Group],
    ask: Callable[[Group], Query],
    blocks: Callable[[], Iterable[Block]],
    meet: Callable[[Query, Block], Tensor],
    k: Any,
    proponents: bool,
    progress: Progress,
    passes: int = 1,
) -> Tensor | KMostInfluentialResults:
    """Scores (M, N), or the k largest of each row.

    Args:
        groups: of the M test examples.
        ask: makes of a group what meets training examples.
        blocks: the N training examples, anew for every group.
        meet: the scores (m, n) of a group and a block.
        k: how many of each row, or None for all.
        proponents: the largest ones, or else the least.
        progress: told of every training example.
        passes: times that a block's examples go through the model.
    """
    found = []
    for group in groups:
        sink = sink_for(k, proponents)
        query = ask(group)
        for block in blocks():
            scores = meet(query, block)
            sink.add(scores)
            progress.add(passes * scores.shape[1])
        found.append(sink.result())
    progress.close()
    return joined(found)
