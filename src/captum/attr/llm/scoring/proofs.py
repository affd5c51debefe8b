"""Which ways of running a model give what single rows give: tried out on the user's own rows.

Models differ in what they make of a mask, a position or a neighbour in the batch. So a way is used
only after it has given the numbers of single rows, on rows of that length.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from captum.attr.llm.scoring.language_model import LanguageModel

_KNOWN: WeakKeyDictionary[nn.Module, dict[Hashable, bool]] = WeakKeyDictionary()
_EXACT, _ROUNDING = 1e-4, 25  # of a number, at least; and times the rounding of the model's kind


def found(model: LanguageModel, way: str, lengths: Sequence[int]) -> bool | None:
    """Whether a way is right for rows of these lengths; None where nobody knows yet."""
    return _KNOWN.get(model.module, {}).get(_case(model, way, lengths))


def note(model: LanguageModel, way: str, lengths: Sequence[int], right: bool) -> None:
    """Keep what was found, for as long as the model lives."""
    _KNOWN.setdefault(model.module, {})[_case(model, way, lengths)] = right


def agree(model: LanguageModel, numbers: Tensor, single: Tensor) -> bool:
    """Whether numbers are those of single rows, to the rounding of what the model counts in."""
    tolerance = max(_EXACT, _ROUNDING * _rounding(model))
    return bool(torch.allclose(numbers, single, rtol=tolerance, atol=tolerance, equal_nan=True))


def _rounding(model: LanguageModel) -> float:
    coarse = model.device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32
    return max(torch.finfo(model.dtype).eps, 2.0**-11 if coarse else 0.0)


def _case(model: LanguageModel, way: str, lengths: Sequence[int]) -> Hashable:
    """What may matter: how it runs, and lengths up to the next power of two or past a window."""
    config: Any = model.config
    window = getattr(config, "sliding_window", None)
    longest = max(lengths)
    return (
        way,
        model.dtype,
        model.device.type,
        model.module.training,
        getattr(config, "_attn_implementation", None),
        (longest - 1).bit_length(),
        isinstance(window, int) and longest > window,
        min(lengths) < longest,
    )
