"""The model's answers to several versions of its inputs, so many of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from captum._engine.call import make_call
from captum._engine.errors import describe, wrong
from captum._engine.model import Model
from captum._engine.nest import map_tensors, tensors

Item = TypeVar("Item")


class Asked:
    """The outputs for versions of one batch of inputs.

    Args:
        model: the model.
        args: what else it takes, by position.
        together: how many versions go in one pass.
    """

    def __init__(self, model: Model, args: Any, together: int) -> None:
        if isinstance(together, bool) or not isinstance(together, int) or together < 1:
            raise wrong(
                ValueError,
                "perturbations_per_eval of at least 1",
                repr(together),
                "perturbations_per_eval=16",
            )
        self.model, self.args, self.together = model, args, together

    def outputs(self, versions: Iterable[tuple[Any, Item]]) -> Iterator[tuple[Any, Item]]:
        """The output for each version, with what came beside it."""
        versions = iter(versions)
        while group := list(islice(versions, self.together)):
            given = [version for version, _ in group]
            found = self._each(given) if len(given) == 1 else self._joined(given)
            yield from zip(found, (item for _, item in group), strict=True)

    def _each(self, given: list[Any]) -> list[Any]:
        """One by one, whatever the model takes and returns."""
        extra = self.args if isinstance(self.args, tuple) else (self.args,)
        extra = () if self.args is None else extra
        with torch.no_grad():
            return [
                self.model(*(each if isinstance(each, tuple) else (each,)), *extra)
                for each in given
            ]

    def _joined(self, given: list[Any]) -> list[Any]:
        """All in one pass, as the user asked."""
        parts = [tuple(tensors(each)) for each in given]
        if not parts[0] or len({tuple(t.shape for t in part) for part in parts}) > 1:
            raise wrong(
                ValueError,
                "tensors of one shape, to ask about several at once",
                ", ".join(describe(each) for each in given[:2]),
                "perturbations_per_eval=1",
            )
        joined = tuple(torch.cat(column) for column in zip(*parts, strict=True))
        call = make_call(self.model, given[0], None, self.args).tile(len(given), joined)
        args, kwargs = call.bind(joined)
        with torch.no_grad():
            output = self.model(*args, **kwargs)
        rows = call.rows // len(given)
        return [map_tensors(partial(_rows, i * rows, rows), output) for i in range(len(given))]


def _rows(start: int, count: int, whole: Tensor) -> Tensor:
    return whole.narrow(0, start, count)
