"""One operation of a forward pass in normal form: what a rule gets to see.

`F.relu`, `torch.relu`, `x.relu_()` and `torch.ops.aten.relu` are one operation, "relu"; `__rsub__`
is "sub" with its operands in order. Functions that torch writes in Python announce themselves as
a whole; `body_of` opens them, so that rules see their parts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum._engine.errors import wrong
from captum._engine.rules.primitives import swap


@dataclass(slots=True, eq=False)
class Operation:
    """A call of a torch function, out of place and with its operands in order."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    mode: Any  # the RuleMode of this pass
    replayed: Any = None  # its value at the reference, once somebody asked

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument of the call, however it was given."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

    def live(self, value: Any) -> bool:
        """Whether a value depends on what the pass attributes to."""
        live: bool = self.mode.live(value)
        return live

    @property
    def live_count(self) -> int:
        """How many tensors among the arguments are live."""
        return sum(map(self.live, flat((self.args, self.kwargs))))

    def run(self, *first: Any) -> Any:
        """The call with its ordinary history; `first` replaces the leading arguments."""
        return self.function(*first, *self.args[len(first) :], **self.kwargs)

    def value(self, *first: Any) -> Any:
        """Its value, without a history."""
        with torch.no_grad():
            return self.run(*first)

    def swap(self, value: Tensor, surrogate: Tensor, *origins: Any) -> Tensor:
        """A value with another history, which the audit takes as this rule's work."""
        found: Tensor = self.claim(swap(value, surrogate), *origins)
        return found

    def claim(self, result: Any, *origins: Any) -> Any:
        """Everything between a result and the call's arguments (and `origins`) is the rule's."""
        self.mode.claim(result, (self.args, self.kwargs, origins))
        return result


Rule = Callable[[Operation], Any]


def words(text: str) -> frozenset[str]:
    """The words of a table of names."""
    return frozenset(text.split())


def flat(value: Any) -> Iterator[Tensor]:
    """Every tensor among arguments. (`nest.tensors` without mappings' models: far more often.)"""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from flat(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from flat(item)


# ------------------------------------------------------------------------------------- names

# fmt: off
_ALIASES = {
    "truediv": "div", "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub",
    "absolute": "abs", "clip": "clamp", "expit": "sigmoid", "negative": "neg", "concat": "cat",
    "concatenate": "cat", "special_expit": "sigmoid", "special_erf": "erf", "special_exp2": "exp2",
    "special_log1p": "log1p", "special_expm1": "expm1", "special_softmax": "softmax",
    "special_log_softmax": "log_softmax", "special_logsumexp": "logsumexp", "_softmax": "softmax",
    "_log_softmax": "log_softmax", "fix": "trunc", "arctan": "atan", "arcsin": "asin",
    "arccos": "acos", "arctanh": "atanh", "arcsinh": "asinh", "arccosh": "acosh",
    "log_sigmoid": "logsigmoid", "linalg_multi_dot": "multi_dot",
}
_INDEXING = {"getitem", "setitem", "get", "set", "len", "iter", "invert"}
# Where `inplace` stands among the arguments of F.*.
_INPLACE = {
    "relu": 1, "relu6": 1, "silu": 1, "selu": 1, "hardswish": 1, "hardsigmoid": 1, "mish": 1,
    "elu": 2, "celu": 2, "leaky_relu": 2, "dropout": 3, "alpha_dropout": 3, "dropout1d": 3,
    "dropout2d": 3, "dropout3d": 3, "feature_alpha_dropout": 3, "hardtanh": 3, "threshold": 3,
    "rrelu": 4,
}
# fmt: on


def resolve(function: Any) -> tuple[str, bool, bool]:
    """The operation's name, whether it works in place, whether its operands are swapped."""
    own = getattr(function, "operation", None)  # a user's: not kept, as it keeps a module alive
    return _resolve(function) if own is None else (own, False, False)


@cache
def _resolve(function: Any) -> tuple[str, bool, bool]:
    name: str = getattr(function, "__name__", "") or ""
    if isinstance(function, torch._ops.OpOverload):
        name = function._schema.name.split("::")[1]
    inplace = swapped = False
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        if name in _INDEXING:
            return f"__{name}__", name == "setitem", False
        if name[0] == "i" and hasattr(Tensor, f"__{name[1:]}__"):
            name, inplace = name[1:], True
        elif name[0] == "r" and hasattr(Tensor, f"__{name[1:]}__"):
            name, swapped = name[1:], True
    elif name.endswith("_") and not name.startswith("_"):
        name, inplace = name[:-1], True
    return _ALIASES.get(name, name), inplace, swapped


def normal_form(
    function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[str, Any, tuple[Any, ...], dict[str, Any], bool]:
    """Name, function, arguments and options out of place; and whether the call was in place."""
    options = dict(kwargs)
    if not args and "input" in options:
        args = (options.pop("input"),)
    if masked_assignment(function, args):
        return "masked_fill", Tensor.masked_fill, args, options, True
    name, inplace, swapped = resolve(function)
    if swapped or inplace:
        function = _out_of_place(function, name)
    if swapped:
        second, first = args
        if not isinstance(first, Tensor) and second.is_floating_point():
            first = torch.as_tensor(first, dtype=second.dtype)
        args = (first, second)
    at = _INPLACE.get(name)
    if at is not None and len(args) > at:
        inplace, args = inplace or bool(args[at]), args[:at]
    return name, function, args, options, bool(options.pop("inplace", False)) or inplace


def masked_assignment(function: Any, args: Sequence[Any]) -> bool:
    """`h[mask] = number`: the one assignment that may select by the data."""
    if function is not Tensor.__setitem__:
        return False
    target, mask, value = args
    return (
        isinstance(mask, Tensor)
        and mask.dtype == torch.bool
        and mask.shape == target.shape
        and (not isinstance(value, Tensor) or value.ndim == 0)
    )


@cache
def _out_of_place(function: Any, name: str) -> Any:
    for space in (Tensor, torch, F):
        if hasattr(space, name):
            return getattr(space, name)
    raise wrong(
        ValueError,
        "an operation in place that also exists out of place",
        repr(function),
        f"x = torch.{name}(x)",
    )


# -------------------------------------------------------------------------- functions in Python

_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


def body_of(function: Any) -> Callable[..., Any] | None:
    """The body of a function that torch writes in Python, without its own announcement.

    `F.multi_head_attention_forward`, `F.normalize`, `Tensor.norm` and their like would otherwise
    reach the mode as one opaque call. None where there is no such body.
    """
    if not isinstance(function, FunctionType) or hasattr(function, "operation"):
        return None
    if not function.__module__.startswith("torch"):
        return None  # a user's own, which announces itself on purpose
    return _body_of(function)


@cache
def _body_of(function: FunctionType) -> Callable[..., Any] | None:
    names = set(function.__code__.co_names)
    # What calls super() would come back under the same name, for ever.
    if "super" in names or not names.intersection(_CHECKS):
        return None
    body = FunctionType(
        function.__code__,
        _unannounced(function.__module__),
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    body.__kwdefaults__ = function.__kwdefaults__
    return body


@cache
def _unannounced(module: str) -> dict[str, Any]:
    return {**vars(sys.modules[module]), **dict.fromkeys(_CHECKS, lambda *_: False)}
