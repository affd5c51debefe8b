"""From raw attributions to numbers between -1 and 1: which signs count, and what counts as 1."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum._engine.errors import describe, wrong

Array: TypeAlias = NDArray[np.float64]
Values: TypeAlias = NDArray[Any] | Tensor | Sequence[float]
K = TypeVar("K", bound=Enum)


class VisualizeSign(Enum):
    """Which attributions are shown.

    >>> [sign.name for sign in VisualizeSign]
    ['positive', 'absolute_value', 'negative', 'all']
    """

    positive = 1
    absolute_value = 2
    negative = 3
    all = 4


def pick(kind: type[K], value: str | K, parameter: str) -> K:
    """The member of `kind` that `value` is or names.

    >>> pick(VisualizeSign, "all", "sign")
    <VisualizeSign.all: 4>
    """
    if isinstance(value, kind):
        return value
    names = list(kind.__members__)
    if isinstance(value, str) and value in names:
        return kind[value]
    raise wrong(
        ValueError,
        f"{parameter} to be one of {', '.join(names)} or a member of {kind.__name__}",
        describe(value),
        f'{parameter}="{names[0]}"',
    )


def to_array(values: Values, parameter: str) -> NDArray[Any]:
    """Any real tensor (device, dtype, graph) or array-like as a NumPy array.

    >>> import torch
    >>> to_array(torch.ones(2, dtype=torch.bfloat16, requires_grad=True), "attr")
    array([1., 1.])
    """
    if isinstance(values, Tensor):
        plain = values.detach().cpu()
        array = (plain.double() if plain.is_floating_point() else plain).numpy()
    else:
        array = np.asarray(values)
    if array.dtype.kind not in "fiub" or not array.size:
        raise wrong(
            TypeError,
            f"{parameter} to be one tensor or array of real numbers, not empty",
            describe(values),
            f"{parameter}=attributions[0].detach()",
        )
    return array


def finite(values: Values, parameter: str) -> Array:
    """`to_array` in float64, refusing NaN and infinity: they have no place on a colour scale.

    >>> finite(np.array([1.0, np.nan]), "attr")
    Traceback (most recent call last):
    ValueError: expected attr without NaN or infinity
      got:   a float64 tensor of shape (2,) with 1 such value
      works: attr=torch.nan_to_num(attr)
    """
    array = to_array(values, parameter).astype(np.float64)
    count = int((~np.isfinite(array)).sum())
    if count:
        raise wrong(
            ValueError,
            f"{parameter} without NaN or infinity",
            f"{describe(values)} with {count} such value{'s' if count > 1 else ''}",
            f"{parameter}=torch.nan_to_num({parameter})",
        )
    return array


def signed(values: Array, sign: VisualizeSign) -> Array:
    """The values that `sign` lets through, as magnitudes unless it is `all`: shape kept.

    >>> signed(np.array([2.0, -3.0]), VisualizeSign.negative)
    array([0., 3.])
    """
    if sign is VisualizeSign.positive:
        return np.maximum(values, 0.0)
    if sign is VisualizeSign.negative:
        return np.maximum(-values, 0.0)
    return np.abs(values) if sign is VisualizeSign.absolute_value else values


def scale_of(values: Array, outlier_perc: float) -> float:
    """The magnitude that becomes 1; 0 where every value is 0.

    The smallest `s` among the sorted magnitudes `m` with
    `sum(m[m <= s]) >= (1 - outlier_perc / 100) * sum(m)`: what lies above it carries at most
    `outlier_perc` percent of the total attribution, however many entries that is.

    >>> scale_of(np.array([1.0, -1.0, 7.0, 1.0]), 0), scale_of(np.array([1.0, -1.0, 7.0, 1.0]), 70)
    (7.0, 1.0)
    """
    if not 0 <= outlier_perc <= 100:
        raise wrong(
            ValueError,
            "outlier_perc to be a percentage between 0 and 100",
            describe(outlier_perc),
            "outlier_perc=2",
        )
    magnitude = np.sort(np.abs(values), axis=None)
    magnitude = magnitude[magnitude > 0]
    if not magnitude.size:
        return 0.0
    # a power of two moves the largest next to 1: exact, and the sum cannot overflow
    carried = np.cumsum(np.ldexp(magnitude, -np.frexp(magnitude[-1])[1]))
    wanted = carried[-1] * ((100 - outlier_perc) / 100)
    return float(magnitude[np.argmax(carried >= wanted * (1 - 1e-12))])  # rounding breaks no tie


def normalized(values: Array, outlier_perc: float) -> Array:
    """`clip(values / scale, -1, 1)` with `scale_of`; all zeros stay zeros.

    >>> normalized(np.array([1.0, -2.0, 4.0]), 0)
    array([ 0.25, -0.5 ,  1.  ])
    """
    scale = scale_of(values, outlier_perc)
    return np.clip(values, -scale, scale) / (scale or 1.0)
