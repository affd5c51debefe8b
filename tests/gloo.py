"""Several processes on this machine, joined by gloo."""

import multiprocessing
import os
import socket
from datetime import timedelta

import torch
import torch.distributed as dist


def together(size, work, *args, doomed=None):
    """`work(rank, size, *args)` in so many processes; one may be killed as it begins."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_one, args=(rank, size, port, doomed, work, args))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    for rank, process in enumerate(processes):
        process.join(120)
        assert process.exitcode == (-9 if rank == doomed else 0), (rank, process.exitcode)


def _one(rank, size, port, doomed, work, args):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=size, timeout=timedelta(seconds=20))
    if rank == doomed:
        os.kill(os.getpid(), 9)
    try:
        work(rank, size, *args)
    finally:
        dist.destroy_process_group()
    os._exit(0)  # DDP's threads do not always survive the interpreter's own way out
