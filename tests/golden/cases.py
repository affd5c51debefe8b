"""What is recorded and compared: each case is one call that both packages understand.

A case takes the package's `captum.attr` and returns tensors, in any nest. `CASES` names them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Attr = Any  # the module captum.attr, of either package
Case = Callable[[Attr], Any]

QUADRATURES = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"]


def cases() -> dict[str, Case]:
    """Every case of gradients, perturbations and tools, by name."""
    from . import cases_inputs, cases_layers, cases_neurons, cases_tools

    return _gathered(cases_inputs, cases_layers, cases_neurons, cases_tools)


def ruled() -> dict[str, Case]:
    """The cases of methods with rules for the way back. They are recorded after the others."""
    from . import cases_lrp, cases_rules

    return _gathered(cases_rules, cases_lrp)


def _gathered(*modules: Any) -> dict[str, Case]:
    found: dict[str, Case] = {}
    for module in modules:
        for name, case in module.CASES.items():
            if name in found:
                raise ValueError(f"two cases are called {name}")
            found[name] = case
    return found


def sampled() -> dict[str, Callable[..., Any]]:
    """The cases that are expectations over random draws; keywords go on to `attribute`."""
    from . import cases_tools

    return cases_tools.SAMPLED


def trapezoids() -> dict[str, tuple[int, Case]]:
    """The cases of the trapezoid rule, and their numbers of points."""
    from . import cases_trapezoid

    return cases_trapezoid.CASES
