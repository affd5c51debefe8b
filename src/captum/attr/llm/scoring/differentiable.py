"""The numbers of a target as a function of the prompt's ids that autograd can follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from captum.attr.llm.scores import Score
from captum.attr.llm.scoring.language_model import LanguageModel
from captum.attr.llm.tokens import Ids


def following(
    model: LanguageModel, target: Ids, score: Score, mask_places: Ids
) -> Callable[[Tensor], Tensor]:
    """What the score reads of the target's tokens after prompts (K, n), shape (K, T)."""
    tail = torch.from_numpy(target[:-1])
    begun = torch.from_numpy(np.concatenate([[model.first_of_decoder()], target[:-1]]))
    tokens = torch.from_numpy(target)

    def logits(ids: Tensor) -> Tensor:
        def each(row: Tensor) -> Tensor:
            return row.to(ids.device).expand(len(ids), -1)

        if model.kind == "encoder-decoder":
            every = torch.arange(len(target), device=ids.device)
            return model.logits(ids, every, decoder_input_ids=each(begun))
        if model.kind == "masked":
            return model.logits(ids, torch.from_numpy(mask_places).to(ids.device))
        return model.logits(torch.cat([ids, each(tail)], 1), len(target))

    def numbers(ids: Tensor) -> Tensor:
        found = logits(ids)
        follows = tokens.to(found.device).repeat(len(ids))
        return score.read(found.flatten(0, 1), follows).view(len(ids), len(target))

    return numbers
