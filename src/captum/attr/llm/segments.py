"""Which tokens make up a feature: segments of characters, and what they cover.

The prompt is encoded once, so taking a segment away never changes how the rest is written. A token
belongs to every segment whose visible characters it covers; one that two segments share leaves
with either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from captum._engine.errors import describe, wrong
from captum.attr.llm.tokens import Ids, Span

Segment = list[Span]  # the parts of one feature

# What a level is made of, coarse to fine. Words keep their apostrophes and hyphens.
LEVELS = {
    "paragraphs": re.compile(r"\S(?:.|\n(?!\s*\n))*"),
    "sentences": re.compile(r"\S[^.!?。！？\n]*(?:[.!?。！？]+[\"'”’)\]]*|(?=\n)|$)"),
    "words": re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]+"),
}


@dataclass(frozen=True)
class Membership:
    """Which tokens a feature's absence takes away.

    `feature` (n,) is the one feature of each token, -1 for none; where tokens are shared, `matrix`
    (G, n) says it all instead.
    """

    count: int
    feature: Ids
    matrix: npt.NDArray[np.bool_] | None = None

    def absent(self, coalitions: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The tokens (K, n) that go where only the features of coalitions (K, G) are there."""
        if self.matrix is not None:
            gone: npt.NDArray[np.bool_] = (~coalitions).astype(np.float32) @ self.matrix > 0
            return gone
        with_none = np.concatenate([coalitions, np.ones((len(coalitions), 1), bool)], 1)
        return ~with_none[:, self.feature]

    @property
    def tokens(self) -> Ids:
        """The tokens that belong to a feature."""
        return np.flatnonzero(self.feature >= 0 if self.matrix is None else self.matrix.any(0))

    def gathered(self, scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scores of tokens (..., n) as scores of features (..., G); a shared one is divided."""
        matrix = self.matrix
        if matrix is None:
            matrix = self.feature == np.arange(self.count)[:, None]
        weights = matrix / np.maximum(1, matrix.sum(0))
        gathered: npt.NDArray[Any] = scores @ weights.T.astype(scores.dtype)
        return gathered


def one_each(kept: npt.NDArray[np.bool_]) -> Membership:
    """Every token that is kept is a feature."""
    return Membership(int(kept.sum()), np.where(kept, np.cumsum(kept) - 1, -1))


def covering(text: str, spans: Sequence[Span], segments: Sequence[Segment]) -> Membership:
    """The tokens that cover a visible character of each segment."""
    starts, stops = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    visible = np.array([0, *np.cumsum([not c.isspace() for c in text])])
    matrix = np.zeros((len(segments), len(spans)), bool)
    for i, segment in enumerate(segments):
        for start, stop in segment:
            low, high = np.maximum(starts, start), np.minimum(stops, stop)
            matrix[i] |= (low < high) & (visible[high] > visible[np.minimum(low, high)])
    if (matrix.sum(0) > 1).any():
        return Membership(len(segments), np.full(len(spans), -1), matrix)
    return Membership(len(segments), np.where(matrix.any(0), matrix.argmax(0), -1))


def cut(text: str, within: Sequence[Span], level: str) -> list[Segment]:
    """The paragraphs, sentences or words of some parts of a text."""
    if level not in LEVELS:
        raise wrong(
            ValueError, f"one of 'tokens', {', '.join(map(repr, LEVELS))}", repr(level), "'words'"
        )
    return [
        [(start + m.start(), start + m.start() + len(m.group().rstrip()))]
        for start, stop in within
        for m in LEVELS[level].finditer(text[start:stop])
    ]


def given(text: str, groups: Sequence[Any]) -> list[Segment]:
    """Segments as users write them: substrings, (start, stop), or lists of those."""
    found, at = [], 0
    for group in groups:
        parts = group if isinstance(group, list) else [group]
        segment: Segment = []
        for part in parts:
            if isinstance(part, str):
                start = text.find(part, at)
                if start < 0:
                    raise wrong(
                        ValueError,
                        "groups that stand in the text, in its order",
                        f"{part!r}, which does not follow character {at} of it",
                        "groups=['the first words', 'later words'], or (start, stop) pairs",
                    )
                at = start + len(part)
                segment.append((start, at))
            elif len(part) == 2 and 0 <= part[0] < part[1] <= len(text):
                segment.append((int(part[0]), int(part[1])))
            else:
                raise wrong(
                    ValueError,
                    f"(start, stop) with 0 <= start < stop <= {len(text)}",
                    describe(part),
                    "groups=[(0, 5), (6, 11)]",
                )
        found.append(segment)
    return found


def label(text: str, segment: Segment) -> str:
    """What a segment is called: its text."""
    return " … ".join(text[start:stop].strip() for start, stop in segment)
