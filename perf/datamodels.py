"""How well influence methods foresee training on half of the data, and what they cost.

    python perf/datamodels.py                    # our methods
    python perf/datamodels.py --beside PYTHON    # and Arnoldi's of the published package there

A small net on scikit-learn's digits is trained on many halves of the data at once, from several
seeds. Every method's linear datamodelling score is printed with its CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.data import TensorDataset

from captum import influence

TRAIN, TEST = 500, 100
SUBSETS, SEEDS = 64, 16
STEPS, RATE = 120, 0.3
LOSS = nn.CrossEntropyLoss(reduction="none")


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 88), nn.ReLU(), nn.Linear(88, 10))


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    inputs = torch.tensor(digits.data, dtype=torch.float32)[order] / 16
    labels = torch.tensor(digits.target)[order]
    return inputs[:TRAIN], labels[:TRAIN], inputs[TRAIN:][:TEST], labels[TRAIN:][:TEST]


def trained(inputs: Tensor, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Nets for rows of example weights (R, N), trained side by side by gradient descent."""
    starts = []
    for seed in range(len(weights)):
        torch.manual_seed(seed)
        starts.append(dict(net().state_dict()))
    state = {k: torch.stack([s[k] for s in starts]) for k in starts[0]}
    model = net()

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        outputs = functional_call(model, parameters, inputs)
        losses = F.cross_entropy(outputs, labels, reduction="none")
        decay = sum(p.square().sum() for p in parameters.values())
        return (losses * row).sum() / row.sum() + 5e-4 * decay

    step = vmap(grad(loss))
    moving = {k: torch.zeros_like(v) for k, v in state.items()}
    for _ in range(STEPS):
        slopes = step(state, weights)
        moving = {k: 0.9 * moving[k] + slopes[k] for k in state}
        state = {k: state[k] - RATE * 0.3 * moving[k] for k in state}
    return state


def margins(state: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """Minus the loss of every net (R) for every example (M), (R, M)."""
    model = net()
    outputs = vmap(lambda p: functional_call(model, p, inputs))(state)
    return -torch.stack([F.cross_entropy(o, labels, reduction="none") for o in outputs])


def setting() -> dict[str, Any]:
    torch.set_num_threads(1)
    x, y, xt, yt = data()
    generator = torch.Generator().manual_seed(1)
    halves = torch.rand(SUBSETS, TRAIN, generator=generator).argsort(1) < TRAIN // 2
    rows = halves.float().repeat_interleave(SEEDS, 0)
    parts = [trained(x, y, part) for part in rows.split(128)]
    outcomes = torch.cat([margins(p, xt, yt) for p in parts])
    outcomes = outcomes.view(SUBSETS, SEEDS, -1).mean(1)
    whole = trained(x, y, torch.ones(1, TRAIN))
    state = {k: v[0] for k, v in whole.items()}
    return {"halves": halves, "outcomes": outcomes, "state": state}


def scored(name: str, make: Callable[[], Any], setting: dict[str, Any]) -> dict[str, Any]:
    """A method's score and cost."""
    *_, xt, yt = data()
    start = time.process_time()
    scores = make().influence((xt, yt))
    seconds = time.process_time() - start
    foreseen = setting["halves"].float() @ scores.T.float()
    found = []
    for one, other in zip(foreseen.T, setting["outcomes"].T, strict=True):
        ranks = torch.stack([one.argsort().argsort().float(), other.argsort().argsort().float()])
        found.append(torch.corrcoef(ranks)[0, 1])
    return {"method": name, "score": float(torch.stack(found).mean()), "seconds": seconds}


def methods(state: dict[str, Tensor]) -> dict[str, Callable[[], Any]]:
    x, y, _, _ = data()
    train, model = TensorDataset(x, y), net()
    model.load_state_dict(state)

    def load(module: nn.Module, checkpoint: Any) -> float:
        module.load_state_dict(state)
        return 1.0

    options = {"loss_fn": LOSS, "batch_size": 250}
    found: dict[str, Callable[[], Any]] = {
        "Arnoldi": lambda: ArnoldiInfluenceFunction(model, train, "x", load, **options),
    }
    if hasattr(influence, "EKFACInfluence"):
        found["TracIn, last checkpoint"] = lambda: influence.TracInCP(
            model, train, ["x"], load, **options
        )
        for draws in (1, 16):
            found[f"EK-FAC, {draws} draws"] = lambda draws=draws: influence.EKFACInfluence(
                model, train, "x", load, draws=draws, **options
            )
        for size in (512, 2048):
            found[f"TRAK, {size}"] = lambda size=size: influence.TRAK(
                model, train, ["x"], load, projection_dim=size, batch_size=250
            )
        found["conjugate gradients"] = lambda: influence.ConjugateGradientInfluence(
            model, train, "x", load, damping=5.0, n_steps=40, **options
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--beside", help="an interpreter with the published package")
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.setting:
        torch.set_num_threads(1)
        known = torch.load(given.setting, weights_only=True)
        for name, make in methods(known["state"]).items():
            print(json.dumps(scored(name, make, known)), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "setting.pt")
        torch.save(setting(), path)
        for label, python in (("here", sys.executable), ("published", given.beside)):
            if python is None:
                continue
            alone = {} if label == "here" else {"PYTHONPATH": ""}
            command = [python, __file__, "--setting", path]
            lines = subprocess.run(
                command, capture_output=True, text=True, check=True, env={**os.environ, **alone}
            ).stdout
            for line in lines.splitlines():
                row = json.loads(line)
                print(f"{label:10}{row['method']:28}{row['score']:8.3f}{row['seconds']:9.2f} s")


if __name__ == "__main__":
    main()
