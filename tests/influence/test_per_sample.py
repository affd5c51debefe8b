"""Gradients of each example, and their inner products, for every layer: as autograd says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum._engine.per_sample.curvature import Hessian, inverse_root, lanczos
from captum._engine.per_sample.factors import Lookup, Outer, Together, Whole, together
from captum._engine.per_sample.source import GradientSource

from .zoo import EXAMPLES, ZOO, entry, one_by_one

LOSS = nn.CrossEntropyLoss(reduction="none")
# What the table of uses knows in full; in the others, some parameters are asked one by one.
KNOWN = {
    *("mlp", "conv1d, grouped", "conv2d", "conv2d, circular", "conv3d", "rms norm", "embedding"),
    *("tied", "bare", "twice"),
}


def close(ours, truth, tolerance=1e-9):
    assert ours.shape == truth.shape
    assert (ours - truth).abs().max() <= tolerance * truth.abs().max().clamp_min(1e-12)


@pytest.mark.parametrize("name", ZOO)
def test_every_layer(name, unchanged):
    model, batch = entry(name)
    truth = one_by_one(model, LOSS, batch)
    source = GradientSource(model, LOSS)
    with unchanged(model, batch.args):
        found = source.factors(batch)
    close(torch.cat([f.flat() for f in found.values()], 1), truth)
    close(sum(f.squares() for f in found.values()), truth.square().sum(1))
    close(torch.cat([f.sum() for f in found.values()]), truth.sum(0))
    few = source.factors(batch.narrow(2, 3))
    close(sum(few[k].dot(found[k]) for k in found), truth[2:5] @ truth.T)
    close(sum(found[k].dot(few[k]) for k in found), truth @ truth[2:5].T)
    assert bool(source.by_hand) == (name not in KNOWN), source.by_hand


@pytest.mark.parametrize("name", ["mlp", "conv2d", "tied", "attention"])
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_float32(name, reduction):
    model, batch = entry(name, dtype=torch.float32)
    loss = nn.CrossEntropyLoss(reduction=reduction)
    found = GradientSource(model, loss).factors(batch)
    close(torch.cat([f.flat() for f in found.values()], 1), one_by_one(model, loss, batch), 1e-5)


def test_some_parameters_only():
    model, batch = entry("conv2d")
    names = ["0.weight", "7.bias"]
    found = GradientSource(model, LOSS, names).factors(batch)
    assert list(found) == names
    close(torch.cat([f.flat() for f in found.values()], 1), one_by_one(model, LOSS, batch, names))


def test_frozen_parameters_count_too():
    model, batch = entry("bag")
    truth = one_by_one(model, LOSS, batch)
    for p in model.parameters():
        p.requires_grad_(False)
    found = GradientSource(model, LOSS).factors(batch)
    close(torch.cat([f.flat() for f in found.values()], 1), truth)
    assert not any(p.requires_grad for p in model.parameters())


def test_what_vmap_refuses_is_looped():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(4, 6, dtype=torch.float64))

        def forward(self, x):
            sign = 1 if x.sum().item() > 0 else -1
            return torch.einsum("nd,kd->nk", x, self.table) * sign

    model = Looks()
    _, batch = entry("mlp")
    source = GradientSource(model, LOSS)
    found = source.factors(batch)
    close(torch.cat([f.flat() for f in found.values()], 1), one_by_one(model, LOSS, batch))
    assert "not known" in source.by_hand["table"]


def test_examples_that_meet_are_refused():
    model, batch = entry("conv2d")
    with pytest.raises(ValueError, match="examples do not meet"):
        GradientSource(model.train(), LOSS).factors(batch)
    with pytest.raises(TypeError, match="a loss that is a tensor"):
        GradientSource(model.eval(), lambda output, targets: 1.0).factors(batch)


# ------------------------------------------------------------------------------ factors


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5),
    st.integers(1, 2), st.integers(1, 6), st.integers(1, 6), st.booleans(),
)  # fmt: skip
def test_outer_products(m, n, t, s, groups, a, b, swapped):
    torch.manual_seed(m + 10 * n + 100 * t + a * b)
    groups = 1 if swapped else groups
    one = Outer(numbers(m, t, groups, a), numbers(m, t, groups, b), a, swapped)
    two = Outer(numbers(n, s, groups, a), numbers(n, s, groups, b), a, swapped)
    assert one.flat().shape == (m, one.size)
    for other in (two, Whole(two.flat())):
        assert torch.allclose(one.dot(other), one.flat() @ two.flat().T)
    assert torch.allclose(one.squares(), one.flat().square().sum(1))
    both = together([one, Outer(one.x, one.gradients, a, swapped)])
    assert torch.allclose(both.flat(), 2 * one.flat())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 9)
)
def test_lookups(m, n, t, s, rows):
    torch.manual_seed(m + 10 * n + 100 * t)
    one = Lookup(torch.randint(0, rows, (m, t)), numbers(m, t, 3), rows)
    two = Lookup(torch.randint(0, rows, (n, s)), numbers(n, s, 3), rows)
    for other in (two, Whole(two.flat())):
        assert torch.allclose(one.dot(other), one.flat() @ two.flat().T)
    assert torch.allclose(one.squares(), one.flat().square().sum(1))
    assert torch.allclose(together([one, one]).flat(), 2 * one.flat())
    mixed = together([one, Whole(one.flat())])
    assert isinstance(mixed, Together)
    assert torch.allclose(mixed.dot(two), 2 * one.flat() @ two.flat().T)


def test_blocks_do_not_change_numbers(monkeypatch):
    from captum._engine.per_sample import factors

    one = Outer(numbers(5, 3, 1, 4), numbers(5, 3, 1, 6), 4)
    two = Outer(numbers(7, 40, 1, 4), numbers(7, 40, 1, 6), 4)
    look = Lookup(torch.randint(0, 9, (5, 4)), numbers(5, 4, 3), 900)
    before = [one.dot(two), two.squares(), look.dot(look), two.sum(), one.dot(one)]
    monkeypatch.setattr(factors, "_BLOCK_BYTES", 64)
    after = [one.dot(two), two.squares(), look.dot(look), two.sum(), one.dot(one)]
    for x, y in zip(before, after, strict=True):
        assert torch.allclose(x, y)


# ---------------------------------------------------------------------------- curvature


@pytest.mark.parametrize("name", ["mlp", "twice", "bare"])
def test_hessians(name):
    model, batch = entry(name)
    source = GradientSource(model, LOSS)
    names, shapes = zip(*((n, p.shape) for n, p in model.named_parameters()), strict=True)
    point = torch.cat([p.detach().flatten() for p in model.parameters()])

    def total(flat):
        parts = flat.split([s.numel() for s in shapes])
        state = {n: part.view(s) for n, part, s in zip(names, parts, shapes, strict=True)}
        return LOSS(torch.func.functional_call(model, state, batch.args), batch.targets).sum()

    truth = torch.autograd.functional.hessian(total, point)
    halves = [batch.narrow(0, 3), batch.narrow(3, EXAMPLES - 3)]
    hessian = Hessian(source, halves)
    close(hessian.matrix(), truth)
    close(Hessian(source, [batch]).matrix(), truth)
    vector = numbers(1, hessian.size)
    close(hessian.times(vector), vector @ truth)
    basis, within = lanczos(hessian.times, numbers(hessian.size), hessian.size, 1e-10)
    known = torch.linalg.eigvalsh(truth)
    found = torch.linalg.eigvalsh(within)
    assert (found[-3:] - known[-3:]).abs().max() < 1e-6 * known.abs().max()
    assert torch.allclose(basis @ basis.T, torch.eye(len(basis), dtype=torch.float64), atol=1e-8)


def test_inverse_roots():
    q = torch.linalg.qr(numbers(5, 5)).Q
    values = torch.tensor([-3.0, 1e-9, 0.5, 1.0, 4.0], dtype=torch.float64)
    matrix = q @ torch.diag(values) @ q.T
    root = inverse_root(torch.eye(5, dtype=torch.float64), matrix, 5, 0.0, 1e-6)
    inverse = q[:, 2:] @ torch.diag(1 / values[2:]) @ q[:, 2:].T
    assert torch.allclose(root @ root.T, inverse)
    one = inverse_root(torch.eye(5, dtype=torch.float64), matrix, 1, 0.0, 1e-6)
    assert torch.allclose(one @ one.T, q[:, 4:] @ q[:, 4:].T / 4)
