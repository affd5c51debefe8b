"""Influence and concepts on several processes: what one process finds, to rounding."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from captum.attr import LayerGradientShap, LayerIntegratedGradients
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
        assert told.count("share the work by themselves") == 3
        assert "another examples of concepts" in told


class Normed(nn.Module):
    """Has buffers, which a pass of DistributedDataParallel would send."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.n, self.b = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x):
        return self.b(self.n(self.a(x)).relu())


def wrapped(model, state):
    """Influence under a wrapper; of few examples, so that not all processes make as many passes."""
    few, test = DataLoader(TensorDataset(*data()[:9]), 1), data()[40:43]
    layer = getattr(model, "module", model).b
    return [
        TracInCP(model, few, [state], loss_fn=LOSS).influence(test),
        TracInCP(model, few, [state], layers=["b"], loss_fn=LOSS).self_influence(),
        TracInCPFast(model, layer, few, [state], loss_fn=LOSS).influence(test),
        TRAK(model, few, [state], projection_dim=4).influence(test),
        EKFACInfluence(model, few, state, loss_fn=LOSS).influence(test),
        ConjugateGradientInfluence(model, few, state, loss_fn=LOSS, damping=1).influence(test),
    ]


def _wrapped(rank, size):
    plain = Normed().double().eval()
    truth = wrapped(plain, plain.state_dict())
    model = DistributedDataParallel(Normed().double().eval())
    for state in (plain.state_dict(), model.state_dict()):
        for a, b in zip(wrapped(model, state), truth, strict=True):
            assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)


def test_a_replicated_model_is_the_one_inside():
    together(2, _wrapped)


def _mistaken(rank, size, folder):
    """What goes wrong in one process, or differs, is told to all and leaves no trace."""
    model, train = net(), data()
    states, test = [model.state_dict()], train[40:43]
    truth = TracInCP(model, train, states, loss_fn=LOSS)
    good = truth.influence(test)

    def failing(output, labels):
        if rank == 1:
            raise KeyError("a label")
        return LOSS(output, labels)

    for bad in (
        lambda: TracInCP(model, train, states, loss_fn=failing).influence(test),
        lambda: TracInCP(model, train, states, loss_fn=failing).self_influence(),
        lambda: EKFACInfluence(model, train, states[0], loss_fn=failing),
        lambda: TracInCPRandProj(model, train, states, loss_fn=failing, projection_dim=4),
    ):
        kind, words = (KeyError, "a label") if rank == 1 else (RuntimeError, "lost another")
        with pytest.raises(kind, match=words):
            bad()
        assert torch.equal(truth.influence(test), good), "the next call is not disturbed"

    x, y = train.tensors
    part = TensorDataset(x[rank::2], y[rank::2])
    other = {key: value + rank for key, value in states[0].items()}
    trak = TRAK(model, DataLoader(train, 4), states, projection_dim=4)
    shuffled = DataLoader(train, 4, shuffle=True)
    some = [Concept(i, f"c{i}", (x[:9] + i).split(4)) for i in range(2)]
    for bad, words in (
        (lambda: truth.influence((x[rank : rank + 3], y[:3])), "another test examples"),
        (lambda: TracInCP(model, part, states, loss_fn=LOSS).influence(test), "of the data"),
        (lambda: TracInCP(model, train, [other], loss_fn=LOSS).influence(test), "checkpoints"),
        (lambda: trak.influence(shuffled), "the data's order"),
        (lambda: TCAV(model, ["0"]).interpret(x[rank:9], [some], target=0), "another inputs"),
    ):
        with pytest.raises(ValueError, match=words):
            bad()
    assert torch.equal(truth.influence(test), good)

    def projected(batch_size):
        loader = DataLoader(many, batch_size)
        return TracInCPRandProj(
            model, loader, states, loss_fn=LOSS, projection_dim=4, path=folder / "p"
        ).influence(test)

    torch.manual_seed(0)
    many = TensorDataset(torch.randn(5000, 4).double(), torch.arange(5000) % 3)
    first = projected(256)
    with pytest.raises(ValueError, match=r"a folder for these results|in one file of"):
        projected(300)
    assert torch.equal(projected(256), first), "a mistake writes nothing"

    torch.manual_seed(rank)
    drawn = TCAV(model, ["0"], layer_attr_method=LayerGradientShap(model, model[0]))
    found = drawn.interpret(x[:9], [some], target=0, baselines=x[20:30])["0-1"]["0"]["magnitude"]
    torch.save(found, folder / f"drawn-{rank}.pt")


def test_mistakes_are_told_to_all(tmp_path):
    together(2, _mistaken, tmp_path)
    one, two = (torch.load(tmp_path / f"drawn-{rank}.pt") for rank in (0, 1))
    assert torch.equal(one, two)


def test_nothing_to_ask_and_nothing_to_ask_of():
    model, train = net(), data()
    states = [model.state_dict()]
    empty = TensorDataset(*train[:0])
    with pytest.raises(ValueError, match="at least one training example"):
        TracInCP(model, empty, states, loss_fn=LOSS).influence(train[:2])
    with pytest.raises(ValueError, match="at least one test example"):
        TracInCP(model, train, states, loss_fn=LOSS).influence(train[:0])


def test_loaders_leave_the_global_generator_alone():
    model, loader = net(), DataLoader(data(), 4)
    before = torch.get_rng_state()
    EKFACInfluence(model, loader, model.state_dict(), loss_fn=LOSS).influence(data()[:2])
    TracInCP(model, loader, [model.state_dict()], loss_fn=LOSS).influence(DataLoader(data(), 4))
    assert torch.equal(before, torch.get_rng_state())


def test_questions_together_are_read_once_for_each_checkpoint():
    model, read = net(), []

    class Counted(TensorDataset):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    states = [model.state_dict()] * 2
    tracin = TracInCP(model, data(), states, loss_fn=LOSS)
    tracin.influence(DataLoader(Counted(*data()[:5]), 2), aggregate=True)
    assert sorted(read) == sorted([*range(5), *range(5)])
