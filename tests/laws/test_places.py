"""A rule of LRP does the same however its place is named, and wherever the model is held."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from captum.attr import LRP, lrp_rules
from captum.attr.lrp_rules import EpsilonRule, PropagationRule
from laws import nets
from laws.compare import assert_same_scores


class Positive(PropagationRule):
    """A user's own, as for the published package."""

    def _manipulate_weights(
        self, module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor
    ) -> None:
        module.weight.data = module.weight.data.clamp(min=0)


RULES = {
    "own": Positive(),
    "gamma": lrp_rules.GammaRule(),
    "gamma signed": lrp_rules.GammaRule(signed=True),
    "z plus": lrp_rules.ZPlusRule(),
    "alpha beta": lrp_rules.AlphaBetaRule(2, 1),
    "alpha 1": lrp_rules.Alpha1_Beta0_Rule(),
    "epsilon": EpsilonRule(0.1),
}
rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
# Each means the three convolutions, of all linear maps the first three.
PLACES: dict[str, Callable[[nets.Net], list[Any]]] = {
    "type": lambda net: [nn.Conv2d],
    "module": lambda net: [net.left, net.right, net.layer],
    "name": lambda net: ["left", "right", "layer"],
    "pattern": lambda net: ["*t", "l*er"],
    "operation": lambda net: ["conv2d"],
    "position": lambda net: [0, 1, 2],
    "range": lambda net: [range(3)],
    "function": lambda net: [lambda place: place.operation == "conv2d"],
}


def scores(model: Any, given: Any = ()) -> Tensor:
    found: Tensor = LRP(model, rules=given).attribute(nets.images(), 1)
    return found


def wanted(rule: PropagationRule) -> Tensor:
    """Set on the modules, as the published package has it."""
    net = nets.kinked()
    for module in (net.left, net.right, net.layer):
        module.rule = rule  # type: ignore[assignment]
    return scores(net)


@rules
def test_a_rule_is_felt(rule: PropagationRule) -> None:
    plain = scores(nets.kinked())
    assert float((wanted(rule) - plain).abs().max()) > 1e-3 * float(plain.abs().max())


@rules
@pytest.mark.parametrize("place", PLACES)
def test_every_name_of_a_place(rule: PropagationRule, place: str) -> None:
    net = nets.kinked()
    pairs = [(selector, rule) for selector in PLACES[place](net)]
    assert_same_scores(scores(net, pairs), wanted(rule), 1e-6)


class _Function:
    """Holds the model where nobody looks for it."""

    def __init__(self, net: nets.Net) -> None:
        self.net = net

    def run(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


_HELD: dict[str, Callable[[nets.Net], Any]] = {
    "method": lambda net: net.forward,
    "partial": functools.partial,
    "function": lambda net: _Function(net).run,
    "wrapper": nn.Sequential,
    "data parallel": nn.DataParallel,
}


@pytest.mark.parametrize("rule", [RULES["own"], RULES["gamma"]], ids=["own", "gamma"])
@pytest.mark.parametrize("held", _HELD)
@pytest.mark.parametrize("by", ["type", "module", "operation", "position"])
def test_a_model_in_other_hands(rule: PropagationRule, held: str, by: str) -> None:
    """Never other scores without a word: a rule that cannot be placed is an error."""
    net = nets.kinked()
    pairs = [(selector, rule) for selector in PLACES[by](net)]
    try:
        found = scores(_HELD[held](net), pairs)
    except (TypeError, ValueError) as error:
        assert "works: " in str(error)  # noqa: PT017 - either is right, silence is not
    else:
        assert_same_scores(found, wanted(rule), 1e-6)


@pytest.mark.parametrize("held", _HELD)
def test_rules_on_modules_of_a_model_in_other_hands(held: str) -> None:
    net = nets.kinked()
    for module in (net.left, net.right, net.layer):
        module.rule = RULES["gamma"]  # type: ignore[assignment]
    assert_same_scores(scores(_HELD[held](net)), wanted(RULES["gamma"]), 1e-6)


@rules
def test_parametrized_modules(rule: PropagationRule) -> None:
    """Whose weight is made anew each time it is asked for."""
    net, plain = nets.kinked(), nets.kinked()
    for module in (net.left, net.right, net.layer):
        parametrizations.weight_norm(module)
    torch.testing.assert_close(net.left.weight, plain.left.weight)
    assert_same_scores(scores(net, [(nn.Conv2d, rule)]), wanted(rule), 1e-6)


@rules
def test_the_first_rule_that_fits(rule: PropagationRule) -> None:
    pairs = [(nn.Conv2d, rule), ("conv2d", EpsilonRule(5.0)), (0, EpsilonRule(5.0))]
    assert_same_scores(scores(nets.kinked(), pairs), wanted(rule), 1e-6)
