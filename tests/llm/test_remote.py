"""A model behind a real HTTP server gives what the model gives here; and servers that misbehave."""

import json

import pytest
import torch
import transformers as hf

from captum.attr import (
    Contrast,
    FeatureAblation,
    LLMAttribution,
    RemoteLLMAttribution,
    RemoteLLMProvider,
    ShapleyValueSampling,
    TextTemplateInput,
    TextTokenInput,
    VLLMProvider,
)

from .families import sharpened
from .server import serving
from .tokenizers import bytes_bpe

TEXT, TARGET = "the quick brown fox", " jumps over"


@pytest.fixture(scope="module")
def model():
    config = hf.LlamaConfig(
        vocab_size=len(bytes_bpe()), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, eos_token_id=2,
    )  # fmt: skip
    return sharpened(hf.LlamaForCausalLM(config))


@pytest.fixture
def server(model):
    with serving(model, bytes_bpe()) as state:
        yield state


@pytest.fixture
def provider(server):
    found = VLLMProvider(server.url, timeout=5, prompts_per_request=4, concurrency=2)
    yield found
    found.client.close()


def remote(provider, target="log_prob", method=FeatureAblation):
    placeholder = method(RemoteLLMAttribution.placeholder_model)
    return RemoteLLMAttribution(placeholder, bytes_bpe(), provider, target)


@pytest.mark.parametrize(
    "prompt",
    [
        TextTokenInput(TEXT, bytes_bpe()),
        TextTokenInput(TEXT, bytes_bpe(), baselines=None, groups="words"),
        TextTemplateInput("{} {} fox", ["the quick", "brown"]),
        TextTemplateInput(lambda x: [{"role": "user", "content": x}], ["hello"]),
    ],
    ids=["tokens", "words", "template", "chat"],
)
@pytest.mark.parametrize("target", ["log_prob", "prob", Contrast(" sat")], ids=str)
def test_the_same_as_here(model, server, provider, prompt, target):
    here = LLMAttribution(FeatureAblation(model), bytes_bpe(), target).attribute(prompt, TARGET)
    there = remote(provider, target).attribute(prompt, TARGET)
    assert torch.allclose(here.seq_attr, there.seq_attr, atol=1e-5)
    assert torch.allclose(here.output_probs, there.output_probs, atol=1e-6)
    if here.token_attr is not None:
        assert torch.allclose(here.token_attr, there.token_attr, atol=1e-5)
    assert here.output_tokens == there.output_tokens


