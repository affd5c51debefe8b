"""What comes of a result: tables, figures, pages, and back from text."""

import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from captum.attr import ImageMaskInput, LLMAttributionResult

BAD = ["<b>", "$x$", "a", "a", "\n"]


def result(**options):
    given = {
        "input_tokens": BAD,
        "output_tokens": ["</script>", "ok"],
        "seq_attr": [0.5, -2.0, 0.0, 1.0, 0.25],
        "token_attr": np.arange(10, dtype=np.float32).reshape(2, 5) / 10,
        "output_probs": torch.tensor([0.5, 0.25]),
    }
    return LLMAttributionResult(**{**given, **options})


def test_attributes():
    found = result(seq_attr=torch.ones(5, requires_grad=True))
    assert not found.seq_attr.requires_grad
    assert found.token_attr.shape == (2, 5)
    found.seq_attr = [1, 2, 3, 4, 5]
    assert list(found.seq_attr_dict.items()) == [
        ("<b>", 1), ("$x$", 2), ("a", 3), ("a (2)", 4), ("\n", 5)
    ]  # fmt: skip
    assert "input_tokens" in repr(found)
    assert result(token_attr=None).token_attr is None


def test_json_and_back():
    found = result(seq_std=[0.1] * 5, covered=0.9, evaluations=7, forward_tokens=70)
    again = LLMAttributionResult.from_json(found.to_json())
    for name in ("seq_attr", "token_attr", "output_probs", "seq_std"):
        assert torch.equal(getattr(again, name), getattr(found, name)), name
    assert again.token_std is None
    for name in ("input_tokens", "output_tokens", "covered", "evaluations", "forward_tokens"):
        assert getattr(again, name) == getattr(found, name)
    json.loads(found.to_json())
    for bad in ("{}", "[]", "nothing", '{"what": 1}'):
        with pytest.raises(ValueError, match=r"what to_json\(\) wrote"):
            LLMAttributionResult.from_json(bad)


def test_data_frame():
    frame = result().to_dataframe()
    assert list(frame.columns) == ["feature", "position", "token", "token_position", "score"]
    assert len(frame) == 5 + 10
    assert frame[frame.token == "ok"].score.tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert frame[frame.token_position == -1].score.tolist() == [0.5, -2.0, 0.0, 1.0, 0.25]
    assert len(result(token_attr=None).to_dataframe()) == 5


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_a_page_of_its_own(tmp_path):
    path = tmp_path / "x.html"
    result().save(path)
    text = path.read_text()
    page = Page(text)
    kinds = [tag for tag, _ in page.tags]
    assert "script" not in kinds
    assert kinds.count("b") == 1, "the legend's own"
    assert not re.search(r"https?://|url\(|@import|src=", text)
    assert {"<b>", "</script>", "ok"} <= {word.strip() for word in page.words}
    choices = [attrs["id"] for tag, attrs in page.tags if tag == "input"]
    assert len(choices) == 3, "the whole target and both tokens"
    prompts = [attrs for tag, attrs in page.tags if attrs.get("class") == "llm-prompt"]
    assert [attrs["id"] for attrs in prompts] == [f"{choice}-p" for choice in choices]
    marks = [attrs["title"] for tag, attrs in page.tags if tag == "mark"]
    assert marks[:2] == ["+0.5000", "-2.0000"]
    assert text.count("probability 0.5") == 1
    result(token_attr=None).save(path)
    assert "All scores" not in path.read_text()
    pairs = result(seq_attr=torch.eye(5), token_attr=None)
    pairs.save(path)
    assert path.read_text().count("<td>") == 25


def test_two_results_on_one_page_do_not_mix():
    one, two = result(), result()
    names = [set(re.findall(r'name="(llm\w+)"', each._repr_html_())) for each in (one, two)]
    assert not names[0] & names[1]


