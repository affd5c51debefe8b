"""The processes that share a run, where `torch.distributed` has been started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from captum._engine.errors import wrong


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

    def takes(self, number: int) -> bool:
        """Whether a piece of work is this process's: they go round."""
        return number % self.size == self.rank

    def wait(self) -> None:
        """Until all processes are here.

        Raises:
            RuntimeError: one of them was lost.
        """
        if self.size == 1:
            return
        with self.watched():
            dist.all_reduce(torch.zeros(1, device=_device()))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A lost process is told as such."""
        try:
            yield
        except RuntimeError as error:
            raise wrong(
                RuntimeError,
                f"all {self.size} processes to finish",
                f"process {self.rank} lost another: {str(error).splitlines()[0]}",
                "run it again with the same folder: what is written stays",
            ) from error


def _device() -> torch.device:
    """Where collective operations work: NCCL's on a GPU."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
