"""A page about a result that needs nothing but a browser: the prompt coloured by its scores.

Every text of the user's is escaped, and the page runs no script of theirs and asks no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import count

from torch import Tensor

from captum.attr.visualization.text import PAGE, legend_line, mark

_MOST_COLUMNS = 60  # of the table of all scores
_NUMBER = count()  # results on one page must not mix

_STYLE = """<style>
.llm-target label { cursor: pointer; padding: 0.1em 0.3em; border: 1px solid #999;
  border-radius: 4px; margin-right: 0.2em; display: inline-block; line-height: 1.6; }
.llm-prompt { display: none; line-height: 2; white-space: pre-wrap; }
.llm input { position: absolute; opacity: 0; }
.llm input:focus-visible ~ .llm-target { outline: 2px solid #47a; outline-offset: 4px; }
.llm table { border-collapse: collapse; margin-top: 1em; font-size: 0.8em; }
.llm td, .llm th { padding: 0.15em 0.4em; text-align: right; }
</style>"""


def document(body: str) -> str:
    """A whole page around a fragment."""
    return PAGE.format(data=body)


def choices(
    features: Sequence[str],
    tokens: Sequence[str],
    whole: Tensor,
    by_token: Tensor | None,
    chances: Tensor | None,
) -> str:
    """Choose the target, or one of its tokens, and see the prompt's features for it.

    Args:
        features: their names, (G,).
        tokens: the target's, (T,).
        whole: scores for the whole target, (G,).
        by_token: scores for every token, (T, G), if they are known.
        chances: the probability of every token, (T,), if it is known.
    """
    group = f"llm{next(_NUMBER)}"
    views = [("whole answer", "", whole)]
    if by_token is not None:
        titles = [""] * len(tokens)
        if chances is not None:
            titles = [f' title="probability {p:.3g}"' for p in chances.tolist()]
        views += list(zip(tokens, titles, by_token, strict=True))
    inputs, labels, prompts, rules = [], [], [], []
    for i, (name, title, scores) in enumerate(views):
        key = f"{group}-{i}"
        checked = " checked" if i == 0 else ""
        inputs.append(f'<input type="radio" name="{group}" id="{key}"{checked}>')
        labels.append(f'<label for="{key}"{title}>{escape(name) or "&nbsp;"}</label>')
        prompts.append(f'<div class="llm-prompt" id="{key}-p">{_words(features, scores)}</div>')
        rules.append(
            f"#{key}:checked ~ #{key}-p {{ display: block; }} "
            f'#{key}:checked ~ .llm-target label[for="{key}"] {{ background: #cde; }}'
        )
    everything = "" if by_token is None else _table(tokens, features, by_token)
    return (
        f'{_STYLE}<style>{"".join(rules)}</style><div class="llm">{"".join(inputs)}'
        f'<p>Choose what to explain:</p><div class="llm-target">{"".join(labels)}</div>'
        f"<p>Scores of the prompt:</p>{''.join(prompts)}{legend_line()}{everything}</div>"
    )


def pairs(features: Sequence[str], scores: Tensor) -> str:
    """Scores of pairs of features, (G, G)."""
    return f'{_STYLE}<div class="llm">{_table(features, features, scores)}</div>'


def _words(features: Sequence[str], scores: Tensor) -> str:
    """The prompt's features, as green or red as their share of the largest score."""
    largest = float(scores.abs().max()) or 1.0
    return " ".join(
        mark(name, score / largest, f"{score:+.4f}")
        for name, score in zip(features, scores.tolist(), strict=True)
    )


def _table(down: Sequence[str], across: Sequence[str], rows: Tensor) -> str:
    """All scores, while they fit on a page."""
    if len(across) > _MOST_COLUMNS:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in across)
    body = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f"<td>{score:+.3f}</td>" for score in scores)
        + "</tr>"
        for name, scores in zip(down, rows.tolist(), strict=True)
    )
    table = f"<table><tr><th></th>{head}</tr>{body}</table>"
    return f"<details open><summary>All scores</summary>{table}</details>"
