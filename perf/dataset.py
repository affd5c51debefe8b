"""What a data set costs: storing beside a bare loop, two processes beside one, memory over rows.

    python perf/dataset.py

The best of three runs, with one thread in each process: of storing in CPU seconds, of sharing in
wall seconds. The heap is told to keep what it has: how often it gives memory back and asks again
is chance, and took up to a third of the seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from captum.attr import IntegratedGradients, Mean, Saliency, StdDev, Summarizer, attribute_dataset
from models import cnn

ROWS, STEPS, BATCH = 192, 20, 16
STEADY_HEAP = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**28),
}


def pictures() -> DataLoader[tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return DataLoader(TensorDataset(torch.rand(ROWS, 3, 64, 64)), BATCH)


def method() -> IntegratedGradients:
    torch.manual_seed(0)
    return IntegratedGradients(cnn())


def loop() -> float:
    """Seconds of the same calls, whose scores are thrown away."""
    explain = method()
    start = time.process_time()
    for (batch,) in pictures():
        explain.attribute(batch, target=0, n_steps=STEPS)
    return time.process_time() - start


def stored(folder: Path, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of the data set, by this process's share."""
    explain = method()
    start = clock()
    attribute_dataset(explain, pictures(), folder, target=0, block=BATCH, n_steps=STEPS)
    return clock() - start


def shared(rank: int, size: int, port: int, folder: Path, seconds: multiprocessing.Queue) -> None:  # type: ignore[type-arg]  # generic in stubs alone
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=size)
    stored(folder / "warm")
    dist.barrier()
    took = stored(folder / "shared", time.perf_counter)
    if rank == 0:
        seconds.put(took)
    dist.destroy_process_group()


def together(size: int, folder: Path) -> float:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    seconds = context.Queue()
    processes = [
        context.Process(target=shared, args=(rank, size, port, folder, seconds))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    found_seconds = float(seconds.get(timeout=600))
    for process in processes:
        process.join()
    return found_seconds


class Rows(Dataset[tuple[torch.Tensor, ...]]):
    """So many rows, each made as it is read: nothing that grows with them but the scores."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> tuple[torch.Tensor, ...]:
        return (torch.full((256,), place / self.count),)


def peak(count: int, folder: Path, found: multiprocessing.Queue) -> None:  # type: ignore[type-arg]  # generic in stubs alone
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 2))
    statistics = Summarizer([Mean(), StdDev()])
    loader = DataLoader(Rows(count), 500)
    attribute_dataset(Saliency(net), loader, folder, target=0, block=2000, summarizer=statistics)
    found.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def megabytes(count: int, folder: Path) -> float:
    """MB of a process of its own, at most, that keeps scores of so many rows in files."""
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    process = context.Process(target=peak, args=(count, folder, found))
    process.start()
    most = float(found.get(timeout=600))
    process.join()
    return most


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    if STEADY_HEAP.items() - os.environ.items():  # is read when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | STEADY_HEAP)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loop()
        bare, kept = zip(*((loop(), stored(folder / f"one-{i}")) for i in range(3)), strict=True)
        print(f"storing beside a bare loop: {min(kept) / min(bare) - 1:+.1%}")
        one, two = (
            min(together(size, folder / f"{size}-{i}") for i in range(3)) for size in (1, 2)
        )
        print(f"two processes beside one: {one / two:.2f} times the rows a second")
        few, many = (megabytes(count, folder / f"{count}") for count in (10_000, 100_000))
        print(f"memory of 10,000 rows: {few:.0f} MB; of 100,000: {many - few:+.0f} MB")


if __name__ == "__main__":
    main()