def test_prompts_share_requests(server, provider):
    count = len(TextTokenInput(TEXT, bytes_bpe()).ids)
    result = remote(provider).attribute(TextTokenInput(TEXT, bytes_bpe()), TARGET)
    assert result.evaluations == count + 1
    # The whole prompt first; then four at a time, two requests at once.
    assert len(server.requests) == 1 + -(-count // 4)
    assert server.most_at_once <= 2
    for asked in server.requests:
        assert asked["model"] == "tiny"
        assert all(isinstance(i, int) for row in asked["prompt"] for i in row)
    sampled = remote(provider, method=ShapleyValueSampling).attribute(
        TextTemplateInput("{} {} fox", ["the quick", "brown"]), TARGET, n_samples=20
    )
    assert sampled.evaluations == 4, "no coalition twice"


def test_a_target_that_the_server_writes(model, server, provider):
    result = remote(provider).attribute(
        TextTokenInput(TEXT, bytes_bpe()),
        gen_args={"max_new_tokens": 3, "do_sample": False, "temperature": None},
    )
    ids = torch.tensor([bytes_bpe().encode(TEXT)])
    made = model.generate(ids, max_new_tokens=3, do_sample=False)[0, -3:].tolist()
    again = bytes_bpe().encode(bytes_bpe().decode(made), add_special_tokens=False)
    assert result.output_tokens == bytes_bpe().convert_ids_to_tokens(again)
    asked = server.requests[0]
    assert asked["max_tokens"] == 3
    assert asked["temperature"] == 0
    assert "do_sample" not in asked


def test_log_probs_of_a_text(model, provider):
    ids = bytes_bpe().encode(TEXT + TARGET)
    start = len(bytes_bpe().encode(TEXT))
    with torch.no_grad():
        logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    twin = [float(logs[i - 1, ids[i]]) for i in range(start, len(ids))]
    found = provider.get_logprobs(TEXT, TARGET, bytes_bpe())
    assert found == pytest.approx(twin, abs=1e-5)
    with pytest.raises(ValueError, match="the model's tokenizer"):
        provider.get_logprobs(TEXT, TARGET)
    with pytest.raises(ValueError, match="at least one token"):
        provider.get_logprobs(TEXT, "", bytes_bpe())


@pytest.mark.parametrize(
    "mischief",
    [[("fail", 500), ("fail", 429)], [("drop", None)], [("sleep", 1.5)]],
    ids=["busy", "dropped", "slow"],
)
def test_what_passes_is_tried_again(model, server, mischief):
    provider = VLLMProvider(server.url, timeout=0.75, max_retries=3)
    server.mischief[:] = mischief
    here = LLMAttribution(FeatureAblation(model), bytes_bpe())
    prompt = TextTokenInput(TEXT, bytes_bpe())
    found = remote(provider).attribute(prompt, TARGET)
    assert torch.allclose(found.seq_attr, here.attribute(prompt, TARGET).seq_attr, atol=1e-5)
    assert not server.mischief
    provider.client.close()


@pytest.mark.parametrize(
    "mischief", [("fail", 500), ("fail", 404), ("drop", None), ("sleep", 1.0)], ids=str
)
def test_what_stays_is_told(server, mischief):
    provider = VLLMProvider(server.url, timeout=0.25, max_retries=1)
    server.mischief[:] = [mischief] * 2
    with pytest.raises(ConnectionError, match=r"expected an answer of http://127"):
        remote(provider).attribute(TextTokenInput(TEXT, bytes_bpe()), TARGET)
    provider.client.close()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "expected JSON"),
        (b"[]", "the field 'choices'"),
        (b'{"choices": []}', "1 choices"),
        (b'{"choices": [{"text": ""}]}', "the field 'index'"),
        (b'{"choices": [{"index": 0}]}', "the field 'prompt_logprobs'"),
        (b'{"choices": [{"index": 0, "prompt_logprobs": [null]}]}', "a log-probability for each"),
        (None, "the log-probability of token"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_bad_replies(server, provider, body, message):
    length = len(bytes_bpe().encode(TEXT + TARGET))
    nothing = {"choices": [{"index": 0, "prompt_logprobs": [{"1": {}}] * length}]}
    server.mischief.append(("say", json.dumps(nothing).encode() if body is None else body))
    with pytest.raises(ValueError, match=message):
        remote(provider).attribute(TextTokenInput(TEXT, bytes_bpe()), TARGET)


def test_servers_and_models(server, monkeypatch):
    with pytest.raises(ValueError, match="a URL"):
        VLLMProvider("")
    with pytest.raises(ValueError, match=r"one of the server's models, \['tiny', 'other'\]"):
        VLLMProvider(server.url, "large")
    with pytest.raises(ConnectionError):
        VLLMProvider("http://127.0.0.1:9/v1", max_retries=0)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    chosen = VLLMProvider(server.url, "other")
    assert chosen.model_name == "other"
    assert "Bearer secret" in server.keys
    chosen.client.close()


class Counting(RemoteLLMProvider):
    """A provider of the user's own: one text at a time."""

    def __init__(self, extra=0):
        self.asked, self.extra = [], extra

    def generate(self, prompt, **gen_args):
        return " fox"

    def get_logprobs(self, input_prompt, target_str, tokenizer=None):
        self.asked.append((input_prompt, target_str))
        words = len(tokenizer.encode(target_str, add_special_tokens=False)) + self.extra
        return [-float(input_prompt.count("quick") + 1)] * words


def test_a_provider_of_one_s_own():
    provider = Counting()
    prompt = TextTemplateInput("the {} {}", ["quick", "brown"])
    result = remote(provider).attribute(prompt)
    count = len(result.output_tokens)
    assert result.seq_attr.tolist() == [-count, 0]
    assert [text for text, _ in provider.asked] == ["the quick brown", "the  brown", "the quick "]
    assert {target for _, target in provider.asked} == {" fox"}
    by_tokens = remote(provider).attribute(
        TextTokenInput("quick", bytes_bpe(), groups="words"), "!"
    )
    assert by_tokens.seq_attr.shape == (1,)
    with pytest.raises(ValueError, match="a log-probability for each"):
        remote(Counting(extra=1)).attribute(prompt, " fox")
    with pytest.raises(ValueError, match="servers tell nothing else"):
        remote(provider, "entropy")
    with pytest.raises(RuntimeError, match="the model is on a server"):
        RemoteLLMAttribution.placeholder_model(1)
