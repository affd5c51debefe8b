"""Figures of an attribution of a text: bars, a table of colours, a picture under its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from captum.attr.visualization.canvas import canvas, finish, shades
from captum.attr.visualization.scaling import VisualizeSign

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

_MOST_NUMBERS = 400  # cells that still have room for their number
_COLOURS = "tab20"
_DARK = 0.75  # of the largest value: above, black on its colour is hard to read
_LONGEST = 28  # letters of a name


def shown(figure: Figure, axes: Axes, show: bool) -> tuple[Figure, Axes] | None:
    """The figure to the user: on the screen, or as a value."""
    if not show:
        return figure, axes
    finish(True)
    return None


def _canvas(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure of pyplot's, as notebooks show what it holds."""
    figure, (axes,) = canvas(None, size, use_pyplot=True)
    figure.set_layout_engine("constrained")
    return figure, axes


def bars(scores: Tensor, names: Sequence[str], errors: Tensor | None) -> tuple[Figure, Axes]:
    """A bar per feature, for (green) or against (red)."""
    width = max(5.0, 0.5 * len(names))
    figure, axes = _canvas((width, 4.5))
    values = scores.numpy()
    axes.bar(
        range(len(names)),
        values,
        yerr=None if errors is None else errors.numpy(),
        color=["tab:green" if v >= 0 else "tab:red" for v in values],
        capsize=3,
    )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(names)), list(map(_plain, names)), rotation=45, ha="right")
    axes.set_ylabel("Sequence attribution")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def heatmap(scores: Tensor, across: Sequence[str], down: Sequence[str]) -> tuple[Figure, Axes]:
    """A cell per pair, coloured and, while there is room, numbered."""
    size = (max(5.0, 0.7 * len(across) + 2), max(3.0, 0.45 * len(down) + 1.5))
    figure, axes = _canvas(size)
    values = scores.numpy()
    image = axes.imshow(values, aspect="auto", **shades(VisualizeSign.all, None, values))
    figure.colorbar(image, ax=axes, label="Attribution", pad=0.02, aspect=15)
    axes.set_xticks(range(len(across)), list(map(_plain, across)), rotation=45, ha="right")
    axes.set_yticks(range(len(down)), list(map(_plain, down)))
    axes.set_xlabel("Input")
    axes.set_ylabel("Output")
    if values.size <= _MOST_NUMBERS:
        dark = _DARK * np.abs(values).max()
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if abs(value) > dark > 0 else "black"
            number = f"{round(value, 2) + 0.0:.2f}"  # no -0.00
            axes.text(column, row, number, ha="center", va="center", fontsize=8, color=colour)
    return figure, axes


def picture(
    image: Image,
    scores: Tensor,
    masks: Sequence[Tensor],
    border_width: int,
    numbers: bool,
) -> tuple[Figure, Axes]:
    """A picture under the scores of its pixels (h, w)."""
    figure, axes = _canvas((6, 6 * image.height / image.width))
    values = scores.numpy()
    axes.imshow(image)
    drawn = axes.imshow(values, alpha=0.6, **shades(VisualizeSign.all, None, values))
    figure.colorbar(drawn, ax=axes, label="Attribution", fraction=0.046)
    _outlined(axes, masks, border_width, numbers)
    return figure, axes


def overlay(
    image: Image, masks: Sequence[Tensor], border_width: int, numbers: bool
) -> tuple[Figure, Axes]:
    """A picture under its segments, each in its own colour."""
    figure, axes = _canvas((6, 6 * image.height / image.width))
    axes.imshow(image)
    for i, mask in enumerate(masks):
        cover = np.ma.masked_where(~mask.cpu().numpy(), np.full(mask.shape, i % 20))
        axes.imshow(cover, alpha=0.5, cmap=_COLOURS, vmin=0, vmax=19)
    _outlined(axes, masks, border_width, numbers)
    return figure, axes


def _outlined(axes: Axes, masks: Sequence[Tensor], width: int, numbers: bool) -> None:
    axes.set_axis_off()
    for i, mask in enumerate(masks):
        if width:
            border = np.ma.masked_where(~_border(mask, width), np.full(mask.shape, i % 20))
            axes.imshow(border, cmap=_COLOURS, vmin=0, vmax=19)
        if numbers and mask.any():
            row, column = mask.nonzero().float().mean(0).tolist()
            box = {"facecolor": "white", "alpha": 0.8, "boxstyle": "round"}
            axes.text(column, row, str(i), ha="center", va="center", bbox=box)


def _border(mask: Tensor, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Pixels inside a mask with one outside of it within `width`."""
    outside = F.pad((~mask.cpu()).float()[None, None], [width] * 4, value=1.0)
    near: Tensor = F.max_pool2d(outside, 2 * width + 1, stride=1)[0, 0] > 0
    return torch.logical_and(near, mask.cpu()).numpy()


def _plain(name: str) -> str:
    """A name of bearable length that matplotlib does not read as a formula, on one line."""
    name = name.replace("\n", "⏎")
    name = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return name.replace("$", r"\$")
