"""Concept scores beside a literal twin; planted concepts; stores that are never stale or broken."""

import copy
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum._engine import store
from captum.attr import LayerIntegratedGradients
from captum.concept import (
    CAV,
    TCAV,
    Classifier,
    Concept,
    CustomIterableDataset,
    DefaultClassifier,
    dataset_to_dataloader,
)
from captum.concept.classifier import FITS
from captum.concept.significance import holm, outlying


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6), nn.Tanh(), nn.Linear(6, 3)
    ).double()


def concepts(count=3, size=20):
    return [Concept(i, f"c{i}", (numbers(size, 1, 6, 6) + i).split(7)) for i in range(count)]


class Means(Classifier):
    """The mean of a class less that of the others: nothing is drawn."""

    def __init__(self):
        self.trained = 0

    def train_and_eval(self, dataloader, **kwargs):
        values, labels = (torch.cat(list(part)) for part in zip(*dataloader, strict=True))
        self.found = sorted(set(labels.tolist()))
        self.rows = torch.stack(
            [values[labels == c].mean(0) - values[labels != c].mean(0) for c in self.found]
        )
        Means.count = getattr(Means, "count", 0) + 1
        return {"accs": 0.5}

    def weights(self):
        return self.rows

    def classes(self):
        return self.found


def twin(model, upto, inputs, each, target):
    """S = ∇f · v for every input and concept, one at a time."""
    values = [
        torch.stack([model[:upto](x[None]).flatten() for batch in c.data_iter for x in batch])
        for c in each
    ]
    found = []
    for i in range(len(each)):
        others = torch.cat([v for j, v in enumerate(values) if j != i])
        vector = (values[i].mean(0) - others.mean(0)).detach()
        slopes = []
        for x in inputs:
            layer = model[:upto](x[None]).detach().requires_grad_()
            (slope,) = torch.autograd.grad(model[upto:](layer)[0, target], layer)
            slopes.append((slope.flatten() @ vector).item())
        found.append(torch.tensor(slopes, dtype=torch.float64))
    return torch.stack(found, 1)


@pytest.mark.parametrize("as_modules", [False, True])
def test_scores_beside_a_twin(as_modules, unchanged):
    model, inputs = net(), numbers(9, 1, 6, 6)
    a, b, c = concepts()
    layers = [model[1], model[4]] if as_modules else ["1", "4"]
    tcav = TCAV(model, layers, classifier=Means())
    with unchanged(model, inputs):
        found = tcav.interpret(inputs, [[a, b], [c, b, a]], target=1)
    assert set(found) == {"0-1", "2-1-0"}
    for each, name in (([a, b], "0-1"), ([c, b, a], "2-1-0")):
        for layer, upto in (("1", 2), ("4", 5)):
            along = twin(model, upto, inputs, each, 1)
            scores = found[name][layer]
            assert torch.allclose(scores["sign_count"], (along > 0).double().mean(0))
            assert torch.allclose(scores["magnitude"], along.mean(0))
    assert not os.path.exists("cav"), "nothing is written unless it is asked for"


def test_another_attribution_and_the_input_of_a_layer():
    model, inputs = net(), numbers(5, 1, 6, 6)
    a, b, _ = concepts()
    method = LayerIntegratedGradients(model, model[1], multiply_by_inputs=False)
    tcav = TCAV(model, "4", classifier=Means(), layer_attr_method=method)
    found = tcav.interpret(inputs, [[a, b]], target=0, n_steps=5)["0-1"]["4"]
    vectors = tcav.cavs["0-1"]["4"].weights
    slopes = LayerIntegratedGradients(model, model[4], multiply_by_inputs=False).attribute(
        inputs, target=0, n_steps=5
    )
    assert torch.allclose(found["magnitude"], (slopes @ vectors.T).mean(0))
    before = TCAV(model, "4", classifier=Means(), attribute_to_layer_input=True)
    after = TCAV(model, "3", classifier=Means())
    one = before.interpret(inputs, [[a, b]], target=0)["0-1"]["4"]
    two = after.interpret(inputs, [[a, b]], target=0)["0-1"]["3"]
    assert torch.allclose(one["magnitude"], two["magnitude"])


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.out = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 2)

    def forward(self, left, right):
        return self.out(torch.tanh(self.left(left) + self.right(right)))


