"""Prompts of several tensors, as processors make them of images and text.

Rows go together where all their tensors are alike in shape; each tensor has its rows, or its
patches, along the first dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum.attr.llm.scores import PerToken
from captum.attr.llm.scoring.budget import Budget
from captum.attr.llm.scoring.language_model import LanguageModel
from captum.attr.llm.scoring.padded import read_all
from captum.attr.llm.tokens import Ids

Fields = Mapping[str, Any]


@torch.inference_mode()
def run(
    model: LanguageModel, prompts: Sequence[Fields], target: Ids, read: PerToken, budget: Budget
) -> Tensor:
    """What `read` makes of the target's tokens after each prompt, (K, T)."""
    found = torch.empty(len(prompts), len(target), dtype=model.precision)
    alike: dict[Any, list[int]] = {}
    for i, prompt in enumerate(prompts):
        shapes = tuple(sorted((name, tuple(x.shape)) for name, x in _tensors(prompt).items()))
        alike.setdefault(shapes, []).append(i)
    for members in alike.values():
        lengths = [prompts[i]["input_ids"].shape[1] + len(target) for i in members]
        for batch in budget.batches(lengths, len(target)):
            rows = [members[i] for i in batch]
            found[rows] = _pass(model, [prompts[i] for i in rows], target, read)
    return found


def _pass(model: LanguageModel, prompts: Sequence[Fields], target: Ids, read: PerToken) -> Tensor:
    fields: dict[str, Any] = dict(prompts[0])
    for name in _tensors(prompts[0]):
        fields[name] = torch.cat([prompt[name] for prompt in prompts]).to(model.device)
    if model.kind == "encoder-decoder":
        begun = torch.tensor([model.first_of_decoder(), *target[:-1].tolist()])
        fields["decoder_input_ids"] = begun.to(model.device).repeat(len(prompts), 1)
        logits = model.model(**fields).logits
    else:
        fields = followed(fields, target)
        name = "logits_to_keep"
        keep = {name: len(target)} if name in model.takes else {}
        logits = model.model(**fields, **keep).logits[:, -len(target) :]
    return read_all(logits, target, read)


def followed(fields: dict[str, Any], target: Ids) -> dict[str, Any]:
    """The same, the text followed by the target but its last token."""
    ids: Tensor = fields["input_ids"]
    tail = torch.from_numpy(target[:-1]).to(ids).repeat(len(ids), 1)
    # What says something of every token says it of these too: seen, and nothing special.
    per_token = {
        name: torch.cat([x, torch.full_like(tail, int(name == "attention_mask")).to(x)], 1)
        for name, x in _tensors(fields).items()
        if x.shape == ids.shape and name != "input_ids"
    }
    return {**fields, **per_token, "input_ids": torch.cat([ids, tail], 1)}


def _tensors(fields: Fields) -> dict[str, Tensor]:
    return {name: x for name, x in fields.items() if isinstance(x, Tensor)}
