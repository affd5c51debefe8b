"""Occlusion: what the output loses when a window that slides over the input is covered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from captum._engine.batching import Rows
from captum._engine.errors import wrong
from captum._engine.nest import Tensors
from captum._engine.windows import Grid, Windows, sliding
from captum.attr.base import Scores
from captum.attr.feature_ablation import FeatureAblation, feature_ablation

Sizes = tuple[int, ...]


class Occlusion(FeatureAblation):
    r"""Score of an entry: the mean of f(x) - f(x with W at the baseline) over windows W with it.

    A window of a fixed shape slides over each input, with a fixed stride; the last one is cut off
    where it would reach beyond the input.

    Paper: Zeiler, Fergus, Visualizing and understanding convolutional networks (2013),
    https://arxiv.org/abs/1311.2901.

    Args:
        forward_func: the model; no gradient is needed.
        at: what is covered: the inputs, or the values of a layer.
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import Occlusion
    >>> x = torch.tensor([[1., 2., 3.]])
    >>> Occlusion(lambda x: x.sum(1)).attribute(x, sliding_window_shapes=(2,))
    tensor([[3., 4., 5.]])
    """

    def attribute(  # type: ignore[override]  # the window comes first, as in the published package
        self,
        inputs: Any,
        sliding_window_shapes: Any,
        strides: Any = None,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            sliding_window_shapes: the window's size in every dimension of *F; a tuple of such
                tuples for several inputs.
            strides: how far the window moves at a time: a number, or one for every dimension;
                a tuple of these for several inputs; 1 by default.
            baselines: see the glossary: what covered entries become, zeros by default; a list,
                or rows (B, *F), to average over.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: windows larger than the input, or strides larger than the window.
        """
        given = (inputs, target, additional_forward_args, forward_kwargs)

        def windows(values: Tensors) -> Windows:
            return Windows(tuple(_grids(values, sliding_window_shapes, strides)))

        with self._play(
            given, baselines, windows, rows=perturbations_per_eval, show_progress=show_progress
        ) as game:
            game.expect(game.players)
            return game.arrange(feature_ablation(game))


def _grids(values: Tensors, shapes: Any, strides: Any) -> list[Grid]:
    several = isinstance(shapes, tuple) and all(isinstance(s, tuple) for s in shapes)
    each = shapes if several and shapes else (shapes,)
    if len(each) != len(values):
        raise wrong(
            ValueError,
            f"a window for each of the {len(values)} inputs",
            f"sliding_window_shapes={shapes!r}",
            f"sliding_window_shapes={tuple((1,) * (v.ndim - 1) for v in values)}",
        )
    steps = _strides(strides, len(values))
    return [_grid(v, _window(v, w), s) for v, w, s in zip(values, each, steps, strict=True)]


def _strides(given: Any, count: int) -> tuple[Any, ...]:
    if given is None:
        return (1,) * count
    if count == 1:
        nested = isinstance(given, tuple) and len(given) == 1 and isinstance(given[0], tuple)
        return given if nested else (given,)
    if isinstance(given, tuple) and len(given) == count:
        return given
    raise wrong(
        ValueError,
        f"strides for each of the {count} inputs",
        f"strides={given!r}",
        f"strides={(1,) * count}",
    )


def _window(value: torch.Tensor, window: Any) -> Sizes:
    sizes = tuple(value.shape[1:])
    fits = isinstance(window, tuple) and len(window) == len(sizes)
    pairs = zip(window, sizes, strict=True) if fits else ()
    if not fits or not all(isinstance(w, int) and 1 <= w <= s for w, s in pairs):
        raise wrong(
            ValueError,
            f"a window with a size from 1 to the input's in each of its dimensions {sizes}",
            f"a window {window!r}",
            f"sliding_window_shapes={tuple(min(3, s) for s in sizes)}",
        )
    return tuple(window)


def _grid(value: torch.Tensor, window: Sizes, stride: Any) -> Grid:
    sizes = tuple(value.shape[1:])
    steps = (stride,) * len(sizes) if isinstance(stride, int) else tuple(stride)
    if len(steps) != len(sizes) or any(
        s < 1 or (s > w and w < size) for s, w, size in zip(steps, window, sizes, strict=False)
    ):
        raise wrong(
            ValueError,
            f"a stride from 1 to the window's size in each dimension, so that {window} covers all",
            f"strides={stride!r}",
            f"strides={window}",
        )
    return Grid(
        tuple(sliding(*each, value.device) for each in zip(sizes, window, steps, strict=True))
    )
