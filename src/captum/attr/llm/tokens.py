"""Text to token ids and back: what a tokenizer is asked, each question in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from captum._engine.errors import describe, wrong

# Anything with `encode`, `decode`, `convert_ids_to_tokens` and `convert_tokens_to_ids`.
Tokenizer = Any
Message = Mapping[str, Any]
Ids = npt.NDArray[np.int64]
Span = tuple[int, int]


def is_chat(prompt: object) -> bool:
    """Whether a prompt is a list of messages."""
    return (
        isinstance(prompt, Sequence)
        and not isinstance(prompt, str)
        and len(prompt) > 0
        and all(isinstance(message, Mapping) for message in prompt)
    )


def encode(tokenizer: Tokenizer, text: str) -> Ids:
    """The ids of a prompt, special tokens included, and the first of them only once.

    A text that went through a chat template begins with its own.
    """
    ids = as_ids(tokenizer.encode(text))
    return ids[_again(tokenizer, ids) :]


def encode_bare(tokenizer: Tokenizer, text: str) -> Ids:
    """The ids of a text and nothing else."""
    return as_ids(tokenizer.encode(text, add_special_tokens=False))


def encode_chat(tokenizer: Tokenizer, messages: Sequence[Message]) -> Ids:
    """The ids of a chat up to where the answer begins."""
    return encode_bare(tokenizer, render_chat(tokenizer, messages))


def render_chat(tokenizer: Tokenizer, messages: Sequence[Message]) -> str:
    """A chat as the text that the model reads, special tokens written out."""
    if getattr(tokenizer, "chat_template", None) is None:
        raise wrong(
            ValueError,
            "a tokenizer with a chat template, as the prompt is a list of messages",
            f"a {type(tokenizer).__name__} without one",
            "tokenizer.chat_template = '...', or the prompt as text",
        )
    last = messages[-1].get("role")
    how = {"continue_final_message": True} if last == "assistant" else {}
    text: str = tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=not how, **how
    )
    return text


def encode_with_spans(tokenizer: Tokenizer, text: str, special: bool) -> tuple[Ids, list[Span]]:
    """Ids, and the characters of the text that each stands for; special tokens stand for none."""
    try:
        found = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        ids, spans = (
            as_ids(found["input_ids"]),
            [(int(a), int(b)) for a, b in found["offset_mapping"]],
        )
    except (NotImplementedError, TypeError, KeyError):
        ids = as_ids(tokenizer.encode(text, add_special_tokens=special))
        return ids, _aligned(tokenizer, text, ids)
    again = _again(tokenizer, ids) if special else 0
    return ids[again:], spans[again:]


def target_ids(
    tokenizer: Tokenizer, prompt: str | None, ids: Ids, target: str, special: bool = True
) -> Ids:
    """The ids of exactly the target's text, as they follow the prompt.

    They are the tail of both encoded together where that begins with the prompt's own ids, as
    a tokenizer may write a word otherwise where it starts a text.
    """
    if prompt is not None and target:
        joint = (encode if special else encode_bare)(tokenizer, prompt + target)
        if len(joint) > len(ids) and np.array_equal(joint[: len(ids)], ids):
            return joint[len(ids) :]
    found = encode_bare(tokenizer, target)
    if not len(found):
        raise wrong(ValueError, "a target of at least one token", repr(target), "target=' Paris'")
    return found


def names(tokenizer: Tokenizer, ids: Ids) -> list[str]:
    """What the tokens are called."""
    return [str(name) for name in tokenizer.convert_ids_to_tokens(ids.tolist())]


def text(tokenizer: Tokenizer, ids: Ids) -> str:
    """A prompt as text, without the token that whoever reads it puts in front."""
    first = getattr(tokenizer, "bos_token_id", None)
    start = int(first is not None and len(ids) > 0 and ids[0] == first)
    found: str = tokenizer.decode(ids[start:].tolist())
    return found


def token_id(tokenizer: Tokenizer, token: int | str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token)) if isinstance(token, str) else int(token)


def as_ids(value: object) -> Ids:
    """Token ids (n,) from a list, or a tensor or an array (n,) or (1, n)."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    ids = np.asarray(value)
    if ids.ndim == 2 and len(ids) == 1:
        ids = ids[0]
    if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
        raise wrong(
            ValueError, "token ids of shape (n,) or (1, n)", describe(value), "tensor([[3, 7, 2]])"
        )
    return ids.astype(np.int64)


def _again(tokenizer: Tokenizer, ids: Ids) -> int:
    """How many tokens at the start only repeat the one that begins a text."""
    first = getattr(tokenizer, "bos_token_id", None)
    return int(first is not None and len(ids) > 1 and ids[0] == ids[1] == first)


def _aligned(tokenizer: Tokenizer, text: str, ids: Ids) -> list[Span]:
    """Spans from a tokenizer that does not tell: what decoding one more token adds."""
    special = set(getattr(tokenizer, "all_special_ids", ()))
    spans: list[Span] = []
    at, kept = 0, []
    for i in ids.tolist():
        if i in special:
            spans.append((at, at))
            continue
        kept.append(i)
        piece = tokenizer.decode(kept)[at:] if at else tokenizer.decode(kept)
        stop = at + len(piece)
        if text[at:stop] != piece:
            raise wrong(
                ValueError,
                "a tokenizer that says which characters a token stands for",
                f"a {type(tokenizer).__name__} without offsets, whose decoding is not the text",
                "a fast tokenizer: AutoTokenizer.from_pretrained(..., use_fast=True)",
            )
        spans.append((at, stop))
        at = stop
    return spans
