"""The processes that share a run, where `torch.distributed` has been started.

A call that they make together is a meeting, with a group of its own. Whoever fails leaves it, and
the others are told at once; and what somebody sends in a later call is never taken for an answer in
this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from traceback import clear_frames
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from captum._engine.errors import wrong
from captum._engine.model import takes_all_processes

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

_PATIENCE = timedelta(days=30)  # of those who are done, with those who still work


@dataclass
class _Meeting:
    """A group of processes, whose connections end with it."""

    group: Any


_meeting: ContextVar[_Meeting | None] = ContextVar("meeting", default=None)


@dataclass(frozen=True)
class World:
    """Which process this is, of how many."""

    rank: int = 0
    size: int = 1

    @classmethod
    def now(cls) -> World:
        """As `torch.distributed` says; alone where nobody started it.

        >>> World.now()
        World(rank=0, size=1)
        """
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @classmethod
    def sharing(cls, model: Any) -> World:
        """The processes that share passes of a model: none but this one where each takes all."""
        return cls() if takes_all_processes(model) else cls.now()

    def takes(self, number: int) -> bool:
        """Whether a piece of work is this process's: they go round."""
        return number % self.size == self.rank

    # Everything below is called by all processes, or by none.

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """What all processes do, to its end: inside another meeting, a part of that.

        Raises:
            RuntimeError: one of them was lost, or failed.
        """
        if self.size == 1 or _meeting.get() is not None:
            yield
            return
        with self.watched():  # not longer than the user's own patience: others may never come
            dist.all_reduce(torch.zeros(1, device=_device()))
            met = _Meeting(dist.new_group(backend="gloo", timeout=_PATIENCE))
        token = _meeting.set(met)
        try:
            yield
            self.wait()
        finally:
            _meeting.reset(token)
            dist.destroy_process_group(met.group)
            met.group = None  # nothing else holds it, not even an error's frames

    def agree(self, about: Mapping[str, Any]) -> None:
        """Refuse what is not the same in all processes, in all of them."""
        every = self.every({key: str(value) for key, value in about.items()})
        values = {
            key: list(dict.fromkeys(each.get(key, "none") for each in every)) for key in about
        }
        other = [f"{key} ({', '.join(found[:3])})" for key, found in values.items() if found[1:]]
        if other:
            raise wrong(
                ValueError,
                "the same in all processes, which share the work by themselves",
                f"another {'; '.join(other)}",
                "the same model and the same data, whole, in every process",
            )

    @property
    def met(self) -> bool:
        """Whether this is inside a meeting of several."""
        return self.size > 1 and _meeting.get() is not None

    def wait(self) -> None:
        """Until all processes are here.

        Raises:
            RuntimeError: one of them was lost.
        """
        self.every(None)

    def sum(self, own: Tensor) -> Tensor:
        """The sum over all processes, in place of each one's own."""
        if self.size > 1:
            there = own.to(_device())
            with self.watched():
                dist.all_reduce(there, group=self._among())
            if there is not own:
                own.copy_(there)
        return own

    def lead(self, own: Tensor) -> Tensor:
        """The first process's, in place of each one's own."""
        if self.size > 1:
            there = own.to(_device()).contiguous()
            with self.watched():
                dist.broadcast(there, 0, group=self._among())
            if there is not own:
                own.copy_(there)
        return own

    def first(self, own: Value) -> Value:
        """What the first process has, of anything that can be pickled."""
        if self.size == 1:
            return own
        found = [own]
        met = _meeting.get()
        with self.watched():
            if met is None:
                dist.broadcast_object_list(found, 0, device=_device())
            else:
                dist.broadcast_object_list(found, 0, group=met.group)
        return found[0]

    def every(self, own: Value) -> list[Value]:
        """What each process has, of anything that can be pickled: for small things."""
        if self.size == 1:
            return [own]
        found: list[Any] = [None] * self.size
        met = _meeting.get()
        with self.watched():
            dist.all_gather_object(found, own, group=None if met is None else met.group)
        return found

    def _among(self) -> Any:
        """Who large tensors are sent among: the meeting; on GPUs all, once it is known to be there.

        No name is given to a group: an error's frames would keep its connections.
        """
        met = _meeting.get()
        if met is not None and dist.get_backend() == "nccl":
            dist.all_reduce(torch.zeros(1), group=met.group)
            met = None
        return None if met is None else met.group

    def own(self, count: int) -> slice:
        """Which of so many rows are this process's, where each takes as many."""
        return slice(*(rank * count // self.size for rank in (self.rank, self.rank + 1)))

    def joined(self, parts: list[tuple[int, Tensor]], dim: int = 0) -> Tensor:
        """The parts of all processes as one tensor, in the order of their numbers.

        >>> World().joined([(2, torch.tensor([3])), (0, torch.tensor([1, 2]))])
        tensor([1, 2, 3])
        """
        return torch.cat([values for _, values in self.gathered(parts, dim)], dim)

    def gathered(self, parts: list[tuple[int, Tensor]], dim: int = 0) -> list[tuple[int, Tensor]]:
        """The parts of all processes, which differ along `dim` alone, by their numbers."""
        if self.size > 1:
            parts = [part for each in self._parts(parts, dim) for part in each]
        return sorted(parts, key=lambda part: part[0])

    def _parts(
        self, parts: list[tuple[int, Tensor]], dim: int
    ) -> Iterator[list[tuple[int, Tensor]]]:
        """Each process's parts, sent as one tensor."""
        own = torch.cat([values for _, values in parts], dim) if parts else None
        starts, lengths = [s for s, _ in parts], [values.shape[dim] for _, values in parts]
        form = None if own is None else (own.shape, own.dtype)
        device = _device()
        for rank, (numbers, sizes, known) in enumerate(self.every((starts, lengths, form))):
            if known is None:
                continue
            if rank == self.rank and own is not None:
                sent = own.to(device).contiguous()
            else:
                sent = torch.empty(known[0], dtype=known[1], device=device)
            with self.watched():
                dist.broadcast(sent, rank, group=self._among())
            there = sent if own is None else sent.to(own.device)
            yield list(zip(numbers, torch.split(there, sizes, dim), strict=True))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A lost process is told as such."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _lost(error):
                raise
            clear_frames(error.__traceback__)  # of what they hold of a group
            raise wrong(
                RuntimeError,
                f"all {self.size} processes to finish",
                f"process {self.rank} lost another: {str(error).splitlines()[0]}",
                "what the other says; then run it again: what was written to a folder stays",
            ) from error


def together(method: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """A call that all processes make, or none: a meeting of them."""

    @wraps(method)
    def met(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Value:
        with World.now().meeting():
            return method(*args, **kwargs)

    return met


def _lost(error: RuntimeError) -> bool:
    """Whether an error is of what goes between processes, and not of the work itself."""
    words = str(error).lower()
    return isinstance(error, dist.DistError) or any(
        word in words for word in ("connection", "gloo", "nccl", "timed out")
    )


def _device() -> torch.device:
    """Where collective operations work: NCCL's on a GPU."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
