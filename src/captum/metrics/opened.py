"""What metrics share: the model's numbers, the explanation's rows, samples side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import Rows
from captum._engine.call import Call, make_call, matched
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine, opened
from captum._engine.model import Model
from captum._engine.nest import Tensors, map_tensors


@contextmanager
def asked(
    model: Model, inputs: Any, target: Any = None, args: Any = None, rows: Rows = "auto"
) -> Iterator[tuple[Engine, Call]]:
    """An engine and a checked call."""
    engine = Engine(model, rows=rows)
    with opened(engine):
        yield engine, make_call(model, inputs, target, args)


def scores_of(call: Call, attributions: Any, what: str = "attributions") -> Tensors:
    """An explanation as a tuple of tensors, each of its input's shape, or broadcast to it."""
    found = matched(call, attributions, what)
    if found is None:
        raise wrong(ValueError, f"{what} for the inputs", "None", "method.attribute(inputs)")
    for i, (x, scores) in enumerate(zip(call.inputs, found, strict=True)):
        fits = scores.ndim == x.ndim and all(
            s in (1, n) for s, n in zip(scores.shape, x.shape, strict=True)
        )
        if not fits:
            raise wrong(
                ValueError,
                f"{what} for {call.form.title(i)} of its shape {tuple(x.shape)}",
                describe(scores),
                "scores of the inputs, not of a layer",
            )
    return tuple(s.detach().expand_as(x) for s, x in zip(found, call.inputs, strict=True))


def flat(values: Tensors) -> Tensor:
    """All of an example's numbers in one row, (N, D)."""
    return torch.cat([v.flatten(1) for v in values], 1)


def repeated(value: Any, rows: int, times: int) -> Any:
    """A user's argument for inputs of which each row comes `times` times, side by side."""
    if isinstance(value, list) and len(value) == rows:
        return [each for each in value for _ in range(times)]
    if isinstance(value, Mapping):
        return {key: repeated(each, rows, times) for key, each in value.items()}
    if isinstance(value, tuple):
        made = [repeated(each, rows, times) for each in value]
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)

    def one(t: Tensor) -> Tensor:
        return t.repeat_interleave(times, 0) if t.ndim and len(t) == rows else t

    return map_tensors(one, value)


def shares(total: int, rows: int, most: int | None) -> Iterator[int]:
    """How many of `total` samples of each example go together, by a bound on rows."""
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise wrong(
            ValueError,
            "max_examples_per_batch of at least 1, or None",
            repr(most),
            "max_examples_per_batch=64",
        )
    each = total if most is None else max(1, most // rows)
    for start in range(0, total, each):
        yield min(each, total - start)


def at_least_one(count: int, name: str) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise wrong(ValueError, f"{name} of at least 1", repr(count), f"{name}=10")
