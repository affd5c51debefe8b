"""TracIn beside gradients one by one: scores, top-k, checkpoints, losses, a model left alone."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from captum._engine.ranks import World
from captum.influence import (
    ExactNearestNeighbors,
    NearestNeighbors,
    TracInCP,
    TracInCPFast,
    TracInCPFastRandProj,
    batches,
)
from captum.influence.sinks import TopK

from .zoo import ZOO, entry, one_by_one

LOSS = nn.CrossEntropyLoss(reduction="none")
RATES = [0.5, 2.0]


def rated(model, checkpoint):
    model.load_state_dict(checkpoint["state"])
    return checkpoint["rate"]


def setting(name="mlp"):
    """A model, training and test data, two checkpoints, and gradients at each of them."""
    model, batch = entry(name)
    model.train() if name == "mlp" else model.eval()
    states = []
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        state = {
            k: torch.randn_like(v) if v.is_floating_point() and "running" not in k else v.clone()
            for k, v in model.state_dict().items()
        }
        states.append({"state": state, "rate": rate})
    train = TensorDataset(*batch.args, batch.targets)
    test = (batch.args[0].flip(0)[:3], batch.targets[:3])
    gradients = []
    for state in states:
        other = copy.deepcopy(model)
        rated(other, state)
        test_batch = type(batch)(test[:1], {}, test[1])
        gradients.append((one_by_one(other, LOSS, test_batch), one_by_one(other, LOSS, batch)))
    return model, train, test, states, gradients


def truth(gradients):
    return sum(rate * a @ b.T for rate, (a, b) in zip(RATES, gradients, strict=True))


@pytest.mark.parametrize("name", ["mlp", "conv2d", "tied", "attention", "bag"])
def test_scores(name, unchanged):
    model, train, test, states, gradients = setting(name)
    scores = truth(gradients)
    tracin = TracInCP(model, train, states, rated, loss_fn=LOSS, batch_size=2)
    with unchanged(model, test):
        found = tracin.influence(test)
    assert torch.allclose(found, scores)
    for k, largest in ((2, True), (2, False), (50, True)):
        kept = min(k, scores.shape[1])
        values, places = scores.topk(kept, 1, largest=largest)
        top = tracin.influence(test, k=k, proponents=largest)
        assert torch.allclose(top.influence_scores, values)
        assert torch.equal(top.indices, places)
    total = tracin.influence(test, aggregate=True)
    assert torch.allclose(total, scores.sum(0, keepdim=True))
    own = sum(r * g.square().sum(1) for r, (_, g) in zip(RATES, gradients, strict=True))
    assert torch.allclose(tracin.self_influence(), own)
    assert torch.allclose(tracin.self_influence(DataLoader(train, 3)), own)
    vectors = tracin.compute_intermediate_quantities(test)
    there = tracin.compute_intermediate_quantities(DataLoader(train, 3))
    assert torch.allclose(vectors @ there.T, scores)
    summed = tracin.compute_intermediate_quantities(DataLoader(train, 3), aggregate=True)
    assert torch.allclose(summed, there.sum(0, keepdim=True))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_batches_and_reductions_do_not_matter(batch_size, reduction):
    model, train, test, states, gradients = setting()
    loss = nn.CrossEntropyLoss(reduction=reduction)
    tracin = TracInCP(
        model, train, states, rated, loss_fn=loss, batch_size=batch_size,
        sample_wise_grads_per_batch=reduction != "none",
    )  # fmt: skip
    assert torch.allclose(tracin.influence(test), truth(gradients))
    loader = DataLoader(TensorDataset(*test), batch_size=2)
    assert torch.allclose(tracin.influence(loader), truth(gradients))


def test_a_loss_of_one_s_own_and_another_for_tests():
    model, train, test, states, _ = setting()

    def margin(output, targets):  # no word on how it reduces: a sum
        return output.gather(1, targets[:, None]).sum()

    tracin = TracInCP(model, train, states[:1], rated, loss_fn=LOSS, test_loss_fn=margin)
    other = copy.deepcopy(model)
    rated(other, states[0])
    tests = type(entry("mlp")[1])(test[:1], {}, test[1])
    ours = one_by_one(other, margin, tests)
    theirs = one_by_one(other, LOSS, entry("mlp")[1])
    assert torch.allclose(tracin.influence(test), RATES[0] * ours @ theirs.T)


def test_layers():
    model, train, test, states, _ = setting()
    tracin = TracInCP(model, train, states[:1], rated, layers=["3"], loss_fn=LOSS)
    other = copy.deepcopy(model)
    rated(other, states[0])
    names = ["3.weight", "3.bias"]
    batch = entry("mlp")[1]
    tests = type(batch)(test[:1], {}, test[1])
    scores = one_by_one(other, LOSS, tests, names) @ one_by_one(other, LOSS, batch, names).T
    assert torch.allclose(tracin.influence(test), RATES[0] * scores)
    with pytest.raises(ValueError, match="modules of the model, or names"):
        TracInCP(model, train, states, rated, layers=["fc"], loss_fn=LOSS)


def test_checkpoints_of_every_kind(tmp_path):
    model, train, test, states, gradients = setting()
    plain = [state["state"] for state in states]
    paths = []
    for i, state in enumerate(plain):
        paths.append(tmp_path / f"{i}.pt")
        torch.save(state, paths[-1])
    equal = sum(a @ b.T for a, b in gradients)
    for given in (plain, iter(plain), [str(p) for p in paths], str(tmp_path)):
        found = TracInCP(model, train, given, loss_fn=LOSS).influence(test)
        assert torch.allclose(found, equal)
    named = [{"model_state_dict": s["state"], "learning_rate": s["rate"]} for s in states]
    assert torch.allclose(
        TracInCP(model, train, named, loss_fn=LOSS).influence(test), truth(gradients)
    )
    parallel = [{f"module.{k}": v for k, v in state.items()} for state in plain]
    assert torch.allclose(TracInCP(model, train, parallel, loss_fn=LOSS).influence(test), equal)
    for bad in ([], [3]):
        with pytest.raises((ValueError, TypeError), match="checkpoint"):
            TracInCP(model, train, bad, loss_fn=LOSS).influence(test)


def test_the_model_is_left_alone_after_an_error(unchanged):
    model, train, test, states, _ = setting()

    def broken(output, targets):
        raise RuntimeError("mine")

    with unchanged(model), pytest.raises(RuntimeError, match="mine"):
        TracInCP(model, train, states, rated, loss_fn=broken).influence(test)


class Words(Dataset):
    """Dicts with labels, of different lengths."""

    def __getitem__(self, i):
        if i >= 4:
            raise IndexError
        return {"ids": torch.arange(i + 1) % 11, "labels": i % 4}

    def __len__(self):
        return 4


def test_dict_batches_of_different_lengths():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(11, 6), nn.Linear(6, 4)

        def forward(self, ids):
            return self.out(self.table(ids).mean(1))

    torch.manual_seed(0)
    model = Reader()
    tracin = TracInCP(model, Words(), [model.state_dict()], loss_fn=LOSS)
    found = tracin.self_influence()
    truth = []
    for item in map(Words().__getitem__, range(4)):
        loss = LOSS(model(item["ids"][None]), torch.tensor([item["labels"]])).sum()
        made = torch.autograd.grad(loss, list(model.parameters()))
        truth.append(sum(g.square().sum() for g in made))
    assert torch.allclose(found, torch.stack(truth), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, d, t, s: TracInCP(m, t, s, rated, loss_fn=LOSS), "a data set or a DataLoader"),
        (lambda m, d, t, s: TracInCP(m, d, s, rated, loss_fn=LOSS, batch_size=0), "batch_size"),
        (lambda m, d, t, s: TracInCP(m, d, s, rated, loss_fn=LOSS).influence(t, k=0), "k of at"),
        (lambda m, d, t, s: TracInCP(m, d, s, rated, loss_fn=3), "a loss of output and targets"),
        (
            lambda m, d, t, s: TracInCP(m, d, s, rated, loss_fn=LOSS).influence((t[0],)),
            "a batch: a tuple of inputs and labels",
        ),
        (
            lambda m, d, t, s: TracInCPFast(m, "fc", d, s, rated, loss_fn=LOSS),
            "modules of the model, or names",
        ),
        (
            lambda m, d, t, s: TracInCPFastRandProj(
                m, "3", d, s, rated, loss_fn=LOSS, projection_dim=0
            ),
            "projection_dim of at least 1",
        ),
    ],
)
def test_bad_input(call, message):
    model, train, test, states, _ = setting()
    with pytest.raises((ValueError, TypeError), match=message):
        call(model, train, test, states)


# ------------------------------------------------------------------------------- the last layer


def last_layer(model, states, test):
    batch = entry("mlp")[1]
    tests = type(batch)(test[:1], {}, test[1])
    found = []
    for state in states:
        other = copy.deepcopy(model)
        rated(other, state)
        names = ["3.weight"]
        found.append((one_by_one(other, LOSS, tests, names), one_by_one(other, LOSS, batch, names)))
    return found


def test_the_last_layer_alone(unchanged):
    model, train, test, states, _ = setting()
    gradients = last_layer(model, states, test)
    scores = truth(gradients)
    for layer in ("3", model[3]):
        fast = TracInCPFast(model, layer, train, states, rated, loss_fn=LOSS, batch_size=3)
        with unchanged(model):
            assert torch.allclose(fast.influence(test), scores)
        top = fast.influence(test, k=2, proponents=False)
        assert torch.allclose(top.influence_scores, scores.topk(2, 1, largest=False).values)
    own = sum(r * g.square().sum(1) for r, (_, g) in zip(RATES, gradients, strict=True))
    assert torch.allclose(fast.self_influence(), own)
    stored = TracInCPFastRandProj(model, "3", train, states, rated, loss_fn=LOSS)
    assert torch.allclose(stored.influence(test, k=None), scores)
    for largest in (True, False):
        values, places = scores.topk(2, 1, largest=largest)
        top = stored.influence(test, k=2, proponents=largest)
        assert torch.allclose(top.influence_scores, values)
        assert torch.equal(top.indices, places)
    assert torch.allclose(stored.self_influence(), own)
    assert torch.allclose(
        stored.self_influence(test), stored.compute_intermediate_quantities(test).square().sum(1)
    )


def test_projections_are_right_on_average():
    model, train, test, states, _ = setting()
    scores = truth(last_layer(model, states, test))
    made = [
        TracInCPFastRandProj(
            model, "3", train, states, rated, loss_fn=LOSS, projection_dim=12, seed=seed
        )
        for seed in range(300)
    ]
    assert made[0].compute_intermediate_quantities(test).shape == (3, 24)
    again = TracInCPFastRandProj(
        model, "3", train, states, rated, loss_fn=LOSS, projection_dim=12, seed=7
    )
    assert torch.equal(again.influence(test, k=None), made[7].influence(test, k=None))
    drawn = torch.stack([each.influence(test, k=None) for each in made])
    error = drawn.std(0) / 300**0.5
    assert ((drawn.mean(0) - scores).abs() < 5 * error + 1e-9).all()


def test_neighbours_of_one_s_own():
    class Backwards(NearestNeighbors):
        def setup(self, data):
            self.data = data

        def get_nearest_neighbors(self, query, k):
            scores = query @ self.data.T
            values, places = scores.topk(k, 1)
            return places, values

    model, train, test, states, _ = setting()
    found = [
        TracInCPFastRandProj(
            model, "3", train, states, rated, loss_fn=LOSS, nearest_neighbors=each
        ).influence(test)
        for each in (Backwards(), ExactNearestNeighbors())
    ]
    assert torch.equal(found[0].indices, found[1].indices)
    with pytest.raises(RuntimeError, match="stored vectors"):
        ExactNearestNeighbors().get_nearest_neighbors(torch.ones(1, 2), 1)


def test_neighbours_in_blocks(monkeypatch):
    from captum.influence import neighbors

    torch.manual_seed(0)
    data, query = torch.randn(50, 6), torch.randn(4, 6)
    monkeypatch.setattr(neighbors, "_BLOCK_BYTES", 64)
    exact = ExactNearestNeighbors()
    exact.setup(data)
    places, scores = exact.get_nearest_neighbors(query, 7)
    truth = (query @ data.T).topk(7, 1)
    assert torch.equal(places, truth.indices)
    assert torch.allclose(scores, truth.values)


def test_top_k_of_a_stream():
    torch.manual_seed(0)
    scores = torch.randn(3, 40)
    for largest in (True, False):
        top = TopK(5, largest)
        start = 0
        for part in scores.split([1, 20, 3, 16], 1):
            top.add(start, part)
            start += part.shape[1]
        truth, found = scores.topk(5, 1, largest=largest), top.result(World())
        assert torch.equal(found.indices, truth.indices)
        assert torch.equal(found.influence_scores, truth.values)


def test_the_zoo_is_whole():
    assert len(ZOO) >= 22


def test_test_examples_in_groups(monkeypatch):
    """As many at once as their gradients fit: each group meets the training data."""
    model, train, test, states, gradients = setting("conv2d")
    scores = truth(gradients)
    monkeypatch.setattr(batches, "_HELD_BYTES", 2 * 8 * sum(p.numel() for p in model.parameters()))
    tracin = TracInCP(model, train, states, rated, loss_fn=LOSS, batch_size=2)
    assert torch.allclose(tracin.influence(test), scores)
    top = tracin.influence(test, k=2)
    assert torch.equal(top.indices, scores.topk(2)[1])
    assert torch.allclose(tracin.influence(test, aggregate=True), scores.sum(0, keepdim=True))
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    tracin.influence(test)
    assert len(passes) == len(test[0]) * len(states) * 2, "one test example at a time"
