"""A prompt whose features are its tokens, or groups of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum.attr.llm import segments, tokens
from captum.attr.llm.interpretable import InterpretableInput
from captum.attr.llm.segments import Membership, Segment
from captum.attr.llm.tokens import Ids, Span, Tokenizer


class TextTokenInput(InterpretableInput):
    r"""A text whose features are its tokens: an absent one becomes a baseline token, or goes.

    The text is encoded once; every prompt is made of its ids, so no feature's absence changes how
    the rest is written.

    Args:
        text: the prompt; see `ChatInput` for a chat.
        tokenizer: the model's.
        baselines: the token in the place of absent ones, by id or name; None takes them out.
        skip_tokens: tokens that are no features, by id or name; they always stay.
        groups: larger features: "paragraphs", "sentences" or "words", or substrings in their
            order, (start, stop) positions of characters, or lists of those. Tokens in no group
            always stay; one that two groups share goes with either. Needs a tokenizer that knows
            which characters its tokens stand for.

    Raises:
        ValueError: groups that are not in the text; no feature left.

    >>> from captum.attr import TextTokenInput
    >>> prompt = TextTokenInput("the cat sat", tokenizer, skip_tokens=["the"])
    >>> prompt.values
    ['cat', 'sat']
    >>> import torch
    >>> tokenizer.decode(prompt.to_model_input(torch.tensor([[1, 0]]))[0])
    'the cat <unk>'
    """

    def __init__(
        self,
        text: str,
        tokenizer: Tokenizer,
        baselines: int | str | None = 0,
        skip_tokens: Sequence[int] | Sequence[str] | None = None,
        *,
        groups: str | Sequence[Any] | None = None,
    ) -> None:
        if not isinstance(text, str):
            raise wrong(
                TypeError,
                "a text",
                describe(text),
                "TextTokenInput('The cat', tokenizer), or ChatInput(messages, tokenizer)",
            )
        whole = [(0, len(text))]
        self._start(text, tokenizer, baselines, skip_tokens, groups, whole, special=True)

    def _start(
        self,
        text: str,
        tokenizer: Tokenizer,
        baselines: int | str | None,
        skip_tokens: Sequence[int] | Sequence[str] | None,
        groups: str | Sequence[Any] | None,
        within: Sequence[Span],
        special: bool,
    ) -> None:
        """Encode a text whose features lie within some of its parts."""
        self.text, self.tokenizer = text, tokenizer
        self.special = special  # whether encoding adds special tokens
        self.baselines = None if baselines is None else tokens.token_id(tokenizer, baselines)
        self._spans: list[Span] | None = None
        if groups is None:
            self.ids = tokens.encode(tokenizer, self.text)
        else:
            self.ids, self._spans = tokens.encode_with_spans(tokenizer, self.text, self.special)
        self._within = within
        self.segments: list[Segment] | None = self._segments(groups)
        self.skip_tokens = [tokens.token_id(tokenizer, t) for t in skip_tokens or ()]
        self._kept = ~np.isin(self.ids, self.skip_tokens)
        self._name()

    def to_tensor(self) -> Tensor:
        """Ones, (1, G)."""
        return torch.ones(1, self.n_itp_features, dtype=torch.long)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Tensor:
        """The ids for coalitions (K, G), shape (K, n); of the whole prompt by default."""
        if perturbed_tensor is None:
            return torch.from_numpy(self.ids).unsqueeze(0)
        rows = self.to_model_inputs(perturbed_tensor)
        if len({len(row) for row in rows}) > 1:
            raise wrong(
                ValueError,
                "one coalition at a time where absent tokens are taken out",
                f"{len(rows)} coalitions that leave prompts of other lengths",
                "to_model_inputs(coalitions), a list",
            )
        return torch.from_numpy(np.stack(rows))

    def to_model_inputs(self, perturbed_tensor: Tensor) -> list[Ids]:
        """The ids that each coalition of (K, G) leaves."""
        coalitions = perturbed_tensor.detach().cpu().numpy() != 0
        absent = self.membership.absent(coalitions.reshape(len(coalitions), -1))
        if self.baselines is None:
            return [self.ids[~gone] for gone in absent]
        return list(np.where(absent, self.baselines, self.ids))

    def format_attr(self, itp_attr: Tensor) -> Tensor:
        """The same: every feature is named."""
        return itp_attr

    def gather(self, scores: Tensor) -> Tensor:
        """Scores of the n tokens (..., n) as scores of the features (..., G)."""
        return torch.from_numpy(self.membership.gathered(scores.detach().cpu().numpy()))

    def reference(self) -> Tensor:
        """The ids where no feature is there, (1, n)."""
        if self.baselines is None:
            raise wrong(
                ValueError,
                "a baseline token, as gradients need a prompt of the same length",
                "baselines=None, which takes tokens out",
                "TextTokenInput(text, tokenizer, baselines=tokenizer.pad_token_id)",
            )
        return self.to_model_input(torch.zeros(1, self.n_itp_features))

    def cut(self, features: Sequence[int], level: str) -> TextTokenInput:
        """The same prompt, some of its features cut into "sentences", "words" or "tokens".

        >>> from captum.attr import TextTokenInput
        >>> text = "a cat sat. the dog ran."
        >>> prompt = TextTokenInput(text, tokenizer, groups="sentences")
        >>> prompt.cut([1], "words").values
        ['a cat sat.', 'the', 'dog', 'ran', '.']
        """
        if self.segments is None:
            raise wrong(
                ValueError,
                "features that can be cut: groups of tokens",
                "a prompt whose features are single tokens",
                "TextTokenInput(text, tokenizer, groups='sentences').cut([0], 'words')",
            )
        finer = copy.copy(self)
        finer.segments = []
        for i, segment in enumerate(self.segments):
            finer.segments.extend(self._parts(segment, level) if i in features else [segment])
        finer._name()
        return finer

    def _segments(self, groups: str | Sequence[Any] | None) -> list[Segment] | None:
        if groups is None:
            return None
        if groups == "tokens":
            return [part for span in self._within for part in self._parts([span], "tokens")]
        if isinstance(groups, str):
            return segments.cut(self.text, self._within, groups)
        return segments.given(self.text, groups)

    def _parts(self, segment: Segment, level: str) -> list[Segment]:
        if level != "tokens":
            return segments.cut(self.text, segment, level)
        assert self._spans is not None  # for mypy: groups come with spans
        member = segments.covering(self.text, self._spans, [segment])
        # The bytes of one character are several tokens, which come and go together.
        return [[span] for span in dict.fromkeys(self._spans[i] for i in member.tokens)]

    def _name(self) -> None:
        """The features' membership and names."""
        if self.segments is None:
            self.membership = segments.one_each(self._kept)
            self.values = tokens.names(self.tokenizer, self.ids[self._kept])
        else:
            assert self._spans is not None  # for mypy
            member = segments.covering(self.text, self._spans, self.segments)
            fixed = ~self._kept
            matrix = None if member.matrix is None else member.matrix & self._kept
            feature = np.where(fixed, -1, member.feature)
            self.membership = Membership(member.count, feature, matrix)
            self.values = [segments.label(self.text, segment) for segment in self.segments]
        self.n_itp_features = self.membership.count
        if not self.n_itp_features:
            raise wrong(
                ValueError,
                "at least one feature",
                f"{describe(self.text)}, of which every token is skipped",
                "fewer skip_tokens, or other groups",
            )

    @property
    def inp_tensor(self) -> Tensor:
        """The whole prompt's ids, (1, n)."""
        return self.to_model_input()

    @property
    def itp_tensor(self) -> Tensor:
        """The ids of the tokens that are features, (1, G) where each of them is one."""
        return self.inp_tensor[:, torch.from_numpy(self._kept)]

    @property
    def itp_mask(self) -> Tensor | None:
        """Which tokens may be features, (1, n); None where all may."""
        return None if self._kept.all() else torch.from_numpy(self._kept).unsqueeze(0)
