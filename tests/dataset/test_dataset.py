"""A data set's scores equal a loop's; a killed run goes on; processes share the work."""

import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    default_collate,
)

from captum._engine import store
from captum._engine.plan import Missing
from captum._engine.ranks import World
from captum._engine.shards import Shards
from captum.attr import (
    Attributions,
    ClassSummarizer,
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    Layer,
    LayerActivation,
    Lime,
    Max,
    Mean,
    Neuron,
    NoiseTunnel,
    Saliency,
    ShapleyValueSampling,
    StdDev,
    Summarizer,
    attribute_dataset,
    estimate_dataset,
    get_exp_kernel_similarity_function,
)
from captum.attr.summary import Stat
from captum.linear import Ridge
from gloo import together


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).eval()


def data(count=50):
    torch.manual_seed(1)
    return TensorDataset(torch.randn(count, 4), torch.arange(count) % 3)


def loader(count=50, size=8):
    return DataLoader(data(count), size)


# ------------------------------------------------------------------------------ equal a loop


def test_equal_to_all_at_once(tmp_path, unchanged):
    model, (x, y) = net(), data().tensors
    method = IntegratedGradients(model)
    with unchanged(model, x):
        found = attribute_dataset(
            method, loader(), tmp_path / "s", target="labels", block=20, n_steps=10
        )
    truth = method.attribute(x, target=y, n_steps=10)
    assert torch.allclose(found.scores(), truth, atol=1e-6)
    assert torch.equal(found.targets(), y)
    assert len(found) == 50
    assert torch.allclose(found[13], truth[13], atol=1e-6)
    assert torch.equal(found[-1], found[49])
    with pytest.raises(IndexError, match="example 50 of 50"):
        found[50]
    batch = next(iter(DataLoader(found, batch_size=7)))
    assert torch.equal(batch, found.scores()[:7])
    assert [len(part["scores"]) for part in found.parts()] == [24, 24, 2]
    table = found.to_dataframe()
    assert list(table.columns) == [*(f"scores[{i}]" for i in range(4)), "target"]
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["method"]
    again = Attributions(tmp_path / "s")
    assert torch.equal(again.scores(), found.scores())


def test_targets_and_batches_of_every_kind(tmp_path):
    model, (x, y) = net(), data(10).tensors
    method = Saliency(model)
    guessed = method.attribute(x, target=model(x).argmax(1))
    ways = [
        (x.split(3), {"target": "predictions"}, guessed),
        ([{"input": part} for part in x.split(3)], {"target": 1}, method.attribute(x, target=1)),
        (
            [{"input": a, "labels": b} for a, b in zip(x.split(3), y.split(3), strict=True)],
            {"target": "labels"},
            method.attribute(x, target=y),
        ),
        ((b for b in [(x[:6], y[:6]), (x[6:], y[6:])]), {"target": 2}, method.attribute(x, 2)),
        (
            [("words", x)],
            {"target": 0, "inputs": lambda batch: batch[1]},
            method.attribute(x, target=0),
        ),
    ]
    for i, (batches, options, truth) in enumerate(ways):
        found = attribute_dataset(method, batches, tmp_path / str(i), **options).scores()
        found = found["input"] if isinstance(found, dict) else found
        assert torch.allclose(found, truth), i


def test_scores_come_back_as_they_were(tmp_path):
    a, b = torch.randn(6, 2), torch.randn(6, 3)
    total = lambda a, b: a.sum(1) + 2 * b.sum(1)  # noqa: E731
    pairs = list(zip(a.split(4), b.split(4), strict=True))
    method = IntegratedGradients(total)
    found = attribute_dataset(method, pairs, tmp_path / "p", return_convergence_delta=True)
    scores, delta = found.scores()
    assert isinstance(scores, tuple)
    assert torch.allclose(scores[1], 2 * b, atol=1e-5)
    assert delta.shape == (6,)
    assert isinstance(found[0][0], tuple)
    model = net()
    layers = LayerActivation(model, [model[0], model[2]])
    listed = attribute_dataset(layers, torch.randn(6, 4).split(4), tmp_path / "l").scores()
    assert [tuple(each.shape) for each in listed] == [(6, 6), (6, 3)]


