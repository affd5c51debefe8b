"""Attribution of texts by a small Llama, a character a token.

The published package scores prompts one by one, without the cache that it gets wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import transformers as hf

from .cases import Attr, Case
from .models import filled

CASES: dict[str, Case] = {}
PROMPT, TARGET = "hello you", "and me"


class Characters:
    """The least of a tokenizer that both packages can work with."""

    def encode(
        self, text: str, add_special_tokens: bool = True, return_tensors: str | None = None
    ) -> Any:
        ids = [ord(c) - 31 for c in text]
        return torch.tensor([ids]) if return_tensors == "pt" else ids

    def __call__(self, text: str, **_: Any) -> dict[str, Any]:
        return {
            "input_ids": self.encode(text),
            "offset_mapping": [(i, i + 1) for i in range(len(text))],
        }

    def decode(self, ids: Any, **_: Any) -> str:
        numbers = torch.as_tensor(ids).reshape(-1).tolist()
        return "".join(chr(31 + i) for i in numbers)

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return [self.decode([i]) for i in torch.as_tensor(ids).reshape(-1).tolist()]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        return self.encode(tokens)[0] if isinstance(tokens, str) else self.encode("".join(tokens))


@cache
def llama() -> Any:
    config = hf.LlamaConfig(
        vocab_size=100,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return filled(hf.LlamaForCausalLM(config))


def scores(result: Any) -> dict[str, Any]:
    return {
        "whole": result.seq_attr.float(),
        "tokens": result.token_attr.float(),
        "inputs": list(result.input_tokens),
    }


def perturbed(method: str, inp: Callable[[Attr], Any], what: str = "log_prob") -> Case:
    def call(attr: Attr) -> object:
        explain = attr.LLMAttribution(getattr(attr, method)(llama()), Characters(), what)
        return scores(explain.attribute(inp(attr), target=TARGET, use_cached_outputs=False))

    return call


def differentiated(method: str, inp: Callable[[Attr], Any], **options: object) -> Case:
    def call(attr: Attr) -> object:
        model = llama()
        made = getattr(attr, method)(model, model.model.embed_tokens)
        explain = attr.LLMGradientAttribution(made, Characters())
        return scores(explain.attribute(inp(attr), target=TARGET, **options))

    return call


INPUTS: dict[str, Callable[[Attr], Any]] = {
    "tokens": lambda attr: attr.TextTokenInput(PROMPT, Characters(), baselines=3),
    "tokens but some": lambda attr: attr.TextTokenInput(
        PROMPT, Characters(), baselines="x", skip_tokens=["l", " "]
    ),
    "values": lambda attr: attr.TextTemplateInput("{} lives in {}!", ["Ann", "Rome"]),
    "names": lambda attr: attr.TextTemplateInput(
        "{who} in {city}, {land}",
        {"who": "Ann", "city": "Rome", "land": "Italy"},
        baselines={"who": "He", "city": "Lima", "land": "Peru"},
        mask={"who": 0, "city": 1, "land": 1},
    ),
    "function": lambda attr: attr.TextTemplateInput(
        lambda a, b, c: f"{c}-{b}-{a}", ["one", "two", "three"], ["x", "y", "z"], mask=[1, 0, 1]
    ),
}
for name, make in INPUTS.items():
    for method in ("FeatureAblation", "ShapleyValues"):
        if method == "FeatureAblation" or not name.startswith("tokens"):
            CASES[f"LLM {method}, {name}"] = perturbed(method, make)
    CASES[f"LLM FeatureAblation, {name}, prob"] = perturbed("FeatureAblation", make, "prob")
for name in ("tokens", "tokens but some"):
    CASES[f"LLM LayerIntegratedGradients, {name}"] = differentiated(
        "LayerIntegratedGradients", INPUTS[name], n_steps=7
    )
    CASES[f"LLM LayerGradientXActivation, {name}"] = differentiated(
        "LayerGradientXActivation", INPUTS[name]
    )
