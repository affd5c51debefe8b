"""A job of Ray gives a loop's scores, on a local runtime."""

import sys

import numpy as np
import pytest
import ray
import torch
from torch import nn

from captum.attr import (
    GradientShap,
    IntegratedGradients,
    Saliency,
    attribute_dataset,
    attribute_ray_dataset,
)
from captum.attr.dataset_ray import _Worker

# Of Ray's own settings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def runtime():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    # Workers do not find the tests: what is defined here goes to them as it is.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    ray.shutdown()


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).eval()


def numbers(count=30):
    torch.manual_seed(1)
    return torch.randn(count, 4), torch.arange(count) % 3


def made():
    return IntegratedGradients(net())


class Pair(nn.Module):
    def forward(self, a, b):
        return (a * b).sum(1)


def columns(found, *names):
    rows = sorted(found.take_all(), key=lambda row: row["id"])
    return [torch.as_tensor(np.stack([row[name] for row in rows])) for name in names]


def test_scores_are_a_loops(runtime, tmp_path):
    x, y = numbers()
    data = ray.data.from_items(
        [{"id": f"{i:02d}", "x": x[i].numpy(), "labels": int(y[i])} for i in range(30)]
    )
    truth = made().attribute(x, target=y, n_steps=9)
    for method in (made(), made):
        found = attribute_ray_dataset(
            method, data, "labels", batch_size=7, concurrency=2, n_steps=9
        )
        scores, target = columns(found, "scores", "target")
        assert torch.allclose(scores, truth, atol=1e-6)
        assert torch.equal(target, y)
    stored = attribute_dataset(
        made(), [(x, y)], tmp_path / "s", target="labels", n_steps=9
    ).scores()
    assert torch.allclose(scores, stored, atol=1e-6)
    found.write_parquet(str(tmp_path / "parquet"))
    (again,) = columns(ray.data.read_parquet(str(tmp_path / "parquet")), "scores")
    assert torch.equal(again, scores)
    guessed = attribute_ray_dataset(
        Saliency(net()), data, "predictions", inputs=lambda batch: batch["x"].float()
    )
    (target,) = columns(guessed, "target")
    assert torch.equal(target, net()(x).argmax(1))


def test_several_inputs_and_draws(runtime):
    x, _ = numbers()
    rows = [{"id": f"{i:02d}", "a": x[i].numpy(), "b": -x[i].numpy()} for i in range(30)]
    data = ray.data.from_items(rows)
    found = attribute_ray_dataset(Saliency(Pair()), data)
    a, b = columns(found, "scores.a", "scores.b")
    assert torch.equal(a, x.abs())
    assert torch.equal(b, x.abs())
    one, same, other = (
        columns(
            attribute_ray_dataset(
                GradientShap(net()), data, 0, inputs=lambda batch: batch["a"],
                batch_size=30, seed=seed, baselines=torch.zeros(2, 4),
            ),
            "scores",
        )[0]
        for seed in (0, 0, 1)
    )  # fmt: skip
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_refused(runtime):
    with pytest.raises(TypeError, match="a data set of Ray"):
        attribute_ray_dataset(made(), [1])
    words = ray.data.from_items([{"id": "a", "word": "b"}])
    with pytest.raises(Exception, match="columns of numbers"):
        attribute_ray_dataset(made(), words, 0).take_all()


def test_columns_that_are_there_stay():
    worker = _Worker(Saliency(net()), 0, lambda batch: batch["x"], None, 0, {})
    x = np.zeros((2, 4), np.float32)
    assert set(worker({"x": x})) == {"x", "scores"}
    with pytest.raises(ValueError, match="'scores' among its columns"):
        worker({"x": x, "scores": x})
    half = _Worker(Saliency(net().bfloat16()), 0, lambda batch: batch["x"].bfloat16(), None, 0, {})
    assert half({"x": x})["scores"].dtype == np.float32