def test_statistics_without_and_with_a_folder(tmp_path):
    model, (x, _) = net(), data().tensors
    method = Saliency(model)
    truth = method.attribute(x, target=0)
    for out in (None, tmp_path / "s"):
        summarizer = Summarizer([Mean(), StdDev(), Max()])
        made = attribute_dataset(method, loader(), out, target=0, summarizer=summarizer, block=10)
        assert (made is None) == (out is None)
        found = summarizer.summary
        assert torch.allclose(found["mean"], truth.mean(0))
        assert torch.allclose(found["std_dev"], truth.std(0, unbiased=False))
        assert torch.allclose(found["max"], truth.amax(0))


def test_statistics_of_classes_are_those_of_targets(tmp_path):
    method, (x, y) = Saliency(net()), data().tensors
    truth = method.attribute(x, target=y)
    for out in (None, tmp_path):
        classes = ClassSummarizer([Mean()])
        attribute_dataset(method, loader(), out, "labels", summarizer=classes, block=20)
        assert sorted(classes.class_summaries) == [0, 1, 2]
        for label, (found,) in classes.class_summaries.items():
            assert torch.allclose(found["mean"], truth[y == label].mean(0))
        assert torch.allclose(classes.summary[0]["mean"], truth.mean(0))


def test_arguments_of_a_batch(tmp_path):
    """A mask of each batch's own reaches the method, and the prediction that is explained."""

    def masked(x, keep):
        return net()(x * keep)

    x, _ = data().tensors
    keep = (torch.arange(200).reshape(50, 4) % 3 > 0).float()
    batches = [{"x": a, "keep": b} for a, b in zip(x.split(8), keep.split(8), strict=True)]
    read = {
        "inputs": lambda batch: batch["x"],
        "arguments": lambda batch: {"additional_forward_args": batch["keep"]},
    }
    method = Saliency(masked)
    guessed = masked(x, keep).argmax(1)
    assert not torch.equal(guessed, net()(x).argmax(1))
    truth = method.attribute(x, target=guessed, additional_forward_args=keep)
    found = attribute_dataset(method, batches, tmp_path, "predictions", **read)
    assert torch.equal(found.targets(), guessed)
    assert torch.allclose(found.scores(), truth)
    assert estimate_dataset(method, batches, "predictions", **read).examples == 50


def test_what_is_explained_is_made_once_to_count_and_once_to_explain(tmp_path):
    made = []
    read = {"inputs": lambda batch: (made.append(len(batch[0])), batch[0])[1]}
    given = [(part,) for part in data().tensors[0].split(8)]
    attribute_dataset(Saliency(net()), iter(given), tmp_path / "stream", target=0, **read)
    assert len(made) <= 2 * len(given)


def test_draws_hang_on_the_place_not_on_the_run(tmp_path):
    """The same with a gap to fill, and whatever the global generator says."""
    method = NoiseTunnel(GradientShap(net()))
    options = {"target": 0, "block": 16, "baselines": torch.zeros(2, 4), "nt_samples": 3}
    torch.manual_seed(5)
    one = attribute_dataset(method, loader(), tmp_path / "a", **options)
    before = torch.get_rng_state()
    attribute_dataset(method, loader(), tmp_path / "b", **options)
    assert torch.equal(before, torch.get_rng_state())
    next((tmp_path / "b").glob("000000000016-*")).unlink()
    with pytest.raises(ValueError, match="scores of all 50 examples"):
        Attributions(tmp_path / "b")
    again = attribute_dataset(method, loader(), tmp_path / "b", **options)
    assert torch.equal(one.scores(), again.scores())
    other = attribute_dataset(method, loader(), tmp_path / "c", seed=1, **options)
    assert not torch.equal(one.scores(), other.scores())


