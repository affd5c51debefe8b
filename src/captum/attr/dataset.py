"""Attribution of a whole data set: in files that resume, on as many processes as there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from captum._engine.errors import wrong
from captum._engine.model import takes_all_processes
from captum._engine.plan import Missing, Plan, Wanted
from captum._engine.progress import Progress
from captum._engine.ranks import World
from captum._engine.shards import Rows, Shards
from captum.attr.base import Attribution
from captum.attr.dataset_asking import Asking
from captum.attr.dataset_estimate import estimated
from captum.attr.dataset_store import Attributions, complete, summarise
from captum.attr.summary import Summarizer


def attribute_dataset(
    method: Attribution,
    data: Iterable[Any],
    out: str | Path | None = None,
    target: Any = None,
    *,
    summarizer: Summarizer | None = None,
    inputs: Callable[[Any], Any] | None = None,
    arguments: Callable[[Any], Mapping[str, Any]] | None = None,
    block: int = 1024,
    seed: int = 0,
    show_progress: bool = False,
    **kwargs: Any,
) -> Attributions | None:
    """Scores of all examples of a data set, in files of a folder; or running statistics alone.

    A run that was stopped, at any moment, goes on after the files that are whole. Under `torchrun`
    the processes share the work by themselves, on a folder that all of them see. Scores that are
    drawn at random hang on `seed` and their block's place, not on who draws them or when.

    Args:
        method: any attribution method whose scores have a row for each example.
        data: a DataLoader in the data's order, or an iterable of batches: tensors (N, *F), dicts,
            or tuples of inputs, whose last member is left out where it is integers (N,): labels.
        out: the folder. None keeps nothing but the statistics.
        target: as for `attribute`; or "labels", of the batches, or "predictions", the largest
            output of each example.
        summarizer: statistics to update with the scores of every example, of all processes.
        inputs: of a batch: what is explained, where it is not as above.
        arguments: of a batch: more arguments for `attribute`, such as a mask of its own.
        block: examples of a file, up to whole batches.
        seed: of what methods draw.
        show_progress: what is to be done and will take, from a first batch; then a progress bar.
        kwargs: for `attribute`.

    Raises:
        ValueError: a folder of other scores, or a broken file in it; a loader that shuffles;
            nothing to keep scores or statistics in; statistics of several processes that cannot be
            put together.
        RuntimeError: another process was lost. What is written stays: run it again.

    >>> import tempfile
    >>> import torch
    >>> from captum.attr import Saliency, attribute_dataset
    >>> model = torch.nn.Linear(3, 2)
    >>> batches = torch.randn(10, 3).split(4)
    >>> found = attribute_dataset(Saliency(model), batches, tempfile.mkdtemp(), target=0)
    >>> len(found), torch.equal(found[9], model.weight[0].abs())
    (10, True)
    """
    if block < 1:
        raise wrong(ValueError, "block of at least 1", repr(block), "block=1024")
    if out is None and summarizer is None:
        raise wrong(
            ValueError,
            "a folder; or a summarizer",
            "out=None and summarizer=None",
            "attribute_dataset(method, loader, out='scores')",
        )
    _check_joined()
    asking = Asking(method, target, inputs, arguments, seed, kwargs)
    world, found = World.now(), None
    with world.meeting():
        plan, first = Plan.of(data, int(block), count=asking.count).looked_at()
        about = asking.about() | first
        world.agree(about)
        if summarizer is not None:
            _check_merges(summarizer)
        if out is not None:
            folder = _written(asking, plan, Shards(Path(out).expanduser(), about), show_progress)
            world.wait()
            found = Attributions(folder)
        if summarizer is not None and found is not None:
            _sum_up(summarizer, ((rows, found.form) for rows in found.shared(world)), world)
        elif summarizer is not None:
            sharing = World.sharing(asking.model)
            own = _made(asking, plan, lambda number, _, end: sharing.takes(number), show_progress)
            _sum_up(summarizer, ((rows, asking.form) for _, rows in own), sharing)
    return found


def _written(asking: Asking, plan: Plan, shards: Shards, show: bool) -> Path:
    """Make the files that are not there; the folder."""
    world, sharing = World.now(), World.sharing(asking.model)
    examples, missing = 0, Missing(sharing, shards.has)

    def wanted(number: int, start: int, end: int) -> bool:
        nonlocal examples
        examples = end
        return missing(number, start, end)

    for start, rows in _made(asking, plan, wanted, show):
        if sharing.size > 1 or world.rank == 0:
            shards.put(start, rows, {"form": asking.form})
    if world.rank == 0:
        complete(shards.folder, examples)
    return shards.folder


def _sum_up(summarizer: Summarizer, parts: Iterable[tuple[Rows, Any]], world: World) -> None:
    """Update statistics with the scores of all processes, of which each has some."""
    own = summarizer if world.size == 1 else summarizer.fresh()
    for rows, form in parts:
        summarise(own, rows, form)
    if own is not summarizer:
        for part in world.every(own):
            summarizer.merge(part)


def _check_joined() -> None:
    """A process that `torchrun` started, and that does not know the others, would do all alone."""
    started = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and started != "1" and World.now().size == 1:
        raise wrong(
            RuntimeError,
            "processes that know each other, to share the work",
            f"one of {started} that torchrun started, alone",
            "torch.distributed.init_process_group()",
        )


def _check_merges(summarizer: Summarizer) -> None:
    """Before the work is done, not after it."""
    if World.now().size > 1:
        one, two = summarizer.fresh(), summarizer.fresh()
        for each in (one, two):
            each.update_rows(torch.zeros(1, 1))
        one.merge(two)


def _made(asking: Asking, plan: Plan, wanted: Wanted, show: bool) -> Iterator[tuple[int, Rows]]:
    """The start and the scores of each block that is wanted, one after the other."""
    progress = Progress(f"{asking.method.get_name()}, a data set", show)
    if show:
        _announce(asking, plan, wanted, progress)
    passes = World.now() if takes_all_processes(asking.model) else World()
    for start, batches in plan.chosen(wanted):
        with passes.watched():
            rows = asking.rows(start, batches)
        yield start, rows
        progress.add(len(next(iter(rows.values()))))
    progress.close()


def _announce(asking: Asking, plan: Plan, wanted: Wanted, progress: Progress) -> None:
    """Say what is to be done, and what it will take."""
    own = None
    if plan.places is not None:
        own = sum(len(places) for _, part in plan.ahead(wanted) for places in part)
        progress.expect(own)
    # Where a pass takes all processes, those that show nothing would have to join in.
    if own != 0 and plan.rereads and not takes_all_processes(asking.model):
        found = estimated(asking, plan)
        progress.say(str(found if own is None else replace(found, examples=own, processes=1)))
