"""An image and its attributions: five ways of laying one over the other."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captum._engine.errors import describe, extra, wrong
from captum.attr.visualization.canvas import canvas, finish, shades
from captum.attr.visualization.layout import attribution_map, picture
from captum.attr.visualization.scaling import (
    Array,
    Values,
    VisualizeSign,
    normalized,
    pick,
    signed,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


class ImageVisualizationMethod(Enum):
    """How attributions and image are combined; see `visualize_image_attr`.

    >>> ImageVisualizationMethod["masked_image"].value
    4
    """

    heat_map = 1
    blended_heat_map = 2
    original_image = 3
    masked_image = 4
    alpha_scaling = 5


class Layer(NamedTuple):
    """One call of `imshow`."""

    pixels: NDArray[Any]
    options: dict[str, Any]


def visualize_image_attr(
    attr: Values | None,
    original_image: Values | None = None,
    method: str | ImageVisualizationMethod = "heat_map",
    sign: str | VisualizeSign = "absolute_value",
    plt_fig_axis: tuple[Figure | None, Axes] | None = None,
    outlier_perc: int | float = 2,
    cmap: str | Colormap | None = None,
    alpha_overlay: float = 0.5,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[float, float] = (6, 6),
    use_pyplot: bool = True,
    *,
    normalize: bool = True,
) -> tuple[Figure, Axes]:
    """Draw `clip(filter(sum over channels of attr) / scale, -1, 1)` as, or over, an image.

    Args:
        attr: (H, W, C), (C, H, W), (H, W) or a batch of one; the channels are last where the last
            size is 1, 3 or 4, first where only the first size is, last where neither is.  None
            is enough for `original_image`.
        original_image: the same layouts; 0..255 or 0..1.  `heat_map` needs none.
        method: `heat_map` alone; `blended_heat_map` over the image in grey; `original_image`;
            `masked_image`, the image times the map; `alpha_scaling`, the map as opacity.
        sign: `positive`, `negative`, `absolute_value` or `all` (heat maps only).
        plt_fig_axis: a figure and axis to draw into.
        outlier_perc: the scale is the magnitude above which lie this many percent of the
            cumulative attribution; those outliers are clipped to 1.
        cmap: by default Greens, Reds, Blues by sign, and red-white-green for `all`.
        alpha_overlay: opacity of a blended heat map.
        use_pyplot: True shows the figure; False makes a Figure that pyplot knows nothing of.
        normalize: False keeps the attributions' own scale; colours then end at the largest.

    Returns:
        The figure and the axis.

    Raises:
        ValueError: unknown method or sign; NaN; sizes that differ; a missing attr or image.

    >>> attr = np.array([[4.0, -2.0], [0.0, 1.0]])
    >>> figure, axis = visualize_image_attr(attr, sign="all", outlier_perc=0, use_pyplot=False)
    >>> axis.images[0].get_array().data.tolist()
    [[1.0, -0.5], [0.0, 0.25]]
    """
    layers = compose(
        attr,
        original_image,
        method,
        sign,
        outlier_perc=outlier_perc,
        cmap=cmap,
        alpha_overlay=alpha_overlay,
        normalize=normalize,
    )
    figure, (axis,) = canvas(plt_fig_axis, fig_size, use_pyplot)
    draw(figure, axis, layers, title, show_colorbar)
    finish(use_pyplot)
    return figure, axis


def visualize_image_attr_multiple(
    attr: Values | None,
    original_image: Values | None,
    methods: Sequence[str | ImageVisualizationMethod],
    signs: str | VisualizeSign | Sequence[str | VisualizeSign],
    titles: Sequence[str | None] | None = None,
    fig_size: tuple[float, float] = (8, 6),
    use_pyplot: bool = True,
    **kwargs: Any,
) -> tuple[Figure, Axes | list[Axes]]:
    """`visualize_image_attr` once per method, side by side in one figure.

    Args:
        signs: one per method (that of an `original_image` is ignored), or one per method other
            than `original_image`, or a single one for all.
        titles: one per method.
        kwargs: outlier_perc, cmap, alpha_overlay, show_colorbar, normalize for every panel.

    Returns:
        The figure and its list of axes, or the one axis of a single method.

    Raises:
        ValueError: as `visualize_image_attr`; signs or titles that do not match the methods.
        TypeError: an unknown keyword.

    >>> attr, image = np.ones((4, 4, 3)), np.zeros((4, 4, 3))
    >>> figure, axes = visualize_image_attr_multiple(
    ...     attr, image, ["original_image", "heat_map"], ["all", "positive"], use_pyplot=False)
    >>> len(axes)
    2
    """
    chosen = [pick(ImageVisualizationMethod, method, "methods") for method in methods]
    panel_signs = sign_per_method(signs, chosen)
    panel_titles = [None] * len(chosen) if titles is None else list(titles)
    if not chosen or len(panel_titles) != len(chosen):
        raise wrong(
            ValueError,
            "at least one method, and one title per method",
            f"{len(chosen)} methods and {len(panel_titles)} titles",
            'methods=["original_image", "heat_map"], titles=["image", "attribution"]',
        )
    show_colorbar, options = panel_options(kwargs)
    panels = [
        compose(attr, original_image, method, sign, **options)
        for method, sign in zip(chosen, panel_signs, strict=True)
    ]
    figure, axes = canvas(None, fig_size, use_pyplot, columns=len(chosen))
    for axis, layers, title in zip(axes, panels, panel_titles, strict=True):
        draw(figure, axis, layers, title, show_colorbar)
    finish(use_pyplot)
    return figure, axes if len(axes) > 1 else axes[0]


def sign_per_method(
    signs: str | VisualizeSign | Sequence[str | VisualizeSign],
    methods: list[ImageVisualizationMethod],
) -> list[str | VisualizeSign]:
    """One sign for each method, by the rule of `visualize_image_attr_multiple`."""
    given = [signs] if isinstance(signs, str | VisualizeSign) else list(signs)
    signless = [method is ImageVisualizationMethod.original_image for method in methods]
    if len(given) == len(methods):
        return given
    if len(given) == signless.count(False):
        rest = iter(given)
        return [VisualizeSign.all if skip else next(rest) for skip in signless]
    if len(given) == 1:
        return given * len(methods)
    raise wrong(
        ValueError,
        f"one sign for each of the {len(methods)} methods, or a single one for all",
        describe(signs),
        'signs=["all", "positive"]',
    )


def panel_options(kwargs: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """`show_colorbar`, and what `compose` wants to know, out of a user's keywords."""
    known = ["outlier_perc", "cmap", "alpha_overlay", "show_colorbar", "normalize"]
    unknown = sorted(set(kwargs) - set(known))
    if unknown:
        raise wrong(
            TypeError,
            f"keywords among {', '.join(known)}",
            ", ".join(unknown),
            "visualize_image_attr_multiple(attr, image, methods, signs, show_colorbar=True)",
        )
    show_colorbar = bool(kwargs.get("show_colorbar"))
    return show_colorbar, {k: v for k, v in kwargs.items() if k != "show_colorbar"}


