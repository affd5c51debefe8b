"""Where the channels are, and what range the colours have: every image becomes (H, W, C)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum._engine.errors import describe, wrong
from captum.attr.visualization.scaling import Array, Values, finite, to_array

CHANNELS = (1, 3, 4)


def channels_last(array: NDArray[Any], parameter: str) -> NDArray[Any]:
    """(H, W), (H, W, C), (C, H, W) or either with a leading batch of one, as (H, W, C).

    The channels are last where the last size is 1, 3 or 4, first where only the first size is,
    and last where neither is.

    >>> [channels_last(np.zeros(s), "attr").shape for s in [(5, 7), (3, 5, 7), (1, 5, 7, 3)]]
    [(5, 7, 1), (5, 7, 3), (5, 7, 3)]
    """
    image = array[0] if array.ndim == 4 and len(array) == 1 else array
    if image.ndim == 2:
        return image[..., None]
    if image.ndim != 3:
        raise wrong(
            ValueError,
            f"{parameter} of one image: (H, W), (H, W, C), (C, H, W) or a batch of one of them",
            describe(array),
            f"{parameter}={parameter}[0]",
        )
    first, *_, last = image.shape
    return np.moveaxis(image, 0, -1) if last not in CHANNELS and first in CHANNELS else image


def attribution_map(attr: Values) -> Array:
    """One number per pixel, (H, W): the channels' attributions summed.

    >>> attribution_map(np.ones((3, 5, 7)))[0, 0]
    np.float64(3.0)
    """
    return np.asarray(channels_last(finite(attr, "attr"), "attr").sum(-1), dtype=np.float64)


def picture(image: Values) -> Array:
    """An image as (H, W, 3) or, with transparency, (H, W, 4) between 0 and 1; grey is repeated.

    Whole numbers are 0..255.  Floats are 0..1 or, where they exceed 1, 0..255; an image with
    negative or larger values (normalised for its network) is stretched from its own lowest
    value to its own highest.

    >>> picture(np.full((1, 5, 7), 255, dtype=np.uint8)).shape, picture(np.full((5, 7), 51))[0, 0]
    ((5, 7, 3), array([0.2, 0.2, 0.2]))
    """
    raw = channels_last(to_array(image, "original_image"), "original_image")
    if raw.shape[-1] not in CHANNELS:
        raise wrong(
            ValueError,
            "original_image with 1, 3 or 4 channels, first or last",
            describe(image),
            "original_image=image.transpose(1, 2, 0)",
        )
    colours = in_unit_range(finite(raw, "original_image"), whole=raw.dtype.kind in "iu")
    return colours if raw.shape[-1] > 1 else np.tile(colours, 3)


def in_unit_range(colours: Array, whole: bool) -> Array:
    """The range rule of `picture`; rounding just outside 0..1 is clipped.

    >>> in_unit_range(np.array([-2.0, 0.0, 2.0]), whole=False)
    array([0. , 0.5, 1. ])
    """
    low, high, slack = float(colours.min()), float(colours.max()), 0.01
    if low >= -slack and high <= 1 + slack and not whole:
        return np.clip(colours, 0.0, 1.0)
    if low >= 0 and high <= 255:
        return colours / 255
    return (colours - low) / ((high - low) or 1.0)
