"""TracIn of 50,000 training for 1,000 test examples, in a set amount of memory.

    python perf/influence_scale.py --budget 200

Exits with an error where the process grew by more than the budget of MB. Beside it stand the bare
passes: forward and backward of all examples.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

from captum.influence import TracInCP

LOSS = nn.CrossEntropyLoss(reduction="none")


def net() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def data(count: int) -> TensorDataset:
    return TensorDataset(torch.randn(count, 64), torch.randint(10, (count,)))


def resident() -> float:
    """MB of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """MB of this process at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def bare(model: nn.Module, train: TensorDataset) -> None:
    for start in range(0, len(train), 1024):
        inputs, labels = (t[start : start + 1024] for t in train.tensors)
        torch.autograd.grad(F.cross_entropy(model(inputs), labels), list(model.parameters()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", type=float, default=200, help="MB")
    parser.add_argument("--train", type=int, default=50_000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--checkpoints", type=int, default=3)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, train, test = net(), data(given.train), data(given.test)
    states = [net().state_dict() for _ in range(given.checkpoints)]
    few = TracInCP(model, data(64), states, loss_fn=LOSS, batch_size=64)
    few.influence(data(8)[:], k=2)  # what torch loads on the way is not counted
    bare(model, data(64))
    start = time.process_time()
    for _ in states:
        bare(model, train)
    passes = time.process_time() - start
    before = resident()
    start = time.process_time()
    tracin = TracInCP(model, train, states, loss_fn=LOSS, batch_size=1024)
    found = tracin.influence(test[:], k=given.k)
    seconds = time.process_time() - start
    grown = peak() - before
    print(f"{tuple(found.indices.shape)} of {given.train} training examples")
    print(f"{seconds:.2f} s, {seconds / passes:.1f} times the bare passes; {grown:.0f} MB")
    if grown > given.budget:
        sys.exit(f"more than the budget of {given.budget:.0f} MB")


if __name__ == "__main__":
    main()
