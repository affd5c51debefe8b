"""Influence functions beside H⁻¹ written out, and similarities beside a loop."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum._engine.per_sample.curvature import conjugate_gradients
from captum.influence import (
    ArnoldiInfluenceFunction,
    ConjugateGradientInfluence,
    NaiveInfluenceFunction,
    SimilarityInfluence,
    cosine_similarity,
    euclidean_distance,
)

from .zoo import entry, one_by_one

LOSS = nn.CrossEntropyLoss(reduction="none")


def setting():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    _, batch = entry("mlp")
    inputs = torch.randn(20, 4, dtype=torch.float64)
    labels = torch.randint(0, 3, (20,))
    data = TensorDataset(inputs, labels)
    test = (torch.randn(5, 4, dtype=torch.float64), torch.randint(0, 3, (5,)))
    made = type(batch)((inputs,), {}, labels)
    return model, data, test, made, type(batch)(test[:1], {}, test[1])


def exact(model, batch, tests, rank, regularisation, tol):
    """g' H⁻¹ g with the Hessian from autograd and its largest eigenvalues inverted."""
    names, shapes = zip(*((n, p.shape) for n, p in model.named_parameters()), strict=True)
    point = torch.cat([p.detach().flatten() for p in model.parameters()])

    def total(flat):
        parts = flat.split([s.numel() for s in shapes])
        state = {n: part.view(s) for n, part, s in zip(names, parts, shapes, strict=True)}
        return LOSS(torch.func.functional_call(model, state, batch.args), batch.targets).sum()

    hessian = torch.autograd.functional.hessian(total, point)
    values, vectors = torch.linalg.eigh(hessian + regularisation * torch.eye(len(point)).double())
    values, vectors = values[-rank:], vectors[:, -rank:]
    kept = values > tol
    inverse = vectors[:, kept] @ torch.diag(1 / values[kept]) @ vectors[:, kept].T
    ours, theirs = one_by_one(model, LOSS, tests), one_by_one(model, LOSS, batch)
    return ours @ inverse @ theirs.T, (theirs @ inverse * theirs).sum(1)


@pytest.mark.parametrize("rank", [4, 50])
def test_naive_and_arnoldi_are_exact(rank, unchanged):
    model, data, test, batch, tests = setting()
    scores, own = exact(model, batch, tests, rank, 1e-3, 1e-4)
    options = {"hessian_reg": 1e-3, "hessian_inverse_tol": 1e-4, "projection_dim": rank}
    state = model.state_dict()
    with unchanged(model):
        naive = NaiveInfluenceFunction(model, data, state, loss_fn=LOSS, batch_size=7, **options)
        arnoldi = ArnoldiInfluenceFunction(
            model, data, state, loss_fn=LOSS, batch_size=7, arnoldi_tol=1e-9, **options
        )
        for method in (naive, arnoldi):
            size = scores.abs().max()
            assert (method.influence(test) - scores).abs().max() < 1e-6 * size
            assert (method.self_influence() - own).abs().max() < 1e-6 * own.max()
            top = method.influence(test, k=3, proponents=False)
            assert torch.equal(top.indices, scores.topk(3, 1, largest=False).indices)
            vectors = method.compute_intermediate_quantities(test)
            there = method.compute_intermediate_quantities(data.tensors)
            assert (vectors @ there.T - scores).abs().max() < 1e-6 * size
            summed = method.compute_intermediate_quantities(test, aggregate=True)
            assert torch.allclose(summed, vectors.sum(0, keepdim=True))
    loaded = naive.compute_intermediate_quantities(DataLoader(data, 6))
    assert torch.allclose(loaded, naive.compute_intermediate_quantities(data.tensors))


def leave_one_out():
    """A logistic regression, and what each test loss is without each training example."""
    torch.manual_seed(0)
    inputs = torch.randn(60, 4, dtype=torch.float64)
    labels = (inputs[:, 0] + 0.7 * torch.randn(60) > 0).long()
    test = (torch.randn(12, 4, dtype=torch.float64), torch.randint(0, 2, (12,)))

    def fitted(kept):
        model = nn.Linear(4, 2).double()
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        optimiser = torch.optim.LBFGS(
            model.parameters(), max_iter=200, line_search_fn="strong_wolfe",
            tolerance_grad=1e-12, tolerance_change=1e-14,
        )  # fmt: skip

        def closure():
            optimiser.zero_grad()
            ridge = sum(p.square().sum() for p in model.parameters())
            total = LOSS(model(inputs[kept]), labels[kept]).sum() + 0.5 * ridge
            total.backward()
            return total

        optimiser.step(closure)
        return model

    everything = torch.ones(60, dtype=torch.bool)
    whole = fitted(everything)
    changes = []
    with torch.no_grad():
        before = LOSS(whole(test[0]), test[1])
    for i in range(60):
        kept = everything.clone()
        kept[i] = False
        model = fitted(kept)
        with torch.no_grad():
            changes.append(LOSS(model(test[0]), test[1]) - before)
    return whole, TensorDataset(inputs, labels), test, torch.stack(changes, 1)


