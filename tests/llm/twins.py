"""The numbers of a text, one prompt and one pass at a time: slow, literal, of the model alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def log_probs(model: nn.Module, prompt: Sequence[int], target: Sequence[int]) -> Tensor:
    """log p(t_i | prompt, t_<i), (T,), from one plain pass without any option.

    Nothing follows the last token, so it is left out: it would change the scale of models that
    quantise what they see.
    """
    row = torch.tensor([[*map(int, prompt), *map(int, target[:-1])]])
    with torch.no_grad():
        logits = model(row).logits[0].double()
    ends = range(len(prompt) - 1, len(prompt) + len(target) - 1)
    return torch.stack([logits[i].log_softmax(-1)[t] for i, t in zip(ends, target, strict=True)])


def encoder_decoder_log_probs(
    model: nn.Module, prompt: Sequence[int], target: Sequence[int], start: int
) -> Tensor:
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor([[*map(int, prompt)]]),
            decoder_input_ids=torch.tensor([[start, *map(int, target[:-1])]]),
        ).logits[0]
    logs = logits.double().log_softmax(-1)
    return torch.stack([logs[i, t] for i, t in enumerate(target)])


def masked_log_probs(
    model: nn.Module, prompt: Sequence[int], target: Sequence[int], mask: int
) -> Tensor:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*map(int, prompt)]])).logits[0]
    logs = logits.double().log_softmax(-1)
    places = [i for i, token in enumerate(prompt) if token == mask]
    return torch.stack([logs[i, t] for i, t in zip(places, target, strict=True)])


def ablated(score: Any, prompt: Sequence[int], baseline: int | None) -> Tensor:
    """score(prompt) - score(prompt with a token replaced, or taken out), (T, n)."""
    whole = score(prompt)
    rows = []
    for i in range(len(prompt)):
        other = list(prompt)
        other[i : i + 1] = [] if baseline is None else [baseline]
        rows.append(whole - score(other))
    return torch.stack(rows, 1)


def shapley(score: Any, coalitions: Any, count: int) -> Tensor:
    """φ from the worth of every coalition, (T, G); `coalitions` makes the prompt of one."""
    from itertools import combinations
    from math import factorial

    def worth(members: tuple[int, ...]) -> Tensor:
        return score(coalitions(np.isin(np.arange(count), members)))

    found = []
    for i in range(count):
        others = [j for j in range(count) if j != i]
        total: Any = 0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for members in combinations(others, size):
                total = total + weight * (worth((*members, i)) - worth(members))
        found.append(total)
    return torch.stack(found, 1)
