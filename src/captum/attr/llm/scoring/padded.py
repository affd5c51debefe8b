"""Prompts side by side in batches, each followed by the target and then by padding.

In a decoder nothing looks ahead, so what stands behind a row needs no mask and moves no position.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from captum.attr.llm.scores import PerToken
from captum.attr.llm.scoring.budget import Budget
from captum.attr.llm.scoring.language_model import LanguageModel
from captum.attr.llm.tokens import Ids


@torch.inference_mode()
def run(
    model: LanguageModel, prompts: Sequence[Ids], target: Ids, read: PerToken, budget: Budget
) -> Tensor:
    """What `read` makes of the target's tokens after each prompt, (K, T)."""
    found = torch.empty(len(prompts), len(target), dtype=model.precision)
    lengths = [len(prompt) + len(target) - 1 for prompt in prompts]
    for batch in budget.batches(lengths, len(target)):
        found[batch] = _pass(model, [prompts[i] for i in batch], target, read)
    return found


def _pass(model: LanguageModel, prompts: Sequence[Ids], target: Ids, read: PerToken) -> Tensor:
    device, steps = model.device, len(target)
    lengths = np.array([len(prompt) for prompt in prompts])
    shortest, width = int(lengths.min()), int(lengths.max()) + steps - 1
    ids = np.zeros((len(prompts), width), np.int64)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = prompt
        row[len(prompt) : len(prompt) + steps - 1] = target[:-1]
    ragged = shortest < int(lengths.max())
    keep = torch.arange(shortest - 1, width, device=device) if ragged else steps
    logits = model.logits(torch.from_numpy(ids).to(device), keep)
    if ragged:
        first = torch.from_numpy(lengths - shortest).to(logits.device)
        places = first[:, None] + torch.arange(steps, device=logits.device)
        logits = logits[torch.arange(len(prompts), device=logits.device)[:, None], places]
    return read_all(logits, target, read)


def read_all(logits: Tensor, target: Ids, read: PerToken) -> Tensor:
    """What `read` makes of logits (K, T, V) at the target's tokens, (K, T)."""
    rows, steps, _ = logits.shape
    tokens = torch.from_numpy(target).to(logits.device).repeat(rows)
    return read(logits.flatten(0, 1), tokens).view(rows, steps).cpu()
