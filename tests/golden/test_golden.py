"""Our numbers beside those of the published package, captum 0.9.0.

It places its nodes in float32, so its float64 results carry errors of some 1e-8.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from captum import attr

from .cases import cases, sampled, trapezoids
from .models import Tabular, ToyModel, filled, tabular

RECORDED = json.loads((Path(__file__).parent / "golden.json").read_text())
GOLDEN = RECORDED["cases"]
CASES, TRAPEZOIDS, SAMPLED = cases(), trapezoids(), sampled()
_TOLERANCES = {torch.float32: (2e-5, 2e-6), torch.float64: (1e-6, 3e-7)}


def read(recorded: Any) -> Any:
    """The nest of tensors that record.py wrote down."""
    if not isinstance(recorded, dict):
        return recorded
    if "numbers" in recorded:
        kind = getattr(torch, recorded["dtype"])
        return torch.tensor(recorded["numbers"], dtype=kind).view(recorded["shape"])
    if "dict" in recorded:
        return {key: read(item) for key, item in recorded["dict"].items()}
    ((kind, items),) = recorded.items()
    return {"tuple": tuple, "list": list}[kind](map(read, items))


def check(ours: Any, theirs: Any, where: str = "") -> None:
    """The same nest, shapes, dtypes and numbers."""
    if isinstance(theirs, Tensor):
        rtol, atol = _TOLERANCES.get(theirs.dtype, (0, 0))
        assert_close(ours, theirs, rtol=rtol, atol=atol, msg=lambda m: f"{where}: {m}")
        return
    assert type(ours) is type(theirs), f"{where}: {type(ours)}, recorded {type(theirs)}"
    if isinstance(theirs, dict):
        assert set(ours) == set(theirs), where
        for key in theirs:
            check(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs), where
        for i, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            check(our, their, f"{where}[{i}]")
    else:
        assert ours == theirs, where


def times(nest: Any, factor: float) -> Any:
    if isinstance(nest, tuple):
        return tuple(times(item, factor) for item in nest)
    return nest * factor


def test_the_file_holds_these_cases_and_says_where_from() -> None:
    trapezoid = {f"trapezoid {name}" for name in TRAPEZOIDS}
    assert set(GOLDEN) == {*CASES, *trapezoid, *SAMPLED}, "run record.py again"
    assert RECORDED["versions"]["captum"] == "0.9.0"


@pytest.mark.parametrize("name", CASES)
def test_as_published(name: str) -> None:
    check(CASES[name](attr), read(GOLDEN[name]), name)


@pytest.mark.parametrize("name", TRAPEZOIDS)
def test_the_trapezoid_rule_is_the_published_one_with_weights_that_sum_to_one(name: str) -> None:
    n, case = TRAPEZOIDS[name]
    check(case(attr), times(read(GOLDEN[f"trapezoid {name}"]), n / (n - 1)), name)


@pytest.mark.parametrize("name", SAMPLED)
def test_expectations_agree_within_their_errors(name: str) -> None:
    torch.manual_seed(1)
    scores, error = SAMPLED[name](attr, return_std=True)
    theirs = read(GOLDEN[name])
    # Both are means of 3000 draws: their difference has the errors of both.
    assert bool(((scores - theirs).abs() <= 5 * 2**0.5 * error + 1e-12).all())
    assert bool((error < 0.05 * scores.abs().max()).all()), "too noisy to say anything"


def test_the_conductance_of_several_neurons_is_the_sum_of_theirs() -> None:
    """The published package multiplies sums instead, with cross terms that mean nothing."""
    model = filled(Tabular())
    ours = attr.NeuronConductance(model, model.act).attribute(
        tabular(), (slice(1, 4),), n_steps=6, method="riemann_middle", target=1, baselines=0.3
    )
    each = [read(GOLDEN[f"NeuronConductance/neuron {i}"]) for i in (1, 2, 3)]
    check(ours, torch.stack(each).sum(0))


def test_quickstart() -> None:
    model = ToyModel().eval()
    torch.manual_seed(123)
    x = torch.rand(2, 3)
    found = attr.IntegratedGradients(model).attribute(x, torch.zeros(2, 3), target=0)
    printed = torch.tensor([[-0.5922, -1.5497, -1.0067], [0.0000, -0.2219, -5.1991]])
    assert torch.equal((found * 1e4).round() / 1e4, printed)


@pytest.mark.parametrize("steps", [2, 4])
def test_the_trapezoid_rule_integrates_lines_exactly(steps: int) -> None:
    """The reason for the difference: ∫ of a gradient that is a line has no error at all."""
    x = tabular()
    found = attr.IntegratedGradients(lambda v: (v**2).sum(1)).attribute(
        x, n_steps=steps, method="riemann_trapezoid"
    )
    assert_close(found, x**2, rtol=1e-12, atol=1e-12)
