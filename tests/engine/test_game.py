"""The game of coalitions: which rows the model sees, and that no way of asking changes a number."""

from __future__ import annotations

from itertools import combinations
from math import comb

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from captum import attr
from captum._engine import game
from captum._engine.coalitions import in_pairs, kernel_sample, subsets
from captum._engine.features import chosen, make_features

few = settings(max_examples=25, derandomize=True, deadline=None, database=None)


class Seen:
    """A model that remembers the rows of every pass."""

    def __init__(self) -> None:
        self.passes: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.passes.append(x.detach().clone())
        return (x.cumsum(1).tanh() * x).sum(1)

    @property
    def rows(self) -> list[tuple[float, ...]]:
        return [tuple(row) for each in self.passes for row in each.tolist()]


def inputs(n: int, features: int) -> Tensor:
    return torch.linspace(0.5, 2, n * features, dtype=torch.float64).view(n, features)


# ------------------------------------------------------------------------- rows


@pytest.mark.parametrize("n", [1, 3, 7, 10])
def test_shapley_values_run_every_coalition_once(n: int) -> None:
    model = Seen()
    attr.ShapleyValues(model).attribute(inputs(1, n))
    assert len(model.rows) == 2**n
    assert len(set(model.rows)) == 2**n


METHODS = {
    "FeatureAblation": ({}, 1 + 6),
    "FeaturePermutation": ({}, 1 + 6),
    "Occlusion": ({"sliding_window_shapes": (2,)}, 1 + 5),
    "ShapleyValues": ({}, 2**6),
    "ShapleyValueSampling": ({"n_samples": 4}, 2 + 4 * 5),
    "KernelShap": ({"n_samples": 30}, 2 + 30),
    "OwenValues": ({"hierarchy": [[0, 1], [2, 3], [4, 5]]}, 64),
    "ShapleyInteractions": ({}, 2**6),
    "Lime": ({"n_samples": 20}, 1 + 20),
    "RISE": ({"n_samples": 9, "grid": 2}, 1 + 9),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("examples", [1, 3])
def test_no_row_is_run_for_nothing(name: str, examples: int) -> None:
    options, most = METHODS[name]
    model, x = Seen(), inputs(examples, 6)
    if name == "FeaturePermutation":
        x = torch.cat([x, x + 1])  # one example has nothing to exchange with
    else:
        options = {**options, "baselines": -x}  # of their own, so that no two rows are alike
    getattr(attr, name)(model).attribute(x, **options)
    assert len(model.rows) <= most * len(x)
    if name not in ("FeaturePermutation", "RISE"):
        assert len(set(model.rows)) == len(model.rows), "the same coalition twice"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_number_of_perturbations_is_the_most_a_pass_has(name: str, size: int) -> None:
    options, _ = METHODS[name]
    model, x = Seen(), inputs(3, 6)
    getattr(attr, name)(model).attribute(x, perturbations_per_eval=size, **options)
    assert max(map(len, model.passes)) <= size * len(x)


@pytest.mark.parametrize("name", METHODS)
def test_auto_takes_no_more_passes_than_one_by_one(name: str) -> None:
    options, _ = METHODS[name]
    counts = []
    for size in ("auto", 1):
        model = Seen()
        getattr(attr, name)(model).attribute(inputs(3, 6), perturbations_per_eval=size, **options)
        counts.append(len(model.passes))
    assert counts[0] <= counts[1]


@pytest.mark.parametrize("limit", ["_BLOCK_BYTES", "_CACHE_BYTES", "_FEW_BYTES"])
@pytest.mark.parametrize("name", METHODS)
def test_no_limit_of_memory_changes_a_number(
    name: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, _ = METHODS[name]
    x = inputs(3, 6)

    def scores() -> Tensor:
        torch.manual_seed(0)
        found: Tensor = getattr(attr, name)(Seen()).attribute(x, **options)
        return found

    wanted = scores()
    monkeypatch.setattr(game, limit, 8)
    assert_close(scores(), wanted, rtol=1e-12, atol=1e-12)


def test_a_background_is_as_many_rows_per_coalition() -> None:
    model = Seen()
    attr.FeatureAblation(model).attribute(inputs(2, 3), inputs(5, 3) / 3)
    assert len(model.rows) == 2 + 2 * 3 * 5


def test_bars_end_at_their_total(capsys: pytest.CaptureFixture[str]) -> None:
    for name, (options, _) in METHODS.items():
        getattr(attr, name)(Seen()).attribute(inputs(3, 6), show_progress=True, **options)
        assert "100%" in capsys.readouterr().err.rsplit("\r", 1)[-1], name


# ------------------------------------------------------------------- coalitions


@given(st.integers(2, 9))
@few
def test_all_coalitions_of_the_kernel(n: int) -> None:
    """With a budget for all of them, each is there once and has the kernel's weight."""
    sample = kernel_sample(n, 2**n - 2, None)
    rows = {tuple(row) for row in sample.coalitions.tolist()}
    assert len(rows) == len(sample.weights) == 2**n - 2
    sizes = sample.coalitions.sum(1).tolist()
    for size, weight in zip(sizes, sample.weights.tolist(), strict=True):
        assert weight == pytest.approx(1 / (comb(n, size) * size * (n - size)))


@given(st.integers(2, 40), st.integers(2, 120), st.integers(0, 99))
@few
def test_a_sample_of_the_kernel(n: int, budget: int, seed: int) -> None:
    sample = kernel_sample(n, budget, torch.Generator().manual_seed(seed))
    rows = [tuple(row) for row in sample.coalitions.tolist()]
    assert len(set(rows)) == len(rows) <= budget
    assert len(rows) >= min(budget - 1, 2**n - 2), "nothing of the budget is left over"
    for row in rows:
        assert tuple(not there for there in row) in rows
    # Every size that is there at all has its whole weight.
    for size in {sum(row) for row in rows}:
        total = sum(
            w for row, w in zip(rows, sample.weights.tolist(), strict=True) if sum(row) == size
        )
        assert total == pytest.approx(1 / (size * (n - size)))


def test_subsets_are_numbered_by_their_members() -> None:
    found = {tuple(row.nonzero().flatten().tolist()) for row in subsets(0, 16, 4)}
    assert found == {c for s in range(5) for c in combinations(range(4), s)}
    assert torch.equal(subsets(5, 7, 4), subsets(0, 16, 4)[5:7])


def test_every_second_order_is_the_one_before_it_reversed() -> None:
    ranks = list(in_pairs(lambda: torch.tensor([2, 0, 1, 3]), 3))
    assert ranks[0].tolist() == [1, 2, 0, 3]
    assert torch.equal(ranks[1], 3 - ranks[0])
    assert torch.equal(ranks[2], ranks[0])


# --------------------------------------------------------------------- features

KINDS = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
    *(torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_chosen_is_where(kind: torch.dtype) -> None:
    """Bit for bit: infinities, NaN and negative zeros are left as they are."""
    odd = torch.tensor([0.0, -0.0, float("inf"), float("nan"), -1.5, 3.0])
    value = odd.to(kind) if kind.is_floating_point or kind.is_complex else torch.arange(6).to(kind)
    base = value.flip(0)
    here = torch.tensor([[True, False, True, True, False, False]]).expand(2, 6).clone()
    here[1] = ~here[1]
    for b in (base, base[:1]):
        found, wanted = chosen(here, value, b), torch.where(here, value, b)
        assert found.dtype == kind
        assert torch.equal(bits(found), bits(wanted))


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.uint8)


def test_chosen_takes_a_base_of_another_dtype() -> None:
    found = chosen(torch.tensor([True, False]), torch.tensor([1, 2]), torch.tensor(0.5))
    assert found.tolist() == [1.0, 0.5]


@given(st.data())
@few
def test_features_are_present_as_their_mask_says(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(3,), (2, 2), (1, 2, 3)]))
    n, values = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    numbers = st.integers(-2, 4)
    masks = []
    for _ in range(values):
        rows = data.draw(st.sampled_from([1, n]))
        full = [rows, *shape]
        for d in range(1, len(full)):
            full[d] = data.draw(st.sampled_from([1, full[d]]))
        count = torch.Size(full).numel()
        entries = data.draw(st.lists(numbers, min_size=count, max_size=count))
        masks.append(torch.tensor(entries).view(full))
    tensors = tuple(torch.zeros(n, *shape) for _ in range(values))
    features = make_features(tensors, tuple(masks))
    ids = sorted({int(i) for mask in masks for i in mask.flatten()})
    assert features.numbers.tolist() == ids
    coalitions = subsets(0, 2 ** len(ids), len(ids))
    start = data.draw(st.integers(0, n - 1))
    for i, mask in enumerate(masks):
        here = features.present(i, coalitions, slice(start, n))
        wanted = torch.stack([
            torch.isin(mask, torch.tensor(ids)[c]).expand(n, *shape) for c in coalitions
        ])[:, start:]  # fmt: skip
        got = torch.ones(()) if here is None else here
        assert torch.equal(got.expand(wanted.shape) > 0, wanted)
    scores = torch.rand(len(ids), n)
    for mask, entries in zip(masks, features.spread(scores), strict=True):
        for e in range(n):
            own = mask[min(e, len(mask) - 1)].expand(shape)
            places = torch.searchsorted(torch.tensor(ids), own.contiguous())
            assert torch.equal(entries[e], scores[:, e][places])
