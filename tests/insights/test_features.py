"""Pictures, texts and numbers become plain data that is true to the scores."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from captum.insights import features
from captum.insights.features import (
    AGAINST,
    FOR,
    BaseFeature,
    EmptyFeature,
    GeneralFeature,
    ImageFeature,
    TextFeature,
)
from captum.insights.png import png


def pixels(uri: str) -> np.ndarray:
    """What another program sees in a picture of ours."""
    image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
    return np.asarray(image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_is_read_as_it_was_written(channels: int) -> None:
    wanted = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    image = Image.open(io.BytesIO(png(wanted)))
    image.verify()
    read = np.asarray(Image.open(io.BytesIO(png(wanted))))
    assert np.array_equal(read.reshape(wanted.shape), wanted)


def test_an_image_is_shown_with_signed_colours() -> None:
    data = torch.zeros(1, 3, 2, 2)
    data[0, 0, 0, 0] = 1
    scores = torch.zeros(1, 3, 2, 2)
    scores[0, :, 0, 0], scores[0, 0, 1, 1] = 1.0, -1.5
    shown = ImageFeature("Photo", None, None).visualize(scores, data, 0.3)
    assert shown.type == "image"
    assert shown.contribution == 0.3
    base, heat = pixels(shown.base), pixels(shown.modified)
    assert base[0, 0].tolist() == [255, 0, 0]
    assert heat[0, 0].tolist() == [*FOR, 255]
    assert heat[1, 1].tolist() == [*AGAINST, 128]  # half the size of the largest
    assert heat[0, 1, 3] == 0


def test_a_large_image_is_made_as_small_as_a_page_needs() -> None:
    data = torch.rand(1, 3, 1200, 700)
    shown = ImageFeature("Photo", None, None).visualize(torch.rand(1, 3, 1200, 700), data, 1.0)
    assert pixels(shown.base).shape == (512, 299, 3)
    assert pixels(shown.modified).shape == (512, 299, 4)


def test_an_image_takes_its_visualization_transform() -> None:
    photo = ImageFeature("Photo", None, None, lambda x: (x + 1) / 2)
    shown = photo.visualize(torch.zeros(1, 1, 2, 2), -torch.ones(1, 1, 2, 2), 1.0)
    assert not pixels(shown.base).any()
    assert not pixels(shown.modified)[..., 3].any()


@pytest.mark.parametrize("scores", [torch.ones(1, 3), torch.full((1, 3, 2), 0.5), torch.ones(3)])
def test_a_text_has_a_score_per_token(scores: torch.Tensor) -> None:
    text = TextFeature("Text", None, None, lambda ids: ids.squeeze(0).tolist())
    assert text.visualize(scores, torch.tensor([[4, 5, 6]]), 1.0)[1:3] == (
        ["4", "5", "6"],
        [1, 1, 1],
    )


def test_padding_beyond_the_last_token_is_left_out() -> None:
    text = TextFeature("Text", None, None, lambda ids: "two words")
    assert text.visualize(torch.ones(1, 5), torch.ones(1, 5), 1.0).modified == [1.0, 1.0]


def test_more_tokens_than_scores_are_a_mistake() -> None:
    text = TextFeature("Text", None, None, lambda ids: ["a", "b", "c"])
    with pytest.raises(ValueError, match="at most 2 tokens for feature 'Text'"):
        text.visualize(torch.ones(1, 2), torch.ones(1, 2), 1.0)


def test_general_features_need_a_name_per_number() -> None:
    feature = GeneralFeature("Row", ["a", "b"])
    with pytest.raises(ValueError, match="one number per category of feature 'Row', 2"):
        feature.visualize(torch.ones(1, 3), torch.ones(1, 3), 1.0)


@pytest.mark.parametrize(
    "feature", [ImageFeature("A", None, None), TextFeature("B", None, None, None),
                GeneralFeature("C", ["a"] * 8)],
)  # fmt: skip
def test_nan_among_scores_is_refused(feature: BaseFeature) -> None:
    shape = (1, 1, 8, 8) if isinstance(feature, ImageFeature) else (1, 8)
    with pytest.raises(ValueError, match="without NaN"):
        feature.visualize(torch.full(shape, torch.nan), torch.zeros(shape), 1.0)


def test_what_is_shown_is_plain_data() -> None:
    for feature in (ImageFeature("A", None, None), EmptyFeature()):
        shown = feature.visualize(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), 1.0)
        assert json.loads(json.dumps(shown)) == list(shown)


def test_a_base_feature_is_not_a_feature() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BaseFeature("x", None, None, None)  # type: ignore[abstract]


def test_transforms_are_one_or_several_functions() -> None:
    one = ImageFeature("x", torch.zeros_like, [torch.relu, torch.abs])
    assert (len(one.baseline_transforms), len(one.input_transforms)) == (1, 2)


def test_the_old_path_leads_here() -> None:
    from captum.insights.attr_vis import AttributionVisualizer, Batch
    from captum.insights.attr_vis import features as old
    from captum.insights.attr_vis.app import AttributionVisualizer as Same
    from captum.insights.attr_vis.features import ImageFeature as Old

    assert Old is ImageFeature
    assert old.TextFeature is features.TextFeature
    assert Same is AttributionVisualizer
    assert Batch(1, 2, 3).additional_args == 3
