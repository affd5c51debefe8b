"""Projections beside their matrix written out; what is kept survives a kill, and is never mixed."""

import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from captum._engine.per_sample import sketch as sketches
from captum._engine.per_sample.factors import inner
from captum._engine.per_sample.sketch import Sketch
from captum._engine.per_sample.source import GradientSource
from captum._engine.ranks import World
from captum._engine.shards import InMemory, Shards
from captum.influence import TRAK, TracInCP, TracInCPRandProj, projected
from captum.influence.trak import margin

from .zoo import ZOO, entry, one_by_one

LOSS = nn.CrossEntropyLoss(reduction="none")


def matrix(sketch):
    """R, (K, P): entry (i, j) goes to h(i) + h'(j) modulo K, with both signs."""
    columns = []
    for places in sketch._places.values():
        h, s = places.row_places, places.row_signs
        g, r = places.column_places, places.column_signs
        for i, j in itertools.product(range(len(h)), range(len(g))):
            column = torch.zeros(sketch.size, dtype=torch.float64)
            column[(h[i] + g[j]) % sketch.size] = s[i] * r[j]
            columns.append(column)
    return torch.stack(columns, 1)


@pytest.mark.parametrize("transforms", [True, False])
@pytest.mark.parametrize("name", ZOO)
def test_the_matrix_written_out(name, transforms, monkeypatch):
    """Both ways of an outer product, and rows that were looked up, give R v."""
    monkeypatch.setattr(sketches, "_pays", lambda factor, size: transforms)
    monkeypatch.setattr(sketches, "_BYTES", 8 * 64 * 3)  # a few examples at a time
    model, batch = entry(name)
    source = GradientSource(model, LOSS)
    sketch = Sketch(source.parameters, 64, seed=3)
    found = sketch.of(source.factors(batch))
    assert torch.allclose(found, one_by_one(model, LOSS, batch) @ matrix(sketch).T, atol=1e-9)


def test_inner_products_are_kept_on_average():
    """Without bias; and with K = 4096 in their order."""
    model, batch = entry("mlp")
    source = GradientSource(model, LOSS)
    found = source.factors(batch)
    exact = inner(found, found)
    made = torch.stack([_products(source, found, 16, seed) for seed in range(2000)])
    error = made.std(0) / len(made) ** 0.5
    assert ((made.mean(0) - exact).abs() < 5 * error).all()


def test_order_is_kept_on_digits():
    """Spearman's correlation with exact inner products, K = 4096, of a net that has learnt."""
    torch.manual_seed(0)
    digits = load_digits()
    inputs, labels = torch.tensor(digits.data).float() / 16, torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[:1500]), labels[:1500]).backward()
        optimizer.step()
    source = GradientSource(model, LOSS)
    rows = type(entry("mlp")[1])((inputs,), {}, labels)
    train, test = (source.factors(rows.narrow(*part)) for part in ((0, 1500), (1500, 100)))
    sketch = Sketch(source.parameters, 4096)
    made = sketch.of(test) @ sketch.of(train).T
    assert spearmanr(made.flatten(), inner(test, train).flatten())[0] > 0.95


def _products(source, found, size, seed):
    vectors = Sketch(source.parameters, size, seed).of(found)
    return vectors @ vectors.T


# ---------------------------------------------------------------------------- the methods


def net():
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def setting(count=40):
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(count, 5).double(), torch.arange(count) % 3)
    states = [net().state_dict(), net().state_dict()]
    return net(), data, [{"model_state_dict": s, "learning_rate": 0.5 + i} for i, s in
                         enumerate(states)]  # fmt: skip


def gradients(states, loss, inputs, targets):
    found = []
    for state in states:
        model = net()
        model.load_state_dict(state["model_state_dict"])
        batch = type(entry("mlp")[1])((inputs,), {}, targets)
        found.append((one_by_one(model, loss, batch), model(inputs).detach()))
    return found


EXACT = {"projection_dim": 30_000, "dtype": torch.float64, "seed": 5}


