"""A page about a result that needs nothing but a browser: the prompt coloured by its scores.

Every text of the user's is escaped, and the page runs no script of theirs and asks no network.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from torch import Tensor

from captum.attr.visualization.text import PAGE, legend_line, mark

if TYPE_CHECKING:
    from captum.attr.llm.result import LLMAttributionResult

_MOST_COLUMNS = 60  # of the table of all scores

_STYLE = """<style>
.llm-target label { cursor: pointer; padding: 0.1em 0.3em; border: 1px solid #999;
  border-radius: 4px; margin-right: 0.2em; display: inline-block; line-height: 1.6; }
.llm-prompt { display: none; line-height: 2; white-space: pre-wrap; }
.llm input { position: absolute; opacity: 0; }
.llm table { border-collapse: collapse; margin-top: 1em; font-size: 0.8em; }
.llm td, .llm th { padding: 0.15em 0.4em; text-align: right; }
</style>"""


def document(result: LLMAttributionResult) -> str:
    """The whole page."""
    return PAGE.format(data=fragment(result))


def fragment(result: LLMAttributionResult) -> str:
    """What a notebook shows: choose the target, or one of its tokens, and see the prompt for it."""
    if result.seq_attr.ndim != 1:
        rows = [("", result.seq_attr[i]) for i in range(len(result.seq_attr))]
        names = [*result.input_tokens]
        return _STYLE + '<div class="llm">' + _table(names, result.input_tokens, rows) + "</div>"
    per_token = result.token_attr
    views = [("whole answer", result.seq_attr)]
    if per_token is not None:
        views += list(zip(result.output_tokens, per_token, strict=True))
    group = f"llm{id(result):x}"
    inputs, labels, prompts, rules = [], [], [], []
    for i, (name, scores) in enumerate(views):
        key = f"{group}-{i}"
        checked = " checked" if i == 0 else ""
        inputs.append(f'<input type="radio" name="{group}" id="{key}"{checked}>')
        chance = _chance(result, i - 1)
        labels.append(f'<label for="{key}"{chance}>{escape(name) or "&nbsp;"}</label>')
        prompts.append(f'<div class="llm-prompt" id="{key}-p">{_words(result, scores)}</div>')
        rules.append(
            f"#{key}:checked ~ #{key}-p {{ display: block; }} "
            f'#{key}:checked ~ .llm-target label[for="{key}"] {{ background: #cde; }}'
        )
    table = _table(result.output_tokens, result.input_tokens, views[1:])
    return (
        f'{_STYLE}<style>{"".join(rules)}</style><div class="llm">{"".join(inputs)}'
        f'<p>Choose what to explain:</p><div class="llm-target">{"".join(labels)}</div>'
        f"<p>Scores of the prompt:</p>{''.join(prompts)}{legend_line()}{table}</div>"
    )


def _words(result: LLMAttributionResult, scores: Tensor) -> str:
    """The prompt's features, as green or red as their share of the largest score."""
    largest = float(scores.abs().max()) or 1.0
    return " ".join(
        mark(name, score / largest, f"{score:+.4f}")
        for name, score in zip(result.input_tokens, scores.tolist(), strict=True)
    )


def _chance(result: LLMAttributionResult, token: int) -> str:
    if token < 0 or result.output_probs is None:
        return ""
    return f' title="probability {float(result.output_probs[token]):.3g}"'


def _table(down: list[str], across: list[str], rows: list[tuple[str, Tensor]]) -> str:
    """All scores, while they fit on a page."""
    if not rows or len(across) > _MOST_COLUMNS:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in across)
    body = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f"<td>{score:+.3f}</td>" for score in scores.tolist())
        + "</tr>"
        for name, (_, scores) in zip(down, rows, strict=False)
    )
    table = f"<table><tr><th></th>{head}</tr>{body}</table>"
    return f"<details open><summary>All scores</summary>{table}</details>"
