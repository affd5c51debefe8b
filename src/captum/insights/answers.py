"""What is asked of a model, and what is answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from captum.insights.features import FeatureOutput


@dataclass(frozen=True)
class OutputScore:
    """A class, or the number a model has for an answer, and the score it got."""

    score: float | None
    index: int | None
    label: str


class Prediction(NamedTuple):
    """The best classes of a model, and whether the best is right, where that is known."""

    scores: tuple[OutputScore, ...]
    right: bool | None

    @property
    def best(self) -> OutputScore:
        """The class that the model answers."""
        return self.scores[0]


@dataclass(frozen=True)
class Question:
    """Why model `model` says `target` of example `example`, asked of one method.

    Args:
        example: its number in the data set.
        model: the model's number.
        method: the name of a method's class.
        fields: a value for each of its fields.
        target: a class; None for the label or the model's own answer.
    """

    example: int
    model: int = 0
    method: str = "IntegratedGradients"
    fields: Mapping[str, Any] = field(default_factory=dict)
    target: int | None = None

    @property
    def key(self) -> str:
        """Equal for equal questions."""
        return json.dumps(list(vars(self).values()), sort_keys=True, default=str)


class Answer(NamedTuple):
    """Attributions of all inputs of one example, ready to be shown.

    Args:
        target: the class that is explained; None where the model has but one number.
        features: one per input.
        total: the sum of all scores; None where windows overlap.
        notes: what the library had to warn of.
    """

    target: int | None
    features: tuple[FeatureOutput, ...]
    total: float | None
    notes: tuple[str, ...]
