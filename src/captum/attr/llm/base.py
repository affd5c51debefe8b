"""What attribution of a language model starts from: a model, a tokenizer, a prompt, a target."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.explained import Output
from captum._engine.nest import map_tensors
from captum.attr.base import Attribution
from captum.attr.llm import tokens
from captum.attr.llm.interpretable import InterpretableInput
from captum.attr.llm.scores import LOG_PROB, Contrast, PerToken, Score, make_score
from captum.attr.llm.scoring.language_model import LanguageModel
from captum.attr.llm.scoring.scorer import Cost, Prompt, Scorer
from captum.attr.llm.tokens import Ids, Tokenizer

Read = Callable[[Sequence[Any]], Tensor]  # of K prompts, (K, T)

# No sampling: the target is the model's likeliest answer, and the same every time.
GEN_ARGS = {"max_new_tokens": 25, "do_sample": False, "temperature": None, "top_p": None}


class BaseLLMAttribution(Attribution):
    """A method, the language model it was made with, and the tokenizer of that.

    Args:
        attr_method: the method.
        tokenizer: turns texts into the model's token ids.
        attr_target: what is explained of a text.
    """

    def __init__(
        self,
        attr_method: Attribution,
        tokenizer: Tokenizer,
        attr_target: str | Contrast | PerToken = "log_prob",
    ) -> None:
        super().__init__(attr_method.forward_func)
        self.attr_method = attr_method
        self.tokenizer = tokenizer
        self.attr_target = attr_target
        self.model: Any = attr_method.forward_func
        self.include_per_token_attr = True
        self._score = make_score(attr_target)

    @property
    def multiplies_by_inputs(self) -> bool:
        """As for the method."""
        return self.attr_method.multiplies_by_inputs

    def has_convergence_delta(self) -> bool:
        """Whether the method's `attribute` takes `return_convergence_delta`."""
        return self.attr_method.has_convergence_delta()

    def attribute_future(self) -> Any:
        """Not offered: attributions are made when they are asked for."""
        raise NotImplementedError(f"{type(self).__name__} has no futures: call attribute()")

    def _language_model(self) -> LanguageModel:
        return LanguageModel(self.model)

    def _prompt(self, made: Any) -> Any:
        """What an input made of a prompt, as a scorer reads it."""
        return self._ids(made)

    def _ids(self, made: Any) -> Prompt:
        """The same, as token ids or as a processor's tensors."""
        if isinstance(made, str):
            return tokens.encode(self.tokenizer, made)
        if tokens.is_chat(made):
            return tokens.encode_chat(self.tokenizer, made)
        if not isinstance(made, Mapping):
            return tokens.as_ids(made)
        fields = dict(made)
        if set(fields) <= {"input_ids", "attention_mask"}:
            ids = tokens.as_ids(fields["input_ids"])
            mask = fields.get("attention_mask")
            return ids if mask is None else ids[tokens.as_ids(mask) != 0]
        return fields

    def _target(
        self,
        inp: InterpretableInput,
        target: str | Tensor | Sequence[int] | None,
        gen_args: Mapping[str, Any] | None,
        skip_tokens: Sequence[int] | Sequence[str] | None,
    ) -> Ids:
        """The ids of exactly the target's tokens, (T,)."""
        if not isinstance(inp, InterpretableInput):
            raise wrong(
                TypeError,
                "an InterpretableInput",
                describe(inp),
                "attribute(TextTokenInput('The cat', tokenizer), target=' sat')",
            )
        made = inp.to_model_input()
        if target is None:
            found = self._generated(made, {**GEN_ARGS, **(gen_args or {})})
        elif gen_args is not None:
            raise wrong(
                ValueError,
                "gen_args only where the target is generated",
                f"target={describe(target)} and gen_args={gen_args}",
                "attribute(prompt, gen_args={'max_new_tokens': 5})",
            )
        elif isinstance(target, str):
            found = self._encoded(inp, made, target)
        else:
            found = tokens.as_ids(target)
        skipped = [tokens.token_id(self.tokenizer, token) for token in skip_tokens or ()]
        found = found[~np.isin(found, skipped)]
        if not len(found):
            raise wrong(
                ValueError, "a target of at least one token", describe(target), "target=' Paris'"
            )
        return found

    def _encoded(self, inp: InterpretableInput, made: Any, target: str) -> Ids:
        """A target's ids where it follows the prompt."""
        text, special = getattr(inp, "text", None), getattr(inp, "special", True)
        if isinstance(made, str):
            text = made
        elif tokens.is_chat(made):
            text, special = tokens.render_chat(self.tokenizer, made), False
        prompt = self._ids(made)
        if isinstance(prompt, Mapping) or self._own_text:
            return tokens.target_ids(self.tokenizer, None, np.zeros(0, np.int64), target)
        return tokens.target_ids(self.tokenizer, text, prompt, target, special)

    @property
    def _own_text(self) -> bool:
        """Whether a target is a text of its own, and not the prompt's continuation."""
        return self._language_model().kind != "decoder"

    def _generated(self, made: Any, gen_args: Mapping[str, Any]) -> Ids:
        """What the model answers."""
        model, prompt = self._language_model(), self._ids(made)
        if isinstance(prompt, Mapping):
            inputs = map_tensors(lambda x: x.to(model.device), dict(prompt))
        else:
            ids = torch.from_numpy(prompt).to(model.device)[None]
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return tokens.as_ids(model.generate(inputs, gen_args))

    def _probabilities(self, inp: InterpretableInput, ids: Ids) -> Tensor | None:
        """p of every token of the target after the whole prompt, (T,)."""
        return self._scorer(ids, LOG_PROB)([self._prompt(inp.to_model_input())])[0].exp()

    def _scorer(self, ids: Ids, score: Score, cost: Cost | None = None) -> Read:
        """What reads a score of the target's tokens after prompts."""
        mask = getattr(self.tokenizer, "mask_token_id", None)
        return Scorer(self._language_model(), ids, score.read, mask, cost or Cost())

    def _asking(self, forward: Any) -> Any:
        """The method, asked about another function."""
        method = copy.copy(self.attr_method)
        method.forward_func = forward
        return method


def explains_output(method: Attribution) -> bool:
    """Whether a method explains what the model gives, and not a neuron of it."""
    return method._of is None or isinstance(method._of, Output)
