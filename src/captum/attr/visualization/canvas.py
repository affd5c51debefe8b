"""Figures and colour scales: the only place that decides between pyplot and a bare Figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from captum._engine.errors import describe, extra, wrong
from captum.attr.visualization.scaling import Array, VisualizeSign

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

COLOURS = {
    VisualizeSign.positive: "Greens",
    VisualizeSign.absolute_value: "Blues",
    VisualizeSign.negative: "Reds",
}


def canvas(
    given: tuple[Figure | None, Any] | None,
    fig_size: tuple[float, float],
    use_pyplot: bool,
    rows: int = 1,
    columns: int = 1,
) -> tuple[Figure, list[Axes]]:
    """The figure and its `rows * columns` axes: the user's own, pyplot's, or one nobody tracks.

    >>> figure, axes = canvas(None, (6, 6), use_pyplot=False, columns=2)
    >>> len(axes)
    2
    """
    if given is not None:
        return user_canvas(given, rows * columns)
    if use_pyplot:
        figure = extra("matplotlib.pyplot", "viz").figure(figsize=fig_size)
    else:
        figure = extra("matplotlib.figure", "viz").Figure(figsize=fig_size)
    return figure, list(figure.subplots(rows, columns, squeeze=False, sharex=columns == 1).flat)


def user_canvas(given: tuple[Figure | None, Any], count: int) -> tuple[Figure, list[Axes]]:
    """The figure and the `count` axes inside a user's `plt_fig_axis`."""
    try:
        figure, axis = given
        axes = list(np.asarray(axis, dtype=object).flat)
        if len(axes) == count:
            return axes[0].figure if figure is None else figure, axes
    except (TypeError, ValueError):
        pass
    raise wrong(
        ValueError,
        f"plt_fig_axis to be a figure and {count} axes",
        describe(given),
        f"plt_fig_axis=plt.subplots({count})",
    )


def shades(sign: VisualizeSign, cmap: str | Colormap | None, values: Array) -> dict[str, Any]:
    """Colour map and limits for `values`: from 0, or for `all` symmetric, to the largest magnitude.

    >>> shades(VisualizeSign.absolute_value, None, np.array([0.5, 2.0]))
    {'cmap': 'Blues', 'vmin': 0.0, 'vmax': 2.0}
    """
    high = float(np.abs(values).max()) or 1.0
    if cmap is None and sign is VisualizeSign.all:
        colors = extra("matplotlib.colors", "viz")
        cmap = colors.LinearSegmentedColormap.from_list("RdWhGn", ["red", "white", "green"])
    low = -high if sign is VisualizeSign.all else 0.0
    return {"cmap": COLOURS[sign] if cmap is None else cmap, "vmin": low, "vmax": high}


def finish(use_pyplot: bool) -> None:
    """Show what pyplot holds, as a notebook user expects of the plotting call itself."""
    if use_pyplot:
        extra("matplotlib.pyplot", "viz").show()
