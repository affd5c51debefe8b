"""Baselines drawn from the product of what each feature may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from captum._engine.errors import describe, wrong


class ProductBaselines:
    """Draws a baseline for every feature, independently, from a list of its own.

    Args:
        baseline_values: a list with a list of values per feature, or a dict of such lists by
            name; a tuple of names has values that are tuples, drawn together.
        generator: where random numbers come from; torch's global one by default.

    Raises:
        ValueError: a feature without values.

    >>> from captum.attr import ProductBaselines
    >>> ProductBaselines({"name": ["Ann"], ("city", "state"): [("Austin", "TX")]}).sample()
    {'name': 'Ann', 'city': 'Austin', 'state': 'TX'}
    """

    def __init__(
        self,
        baseline_values: Sequence[Sequence[Any]] | Mapping[Any, Sequence[Any]],
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        self._named = isinstance(baseline_values, Mapping)
        self.dict_keys: list[Any] = list(baseline_values) if self._named else []
        lists = (
            baseline_values.values() if isinstance(baseline_values, Mapping) else baseline_values
        )
        self.baseline_values = [list(values) for values in lists]
        self.generator = generator
        if not all(self.baseline_values):
            raise wrong(
                ValueError,
                "at least one value for every feature",
                describe(baseline_values),
                "ProductBaselines([[0, 1], ['a', 'b']])",
            )

    def sample(self) -> list[Any] | dict[Any, Any]:
        """One baseline: a list in the features' order, or a dict by their names."""
        drawn = [values[self._index(len(values))] for values in self.baseline_values]
        if not self._named:
            return drawn
        found: dict[Any, Any] = {}
        for key, value in zip(self.dict_keys, drawn, strict=True):
            found.update(zip(key, value, strict=True) if isinstance(key, tuple) else [(key, value)])
        return found

    def __call__(self) -> list[Any] | dict[Any, Any]:
        """The same as `sample`."""
        return self.sample()

    def _index(self, count: int) -> int:
        device = None if self.generator is None else self.generator.device
        return int(torch.randint(count, (), generator=self.generator, device=device))
