"""RISE: which parts of an input are there when the answer is strong, over random soft masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.errors import describe, wrong
from captum._engine.game import Game
from captum._engine.nest import Tensors, is_real
from captum._engine.sampling import check_samples
from captum.attr.base import PerturbationAttribution, Scores

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
_BLOCK_BYTES = 16 << 20  # of masks


def soft_masks(
    count: int, sizes: tuple[int, ...], grid: int, p: float, generator: torch.Generator | None
) -> Tensor:
    """Random cells, each there with probability p, enlarged smoothly and shifted, (K, *sizes)."""
    device = None if generator is None else generator.device
    cells = [min(grid, size) for size in sizes]
    chances = torch.full((count, 1, *cells), p, device=device)
    coarse = torch.bernoulli(chances, generator=generator).cpu()
    steps = [-(-size // c) for size, c in zip(sizes, cells, strict=True)]
    large = [s * (c + 1) for s, c in zip(steps, cells, strict=True)]
    fine = F.interpolate(coarse, large, mode=_MODES[len(sizes)], align_corners=False)[:, 0]
    for d, (step, size) in enumerate(zip(steps, sizes, strict=True)):
        shifts = torch.randint(step, (count, 1), generator=generator, device=device).cpu()
        rows = shifts + torch.arange(size)
        along = rows.view(count, *(size if i == d else 1 for i in range(len(sizes))))
        shape = [count, *fine.shape[1:]]
        shape[d + 1] = size
        fine = fine.gather(d + 1, along.expand(shape))
    return fine


def rise(
    game: Game, samples: int, grid: int, p: float, generator: torch.Generator | None
) -> tuple[Tensors, Tensors]:
    """Σ_k f(x ⊙ M_k + b ⊙ (1 - M_k)) M_k / (K p), and its standard error, as the values."""
    spaces = [tuple(value.shape[_spatial(value) :]) for value in game.values]
    none = torch.zeros_like(game.full).unsqueeze(-1)
    sums, squares = [none] * len(spaces), [none] * len(spaces)
    size = max(1, _BLOCK_BYTES // (4 * sum(torch.Size(s).numel() for s in spaces)))
    for start in range(0, samples, size):
        count = min(size, samples - start)
        masks = [soft_masks(count, s, grid, p, generator) for s in spaces]
        worths = _masked(game, masks).transpose(-1, -2)
        for i, mask in enumerate(masks):
            here = mask.flatten(1).to(worths) / p
            sums[i] = sums[i] + worths @ here
            squares[i] = squares[i] + worths.square() @ here.square()
    means = [s / samples for s in sums]
    spread = max(1, samples - 1)
    errors = [
        ((q / samples - m.square()).clamp(min=0) / spread).sqrt()
        for q, m in zip(squares, means, strict=True)
    ]
    return _shaped(game, means), _shaped(game, errors)


def _shaped(game: Game, flat: list[Tensor]) -> Tensors:
    """Maps (*lead, N, S) as scores of every entry: the same in all channels."""
    lead = game.full.shape
    return tuple(
        x.reshape(*lead, *_flat_dims(v), *v.shape[_spatial(v) :])
        .expand(*lead, *v.shape[1:])
        .to(game.kind)
        for x, v in zip(flat, game.values, strict=True)
    )


def _masked(game: Game, masks: list[Tensor]) -> Tensor:
    """f of the inputs under each of K masks, (*lead, K, N)."""

    def points(within: slice, examples: slice) -> Tensors:
        rows = []
        for value, base, mask in zip(game.values, game.bases, masks, strict=True):
            own = value[examples]
            first = base[0] if base.shape[1] == 1 else base[0][examples]
            part = mask[within].to(own)
            here = part.view(len(part), *_flat_dims(value, 1), *part.shape[1:])
            rows.append(torch.lerp(first.expand_as(own), own, here).flatten(0, 1))
        return tuple(rows)

    return game.evaluated(len(masks[0]), points)


def _flat_dims(value: Tensor, more: int = 0) -> list[int]:
    """Ones for the dimensions that are not spatial, behind the batch."""
    return [1] * (_spatial(value) - 1 + more)


def _spatial(value: Tensor) -> int:
    """Where the spatial dimensions of a value begin: behind the channels, if it has any."""
    return 1 if value.ndim == 2 else 2


class RISE(PerturbationAttribution):
    r"""Score: E[f(x ⊙ M + x0 ⊙ (1 - M)) M] / p over random smooth masks M, alike in all channels.

    A mask is a coarse grid of cells that are there with probability p, enlarged and shifted at
    random. Scores are averages of f, so they lie around its mean, not around zero.

    Paper: Petsiuk, Das, Saenko, RISE: randomized input sampling for explanation of black-box
    models (2018), https://arxiv.org/abs/1806.07421.

    Args:
        forward_func: the model; no gradient is needed.
        at: what is masked: the inputs, or the values of a layer; (N, C, *S) with up to three
            dimensions *S, or (N, T).
        of: what is explained: the output at the target, or a neuron.

    >>> import torch
    >>> from captum.attr import RISE
    >>> _ = torch.manual_seed(0)
    >>> x = torch.ones(1, 1, 8, 8)
    >>> scores = RISE(lambda x: x[:, 0, 1, 1]).attribute(x, n_samples=400, grid=4)
    >>> bool(scores[0, 0, 1, 1] > scores[0, 0, 6, 6])
    True
    """

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_samples: int = 500,
        grid: int = 7,
        p: float = 0.5,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        return_std: bool = False,
        generator: torch.Generator | None = None,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs; with `return_std` their standard errors too.

        Args:
            inputs: see the glossary: a tensor (N, C, *S) or (N, T), or a tuple or dict of them.
            baselines: see the glossary: what is behind the mask, zeros by default.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            n_samples: masks, one model row per example each.
            grid: cells of the coarse grid in every dimension.
            p: how likely a cell is there, between 0 and 1.
            perturbations_per_eval: see the glossary: perturbations per pass at most.
            show_progress: a progress bar of model rows.
            return_std: also the standard errors of the scores, in their shape.
            generator: see the glossary: where random numbers come from.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: integer inputs, or more than three spatial dimensions.
        """
        check_samples(n_samples, "n_samples")
        check_samples(grid, "grid")
        if not 0 < p < 1:
            raise wrong(ValueError, "p between 0 and 1", f"p={p!r}", "p=0.5")
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._play(
            given, baselines, rows=perturbations_per_eval, show_progress=show_progress
        ) as game:
            for value in game.values:
                _check(value)
            _check_background(game)
            game.expect(n_samples)
            means, errors = rise(game, n_samples, grid, p, generator)
            result = game.arranged(means)
            return (result, game.arranged(errors)) if return_std else result


def _check(value: Tensor) -> None:
    if not is_real(value) or not 1 <= value.ndim - _spatial(value) <= 3:
        raise wrong(
            ValueError,
            "floating-point values of shape (N, T) or (N, C, *S) with up to three dimensions *S",
            describe(value),
            "RISE(model).attribute(images), or at=model.embedding for token ids",
        )


def _check_background(game: Game) -> None:
    if game.backgrounds > 1:
        raise wrong(
            ValueError,
            "one baseline behind the masks",
            f"{game.backgrounds} of them",
            "baselines=0, or one tensor like the inputs",
        )