def test_tracin_of_projections(unchanged):
    """Σ_c η_c ⟨R g, R g'⟩; with half precision, nearly so; and near TracIn itself."""
    model, data, states = setting()
    test = data[:4]
    tracin = TracInCPRandProj(model, data, states, loss_fn=LOSS, **EXACT)
    sketch = matrix(tracin._sketch)
    there = gradients(states, LOSS, *data[:])
    truth = sum(
        state["learning_rate"] * (g[:4] @ sketch.T) @ (g @ sketch.T).T
        for state, (g, _) in zip(states, there, strict=True)
    )
    with unchanged(model, test):
        found = tracin.influence(test)
    assert torch.allclose(found, truth)
    own = tracin.self_influence()
    assert torch.allclose(own[:4], truth.diagonal())
    assert torch.allclose(tracin.self_influence(test), own[:4])
    vectors = tracin.compute_intermediate_quantities(test)
    assert [tuple(v.shape) for v in vectors] == [(4, 30_000)] * 2
    top = tracin.influence(test, k=3)
    assert torch.allclose(top.influence_scores, truth.topk(3)[0])
    half = TracInCPRandProj(model, data, states, loss_fn=LOSS, projection_dim=30_000, seed=5)
    assert torch.allclose(half.influence(test), truth, atol=1e-3 * truth.abs().max())
    exact = TracInCP(model, data, states, loss_fn=LOSS).influence(test)
    assert (found - exact).abs().max() < 0.05 * exact.abs().max()


def test_trak_written_out():
    """(1/C Σ φ' (ΦᵀΦ + ρ mean)⁻¹ φ) · (1/C Σ 1 - p), of the margin's gradients."""
    model, data, states = setting()
    options = {"projection_dim": 16, "dtype": torch.float64, "seed": 5}
    trak = TRAK(model, data, states, damping=0.2, **options)
    sketch = matrix(trak._sketch)
    inputs, targets = data[:]

    def right(output, targets):
        p = output.softmax(-1).gather(1, targets[:, None])[:, 0]
        return p.log() - (1 - p).log()

    met, left = [], []
    for g, output in gradients(states, right, inputs, targets):
        phi = g @ sketch.T
        gram = phi.T @ phi
        gram += 0.2 * gram.diagonal().mean() * torch.eye(16).double()
        met.append(phi[:5] @ torch.linalg.inv(gram) @ phi.T)
        left.append(1 - output.softmax(-1).gather(1, targets[:, None])[:, 0])
    truth = torch.stack(met).mean(0) * torch.stack(left).mean(0)
    assert torch.allclose(trak.influence(data[:5]), truth)
    assert torch.allclose(trak.self_influence()[:5], truth.diagonal())
    assert torch.allclose(trak.self_influence(data[:5]), truth.diagonal())


def test_margins():
    logits, targets = torch.randn(6, 4).double(), torch.tensor([0, 1, 2, 3, 0, 1])
    p = logits.softmax(1).gather(1, targets[:, None])[:, 0]
    assert torch.allclose(margin(logits, targets), p.log() - (1 - p).log())
    one, sides = logits[:, :1], torch.tensor([0.0, 1, 1, 0, 1, 0]).double()[:, None]
    p = torch.where(sides > 0, one.sigmoid(), 1 - one.sigmoid())[:, 0]
    assert torch.allclose(margin(one, sides), p.log() - (1 - p).log())
    with pytest.raises(ValueError, match="output_fn"):
        margin(logits, torch.zeros(6, 2))
    with pytest.raises(TypeError, match="output_fn"):
        margin(logits, [0, 1])


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (TracInCPRandProj, {"projection_dim": 0}, "projection_dim"),
        (TRAK, {"damping": 0}, "damping"),
    ],
)
def test_bad_options(method, options, message):
    model, data, states = setting()
    with pytest.raises(ValueError, match=message):
        method(model, data, states, **options)


# ------------------------------------------------------------------------- what is kept


class Slow(Dataset):
    """Examples that take their time, and count how often they were asked for."""

    def __init__(self, data, seconds):
        self.data, self.seconds, self.asked = data, seconds, 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        time.sleep(self.seconds)
        self.asked += 1
        return self.data[index]


