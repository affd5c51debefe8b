"""EK-FAC beside its formula written out, and beside retraining without an example."""

import copy

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import TensorDataset

from captum._engine.per_sample.fisher import Fisher
from captum._engine.per_sample.source import GradientSource
from captum.influence import EKFACInfluence, NaiveInfluenceFunction
from captum.influence.ekfac import categories

from .zoo import entry, one_by_one

LOSS = nn.CrossEntropyLoss(reduction="none")


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("name", ["mlp", "conv2d", "conv1d, grouped", "tied", "bare"])
def test_the_formula_written_out(name):
    """(Q_g ⊗ Q_x) diag(1 / (λ + ρ mean λ)) (Q_g ⊗ Q_x)ᵀ for linear maps; blocks and diagonals."""
    model, batch = entry(name)
    source = GradientSource(model, LOSS)
    found = source.factors(batch)
    halves = [batch.narrow(0, 3), batch.narrow(3, 4)]
    fisher = Fisher(found, lambda: (source.factors(half) for half in halves))
    damping, count = 0.1, len(batch)
    solved = fisher.solved(found, damping)
    for key, factor in found.items():
        flat = factor.flat()
        if key in fisher.biases.values():
            continue
        if hasattr(factor, "inputs") and not factor.swapped and factor.gradients.shape[2] == 1:
            x, g = factor.x[:, :, 0], factor.gradients[:, :, 0]
            if key in fisher.biases:  # the weight of an input that is always 1
                x = torch.cat([x, torch.ones_like(x[..., :1])], -1)
                flat = torch.einsum("ntb,nta->nba", g, x).flatten(1)
            q_x = torch.linalg.eigh(torch.einsum("nta,ntc->ac", x, x))[1]
            q_g = torch.linalg.eigh(torch.einsum("ntb,ntd->bd", g, g))[1]
            base = torch.kron(q_g, q_x)
            lam = (flat @ base).square().mean(0)
            truth = (flat @ base / (lam + damping * lam.mean())) @ base.T
        elif type(factor).__name__ == "Whole" and factor.size <= 512:
            mean = flat.T @ flat / count
            ridge = damping * mean.diagonal().mean()
            truth = flat @ torch.linalg.inv(mean + ridge * torch.eye(len(mean)).double())
        else:
            continue
        mine = solved[key].flat()
        if key in fisher.biases:
            rows = mine.view(len(mine), g.shape[2], -1)
            beside = solved[fisher.biases[key]].flat().unsqueeze(-1)
            mine = torch.cat([rows, beside], -1).flatten(1)
        assert torch.allclose(mine, truth, rtol=1e-6), key


def test_bases_do_not_depend_on_groups_or_sides():
    """Grouped maps are several maps; a weight written the other way is the same map."""
    x, g = numbers(6, 3, 2, 4), numbers(6, 3, 2, 5)
    from captum._engine.per_sample.factors import Outer

    def solved(*parts, **options):
        found = {"w": Outer(*parts, 4, **options)}
        return Fisher(found, lambda: [found]).solved(found, 1e-9)["w"].flat()

    both = solved(x, g)
    for k in range(2):
        part = x[:, :, k : k + 1], g[:, :, k : k + 1]
        alone = solved(*part)
        assert torch.allclose(both.view(6, 2, 20)[:, k], alone, rtol=1e-5)
        other = solved(*part, swapped=True)
        assert torch.allclose(other.view(6, 4, 5).mT.reshape(6, 20), alone, rtol=1e-5)


def setting():
    torch.manual_seed(0)
    inputs = numbers(60, 5)
    labels = (inputs @ numbers(5, 3)).argmax(1)
    flipped = labels.clone()
    flipped[:6] = (flipped[:6] + 1) % 3
    model = nn.Linear(5, 3).double()
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=300)

    def closure():
        optimiser.zero_grad()
        ridge = sum(p.square().sum() for p in model.parameters())
        total = LOSS(model(inputs), flipped).sum() + 0.5 * ridge
        total.backward()
        return total

    optimiser.step(closure)
    test = numbers(8, 5)
    return model, TensorDataset(inputs, flipped), (test, (test @ numbers(5, 3)).argmax(1))


def test_like_the_hessian_where_it_is_one(unchanged):
    """A logistic regression: F is the Hessian, up to its draws and the bases."""
    model, data, test = setting()
    options = {"loss_fn": LOSS, "batch_size": 16}
    with unchanged(model):
        method = EKFACInfluence(model, data, model.state_dict(), draws=64, damping=0.02, **options)
        scores = method.influence(test)
    truth = NaiveInfluenceFunction(
        model, data, model.state_dict(), hessian_reg=1.0, projection_dim=18, **options
    ).influence(test)
    assert spearmanr(scores.flatten(), truth.flatten()).statistic > 0.7
    assert 0.3 < float((scores * truth).sum() / truth.square().sum()) < 3, "of the same size"
    top = method.influence(test, k=3)
    assert torch.equal(top.indices, scores.topk(3, 1).indices)
    own = method.self_influence()
    assert set(own.topk(6).indices.tolist()) & set(range(6)), "wrong labels weigh on themselves"
    assert torch.allclose(own[:8], method.influence(data[:8]).diagonal(), rtol=1e-6)


def test_draws_settle_and_are_seeded():
    model, data, test = setting()

    def scores(seed, draws):
        method = EKFACInfluence(
            model, data, model.state_dict(), loss_fn=LOSS, seed=seed, draws=draws
        )
        return method.influence(test).flatten()

    before = torch.get_rng_state()
    assert torch.equal(scores(1, 2), scores(1, 2))
    assert torch.equal(before, torch.get_rng_state())
    one = torch.corrcoef(torch.stack([scores(0, 1), scores(1, 1)]))[0, 1]
    many = torch.corrcoef(torch.stack([scores(0, 16), scores(1, 16)]))[0, 1]
    assert many > one
    assert many > 0.98


def test_targets_of_one_s_own():
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    data = TensorDataset(numbers(20, 3), numbers(20, 1))
    loss = nn.MSELoss(reduction="none")

    def gaussian(output, generator):
        return output + torch.randn(output.shape, generator=generator, dtype=output.dtype)

    method = EKFACInfluence(model, data, model.state_dict(), loss_fn=loss, draw=gaussian)
    assert method.influence(data[:2]).shape == (2, 20)
    with pytest.raises(ValueError, match="logits"):
        categories(torch.zeros(3), torch.Generator())
    sequences = categories(torch.randn(2, 5, 7), torch.Generator())
    assert sequences.shape == (2, 7)
    for bad in ({"draws": 0}, {"damping": 0.0}):
        with pytest.raises(ValueError, match="draws of at least 1"):
            EKFACInfluence(model, data, model.state_dict(), loss_fn=loss, **bad)


def test_gradients_that_are_all_zero():
    model = nn.Linear(3, 2).double()
    other = copy.deepcopy(model)
    data = TensorDataset(torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, dtype=torch.long))
    method = EKFACInfluence(model, data, other.state_dict(), layers=[""], loss_fn=LOSS)
    found = method.influence(data[:2])
    assert not one_by_one(model, LOSS, type(entry("mlp")[1])(data[:4][:1], {}, data[:4][1]))[
        :, :6
    ].any()
    assert found.isfinite().all()
