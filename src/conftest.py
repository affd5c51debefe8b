"""What the examples in docstrings of language models call `model` and `tokenizer`."""

from __future__ import annotations

from typing import Any

import pytest

collect_ignore = ["conftest.py"]  # not a module with examples: tests has another of this name
WORDS = ["<unk>", "<s>", "the", "a", "cat", "dog", "mat", "sat", "ran", "on", "."]


@pytest.fixture(autouse=True)
def language_model(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    if "llm" not in str(request.node.path):
        return
    transformers, tokenizers = map(pytest.importorskip, ("transformers", "tokenizers"))
    words = {word: i for i, word in enumerate(WORDS)}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    doctest_namespace["tokenizer"] = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>"
    )
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    doctest_namespace["model"] = transformers.LlamaForCausalLM(config).eval()
