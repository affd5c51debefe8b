"""Docstrings here are plain text with backticks; reStructuredText reads more into some signs.

`(N, *F)` would open an emphasis, `|x|` a substitution, `x_` a reference. They are escaped outside
code, before napoleon reads the sections; and "see the glossary" becomes a link.
"""

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_SIGNS = re.compile(r"([*|]|(?<=\w)_(?!\w))")


def escaped(line: str) -> str:
    r"""The line with its signs escaped outside backticks.

    >>> escaped("scores (N, *F) of `f(*x)`")
    'scores (N, \\*F) of `f(*x)`'
    """
    parts = _CODE.split(line)
    parts[::2] = (_SIGNS.sub(r"\\\1", part) for part in parts[::2])
    return "".join(parts).replace("see the glossary", ":doc:`see the glossary </glossary>`")


def plain(lines: list[str]) -> Iterator[str]:
    """Every line, escaped unless it belongs to a doctest, which ends at an empty line."""
    example = False
    for line in lines:
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        yield line if example else escaped(line)


def process(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    lines[:] = list(plain(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process, priority=400)  # napoleon comes at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
