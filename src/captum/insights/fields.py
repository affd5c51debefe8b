"""Parameters as a form shows them: what they may be, and what is wrong with what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any


class FieldsError(ValueError):
    """What is wrong, by the parameter's name.

    >>> str(FieldsError({"n_steps": "a whole number from 1 to 1000, not 0"}))
    'n_steps: a whole number from 1 to 1000, not 0'
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems.items()))
        self.problems = dict(problems)


@dataclass(frozen=True)
class Field:
    """A parameter: a whole number, a number, a choice or a switch, as its default is.

    Args:
        name: the parameter's name.
        default: its default; its type is the parameter's.
        about: what it does, in a line.
        low, high: the least and the most of a number.
        choices: what a word may be.
        group: a heading to stand under.
    """

    name: str
    default: int | float | bool | str
    about: str
    low: float = 0
    high: float = 1_000_000
    choices: tuple[str, ...] = ()
    group: str = ""

    @property
    def kind(self) -> str:
        """ "int", "float", "bool" or "choice"."""
        return "choice" if self.choices else type(self.default).__name__

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, or None.

        >>> steps = Field("n_steps", 50, "points on the path", low=1, high=1000)
        >>> steps.problem(0), steps.problem(20)
        ('a whole number from 1 to 1000, not 0', None)
        """
        expected, fits = _RULES[self.kind](self, value)
        return None if fits else f"{expected}, not {_said(value)}"

    def described(self) -> dict[str, Any]:
        """The same for a page."""
        known = ("name", "default", "about", "low", "high", "group", "kind")
        return {key: getattr(self, key) for key in known} | {"choices": list(self.choices)}


def checked(fields: Sequence[Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every field, by default its own.

    Raises:
        FieldsError: values that do not fit, and names that no field has.

    >>> checked([Field("n_steps", 50, "", low=1)], {"n_steps": 20})
    {'n_steps': 20}
    """
    values = {field.name: given.get(field.name, field.default) for field in fields}
    found = {field.name: field.problem(values[field.name]) for field in fields}
    problems = {name: text for name, text in found.items() if text is not None}
    known = ", ".join(values) or "none"
    problems |= dict.fromkeys(set(given) - set(values), f"no such parameter; there are: {known}")
    if problems:
        raise FieldsError(problems)
    return {
        f.name: float(v) if f.kind == "float" else v
        for f, v in zip(fields, values.values(), strict=True)
    }


def _whole(field: Field, value: Any) -> tuple[str, bool]:
    fits = isinstance(value, int) and not isinstance(value, bool)
    return f"a whole number{_range(field)}", fits and field.low <= value <= field.high


def _number(field: Field, value: Any) -> tuple[str, bool]:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return f"a number{_range(field)}", fits and field.low <= value <= field.high


def _choice(field: Field, value: Any) -> tuple[str, bool]:
    return f"one of {', '.join(field.choices)}", value in field.choices


def _switch(field: Field, value: Any) -> tuple[str, bool]:
    return "true or false", isinstance(value, bool)


def _range(field: Field) -> str:
    return f" from {field.low:g} to {field.high:.7g}"


def _said(value: Any) -> str:
    return "nothing" if value is None else repr(value)


_RULES = {"int": _whole, "float": _number, "choice": _choice, "bool": _switch}
