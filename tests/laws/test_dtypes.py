"""Scores come in the dtype of what is scored, and half precision costs a few percent at most."""

import pytest
import torch

from captum._engine.nest import scored
from laws import nets
from laws.compare import assert_same_scores, each, every
from laws.methods import Method, keeping, name_of

# Of the largest score; NeuronConductance and the CAMs round twice.
_CLOSE = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 0.06}


def lower(method: Method) -> dict[str, float]:
    """`tol` is a promise in the dtype of the model."""
    return {"tol": 1e-2} if "auto" in method.name else {}


@pytest.mark.parametrize("method", keeping(lambda m: True), ids=name_of)
@each("dtype", [*_CLOSE, torch.float64])
def test_scores_keep_the_dtype(method: Method, dtype: torch.dtype) -> None:
    net, x = method.net().to(dtype), nets.images(2).to(dtype)
    found = method.scores(net, x, **lower(method))
    assert every(found, lambda s: s.dtype == dtype and bool(s.isfinite().all()))


@pytest.mark.parametrize("method", keeping(lambda m: not m.draws), ids=name_of)
@each("dtype", _CLOSE)
def test_scores_of_a_lower_precision_are_near(method: Method, dtype: torch.dtype) -> None:
    """Both nets hold the rounded weights: only the computation differs."""
    net, x = method.net().to(dtype), nets.images(2).to(dtype)
    exact, near = method.net().to(dtype).double(), x.double()
    found = method.scores(net, x, **lower(method))
    wanted = method.scores(exact, near, **lower(method))
    assert_same_scores(list(scored(found)), list(scored(wanted)), _CLOSE[dtype])


@pytest.mark.parametrize("method", keeping(lambda m: m.draws and not m.noise), ids=name_of)
def test_sampled_scores_keep_precision(method: Method) -> None:
    """Draws of two dtypes differ, so that numbers cannot be compared."""
    net, x = method.net().bfloat16(), nets.images(1).bfloat16()
    found = method.scores(net, x, baselines=torch.zeros_like(x), n_samples=200)
    assert every(found, lambda s: bool((s != 0).any()))
    assert every(found, lambda s: s.dtype == torch.bfloat16)