def test_tuples_dicts_and_labels_in_batches():
    torch.manual_seed(0)
    model = Pairs().double()
    rows = [(numbers(4, 3), numbers(4, 2)), (numbers(3, 3), numbers(3, 2))]
    named = [{"left": a, "right": b} for a, b in rows]
    tuples = [Concept(0, "a", rows), Concept(1, "b", [rows[0][::1]])]
    dicts = [Concept(0, "a", named), Concept(1, "b", [named[0]])]
    inputs = rows[0]
    first, second = (
        TCAV(model, "left", classifier=Means()).interpret(inputs, [each], target=0)
        for each in (tuples, dicts)
    )
    assert torch.allclose(first["0-1"]["left"]["magnitude"], second["0-1"]["left"]["magnitude"])
    labelled = DataLoader(TensorDataset(numbers(6, 1, 6, 6), torch.arange(6)), batch_size=4)
    plain = Concept(0, "a", [batch for batch, _ in labelled])
    other = Concept(1, "b", [numbers(5, 1, 6, 6)])
    scores = [
        TCAV(net(), "4", classifier=Means()).interpret(numbers(2, 1, 6, 6) * 0, [[c, other]], 0)
        for c in (plain, Concept(0, "a", labelled))
    ]
    assert torch.equal(scores[0]["0-1"]["4"]["magnitude"], scores[1]["0-1"]["4"]["magnitude"])


# ------------------------------------------------------------------------- classifiers


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("classes", [2, 4])
def test_classifiers_find_the_planted_direction(fit, classes):
    torch.manual_seed(0)
    labels = torch.arange(200) % classes
    values = numbers(200, 30)
    values[:, 0] += 0.5 * torch.randn(200)
    for c in range(classes):
        values[labels == c, c + 3] += 5
    classifier = DefaultClassifier(fit=fit)
    halves = [(values[:90], labels[:90] + 10), (values[90:], labels[90:] + 10)]
    found = classifier.train_and_eval(halves, generator=torch.Generator().manual_seed(0))
    assert found["accs"] > 0.95
    assert classifier.classes() == list(range(10, 10 + classes))
    weights = classifier.weights()
    assert weights.shape == (classes, 30)
    assert weights.argmax(1).tolist() == [c + 3 for c in range(classes)]
    if classes == 2:
        assert torch.equal(weights[0], -weights[1])


def test_ridge_and_logistic_are_scikit_s():
    torch.manual_seed(0)
    values, labels = numbers(40, 60), torch.arange(40) % 2
    values[:, 0] += 2 * labels
    scale = (values - values.mean(0)).square().sum(1).mean().item()
    for fit, penalty in (("ridge", 0.3), ("logistic", 0.3)):
        classifier = DefaultClassifier(fit=fit, penalty=penalty)
        classifier.train_and_eval([(values, labels)], test_split_ratio=0)
        ours = classifier.weights()[1]
        centred = (values - values.mean(0)).numpy()
        if fit == "ridge":
            other = RidgeClassifier(alpha=penalty * scale, fit_intercept=False)
            theirs = other.fit(centred, labels.numpy()).coef_.ravel()
        else:
            other = LogisticRegression(
                C=1 / (penalty * scale), fit_intercept=False, tol=1e-12, max_iter=10_000
            )
            theirs = other.fit(centred, labels.numpy()).coef_.ravel()
        assert np.allclose(ours.numpy(), theirs, atol=1e-6 * np.abs(theirs).max() + 1e-9)


def test_scikit_learn_s_classifiers_work():
    class Regression(Classifier):
        def train_and_eval(self, dataloader, **kwargs):
            values, labels = (torch.cat(list(part)) for part in zip(*dataloader, strict=True))
            self.model = LogisticRegression(C=0.1).fit(values.numpy(), labels.numpy())
            return {"accs": self.model.score(values.numpy(), labels.numpy())}

        def weights(self):
            row = torch.as_tensor(self.model.coef_)
            return torch.cat([-row, row]) if len(row) == 1 else row

        def classes(self):
            return self.model.classes_

    a, b, c = concepts()
    tcav = TCAV(net(), "4", classifier=Regression())
    found = tcav.interpret(numbers(5, 1, 6, 6), [[b, a], [a, b, c]], target=0)
    assert found["1-0"]["4"]["sign_count"].sum() == 1
    assert tcav.cavs["0-1-2"]["4"].weights.shape == (3, 6)


# ---------------------------------------------------------------------------- the planted one