def test_figures():
    for found in (result(), result(seq_std=torch.full((5,), 0.1))):
        figure, axes = found.plot_seq_attr()
        heights = [bar.get_height() for bar in axes.patches]
        assert heights == pytest.approx([0.5, -2.0, 0.0, 1.0, 0.25])
        figure.canvas.draw()
    figure, axes = result().plot_token_attr()
    assert axes.images[0].get_array().shape == (2, 5)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["</script>", "ok"]
    figure.canvas.draw()
    figure, axes = result(seq_attr=torch.eye(5), token_attr=None).plot_seq_attr()
    assert axes.images[0].get_array().shape == (5, 5)
    with pytest.raises(ValueError, match="scores for every token"):
        result(token_attr=None).plot_token_attr()
    with pytest.raises(ValueError, match="one score per feature"):
        _ = result(seq_attr=torch.eye(5)).seq_attr_dict
    with pytest.raises(ValueError, match="the result of an ImageMaskInput"):
        result().plot_image_heatmap()
    assert result().plot_seq_attr(show=True) is None
    plt.close("all")


def test_long_names_fit():
    """Sentences as features: cut to a bearable length, and no layout gives up."""
    long = "Dave lives in Palm Coast. Ann lives in Cedar Hill. Ben lives in Silver Lake."
    found = result(input_tokens=[long, "a", long, "b", long], output_tokens=[long, "c"])
    for figure, axes in (found.plot_token_attr(), found.plot_seq_attr()):
        figure.canvas.draw()
        labels = [t.get_text() for t in axes.get_xticklabels()]
        assert labels[0] == "Dave lives in Palm Coast. A…"
        assert axes.get_position().width > 0.3
    plt.close("all")


def pictures(listed):
    image = Image.new("RGB", (6, 4), (10, 20, 30))
    left = torch.zeros(4, 6, dtype=torch.bool)
    left[:, :3] = True
    if listed:
        return ImageMaskInput(image, mask_list=[left, ~left, left | True])
    return ImageMaskInput(image, mask=left.long())


@pytest.mark.parametrize("listed", [False, True])
def test_figures_of_pictures(listed):
    inp = pictures(listed)
    count = inp.n_itp_features
    found = LLMAttributionResult(
        input_tokens=inp.values,
        output_tokens=["a", "b"],
        seq_attr=torch.arange(count) + 1.0,
        token_attr=torch.stack([torch.ones(count), torch.arange(count) * 2.0]),
        inp=inp,
    )
    for position, scores in (
        (None, found.seq_attr),
        (1, found.token_attr[1]),
        ((0, 2), found.token_attr.sum(0)),
    ):
        figure, axes = found.plot_image_heatmap(target_token_pos=position)
        drawn = torch.from_numpy(np.asarray(axes.images[1].get_array()))
        assert torch.allclose(drawn, inp.format_pixel_attr(scores[None])[0])
        figure.canvas.draw()
    for bad in (2, (1, 1), (0, 3), -1):
        with pytest.raises(ValueError, match="a position from 0 to 1"):
            found.plot_image_heatmap(target_token_pos=bad)
    figure, axes = inp.plot_mask_overlay(border_width=1)
    figure.canvas.draw()
    assert len(axes.texts) == count
    plt.close("all")


def test_segments_of_pictures():
    inp = pictures(True)
    assert [int(mask.sum()) for mask in inp.get_mask_list()] == [12, 12, 24]
    pixels = np.asarray(inp.to_model_input(torch.tensor([[0, 1, 1]])))
    assert (pixels[:, :3] == 255).all()
    assert (pixels[0, 3] == [10, 20, 30]).all()
    assert (np.asarray(inp.to_model_input(torch.tensor([[1, 1, 0]]))) == 255).all()
    assert inp.format_pixel_attr(torch.tensor([[1.0, 2, 4]]))[0, 0].tolist() == [5, 5, 5, 6, 6, 6]
    whole = ImageMaskInput(inp.image, baseline=(0, 0, 0), processor_fn=np.asarray)
    assert whole.n_itp_features == 1
    assert not whole.to_model_input(torch.zeros(1, 1)).any()
    with pytest.raises(ValueError, match="masks of the picture's height and width"):
        ImageMaskInput(inp.image, torch.zeros(6, 4))
    with pytest.raises(ValueError, match="at least one mask"):
        ImageMaskInput(inp.image, mask_list=[])