def test_what_it_would_take(capsys, tmp_path):
    method = IntegratedGradients(net())
    found = estimate_dataset(method, loader(), target="labels", n_steps=7)
    assert (found.examples, found.passes) == (50, 7)
    assert found.bytes == 4 * 4 + 8, "scores, and a target"
    assert found.total_seconds == 50 * found.seconds
    assert "50 examples, 7 rows through the model for each" in str(found)
    plain = estimate_dataset(Saliency(lambda x: x.sum(1)), torch.randn(9, 2).split(3))
    assert (plain.examples, plain.passes) == (9, None)
    plain = estimate_dataset(method, DataLoader(Endless(), 4), target=0)
    assert (plain.examples, plain.passes) == (None, 50)
    assert "for a thousand" in str(plain)
    options = {"target": "labels", "n_steps": 7, "block": 8}
    attribute_dataset(method, loader(), tmp_path, show_progress=True, **options)
    told = capsys.readouterr().err
    assert "50 examples, 7 rows through the model for each" in told
    assert "50/50" in told
    next(tmp_path.glob("000000000016-*")).unlink()
    attribute_dataset(method, loader(), tmp_path, show_progress=True, **options)
    told = capsys.readouterr().err
    assert "8 examples, 7 rows" in told, "what is left of it"
    assert "8/8" in told


class Slow(Dataset):
    """Counts what is read of it, and takes its time."""

    def __init__(self, seconds, count=120):
        self.data, self.seconds, self.read = data(count), seconds, []

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        time.sleep(self.seconds)
        self.read.append(index)
        return self.data[index]


def test_nothing_is_read_twice(tmp_path):
    slow = Slow(0)
    method, options = Saliency(net()), {"target": 0, "block": 16}
    attribute_dataset(method, DataLoader(slow, 8), tmp_path, **options)
    next(tmp_path.glob("000000000032-*")).unlink()
    slow.read.clear()
    attribute_dataset(method, DataLoader(slow, 8), tmp_path, **options)
    assert set(slow.read) <= {0, *range(32, 48)}, "the first is looked at, to know the data"


def _alone(folder):
    torch.set_num_threads(1)
    _run(folder)


def _run(folder):
    attribute_dataset(Saliency(net()), DataLoader(Slow(0.004), 4), folder, target=0, block=8)


def test_a_killed_run_goes_on(tmp_path):
    """No example is lost or doubled, whenever it is killed; whole files stay."""
    context = multiprocessing.get_context("spawn")
    for few in (1, 5, 9):
        process = context.Process(target=_alone, args=(tmp_path,))
        process.start()
        end = time.monotonic() + 60
        while len(list(tmp_path.glob("*.safetensors"))) < few and time.monotonic() < end:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    there = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.safetensors")}
    assert 9 <= len(there) < 15
    _run(tmp_path)
    assert all(p.stat().st_mtime_ns == then for p, then in there.items())
    found = Attributions(tmp_path)
    x = data(120).tensors[0]
    assert torch.allclose(found.scores(), Saliency(net()).attribute(x, target=0))
    assert not list(tmp_path.glob("*.part"))


def test_a_loader_that_raises_loses_nothing(tmp_path):
    class Broken(Slow):
        def __getitem__(self, index):
            if index == 70 and self.seconds == 0:
                raise OSError("the disk is gone")
            return self.data[index]

    method, broken = Saliency(net()), Broken(0)
    with pytest.raises(OSError, match="the disk is gone"):
        attribute_dataset(method, DataLoader(broken, 8), tmp_path, target=0, block=16)
    assert len(list(tmp_path.glob("*.safetensors"))) == 4
    broken.seconds = 1
    found = attribute_dataset(method, DataLoader(broken, 8), tmp_path, target=0, block=16)
    assert len(found) == 120


