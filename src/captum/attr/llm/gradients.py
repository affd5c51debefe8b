"""Attribution of a text by gradients, paths and rules at its prompt's embeddings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.nest import scored
from captum._engine.target import Targets
from captum.attr.base import GradientAttribution
from captum.attr.deep_lift import DeepLift, DeepLiftShap, LayerDeepLift, LayerDeepLiftShap
from captum.attr.gradient_shap import GradientShap, LayerGradientShap
from captum.attr.input_x_gradient import InputXGradient, LayerGradientXActivation
from captum.attr.integrated_gradients import IntegratedGradients, LayerIntegratedGradients
from captum.attr.llm import tokens
from captum.attr.llm.base import BaseLLMAttribution, explains_output
from captum.attr.llm.interpretable import InterpretableInput
from captum.attr.llm.result import LLMAttributionResult
from captum.attr.llm.scores import Contrast, PerToken
from captum.attr.llm.scoring.differentiable import following
from captum.attr.llm.scoring.language_model import LanguageModel
from captum.attr.llm.text_tokens import TextTokenInput
from captum.attr.llm.tokens import Ids, Tokenizer
from captum.attr.lrp import LRP, LayerLRP

# Scores of a sum are the sum of scores: tokens are enough to know the whole.
_LINEAR = (
    *(DeepLift, DeepLiftShap, LayerDeepLift, LayerDeepLiftShap),
    *(GradientShap, LayerGradientShap, InputXGradient, LayerGradientXActivation),
    *(IntegratedGradients, LayerIntegratedGradients, LRP, LayerLRP),
)


class LLMGradientAttribution(BaseLLMAttribution):
    r"""Scores of a prompt's tokens for log p(target | prompt), by what flows back to them.

    A token's score is the sum over its embedding; with groups, over the group's tokens. For every
    token of the target, log p(t_i | prompt, t_<i), and for their sum. LRP hands the number itself
    down, and log p of what is certain is 0: ask it for "logit" or a `Contrast`.

    Args:
        attr_method: a gradient or rule method, made with the language model and its embedding
            layer: `LayerIntegratedGradients(model, model.model.embed_tokens)`, or
            `LRP(model, at=model.model.embed_tokens)`. Without a layer, the embedding is found.
        tokenizer: the model's.
        attr_target: "log_prob", "prob", "logit", "entropy" (of the distribution that each token
            is drawn from), `Contrast(other)`, or a function of logits (M, V) and tokens (M,).

    Raises:
        TypeError: another kind of method, or one that is about a neuron.

    >>> from captum.attr import LayerIntegratedGradients, LLMGradientAttribution, TextTokenInput
    >>> method = LayerIntegratedGradients(model, model.model.embed_tokens)
    >>> prompt = TextTokenInput("the cat", tokenizer)
    >>> result = LLMGradientAttribution(method, tokenizer).attribute(prompt, target="sat on")
    >>> result.token_attr.shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        attr_method: GradientAttribution,
        tokenizer: Tokenizer,
        *,
        attr_target: str | Contrast | PerToken = "log_prob",
    ) -> None:
        if not isinstance(attr_method, GradientAttribution) or not explains_output(attr_method):
            raise wrong(
                TypeError,
                "a gradient or rule method for the model's output",
                describe(attr_method),
                "LLMGradientAttribution(LayerIntegratedGradients(model, embedding), tokenizer), "
                "or LLMAttribution",
            )
        super().__init__(attr_method, tokenizer, attr_target)

    def attribute(
        self,
        inp: InterpretableInput,
        target: str | Tensor | Sequence[int] | None = None,
        gen_args: dict[str, Any] | None = None,
        *,
        skip_tokens: Sequence[int] | Sequence[str] | None = None,
        per_token: bool = True,
        **kwargs: Any,
    ) -> LLMAttributionResult:
        """Scores for the target and each of its T tokens, by feature (G).

        Args:
            inp: the prompt, a `TextTokenInput`; its baselines are where paths begin.
            target: the text to explain, or its token ids; what the model generates by default.
            gen_args: for the model's `generate`; by default at most 25 tokens, without sampling.
            skip_tokens: tokens to leave out of the target, by id or name.
            per_token: False only explains the whole target, with one backward pass instead of T.
            kwargs: for the method's `attribute`: n_steps, internal_batch_size, baselines …

        Raises:
            TypeError: another prompt, which has no tokens of a fixed number.
            ValueError: an empty target; gen_args with a target.
        """
        if not isinstance(inp, TextTokenInput):
            raise wrong(
                TypeError,
                "a TextTokenInput, as gradients go to tokens",
                describe(inp),
                "TextTokenInput(text, tokenizer), or TextTemplateInput(...).as_tokens(tokenizer)",
            )
        ids = self._target(inp, target, gen_args, skip_tokens)
        parts = [self._explained(inp, ids, per_token, kwargs)]
        if isinstance(self.attr_target, Contrast):
            other = self._target(inp, self.attr_target.other, None, None)
            per_token = per_token and len(other) == len(ids)
            parts.append(self._explained(inp, other, per_token, kwargs))
        whole, by_token = parts[0]
        if len(parts) > 1:
            (whole, by_token), (minus, minus_by_token) = parts
            whole = whole - minus
            by_token = by_token - minus_by_token if per_token else None
        return LLMAttributionResult(
            input_tokens=list(inp.values),
            output_tokens=tokens.names(self.tokenizer, ids),
            seq_attr=whole,
            token_attr=by_token,
            output_probs=self._probabilities(inp, ids),
            inp=inp,
        )

    def _explained(
        self, inp: TextTokenInput, ids: Ids, per_token: bool, kwargs: Mapping[str, Any]
    ) -> tuple[Tensor, Any]:
        """Scores of the features for the whole (G,) and for every token (T, G)."""
        model = self._language_model()
        numbers = self._numbers(model, inp, ids)
        score, steps = self._score, len(ids)
        summed = per_token and score.additive and type(self.attr_method) in _LINEAR
        if summed:
            found = self._scores(model, inp, numbers, Targets(*range(steps)), kwargs)
            return found.sum(0), found

        def all_numbers(prompt: Tensor) -> Tensor:
            return score.numbers(numbers(prompt))

        wanted = Targets(*range(1 + steps)) if per_token else Targets(0)
        found = self._scores(model, inp, all_numbers, wanted, kwargs)
        return found[0], found[1:] if per_token else None

    def _numbers(self, model: LanguageModel, inp: TextTokenInput, ids: Ids) -> Any:
        mask = getattr(self.tokenizer, "mask_token_id", None)
        places = np.flatnonzero(inp.ids == mask)
        if model.kind == "masked" and len(places) != len(ids):
            raise wrong(
                ValueError,
                f"a prompt with a mask token for each of the target's {len(ids)} tokens",
                f"{len(places)} of them",
                f"'The capital is {getattr(self.tokenizer, 'mask_token', '[MASK]')}.'",
            )
        return following(model, ids, self._score, places)

    def _scores(
        self,
        model: LanguageModel,
        inp: TextTokenInput,
        numbers: Any,
        wanted: Targets,
        kwargs: Mapping[str, Any],
    ) -> Tensor:
        """The method's scores of the features for each wanted number, (K, G)."""
        method = self._asking(numbers)
        options = dict(kwargs)
        if "baselines" in inspect.signature(method.attribute).parameters:
            options.setdefault("baselines", inp.reference().to(model.device))
        prompt = inp.to_model_input().to(model.device)
        found = method.attribute(prompt, target=wanted, **options)
        if isinstance(found, tuple):  # with its convergence delta, which nobody asked us to keep
            found = found[0]
        return torch.stack([inp.gather(_per_token(each, prompt.shape[1])) for each in found])


def _per_token(scores: Any, length: int) -> Tensor:
    """Scores of ids (1, n), or of a layer's value (1, n and more, D), as scores of tokens (n,)."""
    first = next((x for x in scored(scores) if x.ndim > 1 and x.shape[1] >= length), None)
    if first is None:
        raise wrong(
            ValueError,
            f"a layer whose value has a place for each of the prompt's {length} tokens",
            f"scores of {describe(scores)}",
            "the embedding: model.get_input_embeddings()",
        )
    return first[0, :length].flatten(1).sum(1) if first.ndim > 2 else first[0, :length]
