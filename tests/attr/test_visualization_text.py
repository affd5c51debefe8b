"""Words on colours: parsed back from the HTML, never trusted to be harmless."""

import re
import sys
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum.attr import visualization as viz
from captum.attr.visualization.text import get_color

NASTY = "<script>alert('1')</script>&amp;\"q\""
quick = settings(deadline=None, max_examples=60)


class Reader(HTMLParser):
    """The elements of a page in order, their attributes and texts; fails where tags do not nest."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in ("col", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)


def record(words=("good", "grief"), numbers=(0.5, -0.5), name="pos"):
    return viz.VisualizationDataRecord(numbers, 0.987, name, "neg", name, 1.234, words, 0.01)


def test_a_row_says_everything():
    reader = Reader(viz.visualize_text([record()], legend=False).data)
    assert reader.texts == [
        "True Label",
        "Predicted Label",
        "Attribution Label",
        "Attribution Score",
        "Word Importance",
        "neg",
        "pos (0.99)",
        "pos",
        "1.23",
        "good",
        "grief",
    ]


def test_tensors_numbers_and_strings_are_the_same_row():
    of_tensors = viz.VisualizationDataRecord(
        torch.tensor([0.5, -0.5], requires_grad=True),
        torch.tensor(0.987),
        torch.tensor(1),
        torch.tensor([1]),
        np.int64(1),
        torch.tensor([1.234], requires_grad=True),
        ["good", "grief"],
        torch.tensor([0.01]),
    )
    of_numbers = viz.VisualizationDataRecord(
        [0.5, -0.5], "0.99", "1", 1, 1, 1.234, ["good", "grief"], 0.01
    )
    assert viz.visualize_text([of_tensors]).data == viz.visualize_text([of_numbers]).data


def test_one_row_per_record_and_a_legend_on_request():
    with_legend = Reader(viz.visualize_text(record() for _ in range(3)).data)
    assert with_legend.tags.count("tr") == 4
    assert with_legend.texts[:1] == ["Legend: "]
    assert "Legend" not in viz.visualize_text([record()], legend=False).data


def test_everything_of_the_users_is_escaped():
    page = viz.visualize_text([record([NASTY, NASTY], name=NASTY)]).data
    assert "script" not in Reader(page).tags
    assert Reader(page).texts.count(NASTY) == 3
    for cell in (
        viz.format_classname(NASTY),
        viz.format_tooltip(NASTY, NASTY),
        viz.format_word_importances([NASTY], [1.0]),
    ):
        assert "script" not in Reader(cell).tags


@quick
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), max_size=5))
def test_any_words_come_back_unchanged(words):
    cell = Reader(viz.format_word_importances(words, np.linspace(-1, 1, len(words))))
    shown = [viz.format_special_tokens(word) for word in words]
    assert cell.tags.count("mark") == len(words)
    assert cell.texts == [word for word in shown if word.strip()]


def channels(color):
    """An hsl colour as red, green and blue between 0 and 1."""
    hue, saturation, lightness = map(int, re.findall(r"\d+", color))
    spread = saturation / 100 * min(lightness / 100, 1 - lightness / 100)

    def channel(n):
        k = (n + hue / 30) % 12
        return lightness / 100 - spread * max(-1, min(k - 3, 9 - k, 1))

    return channel(0), channel(8), channel(4)


def contrast_with_black(color):
    """The contrast ratio of the Web Content Accessibility Guidelines."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(color)]
    return (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05) / 0.05


@quick
@given(st.floats(allow_nan=False))
def test_black_is_readable_on_every_colour_and_the_sign_shows(number):
    color = get_color(number)
    assert contrast_with_black(color) >= 4.5
    red, green, _ = channels(color)
    assert (green >= red) if number > 0 else (red >= green)
    assert color == get_color(max(-1.0, min(1.0, number)))


@quick
@given(st.floats(0, 1), st.floats(0, 1))
def test_more_attribution_is_never_paler(one, other):
    less, more = sorted((one, other))
    for direction in (1, -1):
        paler, deeper = (int(re.findall(r"\d+", get_color(direction * v))[2]) for v in (less, more))
        assert deeper <= paler


def test_a_neutral_word_is_white_and_its_number_is_told():
    marks = Reader(viz.format_word_importances(["a", "b"], [0.0, -0.25])).attributes[1:]
    assert "hsl(0, 75%, 100%)" in marks[0]["style"]
    assert [mark["title"] for mark in marks] == ["+0.0000", "-0.2500"]


@pytest.mark.parametrize(
    ("token", "shown"),
    [("<s>", "#s"), ("<pad>", "#pad"), ("[CLS]", "[CLS]"), ("<", "<"), ("a<b>", "a<b>"), (7, "7")],
)
def test_special_tokens(token, shown):
    assert viz.format_special_tokens(token) == shown


def test_padding_has_no_word_and_nothing_is_an_empty_cell():
    assert Reader(viz.format_word_importances(["a"], [0.1, 0.2])).tags.count("mark") == 1
    assert Reader(viz.format_word_importances(["a"], None)).texts == []
    assert Reader(viz.format_word_importances([], [])).texts == []


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0.1], "one importance per word, 2 in all"),
        (np.ones((2, 3)), "one importance per word"),
        ([0.1, float("nan")], "importances without NaN"),
    ],
)
def test_mistaken_importances_are_named(numbers, message):
    with pytest.raises(ValueError, match=message):
        viz.visualize_text([record(numbers=numbers)])


def test_mistaken_records_are_named():
    with pytest.raises(TypeError, match=r"works: visualize_text\(\[record\]\)"):
        viz.visualize_text(record())
    several = record()
    several.attr_score = torch.ones(2)
    with pytest.raises(ValueError, match="one number per field"):
        viz.visualize_text([several])


def test_a_saved_page_is_a_whole_document(tmp_path):
    shown = viz.visualize_text([record(["naïve", "日本", "\ud83d", "{braces}"], [0.1] * 4)])
    path = tmp_path / "words.html"
    shown.save(path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert {"html", "head", "meta", "body", "table"} <= set(Reader(text).tags)
    assert {"naïve", "日本", "{braces}"} <= set(Reader(text).texts)
    shown.save(str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


def test_outside_a_notebook_nothing_is_displayed(capsys):
    shown = viz.visualize_text([record()])
    assert shown._repr_html_() == shown.data
    assert "TextVisualization" in repr(shown)
    assert capsys.readouterr().out == ""


def test_inside_a_notebook_each_cell_shows_it_once(monkeypatch):
    displayed, shell = [], SimpleNamespace(execution_count=1)
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: shell
    display.display = lambda bundle, raw: displayed.append(bundle["text/html"])
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    shown = viz.visualize_text([record()])
    shown._ipython_display_()
    assert displayed == [shown.data]
    shell.execution_count = 2
    shown._ipython_display_()
    assert displayed == [shown.data] * 2
