"""The zoo itself: its models are what the tests of rules take them for."""

import collections

import pytest
import torch

from rules.entry import Entry, name_of
from rules.hf import HF
from rules.zoo import ZOO

ALL = [*ZOO, *HF]


def test_names_are_unique() -> None:
    counts = collections.Counter(entry.name for entry in ALL)
    assert not [name for name, count in counts.items() if count > 1]


@pytest.mark.parametrize("entry", ALL, ids=name_of)
def test_rows_are_independent_and_repeat(entry: Entry) -> None:
    model, x = entry.build(), entry.points()
    value = entry.value(model, x).detach()
    assert value.shape == (entry.rows,)
    assert torch.equal(entry.value(model, x), value)
    for i in range(entry.rows):
        alone = entry.value(model, tuple(part[i : i + 1] for part in x)).detach()
        assert abs(float(alone - value[i])) < max(1e-12, entry.close)


@pytest.mark.parametrize("entry", ALL, ids=name_of)
def test_float32_is_near(entry: Entry) -> None:
    value = entry.value(entry.build(), entry.points())
    single = entry.value(entry.build(torch.float32), entry.points(dtype=torch.float32))
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("entry", ALL, ids=name_of)
def test_gradients_are_finite_and_not_complete(entry: Entry) -> None:
    """Else completeness were no news: f moves, and the plain gradient does not account for it."""
    model, x, x0 = entry.build(), entry.points(), entry.points(seed=1)
    change = (entry.value(model, x) - entry.value(model, x0)).detach()
    assert float(change.abs().max()) > 1e-3
    if not x[0].is_floating_point():
        return
    x = tuple(part.requires_grad_() for part in x)
    grads = torch.autograd.grad(entry.value(model, x).sum(), x)
    assert all(bool(g.isfinite().all()) for g in grads)
    terms = zip(grads, x, x0, strict=True)
    found = sum((g * (a - b)).flatten(1).sum(1) for g, a, b in terms)
    missing = float((found.detach() - change).abs().max())
    assert missing < 1e-10 if entry.linear else missing > 1e-5
