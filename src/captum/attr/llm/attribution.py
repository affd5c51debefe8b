"""Attribution of a text by taking parts of its prompt away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.site import Inputs
from captum._engine.target import Targets
from captum.attr.base import PerturbationAttribution
from captum.attr.llm import tokens
from captum.attr.llm.base import BaseLLMAttribution, Read, explains_output
from captum.attr.llm.interpretable import InterpretableInput
from captum.attr.llm.result import LLMAttributionResult
from captum.attr.llm.scores import LOG_PROB, Contrast, PerToken
from captum.attr.llm.scoring.scorer import Cost
from captum.attr.llm.text_tokens import TextTokenInput
from captum.attr.llm.tokens import Ids, Tokenizer

Inspect = Callable[[str, str, list[float]], None]

_COALITIONS, _SHOWN = 1024, 64  # in a pass; and where a bar shows progress
_KEEP = 0.05  # of the largest score: features that are worth a closer look


class LLMAttribution(BaseLLMAttribution):
    r"""Scores of a prompt's features for log p(target | prompt), or another `attr_target`.

    For every token of the target, log p(t_i | prompt, t_<i), and for their sum. The method sees a
    game whose players are the prompt's features; one pass of the model scores all tokens of the
    target, and what prompts have in common at the start is run once.

    Args:
        attr_method: a perturbation method, made with the language model.
        tokenizer: the model's.
        attr_target: "log_prob", "prob", "logit", "entropy" (of the distribution that each token
            is drawn from), `Contrast(other)`, or a function of logits (M, V) and tokens (M,).

    Raises:
        TypeError: another kind of method, or one that is about a layer or a neuron.

    >>> from captum.attr import FeatureAblation, LLMAttribution, TextTokenInput
    >>> explain = LLMAttribution(FeatureAblation(model), tokenizer)
    >>> result = explain.attribute(TextTokenInput("the cat", tokenizer), target="sat on")
    >>> result.token_attr.shape, result.output_tokens
    (torch.Size([2, 2]), ['sat', 'on'])
    """

    def __init__(
        self,
        attr_method: PerturbationAttribution,
        tokenizer: Tokenizer,
        attr_target: str | Contrast | PerToken = "log_prob",
    ) -> None:
        plain = isinstance(attr_method, PerturbationAttribution) and (
            explains_output(attr_method) and isinstance(attr_method._at, Inputs)
        )
        if not plain or hasattr(attr_method, "layer"):
            raise wrong(
                TypeError,
                "a perturbation method for the model's inputs and output",
                describe(attr_method),
                "LLMAttribution(FeatureAblation(model), tokenizer), or LLMGradientAttribution",
            )
        super().__init__(attr_method, tokenizer, attr_target)

    def attribute(
        self,
        inp: InterpretableInput,
        target: str | Tensor | Sequence[int] | None = None,
        num_trials: int = 1,
        gen_args: dict[str, Any] | None = None,
        use_cached_outputs: bool = True,
        _inspect_forward: Inspect | None = None,
        forward_in_tokens: bool = True,
        *,
        skip_tokens: Sequence[int] | Sequence[str] | None = None,
        refine: Sequence[str] = (),
        keep: float = _KEEP,
        **kwargs: Any,
    ) -> LLMAttributionResult:
        """Scores for the target and each of its T tokens, by feature (G).

        Args:
            inp: the prompt and its features.
            target: the text to explain, or its token ids; what the model generates by default.
            num_trials: runs to average over, where baselines or the method are random.
            gen_args: for the model's `generate`; by default at most 25 tokens, without sampling.
            use_cached_outputs: accepted for code written for the published package: what prompts
                share is run once, wherever that proves to give what single prompts give.
            _inspect_forward: called for every prompt with its text, the target's text, and the
                probabilities of the whole target and each token.
            forward_in_tokens: accepted likewise: one pass scores all tokens, which is the same.
            skip_tokens: tokens to leave out of the target, by id or name.
            refine: levels to cut the leading features into, one after the other: "sentences",
                "words" or "tokens", for a `TextTokenInput` with groups. A shortcut: it is good
                where few features matter, see `covered` of the result.
            keep: with `refine`, features of at least this share of the largest score are cut.
            kwargs: for the method's `attribute`: n_samples, tol, return_std, generator …

        Raises:
            ValueError: an empty target; gen_args with a target; nothing to refine.
        """
        ids = self._target(inp, target, gen_args, skip_tokens)
        cost = Cost()
        read, steps = self._reader(inp, ids, cost)
        result = self._run(inp, ids, read, steps, num_trials, _inspect_forward, kwargs)
        covered = 1.0
        for level in refine:
            inp, share = _finer(inp, result, level, keep)
            covered *= share
            result = self._run(inp, ids, read, steps, num_trials, _inspect_forward, kwargs)
        result.covered = covered if refine else None
        known = self._score.read is LOG_PROB.read and not isinstance(self.attr_target, Contrast)
        chances = read([self._prompt(inp.to_model_input())])[0].exp() if known else None
        result.output_probs = self._probabilities(inp, ids) if chances is None else chances
        result.evaluations, result.forward_tokens = cost.prompts, cost.tokens
        return result

    def _reader(self, inp: InterpretableInput, ids: Ids, cost: Cost) -> tuple[Read, int]:
        """What reads the target's numbers after prompts, and how many tokens have one."""
        read: Read = self._scorer(ids, self._score, cost)
        if not isinstance(self.attr_target, Contrast):
            return read, len(ids)
        other_ids = self._target(inp, self.attr_target.other, None, None)
        other = self._scorer(other_ids, self._score, cost)
        if len(other_ids) == len(ids):
            return lambda prompts: read(prompts) - other(prompts), len(ids)

        def difference(prompts: Sequence[Any]) -> Tensor:
            whole = read(prompts).sum(1) - other(prompts).sum(1)
            return whole.unsqueeze(1)

        return difference, 0

    def _run(
        self,
        inp: InterpretableInput,
        ids: Ids,
        read: Read,
        steps: int,
        trials: int,
        inspect: Inspect | None,
        kwargs: Mapping[str, Any],
    ) -> LLMAttributionResult:
        def numbers(features: Tensor) -> Tensor:
            prompts = [self._prompt(made) for made in inp.to_model_inputs(features)]
            found = self._score.numbers(read(prompts))
            if inspect is not None:
                self._inspect(inspect, prompts, ids, found)
            return found.to(features.device)

        if trials < 1:
            raise wrong(ValueError, "num_trials of at least 1", repr(trials), "num_trials=3")
        rows = _SHOWN if kwargs.get("show_progress") else _COALITIONS
        options = {"perturbations_per_eval": rows, **kwargs}
        runs = [self._scores(inp, numbers, steps, options) for _ in range(trials)]
        scores = torch.stack([found for found, _ in runs]).mean(0)
        several = [each for _, each in runs if each is not None]
        # The variance of a mean of trials is the mean of their variances, over their number.
        errors = (torch.stack(several).square().mean(0) / trials).sqrt() if several else None
        return LLMAttributionResult(
            input_tokens=list(inp.values),
            output_tokens=tokens.names(self.tokenizer, ids),
            seq_attr=scores[0],
            token_attr=scores[1:] if steps else None,
            inp=inp,
            seq_std=None if errors is None else errors[0],
            token_std=None if errors is None or not steps else errors[1:],
        )

    def _scores(
        self,
        inp: InterpretableInput,
        numbers: Callable[[Tensor], Tensor],
        steps: int,
        options: Mapping[str, Any],
    ) -> tuple[Tensor, Tensor | None]:
        """The method's scores (1 + T, G) of the whole and of every token, and their errors."""
        method = self._asking(numbers)
        description = inp.to_tensor()
        if not description.is_floating_point():
            description = description.to(torch.get_default_dtype())
        found = method.attribute(description, target=Targets(*range(1 + steps)), **options)
        scores, errors = found if isinstance(found, tuple) else (found, None)
        return _named(inp, scores), None if errors is None else _named(inp, errors)

    def _inspect(self, inspect: Inspect, prompts: Sequence[Any], ids: Ids, found: Tensor) -> None:
        target = self.tokenizer.decode(ids.tolist())
        chances = found if self._score.name == "prob" else found.exp()
        for prompt, row in zip(prompts, chances.tolist(), strict=True):
            inspect(self._shown(prompt), target, row)

    def _shown(self, prompt: Any) -> str:
        """A prompt as text."""
        if isinstance(prompt, str):
            return prompt
        ids = prompt["input_ids"][0] if isinstance(prompt, Mapping) else prompt
        text: str = self.tokenizer.decode(ids.tolist())
        return text


def _named(inp: InterpretableInput, scores: list[Tensor]) -> Tensor:
    """Scores (1, G) for each number, or (1, G, G) of pairs, by what the user named: (K, G)."""

    def of_one(found: Tensor) -> Tensor:
        if found.ndim < 3:
            return inp.format_attr(found)
        across = inp.format_attr(found[0]).transpose(0, 1)
        return inp.format_attr(across).transpose(0, 1).unsqueeze(0)

    return torch.cat([of_one(found) for found in scores])


def _finer(
    inp: InterpretableInput, result: LLMAttributionResult, level: str, keep: float
) -> tuple[InterpretableInput, float]:
    """The prompt with its leading features cut, and their share of all scores' size."""
    if not isinstance(inp, TextTokenInput) or result.seq_attr.ndim != 1:
        raise wrong(
            ValueError,
            "a TextTokenInput with groups to refine",
            describe(inp),
            "TextTokenInput(text, tokenizer, groups='sentences') with refine=['words']",
        )
    size = result.seq_attr.abs()
    chosen = (size >= keep * size.max()).nonzero().flatten().tolist()
    share = float(size[chosen].sum() / size.sum()) if float(size.sum()) else 1.0
    return inp.cut(chosen, level), share
