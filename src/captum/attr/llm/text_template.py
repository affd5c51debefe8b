"""A prompt whose features are the values that a template is filled with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum.attr.llm import marks
from captum.attr.llm.chat import ChatInput
from captum.attr.llm.interpretable import InterpretableInput
from captum.attr.llm.segments import Segment
from captum.attr.llm.text_tokens import TextTokenInput
from captum.attr.llm.tokens import Tokenizer, is_chat, render_chat

Texts = Sequence[str] | Mapping[Any, str]


class TextTemplateInput(InterpretableInput):
    r"""A filled template whose features are its values: an absent one becomes its baseline.

    Every prompt is written anew and encoded as it is then, so a value's absence may change how its
    neighbours are encoded; `as_tokens` gives features of the same text whose neighbours never
    change.

    Args:
        template: a string for `str.format`, or a function of the values, by position or by name.
            A function may return chat messages instead of a text.
        values: a list, or a dict by name.
        baselines: what stands for absent values, in the form of the values; or a function that
            draws it anew for every prompt, such as `ProductBaselines`. Empty by default.
        mask: an integer per value, in the same form; values with one number are one feature.

    Raises:
        ValueError: baselines or a mask that do not fit the values; a template that cannot be
            filled with them.

    >>> import torch
    >>> from captum.attr import TextTemplateInput
    >>> prompt = TextTemplateInput(
    ...     "{} feels {} right now", ["He", "sad"], baselines=["It", "neutral"])
    >>> prompt.to_model_inputs(torch.tensor([[1, 1], [0, 1]]))
    ['He feels sad right now', 'It feels sad right now']
    """

    def __init__(
        self,
        template: str | Callable[..., Any],
        values: Texts,
        baselines: Texts | Callable[[], Texts] | None = None,
        mask: Sequence[int] | Mapping[Any, int] | None = None,
    ) -> None:
        self.template = template
        self.format_fn = template.format if isinstance(template, str) else template
        self.dict_keys = list(values) if isinstance(values, Mapping) else []
        self.values: list[str] = list(values.values() if isinstance(values, Mapping) else values)
        self.n_features = len(self.values)
        if not self.n_features:
            raise wrong(ValueError, "at least one value", describe(values), "values=['He', 'sad']")
        if baselines is None:
            self.baselines: Any = [""] * self.n_features
        else:
            self.baselines = baselines if callable(baselines) else self._listed(baselines)
        groups = range(self.n_features) if mask is None else self._listed(mask, "a mask")
        # Numbers from 0 on, in the order of the mask's own.
        order = {number: i for i, number in enumerate(sorted(set(groups)))}
        self.formatted_mask = [order[number] for number in groups]
        self.mask = mask
        self.n_itp_features = len(order)
        self.to_model_input()  # a template that cannot be filled is refused at the door

    def to_tensor(self) -> Tensor:
        """Ones, (1, G)."""
        return torch.ones(1, self.n_itp_features)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        """The prompt for a coalition (1, G), by default the whole."""
        if perturbed_tensor is None:
            return self._fill(self.values)
        there = perturbed_tensor.reshape(-1).tolist()
        if len(there) != self.n_itp_features:
            raise wrong(
                ValueError,
                f"one coalition of {self.n_itp_features} features",
                describe(perturbed_tensor),
                "to_model_inputs(coalitions) for several",
            )
        drawn = self._listed(self.baselines()) if callable(self.baselines) else self.baselines
        pairs = zip(self.values, drawn, self.formatted_mask, strict=True)
        return self._fill([value if there[g] else base for value, base, g in pairs])

    def format_attr(self, itp_attr: Tensor) -> Tensor:
        """Scores of features (..., G) as scores of values."""
        return itp_attr[..., torch.tensor(self.formatted_mask, device=itp_attr.device)]

    def as_tokens(self, tokenizer: Tokenizer, baselines: int | str | None = None) -> TextTokenInput:
        """The filled template, encoded once: an absent value's tokens go, others stay as they are.

        Args:
            tokenizer: the model's.
            baselines: the token in the place of absent ones, by id or name; none by default.

        Raises:
            ValueError: a template that changes its values, such as one that pads them.

        >>> from captum.attr import TextTemplateInput
        >>> prompt = TextTemplateInput("{} sat on {}", ["the cat", "a mat"]).as_tokens(tokenizer)
        >>> [tokenizer.decode(ids) for ids in prompt.to_model_inputs(torch.tensor([[1, 0]]))]
        ['the cat sat on']
        """
        plain, shown = self.to_model_input(), self._fill(marks.marked(self.values))
        chat = is_chat(plain)
        text = render_chat(tokenizer, shown) if chat else shown
        spans, clean = marks.found(text, self.n_features)
        segments: list[Segment] = [[] for _ in range(self.n_itp_features)]
        for feature, span in zip(self.formatted_mask, spans, strict=True):
            segments[feature].extend(span)
        if clean != (render_chat(tokenizer, plain) if chat else plain):
            raise wrong(
                ValueError,
                "a template that writes its values as they are",
                f"one that makes {describe(clean)} of them",
                "values that need no padding or trimming",
            )
        if not chat:
            return TextTokenInput(clean, tokenizer, baselines, groups=segments)
        return ChatInput(plain, tokenizer, baselines, groups=segments)

    def _fill(self, values: Sequence[str]) -> Any:
        try:
            if self.dict_keys:
                return self.format_fn(**dict(zip(self.dict_keys, values, strict=True)))
            return self.format_fn(*values)
        except (IndexError, KeyError) as error:
            raise wrong(
                ValueError,
                "a template that the values fill",
                f"{describe(self.template)} with {describe(self.dict_keys or self.values)}, "
                f"where {error!r} is missing",
                "TextTemplateInput('{} feels {}', ['He', 'sad'])",
            ) from error

    def _listed(self, given: Any, what: str = "baselines") -> list[Any]:
        """What users give per value, as a list in the values' order."""
        fits = isinstance(given, Mapping) == bool(self.dict_keys) and len(given) == self.n_features
        if isinstance(given, str) or not fits or not all(key in given for key in self.dict_keys):
            raise wrong(
                ValueError,
                f"{what} in the form of the values, {describe(self.dict_keys or self.values)}",
                describe(given),
                "a dict with the same names, or a list as long",
            )
        return [given[key] for key in self.dict_keys] if self.dict_keys else list(given)
