"""Pictures of image attributions, compared as the pixels or the arrays that are drawn."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from captum.attr import visualization as viz

METHODS = list(viz.ImageVisualizationMethod.__members__)
SIGNLESS = ("original_image", "masked_image", "alpha_scaling")
random = np.random.default_rng(0)
ATTR = np.round(random.normal(size=(5, 7, 3)) * 16) / 16
IMAGE = random.integers(0, 256, size=(5, 7, 3), dtype=np.uint8)

LAYOUTS = {
    "HWC": lambda a: a,
    "CHW": lambda a: a.transpose(2, 0, 1),
    "1HWC": lambda a: a[None],
    "1CHW": lambda a: a.transpose(2, 0, 1)[None],
    "tensor CHW": lambda a: torch.from_numpy(a).permute(2, 0, 1),
    "tensor 1CHW": lambda a: torch.from_numpy(a).permute(2, 0, 1)[None],
}


def rendered(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def picture(attr=ATTR, image=IMAGE, method="heat_map", **kwargs):
    kwargs = {"use_pyplot": False, "fig_size": (2, 2)} | kwargs
    return viz.visualize_image_attr(attr, image, method, **kwargs)


def drawn(*args, layer=-1, **kwargs):
    return np.asarray(picture(*args, **kwargs)[1].images[layer].get_array())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", METHODS)
def test_every_layout_is_the_same_picture(method, layout):
    arrange = LAYOUTS[layout]
    figure, _ = picture(arrange(ATTR), arrange(IMAGE), method, show_colorbar=True)
    expected, _ = picture(method=method, show_colorbar=True)
    np.testing.assert_array_equal(rendered(figure), rendered(expected))


@pytest.mark.parametrize(
    "attr",
    [
        torch.tensor(ATTR, dtype=torch.bfloat16),
        torch.tensor(ATTR, dtype=torch.float32, requires_grad=True),
        ATTR.astype(np.float16),
    ],
)
def test_types_and_graphs_do_not_matter(attr):
    np.testing.assert_array_equal(drawn(attr), drawn(ATTR))


@pytest.mark.parametrize(
    "image",
    [
        IMAGE.astype(np.float64),
        IMAGE / 255,
        IMAGE / 255 + 1e-7,
        torch.from_numpy(IMAGE).float() / 255,
        IMAGE.astype(np.int64),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_both_colour_ranges_are_the_same_picture(method, image):
    for layer, expected in zip(
        picture(image=image, method=method)[1].images, picture(method=method)[1].images, strict=True
    ):
        np.testing.assert_allclose(layer.get_array(), expected.get_array(), atol=1e-6)


def test_dark_bytes_stay_dark():
    dark = np.ones((4, 4, 3), dtype=np.uint8)
    assert (drawn(None, dark, "original_image") == 1).all()


def test_a_normalised_image_is_stretched_over_its_own_range():
    image = np.linspace(-2, 2, 48).reshape(4, 4, 3)
    shown = drawn(None, image, "original_image")
    assert (shown.min(), shown.max()) == (0, 255)
    assert (np.diff(shown.ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("arrange", [lambda a: a, lambda a: a[..., None], lambda a: a[None]])
def test_one_channel_comes_in_three_layouts(arrange):
    grey, attr = IMAGE[..., 0], ATTR[..., 0]
    np.testing.assert_array_equal(drawn(arrange(attr)), drawn(attr))
    shown = drawn(None, arrange(grey), "original_image")
    np.testing.assert_array_equal(shown, np.stack([grey] * 3, -1))


@pytest.mark.parametrize(("shape", "size"), [((5, 7, 2), (5, 7)), ((3, 4, 3), (3, 4))])
def test_undecided_channels_are_last(shape, size):
    assert drawn(np.ones(shape), None).shape == size


def test_heat_map_is_the_clipped_channel_sum():
    total = ATTR.sum(-1)
    magnitude = np.sort(np.abs(total), axis=None)
    scale = magnitude[np.cumsum(magnitude) >= 0.9 * magnitude.sum()][0]
    expected = np.clip(total / scale, -1, 1)
    np.testing.assert_allclose(drawn(sign="all", outlier_perc=10), expected)


def test_masked_image_is_the_image_times_the_map():
    weight = drawn(sign="positive", outlier_perc=0)[..., None]
    masked = drawn(method="masked_image", sign="positive", outlier_perc=0)
    np.testing.assert_array_equal(masked, np.rint(IMAGE * weight))


def test_alpha_scaling_is_the_image_with_the_map_as_opacity():
    weight = drawn(sign="negative")
    shown = drawn(method="alpha_scaling", sign="negative")
    np.testing.assert_array_equal(shown[..., :3], IMAGE)
    np.testing.assert_array_equal(shown[..., 3], np.rint(255 * weight))


def test_an_image_with_opacity_keeps_it_and_multiplies_it():
    image = np.concatenate([IMAGE, np.full((5, 7, 1), 51, dtype=np.uint8)], axis=-1)
    assert (drawn(image=image, method="masked_image")[..., 3] == 51).all()
    weight = drawn()
    shown = drawn(image=image, method="alpha_scaling")[..., 3]
    np.testing.assert_array_equal(shown, np.rint(51 * weight))
    np.testing.assert_array_equal(
        drawn(image=image, method="blended_heat_map", layer=0),
        drawn(method="blended_heat_map", layer=0),
    )


def test_blended_heat_map_lies_over_the_grey_image():
    _, axis = picture(method="blended_heat_map", sign="all", alpha_overlay=0.3)
    grey, heat = axis.images
    np.testing.assert_allclose(grey.get_array(), IMAGE.mean(-1) / 255)
    np.testing.assert_array_equal(heat.get_array(), drawn(sign="all"))
    assert (heat.get_alpha(), heat.get_clim(), grey.get_clim()) == (0.3, (-1, 1), (0, 1))


@pytest.mark.parametrize("sign", list(viz.VisualizeSign))
@pytest.mark.parametrize("method", METHODS)
def test_an_empty_map_is_blank(method, sign):
    if method in SIGNLESS:
        sign = viz.VisualizeSign.negative
    figure, axis = picture(ATTR * 0, IMAGE, method, sign=sign, show_colorbar=True)
    rendered(figure)
    shown = np.asarray(axis.images[-1].get_array())
    if method == "original_image":
        np.testing.assert_array_equal(shown, IMAGE)
    elif method == "alpha_scaling":
        assert not shown[..., 3].any()
    else:
        assert not shown.any()


@pytest.mark.parametrize(
    ("sign", "name"),
    [
        ("positive", "Greens"),
        ("negative", "Reds"),
        ("absolute_value", "Blues"),
        ("all", "RdWhGn"),
    ],
)
def test_default_colours_by_sign(sign, name):
    (shown,) = picture(sign=sign)[1].images
    assert shown.get_cmap().name == name
    assert shown.get_clim() == (-1 if sign == "all" else 0, 1)
    assert picture(sign=sign, cmap="viridis")[1].images[0].get_cmap().name == "viridis"


def test_without_normalisation_the_numbers_are_the_users():
    (shown,) = picture(sign="all", normalize=False)[1].images
    total = ATTR.sum(-1)
    np.testing.assert_array_equal(shown.get_array(), total)
    assert shown.get_clim() == (-np.abs(total).max(), np.abs(total).max())


@pytest.mark.parametrize("method", list(viz.ImageVisualizationMethod))
def test_members_work_like_their_names(method):
    by_name, _ = picture(method=method.name, sign="positive")
    by_member, _ = picture(method=method, sign=viz.VisualizeSign.positive)
    np.testing.assert_array_equal(rendered(by_name), rendered(by_member))


def test_the_original_image_needs_no_attributions():
    np.testing.assert_array_equal(drawn(None, IMAGE, "original_image"), IMAGE)


@pytest.mark.parametrize(
    ("attr", "image", "options", "message"),
    [
        (ATTR, IMAGE, {"method": "heatmap"}, "heat_map, blended_heat_map, original_image"),
        (ATTR, IMAGE, {"sign": "both"}, "positive, absolute_value, negative, all"),
        (ATTR * np.nan, IMAGE, {}, "attr without NaN"),
        (None, IMAGE, {}, "attr for the method heat_map"),
        (ATTR, None, {"method": "blended_heat_map"}, "original_image for the method blended"),
        (None, None, {"method": "original_image"}, "original_image for the method original"),
        (ATTR, IMAGE, {"method": "masked_image", "sign": "all"}, "one direction for masked_image"),
        (ATTR, IMAGE, {"method": "alpha_scaling", "sign": "all"}, "direction for alpha_scaling"),
        (ATTR[:4], IMAGE, {"method": "masked_image"}, "same height and width"),
        (np.stack([ATTR, ATTR]), IMAGE, {}, "attr of one image"),
        (ATTR, np.ones((5, 7, 2)), {"method": "masked_image"}, "1, 3 or 4 channels"),
        (ATTR, IMAGE, {"outlier_perc": 200}, "between 0 and 100"),
        (ATTR, IMAGE, {"plt_fig_axis": 3}, "plt_fig_axis to be a figure and 1 axes"),
    ],
)
def test_mistakes_are_named_and_leave_no_figure(attr, image, options, message):
    before = plt.get_fignums()
    with pytest.raises(ValueError, match=message):
        viz.visualize_image_attr(attr, image, **options)
    assert plt.get_fignums() == before


def test_title_size_and_bar():
    figure, axis = picture(title="why", fig_size=(3, 4), show_colorbar=True, sign="all")
    assert axis.get_title() == "why"
    assert tuple(figure.get_size_inches()) == (3, 4)
    _, bar = figure.axes
    assert bar.get_xlim() == (-1, 1)
    assert len(picture()[0].axes) == 1


def test_a_users_axis_is_drawn_into():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    result = picture(plt_fig_axis=(figure, right))
    assert result == (figure, right)
    assert (len(left.images), len(right.images)) == (0, 1)
    assert picture(plt_fig_axis=(None, left)) == (figure, left)


@pytest.fixture
def shows(monkeypatch):
    """How many figures pyplot held at each `show`."""
    calls = []
    monkeypatch.setattr(plt, "show", lambda: calls.append(len(plt.get_fignums())))
    yield calls
    plt.close("all")


def test_pyplot_figures_are_shown_once(shows):
    figure, _ = viz.visualize_image_attr(ATTR, IMAGE)
    assert (plt.gcf(), shows) == (figure, [1])
    viz.visualize_image_attr_multiple(ATTR, IMAGE, ["heat_map"] * 3, ["all"] * 3)
    assert shows == [1, 2]


def test_bare_figures_do_not_touch_pyplot(shows):
    figure, _ = picture()
    assert isinstance(figure, Figure)
    assert (plt.get_fignums(), shows) == ([], [])


def panels(methods, signs, **kwargs):
    figure, axes = viz.visualize_image_attr_multiple(
        ATTR, IMAGE, methods, signs, use_pyplot=False, **kwargs
    )
    return figure, axes


def test_panels_are_the_single_pictures():
    signs = ["all", "all", "positive", "negative", "absolute_value"]
    methods = ["original_image", "heat_map", "masked_image", "alpha_scaling", "blended_heat_map"]
    _, axes = panels(methods, signs, titles=list("abcde"), outlier_perc=10)
    assert [axis.get_title() for axis in axes] == list("abcde")
    for axis, method, sign in zip(axes, methods, signs, strict=True):
        expected = drawn(method=method, sign=sign, outlier_perc=10)
        np.testing.assert_array_equal(axis.images[-1].get_array(), expected)


@pytest.mark.parametrize(
    ("signs", "middle"),
    [
        (["negative", "all", "positive"], "RdWhGn"),
        (["all", "positive"], "RdWhGn"),
        (("positive",), "Greens"),
        ("positive", "Greens"),
        (viz.VisualizeSign.positive, "Greens"),
    ],
)
def test_the_original_image_needs_no_sign(signs, middle):
    _, axes = panels(["original_image", "heat_map", "blended_heat_map"], signs)
    assert [axis.images[-1].get_cmap().name for axis in axes[1:]] == [middle, "Greens"]


def test_one_panel_is_its_axis():
    _, axis = panels(["heat_map"], ["all"])
    assert len(axis.images) == 1


def test_bars_leave_panels_aligned_and_scales_only_where_there_are_some():
    figure, axes = panels(["original_image", "heat_map"], ["all", "all"], show_colorbar=True)
    rendered(figure)
    heights = {(axis.get_position().y0, axis.get_position().y1) for axis in axes}
    assert len(heights) == 1
    assert [bar.axison for bar in figure.axes[2:]] == [False, True]


@pytest.mark.parametrize(
    ("methods", "signs", "kwargs", "kind", "message"),
    [
        (["heat_map"] * 3, ["all", "positive"], {}, ValueError, "one sign for each of the 3"),
        (["heat_map"], ["all"], {"titles": ["a", "b"]}, ValueError, "one title per method"),
        ([], [], {}, ValueError, "at least one method"),
        (["heat_map", "map"], ["all"] * 2, {}, ValueError, "methods to be one of heat_map"),
        (["heat_map"], ["all"], {"colour_bar": True}, TypeError, "outlier_perc, cmap"),
    ],
)
def test_mistaken_panels_are_named_and_leave_no_figure(methods, signs, kwargs, kind, message):
    with pytest.raises(kind, match=message):
        viz.visualize_image_attr_multiple(ATTR, IMAGE, methods, signs, **kwargs)
    assert not plt.get_fignums()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'captum\[viz\]'"):
        viz.visualize_image_attr(ATTR, IMAGE)


def test_importing_needs_neither_matplotlib_nor_ipython_and_drawing_no_pyplot():
    code = (
        "import sys; sys.modules['IPython'] = None\n"
        "from captum.attr import visualization as viz\n"
        "assert 'matplotlib' not in sys.modules\n"
        "viz.visualize_text([])\n"
        "viz.visualize_image_attr([[1.0]], show_colorbar=True, use_pyplot=False)\n"
        "viz.visualize_timeseries_attr([1.0, 2.0], [1.0, 2.0], use_pyplot=False)\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
