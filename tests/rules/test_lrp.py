"""LRP hands f(x) on: all of it where nothing is added, and with what biases absorbed elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from captum.attr import LRP
from laws.compare import assert_same_scores, total
from rules.entry import Entry, given, name_of
from rules.hf import HF
from rules.zoo import ZOO, keeping

CONSERVING = keeping(lambda entry: entry.conserves)
conserving = pytest.mark.parametrize("entry", CONSERVING, ids=name_of)


def size_of(value: torch.Tensor) -> float:
    return float(value.abs().max())


@conserving
def test_without_biases_all_is_conserved(entry: Entry, unchanged: Callable[..., Any]) -> None:
    model, x = entry.build(bias=False), entry.points()
    with unchanged(model, x):
        scores = LRP(model).attribute(given(x), target=entry.target)
    value = entry.value(model, x).detach()
    missing = total(scores).detach() - value
    assert size_of(missing) < 1e-6 * size_of(value)
    one = tuple(part[-1:] for part in x)
    alone = LRP(model).attribute(given(one), target=entry.target)
    parts = (scores, alone) if len(x) > 1 else ((scores,), (alone,))
    assert_same_scores(parts[1], tuple(s[-1:] for s in parts[0]), 1e-9)


@conserving
def test_conserved_in_float32(entry: Entry) -> None:
    model, x = entry.build(torch.float32, bias=False), entry.points(2, torch.float32)
    scores, delta = LRP(model).attribute(
        given(x), target=entry.target, return_convergence_delta=True
    )
    value = entry.value(model, x).detach()
    assert size_of(total(scores).detach() - value) < 1e-4 * size_of(value)
    assert size_of(delta) < 1e-4 * size_of(value)


@pytest.mark.parametrize("entry", [*ZOO, *HF], ids=name_of)
def test_what_is_missing_was_absorbed(entry: Entry) -> None:
    """By biases, constants that are added, and rules that do not conserve: the report has it."""
    model, x = entry.build(), entry.points()
    scores, report = LRP(model).attribute(given(x), target=entry.target, return_report=True)
    value = entry.value(model, x).detach()
    assert all(isinstance(name, str) for name in report.absorbed)
    absorbed = sum(report.absorbed.values())
    found = float(total(scores).detach().sum()) + absorbed
    size = max(size_of(value), abs(absorbed))
    assert abs(found - float(value.sum())) <= max(1e-6, entry.close) * size


@conserving
def test_nothing_is_absorbed_where_nothing_is_added(entry: Entry) -> None:
    model, x = entry.build(bias=False), entry.points()
    _, report = LRP(model).attribute(given(x), target=entry.target, return_report=True)
    size = size_of(entry.value(model, x).detach())
    assert all(abs(share) < 1e-6 * size for share in report.absorbed.values())
