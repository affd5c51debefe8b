"""Words coloured by their attributions, as an HTML table."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum.attr.visualization.scaling import Values, finite

COLUMNS = (
    "True Label",
    "Predicted Label",
    "Attribution Label",
    "Attribution Score",
    "Word Importance",
)
WIDTHS = "<colgroup>" + 4 * "<col>" + '<col style="width: 60%"></colgroup>'
CELL = "text-align: left; vertical-align: top; padding-right: 2em"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Attributions</title>
<style>
body {{ font: 16px/1.6 system-ui, sans-serif; margin: 2em; color: #111; background: #fff; }}
</style></head>
<body>
{data}
</body>
</html>
"""


@dataclass(eq=False, slots=True)
class VisualizationDataRecord:
    """One row of `visualize_text`: a text of T tokens and what was said about it.

    Args:
        word_attributions: (T,), between -1 and 1; longer ones are cut, as padding has no token.
        pred_prob, attr_score, convergence_score: a number, a tensor of one number or a string.
        pred_class, true_class, attr_class: a name, a number or a tensor of one number.
        raw_input_ids: the T tokens.

    >>> record = VisualizationDataRecord([0.5], 0.9, 1, 1, "pos", 0.5, ["good"], 0.01)
    >>> record.attr_class
    'pos'
    """

    word_attributions: Values
    pred_prob: float | Tensor | str
    pred_class: object
    true_class: object
    attr_class: object
    attr_score: float | Tensor | str
    raw_input_ids: Sequence[object]
    convergence_score: float | Tensor | str


class TextVisualization:
    """What `visualize_text` returns: `data` is the HTML, notebooks draw it, `save` keeps it.

    >>> TextVisualization("<p>hello</p>").data
    '<p>hello</p>'
    """

    def __init__(self, data: str) -> None:
        self.data = data
        self._cell: int | None = None

    def __repr__(self) -> str:
        return f"<TextVisualization of {len(self.data)} characters: .data, .save('words.html')>"

    def _repr_html_(self) -> str:
        return self.data

    def _ipython_display_(self) -> None:
        """Once per cell: `visualize_text` shows itself, and so would the cell's last value."""
        shell = notebook()
        if shell is not None and self._cell != shell.execution_count:
            self._cell = shell.execution_count
            import_module("IPython.display").display(
                {"text/html": self.data, "text/plain": repr(self)}, raw=True
            )

    def save(self, path: str | Path) -> None:
        """Write a complete HTML document, readable without a notebook."""
        page = PAGE.format(data=self.data)
        Path(path).write_text(page, encoding="utf-8", errors="xmlcharrefreplace")


