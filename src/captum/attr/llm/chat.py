"""A chat whose features are the tokens of its messages, or groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from captum._engine.errors import describe, wrong
from captum.attr.llm import marks, tokens
from captum.attr.llm.text_tokens import TextTokenInput
from captum.attr.llm.tokens import Message, Span, Tokenizer


class ChatInput(TextTokenInput):
    r"""A chat, as the tokenizer's chat template writes it, up to where the answer begins.

    The features are in the messages' contents; what the template adds always stays.

    Args:
        messages: dicts with "role" and "content". Where the last one is the assistant's, it is
            the beginning of the answer.
        tokenizer: the model's; it needs to know which characters its tokens stand for.
        baselines: the token in the place of absent ones, by id or name; None takes them out.
        skip_tokens: tokens that are no features, by id or name; they always stay.
        groups: larger features, as for `TextTokenInput`; "messages" for each message as one.

    Raises:
        ValueError: a tokenizer without a chat template; contents that are no texts, or that the
            template changes.

    >>> from captum.attr import ChatInput
    >>> tokenizer.chat_template = "{% for m in messages %}<s> {{ m.content }} . {% endfor %}"
    >>> ChatInput([{"role": "user", "content": "the cat"}], tokenizer).values
    ['the', 'cat']
    """

    def __init__(
        self,
        messages: Sequence[Message],
        tokenizer: Tokenizer,
        baselines: int | str | None = 0,
        skip_tokens: Sequence[int] | Sequence[str] | None = None,
        *,
        groups: str | Sequence[Any] | None = None,
    ) -> None:
        if not tokens.is_chat(messages):
            raise wrong(
                ValueError,
                "a list of messages",
                describe(messages),
                "ChatInput([{'role': 'user', 'content': 'Hello'}], tokenizer)",
            )
        self.messages = list(messages)
        text = tokens.render_chat(tokenizer, messages)
        contents = _contents(tokenizer, text, messages)
        self._start(
            text,
            tokenizer,
            baselines,
            skip_tokens,
            list(contents) if groups == "messages" else groups or "tokens",
            contents,
            special=False,
        )


def _contents(tokenizer: Tokenizer, text: str, messages: Sequence[Message]) -> list[Span]:
    """Where the messages' contents are in the chat's text, which may have trimmed them."""
    contents = [message.get("content") for message in messages]
    written = [content for content in contents if isinstance(content, str)]
    if len(written) == len(contents):
        for texts in (written, [content.strip() for content in written]):
            pairs = zip(messages, marks.marked(texts), strict=True)
            shown = [{**message, "content": content} for message, content in pairs]
            spans, clean = marks.found(tokens.render_chat(tokenizer, shown), len(texts))
            if clean == text:
                return [span for each in spans for span in each]
    raise wrong(
        ValueError,
        "contents that are texts, which the chat template writes as they are",
        describe(contents),
        "TextTokenInput(text, tokenizer) for the text as the model reads it",
    )