def striped(count, seed, concept):
    """Noise; or noise with stripes, which the model's first class is about."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(count, 1, 8, 8, generator=generator)
    if concept:
        pictures += 1.5 * (torch.arange(8) % 2 * 2 - 1)
    return pictures


def trained():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 2)
    )
    inputs = torch.cat([striped(150, 0, True), striped(150, 1, False)])
    labels = torch.arange(300) // 150
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    return model.eval()


def margin(output):
    return output[:, 0] - output[:, 1]


def test_the_planted_concept_means_something_and_a_random_one_does_not():
    model = trained()
    stripes = Concept(0, "stripes", [striped(150, 2, True)])
    noise = Concept(1, "noise", [striped(150, 3, False)])
    randoms = [Concept(10 + i, f"random {i}", [striped(150, 20 + i, False)]) for i in range(10)]
    tcav = TCAV(model, "0", classifier=DefaultClassifier(fit="logistic"))
    torch.manual_seed(0)
    found = tcav.test(striped(60, 5, True), [stripes, noise], randoms, target=margin)
    assert found.significant()[0].all()
    assert not found.significant()[1].any()
    assert (found.scores[0].mean(-1) > 0.9).all()
    assert found.scores.shape == (2, 1, 10)
    assert found.random.shape == (1, 10)
    figure, axes = found.plot()
    figure.canvas.draw()
    assert len(axes.texts) == 1
    with pytest.raises(ValueError, match="at least 3 random concepts"):
        tcav.test(striped(3, 5, True), [stripes], randoms[:2], target=0)


def test_outliers_and_corrections():
    torch.manual_seed(0)
    others = torch.rand(400, 10)
    chances = outlying(torch.rand(400), others)
    assert 0.4 < float(chances.mean()) < 0.6, "about uniform, where nothing is there"
    assert float((chances < 0.05).float().mean()) < 0.1
    assert outlying(torch.tensor(1.0), torch.full((10,), 0.5)) < 1e-6
    assert outlying(torch.tensor(0.5), torch.full((10,), 0.5)) == 1
    assert holm(torch.tensor([0.2, 0.01])).tolist() == pytest.approx([0.2, 0.02])


# ------------------------------------------------------------------------------ what is kept


def test_what_is_kept_is_never_stale(tmp_path):
    model, inputs = net(), numbers(4, 1, 6, 6)
    examples = [numbers(20, 1, 6, 6), numbers(20, 1, 6, 6) + 1]
    Means.count = 0

    def scores(model, examples):
        each = [Concept(i, f"c{i}", [x]) for i, x in enumerate(examples)]
        tcav = TCAV(model, "4", classifier=Means(), save_path=str(tmp_path))
        return tcav.interpret(inputs, [each], target=0)["0-1"]["4"]["magnitude"]

    first = scores(model, examples)
    assert Means.count == 1
    assert torch.equal(scores(model, examples), first)
    assert Means.count == 1, "nothing has changed: the stored vectors serve"
    other = [examples[0], examples[1] + 1]
    changed = scores(model, other)
    assert Means.count == 2
    fresh = TCAV(model, "4", classifier=Means())
    each = [Concept(i, f"c{i}", [x]) for i, x in enumerate(other)]
    assert torch.equal(changed, fresh.interpret(inputs, [each], target=0)["0-1"]["4"]["magnitude"])
    model[3].weight.data += 0.1
    assert not torch.equal(scores(model, other), changed)
    assert Means.count == 4


def test_a_concept_that_changes_in_memory():
    model, inputs = net(), numbers(4, 1, 6, 6)
    examples = numbers(20, 1, 6, 6)
    each = [Concept(0, "a", [examples]), Concept(1, "b", [numbers(20, 1, 6, 6)])]
    tcav = TCAV(model, "4", classifier=Means())
    first = tcav.interpret(inputs, [each], target=0)["0-1"]["4"]["magnitude"]
    examples += 1
    second = tcav.interpret(inputs, [each], target=0)["0-1"]["4"]["magnitude"]
    assert not torch.equal(first, second)
    again = tcav.compute_cavs([each], force_train=True)
    assert again is tcav.cavs


def test_stored_vectors_score_new_inputs(tmp_path):
    model, inputs = net(), numbers(4, 1, 6, 6)
    a, b, c = concepts()
    kept = TCAV(model, ["1", "4"], classifier=Means(), save_path=str(tmp_path))
    scores = kept.interpret(inputs, [[a, b]], target=0)
    stored = [Concept(0, "c0", None), Concept(1, "c1", None)]
    later = TCAV(model, ["1", "4"], save_path=str(tmp_path))
    found = later.interpret(inputs, [stored], target=0)
    for layer in ("1", "4"):
        assert torch.equal(found["0-1"][layer]["magnitude"], scores["0-1"][layer]["magnitude"])
    cav = CAV.load(str(tmp_path), "default_model_id", stored, "4")
    assert cav.stats["accs"].item() == 0.5
    assert CAV.load(str(tmp_path), "default_model_id", [a, c], "4") is None
    missing, by_concept = later.load_cavs([a, c])
    assert missing == ["1", "4"]
    assert by_concept == {a: missing, c: missing}
    with pytest.raises(ValueError, match="data_iter=None"):
        later.interpret(inputs, [[Concept(7, "x", None), Concept(8, "y", None)]], target=0)
    with pytest.raises(ValueError, match=r"vectors of \['stripes', 'c1'\]"):
        CAV.load(str(tmp_path), "default_model_id", [Concept(0, "stripes", None), b], "4")
    with pytest.raises(ValueError, match="vectors to save"):
        CAV([a, b], "4").save()
    CAV.create_cav_dir_if_missing(str(tmp_path / "new"), "m")
    assert (tmp_path / "new" / "m").is_dir()


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"\x80\x04pickle"])
def test_broken_and_foreign_stores_say_so(tmp_path, content):
    model, inputs = net(), numbers(4, 1, 6, 6)
    a, b, _ = concepts()
    tcav = TCAV(model, "4", save_path=str(tmp_path))
    tcav.interpret(inputs, [[a, b]], target=0)
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(content)
    with pytest.raises(ValueError, match="a file that captum wrote"):
        TCAV(model, "4", save_path=str(tmp_path)).interpret(inputs, [[a, b]], target=0)


def test_another_program_s_tensors_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="another program's file"):
        store.read(tmp_path / "x.safetensors")


def _write_for_ever(folder):
    torch.set_num_threads(1)
    store.write(Path(folder) / "one.safetensors", {"x": torch.zeros(3_000_000)}, {"n": 0})
    Path(folder, "ready").touch()
    n = 0
    while True:
        n += 1
        made = {"x": torch.full((3_000_000,), float(n))}
        store.write(Path(folder) / "one.safetensors", made, {"n": n})


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    """The file is the last one that was finished, never a half of the next."""
    context = multiprocessing.get_context("spawn")
    for _ in range(3):
        process = context.Process(target=_write_for_ever, args=(str(tmp_path),))
        process.start()
        end = time.monotonic() + 60
        while not (tmp_path / "ready").exists() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.03)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        found, about = store.read(tmp_path / "one.safetensors")
        assert (found["x"] == about["n"]).all()
        (tmp_path / "ready").unlink()


# ------------------------------------------------------------------------------- at the door


def test_bad_input():
    a, *_ = concepts()
    with pytest.raises(ValueError, match="modules of the model"):
        TCAV(net(), "layer4")
    with pytest.raises(ValueError, match="at least one layer"):
        TCAV(net(), [])
    tcav = TCAV(net(), "4")
    for bad in ([[a]], [[a, copy.copy(a)]], []):
        with pytest.raises(ValueError, match="concepts"):
            tcav.interpret(numbers(2, 1, 6, 6), bad, target=0)
    with pytest.raises(ValueError, match="examples of"):
        tcav.interpret(numbers(2, 1, 6, 6), [[a, Concept(5, "empty", [])]], target=0)
    with pytest.raises(TypeError, match="batches of tensors"):
        tcav.interpret(numbers(2, 1, 6, 6), [[a, Concept(5, "words", ["word"])]], target=0)
    with pytest.raises(ValueError, match="one of 'ridge'"):
        DefaultClassifier(fit="forest")
    with pytest.raises(RuntimeError, match="a trained classifier"):
        DefaultClassifier().weights()
    with pytest.raises(ValueError, match="at least two classes"):
        DefaultClassifier().train_and_eval([(numbers(4, 2), torch.zeros(4))])


def test_activations_can_be_made_ahead():
    a, b, _ = concepts()
    tcav = TCAV(net(), ["1", "4"], classifier=Means())
    tcav.generate_activation("4", a)
    tcav.generate_activations({b: ["4"]})
    tcav.compute_cavs([[a, b]])
    tcav.generate_all_activations()
    assert tcav.concepts == {a, b}


def test_files_as_examples(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(str(i))
    (tmp_path / "9.csv").write_text("9")

    def read(path):
        return torch.tensor([float(Path(path).read_text())])

    everything = CustomIterableDataset(read, str(tmp_path))
    assert [x.item() for x in everything] == [0, 1, 2, 9]
    some = CustomIterableDataset(read, str(tmp_path / "*.txt"))
    batches = list(dataset_to_dataloader(some, batch_size=2))
    assert [batch.tolist() for batch in batches] == [[[0], [1]], [[2]]]
    with pytest.raises(FileNotFoundError, match="a folder with files"):
        CustomIterableDataset(read, str(tmp_path / "*.png"))


def test_several_examples_in_a_file(tmp_path):
    """As of a table: the function is a generator, over one file or each of a folder's."""
    for name, lines in (("a.csv", "1\n2\n"), ("b.csv", "3\n")):
        (tmp_path / name).write_text(lines)

    def read(path):
        for line in Path(path).read_text().split():
            yield torch.tensor([float(line)])

    one = dataset_to_dataloader(CustomIterableDataset(read, str(tmp_path / "a.csv")), batch_size=1)
    assert [x.item() for x in one] == [1, 2]
    assert [x.item() for x in CustomIterableDataset(read, str(tmp_path))] == [1, 2, 3]
