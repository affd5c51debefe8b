"""What is explained of a text: a number for each of its tokens, and one for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong

# A number for each of M positions, of the logits there (M, V) and the token that follows (M,).
PerToken = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Contrast:
    r"""Explain why the target and not another continuation: Σ log p(target) - Σ log p(other).

    Token i counts log p(target_i | …) - log p(other_i | …), where each continuation goes on from
    its own beginning; if they are not of one length, only the whole is explained.

    Args:
        other: the continuation, as text or token ids.

    >>> from captum.attr import Contrast
    >>> Contrast(" Rome").other
    ' Rome'
    """

    other: Any


@dataclass(frozen=True)
class Score:
    """How logits become numbers: `read` per token, then `tokens` and `whole` of what was read."""

    name: str
    read: PerToken
    tokens: Callable[[Tensor], Tensor]  # (..., T) as it is read -> (..., T)
    whole: Callable[[Tensor], Tensor]  # (..., T) as it is read -> (...)
    additive: bool = True  # the whole is the sum of the tokens

    def numbers(self, read: Tensor) -> Tensor:
        """The whole, then every token: (..., 1 + T)."""
        return torch.cat([self.whole(read).unsqueeze(-1), self.tokens(read)], -1)


def log_prob(logits: Tensor, tokens: Tensor) -> Tensor:
    """log p(token), in float32 or better."""
    wide = _wide(logits)
    return wide.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - wide.logsumexp(-1)


def logit(logits: Tensor, tokens: Tensor) -> Tensor:
    """The token's logit."""
    return _wide(logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1))


def entropy(logits: Tensor, tokens: Tensor) -> Tensor:
    """-Σ p log p in nats, of the distribution that the token was drawn from."""
    logs = _wide(logits).log_softmax(-1)
    return -(logs.exp() * logs).sum(-1)


def _wide(logits: Tensor) -> Tensor:
    """At least float32: half precision would lose what a word changes."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _same(read: Tensor) -> Tensor:
    return read


def _sum(read: Tensor) -> Tensor:
    return read.sum(-1)


def _product(read: Tensor) -> Tensor:
    return read.sum(-1).exp()


LOG_PROB = Score("log_prob", log_prob, _same, _sum)
SCORES = {
    "log_prob": LOG_PROB,
    "prob": Score("prob", log_prob, torch.exp, _product, additive=False),
    "logit": Score("logit", logit, _same, _sum),
    "entropy": Score("entropy", entropy, _same, _sum),
}


def _checked(function: PerToken) -> PerToken:
    """The user's function, refused where it does not give a number per token."""

    def read(logits: Tensor, tokens: Tensor) -> Tensor:
        found = function(logits, tokens)
        if isinstance(found, Tensor) and found.shape == tokens.shape:
            return found.to(_wide(logits).dtype)
        raise wrong(
            ValueError,
            f"attr_target to give a number per token, shape {tuple(tokens.shape)}",
            describe(found),
            "lambda logits, tokens: logits.log_softmax(-1)[range(len(tokens)), tokens]",
        )

    return read


def make_score(attr_target: str | Contrast | PerToken) -> Score:
    """The score that a user names, or hands over as a function."""
    if isinstance(attr_target, Contrast):
        return LOG_PROB
    if isinstance(attr_target, str) and attr_target in SCORES:
        return SCORES[attr_target]
    if callable(attr_target):
        return Score(getattr(attr_target, "__name__", "score"), _checked(attr_target), _same, _sum)
    raise wrong(
        ValueError,
        f"attr_target to be one of {', '.join(map(repr, SCORES))}, a Contrast, or a function of "
        "logits (M, V) and tokens (M,)",
        repr(attr_target),
        "attr_target='log_prob'",
    )
