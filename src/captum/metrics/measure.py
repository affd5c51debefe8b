"""What a metric promises, in code: its range, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class Measure:
    """A metric and its promise.

    Args:
        name: of the function.
        function: the metric; it gives numbers (N,), unless it says otherwise.
        low: no number is smaller.
        high: no number is larger.
        better: which way is better.
        asks: what it looks at: "removal" of features, "stability" under small changes, the
            "shape" of the scores alone, their "place" in a known mask, or "weights".
    """

    name: str
    function: Callable[..., Any]
    low: float
    high: float
    better: Direction
    asks: str


METRICS: dict[str, Measure] = {}


def measure(
    low: float, high: float, better: Direction, asks: str
) -> Callable[[Function], Function]:
    """Enter a metric into `METRICS`; the function stays what it is.

    >>> from captum.metrics import METRICS
    >>> METRICS["infidelity"].better, METRICS["infidelity"].low
    ('lower', 0.0)
    """

    def entered(function: Function) -> Function:
        name = function.__name__
        METRICS[name] = Measure(name, function, low, high, better, asks)
        return function

    return entered
