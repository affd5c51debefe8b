"""An explanation tells how it came about, and refuses what it cannot do exactly where asked to."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum import attr
from captum._engine.nest import scored
from laws import nets
from laws.compare import assert_same_scores, total
from laws.methods import Method, keeping, name_of

# A tunnel's runs have a report each.
_TELLING = keeping(
    lambda m: "return_report" in m.accepts(nets.smooth()) and "NoiseTunnel" not in m.name
)
_LIFTS = [m for m in _TELLING if "strict" in m.accepts(nets.smooth()) and "LRP" not in m.name]
telling = pytest.mark.parametrize("method", _TELLING, ids=name_of)
_DELTA = "return_convergence_delta"


def test_all_methods_of_complete_rules_tell() -> None:
    kinds = {type(m.on(nets.smooth())) for m in _TELLING}
    lifts = {attr.DeepLift, attr.DeepLiftShap, attr.LayerDeepLift, attr.LayerDeepLiftShap}
    assert kinds == lifts | {
        attr.NeuronDeepLift,
        attr.NeuronDeepLiftShap,
        attr.LRP,
        attr.LayerLRP,
    }


@telling
def test_the_report_comes_last(method: Method) -> None:
    net, x = nets.smooth(), nets.images()
    ask: dict[str, Any] = {"return_report": True}
    scores, report = method.scores(net, x, **ask)
    assert isinstance(report, attr.Report)
    assert_same_scores(scores, method.scores(net, x), 1e-14)
    if _DELTA in method.accepts(net):
        again, delta, last = method.scores(net, x, **ask, **{_DELTA: True})
        assert_same_scores(again, scores, 1e-14)
        assert isinstance(last, attr.Report)
        sizes = [d.abs() for d in scored(delta)]
        torch.testing.assert_close(last.error.abs().flatten(), torch.cat(sizes).flatten())


@telling
def test_the_report_lists_what_ran(method: Method) -> None:
    """By name, rule, place and number, from the site to what is explained."""
    net, x = nets.smooth(), nets.images()
    _, report = method.scores(net, x, return_report=True)
    served = {(s.operation, s.module): s for s in report.served}
    # All of the model runs, with rules from the site on; a layer's input may stay tied to the
    # inputs, and then what leads to it is served too.
    wanted = {"inputs": {4}, "layers": {4}, "layer": {2}, "layer input": {2, 4}}[method.lands]
    acts = served["softplus", ""]
    assert acts.times in wanted
    assert acts.rule == ("identity" if method.sums != "any" and "LRP" in method.name else "secant")
    assert ("linear", "head") in served
    if method.lands != "layer input":
        assert (("conv2d", "left") in served) == (method.lands == "inputs")
    assert all(s.rule and s.times == 1 for s in report.served if s is not acts)
    assert report.fallbacks == []
    assert report.stopped == []


@telling
def test_the_report_prints(method: Method) -> None:
    _, report = method.scores(nets.smooth(), nets.images(), return_report=True)
    lines = str(report).splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["operation", "rule", "module", "times"]
    assert any(line.startswith("softplus ") for line in lines)
    assert any(line.startswith("largest error: ") for line in lines)


@telling
def test_the_error_in_the_report_is_what_is_missing(method: Method) -> None:
    net, x = nets.smooth(), nets.images()
    scores, report = method.scores(net, x, return_report=True)
    if method.sums == "any" and method.lands != "layers":  # which are parts of the way
        assert float(report.error.abs().max()) < 1e-10
    elif method.sums == "unbiased" and method.lands != "layers":
        missing = total(scores) - method.value(net, x)
        torch.testing.assert_close(report.error, missing, atol=1e-10, rtol=1e-10)
        assert float(missing.abs().max()) > 1e-6


class Unruled(nn.Module):
    """Has an operation that no rule is for, between two of the net's."""

    def __init__(self, net: nets.Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out + out.cumprod(1)


_OF_OUTPUT = [m for m in _TELLING if m.asks == "target" and m.sums is not None]
of_output = pytest.mark.parametrize("method", _OF_OUTPUT, ids=name_of)


@of_output
def test_what_has_no_rule_is_named_in_a_warning(method: Method) -> None:
    net, x = nets.smooth(), nets.images()
    if method.options.get("strict"):
        return
    with pytest.warns(UserWarning, match="no rule for cumprod") as found:
        _, report = method.scores(Unruled(net), x, places=net, return_report=True)
    assert len(found) == 1
    assert report.fallbacks == ["cumprod"]
    assert "cumprod" in str(report)


@of_output
def test_strict_refuses_what_has_no_rule(method: Method) -> None:
    net, x = nets.smooth(), nets.images()
    with pytest.raises(ValueError, match=r"(?s)no rule for cumprod.*strict=False"):
        method.scores(Unruled(net), x, places=net, strict=True)


@telling
def test_strict_changes_nothing_where_all_have_rules(method: Method) -> None:
    net, x = nets.smooth(), nets.images()
    assert_same_scores(method.scores(net, x, strict=True), method.scores(net, x), 1e-14)


@of_output
def test_reports_of_several_targets(method: Method) -> None:
    net, x = nets.smooth(), nets.images()
    found, report = method.scores(net, x, attr.Targets(0, 2), return_report=True)
    assert len(found) == 2
    alone = [method.scores(net, x, t, return_report=True)[1].error for t in (0, 2)]
    size = [error.numel() for error in alone]
    assert report.error.numel() == sum(size)
    for one in alone:  # with several layers, targets lead in each
        assert any(torch.allclose(one, part) for part in _by_target(report.error))


def _by_target(error: Tensor) -> list[Tensor]:
    return [*error.unbind(0), *(error.unbind(1) if error.ndim > 1 else [])]


class Skip(nn.Module):
    """A connection leads around the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(3, 3).double()
        self.deep = nn.Linear(3, 3).double()
        self.head = nn.Linear(3, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.deep(torch.relu(self.inside(x))))
        out: Tensor = self.head(hidden + x)
        return out


def test_a_layer_that_is_not_all_of_the_way_is_nothing_to_warn_of() -> None:
    """Its scores then sum to its own share; and layers of a chain have all of it, each."""
    model, x = Skip(), torch.randn(2, 3, dtype=torch.float64)
    for layer in (model.inside, [model.inside, model.deep]):
        for strict in (False, True):
            attr.LayerDeepLift(model, layer).attribute(x, target=1, strict=strict)
            attr.LayerDeepLiftShap(model, layer).attribute(x, x * 0, target=1, strict=strict)
            attr.LayerLRP(model, layer).attribute(x, target=1, strict=strict)