def notebook() -> Any:
    """IPython's running shell, or None."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def visualize_text(
    datarecords: Iterable[VisualizationDataRecord], legend: bool = True
) -> TextVisualization:
    """One table row per record: labels, score, and the words on green (for) or red (against).

    Inside a notebook the table is shown by the call itself.  Every text of the user's is escaped.

    Args:
        datarecords: the rows.
        legend: whether a line above the table explains the colours.

    Raises:
        ValueError: fewer attributions than tokens, or NaN among them.

    >>> record = VisualizationDataRecord(
    ...     [0.8, -0.1], 0.93, "pos", "pos", "pos", 0.7, ["good", "<unk>"], 0.0)
    >>> "good" in visualize_text([record]).data
    True
    """
    if isinstance(datarecords, VisualizationDataRecord):
        raise wrong(TypeError, "a list of records", "a single record", "visualize_text([record])")
    header = "".join(f'<th style="{CELL}">{name}</th>' for name in COLUMNS)
    rows = "".join(f"<tr>{row(record)}</tr>" for record in datarecords)
    table = f'<table style="width: 100%">{WIDTHS}<tr>{header}</tr>{rows}</table>'
    page = TextVisualization(f"<div>{legend_line() if legend else ''}{table}</div>")
    page._ipython_display_()
    return page


def row(record: VisualizationDataRecord) -> str:
    """The five cells of one record."""
    return "".join(
        (
            format_classname(plain(record.true_class)),
            format_classname(f"{plain(record.pred_class)} ({rounded(record.pred_prob)})"),
            format_classname(plain(record.attr_class)),
            format_classname(rounded(record.attr_score)),
            format_word_importances(record.raw_input_ids, record.word_attributions),
        )
    )


def plain(value: object) -> object:
    """The number inside a tensor of one number; anything else as it is."""
    if not isinstance(value, Tensor | np.ndarray | np.generic):
        return value
    if (value.numel() if isinstance(value, Tensor) else value.size) == 1:
        return value.item()
    raise wrong(
        ValueError, "one number per field of a record", describe(value), "attr_score=attr.sum()"
    )


def rounded(value: object) -> str:
    """A score to two digits; a string as it is.

    >>> rounded(0.987), rounded("n/a")
    ('0.99', 'n/a')
    """
    number = plain(value)
    return f"{number:.2f}" if isinstance(number, int | float) else str(number)


def format_classname(classname: object) -> str:
    """A table cell with the class in bold.

    >>> format_classname("<pos>")
    '<td style="..."><b>&lt;pos&gt;</b></td>'
    """
    return f'<td style="{CELL}"><b>{escape(str(classname))}</b></td>'


def format_special_tokens(token: object) -> str:
    """`<name>` as `#name`, any other token as it is; nothing is escaped here.

    >>> format_special_tokens("<pad>"), format_special_tokens("[CLS]")
    ('#pad', '[CLS]')
    """
    return re.sub(r"^<([^<>]+)>$", r"#\1", str(token))


def format_tooltip(item: object, text: object) -> str:
    """An item of class `tooltip` holding its `tooltiptext`, for a page that styles the two.

    >>> format_tooltip("word", 0.5)
    '<div class="tooltip">word<span class="tooltiptext">0.5</span></div>'
    """
    tip = f'<span class="tooltiptext">{escape(str(text))}</span>'
    return f'<div class="tooltip">{escape(str(item))}{tip}</div>'


def get_color(attr: float) -> str:
    """Green for positive, red for negative, white for 0; saturated from magnitude 1 on.

    >>> get_color(1.0), get_color(-0.5), get_color(0.0)
    ('hsl(120, 75%, 50%)', 'hsl(0, 75%, 80%)', 'hsl(0, 75%, 100%)')
    """
    value = max(-1.0, min(1.0, attr))
    hue, depth = (120, 50) if value > 0 else (0, 40)
    return f"hsl({hue}, 75%, {100 - int(depth * abs(value))}%)"


def format_word_importances(words: Sequence[object], importances: Values | None) -> str:
    """A table cell with each word on its colour, and its number where pointed at.

    Args:
        words: the T tokens.
        importances: at least T numbers; those beyond the words are padding.  None or nothing at
            all: an empty cell.

    Raises:
        ValueError: fewer importances than words, more than one per word, or NaN among them.

    >>> format_word_importances(["<s>"], [0.5])
    '<td style="..."><mark title="+0.5000" style="...hsl(120, 75%, 75%)...">#s</mark></td>'
    """
    if importances is None or not len(importances):
        return "<td></td>"
    numbers = finite(importances, "importances")
    if numbers.ndim != 1 or len(numbers) < len(words):
        raise wrong(
            ValueError,
            f"one importance per word, {len(words)} in all",
            describe(importances),
            "format_word_importances(tokens, attr.sum(-1).squeeze(0))",
        )
    marks = (mark(plain(word), float(number)) for word, number in zip(words, numbers, strict=False))
    return f'<td style="{CELL}">{" ".join(marks)}</td>'


def mark(word: object, importance: float, title: str | None = None) -> str:
    """One word: black on its colour, whatever the page's own colours are; its number on demand."""
    style = (
        f"background-color: {get_color(importance)}; color: black; padding: 0 0.2em; "
        "line-height: 1.75"
    )
    text = escape(format_special_tokens(word))
    title = f"{importance:+.4f}" if title is None else title
    return f'<mark title="{title}" style="{style}">{text}</mark>'


def swatch(name: str, value: float) -> str:
    """One entry of the legend."""
    style = "display: inline-block; width: 10px; height: 10px; border: 1px solid"
    return f'<span style="{style}; background-color: {get_color(value)}"></span> {name} '


def legend_line() -> str:
    """The line that explains the colours."""
    entries = swatch("Negative", -1.0) + swatch("Neutral", 0.0) + swatch("Positive", 1.0)
    return f'<div style="border-top: 1px solid; padding-top: 5px"><b>Legend: </b>{entries}</div>'
