"""DeepLIFT's scores sum to f(x) - f(x0), on every model of the zoo and from every baseline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from torch import Tensor, nn

from captum.attr import DeepLift
from laws.compare import assert_same_scores, total
from rules.entry import Entry, Points, given, name_of, normal
from rules.hf import HF
from rules.programs import Program, programs
from rules.zoo import ZOO

ALL = [*ZOO, *HF]
SMALL = [entry for entry in ZOO if entry.draw(1, torch.Generator())[0].is_floating_point()]
every = pytest.mark.parametrize("entry", ALL, ids=name_of)
every_small = pytest.mark.parametrize("entry", SMALL, ids=name_of)


def scores_of(entry: Entry, model: Any, x: Points, x0: Points) -> tuple[Any, Tensor]:
    return DeepLift(model).attribute(
        given(x), given(x0), target=entry.target, return_convergence_delta=True
    )


def assert_complete(entry: Entry, model: Any, x: Points, x0: Points, close: float) -> Any:
    """By sums of our own, and so says the method."""
    scores, delta = scores_of(entry, model, x, x0)
    with torch.no_grad():
        change = entry.value(model, x) - entry.value(model, x0)
    missing = total(scores).detach() - change
    assert float(missing.abs().max()) < close
    assert delta.shape == missing.shape
    assert float((delta - missing).abs().max()) < close
    return scores


@every
def test_complete(entry: Entry, unchanged: Callable[..., Any]) -> None:
    """From a baseline for each row; the model is left as it was, and a row's scores are its own."""
    model, x, x0 = entry.build(), entry.points(), entry.points(seed=1)
    with unchanged(model, x, x0):
        scores = assert_complete(entry, model, x, x0, entry.close)
    last = [part[-1:] for part in x], [part[-1:] for part in x0]
    alone, _ = scores_of(entry, model, *map(tuple, last))
    parts = (scores, alone) if len(x) > 1 else ((scores,), (alone,))
    assert_same_scores(parts[1], tuple(s[-1:] for s in parts[0]), max(1e-9, 10 * entry.close))


@every
def test_complete_from_one_row_for_all(entry: Entry) -> None:
    model, x, x0 = entry.build(), entry.points(seed=2), entry.points(seed=3)
    first = tuple(part[:1] for part in x0)
    scores, _ = scores_of(entry, model, x, first)
    repeated = tuple(part[:1].expand_as(part).contiguous() for part in x0)
    wanted = assert_complete(entry, model, x, repeated, entry.close)
    assert_same_scores(scores, wanted, max(1e-9, 10 * entry.close))


@every
def test_complete_in_float32(entry: Entry) -> None:
    single = torch.float32
    model = entry.build(single)
    x, x0 = entry.points(4, single), entry.points(5, single)
    with torch.no_grad():
        ends = entry.value(model, x), entry.value(model, x0)
    size = float(torch.stack(ends).abs().max())
    scores = assert_complete(entry, model, x, x0, 1e-4 * size)
    kinds = scores if isinstance(scores, tuple) else (scores,)
    assert {part.dtype for part in kinds} == {single}


@every_small
def test_complete_from_zero(entry: Entry) -> None:
    """The default. Kinks, and terms that vanish together, are at zero."""
    model, x = entry.build(), entry.points()
    zeros = tuple(torch.zeros_like(part) for part in x)
    with torch.no_grad():
        start = entry.value(model, zeros)
        if not bool(start.isfinite().all()):
            assert entry.name == "of positive inputs", "f(0) should be finite"
            return
        change = entry.value(model, x) - start
    scores = DeepLift(model).attribute(given(x), target=entry.target)
    assert float((total(scores) - change).abs().max()) < entry.close


@every_small
def test_a_baseline_that_shares_numbers(entry: Entry) -> None:
    """Where a number does not move its score is zero, and no quotient of zeros is met."""
    model, x, other = entry.build(), entry.points(), entry.points(seed=1)
    stays = tuple(torch.arange(part[0].numel()).view(part[0].shape) % 2 == 0 for part in x)
    x0 = tuple(torch.where(s, a, b) for s, a, b in zip(stays, x, other, strict=True))
    scores = assert_complete(entry, model, x, x0, entry.close)
    for still, part in zip(stays, scores if isinstance(scores, tuple) else (scores,), strict=True):
        assert bool((part[:, still] == 0).all())
    same = assert_complete(entry, model, x, x, 1e-12)
    for part in same if isinstance(same, tuple) else (same,):
        assert torch.equal(part, torch.zeros_like(part))


@every_small
def test_near_the_input_multipliers_are_gradients(entry: Entry) -> None:
    """Completeness alone does not say that a sum is shared out as it should be."""
    model, x, away = entry.build(), entry.points(), entry.points(seed=1)
    x0 = tuple(a - 1e-7 * b for a, b in zip(x, away, strict=True))
    scores, _ = scores_of(entry, model, x, x0)
    sources = tuple(part.clone().requires_grad_() for part in x)
    grads = torch.autograd.grad(entry.value(model, sources).sum(), sources)
    wanted = tuple(g * (a - b) for g, a, b in zip(grads, x, x0, strict=True))
    close = 1e-4 if entry.close < 1e-6 else 1e-2
    assert_same_scores(scores if len(x) > 1 else (scores,), wanted, close)


@drawn(programs())
@settings(max_examples=300, deadline=None)
def test_random_programs(program: Program) -> None:
    x, x0 = program.points()
    scores = DeepLift(program).attribute(x, x0)
    missing = scores.flatten(1).sum(1) - (program(x) - program(x0))
    assert float(missing.abs().max()) < 1e-9 * max(program.size(x), program.size(x0))


@drawn(programs())
@settings(max_examples=300, deadline=None)
def test_random_programs_from_one_row_for_all(program: Program) -> None:
    x, x0 = program.points()
    x0 = x0[:1].expand_as(x)
    scores = DeepLift(program).attribute(x, x0[:1])
    missing = scores.flatten(1).sum(1) - (program(x) - program(x0))
    assert float(missing.abs().max()) < 1e-9 * max(program.size(x), program.size(x0))


def test_a_norm_that_refuses_one_row() -> None:
    """torch does not norm a single number per channel of one row; of a batch it does."""
    program = Program(shape=(1, 4), steps=(("sum", (0,)), ("group_norm", (1,))), seed=0)
    x, x0 = program.points()
    x0 = x0[:1].expand_as(x)
    scores = DeepLift(program).attribute(x, x0[:1])
    change = program(x) - program(x0)
    assert float((scores.flatten(1).sum(1) - change).abs().max()) < 1e-9


class Counting(nn.Module):
    """Its forward is compiled by torch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize("warm", [False, True])
def test_a_compiled_model(warm: bool) -> None:
    entry = Entry("compiled", Counting, normal((4,)), "torch.compile")
    model = torch.compile(entry.build(), backend="eager")
    x, x0 = entry.points(), entry.points(seed=1)
    if warm:
        model(x[0])
    assert_complete(entry, model, x, x0, 1e-10)


def test_a_bound_method() -> None:
    entry = Entry("method", Counting, normal((4,)), "a bound method as the model")
    model = entry.build()
    assert_complete(entry, model.forward, entry.points(), entry.points(seed=1), 1e-10)
