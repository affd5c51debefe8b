"""Influence methods on training data with planted examples: wrong labels, and near copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from captum import influence
from captum._engine.progress import Progress
from captum.benchmark.results import Row, over_seeds

_TRAIN, _FLIPPED, _ASKED = 300, 30, 30
_LOSS = nn.CrossEntropyLoss(reduction="none")
State = dict[str, Tensor]


@dataclass(frozen=True)
class Trained:
    """A net, the states of its training, its data, and what was planted in it.

    Args:
        model: in its last state.
        states: from training, the last one last.
        data: N examples with labels.
        flipped: whose labels are wrong, (N,).
        asked: test examples with labels.
        twins: for each of them, which training example is nearly the same, (M,).
    """

    model: nn.Module
    states: list[State]
    data: TensorDataset
    flipped: Tensor
    asked: tuple[Tensor, Tensor]
    twins: Tensor


def trained(seed: int) -> Trained:
    """Four clouds in ten dimensions; a tenth of the labels is wrong."""
    own = torch.Generator().manual_seed(seed)
    centres = 1.6 * torch.randn(4, 10, generator=own)
    labels = torch.randint(4, (_TRAIN,), generator=own)
    inputs = centres[labels] + torch.randn(_TRAIN, 10, generator=own)
    flipped = torch.zeros(_TRAIN, dtype=torch.bool)
    flipped[:_FLIPPED] = True
    labels[:_FLIPPED] = (labels[:_FLIPPED] + torch.randint(1, 4, (_FLIPPED,), generator=own)) % 4
    twins = _FLIPPED + torch.randperm(_TRAIN - _FLIPPED, generator=own)[:_ASKED]
    near = inputs[twins] + 0.05 * torch.randn(_ASKED, 10, generator=own)
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 4))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=own))
    states = list(_trained(model, inputs, labels, own))
    data = TensorDataset(inputs, labels)
    return Trained(model.eval(), states, data, flipped, (near, labels[twins]), twins)


def _trained(
    model: nn.Module, inputs: Tensor, labels: Tensor, own: torch.Generator
) -> Iterator[State]:
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for epoch in range(12):
        order = torch.randperm(len(inputs), generator=own)
        for rows in torch.split(order, 30):
            optimizer.zero_grad()
            loss: Tensor = F.cross_entropy(model(inputs[rows]), labels[rows])
            torch.autograd.backward(loss)
            optimizer.step()
        if epoch % 4 == 3:
            yield {name: value.clone() for name, value in model.state_dict().items()}


Influence = Callable[[Trained], Any]
INFLUENCES: dict[str, Influence] = {
    "TracInCP": lambda t: influence.TracInCP(
        t.model, t.data, t.states, loss_fn=_LOSS, batch_size=100
    ),
    "TracInCPFast": lambda t: influence.TracInCPFast(
        t.model,
        "2",
        t.data,
        t.states,
        loss_fn=_LOSS,
        batch_size=100,
    ),
    "TracInCPRandProj": lambda t: influence.TracInCPRandProj(
        t.model, t.data, t.states, loss_fn=_LOSS, batch_size=100, projection_dim=512
    ),
    "TRAK": lambda t: influence.TRAK(
        t.model, t.data, t.states[-1:], batch_size=100, projection_dim=128
    ),
    "EKFACInfluence": lambda t: influence.EKFACInfluence(
        t.model, t.data, t.states[-1], loss_fn=_LOSS, batch_size=100
    ),
    "ArnoldiInfluenceFunction": lambda t: influence.ArnoldiInfluenceFunction(
        t.model, t.data, t.states[-1], loss_fn=_LOSS, batch_size=100, seed=0
    ),
}


def run_influence(seeds: int = 5, show_progress: bool = False) -> list[Row]:
    """Judge influence methods: are wrong labels on top of self-influence, and twins of questions?

    Args:
        seeds: how many nets are trained.
        show_progress: a progress bar of methods and seeds.

    >>> from captum.benchmark import run_influence
    >>> {row.task for row in run_influence(seeds=1)} == {"wrong labels", "twins"}
    True
    """
    progress = Progress("benchmark of influence", show_progress)
    progress.expect(len(INFLUENCES) * seeds)
    made = [trained(seed) for seed in range(seeds)]
    rows = []
    for name, make in INFLUENCES.items():
        labels, twins, seconds = [], [], 0.0
        for setting in made:
            start = time.process_time()
            method = make(setting)
            own = method.self_influence()
            first = method.influence(setting.asked, k=1).indices[:, 0]
            seconds += time.process_time() - start
            top = own.topk(_FLIPPED).indices.cpu()
            labels.append(float(setting.flipped[top].float().mean()))
            twins.append(float((first.cpu() == setting.twins).float().mean()))
            progress.add(1)
        cost = seconds / len(made) / _TRAIN
        rows.append(over_seeds("wrong labels", name, "found what was planted", labels, cost))
        rows.append(over_seeds("twins", name, "found what was planted", twins, cost))
    progress.close()
    return rows