def test_leaving_an_example_out(unchanged):
    """The scores are what retraining without an example shows, before it is done."""
    model, data, test, changes = leave_one_out()
    method = ConjugateGradientInfluence(
        model, data, model.state_dict(), loss_fn=LOSS, batch_size=20, damping=1.0
    )
    with unchanged(model):
        scores = method.influence(test)
    assert spearmanr(scores.flatten(), changes.flatten()).statistic > 0.97
    assert 0.7 < float((scores * changes).sum() / scores.square().sum()) < 1.5, "of that size"
    naive = NaiveInfluenceFunction(
        model, data, model.state_dict(), loss_fn=LOSS, hessian_reg=1.0, hessian_inverse_tol=0
    )
    assert (scores - naive.influence(test)).abs().max() < 1e-3 * scores.abs().max()
    own = naive.self_influence()
    assert (method.self_influence() - own).abs().max() < 1e-3 * own.max()
    top = method.influence(test, k=4, proponents=False)
    assert torch.equal(top.indices, scores.topk(4, 1, largest=False).indices)
    with pytest.raises(ValueError, match="n_steps of at least 1"):
        ConjugateGradientInfluence(model, data, model.state_dict(), loss_fn=LOSS, n_steps=0)


def test_conjugate_gradients():
    torch.manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64)
    matrix = root @ root.T + 0.1 * torch.eye(6)
    right = torch.randn(3, 6, dtype=torch.float64)
    right[1] = 0
    found = conjugate_gradients(lambda v: v @ matrix, right, 50, 1e-12)
    assert torch.allclose(found @ matrix, right, atol=1e-8)
    bent = torch.diag(torch.tensor([-1.0, 2.0])).double()
    down = conjugate_gradients(lambda v: v @ bent, torch.eye(2).double(), 50, 1e-12)
    assert torch.allclose(down, torch.tensor([[0, 0], [0, 0.5]]).double())


def test_part_of_the_data_and_of_the_model():
    model, data, test, _, _ = setting()
    few = TensorDataset(*(t[:9] for t in data.tensors))
    both = [
        NaiveInfluenceFunction(
            model, data, model.state_dict(), layers=["2"], loss_fn=LOSS, hessian_dataset=each
        ).influence(test)
        for each in (few, data)
    ]
    assert both[0].shape == (5, 20)
    assert not torch.allclose(*both)
    for bad in (NaiveInfluenceFunction, ArnoldiInfluenceFunction):
        with pytest.raises(ValueError, match="projection_dim"):
            bad(model, data, model.state_dict(), loss_fn=LOSS, projection_dim=0)


def test_arnoldi_draws_from_its_seed():
    model, data, test, _, _ = setting()

    def made(seed):
        return ArnoldiInfluenceFunction(
            model, data, model.state_dict(), loss_fn=LOSS, arnoldi_dim=3, seed=seed
        ).influence(test)

    before = torch.get_rng_state()
    assert torch.equal(made(1), made(1))
    assert not torch.allclose(made(1), made(2))
    assert torch.equal(before, torch.get_rng_state())


# ---------------------------------------------------------------------------- similarity


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("metric", [cosine_similarity, euclidean_distance])
def test_similarities(direction, metric):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    train, test = torch.randn(11, 1, 3, 3), torch.randn(4, 1, 3, 3)
    alike = SimilarityInfluence(
        model, ["0", "3"], TensorDataset(train), "", similarity_metric=metric,
        similarity_direction=direction, batch_size=4,
    )  # fmt: skip
    found = alike.influence(test, top_k=3)
    for name, part in (("0", model[:1]), ("3", model)):
        with torch.no_grad():
            ours, theirs = part(test).flatten(1), part(train).flatten(1)
        if metric is cosine_similarity:
            scores = nn.functional.cosine_similarity(ours[:, None], theirs[None], dim=2)
        else:
            scores = (ours[:, None] - theirs[None]).norm(dim=2)
        values, places = scores.topk(3, 1, largest=direction == "max")
        assert torch.equal(found[name][0], places)
        assert torch.allclose(found[name][1], values, atol=1e-5)


def test_similarity_of_what_does_not_fit():
    model = nn.Sequential(nn.Linear(2, 2))
    rows = [torch.zeros(2)]
    with pytest.raises(ValueError, match="modules of the model, or names"):
        SimilarityInfluence(model, "fc", rows, "")
    with pytest.raises(ValueError, match="similarity_direction"):
        SimilarityInfluence(model, "0", rows, "", similarity_direction="up")
    with pytest.raises(ValueError, match="top_k"):
        SimilarityInfluence(model, "0", rows, "").influence(torch.zeros(1, 2), top_k=0)
    zeros = cosine_similarity(torch.zeros(1, 2), torch.ones(1, 2))
    assert zeros.tolist() == [[0]]
