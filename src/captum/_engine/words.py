"""What a setting is, in words that change with it and are the same in every process."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import partial
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum._engine import store

_PLAIN = (bool, int, float, complex, str, bytes, Enum, torch.dtype, torch.device, slice, range)
_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_BRACKETS = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}


class Words:
    """Settings in words: numbers and names, no addresses.

    Tensors are known by a digest, functions by their names and what they do, other objects by
    their class and what they were made with.

    Args:
        names: of objects that have some, such as a model's layers: by `id`.

    >>> Words({}).of((1, None, {"width": 0.5}, len))
    "(1, None, {'width': 0.5}, builtins.len)"
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = dict(names)

    def of(self, value: Any) -> str:
        """A value in words."""
        if value is None or isinstance(value, _PLAIN):
            return repr(value)
        if id(value) in self._names:
            return self._names[id(value)]
        if isinstance(value, Mapping):
            return f"{{{', '.join(f'{self.of(k)}: {self.of(v)}' for k, v in value.items())}}}"
        for kind, brackets in _BRACKETS.items():
            if isinstance(value, kind):
                inside = map(self.of, value)
                ordered = inside if isinstance(value, Sequence) else sorted(inside)
                return ", ".join(ordered).join(brackets)
        return self._object(value)

    def _object(self, value: Any) -> str:
        kind = type(value).__qualname__
        if isinstance(value, nn.Module):  # without its parameters, which it may learn on the way
            return f"{kind}({store.plain(value.extra_repr())} {store.own_settings(value)})"
        if isinstance(value, Tensor | np.ndarray):
            return f"{kind} {store.digest(value)}"
        if isinstance(value, partial):
            return f"partial{self.of((value.func, value.args, value.keywords))}"
        if hasattr(value, "__qualname__"):
            name = f"{getattr(value, '__module__', None)}.{value.__qualname__}"
            return f"{name} {self._function(value)}" if isinstance(value, FunctionType) else name
        self._names[id(value)] = kind  # one that holds itself ends here
        return f"{kind}({', '.join(f'{k}={v}' for k, v in self.held(value).items())})"

    def _function(self, value: FunctionType) -> str:
        """What a function does, and the numbers that it closes over."""
        used = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        kept = (*used, *(value.__defaults__ or ()))
        numbers = [v for v in kept if v is None or isinstance(v, (*_PLAIN, Tensor, np.ndarray))]
        return store.digest(_code(value.__code__), list(map(self.of, numbers)))

    def held(self, value: Any) -> dict[str, str]:
        """What an object was made with, where it keeps that, else all it holds; but for None."""
        has = getattr(value, "__dict__", {})
        made = {name: name if name in has else f"_{name}" for name in _parameters(type(value))}
        if made and all(kept in has for kept in made.values()):
            has = {name: has[kept] for name, kept in made.items()}
        return {name: self.of(held) for name, held in has.items() if held is not None}


def _code(code: CodeType) -> list[Any]:
    constants = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code, list(code.co_names), constants]


def _parameters(kind: type) -> list[str]:
    """The names that a class is made with, its parents' too where it hands on what comes."""
    names: list[str] = []
    for each in kind.__mro__:
        if "__init__" in vars(each):
            given = list(inspect.signature(vars(each)["__init__"]).parameters.values())[1:]
            named = [p.name for p in given if p.kind not in _ANY]
            names += [name for name in named if name not in names]
            if len(named) == len(given):
                break
    return names
