"""Influence and concepts on several processes: what one process finds, to rounding."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from captum.attr import LayerIntegratedGradients
from captum.concept import TCAV, Concept
from captum.influence import (
    TRAK,
    ArnoldiInfluenceFunction,
    ConjugateGradientInfluence,
    EKFACInfluence,
    NaiveInfluenceFunction,
    SimilarityInfluence,
    TracInCP,
    TracInCPFast,
    TracInCPFastRandProj,
    TracInCPRandProj,
)
from gloo import together

COUNT = 53  # of training examples: odd, for shares of different sizes
LOSS = nn.CrossEntropyLoss(reduction="none")
CURVED = (
    NaiveInfluenceFunction,
    ArnoldiInfluenceFunction,
    ConjugateGradientInfluence,
    EKFACInfluence,
)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double().eval()


def data():
    torch.manual_seed(1)
    return TensorDataset(torch.randn(COUNT, 4).double(), torch.arange(COUNT) % 3)


class Stream(IterableDataset):
    """Nobody knows how long it is."""

    def __iter__(self):
        yield from data()


def influences(folder):
    """Every method, asked everything: tensors by name."""
    model, train = net(), data()
    test = train[40:45]
    states = [net().state_dict(), {k: 0.9 * v for k, v in net().state_dict().items()}]
    here = model.state_dict()
    loader = DataLoader(train, 4)
    tracin = TracInCP(model, loader, states, loss_fn=LOSS)
    found = {
        "tracin": tracin.influence(test),
        "tracin, of tensors": TracInCP(model, train, states, loss_fn=LOSS).influence(test),
        "tracin, a stream": TracInCP(
            model, DataLoader(Stream(), 4), states, loss_fn=LOSS
        ).influence(test),
        "tracin, top": tracin.influence(test, k=20),
        "tracin, opponents": tracin.influence(test, k=60, proponents=False),
        "tracin, together": tracin.influence(test, aggregate=True),
        "tracin, a test loader": tracin.influence(DataLoader(TensorDataset(*test), 2)),
        "tracin, self": tracin.self_influence(),
        "tracin, self of a batch": tracin.self_influence(test),
        "tracin, vectors": tracin.compute_intermediate_quantities(loader),
    }
    fast = TracInCPFast(model, model[2], train, states, loss_fn=LOSS, batch_size=4)
    found |= {"fast": fast.influence(test), "fast, self": fast.self_influence()}
    stored = TracInCPFastRandProj(model, model[2], loader, states, loss_fn=LOSS, projection_dim=6)
    found |= {"stored": stored.influence(test, k=9), "stored, self": stored.self_influence()}
    for name, path in (("memory", None), ("files", folder / "projections")):
        drawn = TracInCPRandProj(
            model, loader, states, loss_fn=LOSS, projection_dim=32, path=path, dtype=torch.float64
        )
        found[f"projections, {name}"] = drawn.influence(test)
        trak = TRAK(
            model, loader, states, projection_dim=8,
            path=path and folder / "trak", dtype=torch.float64,
        )  # fmt: skip
        found[f"trak, {name}"] = trak.influence(test)
        found[f"trak, {name}, self"] = trak.self_influence()
    for kind in CURVED:
        method = kind(model, loader, here, loss_fn=LOSS)
        found[kind.__name__] = method.influence(test)
        found[f"{kind.__name__}, self"] = method.self_influence()
        found[f"{kind.__name__}, top"] = method.influence(test, k=7)
    alike = SimilarityInfluence(
        model, ["0", "1"], TensorDataset(data().tensors[0]), "", batch_size=4
    )
    found |= {f"alike, {k}": v for k, v in alike.influence(test[0], top_k=4).items()}
    return found


def concepts(folder):
    """Concept scores, kept and not."""
    model = net()
    torch.manual_seed(2)
    some = [Concept(i, f"c{i}", (torch.randn(20, 4).double() + i).split(7)) for i in range(4)]
    x = torch.randn(11, 4).double()
    found = {}
    for name, options in {
        "plain": {},
        "kept": {"save_path": str(folder / "cavs")},
        "paths": {"layer_attr_method": LayerIntegratedGradients(model, model[1])},
    }.items():
        torch.manual_seed(3)
        tcav = TCAV(model, ["0", "1"], **options)
        for target in (1, torch.arange(11) % 3):
            scores = tcav.interpret(x, [some[:2], some[1:]], target=target)
            for each, layers in scores.items():
                for layer, values in layers.items():
                    found[f"{name}, {each}, {layer}, {target}"] = tuple(values.values())
    return found


def answers(folder):
    return influences(folder) | concepts(folder)


def _joined(rank, size, folder):
    found = answers(folder)
    torch.save({k: tuple(v) if isinstance(v, tuple) else v for k, v in found.items()},
               folder / f"{rank}.pt")  # fmt: skip


@pytest.mark.parametrize("size", [2, 4])
def test_processes_find_what_one_finds(tmp_path, size):
    (tmp_path / "one").mkdir()
    truth = answers(tmp_path / "one")
    together(size, _joined, tmp_path)
    for rank in range(size):
        made = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert made.keys() == truth.keys()
        for name, values in truth.items():
            pairs = zip(values, made[name], strict=True)
            for a, b in pairs if isinstance(values, tuple) else [(values, made[name])]:
                assert a.shape == b.shape, (rank, name)
                assert torch.allclose(a, b, rtol=1e-6, atol=1e-9), (rank, name)


def _refused(rank, size, folder):
    told = []
    model, train = net(), data()
    states = [model.state_dict()]
    examples = [torch.randn(3, 4).double() + rank]
    for call in (
        lambda: TracInCP(model, DataLoader(train, 4, shuffle=True), states, loss_fn=LOSS).influence(
            train[:3]
        ),
        lambda: TracInCP(model, DataLoader(train, 4), states, loss_fn=LOSS).influence(
            DataLoader(train, 4, shuffle=True)
        ),
        lambda: TCAV(model, "0").interpret(
            torch.randn(3, 4).double(),
            [[Concept(0, "a", examples), Concept(1, "b", examples)]],
            target=0,
        ),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is looked at below
            call()
        told.append(str(caught.value))
    (folder / f"{rank}.txt").write_text("\n".join(told))


def test_what_cannot_be_shared_says_so_in_every_process(tmp_path):
    together(2, _refused, tmp_path)
    for rank in range(2):
        told = (tmp_path / f"{rank}.txt").read_text()
        assert told.count("share the work by themselves") == 2
        assert "the same examples of concepts" in told
