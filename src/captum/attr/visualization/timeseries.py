"""A time series and its attributions: behind the curves, or as their colour."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captum._engine.errors import describe, extra, wrong
from captum.attr.visualization.canvas import canvas, finish, shades
from captum.attr.visualization.scaling import (
    Array,
    Values,
    VisualizeSign,
    finite,
    normalized,
    pick,
    signed,
    to_array,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


class TimeseriesVisualizationMethod(Enum):
    """How attributions and curves are combined; see `visualize_timeseries_attr`.

    >>> TimeseriesVisualizationMethod["colored_graph"].value
    3
    """

    overlay_individual = 1
    overlay_combined = 2
    colored_graph = 3


def visualize_timeseries_attr(
    attr: Values,
    data: Values,
    x_values: Values | None = None,
    method: str | TimeseriesVisualizationMethod = "overlay_individual",
    sign: str | VisualizeSign = "absolute_value",
    channel_labels: Sequence[str] | None = None,
    channels_last: bool = True,
    plt_fig_axis: tuple[Figure | None, Any] | None = None,
    outlier_perc: int | float = 2,
    cmap: str | Colormap | None = None,
    alpha_overlay: float = 0.7,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[float, float] = (6, 6),
    use_pyplot: bool = True,
    *,
    normalize: bool = True,
    **pyplot_kwargs: Any,
) -> tuple[Figure, Axes | NDArray[Any]]:
    """Draw `clip(filter(attr) / scale, -1, 1)` along a series of S steps and C channels.

    Args:
        attr: (S, C), (S,) for a single channel, or a batch of one; (C, S) without
            `channels_last`.  One channel of attributions serves every channel of data.
        data: the same layouts.  NaN leaves a gap.
        x_values: the S times, increasing; 0..S-1 by default.
        method: `overlay_individual`, one panel per channel over its attributions;
            `overlay_combined`, all curves over the attributions summed over channels;
            `colored_graph`, one panel per channel, the curve itself coloured.
        sign: `positive`, `negative`, `absolute_value` or `all`.
        channel_labels: one per channel.
        plt_fig_axis: a figure and an axis, or one axis per panel, to draw into.
        outlier_perc, cmap, show_colorbar, use_pyplot, normalize: as in `visualize_image_attr`;
            one scale for all channels.
        alpha_overlay: opacity of the attributions behind the curves.
        pyplot_kwargs: for the curves, such as `linewidth`.

    Returns:
        The figure, and the axis of one panel or the array of axes of several.

    Raises:
        ValueError: unknown method or sign; NaN in attr; shapes, times or labels that do not match.

    >>> attr, data = np.array([[1.0], [-2.0], [4.0]]), np.zeros((3, 1))
    >>> figure, axis = visualize_timeseries_attr(
    ...     attr, data, sign="negative", outlier_perc=0, use_pyplot=False)
    >>> axis.collections[0].get_array().ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    how = pick(TimeseriesVisualizationMethod, method, "method")
    which = pick(VisualizeSign, sign, "sign")
    curves = steps_first(to_array(data, "data").astype(np.float64), channels_last, "data")
    values = matching(steps_first(finite(attr, "attr"), channels_last, "attr"), curves)
    times = increasing(x_values, len(curves))
    labels = labels_of(channel_labels, curves.shape[1])
    combined = how is TimeseriesVisualizationMethod.overlay_combined
    values = signed(values.sum(1, keepdims=True) if combined else values, which)
    values = normalized(values, outlier_perc) if normalize else values
    colours = shades(which, cmap, values)

    panels = 1 if combined else curves.shape[1]
    figure, axes = canvas(plt_fig_axis, fig_size, use_pyplot, rows=panels)
    for index, axis in enumerate(axes):
        drawn = slice(None) if combined else slice(index, index + 1)
        if how is TimeseriesVisualizationMethod.colored_graph:
            points = pieces(times, curves[:, index])
            shown = coloured(axis, points, values[:, index], colours, pyplot_kwargs)
        else:
            shown = background(
                axis, times, curves[:, drawn], values[:, index], colours | {"alpha": alpha_overlay}
            )
            plot(axis, times, curves[:, drawn], labels[drawn], pyplot_kwargs)
        if channel_labels is not None and not combined:
            axis.set_ylabel(channel_labels[index])
    if title is not None:
        axes[0].set_title(title)
    if show_colorbar:
        figure.colorbar(shown, ax=axes, orientation="horizontal", fraction=0.05, pad=0.1)
    finish(use_pyplot)
    return figure, np.array(axes, dtype=object) if len(axes) > 1 else axes[0]