def test_a_full_disk_loses_nothing(tmp_path):
    """A limit on files' sizes stands for it."""
    method = Saliency(net())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def batches():
        for i, part in enumerate(data().tensors[0].split(8)):
            if i == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
            yield part

    try:
        with pytest.raises(OSError, match="could not be written, what was written stays"):
            attribute_dataset(method, batches(), tmp_path, target=0, block=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert not list(tmp_path.glob("*.part"))
    found = attribute_dataset(method, iter(data().tensors[0].split(8)), tmp_path, target=0, block=8)
    assert torch.allclose(found.scores(), method.attribute(data().tensors[0], target=0))


# ------------------------------------------------------------------------- several processes


class Last(Stat):
    """The last example's: of two such nobody knows which."""

    def __init__(self, name=None):
        super().__init__(name)
        self.value = None

    def update(self, x):
        self.value = x

    def get(self):
        return self.value


def _joined(rank, size, folder):
    summarizer = Summarizer([Mean()])
    try:
        attribute_dataset(
            ShapleyValueSampling(net()),
            DataLoader(data(53), 4),
            folder / "s",
            target="labels",
            summarizer=summarizer,
            block=8,
            n_samples=5,
        )
        torch.save(summarizer.summary["mean"], folder / f"mean-{rank}.pt")
        alone = Summarizer([Mean(), StdDev(), Max()])
        attribute_dataset(
            Saliency(net()), loader(53), target="labels", summarizer=alone, block=8, abs=False
        )
        torch.save(alone.summary, folder / f"statistics-{rank}.pt")
        with pytest.raises(ValueError, match="a method `merge`"):
            attribute_dataset(Saliency(net()), loader(), target=0, summarizer=Summarizer([Last()]))
    except RuntimeError as error:
        (folder / f"error-{rank}.txt").write_text(str(error))


@pytest.mark.parametrize("size", [2, 4])
def test_processes_share_the_work(tmp_path, size):
    alone = attribute_dataset(
        ShapleyValueSampling(net()),
        DataLoader(data(53), 4),
        tmp_path / "alone",
        target="labels",
        block=8,
        n_samples=5,
    ).scores()
    together(size, _joined, tmp_path)
    found = Attributions(tmp_path / "s")
    assert torch.equal(found.scores(), alone), "drawn scores, too"
    x, y = data(53).tensors
    truth = Saliency(net()).attribute(x, target=y, abs=False)
    for rank in range(size):
        mean = torch.load(tmp_path / f"mean-{rank}.pt", weights_only=True)
        assert torch.allclose(mean, alone.mean(0)), "every example counts once"
        kept = torch.load(tmp_path / f"statistics-{rank}.pt", weights_only=True)
        assert torch.allclose(kept["mean"], truth.mean(0), atol=1e-6)
        assert torch.allclose(kept["std_dev"], truth.std(0, unbiased=False), atol=1e-6)
        assert torch.equal(kept["max"], truth.amax(0))


def test_a_lost_process_is_told_and_the_next_run_goes_on(tmp_path):
    together(2, _joined, tmp_path, doomed=1)
    told = (tmp_path / "error-0.txt").read_text()
    assert "process 0 lost another" in told
    assert "run it again" in told
    together(2, _joined, tmp_path)
    assert len(Attributions(tmp_path / "s")) == 53


def _opened(rank, size, folder):
    for i in range(200):
        place = folder / str(i)
        place.mkdir(exist_ok=True)
        if rank == 0:
            (place / f".left{store.PART}").write_text("by a run that was killed")
        World.now().wait()
        Shards(place, {"number": i}).put(rank, {"x": torch.full((1,), float(rank))})
        World.now().wait()
        assert len(list(place.iterdir())) == 1 + size


class Odd(Sampler):
    """Every other example: a process's own share."""

    def __init__(self, rank, count):
        self.rank, self.count = rank, count

    def __iter__(self):
        return iter(range(self.rank, self.count, 2))

    def __len__(self):
        return len(range(self.rank, self.count, 2))


def _different(rank, size, folder):
    """What differs is refused, in all processes, and does not disturb what comes next."""
    other = net()
    with torch.no_grad():
        other[0].bias += rank
    shared = DataLoader(data(), 8, sampler=Odd(rank, 50))
    for method, given, word in (
        (Saliency(other), loader(), "model"),
        (Saliency(net()), shared, "batches"),
        (Saliency(net()), [torch.randn(4, 4) + rank], "first example"),
    ):
        for out in (folder / word, None):
            statistics = Summarizer([Mean()])
            with pytest.raises(ValueError, match=f"the same in all.*\n.*another .*{word}"):
                attribute_dataset(method, given, out, target=0, summarizer=statistics)

    def failing():
        for i, part in enumerate(data().tensors[0].split(8)):
            if rank == 1 and i == 3:
                raise OSError("the network is down")
            yield part

    error, words = (OSError, "network") if rank == 1 else (RuntimeError, "lost another")
    with pytest.raises(error, match=words):
        attribute_dataset(Saliency(net()), failing(), folder / "failing", target=0, block=8)
    found = attribute_dataset(Saliency(net()), loader(), folder / "after", target=0, block=8)
    assert len(found) == 50


def test_what_differs_between_processes_is_refused(tmp_path):
    together(2, _different, tmp_path)


def test_what_is_missing_goes_round():
    """Whatever is there: nobody waits for one who has it all."""
    there = {0, 2, 3, 4, 6, 8}
    for _ in range(2):
        mine = [Missing(World(rank, 2), lambda start, end: start in there) for rank in (0, 1)]
        for each in mine:
            each(5, 5, 6)  # in whatever order one asks first, as long as all do
        took = [[n for n in range(10) if each(n, n, n + 1)] for each in mine]
        assert sorted(took[0] + took[1]) == [1, 5, 7, 9]
        assert len(took[0]) == len(took[1])


def test_what_a_killed_run_left_is_swept_away_and_nothing_else(tmp_path):
    together(4, _opened, tmp_path)


# ------------------------------------------------------------------------------- bad input


class Endless(IterableDataset):
    def __iter__(self):
        return iter(torch.randn(10, 4))


def test_refused(tmp_path):
    model = net()
    method, batches = Saliency(model), torch.randn(10, 4).split(4)
    bad = [
        (lambda: attribute_dataset(method, batches), "a folder; or a summarizer"),
        (lambda: estimate_dataset(method, iter(batches)), "data that can be read twice"),
        (lambda: estimate_dataset(method, []), "at least one example"),
        (lambda: attribute_dataset(method, batches, tmp_path / "a", block=0), "block of at least"),
        (
            lambda: attribute_dataset(
                method, DataLoader(data(), 4, shuffle=True), tmp_path / "b", target=0
            ),
            "share the work by themselves",
        ),
        (
            lambda: attribute_dataset(method, batches, tmp_path / "c", target="labels"),
            "under the key 'labels'",
        ),
        (
            lambda: attribute_dataset(method, batches, tmp_path / "d", target="best"),
            "'predictions'",
        ),
        (lambda: Attributions(tmp_path / "none"), "that attribute_dataset wrote"),
        (
            lambda: attribute_dataset(FeatureAblation(lambda x: x.sum()), batches, tmp_path / "e"),
            "with a row for each",
        ),
    ]
    for call, message in bad:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="a DataLoader or batches"):
        attribute_dataset(method, 3, tmp_path / "f")
    found = attribute_dataset(method, DataLoader(Endless(), 4), tmp_path / "g", target=0)
    assert len(found) == 10


