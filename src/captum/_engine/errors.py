"""Errors that say what was expected, what came, and the call that works."""

import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import TypeVar

E = TypeVar("E", bound=Exception)
_INSIDE = ("captum.", "contextlib")
_MOST = 4  # items of a list that are described


def wrong(kind: type[E], expected: str, got: str, works: str) -> E:
    """The exception to raise: one sentence each for the expectation, the fact and the remedy.

    >>> raise wrong(ValueError, "n_steps of at least 1", "n_steps=0", "attribute(x, n_steps=50)")
    Traceback (most recent call last):
    ValueError: expected n_steps of at least 1
      got:   n_steps=0
      works: attribute(x, n_steps=50)
    """
    return kind(f"expected {expected}\n  got:   {got}\n  works: {works}")


def describe(value: object) -> str:
    """A value in a few words, for the `got` line.

    >>> import torch
    >>> describe(torch.zeros(2, 3)), describe((1, "a"))
    ('a float32 tensor of shape (2, 3)', "(1, 'a')")
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"a {str(dtype).removeprefix('torch.')} tensor of shape {tuple(shape)}"
    if isinstance(value, tuple | list) and any(hasattr(v, "shape") for v in value):
        more = [f"{len(value) - _MOST} more"] if len(value) > _MOST else []
        return f"{type(value).__name__} of " + ", ".join([*map(describe, value[:_MOST]), *more])
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def warn(message: str) -> None:
    """A warning that points at the user's line: the first one outside this package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def extra(module: str, name: str) -> ModuleType:
    """Import an optional dependency, or name the extra that brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"this needs {package}, which the extra {name!r} brings: pip install 'captum[{name}]'"
        ) from error