def made(folder, seconds=0.0, method=TracInCPRandProj, **options):
    projected._SHARD = 8
    model, data, states = setting(100)
    slow = DataLoader(Slow(data, seconds), 4)
    given = {"loss_fn": LOSS} if method is TracInCPRandProj else {}
    options = {"projection_dim": 16, "path": folder, **given, **options}
    return method(model, slow, states, **options)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(projected, "_SHARD", 8)


def _run(folder):
    torch.set_num_threads(1)
    made(folder, seconds=0.004)


@pytest.mark.parametrize("method", [TracInCPRandProj, TRAK])
def test_kept_is_what_was_in_memory(tmp_path, method):
    test = setting(100)[1][:3]
    kept = made(tmp_path, method=method).influence(test)
    assert torch.equal(kept, made(None, method=method).influence(test))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = made(tmp_path, method=method).influence(test)
    assert torch.equal(again, kept)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_killed_run_goes_on(tmp_path):
    """Killed at any moment: what is there is whole, is kept, and the scores are the same."""
    context = multiprocessing.get_context("spawn")
    for few in (1, 4, 9):
        process = context.Process(target=_run, args=(tmp_path,))
        process.start()
        end = time.monotonic() + 60
        while len(list(tmp_path.rglob("*.safetensors"))) < few and time.monotonic() < end:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    there = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert 9 <= len(there) < 26
    test = setting(100)[1][:3]
    assert torch.equal(made(tmp_path).influence(test), made(None).influence(test))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 26
    assert all(path.stat().st_mtime_ns == then for path, then in there.items())
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"projection_dim": 8}, {"layers": ["2"]}, {"dtype": torch.float32},
              {"method": TRAK}, {"loss_fn": nn.MultiMarginLoss(reduction="none")}]
)  # fmt: skip
def test_what_is_of_something_else_is_refused(tmp_path, other):
    made(tmp_path)
    with pytest.raises(ValueError, match="another folder, or delete this one"):
        made(tmp_path, **other)


def test_another_model_or_other_data_are_refused(tmp_path):
    model, data, states = setting()
    options = {"loss_fn": LOSS, "path": tmp_path, "projection_dim": 8}
    TracInCPRandProj(model, data, states, **options)
    with pytest.raises(ValueError, match="model"):
        TracInCPRandProj(model, data, states[::-1], **options)
    with pytest.raises(ValueError, match="first examples"):
        TracInCPRandProj(model, TensorDataset(*(t.flip(0) for t in data[:])), states, **options)
    with pytest.raises(ValueError, match="examples"):
        TracInCPRandProj(model, TensorDataset(*data[:30]), states, **options)


@pytest.mark.parametrize("which", ["*.safetensors", "manifest.json"])
@pytest.mark.parametrize("content", [b"", b"no such thing", b'{"a": 1}'])
def test_broken_files_say_so(tmp_path, which, content):
    tracin = made(tmp_path)
    for path in tmp_path.rglob(which):
        path.write_bytes(content)
    with pytest.raises(ValueError, match="a file that captum wrote"):
        tracin.influence(setting(100)[1][:3]) if which != "manifest.json" else made(tmp_path)


def test_rows_come_back_in_order(tmp_path):
    about = {"what": "numbers"}
    parts = dict(zip((0, 8, 16), torch.arange(23).split(8), strict=True))
    for kept in (InMemory(), Shards(tmp_path / "x", about)):
        for start in (16, 0, 8):
            assert not kept.has(start, start + len(parts[start]))
            kept.put(start, {"x": parts[start]})
        found = list(kept.mine(World()))
        assert [start for start, _ in found] == [0, 8, 16]
        assert torch.equal(torch.cat([rows["x"] for _, rows in found]), torch.arange(23))
    shards = Shards(tmp_path / "x", about)
    assert [start for start, _ in shards.mine(World(1, 2))] == [8], "processes take turns"
    Path(tmp_path / "x" / "000000000008-000000000016.safetensors").unlink()
    shards = Shards(tmp_path / "x", about)
    assert [shards.has(s, e) for s, e in ((0, 8), (8, 16), (16, 23))] == [True, False, True]