def test_other_stores_and_broken_files_are_refused(tmp_path):
    method = Saliency(net())
    attribute_dataset(method, loader(), tmp_path, target=0, block=16)
    other = net()
    with torch.no_grad():
        other[0].bias += 1
    for changed, message in (
        (
            lambda: attribute_dataset(Saliency(other), loader(), tmp_path, target=0, block=16),
            "model",
        ),
        (lambda: attribute_dataset(method, loader(), tmp_path, target=1, block=16), "target"),
        (lambda: attribute_dataset(method, loader(30), tmp_path, target=0, block=16), "examples"),
        (
            lambda: attribute_dataset(method, loader(), tmp_path, target=0, block=16, abs=False),
            "parameters",
        ),
        (
            lambda: attribute_dataset(
                IntegratedGradients(net()), loader(), tmp_path, target=0, block=16
            ),
            "method",
        ),
        (lambda: attribute_dataset(method, loader(), tmp_path, target=0, block=24), "block"),
    ):
        with pytest.raises(ValueError, match=f"(?s)another.*{message}"):
            changed()
    with pytest.raises(ValueError, match="another batches"):
        attribute_dataset(method, loader(size=5), tmp_path, target=0, block=16)
    other = nn.Sequential(net()[0], nn.ReLU(), net()[2])  # the same numbers, another model
    with pytest.raises(ValueError, match="another model"):
        attribute_dataset(Saliency(other), loader(), tmp_path, target=0, block=16)
    next(Path(tmp_path).glob("000000000016-*")).write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="a file that captum wrote"):
        Attributions(tmp_path).scores()


