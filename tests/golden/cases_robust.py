"""Attacks, and what is measured of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cases import Attr, Case
from .cases_influence import module
from .models import filled, wave

CASES: dict[str, Case] = {}

X = wave(3, 4, start=0.4, step=0.8)
Y = torch.tensor([2, 0, 1])
CE = nn.CrossEntropyLoss(reduction="none")


def small() -> nn.Module:
    return filled(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)))


def chances(x: Tensor) -> Tensor:
    out: Tensor = small()(x).softmax(1)
    return out


def case(name: str, method: str, *made: Any, **asked: Any) -> None:
    def call(attr: Attr) -> Any:
        kind = getattr(module(attr, "captum.robust"), method)
        return kind(*made).perturb(X, **{"target": Y, **asked})

    CASES[f"{method}, {name}"] = call


case("of a loss", "FGSM", small(), CE, epsilon=0.1)
case("of probabilities", "FGSM", chances, epsilon=0.1)
case("wanted, in bounds", "FGSM", small(), CE, -0.5, 0.5, epsilon=0.3, targeted=True)
case("one for all", "FGSM", chances, epsilon=0.1, target=1)
MASK = torch.tensor([[1.0, 0, 1, 0]]).to(X)
case("of a mask", "FGSM", small(), CE, epsilon=0.1, mask=MASK.expand(3, 4))
STEPS = {"radius": 0.25, "step_size": 0.1, "step_num": 5}
case("the largest change", "PGD", small(), CE, **STEPS)
case("the length", "PGD", small(), CE, norm="L2", **STEPS)
case("wanted, in bounds", "PGD", small(), CE, -0.5, 0.5, targeted=True, **STEPS)
case("of probabilities", "PGD", chances, **STEPS)


def compared(attr: Attr) -> Any:
    robust = module(attr, "captum.robust")
    model = small()

    def metric(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return (output.argmax(1) == target).to(output), F.cross_entropy(
            output, target, reduction="none"
        )

    compare = robust.AttackComparator(model, metric)
    shifts = iter([0.3, 0.6, 0.9])
    compare.add_attack(lambda x: x - next(shifts), "shift", num_attempts=3)
    compare.add_attack(
        robust.FGSM(model, CE),
        "steps",
        attack_kwargs={"epsilon": 0.2},
        additional_attack_arg_names=["target"],
    )
    with torch.no_grad():
        found = compare.evaluate(X, target=Y, perturbations_per_eval=2)
    return {"found": found, "summary": compare.summary()}


def least(mode: str) -> Case:
    def call(attr: Attr) -> Any:
        search = module(attr, "captum.robust").MinParamPerturbation(
            small(), lambda x, by: x - by, "by", 0.0, 4.0, 0.25, mode
        )
        with torch.no_grad():
            right = small()(X).argmax(1)
            return [search.evaluate(X[i : i + 1], target=int(right[i])) for i in range(3)]

    return call


CASES["AttackComparator"] = compared
CASES["MinParamPerturbation, one after the other"] = least("linear")
CASES["MinParamPerturbation, halving"] = least("binary")
