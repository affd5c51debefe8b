"""Tensors inside tuples, lists, dicts and model outputs: list them, map them, put others in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

Tensors = tuple[Tensor, ...]


def map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """The same nest with `function` applied to every tensor in it; other leaves stay.

    >>> import torch
    >>> map_tensors(lambda t: t.shape[0], {"a": torch.zeros(2), "b": (torch.zeros(3), "word")})
    {'a': 2, 'b': (3, 'word')}
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(map_tensors(function, item) for item in value)
    if isinstance(value, Mapping):
        return _filled(value, {key: map_tensors(function, item) for key, item in value.items()})
    return value


def _filled(mapping: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    if type(mapping) is dict:
        return items
    filled: Any = copy.copy(mapping)  # a model output keeps its class and its fields
    for key, item in items.items():
        filled[key] = item
    return filled


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor of a nest, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)


def is_real(tensor: Tensor) -> bool:
    """Whether a tensor can hold a score: floating point."""
    return tensor.is_floating_point()


def scored(value: Any) -> Tensors:
    """The tensors of a nest that can hold scores."""
    return tuple(filter(is_real, tensors(value)))


def replaced(value: Any, items: Iterable[Any]) -> Any:
    """The same nest with its scored tensors replaced, in order."""
    rest = iter(items)
    return map_tensors(lambda tensor: next(rest) if is_real(tensor) else tensor, value)


def scores(value: Any, items: Iterable[Any]) -> Any:
    """The nest as a result: scores where tensors could hold them, None everywhere else.

    A tuple with one score is that score, as layers mostly return their one value bare.
    """
    rest = iter(items)
    result = _scores(value, rest)
    return result[0] if isinstance(result, tuple) and len(result) == 1 else result


def _scores(value: Any, rest: Iterator[Any]) -> Any:
    if isinstance(value, Tensor):
        return next(rest) if is_real(value) else None
    if isinstance(value, tuple | list):
        return tuple(_scores(item, rest) for item in value)
    if isinstance(value, Mapping):
        return {key: _scores(item, rest) for key, item in value.items()}
    return None


def first_tensor(value: Any) -> Tensor | None:
    """What a model's output is meant to be read from: its logits, or its first tensor."""
    logits = value.get("logits") if isinstance(value, Mapping) else getattr(value, "logits", None)
    return logits if isinstance(logits, Tensor) else next(tensors(value), None)