def test_what_a_method_was_made_with_is_known_again(tmp_path):
    """By what it says, in any process: layers by name, objects by what they hold."""
    made = {
        "layer": lambda model, i: LayerActivation(model, model[2 * i]),
        "neuron": lambda model, i: Saliency(model, of=Neuron(model[0], i)),
        "side": lambda model, i: Saliency(model, at=Layer(model[2], ("input", "output")[i])),
        "factor": lambda model, i: IntegratedGradients(model, bool(i)),
        "inner": lambda model, i: NoiseTunnel(LayerActivation(model, model[2 * i])),
        "kernel": lambda model, i: Lime(
            model, Ridge(alpha=0.1 + i), get_exp_kernel_similarity_function(kernel_width=1.0 + i)
        ),
    }
    for name, make in made.items():
        options = {} if name in ("layer", "inner", "neuron") else {"target": 0}
        found = attribute_dataset(make(net(), 0), loader(), tmp_path / name, **options)
        again = attribute_dataset(make(net(), 0), loader(), tmp_path / name, **options)
        assert torch.equal(found.scores(), again.scores()), name
        assert " at 0x" not in (tmp_path / name / "manifest.json").read_text()
        with pytest.raises(ValueError, match="another settings"):
            attribute_dataset(make(net(), 1), loader(), tmp_path / name, **options)


def test_data_that_does_not_say_how_much_it_is(tmp_path):
    """Is not taken for complete before it is."""
    method, parts = Saliency(net()), torch.randn(50, 4).split(5)

    def broken():
        yield from parts[:6]
        raise OSError("the network is down")

    with pytest.raises(OSError, match="network"):
        attribute_dataset(method, broken(), tmp_path, target=0, block=10)
    with pytest.raises(ValueError, match="scores of all examples"):
        Attributions(tmp_path)
    found = attribute_dataset(method, iter(parts), tmp_path, target=0, block=10)
    assert len(found) == len(Attributions(tmp_path)) == 50
    next(tmp_path.glob("000000000040-*")).unlink()
    with pytest.raises(ValueError, match="scores of all 50 examples"):
        Attributions(tmp_path)


class Times(DataLoader):
    """Yields in a way of its own."""

    def __iter__(self):
        for x, y in super().__iter__():
            yield x * 10, y


class Worded(Dataset):
    """Examples that are objects before they are put together."""

    class Item:
        def __init__(self, x, y):
            self.x, self.y = x, y

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return self.Item(torch.full((4,), float(index)), index % 3)

    @staticmethod
    def collate(items):
        return torch.stack([item.x for item in items]), torch.tensor([item.y for item in items])


def test_loaders_of_every_kind(tmp_path):
    method, (x, y) = InputXGradient(net()), data().tensors
    found = attribute_dataset(method, Times(data(), 8), tmp_path / "own", "labels")
    assert torch.allclose(found.scores(), method.attribute(x * 10, target=y))
    for _ in range(2):  # the same in another process, wherever objects lie
        objects = DataLoader(Worded(), 4, collate_fn=Worded.collate)
        assert len(attribute_dataset(method, objects, tmp_path / "objects", "labels")) == 10
    whole = DataLoader(data(), sampler=BatchSampler(range(50), 8, False), batch_size=None)
    found = attribute_dataset(method, whole, tmp_path / "whole", "labels")
    assert torch.allclose(found.scores(), method.attribute(x, target=y))
    empty = [x[:8], x[8:8], x[8:]]
    assert len(attribute_dataset(method, empty, tmp_path / "empty", target=0, block=8)) == 50
    numbers = {"seed": np.int64(1), "block": np.int64(8)}
    assert len(attribute_dataset(method, loader(), tmp_path / "numpy", "labels", **numbers)) == 50
    assert (tmp_path / "own" / "manifest.json").stat().st_mode & 0o044 == 0o044, "others may read"


