"""What a projection of gradients costs, and how well it keeps their inner products.

    python perf/projections.py

Sketches beside products with a random matrix of signs, which is made block by block, as it does not
fit in memory. Printed are CPU seconds for all examples, without the passes of the model, and
Spearman's correlation of projected with exact inner products.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import Tensor, nn

from captum._engine.per_sample.factors import inner
from captum._engine.per_sample.sketch import Sketch
from captum._engine.per_sample.source import Batch, Factors, GradientSource

TRAIN, TEST = 1500, 100
BLOCK = 1024  # parameters whose random signs are made at a time


def settings() -> dict[str, tuple[nn.Module, Batch, Batch]]:
    """Nets that have learnt the digits a little, with training and test examples."""
    torch.manual_seed(0)
    mlp = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    cnn = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip
    digits = load_digits()
    inputs, labels = torch.tensor(digits.data).float() / 16, torch.tensor(digits.target)
    found = {}
    for name, model, shape in (("MLP", mlp, (64,)), ("CNN", cnn, (1, 8, 8))):
        images = inputs.view(-1, *shape)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(model(images[:TRAIN]), labels[:TRAIN]).backward()
            optimizer.step()
        train = Batch((images[:TRAIN],), {}, labels[:TRAIN])
        test = Batch((images[TRAIN:][:TEST],), {}, labels[TRAIN:][:TEST])
        found[name] = model, train, test
    return found


def signs(found: Factors, size: int) -> Tensor:
    """Products with random signs, in blocks of parameters."""
    generator = torch.Generator().manual_seed(0)
    flat = torch.cat([factor.flat() for factor in found.values()], 1)
    total = torch.zeros(len(flat), size)
    for part in flat.split(BLOCK, 1):
        drawn = torch.randint(2, (part.shape[1], size), generator=generator)
        total += part @ (drawn * 2.0 - 1.0)
    return total / size**0.5


def timed(make: Callable[[Factors], Tensor], found: Factors) -> tuple[Tensor, float]:
    start = time.process_time()
    projected = make(found)
    return projected, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=4096)
    size = parser.parse_args().size
    torch.set_num_threads(1)
    for name, (model, train, test) in settings().items():
        source = GradientSource(model, nn.CrossEntropyLoss(reduction="none"))
        here, there = source.factors(train), source.factors(test)
        exact = inner(there, here)
        sketch = Sketch(source.parameters, size)
        sketch.of(there)
        ways = {"sketch": sketch.of, "signs in blocks": lambda f: signs(f, size)}
        cost = {}
        for way, make in ways.items():
            projected, cost[way] = timed(make, here)
            rank = spearmanr((make(there) @ projected.T).flatten(), exact.flatten())[0]
            print(f"{name:6}{way:18}{rank:7.3f}{cost[way]:9.3f} s", flush=True)
        print(f"{name:6}ratio{cost['signs in blocks'] / cost['sketch']:20.0f}")


if __name__ == "__main__":
    main()
