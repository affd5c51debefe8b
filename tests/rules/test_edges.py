"""Never a silent wrong number: complete, or a warning or an error that names the reason."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from captum.attr import LRP, DeepLift, lrp_rules
from laws.compare import total
from rules.entry import Entry, given, normal
from rules.hf import ROUTED
from rules.zoo_rare import CUT, RARE, REFUSED, Told, Training

routed = Told(ROUTED, "(?i)topk|expert|ind|miss|one_hot|where|nonzero")
SIZES = normal((4,))


def change(entry: Entry, model: Any) -> torch.Tensor:
    with torch.no_grad():
        return entry.value(model, entry.points()) - entry.value(model, entry.points(seed=1))


def explain(entry: Entry, model: Any, dtype: torch.dtype = torch.float64, **options: Any) -> Any:
    x, x0 = entry.points(0, dtype), entry.points(1, dtype)
    return DeepLift(model).attribute(given(x), given(x0), target=entry.target, **options)


@pytest.mark.parametrize("told", [*RARE, routed], ids=repr)
def test_complete_or_told(told: Told) -> None:
    """No exception but ours counts: it must name the operation."""
    entry, model = told.entry, told.entry.build()
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            scores = explain(entry, model)
        except Exception as error:
            said, scores = [str(error)], None
    said += [str(warning.message) for warning in caught]
    named = any(re.search(told.words, text, re.IGNORECASE) for text in said)
    if scores is None or float((total(scores) - change(entry, model)).abs().max()) > 1e-9:
        assert named, said
    else:
        assert named or not said, said


@pytest.mark.parametrize("told", CUT, ids=repr)
def test_what_cuts_the_gradient_is_told(told: Told) -> None:
    """The delta says by how much, and the warning why."""
    entry, model = told.entry, told.entry.build()
    with pytest.warns(UserWarning, match=told.words):
        scores, delta = explain(entry, model, return_convergence_delta=True)
    missing = total(scores) - change(entry, model)
    assert float(missing.abs().max()) > 1e-3
    assert torch.allclose(delta, missing, atol=max(entry.close, 1e-10))


@pytest.mark.parametrize("told", CUT, ids=repr)
def test_strict_refuses_what_else_is_told(told: Told) -> None:
    with pytest.raises(Exception, match=told.words):
        explain(told.entry, told.entry.build(), strict=True)


def by_deep_lift(entry: Entry, model: Any, dtype: torch.dtype = torch.float64) -> Any:
    return explain(entry, model, dtype)


def by_lrp(entry: Entry, model: Any, dtype: torch.dtype = torch.float64) -> Any:
    return LRP(model).attribute(given(entry.points(0, dtype)), target=entry.target)


methods = pytest.mark.parametrize("method", [by_deep_lift, by_lrp])


@methods
@pytest.mark.parametrize("told", REFUSED, ids=repr)
def test_refused_by_name(
    told: Told, method: Callable[..., Any], unchanged: Callable[..., Any]
) -> None:
    """And whatever was hung on the model or the process is taken off again."""
    model = told.entry.build()
    with unchanged(model, rng=False), pytest.raises(Exception, match=told.words):
        method(told.entry, model)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3)).eval()


class Holding(nn.Module):
    """A model with `part` between two linear maps."""

    def __init__(self, part: Any, width: int = 6) -> None:
        super().__init__()
        self.first, self.part, self.last = nn.Linear(4, 6), part, nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.part(self.first(x)))


def scripted() -> nn.Module:
    return torch.jit.script(net())


def traced() -> nn.Module:
    return torch.jit.trace(net(), torch.ones(2, 4))


def scripted_part() -> nn.Module:
    return Holding(torch.jit.script(nn.GELU()))


def scripted_function() -> nn.Module:
    def smooth(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.gelu(x) * torch.sigmoid(x)

    return Holding(torch.jit.script(smooth))


def quantised() -> nn.Module:
    return Holding(torch.ao.nn.quantized.dynamic.Linear(6, 6))


def parallel() -> nn.Module:
    return nn.DataParallel(net())


@methods
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (scripted, "TorchScript"),
        (traced, "TorchScript"),
        (scripted_part, "TorchScript"),
        (scripted_function, "TorchScript"),
        (quantised, "(?i)quanti"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*quantized tensor creation:UserWarning")
def test_what_cannot_be_seen_into(
    make: Callable[[], nn.Module], words: str, method: Callable[..., Any]
) -> None:
    entry = Entry("unseen", make, SIZES, "runs out of sight")
    with pytest.raises(Exception, match=words):
        method(entry, make(), torch.float32)


@methods
def test_batch_norm_that_trains(method: Callable[..., Any]) -> None:
    part = nn.BatchNorm1d(6)
    entry = Entry("trains", lambda: Training(part), SIZES, "its rows meet")
    with pytest.raises(Exception, match=r"(?i)batch.?norm(.|\n)*eval"):
        method(entry, entry.build())


@methods
def test_data_parallel_is_refused_or_unwrapped(method: Callable[..., Any]) -> None:
    entry = Entry("parallel", parallel, SIZES, "threads")
    model = entry.build()
    said, found = "", None
    try:
        found = method(entry, model)
    except Exception as error:
        said = str(error)
    assert torch.equal(found, method(entry, model.module)) if not said else "DataParallel" in said


def test_an_output_that_has_lost_its_inputs() -> None:
    entry = Entry(
        "lost", lambda: lambda x: torch.tensor(x.tolist()).exp(), SIZES, "by way of lists"
    )
    with pytest.raises(Exception, match=r"(?i)depend"):
        explain(entry, entry.build())


@pytest.mark.parametrize("shared", [False, True])
def test_a_branch_that_the_data_decide_is_told(shared: bool) -> None:
    """The model goes another way at the baseline than the pass could see."""

    def branching(x: torch.Tensor) -> torch.Tensor:
        return (x if bool(x.sum() > 0) else -2 * x).sum(1)

    x = torch.rand(2, 3, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"bool\(\)"):
        DeepLift(branching).attribute(x, -x[:1] if shared else -x)


def test_relevance_that_a_rule_ends_is_told() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softmax(1))
    method = LRP(model, rules=[("softmax", lrp_rules.ConstantRule())])
    with pytest.raises(ValueError, match="by its rule it ends at softmax"):
        method.attribute(torch.rand(1, 3), target=1)
