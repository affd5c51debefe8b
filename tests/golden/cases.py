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
    """Every case that is one number there and here, by name."""
    from . import (
        cases_influence,
        cases_inputs,
        cases_layers,
        cases_llm,
        cases_lrp,
        cases_metrics,
        cases_module,
        cases_neurons,
        cases_perturbation,
        cases_perturbation_games,
        cases_perturbation_layers,
        cases_robust,
        cases_rules,
        cases_tools,
    )

    return _gathered(
        cases_influence,
        cases_robust,
        cases_inputs,
        cases_layers,
        cases_llm,
        cases_metrics,
        cases_module,
        cases_neurons,
        cases_perturbation,
        cases_perturbation_layers,
        cases_perturbation_games,
        cases_rules,
        cases_lrp,
        cases_tools,
    )


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
