"""Activations in files by name: what is there is what the model makes, and nothing stale."""

import pytest
import torch
from captum._utils.av import AV
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def setting():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 1))
    return model, torch.randn(10, 3)


def truth(model, inputs, upto):
    return model[: upto + 1](inputs).detach()


def test_of_a_data_set(tmp_path):
    model, inputs = setting()
    loader = DataLoader(TensorDataset(inputs, torch.zeros(10).long()), 4)
    found = AV.generate_dataset_activations(
        str(tmp_path), model, "m", ["0", "2"], loader, "train", return_activations=True
    )
    for layer, values in zip((0, 2), found, strict=True):
        assert len(values) == 3
        assert torch.equal(torch.cat(list(values)), truth(model, inputs, layer))
    assert len(AV.load(str(tmp_path), "m")) == 6
    assert torch.equal(
        AV.load(str(tmp_path), "m", "train", "2", "1")[0], truth(model, inputs[4:8], 2)
    )
    one = AV.generate_dataset_activations(str(tmp_path), model, "m", "0", loader)
    assert one is None


def test_nothing_stale_and_nothing_twice(tmp_path):
    model, inputs = setting()
    path, calls = str(tmp_path), []
    model.register_forward_hook(lambda *_: calls.append(1))

    def make(rows, **options):
        given = {"identifier": "x", "return_activations": True, **options}
        calls.clear()
        found = AV.generate_dataset_activations(path, model, "m", "0", rows.split(5), **given)
        assert torch.equal(torch.cat(list(found)), truth(model, rows, 0))
        return len(calls)

    assert [make(inputs), make(inputs), make(inputs, load_from_disk=False)] == [2, 0, 2]
    other = inputs.clone()
    other[7] += 1
    assert make(other) == 1, "one of two batches has changed"
    with torch.no_grad():
        model[0].bias += 1
    assert make(other) == 2
    assert make(other[:5]) == 0, "and what was of later batches is gone"


def test_names(tmp_path):
    path = str(tmp_path)
    for number in (10, 2):
        AV.save(path, "m", "x", ["a", "b"], [torch.ones(2) * number, torch.zeros(2)], str(number))
    assert [float(v[0]) for v in AV.load(path, "m", "x", "a")] == [2, 10]
    assert AV.exists(path, "m")
    assert AV.exists(path, "m", None, "b", "10")
    assert not AV.exists(path, "m", "y")
    assert not AV.exists(path, "other")
    with pytest.raises(RuntimeError, match="generate_dataset_activations"):
        AV.load(path, "m", "y")
    with pytest.raises(ValueError, match="a tensor for each layer"):
        AV.save(path, "m", "x", ["a"], [torch.ones(2)] * 2, "0")
    for name in ("..", "a/b", "a*"):
        with pytest.raises(ValueError, match="a folder's"):
            AV.load(path, name)
    with pytest.raises(ValueError, match="modules of the model"):
        AV.generate_dataset_activations(path, setting()[0], "m", "no", [torch.ones(2, 3)])
