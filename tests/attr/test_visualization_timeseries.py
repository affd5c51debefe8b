"""Pictures of attributions along a time series, read back from what is drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from captum.attr import visualization as viz
from captum.attr.visualization.scaling import normalized

METHODS = list(viz.TimeseriesVisualizationMethod.__members__)
random = np.random.default_rng(0)
ATTR = np.round(random.normal(size=(9, 3)) * 16) / 16
DATA = random.normal(size=(9, 3))
LABELS = ["x", "y", "z"]


def series(attr=ATTR, data=DATA, **kwargs):
    kwargs = {"use_pyplot": False, "fig_size": (3, 3)} | kwargs
    return viz.visualize_timeseries_attr(attr, data, **kwargs)


def rendered(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def values(axis):
    return np.asarray(axis.collections[0].get_array()).ravel()


@pytest.mark.parametrize(
    ("arrange", "last"),
    [
        (lambda a: a.T, False),
        (lambda a: a[None], True),
        (lambda a: a.T[None], False),
        (lambda a: torch.from_numpy(a).requires_grad_(), True),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_every_layout_is_the_same_picture(method, arrange, last):
    figure, _ = series(arrange(ATTR), arrange(DATA), method=method, channels_last=last)
    np.testing.assert_array_equal(rendered(figure), rendered(series(method=method)[0]))


@pytest.mark.parametrize("method", ["overlay_individual", "colored_graph"])
def test_channels_share_one_scale(method):
    _, axes = series(method=method, sign="all", outlier_perc=10)
    expected = normalized(ATTR, 10)
    for axis, column in zip(axes, expected.T, strict=True):
        np.testing.assert_array_equal(values(axis), column)
        assert axis.collections[0].get_clim() == (-1, 1)


def test_combined_sums_the_channels():
    _, axis = series(method="overlay_combined", outlier_perc=0)
    total = np.abs(ATTR.sum(1))
    np.testing.assert_allclose(values(axis), total / total.max())


def test_curves_are_the_data_at_its_times():
    times = np.cumsum(np.arange(1, 10))
    _, axes = series(x_values=times, linewidth=4)
    for axis, column in zip(axes, DATA.T, strict=True):
        (line,) = axis.lines
        np.testing.assert_array_equal(line.get_xydata(), np.stack([times, column], -1))
        assert (line.get_linewidth(), line.get_color()) == (4, "black")
    _, axis = series(method="overlay_combined", x_values=times)
    assert len(axis.lines) == 3


def test_cells_tile_the_time_and_cover_the_curve():
    times = [0.0, 1.0, 3.0, 4.0, 8.0, 9.0, 10.0, 11.0, 12.0]
    _, (axis, *_) = series(x_values=times)
    corners = axis.collections[0].get_coordinates()
    np.testing.assert_array_equal(
        corners[0, :, 0], [-0.5, 0.5, 2, 3.5, 6, 8.5, 9.5, 10.5, 11.5, 12.5]
    )
    assert corners[0, 0, 1] < DATA[:, 0].min() < DATA[:, 0].max() < corners[1, 0, 1]


def test_a_coloured_curve_passes_through_its_data():
    _, axes = series(method="colored_graph", linewidth=3)
    for axis, column in zip(axes, DATA.T, strict=True):
        points = np.array(axis.collections[0].get_segments())
        np.testing.assert_array_equal(points[:, 1], np.stack([np.arange(9), column], -1))
        np.testing.assert_array_equal(points[:-1, 2], points[1:, 0])
        assert axis.collections[0].get_linewidth() == 3


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_map_is_blank(method):
    figure, axes = series(ATTR * 0, method=method, show_colorbar=True)
    rendered(figure)
    assert not any(values(axis).any() for axis in np.atleast_1d(axes))


@pytest.mark.parametrize("method", METHODS)
def test_one_channel_of_attributions_serves_all(method):
    one, repeated = ATTR[:, :1], np.repeat(ATTR[:, :1], 3, axis=1)
    figure, expected = series(one, method=method)[0], series(repeated, method=method)[0]
    np.testing.assert_array_equal(rendered(figure), rendered(expected))


@pytest.mark.parametrize("method", METHODS)
def test_a_single_channel_is_one_axis_without_a_channel_dimension(method):
    _, axis = series(ATTR[:, 0], DATA[:, 0], method=method)
    _, expected = series(ATTR[:, :1], DATA[:, :1], method=method)
    np.testing.assert_array_equal(values(axis), values(expected))


@pytest.mark.parametrize("method", METHODS)
def test_labels_title_and_bar(method):
    figure, axes = series(method=method, channel_labels=LABELS, title="why", show_colorbar=True)
    axes = np.atleast_1d(axes)
    assert axes[0].get_title() == "why"
    assert len(figure.axes) == len(axes) + 1
    if method == "overlay_combined":
        assert [text.get_text() for text in axes[0].get_legend().get_texts()] == LABELS
    else:
        assert [axis.get_ylabel() for axis in axes] == LABELS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [DATA * 0, DATA * np.nan, np.where(DATA > 0, DATA, np.nan)])
def test_flat_series_and_gaps_are_drawn(method, data):
    rendered(series(data=data, method=method)[0])


@pytest.mark.parametrize("method", METHODS)
def test_one_step_is_drawn(method):
    rendered(series(ATTR[:1], DATA[:1], method=method)[0])


def test_without_normalisation_the_numbers_are_the_users():
    _, axes = series(sign="all", normalize=False)
    np.testing.assert_array_equal(values(axes[1]), ATTR[:, 1])


@pytest.mark.parametrize("method", list(viz.TimeseriesVisualizationMethod))
def test_members_work_like_their_names(method):
    by_name, _ = series(method=method.name, sign="all")
    by_member, _ = series(method=method, sign=viz.VisualizeSign.all)
    np.testing.assert_array_equal(rendered(by_name), rendered(by_member))


def test_users_axes_are_drawn_into():
    figure = Figure()
    given = figure.subplots(3, 1)
    result, axes = series(plt_fig_axis=(figure, given))
    assert result is figure
    assert list(axes) == list(given)
    assert all(axis.collections for axis in given)


def test_pyplot_figures_are_shown(monkeypatch):
    calls = []
    monkeypatch.setattr(plt, "show", lambda: calls.append(plt.get_fignums()))
    viz.visualize_timeseries_attr(ATTR, DATA)
    plt.close("all")
    assert calls == [[1]]


@pytest.mark.parametrize(
    ("attr", "options", "message"),
    [
        (ATTR, {"method": "overlay"}, "overlay_individual, overlay_combined, colored_graph"),
        (ATTR, {"sign": "both"}, "positive, absolute_value, negative, all"),
        (ATTR * np.nan, {}, "attr without NaN"),
        (ATTR[:8], {}, "attr of the data's 9 steps"),
        (ATTR[:, :2], {}, "its 3 channels or one"),
        (np.ones((2, 9, 3)), {}, "attr of one series"),
        (ATTR, {"x_values": [1, 2]}, "9 increasing times"),
        (ATTR, {"x_values": np.zeros(9)}, "9 increasing times"),
        (ATTR, {"channel_labels": ["x"]}, "channel_labels to be 3 names"),
        (ATTR, {"plt_fig_axis": (Figure(), [])}, "a figure and 3 axes"),
    ],
)
def test_mistakes_are_named_and_leave_no_figure(attr, options, message):
    with pytest.raises(ValueError, match=message):
        viz.visualize_timeseries_attr(attr, DATA, **options)
    assert not plt.get_fignums()
