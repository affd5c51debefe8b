"""Embeddings handed to a model from outside."""

import copy
import pickle

import pytest
import torch
import transformers
from torch import nn

from captum.attr.embeddings import (
    InterpretableEmbeddingBase,
    TokenReferenceBase,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)


class Scaled(nn.Module):
    """An embedding of one's own, with two inputs."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.scale = 3.0

    def forward(self, ids, factor=1.0):
        return self.table(ids) * factor


class Bag(nn.EmbeddingBag):
    """A bag is looked up with offsets."""


class Text(nn.Module):
    def __init__(self, embedding, call):
        super().__init__()
        self.body = nn.ModuleDict({"text": nn.Sequential(embedding)})
        self.head = nn.Linear(4, 2)
        self.call = call

    def forward(self, *args, **kwargs):
        return self.head(self.call(self.body["text"][0], *args, **kwargs)).flatten(1)


IDS = torch.tensor([[1, 0, 5], [2, 2, 3]])
NAME = "body.text.0"
CASES = {
    "embedding": (nn.Embedding(6, 4), (IDS,), {}),
    "padded": (nn.Embedding(6, 4, padding_idx=0), (IDS,), {}),
    "keyword": (nn.Embedding(6, 4), (), {"input": IDS}),
    "bag": (nn.EmbeddingBag(6, 4), (IDS.flatten(), torch.tensor([0, 2])), {}),
    "weighted bag": (
        nn.EmbeddingBag(6, 4, mode="sum"),
        (IDS,),
        {"per_sample_weights": torch.rand(2, 3)},
    ),
    "module": (Scaled(), (IDS, 2.0), {}),
    "module by keyword": (Scaled(), (), {"ids": IDS, "factor": 2.0}),
}


@pytest.fixture(params=CASES)
def case(request):
    embedding, args, kwargs = CASES[request.param]
    embedding = copy.deepcopy(embedding)
    return Text(embedding, lambda layer, *a, **k: layer(*a, **k)), args, kwargs


def with_first(args, kwargs, value):
    """The same call, with another first argument."""
    if args:
        return (value, *args[1:]), kwargs
    return (), {**kwargs, next(iter(kwargs)): value}


def test_model_of_embeddings_is_model_of_ids(case):
    model, args, kwargs = case
    expected = model(*args, **kwargs)
    layer = configure_interpretable_embedding_layer(model, NAME)
    embedded = layer.indices_to_embeddings(*args, **kwargs)
    new_args, new_kwargs = with_first(args, kwargs, embedded)
    assert torch.equal(model(*new_args, **new_kwargs), expected)


def test_removal_leaves_the_model_as_it_was(case):
    model, args, kwargs = case
    original, state = model.body["text"][0], list(model.state_dict())
    expected, names = model(*args, **kwargs), [n for n, _ in model.named_modules()]
    layer = configure_interpretable_embedding_layer(model, NAME)
    assert model.body["text"][0] is layer
    assert layer.embedding is original
    remove_interpretable_embedding_layer(model, layer)
    assert model.body["text"][0] is original
    assert list(model.state_dict()) == state
    assert [n for n, _ in model.named_modules()] == names
    assert torch.equal(model(*args, **kwargs), expected)
    remove_interpretable_embedding_layer(model, layer)
    assert model.body["text"][0] is original


def test_gradients_reach_the_embeddings_and_the_table():
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 1))
    layer = configure_interpretable_embedding_layer(model, "0")
    embedded = layer.indices_to_embeddings(IDS)
    gradient, table = torch.autograd.grad(model(embedded).sum(), (embedded, layer.weight))
    assert torch.equal(gradient, model[1].weight.expand(2, 3, 4))
    assert torch.equal(table, torch.bincount(IDS.flatten(), minlength=6)[:, None] * gradient[0, :1])


def test_the_default_name():
    model = nn.ModuleDict({"embedding": nn.Embedding(2, 3)})
    layer = configure_interpretable_embedding_layer(model)
    assert layer.full_name == "embedding"
    assert model["embedding"] is layer


def test_attributes_are_those_of_the_original():
    embedding = nn.Embedding(6, 4, padding_idx=1)
    layer = InterpretableEmbeddingBase(embedding, "x")
    assert (layer.num_embeddings, layer.embedding_dim, layer.padding_idx) == (6, 4, 1)
    assert layer.weight is embedding.weight
    assert InterpretableEmbeddingBase(Scaled(), "x").scale == 3.0
    assert not hasattr(InterpretableEmbeddingBase(Scaled(), "x"), "embedding_dim")
    with pytest.raises(AttributeError, match="nothing"):
        _ = layer.nothing
    unborn = InterpretableEmbeddingBase.__new__(InterpretableEmbeddingBase)
    assert not hasattr(unborn, "weight")


def test_the_mode_of_the_original():
    assert not InterpretableEmbeddingBase(nn.Embedding(2, 2).eval(), "x").training
    assert InterpretableEmbeddingBase(nn.Embedding(2, 2), "x").training


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(clone):
    layer = InterpretableEmbeddingBase(nn.Embedding(6, 4), "x")
    assert torch.equal(clone(layer).indices_to_embeddings(IDS), layer.indices_to_embeddings(IDS))


def test_a_shared_layer_changes_under_the_given_name_only():
    shared = nn.Embedding(6, 4)
    model = nn.ModuleDict({"encoder": shared, "decoder": shared})
    layer = configure_interpretable_embedding_layer(model, "decoder")
    assert model["encoder"] is shared
    assert model["decoder"] is layer


def test_bert():
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 20}
    config = transformers.BertConfig(**sizes, intermediate_size=8)
    model = transformers.BertForQuestionAnswering(config).eval()
    expected = model(IDS).start_logits
    name = "bert.embeddings.word_embeddings"
    layer = configure_interpretable_embedding_layer(model, name)
    assert model.get_input_embeddings().weight is layer.embedding.weight
    embedded = layer.indices_to_embeddings(IDS)
    torch.testing.assert_close(model(inputs_embeds=embedded).start_logits, expected)
    remove_interpretable_embedding_layer(model, layer)
    assert torch.equal(model(IDS).start_logits, expected)


def test_configuring_twice_is_refused():
    model = nn.Sequential(nn.Embedding(6, 4))
    layer = configure_interpretable_embedding_layer(model, "0")
    for name in ("0", "0.embedding"):
        with pytest.raises(ValueError, match="not configured yet"):
            configure_interpretable_embedding_layer(model, name)
    assert model[0] is layer


@pytest.mark.parametrize("name", ["nope", "body.nope", "nope.0", "body.text.0.1", ""])
def test_an_unknown_name_is_refused_and_the_embeddings_named(name):
    model = Text(nn.Embedding(6, 4), None)
    with pytest.raises(AttributeError, match=rf"a layer of Text\n.*{name!r}\n.*body\.text\.0"):
        configure_interpretable_embedding_layer(model, name)


@pytest.mark.parametrize("name", ["head.weight", "call", "body"])
def test_what_cannot_be_called_as_a_layer_is_refused(name):
    model = Text(nn.Embedding(6, 4), len)
    with pytest.raises(TypeError, match="a layer that can be called"):
        configure_interpretable_embedding_layer(model, name)


def test_removal_from_another_model_is_refused():
    model, other = nn.Sequential(nn.Embedding(6, 4)), nn.Sequential(nn.Embedding(6, 4))
    layer = configure_interpretable_embedding_layer(model, "0")
    kept = other[0]
    with pytest.raises(ValueError, match="the model that was configured at '0'"):
        remove_interpretable_embedding_layer(other, layer)
    assert other[0] is kept


def test_ids_or_nothing_instead_of_embeddings_are_refused():
    model = nn.Sequential(nn.Embedding(6, 4))
    layer = configure_interpretable_embedding_layer(model, "0")
    with pytest.raises(TypeError, match=r"embeddings at '0'\n.*int64 tensor of shape \(2, 3\)"):
        model(IDS)
    with pytest.raises(TypeError, match="no argument"):
        layer()


@pytest.mark.parametrize("length", [0, 1, 7])
def test_token_reference(length):
    reference = TokenReferenceBase(reference_token_idx=5).generate_reference(length, "cpu")
    assert reference.tolist() == [5] * length
    assert reference.dtype == torch.long
    assert TokenReferenceBase().reference_token_idx == 0


def test_a_negative_length_is_refused():
    with pytest.raises(ValueError, match="sequence_length=-1"):
        TokenReferenceBase().generate_reference(-1, torch.device("cpu"))
