"""What a concept is: examples that people would give one name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from captum._engine.errors import describe, wrong


class Concept:
    """A name, and examples of what it names.

    Args:
        id: tells concepts apart, and is their label for a classifier.
        name: for people.
        data_iter: yields batches of examples, as the model takes them: tensors, tuples or dicts.
            None for a concept whose vectors are stored.

    >>> from captum.concept import Concept
    >>> Concept(0, "striped", [])
    Concept(0, 'striped')
    """

    def __init__(self, id: int, name: str, data_iter: Iterable[Any] | None) -> None:
        self.id, self.name, self.data_iter = id, name, data_iter

    @property
    def identifier(self) -> str:
        """Name and id in one word.

        >>> from captum.concept import Concept
        >>> Concept(0, "striped", []).identifier
        'striped-0'
        """
        return f"{self.name}-{self.id}"

    def __repr__(self) -> str:
        return f"Concept({self.id!r}, {self.name!r})"


def concepts_to_str(concepts: Sequence[Concept]) -> str:
    """The ids of concepts, as results are keyed by them.

    >>> from captum.concept import Concept
    >>> concepts_to_str([Concept(3, "a", []), Concept(1, "b", [])])
    '3-1'
    """
    return "-".join(str(concept.id) for concept in concepts)


class ConceptInterpreter(ABC):
    """A method that says what concepts mean to a model.

    Args:
        model: the model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @abstractmethod
    def interpret(self, inputs: Any) -> Any:
        """What concepts mean for the model's answers to these inputs."""


def check_sets(experimental_sets: Any) -> list[list[Concept]]:
    """Lists of at least two concepts with ids of their own."""
    found = [list(each) for each in experimental_sets]
    for each in found:
        if len(each) < 2 or len({c.id for c in each}) < len(each):
            raise wrong(
                ValueError,
                "sets of at least two concepts with different ids",
                describe(each),
                "interpret(inputs, [[striped, random]])",
            )
    if not found:
        raise wrong(ValueError, "at least one set of concepts", "none", "[[striped, random]]")
    return found
