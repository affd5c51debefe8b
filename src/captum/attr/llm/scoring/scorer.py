"""The numbers of a target after many prompts, each prompt once, in the best way that is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.batching import out_of_memory
from captum._engine.errors import wrong
from captum.attr.llm.scores import PerToken
from captum.attr.llm.scoring import encoders, padded, proofs, tree, with_images
from captum.attr.llm.scoring.budget import Budget
from captum.attr.llm.scoring.language_model import LanguageModel
from captum.attr.llm.tokens import Ids

Prompt = Ids | Mapping[str, Any]
Way = Callable[[Sequence[Any]], Tensor]

_WORTH_A_TREE = 0.75  # of all tokens, at most so many nodes
_TRIED = 2  # rows that a way must get right


@dataclass
class Cost:
    """What was asked of a model: prompts that were run, and the tokens that went through it."""

    prompts: int = 0
    tokens: int = 0


@dataclass
class Scorer:
    """What `read` makes of the target's T tokens after prompts.

    Args:
        model: reads the prompts.
        target: the ids that follow them, (T,).
        read: a number per token, of logits.
        mask_token: what models that fill in masks have in the target's place.
        cost: is added to.
    """

    model: LanguageModel
    target: Ids
    read: PerToken
    mask_token: int | None = None
    cost: Cost = field(default_factory=Cost)

    def __post_init__(self) -> None:
        self._budget = Budget(self.model)
        self._trunk = tree.Trunk()
        self._known: dict[bytes, Tensor] = {}

    def __call__(self, prompts: Sequence[Prompt]) -> Tensor:
        """(K, T), on the CPU."""
        keys = [_key(prompt) for prompt in prompts]
        fresh = {k: p for k, p in zip(keys, prompts, strict=True) if k not in self._known}
        if fresh:
            self._known.update(zip(fresh, self._run(list(fresh.values())), strict=True))
        return torch.stack([self._known[key] for key in keys])

    def _run(self, prompts: Sequence[Any]) -> Tensor:
        """Prompts that are new and distinct."""
        if not all(map(len, prompts)):
            raise wrong(
                ValueError,
                "prompts of at least one token, as a target follows the last of them",
                "a prompt that has lost all of its tokens",
                "baselines that leave some, or skip_tokens=[tokenizer.bos_token] to keep the first",
            )
        self.cost.prompts += len(prompts)
        if isinstance(prompts[0], Mapping):
            found = self._if_right("with images", self._side_by_side, prompts)
        else:
            found = self._as_a_tree(prompts)
            if found is None and len(prompts) > 1:
                found = self._if_right("padded", self._side_by_side, prompts)
        return self._one_by_one(prompts) if found is None else found

    def _as_a_tree(self, prompts: Sequence[Ids]) -> Tensor | None:
        model = self.model
        if model.kind != "decoder" or model.config is None:
            return None
        if not {"past_key_values", "position_ids"} <= model.takes or model.keeps_state:
            return None
        known = proofs.found(model, "tree", self._lengths(prompts))
        if known is False or (len(prompts) == 1 and not known):
            return None
        grown = tree.grow(prompts, self.target, self._trunk.tokens)
        if len(prompts) > 1 and len(grown) > _WORTH_A_TREE * sum(self._lengths(prompts)):
            return None
        middle, last = grown.order[len(prompts) // 2], grown.order[-1]
        run = partial(self._walk, grown)
        return self._if_right("tree", run, prompts, tried=(last, middle))

    def _walk(self, grown: tree.Tree, prompts: Sequence[Ids]) -> Tensor:
        self.cost.tokens += len(grown)
        return self._in_memory(
            partial(tree.run, self.model, grown, self._trunk, self.target, self.read)
        )

    def _if_right(
        self, way: str, run: Way, prompts: Sequence[Any], tried: Sequence[int] = (-1, 0)
    ) -> Tensor | None:
        """What a way gives, if it is known to be right or proves to be."""
        lengths = self._lengths(prompts)
        known = proofs.found(self.model, way, lengths)
        if known is False:
            return None
        if known:
            return run(prompts)
        rows = list(tried[:_TRIED])
        single = self._one_by_one([prompts[i] for i in rows])
        try:
            found = run(prompts)
        except Exception as error:  # whatever a model says of masks and caches that it cannot use
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            found = None
        right = found is not None and proofs.agree(self.model, found[rows], single)
        proofs.note(self.model, way, lengths, right)
        return found if right else None

    def _one_by_one(self, prompts: Sequence[Any]) -> Tensor:
        return torch.cat([self._side_by_side([prompt]) for prompt in prompts])

    def _side_by_side(self, prompts: Sequence[Any]) -> Tensor:
        """In batches, smaller ones where they do not fit in memory."""
        run: Callable[..., Tensor]
        if isinstance(prompts[0], Mapping):
            run = with_images.run
        elif self.model.kind == "encoder-decoder":
            run = encoders.run_encoder_decoder
        elif self.model.kind == "masked":
            run = partial(encoders.run_masked, self.mask_token)
        else:
            run = padded.run
        self.cost.tokens += sum(self._lengths(prompts))
        return self._in_memory(partial(run, self.model, prompts, self.target, self.read))

    def _in_memory(self, run: Callable[[Budget], Tensor]) -> Tensor:
        """A run with the budget for its passes, once more with less where that was too much."""
        try:
            return run(self._budget)
        except RuntimeError as error:
            self._budget.halve(error)
        return self._in_memory(run)

    def _lengths(self, prompts: Sequence[Any]) -> list[int]:
        """The tokens of each prompt with its target; the last of them is not run."""
        more = 0 if self.model.kind == "masked" else len(self.target) - 1
        return [
            (p["input_ids"].shape[1] if isinstance(p, Mapping) else len(p)) + more for p in prompts
        ]


def _key(prompt: Prompt) -> bytes:
    """A prompt in a few bytes."""
    digest = blake2b(digest_size=16)
    if isinstance(prompt, Mapping):
        for name, value in prompt.items():
            digest.update(name.encode())
            if isinstance(value, Tensor):
                digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
            else:
                digest.update(repr(value).encode())
    else:
        digest.update(np.ascontiguousarray(prompt).data)
    return digest.digest()
