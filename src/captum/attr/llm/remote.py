"""Attribution of a text by a language model on a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.errors import wrong
from captum.attr.base import PerturbationAttribution
from captum.attr.llm import tokens
from captum.attr.llm.attribution import LLMAttribution
from captum.attr.llm.base import Read
from captum.attr.llm.provider import RemoteLLMProvider, RemotePrompt
from captum.attr.llm.scores import Contrast, PerToken, Score
from captum.attr.llm.scoring.scorer import Cost
from captum.attr.llm.tokens import Ids, Tokenizer


class RemoteLLMAttribution(LLMAttribution):
    r"""Scores of a prompt's features for log p(target | prompt) as a server tells it.

    Every prompt is asked about once, many in a request where the provider can.

    Args:
        attr_method: a perturbation method, made with `RemoteLLMAttribution.placeholder_model`.
        tokenizer: the model's.
        provider: asks the server.
        attr_target: "log_prob", "prob" or a `Contrast`; servers tell nothing else.

    Raises:
        TypeError: another kind of method.
        ValueError: an attr_target that servers do not tell.

    >>> from captum.attr import (
    ...     FeatureAblation, RemoteLLMAttribution, RemoteLLMProvider, TextTemplateInput)
    >>> class Fond(RemoteLLMProvider):  # of cats
    ...     def generate(self, prompt, **gen_args):
    ...         return "sat"
    ...     def get_logprobs(self, input_prompt, target_str, tokenizer=None):
    ...         return [-1.0 if "cat" in input_prompt else -3.0]
    >>> method = FeatureAblation(RemoteLLMAttribution.placeholder_model)
    >>> explain = RemoteLLMAttribution(method, tokenizer, Fond())
    >>> explain.attribute(TextTemplateInput("{} {}", ["the", "cat"])).seq_attr
    tensor([0., 2.])
    """

    @staticmethod
    def placeholder_model(*args: Any, **kwargs: Any) -> Any:
        """What methods are made with where the model is on a server; it cannot be called."""
        raise RuntimeError("the model is on a server: ask through RemoteLLMAttribution.attribute")

    def __init__(
        self,
        attr_method: PerturbationAttribution,
        tokenizer: Tokenizer,
        provider: RemoteLLMProvider,
        attr_target: str | Contrast | PerToken = "log_prob",
    ) -> None:
        super().__init__(attr_method, tokenizer, attr_target)
        if self._score.name not in ("log_prob", "prob"):
            raise wrong(
                ValueError,
                "attr_target='log_prob', 'prob' or a Contrast, as servers tell nothing else",
                repr(attr_target),
                "attr_target='log_prob'",
            )
        self.provider = provider

    @property
    def _own_text(self) -> bool:
        return False

    def _prompt(self, made: Any) -> Any:
        """A text stays one, as some servers want texts and others token ids."""
        return made if isinstance(made, str) else super()._prompt(made)

    def _generated(self, made: Any, gen_args: Mapping[str, Any]) -> Ids:
        answer = self.provider.answer(self._prompt(made), self.tokenizer, gen_args)
        return tokens.encode_bare(self.tokenizer, answer)

    def _scorer(self, ids: Ids, score: Score, cost: Cost | None = None) -> Read:
        return _Asked(self.provider, self.tokenizer, ids, cost or Cost())


class _Asked:
    """log p of the target's tokens after prompts, each of them asked about once."""

    def __init__(
        self, provider: RemoteLLMProvider, tokenizer: Tokenizer, target: Ids, cost: Cost
    ) -> None:
        self.provider, self.tokenizer, self.target = provider, tokenizer, target
        self.cost = cost
        self._known: dict[str | bytes, Tensor] = {}

    def __call__(self, prompts: Sequence[RemotePrompt]) -> Tensor:
        keys = [p if isinstance(p, str) else np.ascontiguousarray(p).tobytes() for p in prompts]
        fresh = {k: p for k, p in zip(keys, prompts, strict=True) if k not in self._known}
        if fresh:
            told = self.provider.score(list(fresh.values()), self.target, self.tokenizer)
            self._known.update(zip(fresh, map(self._checked, told), strict=True))
            self.cost.prompts += len(fresh)
        return torch.stack([self._known[key] for key in keys])

    def _checked(self, told: Sequence[float]) -> Tensor:
        if len(told) != len(self.target):
            raise wrong(
                ValueError,
                f"a log-probability for each of the target's {len(self.target)} tokens",
                f"{len(told)} of them",
                "a provider and a tokenizer of the same model",
            )
        return torch.tensor(told, dtype=torch.float32)