def compose(
    attr: Values | None,
    original_image: Values | None,
    method: str | ImageVisualizationMethod,
    sign: str | VisualizeSign,
    *,
    outlier_perc: float = 2,
    cmap: str | Colormap | None = None,
    alpha_overlay: float = 0.5,
    normalize: bool = True,
) -> list[Layer]:
    """The layers of one picture, bottom first: everything but the drawing."""
    how = pick(ImageVisualizationMethod, method, "method")
    which = pick(VisualizeSign, sign, "sign")
    if how is ImageVisualizationMethod.original_image:
        return [colour_layer(picture(needed(original_image, "original_image", how)))]
    values = signed(attribution_map(needed(attr, "attr", how)), which)
    values = normalized(values, outlier_perc) if normalize else values
    heat = Layer(values, shades(which, cmap, values))
    if how is ImageVisualizationMethod.heat_map:
        return [heat]
    image = picture(needed(original_image, "original_image", how))
    if image.shape[:2] != values.shape:
        raise wrong(
            ValueError,
            "attr and original_image of the same height and width",
            f"{values.shape} and {image.shape[:2]}",
            "attr=LayerAttribution.interpolate(attr, image.shape[-2:])",
        )
    if how is ImageVisualizationMethod.blended_heat_map:
        grey = Layer(image[..., :3].mean(-1), {"cmap": "gray", "vmin": 0.0, "vmax": 1.0})
        return [grey, Layer(values, heat.options | {"alpha": alpha_overlay})]
    return [colour_layer(faded(image, values, how, which))]


def needed(value: Values | None, parameter: str, how: ImageVisualizationMethod) -> Values:
    if value is not None:
        return value
    raise wrong(
        ValueError,
        f"{parameter} for the method {how.name}",
        "None",
        f'visualize_image_attr(attr, image, method="{how.name}")',
    )


def faded(image: Array, values: Array, how: ImageVisualizationMethod, sign: VisualizeSign) -> Array:
    """`image` with its colours, or its opacity, multiplied by the map."""
    if sign is VisualizeSign.all:
        raise wrong(
            ValueError,
            f"a sign with one direction for {how.name}: positive, absolute_value or negative",
            "'all'",
            f'method="{how.name}", sign="absolute_value"',
        )
    weight = np.clip(values, 0.0, 1.0)[..., None]
    colours, opacity = image[..., :3], image[..., 3:]
    if how is ImageVisualizationMethod.masked_image:
        return np.concatenate([colours * weight, opacity], axis=-1)
    return np.concatenate([colours, weight * opacity if opacity.size else weight], axis=-1)


def colour_layer(image: Array) -> Layer:
    """Colours between 0 and 1 as bytes: matplotlib would truncate where this rounds."""
    return Layer(np.rint(image * 255).astype(np.uint8), {})


def draw(
    figure: Figure, axis: Axes, layers: list[Layer], title: str | None, show_colorbar: bool
) -> None:
    """The layers on one axis; the bar's room is kept beside panels that have no scale."""
    for layer in layers:
        shown = axis.imshow(layer.pixels, **layer.options)
    axis.set_xticks([])
    axis.set_yticks([])
    if title is not None:
        axis.set_title(title)
    if show_colorbar:
        grid = extra("mpl_toolkits.axes_grid1", "viz")
        below = grid.make_axes_locatable(axis).append_axes("bottom", size="5%", pad=0.1)
        if "cmap" in layers[-1].options:
            figure.colorbar(shown, cax=below, orientation="horizontal")
        else:
            below.set_axis_off()
