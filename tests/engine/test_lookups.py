"""Integer inputs are attributed where the model looks them up: one score per id, complete."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from captum.attr import (
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    LayerGradientShap,
    LayerIntegratedGradients,
    Saliency,
)

IDS = torch.tensor([[3, 1, 4], [1, 5, 9]])


class Text(nn.Module):
    """Looks ids up after `change`, and mixes the embeddings in a way that is not linear."""

    def __init__(self, change=lambda ids: ids):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(40, 4)
        self.last = nn.Linear(4, 2)
        self.change = change
        self.double()

    def forward(self, ids):
        rows = self.table(self.change(ids)).reshape(len(ids), -1, 4)
        return self.last((rows.cumsum(1) ** 2).mean(1))


CHANGES = {
    "as they are": lambda ids: ids,
    "viewed": lambda ids: ids.view(-1, ids.shape[-1]),
    "a slice": lambda ids: ids[:, 1:],
    "turned round": lambda ids: ids.flip(1),
    "one by one": lambda ids: torch.stack([ids[:, 0], ids[:, 2], ids[:, 0]], 1),
    "with a constant": lambda ids: torch.cat([torch.full((len(ids), 1), 7), ids], 1),
    "shifted": lambda ids: ids + 20,
    "hashed": lambda ids: ids * 7 % 40,
    "masked": lambda ids: ids.masked_fill(ids == 1, 0),
    "as another type": lambda ids: ids.to(torch.int32),
    "repeated": lambda ids: ids.repeat(1, 2),
    "a square": lambda ids: ids.unsqueeze(1).expand(-1, 2, -1),
    "as bytes": lambda ids: torch.cat([ids.to(torch.uint8), ids.to(torch.uint8)[:, :1]], 1).long(),
    "a chunk": lambda ids: ids.chunk(3, 1)[1],
    "renamed by a table": lambda ids: torch.arange(40).flip(0)[ids],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_complete_for_whatever_happens_on_the_way(change):
    model = Text(change)
    scores, delta = IntegratedGradients(model).attribute(
        IDS, target=1, return_convergence_delta=True
    )
    assert scores.shape == IDS.shape
    assert delta.abs().max() < 1e-12
    expected = model(IDS)[:, 1] - model(0 * IDS)[:, 1]
    assert torch.allclose(scores.sum(1), expected.detach(), atol=1e-12)


@pytest.mark.parametrize("change", [CHANGES["as they are"], CHANGES["turned round"]])
def test_equal_to_the_embedding_layer(change):
    model = Text(change)
    at_ids = IntegratedGradients(model).attribute(IDS, target=0)
    at_layer = LayerIntegratedGradients(model, model.table).attribute(IDS, target=0).sum(-1)
    assert torch.allclose(change(at_ids), at_layer)


def test_each_id_has_its_own_share():
    """f = Σ_t (a of token t) · (t + 1): the score of place t is its own term."""
    table = torch.arange(20.0).double().view(10, 2)

    def model(ids):
        return (F.embedding(ids, table).sum(2) * torch.tensor([1.0, 2.0, 3.0])).sum(1)

    scores = IntegratedGradients(model).attribute(IDS)
    base = table[0].sum()
    assert torch.allclose(scores, (table[IDS].sum(2) - base) * torch.tensor([1.0, 2.0, 3.0]))


def test_indexing_a_table_is_a_lookup():
    table = torch.rand(10, 4, dtype=torch.float64)
    found = InputXGradient(lambda ids: table[ids].pow(2).sum((1, 2))).attribute(IDS)
    assert torch.allclose(found, 2 * table[IDS].pow(2).sum(2))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 1])
def test_bags(mode, padding):
    bag = nn.EmbeddingBag(10, 4, mode=mode, padding_idx=padding).double()
    model = nn.Sequential(bag, nn.Tanh(), nn.Linear(4, 1).double())
    scores, delta = IntegratedGradients(model).attribute(
        IDS, 2, n_steps=400, return_convergence_delta=True
    )
    assert delta.abs().max() < (1e-3 if mode == "max" else 1e-10)  # a maximum has kinks
    if padding is None or mode == "sum":
        change = (model(IDS) - model(IDS * 0 + 2))[:, 0]
        assert torch.allclose(scores.sum(1), change, atol=1e-3)


def test_bags_in_one_long_row_are_refused():
    bag = nn.EmbeddingBag(10, 4)
    with pytest.raises(ValueError, match="one row per example"):
        Saliency(lambda ids: bag(ids.flatten(), torch.tensor([0, 3])).sum(1)).attribute(IDS)


def test_bags_that_limit_their_norm():
    bag = nn.EmbeddingBag(10, 4, mode="sum", max_norm=0.5).double()
    scores = IntegratedGradients(lambda ids: bag(ids).sum(1)).attribute(IDS, 2)
    assert torch.allclose(scores.sum(1), (bag(IDS) - bag(IDS * 0 + 2)).sum(1).detach())


def test_long_texts_as_bytes():
    table = nn.Embedding(10, 4).double()
    ids = torch.arange(300).remainder(10)[None]
    found = IntegratedGradients(
        lambda ids: table(ids.to(torch.uint8).long()).sum((1, 2))
    ).attribute(ids)
    assert torch.allclose(found, (table(ids) - table(ids * 0)).sum(2).detach())


def test_ids_made_of_two_inputs_are_refused():
    table = nn.Embedding(20, 4)
    with pytest.raises(ValueError, match="made of two inputs"):
        Saliency(lambda a, b: table(a + b).sum((1, 2))).attribute((IDS, IDS))


def test_perturbations_need_no_lookup():
    found = FeatureAblation(lambda ids: F.one_hot(ids, 10).double()[:, :, 4].sum(1)).attribute(IDS)
    assert torch.equal(found, (IDS == 4).double())


def test_lookups_that_mix_examples_are_refused():
    table = nn.Embedding(10, 4)
    with pytest.raises(ValueError, match="one example per row"):
        Saliency(lambda ids: table(ids.flip(0)).sum((1, 2))).attribute(IDS)


def test_positions_and_types_are_not_the_ids():
    """zeros_like(ids) and arange look embeddings up too; they say nothing of the ids."""
    words, kinds, places = nn.Embedding(10, 4), nn.Embedding(2, 4), nn.Embedding(3, 4)

    def model(ids):
        where = torch.arange(ids.shape[1])
        rows = words(ids) + kinds(torch.zeros_like(ids)) + places(where)
        return rows.pow(2).sum((1, 2))

    found = InputXGradient(model).attribute(IDS)
    rows = words(IDS) + kinds(IDS * 0) + places(torch.arange(3))
    assert torch.allclose(found, (2 * rows * words(IDS)).sum(2), atol=1e-5)


def test_mixed_with_floats():
    table = nn.Embedding(10, 4).double()

    def model(ids, x):
        return (table(ids).sum(1) * x).tanh().sum(1)

    x = torch.rand(2, 4).double()
    (at_ids, at_x), delta = IntegratedGradients(model).attribute(
        (IDS, x), return_convergence_delta=True
    )
    assert at_ids.shape == IDS.shape
    assert at_x.shape == x.shape
    assert delta.abs().max() < 1e-9


@pytest.mark.parametrize("kind", [torch.bool, torch.long])
def test_a_mask_beside_floats_is_no_id(kind):
    """Nothing looks it up: its scores are zeros, and the others are as without it."""
    x, mask = torch.randn(5, 3), (torch.arange(15).reshape(5, 3) % 3 > 0).to(kind)

    def masked(x, mask):
        return (x.square() * mask).sum(1)

    for method in (Saliency(masked), InputXGradient(masked), IntegratedGradients(masked)):
        with pytest.warns(UserWarning, match=r"inputs\[1\]"):
            found, nothing = method.attribute((x, mask))
        truth = method.attribute(x, additional_forward_args=mask)
        assert torch.allclose(found, truth, atol=1e-6)
        assert not nothing.any()
    with pytest.warns(UserWarning, match=r"inputs\[1\]"):
        found, _ = GradientShap(masked).attribute((x, mask), (torch.zeros(1, 3), mask[:1]))
    assert found.shape == x.shape


def test_expected_gradients_of_ids():
    model = Text()
    row = torch.tensor([[2, 7, 1]])
    scores, deltas = GradientShap(model).attribute(
        IDS, row, n_samples=64, target=0, return_convergence_delta=True
    )
    assert scores.dtype == torch.float64
    change = (model(IDS) - model(row))[:, 0].detach()
    assert torch.allclose(scores.sum(1) - deltas.view(2, 64).mean(1), change)


def test_the_delta_of_ids_at_a_layer():
    """Ids cannot move, so the layer's value does, and the delta is of what the integral moved."""
    words, around = nn.Embedding(10, 4).double(), nn.Embedding(10, 4).double()

    def model(ids):
        return words(ids).pow(2).sum((1, 2)) * around(ids).sum((1, 2))

    row = torch.tensor([[2, 7, 1]])
    scores, deltas = LayerGradientShap(model, words).attribute(
        IDS, row, n_samples=16, return_convergence_delta=True
    )
    rise = words(IDS).pow(2).sum((1, 2)) - words(row).pow(2).sum((1, 2))
    expected = (rise * around(IDS).sum((1, 2))).detach()
    assert torch.allclose(scores.sum((1, 2)) - deltas.view(2, 16).mean(1), expected)


def test_a_module_called_twice_gives_both_shares():
    table = nn.Embedding(10, 4).double()
    found, delta = IntegratedGradients(
        lambda ids: table(ids[:, :2]).sum((1, 2)) * table(ids[:, 1:]).sum((1, 2))
    ).attribute(IDS, return_convergence_delta=True)
    assert found.shape == IDS.shape
    assert delta.abs().max() < 1e-10


def test_perturbations_change_the_ids_themselves():
    model = Text()
    scores = FeatureAblation(model).attribute(IDS, target=0)
    changed = IDS.clone()
    changed[:, 1] = 0
    expected = (model(IDS) - model(changed))[:, 0].detach()
    assert torch.allclose(scores[:, 1], expected)


def test_the_mode_is_gone_afterwards():
    model = Text(lambda ids: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Saliency(model).attribute(IDS, target=0)
    assert torch.overrides._get_current_function_mode_stack() == []
