"""Models that read a prompt as a whole: encoder-decoders, and those that fill in masked tokens.

Prompts of several lengths are padded, and the padding masked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from captum._engine.errors import wrong
from captum.attr.llm.scores import PerToken
from captum.attr.llm.scoring.budget import Budget
from captum.attr.llm.scoring.language_model import LanguageModel
from captum.attr.llm.scoring.padded import read_all
from captum.attr.llm.tokens import Ids


@torch.inference_mode()
def run_encoder_decoder(
    model: LanguageModel, prompts: Sequence[Ids], target: Ids, read: PerToken, budget: Budget
) -> Tensor:
    """What `read` makes of the target's tokens after each prompt, (K, T)."""
    found = torch.empty(len(prompts), len(target), dtype=model.precision)
    begun = np.concatenate([[model.first_of_decoder()], target[:-1]])
    lengths = [len(prompt) + len(target) for prompt in prompts]
    for batch in budget.batches(lengths, len(target)):
        ids, mask = _padded(model, [prompts[i] for i in batch])
        decoder = torch.from_numpy(begun).to(model.device).repeat(len(batch), 1)
        more = {"attention_mask": mask, "decoder_input_ids": decoder}
        output = model.model(input_ids=ids, **more, use_cache=False)
        found[batch] = read_all(output.logits, target, read)
    return found


@torch.inference_mode()
def run_masked(
    mask_token: int | None,
    model: LanguageModel,
    prompts: Sequence[Ids],
    target: Ids,
    read: PerToken,
    budget: Budget,
) -> Tensor:
    """What `read` makes of the target's tokens in the places of mask tokens, (K, T)."""
    places = [np.flatnonzero(prompt == mask_token) for prompt in prompts]
    if any(len(place) != len(target) for place in places):
        raise wrong(
            ValueError,
            f"a mask token in every prompt for each of the target's {len(target)} tokens",
            f"prompts with {sorted({len(place) for place in places})}",
            "skip_tokens=[tokenizer.mask_token], so that they always stay",
        )
    found = torch.empty(len(prompts), len(target), dtype=model.precision)
    lengths = [len(prompt) for prompt in prompts]
    for batch in budget.batches(lengths, len(target)):
        ids, mask = _padded(model, [prompts[i] for i in batch])
        every = torch.arange(ids.shape[1], device=ids.device)
        logits = model.logits(ids, every, attention_mask=mask)
        rows = torch.arange(len(batch), device=logits.device)[:, None]
        columns = torch.from_numpy(np.stack([places[i] for i in batch])).to(logits.device)
        found[batch] = read_all(logits[rows, columns], target, read)
    return found


def _padded(model: LanguageModel, prompts: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Ids (K, n), and where they are a prompt's own."""
    pad = getattr(model.config, "pad_token_id", None) or 0
    width = max(map(len, prompts))
    ids = np.full((len(prompts), width), pad, np.int64)
    mask = np.zeros_like(ids)
    for row, seen, prompt in zip(ids, mask, prompts, strict=True):
        row[: len(prompt)], seen[: len(prompt)] = prompt, 1
    return torch.from_numpy(ids).to(model.device), torch.from_numpy(mask).to(model.device)
