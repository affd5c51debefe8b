"""Tokenizers that need no download, each with a habit of real ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import tokenizers as tk
import torch
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "the quick brown fox jumps over the lazy dog . the cat sat on the mat !",
    "Dave lives in Palm Coast , and Ann lives in Rome . where does Dave live ?",
    "it's a well-known rule : café über naïve 東京 . user assistant system hello world",
]


class Letters:
    """A token per character; no offsets, no special tokens: the least a tokenizer can be."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(c) % 64 for c in text]

    def decode(self, ids: Any, **_: Any) -> str:
        return "".join(chr(64 + i) if i < 32 else chr(i) for i in ids)

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.decode([i]) for i in ids]

    def convert_tokens_to_ids(self, token: str) -> int:
        return ord(token) % 64


@cache
def words() -> PreTrainedTokenizerFast:
    """A token per word, and a `<s>` in front."""
    found = sorted({word for text in TEXTS for word in text.split()})
    return _words(["<unk>", "<s>", "</s>", "[MASK]", *found])


def _words(vocabulary: list[str]) -> PreTrainedTokenizerFast:
    plain = tk.Tokenizer(
        tk.models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>")
    )
    plain.pre_tokenizer = tk.pre_tokenizers.WhitespaceSplit()
    return _with_start(plain)


@cache
def bytes_bpe() -> PreTrainedTokenizerFast:
    """Merged bytes with the space in front of a word, as of GPT-2 and Llama 3; with a `<s>`."""
    plain = tk.Tokenizer(tk.models.BPE())
    plain.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = tk.decoders.ByteLevel()
    trainer = tk.trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=tk.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(TEXTS, trainer)
    return _with_start(plain)


@cache
def metaspace_bpe() -> PreTrainedTokenizerFast:
    """A space in front of every text, as of Llama 2: a word encoded alone looks like another."""
    plain = tk.Tokenizer(tk.models.BPE(unk_token="<unk>", byte_fallback=False))
    plain.pre_tokenizer = tk.pre_tokenizers.Metaspace(prepend_scheme="always")
    plain.decoder = tk.decoders.Metaspace(prepend_scheme="always")
    trainer = tk.trainers.BpeTrainer(
        vocab_size=160, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    plain.train_from_iterator(TEXTS, trainer)
    return _with_start(plain)


def _with_start(plain: tk.Tokenizer) -> PreTrainedTokenizerFast:
    start = plain.token_to_id("<s>")
    plain.post_processor = tk.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", start)]
    )
    found = PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    found.chat_template = CHAT
    return found


# It trims contents, writes roles out, and brings its own start.
CHAT = (
    "{{ bos_token }}"
    "{% for m in messages %}{{ m['role'] }} : {{ m['content'] | trim }} </s>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)


def ids(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)
