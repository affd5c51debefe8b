"""What every influence method is, and what users subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor


class KMostInfluentialResults(NamedTuple):
    """The K training examples with the largest, or least, influence on each of M test examples.

    `indices` (M, K) are positions in the training data, `influence_scores` (M, K) their scores.
    """

    indices: Tensor
    influence_scores: Tensor


class DataInfluence(ABC):
    """A method that scores training examples by their influence on test examples."""

    @classmethod
    def get_name(cls) -> str:
        """The class name.

        >>> from captum.influence import TracInCP
        >>> TracInCP.get_name()
        'TracInCP'
        """
        return cls.__name__

    @abstractmethod
    def influence(self, inputs: Any = None, **kwargs: Any) -> Any:
        """Scores of the training data for test examples."""