def steps_first(array: Array, channels_last: bool, parameter: str) -> Array:
    """(S,), (S, C), (C, S) or a batch of one of them as (S, C).

    >>> steps_first(np.zeros((1, 2, 5)), False, "data").shape
    (5, 2)
    """
    series = array[0] if array.ndim == 3 and len(array) == 1 else array
    if series.ndim == 1:
        return series[:, None]
    if series.ndim == 2:
        return series if channels_last else series.T
    raise wrong(
        ValueError,
        f"{parameter} of one series: (S, C), or (C, S) without channels_last",
        describe(array),
        f"{parameter}={parameter}[0]",
    )


def matching(values: Array, curves: Array) -> Array:
    """`values` for every channel of `curves`."""
    if values.shape not in (curves.shape, (len(curves), 1)):
        raise wrong(
            ValueError,
            f"attr of the data's {len(curves)} steps, and of its {curves.shape[1]} channels or one",
            f"{values.shape[0]} steps and {values.shape[1]} channels",
            "visualize_timeseries_attr(attr, data, channels_last=False) for (C, S)",
        )
    return np.broadcast_to(values, curves.shape)


def increasing(x_values: Values | None, steps: int) -> Array:
    """The times of the steps."""
    if x_values is None:
        return np.arange(steps, dtype=np.float64)
    times = finite(x_values, "x_values")
    if times.shape != (steps,) or (np.diff(times) <= 0).any():
        raise wrong(
            ValueError,
            f"x_values to be {steps} increasing times",
            describe(x_values),
            f"x_values=np.arange({steps})",
        )
    return times


def labels_of(channel_labels: Sequence[str] | None, channels: int) -> list[str | None]:
    """One label, or None, per channel."""
    labels: list[str | None] = [None] * channels
    if channel_labels is not None:
        labels = list(channel_labels)
    if len(labels) != channels:
        raise wrong(
            ValueError,
            f"channel_labels to be {channels} names, one per channel",
            describe(channel_labels),
            f"channel_labels={[f'channel {index}' for index in range(channels)]}",
        )
    return labels


def borders(times: Array) -> Array:
    """The S + 1 borders of the steps: half way between neighbours.

    >>> borders(np.array([0.0, 1.0, 3.0]))
    array([-0.5,  0.5,  2. ,  4. ])
    """
    gaps = np.diff(times) if len(times) > 1 else np.ones(1)
    middle = times[:-1] + np.diff(times) / 2
    return np.concatenate([times[:1] - gaps[0] / 2, middle, times[-1:] + gaps[-1] / 2])


def background(
    axis: Axes, times: Array, curves: Array, values: Array, options: dict[str, Any]
) -> ScalarMappable:
    """One coloured cell per step, behind the curves and as high as they are."""
    known = curves[np.isfinite(curves)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    heights = [low - margin, high + margin]
    cells = axis.pcolormesh(borders(times), heights, values[None], zorder=0, **options)
    axis.set_ylim(*heights)
    return cells


def plot(
    axis: Axes, times: Array, curves: Array, labels: list[str | None], options: dict[str, Any]
) -> None:
    """The curves as lines: black when alone, told apart by colour and legend otherwise."""
    style = {"color": "black"} if curves.shape[1] == 1 else {}
    for curve, label in zip(curves.T, labels, strict=True):
        axis.plot(times, curve, label=label, **(style | options))
    if curves.shape[1] > 1 and labels[0] is not None:
        axis.legend(loc="best")


def pieces(times: Array, curve: Array) -> Array:
    """The curve as S polylines (S, 3, 2), each through its step and half way to its neighbours.

    >>> pieces(np.array([0.0, 1.0]), np.array([0.0, 4.0])).tolist()
    [[[0.0, 0.0], [0.0, 0.0], [0.5, 2.0]], [[0.5, 2.0], [1.0, 4.0], [1.0, 4.0]]]
    """
    points = np.stack([times, curve], axis=-1)
    middle = (points[:-1] + points[1:]) / 2
    starts, stops = np.concatenate([points[:1], middle]), np.concatenate([middle, points[-1:]])
    return np.stack([starts, points, stops], axis=1)


def coloured(
    axis: Axes, points: Array, values: Array, colours: dict[str, Any], options: dict[str, Any]
) -> ScalarMappable:
    """The pieces of one curve, each in the colour of its step, on a faint line that shows white."""
    limits = (colours["vmin"], colours["vmax"])
    lines: LineCollection = extra("matplotlib.collections", "viz").LineCollection(
        points, array=values, cmap=colours["cmap"], clim=limits, **options
    )
    halo = float(np.max(lines.get_linewidth())) + 1.5
    axis.plot(*points[:, 1].T, color="0.8", linewidth=halo, zorder=1)
    axis.add_collection(lines)
    return lines
