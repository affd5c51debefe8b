"""Models of transformers, built from configs: ids, sub-embeddings, decoder layers, tokens."""

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

from captum._engine import prefix
from captum.attr import (
    IntegratedGradients,
    LayerActivation,
    LayerFeatureAblation,
    LayerGradCam,
    LayerGradientXActivation,
    LayerIntegratedGradients,
)

IDS = torch.tensor([[3, 14, 15, 9, 26], [5, 35, 8, 9, 7]])
HEADS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def ready(model):
    return model.eval().double()


def llama():
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "intermediate_size": 64, "max_position_embeddings": 32}
    return ready(LlamaForCausalLM(LlamaConfig(**HEADS, **sizes)))


def bert():
    torch.manual_seed(0)
    return ready(BertForSequenceClassification(BertConfig(**HEADS, vocab_size=50)))


def test_ids_of_a_decoder():
    model, target = llama(), (4, 5)
    scores, delta = IntegratedGradients(model).attribute(
        IDS, target=target, return_convergence_delta=True
    )
    assert delta.abs().max() < 1e-6
    at_layer = LayerIntegratedGradients(model, model.model.embed_tokens)
    assert torch.allclose(scores, at_layer.attribute(IDS, target=target).sum(-1))
    named = IntegratedGradients(model).attribute({"input_ids": IDS}, target=target)
    assert torch.allclose(named["input_ids"], scores)


def test_a_mask_among_the_inputs_is_named():
    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    with pytest.warns(UserWarning, match=r"inputs\['attention_mask'\]"):
        found = IntegratedGradients(llama()).attribute(inputs, target=(4, 5), n_steps=5)
    assert torch.equal(found["attention_mask"], torch.zeros(2, 5, dtype=torch.float64))


def test_a_mask_beside_the_inputs():
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
    found = IntegratedGradients(llama()).attribute(
        IDS, target=(4, 5), forward_kwargs={"attention_mask": mask}, n_steps=5
    )
    assert found[1, 0] == 0
    assert (found[0] != 0).all()


def test_decoder_layers():
    model = llama()
    scores = LayerGradientXActivation(model, model.model.layers).attribute(IDS, target=(4, 5))
    values = LayerActivation(model, model.model.layers).attribute(
        IDS, attribute_to_layer_input=True
    )
    assert [s.shape for s in scores] == [v.shape for v in values] == [(2, 5, 32)] * 2


def t5():
    sizes = {"vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1}
    return T5ForConditionalGeneration(T5Config(**sizes, num_heads=4))


def bart():
    sides = ("encoder", "decoder")
    sizes = {
        f"{side}_{name}": n
        for side in sides
        for name, n in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 64))
    }
    return BartForConditionalGeneration(BartConfig(**sizes, vocab_size=50, d_model=32))


@pytest.mark.parametrize("make", [t5, bart])
def test_encoders_and_decoders(make):
    torch.manual_seed(0)
    inputs = {"input_ids": IDS, "decoder_input_ids": IDS[:, :3]}
    scores, delta = IntegratedGradients(ready(make())).attribute(
        inputs, target=(2, 5), n_steps=300, return_convergence_delta=True
    )
    assert {name: score.shape for name, score in scores.items()} == {
        "input_ids": (2, 5),
        "decoder_input_ids": (2, 3),
    }
    total = sum(score.abs().sum() for score in scores.values())
    assert delta.abs().max() < 0.01 * total


def test_sub_embeddings_together():
    model = bert()
    parts = model.bert.embeddings
    layers = [parts.word_embeddings, parts.token_type_embeddings, parts.position_embeddings]
    scores, delta = LayerIntegratedGradients(model, layers).attribute(
        IDS, target=1, return_convergence_delta=True
    )
    assert [s.shape[1:] for s in scores] == [(5, 32)] * 3
    assert float(delta.abs().max()) < 1e-8


def test_a_map_over_tokens():
    torch.manual_seed(0)
    sizes = {"intermediate_size": 64, "image_size": 32, "patch_size": 8, "num_labels": 3}
    model = ready(ViTForImageClassification(ViTConfig(**HEADS, **sizes)))
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)

    def grid(y):
        return y[:, 1:].transpose(1, 2).unflatten(2, (4, 4))

    tokens = LayerGradCam(model, model.vit.layernorm).attribute(images, target=1)
    picture = LayerGradCam(model, model.vit.layernorm, reshape_transform=grid)
    assert tokens.shape == (2, 1, 17)
    assert picture.attribute(images, target=1).shape == (2, 1, 4, 4)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_what_comes_before_a_layer_is_replayed(kind, monkeypatch):
    """Also with a mask that the model makes of its own, and to the same numbers."""
    model = {"bert": bert, "llama": llama}[kind]()
    blocks = model.bert.encoder.layer[1].output if kind == "bert" else model.model.layers[1].mlp
    target = 1 if kind == "bert" else (4, 5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    method, replayed = LayerFeatureAblation(model, blocks), []
    real = prefix.Prefix._replayed
    monkeypatch.setattr(
        prefix.Prefix, "_replayed", lambda *a: replayed.append(a) or real(*a), raising=True
    )
    options = {"target": target, "forward_kwargs": {"attention_mask": mask}}
    found = method.attribute(IDS, **options)
    assert replayed
    monkeypatch.setattr(prefix, "_PAYS", 1 << 60)
    replayed.clear()
    wanted = method.attribute(IDS, **options)
    assert not replayed
    assert torch.allclose(found, wanted, atol=1e-12)