def test_loaders_that_are_refused(tmp_path):
    method, (x, _) = Saliency(net()), data().tensors

    def dropping(items):
        return default_collate([item for item in items if item[1] != 2])

    cases = [
        (DataLoader(data(), sampler=BatchSampler(RandomSampler(data()), 8, False), batch_size=None),
         "the data's order"),
        (DataLoader(list(x.split(8)), batch_size=None, shuffle=True), "the data's order"),
        (DataLoader(data(), 8, collate_fn=dropping), "the loader asked for"),
        ([], "at least one example"),
        (DataLoader(data(3), 8, drop_last=True), "at least one example"),
        ([torch.randn(2, 3, 4), torch.randn(2, 5, 4)], "of the same shape"),
    ]  # fmt: skip
    for i, (given, message) in enumerate(cases):
        for _ in range(2):
            with pytest.raises(ValueError, match=message):
                attribute_dataset(
                    InputXGradient(lambda x: x.flatten(1).sum(1)), given, tmp_path / str(i)
                )
    for given in (x, "scores", {"x": x}):
        with pytest.raises(TypeError, match="a DataLoader or batches"):
            attribute_dataset(method, given, tmp_path / "x", target=0)
    for wrong in (Saliency, net()):
        with pytest.raises(TypeError, match="an attribution method"):
            attribute_dataset(wrong, loader(), tmp_path / "x", target=0)

    def interrupted():
        yield x[:10]
        raise RuntimeError("connection to the bucket reset")

    with pytest.raises(RuntimeError, match=r"^connection to the bucket reset"):
        attribute_dataset(method, interrupted(), tmp_path / "mine", target=0, block=8)
    started = iter(x.split(10))
    attribute_dataset(method, x.split(10), tmp_path / "list", target=0)
    attribute_dataset(method, iter(x.split(10)), tmp_path / "used", target=0, block=10)
    next(started)
    with pytest.raises(ValueError, match="another first example"):
        attribute_dataset(method, started, tmp_path / "used", target=0, block=10)
    with pytest.raises(ValueError, match="30, after 50 the last time"):
        attribute_dataset(method, iter(x.split(10)[:3]), tmp_path / "used", target=0, block=10)
    for output, call in (((50,), lambda x: x.sum(1)), ((50, 4, 1), lambda x: x[..., None])):
        with pytest.raises(ValueError, match=r"outputs \(N, C\)"):
            attribute_dataset(Saliency(call), [x], tmp_path / str(output), "predictions")


def test_a_folder_without_its_manifest_is_nobodys(tmp_path):
    attribute_dataset(Saliency(net()), loader(), tmp_path, target=0)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"(?s)cannot be read.*another folder"):
        attribute_dataset(Saliency(net()), loader(), tmp_path, target=0)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(ValueError, match="nobody knows what they are of"):
        attribute_dataset(Saliency(net()), loader(), tmp_path, target=0)


def test_reading_back_what_is_not_plain(tmp_path):
    x = torch.randn(10, 3, 4)
    method = InputXGradient(lambda x: x @ torch.ones(4, 2))  # an answer for each of 3 places
    batches = [(part,) for part in x.split(4)]
    places = {"arguments": lambda batch: {"target": torch.zeros(len(batch[0]), 2).long()}}
    found = attribute_dataset(method, batches, tmp_path / "places", **places)
    assert found.targets().shape == (10, 2)
    assert {"target[0]", "target[1]", "scores[11]"} <= set(found.to_dataframe().columns)
    assert torch.equal(torch.stack(found[2:9:3]), found.scores()[2:9:3])
    half = InputXGradient(net().bfloat16())
    small = [part.bfloat16() for part in data().tensors[0].split(8)]
    found = attribute_dataset(half, small, tmp_path / "half", target=0)
    assert found.scores().dtype == torch.bfloat16
    assert found.to_dataframe().shape == (50, 4)
    classes = ClassSummarizer([Mean()])
    with pytest.raises(ValueError, match="a target for each example"):
        found.summarise(classes)


def test_seeds_have_draws_of_their_own(tmp_path):
    method = NoiseTunnel(InputXGradient(lambda x: x.sum(1)))
    same = [torch.ones(16, 4)] * 2
    one, two = (
        attribute_dataset(method, same, tmp_path / str(seed), block=16, seed=seed).scores()
        for seed in (0, 16)
    )
    assert not torch.equal(one[16:], two[:16])
    assert not torch.equal(one[:16], one[16:])
