"""Inputs that pass through layers of their own."""

import pytest
import torch
from torch import nn

from captum.attr.input_layer_wrapper import ModelInputWrapper


class Anything(nn.Module):
    """Returns its arguments, as it got them."""

    def forward(self, a, b=2, *rest, k=None, **more):
        return a, b, rest, k, more


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)

    def forward(self, ids, x, y=None):
        y = x if y is None else y
        return (self.embedding(ids) * x * y).sum(-1)


@pytest.fixture
def called():
    """A wrapper and the list of the inputs that passed their layer."""
    wrapper, names = ModelInputWrapper(Anything()), []
    for name, layer in wrapper.input_maps.items():
        layer.register_forward_hook(lambda *_, name=name: names.append(name))
    return wrapper, names


@pytest.mark.parametrize(
    ("args", "kwargs", "passed"),
    [
        ((1,), {}, ["a"]),
        ((1, 3), {}, ["a", "b"]),
        ((1, 3, 4, 5), {}, ["a", "b"]),
        ((1,), {"b": 3, "k": 4}, ["a", "b", "k"]),
        ((), {"b": 3, "a": 1}, ["b", "a"]),
        ((1,), {"z": 9}, ["a"]),
        ((None,), {"k": "text"}, ["a", "k"]),
        (([1, 2],), {}, ["a"]),
    ],
)
def test_called_like_the_model_and_through_each_layer(called, args, kwargs, passed):
    wrapper, names = called
    assert wrapper(*args, **kwargs) == Anything()(*args, **kwargs)
    assert names == passed


def test_input_maps_has_the_names_of_the_forward():
    assert list(ModelInputWrapper(Anything()).input_maps) == ["a", "b", "k"]
    assert list(ModelInputWrapper(nn.Linear(2, 1)).input_maps) == ["input"]


def test_output_and_gradients_are_those_of_the_model():
    model = Product()
    wrapper = ModelInputWrapper(model)
    ids = torch.tensor([[0, 3]])
    x, y = (torch.randn(1, 2, 3, requires_grad=True) for _ in range(2))
    assert wrapper.module is model
    assert torch.equal(wrapper(ids, x, y=y), model(ids, x, y))
    for found, expected in zip(
        torch.autograd.grad(wrapper(ids, x, y).sum(), (x, y)),
        torch.autograd.grad(model(ids, x, y).sum(), (x, y)),
        strict=True,
    ):
        assert torch.equal(found, expected)


def test_one_tensor_as_two_inputs_has_two_gradients():
    wrapper, seen = ModelInputWrapper(Product()), {}
    for name in ("x", "y"):
        wrapper.input_maps[name].register_forward_hook(
            lambda _layer, _given, value, name=name: seen.update({name: value})
        )
    x = torch.randn(1, 2, 3, requires_grad=True)
    ids = torch.tensor([[0, 3]])
    out = wrapper(ids, x, x).sum()
    rows = wrapper.module.embedding(ids)
    for gradient in torch.autograd.grad(out, (seen["x"], seen["y"])):
        torch.testing.assert_close(gradient, rows * x)


def test_an_input_can_be_replaced_at_its_layer():
    wrapper = ModelInputWrapper(Product())
    ids, x = torch.tensor([[0, 3]]), torch.randn(1, 2, 3)
    wrapper.input_maps["x"].register_forward_hook(lambda *_: x)
    assert torch.equal(wrapper(ids, torch.zeros_like(x), x), wrapper.module(ids, x, x))


def test_weights_and_mode_are_those_of_the_model():
    model = Product().eval()
    wrapper = ModelInputWrapper(model)
    assert list(wrapper.state_dict()) == ["module.embedding.weight"]
    assert not wrapper.training


def test_a_sparse_input_passes():
    x = torch.eye(2).to_sparse()
    assert ModelInputWrapper(Anything())(x)[0] is x


def test_the_models_own_errors():
    wrapper = ModelInputWrapper(nn.Linear(2, 1))
    with pytest.raises(TypeError, match="forward"):
        wrapper()
    with pytest.raises(TypeError, match="forward"):
        wrapper(torch.ones(2), torch.ones(2))


def test_a_function_is_refused():
    with pytest.raises(TypeError, match="expected a module"):
        ModelInputWrapper(torch.relu)
