"""Where texts end up in a larger text that somebody else's code writes: by marks around them."""

from __future__ import annotations

from collections.abc import Sequence

from captum.attr.llm.tokens import Span

_OPEN, _CLOSE = 0xF0000, 0x100000  # characters for private use: nobody's text has them


def marked(texts: Sequence[str]) -> list[str]:
    """The texts, each between two characters of its own."""
    return [chr(_OPEN + i) + text + chr(_CLOSE + i) for i, text in enumerate(texts)]


def found(text: str, count: int) -> tuple[list[list[Span]], str]:
    """Where each of so many texts stands, once or more often, and the text without the marks.

    >>> found("the " + marked(["cat"])[0] + " sat", 1)
    ([[(4, 7)]], 'the cat sat')
    """
    spans: list[list[Span]] = [[] for _ in range(count)]
    starts: dict[int, int] = {}
    clean: list[str] = []
    for character in text:
        code = ord(character)
        if _OPEN <= code < _OPEN + count:
            starts[code - _OPEN] = len(clean)
        elif _CLOSE <= code < _CLOSE + count:
            start = starts.get(code - _CLOSE, len(clean))
            if start < len(clean):
                spans[code - _CLOSE].append((start, len(clean)))
        else:
            clean.append(character)
    return spans, "".join(clean)
