"""How well influence methods foresee training on less data, and what they cost.

    python perf/datamodels.py                               # halves of the data, mini-batches
    python perf/datamodels.py --training "leave one out"    # all but one example, to the end
    python perf/datamodels.py --beside PYTHON               # also Arnoldi's, published, there

Small nets on scikit-learn's digits are trained on many subsets of the data at once, from several
seeds. Every method's linear datamodelling score is printed, which is Spearman's correlation with
retraining where single examples are left out, with its CPU seconds.
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
from dataclasses import dataclass
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

TRAIN, TEST, SUBSETS = 500, 50, 64
LOSS = nn.CrossEntropyLoss(reduction="none")


@dataclass(frozen=True)
class Training:
    """Gradient descent: hidden units, steps, their size, weight decay, examples in a step."""

    hidden: int
    steps: int
    rate: float
    decay: float
    size: int | None
    seeds: int
    left_out: int  # examples

    def net(self) -> nn.Module:
        if not self.hidden:
            return nn.Linear(64, 10)
        return nn.Sequential(nn.Linear(64, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 10))


TRAINING = {
    "mini-batches": Training(88, 100, 0.1, 0.0, 32, 16, TRAIN // 2),
    "all at once": Training(88, 120, 0.09, 5e-4, None, 16, TRAIN // 2),
    "leave one out": Training(0, 2000, 0.5, 5e-3, None, 1, 1),
}


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    inputs = torch.tensor(digits.data, dtype=torch.float32)[order] / 16
    labels = torch.tensor(digits.target)[order]
    return inputs[:TRAIN], labels[:TRAIN], inputs[TRAIN:][:TEST], labels[TRAIN:][:TEST]


def trained(inputs: Tensor, labels: Tensor, weights: Tensor, how: Training) -> dict[str, Tensor]:
    """Nets for rows of example weights (R, N), trained side by side by gradient descent."""
    generator = torch.Generator().manual_seed(5)
    starts = []
    for seed in range(len(weights)):
        torch.manual_seed(seed)
        starts.append(dict(how.net().state_dict()))
    state = {k: torch.stack([s[k] for s in starts]) for k in starts[0]}
    model = how.net()

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        outputs = functional_call(model, parameters, inputs)
        losses = F.cross_entropy(outputs, labels, reduction="none")
        large = sum(p.square().sum() for p in parameters.values())
        return (losses * row).sum() / row.sum().clamp_min(1) + how.decay * large

    step = vmap(grad(loss))
    moving = {k: torch.zeros_like(v) for k, v in state.items()}
    for _ in range(how.steps):
        rows = weights
        if how.size is not None:
            rows = weights * (torch.rand(weights.shape, generator=generator) < how.size / TRAIN)
        slopes = step(state, rows)
        moving = {k: 0.9 * moving[k] + slopes[k] for k in state}
        state = {k: state[k] - how.rate * moving[k] for k in state}
    return state


def margins(model: nn.Module, state: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """Minus the loss of every net (R) for every example (M), (R, M)."""
    outputs = vmap(lambda p: functional_call(model, p, inputs))(state)
    return -torch.stack([F.cross_entropy(o, labels, reduction="none") for o in outputs])


def setting(how: Training) -> dict[str, Any]:
    """What was trained on which examples, and what came of it."""
    torch.set_num_threads(1)
    x, y, xt, yt = data()
    generator = torch.Generator().manual_seed(1)
    kept = torch.rand(SUBSETS, TRAIN, generator=generator).argsort(1) >= how.left_out
    rows = kept.float().repeat_interleave(how.seeds, 0)
    parts = [trained(x, y, part, how) for part in rows.split(128)]
    outcomes = torch.cat([margins(how.net(), p, xt, yt) for p in parts])
    outcomes = outcomes.view(SUBSETS, how.seeds, -1).mean(1)
    whole = trained(x, y, torch.ones(1, TRAIN), how)
    state = {k: v[0] for k, v in whole.items()}
    return {"kept": kept, "outcomes": outcomes, "state": state}


def scored(name: str, make: Callable[[], Any], setting: dict[str, Any]) -> dict[str, Any]:
    """A method's score and cost."""
    *_, xt, yt = data()
    start = time.process_time()
    scores = make().influence((xt, yt))
    seconds = time.process_time() - start
    foreseen = setting["kept"].double() @ scores.T.double()
    found = []
    for one, other in zip(foreseen.T, setting["outcomes"].T, strict=True):
        ranks = torch.stack([one.argsort().argsort().float(), other.argsort().argsort().float()])
        found.append(torch.corrcoef(ranks)[0, 1])
    return {"method": name, "score": float(torch.stack(found).mean()), "seconds": seconds}


def methods(how: Training, state: dict[str, Tensor]) -> dict[str, Callable[[], Any]]:
    x, y, _, _ = data()
    train, model = TensorDataset(x, y), how.net()
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
        curved = {**options, "damping": 2 * TRAIN * (how.decay or 5e-3)}
        for steps in (10, 40):
            found[f"conjugate gradients, {steps}"] = lambda steps=steps: (
                influence.ConjugateGradientInfluence(
                    model, train, "x", load, n_steps=steps, **curved
                )
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--beside", help="an interpreter with the published package")
    parser.add_argument("--training", choices=TRAINING, default="mini-batches")
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    given = parser.parse_args()
    how = TRAINING[given.training]
    if given.setting:
        torch.set_num_threads(1)
        known = torch.load(given.setting, weights_only=True)
        for name, make in methods(how, known["state"]).items():
            print(json.dumps(scored(name, make, known)), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "setting.pt")
        torch.save(setting(how), path)
        for label, python in (("here", sys.executable), ("published", given.beside)):
            if python is None:
                continue
            alone = {} if label == "here" else {"PYTHONPATH": ""}
            command = [python, __file__, "--training", given.training, "--setting", path]
            lines = subprocess.run(
                command, capture_output=True, text=True, check=True, env={**os.environ, **alone}
            ).stdout
            for line in lines.splitlines():
                row = json.loads(line)
                print(f"{label:10}{row['method']:28}{row['score']:8.3f}{row['seconds']:9.2f} s")


if __name__ == "__main__":
    main()
