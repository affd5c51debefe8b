"""What a data set costs: storing beside a bare loop, two processes beside one, memory over rows.

    python perf/dataset.py

The best of three runs, with one thread in each process: of storing in CPU seconds, of sharing in
wall seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum.attr import IntegratedGradients, Saliency, attribute_dataset
from models import cnn

ROWS, STEPS, BATCH = 192, 20, 16


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


def grown(rows: int, folder: Path) -> float:
    """MB that a process's memory has grown to at most, over so many rows of a small net."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    loader = DataLoader(TensorDataset(torch.rand(rows, 64)), 500)
    attribute_dataset(Saliency(net), loader, folder, target=0, block=2000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
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
        first = grown(10_000, folder / "few")
        print(f"memory over ten times the rows: {grown(100_000, folder / 'many') - first:+.0f} MB")


if __name__ == "__main__":
    main()
